//! What was acknowledged survives `kill -9` at any point.
//!
//! The test runs itself again as a child that writes without end and prints what was acknowledged; the child is
//! killed, the folder is opened again, and every acknowledged operation must be there.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{World, call, open};

/// Tells the child where to write, and with which operation to begin.
const FOLDER: &str = "EMBEDDED_CRASH_FOLDER";
const FIRST: &str = "EMBEDDED_CRASH_FIRST";
const KILLS: u64 = 12;

/// The operation of a number: index mostly, but every 7th writes over an older document, every 11th deletes one.
fn operation(number: u64) -> (String, Option<Value>) {
    let target = match number {
        n if n % 7 == 3 || n % 11 == 5 => n / 2,
        n => n,
    };
    let source = (number % 11 != 5)
        .then(|| json!({"n": number, "host": format!("h{}", number % 13), "text": "some words"}));
    (format!("id{target}"), source)
}

#[test]
fn crash_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut number: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let index = open(Path::new(&folder));
    let mut out = std::io::stdout();
    loop {
        let mut body = String::new();
        let first = number;
        for _ in 0..(1 + number % 40) {
            let (id, source) = operation(number);
            let name = format!("x-{}", id.len() % 3);
            match source {
                Some(source) => body.push_str(&format!(
                    "{{\"index\":{{\"_index\":\"{name}\",\"_id\":\"{id}\"}}}}\n{source}\n"
                )),
                None => {
                    body.push_str(&format!("{{\"delete\":{{\"_index\":\"{name}\",\"_id\":\"{id}\"}}}}\n"))
                }
            }
            number += 1;
        }
        // Now and then a commit, so that kills meet these too.
        let line = if first.is_multiple_of(9) { "POST /_bulk?refresh=true" } else { "POST /_bulk" };
        let (status, _) = call(&index, line, &body);
        assert_eq!(status, 200);
        writeln!(out, "acked {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs a child for a while and kills it; the result is the first number that was not acknowledged.
fn run_and_kill(folder: &Path, first: u64, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::crash_child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let acked = |line: String| line.rsplit_once("acked ")?.1.parse::<u64>().ok();
        lines.map_while(Result::ok).filter_map(acked).last()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap().unwrap_or(first)
}

/// What each id must hold after the operations before `end`: `None` is deleted.
fn model(end: u64) -> BTreeMap<String, Option<u64>> {
    let mut held = BTreeMap::new();
    for number in 0..end {
        let (id, source) = operation(number);
        held.insert(id, source.map(|_| number));
    }
    held
}

fn verify(world: &World, acked: u64, seed: u64) {
    let mut alive = 0;
    for (id, expected) in model(acked) {
        let name = format!("x-{}", id.len() % 3);
        let (_, reply) = world.call(&format!("GET /{name}/_doc/{id}"), "");
        let found = reply["_source"]["n"].as_u64();
        // Later operations were sent and perhaps done, but never acknowledged: both results are right.
        let later = (acked..acked + 60).filter(|n| operation(*n).0 == id).map(|n| operation(n).1.map(|_| n));
        let allowed: Vec<Option<u64>> = later.chain([expected]).collect();
        assert!(
            allowed.contains(&found),
            "seed {seed}: {id} holds {found:?}, allowed {allowed:?} of {acked} acked"
        );
        alive += u64::from(found.is_some());
    }
    world.ok("POST /_refresh", "");
    let count = world.ok("GET /x-*/_count", "")["count"].as_u64().unwrap();
    assert!(
        (alive..=alive + 60).contains(&count),
        "seed {seed}: {count} documents are found, {alive} are held"
    );
    // Every document is found once, and holds what a read gives.
    let reply = world.ok("POST /x-*/_search", r#"{"size": 10000, "sort": "_doc"}"#);
    let hits = reply["hits"]["hits"].as_array().unwrap();
    let mut ids: Vec<&str> = hits.iter().map(|h| h["_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let length = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), length, "seed {seed}: a document is there twice");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let folder = tempfile::tempdir().unwrap();
    let seed = RandomState::new().hash_one(0_u8);
    let mut acked = 0;
    for round in 0..KILLS {
        let after = 60 + (seed.rotate_left(u32::try_from(round).unwrap() * 5) % 400);
        acked = run_and_kill(folder.path(), acked, Duration::from_millis(after));
        if acked > 9000 {
            break;
        }
    }
    assert!(acked > 0, "seed {seed}: no child came to write anything");
    let world = World { index: open(folder.path()), folder, real: None };
    verify(&world, acked, seed);
    // And again after an orderly end.
    verify(&world.reopen(), acked, seed);
}

#[test]
fn what_is_not_committed_is_there_after_an_orderly_end_too() {
    let world = World::alone();
    world.ok("PUT /_index_template/mozdef", &embedded::cases::mozdef_template().to_string());
    world.ok("PUT /events-1/_doc/1", r#"{"details": {"new": {"field": 1}}}"#);
    let world = world.reopen();
    let found = world.ids("POST /events-1/_search", r#"{"query": {"term": {"details.new.field": 1}}}"#);
    assert_eq!(found, ["1"]);
    assert_eq!(world.call("PUT /events-1/_create/1", "{}").0, 409);
}

#[test]
fn a_search_sees_what_was_acknowledged_a_refresh_ago() {
    let world = World::alone();
    world.ok("PUT /x/_doc/1", "{}");
    // The refresh time of these tests is 50 ms; a search makes the commit itself when it is due.
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(world.ids("GET /x/_search", ""), ["1"]);
}

#[test]
fn a_disk_that_takes_nothing_refuses_and_recovers() {
    let world = World::alone();
    // Folders in the place of the log's next files: these cannot be made.
    let log = world.folder.path().join("translog");
    let blocked: Vec<_> = (1..20).map(|n| log.join(format!("{n:010}.log"))).collect();
    for path in &blocked {
        std::fs::create_dir(path).unwrap();
    }
    let (status, reply) = world.call("PUT /x/_doc/1", "{}");
    assert_eq!(status, 503, "{reply}");
    for path in &blocked {
        std::fs::remove_dir(path).unwrap();
    }
    // The document is known by now; the answer about it waits for the disk, which takes it.
    let (status, reply) = world.call("PUT /x/_create/1", "{}");
    assert_eq!(status, 409, "{reply}");
    assert_eq!(world.call("PUT /x/_create/2", "{}").0, 201);
    let world = world.reopen();
    assert_eq!(world.call("GET /x/_doc/1", "").0, 200);
    assert_eq!(world.call("GET /x/_doc/2", "").0, 200);
}
