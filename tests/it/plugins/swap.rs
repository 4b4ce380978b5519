//! Plugins that change, break and fail while events pass: no event is lost or doubled.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use model::config::{NormalizeConfig, OnPluginError, PluginsConfig};
use model::headers;
use model::metrics::metrics;
use model::time::Timestamp;
use model::topic::Topic;
use normalize::start::Settings;
use normalize::worker::NormalizerWorker;
use plugins::set::Set;
use plugins::{Store, Watched};
use serde_json::Value;
use stream::record::{Headers, NewRecord, Record};
use stream::worker::Worker;
use tests::guests::Guest;

/// A version that writes its letter, one byte, to `details.version`.
fn version(name: &str, letter: char) -> Vec<u8> {
    let more = format!(r#"(data (i32.const 200) "{{\"details\":{{\"version\":\"{letter}\"}}}}")"#);
    let process = "(call $texts (local.get $count) (i32.const 1) (i32.const 200) (i32.const 27))";
    Guest { more: &more, ..Guest::new(name, process) }.component()
}

/// A version that traps on every event.
fn broken(name: &str) -> Vec<u8> {
    Guest::new(name, "(unreachable)").component()
}

fn record(offset: u64) -> Record {
    let value = format!(r#"{{"summary":"event {offset}","category":"word"}}"#);
    Record {
        topic: Topic::Raw,
        partition: 0,
        offset,
        appended: Timestamp::from_millis(1_583_298_367_000),
        key: Bytes::new(),
        value: Bytes::from(value),
        headers: Headers::new(),
    }
}

fn worker(watched: Arc<Watched>) -> NormalizerWorker {
    let mut settings = Settings::from_config(&NormalizeConfig::default()).unwrap();
    settings.guests = Some(watched);
    let mut worker = NormalizerWorker::with_settings(settings, "log");
    worker.assigned(0, Vec::new(), Timestamp::EPOCH);
    worker
}

/// So many events through the worker: as many come out, in order.
fn pass(worker: &mut NormalizerWorker, from: u64, count: u64) -> Vec<NewRecord> {
    let records: Vec<Record> = (from..from + count).map(record).collect();
    let mut out = Vec::new();
    worker.process(0, &records, Timestamp::EPOCH, &mut out);
    worker.committed(0, Timestamp::EPOCH);
    let origins: Vec<_> =
        out.iter().map(|one| one.headers.get_str(headers::ORIGIN).unwrap().to_owned()).collect();
    let expected: Vec<_> = (from..from + count).map(|offset| format!("mozdef.raw/0/{offset}")).collect();
    assert_eq!(origins, expected);
    out
}

fn document(record: &NewRecord) -> Value {
    serde_json::from_slice(&record.value).unwrap()
}

fn versions(records: &[NewRecord]) -> Vec<String> {
    let of = |record| document(record)["details"]["version"].as_str().unwrap_or("none").to_owned();
    records.iter().map(of).collect()
}

fn start(folder: &Path, cache: &Path) -> Arc<Watched> {
    let config = PluginsConfig { failures_max: 3, ..PluginsConfig::default() };
    let tables = Arc::new(plugins::tables::NoTables);
    Arc::new(plugins::start(folder.to_owned(), &config, plugins::Cache::open(cache), tables).unwrap())
}

/// Waits until a condition holds; the folder is watched by another thread.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

fn changes(change: &str) -> u64 {
    metrics().plugin_changes.with_label_values(&[change]).get()
}

/// Memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_thousand_changes_under_load_lose_and_double_nothing() {
    let config = PluginsConfig::default();
    let loader =
        plugins::Loader::new(config, plugins::Cache::default(), Arc::new(plugins::tables::NoTables), None);
    let bytes = [version("swapped", 'a'), version("swapped", 'b')];
    let load = |number: usize| Arc::new(loader.load("swapped", &bytes[number % 2], None).unwrap());
    let live = Arc::new(ArcSwap::from_pointee(Set { generation: 1, plugins: vec![load(0)] }));
    let mut worker = worker(Arc::new(Watched::kept_by(live.clone())));
    let done = AtomicBool::new(false);
    let (mut events, mut seen, mut early) = (0, [0_u64; 2], 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for generation in 2..=1001_usize {
                live.store(Arc::new(Set { generation: generation as u64, plugins: vec![load(generation)] }));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut taken_up = 0;
        while !done.load(Ordering::Relaxed) {
            for version in versions(&pass(&mut worker, events, 64)) {
                seen[usize::from(version == "b")] += 1;
                assert!(version == "a" || version == "b", "{version}");
            }
            events += 64;
            taken_up += 1;
            if taken_up == 20 {
                early = resident_mib();
            }
        }
    });
    assert_eq!(seen[0] + seen[1], events);
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    let late = resident_mib();
    assert!(late < early + 64, "memory has grown from {early} to {late} MiB");
}

#[test]
fn the_folder_decides_and_a_broken_upload_never_replaces_a_working_one() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::new(folder.path());
    store.put("folder", &version("folder", 'a'), None).unwrap();
    let watched = start(folder.path(), cache.path());
    let mut worker = worker(watched.clone());
    assert_eq!(versions(&pass(&mut worker, 0, 2)), ["a", "a"]);
    let plugins = document(&pass(&mut worker, 2, 1)[0])["mozdef"]["plugins"].to_string();
    assert!(plugins.contains("folder"), "{plugins}");

    let refused = changes("refused");
    store.put("folder", b"this is no plugin", None).unwrap();
    until("the upload is refused", || changes("refused") > refused);
    assert_eq!(versions(&pass(&mut worker, 3, 1)), ["a"]);

    let generation = watched.generation();
    store.put("folder", &version("folder", 'b'), None).unwrap();
    until("the new version is in force", || watched.generation() > generation);
    assert_eq!(versions(&pass(&mut worker, 4, 1)), ["b"]);

    store.set_disabled("folder", true).unwrap();
    until("it is disabled", || watched.set().plugins.is_empty());
    assert_eq!(versions(&pass(&mut worker, 5, 1)), ["none"]);
    store.set_disabled("folder", false).unwrap();
    until("it runs again", || watched.set().plugins.len() == 1);
    assert_eq!(versions(&pass(&mut worker, 6, 1)), ["b"]);
}

