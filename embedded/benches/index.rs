//! The embedded index: documents per CPU second by bulks of 500, time to open 30 indices, searches over a million
//! documents, memory.
//!
//! In: nothing, or `--short`. Out: a line a job. Never: a pass without every document counted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at what it does not expect"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use embedded::{EmbeddedOptions, Index, Request};
use model::time::Clock;
use serde_json::{Value, json};

const BULK: usize = 500;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let documents = if short { 20_000 } else { 200_000 };
    let folder = tempfile::tempdir().unwrap();
    bulk(&folder.path().join("bulk"), documents, false);
    bulk(&folder.path().join("refreshed"), documents / 4, true);
    thirty_indices(&folder.path().join("thirty"), if short { 200 } else { 5_000 });
    searches(&folder.path().join("bulk"));
}

fn open(folder: &Path) -> Arc<Index> {
    let options =
        EmbeddedOptions { folder: folder.to_owned(), writer_mib: 32, refresh_ms: 1000, clock: Clock::System };
    embedded::open(options).unwrap()
}

fn call(index: &Index, method: &str, path: &str, query: &str, body: &[u8]) -> Value {
    let reply = index.handle(&Request { method, path, query, body });
    assert!(reply.status < 300, "{path}: {}", String::from_utf8_lossy(&reply.body));
    serde_json::from_slice(&reply.body).unwrap()
}

/// A document of 659 bytes, as MozDef's normal form has them.
fn document(n: usize) -> String {
    let mut event = json!({
        "receivedtimestamp": "2020-03-04T05:06:07.000000+00:00",
        "utctimestamp": format!("2020-03-04T{:02}:{:02}:{:02}.{:06}+00:00", n / 3600 % 24, n / 60 % 60, n % 60, n % 1_000_000),
        "timestamp": "2020-03-04T05:06:07.000000+00:00",
        "mozdefhostname": "mozdef1.example.com", "type": "event", "category": "authentication",
        "hostname": format!("web{}.example.com", n % 200), "processid": (n % 32_768).to_string(), "processname": "sshd",
        "severity": "INFO", "source": "authpriv", "tags": ["syslog", "ssh"],
        "summary": format!("Failed password for invalid user u{} from 10.{}.{}.{} port {} ssh2", n % 997, n % 7, n / 256 % 256, n % 256, 1024 + n % 60_000),
        "details": {"sourceipaddress": format!("10.{}.{}.{}", n % 7, n / 256 % 256, n % 256), "sourceport": (1024 + n % 60_000).to_string(),
            "username": format!("u{}", n % 997), "success": n.is_multiple_of(10)},
        "mozdef": {"plugins": ["parse_sshd", "ipFixup"]},
    });
    let missing = 659_usize.saturating_sub(event.to_string().len() + 9);
    event["pad"] = json!("x".repeat(missing));
    event.to_string()
}

fn bulks(documents: usize, index: impl Fn(usize) -> String) -> Vec<Vec<u8>> {
    (0..documents / BULK)
        .map(|bulk| {
            let mut body = String::new();
            for n in bulk * BULK..(bulk + 1) * BULK {
                body.push_str(&format!(
                    "{{\"create\":{{\"_index\":\"{}\",\"_id\":\"{n:032x}\"}}}}\n{}\n",
                    index(n),
                    document(n)
                ));
            }
            body.into_bytes()
        })
        .collect()
}

fn bulk(folder: &Path, documents: usize, searched: bool) {
    let bodies = bulks(documents, |_| "events-20200304".to_owned());
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let index = open(folder);
    call(
        &index,
        "PUT",
        "/_index_template/mozdef",
        "",
        embedded::cases::mozdef_template().to_string().as_bytes(),
    );
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    for body in &bodies {
        let reply = call(&index, "POST", "/_bulk", "", body);
        assert_eq!(reply["errors"], false);
        if searched {
            call(&index, "GET", "/events-20200304/_search", "size=0", b"");
        }
    }
    call(&index, "POST", "/_refresh", "", b"");
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let count = call(&index, "GET", "/events-20200304/_count", "", b"")["count"].as_u64();
    assert_eq!(count, Some(documents as u64));
    let name = if searched { "searched all the time, so committed each second" } else { "not searched" };
    println!(
        "bulks of {BULK}, {name}: {documents} documents of {} B, {cpu:.2} CPU s, {:.0} documents/CPU s, {wall:.2} s, RSS {} MiB",
        bytes / documents,
        documents as f64 / cpu,
        rss_mib()
    );
    index.close().unwrap();
    println!("  stored: {:.2} of the documents' bytes", folder_bytes(folder) as f64 / bytes as f64);
}

fn thirty_indices(folder: &Path, documents_each: usize) {
    let index = open(folder);
    call(
        &index,
        "PUT",
        "/_index_template/mozdef",
        "",
        embedded::cases::mozdef_template().to_string().as_bytes(),
    );
    for body in bulks(30 * documents_each, |n| format!("events-{:08}", n / documents_each)) {
        assert_eq!(call(&index, "POST", "/_bulk", "", &body)["errors"], false);
    }
    index.close().unwrap();
    drop(index);
    let start = Instant::now();
    let index = open(folder);
    let opened = start.elapsed();
    let count = call(&index, "GET", "/_count", "", b"")["count"].as_u64();
    assert_eq!(count, Some(30 * documents_each as u64));
    println!(
        "30 indices: open in {opened:.0?}, first count in {:.0?}, RSS {} MiB",
        start.elapsed(),
        rss_mib()
    );
}

fn searches(folder: &Path) {
    let index = open(folder);
    for (name, body) in [
        ("count all", json!({"size": 0})),
        ("term", json!({"query": {"term": {"hostname": "web7.example.com"}}})),
        ("words", json!({"query": {"match_phrase": {"summary": "invalid user u17"}}})),
        ("newest", json!({"query": {"match_all": {}}, "sort": [{"utctimestamp": "desc"}], "size": 100})),
        ("wildcard", json!({"query": {"wildcard": {"hostname": "*9.example*"}}})),
        ("terms", json!({"size": 0, "aggs": {"h": {"terms": {"field": "hostname"}}}})),
        ("terms on ip", json!({"size": 0, "aggs": {"h": {"terms": {"field": "details.sourceipaddress"}}}})),
        (
            "histogram",
            json!({"size": 0, "aggs": {"h": {"date_histogram": {"field": "utctimestamp", "fixed_interval": "1h"}, "aggs": {"u": {"terms": {"field": "details.username", "size": 3}}}}}}),
        ),
        (
            "cardinality",
            json!({"size": 0, "aggs": {"h": {"cardinality": {"field": "details.sourceipaddress"}}}}),
        ),
        ("word in all fields", json!({"query": {"query_string": {"query": "u17"}}})),
    ] {
        let body = body.to_string();
        call(&index, "POST", "/_search", "", body.as_bytes());
        let start = Instant::now();
        let reply = call(&index, "POST", "/_search", "track_total_hits=true", body.as_bytes());
        println!("  {name}: {:.1?}, {} hits", start.elapsed(), reply["hits"]["total"]["value"]);
    }
    println!("  RSS {} MiB", rss_mib());
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                folder_bytes(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}
