//! Hostile bodies: a clear answer each, no crash, and what is taken is an event.

use std::path::{Path, PathBuf};

use model::config::HttpConfig;
use model::event::{Event, Limits};
use model::topic::Topic;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Memory of the process that is in use, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_bomb_of_ten_gigabytes_is_refused_at_the_limit() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    // 10 GiB of zeros in gzip: the same 10 MiB member a thousand times, which is a sound file of gzip.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 10 << 20]).unwrap();
    let bomb = encoder.finish().unwrap().repeat(1024);
    let before = resident_mib();
    for path in ["/events", "/_bulk", "/services/collector", "/services/collector/raw", "/v1/logs"] {
        let head = [("content-encoding", "gzip"), ("content-type", "application/json")];
        let answer = gateway.ask("POST", path, &head, bomb.clone()).await;
        assert_eq!(answer.status, 413, "{path}: {}", answer.body);
    }
    let grown = resident_mib().saturating_sub(before);
    // The limit is 16 MiB, and the sender, in this process too, holds the bomb of about 10 MiB several times.
    assert!(grown < 200, "memory grew by {grown} MiB");
}

#[tokio::test]
async fn idle_connections_give_their_places_to_others() {
    let files = fd_limit();
    let count = if std::env::var_os("MOZDEF_LONG").is_some() { files / 2 - 200 } else { 2000.min(files / 4) };
    let config = HttpConfig { connections_max: 100, ..HttpConfig::default() };
    let gateway = Gateway::start(config).await;
    let mut idle = Vec::new();
    for number in 0..count {
        let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        if number % 2 == 0 {
            // Half a request.
            stream.write_all(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Le").await.unwrap();
        }
        idle.push(stream);
    }
    let started = std::time::Instant::now();
    assert_eq!(gateway.post("/events", "{\"good\":1}").await.status, 200);
    println!("{count} idle connections: the next request took {} ms", started.elapsed().as_millis());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    assert_eq!(gateway.log.take(Topic::Raw).len(), 1);
}

fn fd_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn half_a_request_is_given_up_and_the_next_goes_through() {
    let gateway =
        Gateway::start(HttpConfig { idle_timeout_ms: 1000, body_timeout_ms: 1000, ..HttpConfig::default() })
            .await;
    for half in [
        &b"POST /events HTT"[..],
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"a\"",
        b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a",
    ] {
        let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(half).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    let mut gone = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    gone.write_all(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"a\"").await.unwrap();
    drop(gone);
    assert_eq!(gateway.post("/events", "{\"good\":1}").await.status, 200);
    assert_eq!(gateway.log.take(Topic::Raw).len(), 1);
    assert!(gateway.log.take(Topic::Dead).is_empty());
}