#[test]
fn a_version_that_fails_goes_and_the_last_good_one_comes_back() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::new(folder.path());
    store.put("failing", &version("failing", 'a'), None).unwrap();
    let watched = start(folder.path(), cache.path());
    let generation = watched.generation();
    store.put("failing", &broken("failing"), None).unwrap();
    until("the bad version is in force", || watched.generation() > generation);
    let mut worker = worker(watched.clone());
    let generation = watched.generation();
    let out = pass(&mut worker, 0, 10);
    let errors = document(&out[0])["mozdef"]["errors"].to_string();
    assert!(errors.contains("plugin failing: "), "{errors}");
    let errors = document(&out[9])["mozdef"]["errors"].to_string();
    assert!(errors.contains("quarantined"), "{errors}");
    until("the good version is back", || watched.generation() > generation);
    assert_eq!(versions(&pass(&mut worker, 10, 2)), ["a", "a"]);

    // It is told as an event.
    let mut told = Vec::new();
    until("the quarantine is told", || {
        worker.tick(0, Timestamp::EPOCH, None, &mut told);
        !told.is_empty()
    });
    let event = document(&told[0]);
    assert_eq!(event["details"]["plugin"], "failing");
    assert_eq!(event["details"]["action"], "plugin_quarantined");

    // After a restart the file is still the bad one, and does not run.
    drop((worker, watched));
    let again = start(folder.path(), cache.path());
    let mut worker = self::worker(again);
    assert_eq!(versions(&pass(&mut worker, 12, 1)), ["a"]);
}

#[test]
fn events_of_a_failing_plugin_are_dead_where_that_is_wanted() {
    let config =
        PluginsConfig { on_error: OnPluginError::Dead, failures_max: 100, ..PluginsConfig::default() };
    let bytes = Guest {
        more: r#"(data (i32.const 200) "{\"details\":")"#,
        ..Guest::new(
            "nonsense",
            "(call $texts (local.get $count) (i32.const 2) (i32.const 200) (i32.const 11))",
        )
    };
    let kept = PluginsConfig { on_error: OnPluginError::Keep, ..config.clone() };
    for (config, topic) in [(config, Topic::Dead), (kept, Topic::Events)] {
        let set = Set { generation: 1, plugins: vec![bytes.load(&config).unwrap()] };
        let mut worker = worker(Arc::new(Watched::kept_by(Arc::new(ArcSwap::from_pointee(set)))));
        let records = [record(0), record(1)];
        let mut out = Vec::new();
        worker.process(0, &records, Timestamp::EPOCH, &mut out);
        assert_eq!(out.iter().map(|one| one.topic).collect::<Vec<_>>(), [topic, topic]);
        if topic == Topic::Dead {
            assert_eq!(out[0].headers.get_str(headers::REASON), Some("plugin_failed"));
            assert_eq!(out[0].value, records[0].value);
        } else {
            let document = document(&out[0]);
            assert_eq!(document["summary"], "event 0");
            assert!(document["mozdef"]["errors"].to_string().contains("nonsense"), "{document}");
        }
    }
}
