//! What one event costs: parse, visit every key and string, 30 reads, 15
//! writes, JSON. CPU time from `/proc/self/stat`, so other work on the machine
//! does not count.
//!
//! In: recorded events where `$MOZDEF_SHARED` (or `../../shared`) has them, and
//! an invented one. Out: a table. Never: a verdict; compare with the last run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops when its own input is wrong"
)]

use std::hint::black_box;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use model::event::{Event, Limits, New, Path, Value, Visit, scan_value};

/// CPU seconds that each figure is measured over.
const SECONDS: f64 = 1.0;

fn main() {
    // `cargo test --benches` runs this too; it wants to know only that it works.
    let seconds = if std::env::args().any(|arg| arg == "--bench") { SECONDS } else { 0.02 };
    println!(
        "{:<12} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>11}",
        "input", "bytes", "all ns", "parse", "lower", "visit", "write", "scan MB/s", "events/CPU s"
    );
    for (name, events) in inputs() {
        measure(name, &events, seconds);
    }
}

fn measure(name: &str, events: &[Vec<u8>], seconds: f64) {
    let limits = Limits::default();
    let paths = paths();
    let mut event = Event::new();
    let mut out = Vec::new();
    let bytes = events.iter().map(Vec::len).sum::<usize>() as f64 / events.len() as f64;
    let all = ns_per_call(seconds, events, |input| {
        event.parse(input, &limits).unwrap();
        event.lower_keys();
        visit(&event);
        read(&event, &paths);
        write(&mut event, &paths);
        out.clear();
        event.write_json(&mut out);
        black_box(&out);
    });
    let parse = ns_per_call(seconds, events, |input| {
        black_box(event.parse(input, &limits).unwrap());
    });
    let lower = ns_per_call(seconds, events, |input| {
        event.parse(input, &limits).unwrap();
        event.lower_keys();
    }) - parse;
    let visited = ns_per_call(seconds, events, |input| {
        event.parse(input, &limits).unwrap();
        visit(&event);
    }) - parse;
    let written = ns_per_call(seconds, events, |input| {
        event.parse(input, &limits).unwrap();
        out.clear();
        event.write_json(&mut out);
    }) - parse;
    let scan = ns_per_call(seconds, events, |input| {
        black_box(scan_value(input, 0, &limits).unwrap());
    });
    println!(
        "{name:<12} {bytes:>6.0} {all:>8.0} {parse:>8.0} {lower:>8.0} {visited:>8.0} {written:>8.0} {:>9.0} {:>11.0}",
        bytes / scan * 1e3,
        1e9 / all
    );
}

fn visit(event: &Event) {
    let mut length = 0;
    event.visit(&mut |shown| match shown {
        Visit::Key(text) | Visit::Leaf(Value::String(text)) => length += text.len(),
        Visit::Leaf(_) => length += 1,
    });
    black_box(length);
}

fn paths() -> Vec<Path> {
    let dotted = [
        "eventVersion",
        "eventTime",
        "eventSource",
        "eventName",
        "sourceIPAddress",
        "userIdentity.type",
        "userIdentity.arn",
        "event_type",
        "src_ip",
        "dest_ip",
        "timestamp",
        "alert.signature",
        "action",
        "sender.login",
        "repository.full_name",
        "summary",
        "tags",
        "details",
        "details.sourceipaddress",
        "category",
    ];
    dotted.iter().map(|path| Path::new(path)).collect()
}

/// 30 reads, about half of them of something that is there.
fn read(event: &Event, paths: &[Path]) {
    for path in paths.iter().chain(paths.iter().take(10)) {
        black_box(event.get(path));
    }
}

/// 15 writes, as the normalizer makes them.
fn write(event: &mut Event, paths: &[Path]) {
    let time = "2026-11-25T03:04:05.678901+00:00";
    event.set_member("receivedtimestamp", time).unwrap();
    event.set_member("utctimestamp", time).unwrap();
    event.set_member("timestamp", time).unwrap();
    event.set_member("mozdefhostname", "mozdef1.example.com").unwrap();
    event.set_member("category", "cloudtrail").unwrap();
    event.set_member("severity", "INFO").unwrap();
    event.set_member("summary", "someone did something from somewhere").unwrap();
    event.set_in("details", "sourceipaddress", "203.0.113.7").unwrap();
    event.set_in("details", "success", true).unwrap();
    event.set_in("details", "count", 17_u64).unwrap();
    event.set_in("details", "username", "alice").unwrap();
    event.set_in("mozdef", "plugins", New::EmptyArray).unwrap();
    event.set_in("details", "geo", "Milano, IT").unwrap();
    event.push(&paths[16], "cloudtrail").unwrap();
    event.push(&paths[16], "aws").unwrap();
}

fn ns_per_call(seconds: f64, events: &[Vec<u8>], mut call: impl FnMut(&[u8])) -> f64 {
    let mut calls = 0_u64;
    let start = cpu_seconds();
    loop {
        for _ in 0..(1 + 20_000 / events.len()) {
            for input in events {
                call(black_box(input));
                calls += 1;
            }
        }
        let used = cpu_seconds() - start;
        if used >= seconds {
            return used * 1e9 / calls as f64;
        }
    }
}

/// User and system time of this process; ticks are 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there on Linux");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn inputs() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut inputs = vec![("invented", vec![invented().into_bytes()])];
    let recorded = [
        ("suricata", "suricata/vast-eve-1183.jsonl.gz", 559),
        ("sysmon", "windows/vast-sysmon.jsonl.gz", 587),
        ("cloudtrail", "aws/invictus-cloudtrail-900.jsonl.gz", 1365),
        ("github", "github-webhooks/octokit-payloads.jsonl.gz", 9300),
    ];
    for (name, file, size) in recorded {
        match read_lines(file) {
            Ok(lines) => {
                inputs.push((name, nearest(lines.clone(), size)));
                inputs.push(("  mixed", lines));
            }
            Err(error) => println!("SKIPPED: recorded data absent: {file}: {error}"),
        }
    }
    inputs
}

/// The line whose length is nearest to `size`.
fn nearest(mut lines: Vec<Vec<u8>>, size: usize) -> Vec<Vec<u8>> {
    lines.sort_by_key(|line| line.len().abs_diff(size));
    lines.truncate(1);
    lines
}

fn read_lines(file: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let shared = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let mut text = Vec::new();
    BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(shared.join("data").join(file))?))
        .read_to_end(&mut text)?;
    let mut event = Event::new();
    let limits = Limits::default();
    Ok(text
        .split(|&b| b == b'\n')
        .filter(|line| event.parse(line, &limits).is_ok())
        .take(500)
        .map(<[u8]>::to_vec)
        .collect())
}

fn invented() -> String {
    let fields: String =
        (0..24).map(|n| format!("\"fieldNumber{n}\": \"value {n} of the event\", ")).collect();
    format!(
        "{{{fields}\"nested\": {{\"userName\": \"alice\", \"ids\": [1, 2, 3.5e2], \"ok\": true}}, \"text\": \"a \\\"quoted\\\" word\\n\"}}"
    )
}
