//! Hostile bodies: a clear answer each, no crash, and what is taken is an event.

use std::path::{Path, PathBuf};

use model::config::HttpConfig;
use model::event::{Event, Limits};
use model::topic::Topic;

use crate::gateway::Gateway;

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("MOZDEF_SHARED").map_or_else(|| root.join("../../shared"), PathBuf::from);
    let folders = ["data/json-hostile", "data/hostile-events"].map(|folder| shared.join(folder));
    if !folders[0].is_dir() {
        println!("SKIPPED: recorded data absent at {}; set MOZDEF_SHARED", shared.display());
        return Vec::new();
    }
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn every_hostile_file_gets_a_clear_answer() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let files = files();
    for path in &files {
        let body = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for target in ["/events", "/_bulk"] {
            let answer = gateway.post(target, body.clone()).await;
            assert!(
                matches!(answer.status, 200 | 400 | 413),
                "{target} {name}: {} {}",
                answer.status,
                answer.body
            );
            let raw = gateway.log.take(Topic::Raw);
            let dead = gateway.log.take(Topic::Dead);
            for record in &raw {
                assert!(Event::new().parse(&record.value, &Limits::default()).is_ok(), "{name}");
            }
            assert!(dead.iter().all(|record| !record.value.is_empty()), "{name}");
            if answer.status != 200 {
                assert!(raw.is_empty() && dead.is_empty(), "{name}: kept, and refused");
                assert!(answer.json()["error"].as_str().is_some_and(|words| !words.is_empty()), "{name}");
            }
            let good = name.starts_with("y_") && body.trim_ascii_start().starts_with(b"{");
            assert!(!good || (answer.status, raw.len()) == (200, 1), "{target} {name}: {}", answer.body);
        }
        let lines = gateway.ask("POST", "/events", &[("content-type", "text/x-syslog")], body).await;
        assert!(matches!(lines.status, 200 | 400 | 413), "{name}: {}", lines.body);
        gateway.log.take(Topic::Raw);
        gateway.log.take(Topic::Dead);
    }
    assert!(files.is_empty() || files.len() > 300, "{} files", files.len());
}

#[tokio::test]
async fn bodies_made_to_hurt_get_a_clear_answer_soon() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let started = std::time::Instant::now();
    let large = 8 << 20;
    let repeated = |part: &str| part.repeat(large / part.len()).into_bytes();
    for (name, body) in [
        ("brackets", repeated("[")),
        ("lines of brackets", repeated("[\n")),
        ("objects without end", repeated("{\"a\":")),
        ("lines without end", repeated("{\"a\":1\n")),
        ("quotes", repeated("\"")),
        ("backslashes", [b"{\"a\":\"".to_vec(), vec![b'\\'; large]].concat()),
        ("one long line", vec![b'x'; large]),
        ("nul", vec![0; large]),
        ("invalid UTF-8", vec![0xFF; large]),
        ("white space", vec![b'\n'; large]),
        ("one number", vec![b'9'; large]),
        ("commas", [b"[".to_vec(), vec![b','; large]].concat()),
    ] {
        let answer = gateway.post("/events", body).await;
        assert!(matches!(answer.status, 400 | 413), "{name}: {} {}", answer.status, answer.body);
        assert!(answer.body.len() < 1 << 20, "{name}: an answer of {} bytes", answer.body.len());
    }
    assert!(gateway.log.take(Topic::Raw).is_empty());
    assert_eq!(gateway.post("/events", "{\"still\":\"here\"}").await.status, 200);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
