//! Plugins in MozDef's own shape, in Python: the same cases as for native plugins of the same name, and what Python can
//! do that it must not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::config::{NormalizeConfig, PluginsConfig};
use normalize::case_file::{self, Judge, Judgement};
use normalize::plugin::Metadata;
use plugins::tables::NoTables;
use plugins::{Cache, Loaded, Loader, digest_of};
use serde_json::Value;
use tests::data;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-plugins/examples/python")
}

/// Where compiled things stay from run to run: a component takes half a minute.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-plugins")
}

/// The component of a source, built once for each text of it and of the shim. `None` where the tools cannot be had.
fn component(source: &Path) -> Option<Vec<u8>> {
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-plugins/python/mozdef_shim.py");
    let all = [std::fs::read(source).unwrap(), std::fs::read(shim).unwrap()].concat();
    std::fs::create_dir_all(kept()).unwrap();
    let all =
        [&all, plugins::contract::WIT.as_bytes(), source.file_name().unwrap().as_encoded_bytes()].concat();
    let file = kept().join(format!("{}.component", digest_of(&all)));
    if let Ok(bytes) = std::fs::read(&file) {
        return Some(bytes);
    }
    match plugins::build::python(source, "1.0", &Cache::user_folder().unwrap()) {
        Ok(bytes) => {
            std::fs::write(&file, &bytes).unwrap();
            Some(bytes)
        }
        Err(error) if error.is_about_tools() => {
            data::skipped(&format!("Python plugins are not tested: {error}"));
            None
        }
        Err(error) => panic!("{}: {error}", source.display()),
    }
}

fn load(source: &Path) -> Option<Arc<Loaded>> {
    // Enough for an unoptimised host on a busy machine; what takes for ever takes longer still.
    let config = PluginsConfig { deadline_ms: 2_000, failures_max: 1000, ..PluginsConfig::default() };
    let loader = Loader::new(config, Cache::open(&kept().join("code")), Arc::new(NoTables), None);
    let name = source.file_stem().unwrap().to_str().unwrap();
    Some(Arc::new(
        loader.load(name, &component(source)?, None).unwrap_or_else(|error| panic!("{name}: {error}")),
    ))
}

/// Recorded cases of a plugin, where they are.
fn recorded(name: &str) -> Vec<Value> {
    let Some(folder) = data::folder() else { return Vec::new() };
    let text = std::fs::read_to_string(folder.join(format!("cases/mozdef/normalise/{name}.jsonl")))
        .unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn examples_do_as_the_native_plugins_of_their_name() {
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    sources.sort();
    assert!(sources.len() >= 5, "{sources:?}");
    let (mut own, mut compared) = (0, 0);
    for source in &sources {
        let name = source.file_stem().unwrap().to_str().unwrap();
        let Some(plugin) = load(source) else { return };
        let config = NormalizeConfig::default();
        let mut native = Judge::native(name, &config).unwrap();
        let mut guest = Judge::guest(plugin, &config).unwrap();
        let text = std::fs::read_to_string(source.with_extension("cases.jsonl")).unwrap();
        for case in case_file::read(&text).unwrap() {
            assert_eq!(native.judge(&case), Judgement::Passed, "{name}, native: {}", case.name);
            assert_eq!(guest.judge(&case), Judgement::Passed, "{name}, Python: {}", case.name);
            own += 1;
        }
        // What is right for a recorded case, the tests of the native plugins say.
        for case in recorded(name) {
            let input = case["input"].to_string();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let metadata = Metadata {
                index: text(&case["metadata_in"]["index"]).filter(|index| index != "events"),
                id: text(&case["metadata_in"]["id"]),
            };
            let now = model::time::Timestamp::EPOCH;
            let made = |judge: &mut Judge| {
                let made = judge.run(&input, metadata.clone(), now).unwrap();
                made.map(|(json, metadata)| (serde_json::from_str::<Value>(&json).unwrap(), metadata))
            };
            assert_eq!(made(&mut guest), made(&mut native), "{name}: {}", case["name"]);
            compared += 1;
        }
    }
    println!("{own} cases of our own, {compared} recorded ones, {} plugins", sources.len());
    assert!(own >= 15, "{own}");
}

#[test]
fn python_has_no_way_out_and_the_event_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("trickster.py");
    std::fs::write(&source, TRICKSTER).unwrap();
    let Some(plugin) = load(&source) else { return };
    let mut judge = Judge::guest(plugin, &NormalizeConfig::default()).unwrap();
    let mut run = |trick: &str| {
        let start = Instant::now();
        let made = judge.run(&format!(r#"{{"summary":"{trick}"}}"#), Metadata::default(), received());
        (made.map(|made| made.unwrap().0), start.elapsed())
    };
    for honest in ["print", "log", "uuid", "now"] {
        assert!(run(honest).0.unwrap().contains("\"done\":"), "{honest}");
    }
    assert!(run("now").0.unwrap().contains("2020-03-04"), "time is the receipt of the event");
    assert!(run("raise").0.unwrap_err().contains("ValueError: no"), "an exception is told");
    assert!(run("null").0.unwrap().contains("\"done\":null"), "null is a value");
    for trick in ["file", "write", "socket", "process", "exit", "environment"] {
        let (made, _) = run(trick);
        assert!(
            made.as_ref().is_err() || made.as_ref().unwrap().contains("\"done\":\"nothing\""),
            "{trick}: {made:?}"
        );
    }
    let (made, took) = run("for ever");
    assert!(made.unwrap_err().contains("longer than 2000 ms"));
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(run("memory").0.is_err());
}

fn received() -> model::time::Timestamp {
    model::time::Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap()
}

const TRICKSTER: &str = r#"
import datetime, logging, os, uuid

def attempt(trick):
    if trick == "print":
        print("a line")
    elif trick == "log":
        logging.warning("a line")
    elif trick == "uuid":
        return str(uuid.uuid4())
    elif trick == "now":
        return datetime.datetime.now(datetime.timezone.utc).isoformat()
    elif trick == "raise":
        raise ValueError("no")
    elif trick == "null":
        return None
    elif trick == "file":
        return open("/etc/passwd").read()
    elif trick == "write":
        return open("/tmp/mozdef-trick", "w").write("x")
    elif trick == "socket":
        import socket
        return str(socket.create_connection(("127.0.0.1", 22)))
    elif trick == "process":
        import subprocess
        return subprocess.check_output(["id"]).decode()
    elif trick == "exit":
        os._exit(1)
    elif trick == "environment":
        return "nothing" if not os.environ.get("PATH") else os.environ["PATH"]
    elif trick == "for ever":
        while True:
            pass
    elif trick == "memory":
        return len([bytearray(1 << 20) for _ in range(4096)])
    return "ok"

class message(object):
    def __init__(self):
        self.registration = ["trick"]
        self.priority = 5

    def onMessage(self, message, metadata):
        message["done"] = attempt(message["summary"])
        return (message, metadata)
"#;
