//! Real logs through key mapping and all native plugins: what a user posts is recognised, and no plugin fails.
//!
//! In: the collected public logs, where present. Out: failures that name the line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "helpers of tests")]

use std::io::Read;
use std::path::{Path, PathBuf};

use model::config::NormalizeConfig;
use model::time::Timestamp;
use normalize::offline::{Input, Offline, Result as Normal};
use serde_json::Value;

/// A folder or file of the collected logs; `None`, said aloud, when it is absent.
fn data(name: &str) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = std::env::var_os("MOZDEF_SHARED").map_or_else(|| manifest.join("../../shared"), PathBuf::from);
    let path = root.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: recorded data absent: {}", path.display());
    None
}

fn lines(path: &Path) -> Vec<String> {
    let mut bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .filter(|line| !line.trim().is_empty())
        .collect()
}

/// The whole way, without a log.
struct Normaliser(Offline);

impl Normaliser {
    fn new() -> Normaliser {
        let config = NormalizeConfig { hostname: "mozdef.test".to_owned(), ..Default::default() };
        Normaliser(Offline::new(&config, None).unwrap())
    }

    /// `None` for what is no JSON object, and for what a plugin drops.
    fn json(&mut self, line: &str) -> Option<Value> {
        self.run(Input::Json, line)
    }

    fn syslog(&mut self, line: &str) -> Option<Value> {
        self.run(Input::Syslog, line)
    }

    fn run(&mut self, input: Input, line: &str) -> Option<Value> {
        let received = Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").unwrap();
        let Normal::Event(json) = self.0.normalize(input, line.as_bytes(), received) else { return None };
        let event: Value = serde_json::from_slice(json).unwrap();
        let errors = event["mozdef"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut failures = errors.filter(|error| error.starts_with("plugin "));
        assert_eq!(failures.next(), None, "{line}");
        Some(event)
    }
}

fn text<'v>(event: &'v Value, pointer: &str) -> &'v str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn cloudtrail_records_are_recognised() {
    let Some(folder) = data("aws") else { return };
    let mut normaliser = Normaliser::new();
    let mut count = 0;
    for file in ["invictus-cloudtrail-900.jsonl.gz", "stratus-red-team-cloudtrail.jsonl.gz"] {
        for line in lines(&folder.join(file)) {
            let mut record: Value = serde_json::from_str(&line).unwrap();
            // One of the collections wraps its records with the name of an attack.
            if record["event"].is_object() {
                record = record["event"].take();
            }
            let event = normaliser.json(&record.to_string()).unwrap();
            let members = ["/source", "/type", "/severity"].map(|pointer| text(&event, pointer));
            assert_eq!(members, ["cloudtrail", "cloudtrail", "INFO"], "{line}");
            assert_eq!(event["hostname"], record["eventSource"], "{line}");
            assert_eq!(event["category"], record["eventType"], "{line}");
            let named = format!(" performed {} in ", text(&record, "/eventName"));
            assert!(text(&event, "/summary").contains(&named), "{line}");
            assert!(
                text(&event, "/details/eventname").ends_with(text(&event, "/details/eventverb"))
                    || event["details"]["eventreadonly"].is_boolean(),
                "{event}"
            );
            if !record["additionalEventData"].is_null() {
                assert!(event["details"]["additionaleventdata"]["raw_value"].is_string(), "{event}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 1210);
}

#[test]
fn cloudtrail_records_from_eventbridge_are_recognised() {
    let Some(file) = data("aws/cloud-custodian-eventbridge.jsonl.gz") else { return };
    let mut normaliser = Normaliser::new();
    let mut count = 0;
    for line in lines(&file) {
        // The collection wraps its records with the name of a file.
        let record = serde_json::from_str::<Value>(&line).unwrap()["event"].take();
        let detail = &record["detail"];
        if ["eventVersion", "eventName", "awsRegion", "eventSource"]
            .iter()
            .any(|key| !detail[key].is_string())
        {
            continue;
        }
        let event = normaliser.json(&record.to_string()).unwrap();
        assert_eq!(
            (text(&event, "/source"), text(&event, "/hostname")),
            ("cloudtrail", text(detail, "/eventSource")),
            "{line}"
        );
        assert_eq!(event["category"], detail["eventType"], "{line}");
        assert_eq!(text(&event, "/utctimestamp").get(..19), text(detail, "/eventTime").get(..19), "{line}");
        count += 1;
    }
    assert!(count > 8, "{count}");
}

#[test]
fn suricata_records_are_recognised() {
    let Some(folder) = data("suricata") else { return };
    let mut normaliser = Normaliser::new();
    let mut count = 0;
    for file in [
        "vast-eve-1183.jsonl.gz",
        "suricata-verify-fileinfo.json",
        "fever-alertify_input.json",
        "vast-eve-7.json",
    ] {
        for line in lines(&folder.join(file)) {
            let record: Value = serde_json::from_str(&line).unwrap();
            let Some(event) = normaliser.json(&line) else { continue };
            assert_eq!(
                (text(&event, "/category"), text(&event, "/source")),
                ("suricata", "eve-log"),
                "{line}"
            );
            assert_eq!(event["event_type"], record["event_type"], "{line}");
            assert_eq!(event["details"].get("alert"), None, "{line}");
            if record["src_ip"].is_string() {
                let ends = ["ipaddress", "ipv6address"]
                    .map(|kind| event["details"][format!("source{kind}")].clone());
                assert!(ends.contains(&record["src_ip"]), "{event}");
                assert_eq!(event["details"]["destinationport"], record["dest_port"], "{event}");
            }
            let signature = text(&record, "/alert/signature");
            assert!(text(&event, "/summary").contains(signature) && event["summary"] != "UNKNOWN", "{event}");
            assert_eq!(text(&event, "/details/suricata_alert/signature"), signature, "{event}");
            count += 1;
        }
    }
    assert!(count > 1180, "{count}");
}

#[test]
fn zeek_lines_are_recognised() {
    let Some(folder) = data("zeek/wrccdc-json") else { return };
    let mut normaliser = Normaliser::new();
    let mut count = 0;
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(log) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl.gz")) else {
            continue;
        };
        for line in lines(&path) {
            let record: Value = serde_json::from_str(&line).unwrap();
            let event = normaliser.json(&line).unwrap();
            assert_eq!((text(&event, "/category"), text(&event, "/source")), ("bro", log), "{line}");
            assert_ne!(event["summary"], "UNKNOWN", "{line}");
            if record["ts"].is_string() {
                assert_eq!(text(&event, "/utctimestamp").get(..19), text(&record, "/ts").get(..19), "{line}");
            }
            if record["id.orig_h"].is_string() && log != "notice" {
                let ends = ["ipaddress", "ipv6address"]
                    .map(|kind| event["details"][format!("source{kind}")].clone());
                assert!(ends.contains(&record["id.orig_h"]), "{event}");
                assert_eq!(event["details"]["destinationport"], record["id.resp_p"], "{event}");
            }
            if record["host"].is_string() {
                assert_eq!(event["details"]["host"], record["host"], "{event}");
            }
            count += 1;
        }
    }
    assert!(count > 5000, "{count}");
}

#[test]
fn logins_in_a_real_auth_log_are_all_read() {
    let Some(file) = data("syslog/elastic-auth-3000.log.gz") else { return };
    let mut normaliser = Normaliser::new();
    let mut read = std::collections::BTreeMap::<String, usize>::new();
    let mut expected = read.clone();
    let count = |counts: &mut std::collections::BTreeMap<String, usize>, what: &str| {
        *counts.entry(what.to_owned()).or_default() += 1
    };
    for line in lines(&file) {
        let event = normaliser.syslog(&line).unwrap();
        let status = text(&event, "/details/authstatus");
        if !status.is_empty() {
            assert!(
                text(&event, "/details/sourceipv4address").parse::<std::net::Ipv4Addr>().is_ok(),
                "{event}"
            );
            assert!(
                event["details"]["username"].is_string() && event["details"]["sourceport"].is_string(),
                "{event}"
            );
            count(&mut read, status);
        }
        match (text(&event, "/processname"), text(&event, "/details/status")) {
            ("sudo", "allowed") => count(&mut read, "sudo command"),
            ("sudo", "opened") => count(&mut read, "sudo session"),
            ("su", "opened") => count(&mut read, "su session"),
            _ => {}
        }
        for (words, what) in [
            ("Failed ", "Failed"),
            ("Accepted ", "Accepted"),
            ("COMMAND=", "sudo command"),
            ("pam_unix(sudo:session): session opened", "sudo session"),
            ("pam_unix(su:session): session opened", "su session"),
        ] {
            if line.contains(words) {
                count(&mut expected, what);
            }
        }
    }
    assert_eq!(read, expected);
    assert!(read.len() == 5 && read["Failed"] > 100, "{read:?}");
}

#[test]
fn no_plugin_fails_on_any_collected_line() {
    let Some(root) = data("") else { return };
    let mut normaliser = Normaliser::new();
    let (mut folders, mut events) = (vec![root], 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if [".json", ".jsonl", ".jsonl.gz", ".log", ".log.gz"]
                .iter()
                .any(|ending| name.ends_with(ending))
            {
                // The head of each file: kinds of lines repeat.
                for line in lines(&path).iter().take(300).filter(|line| line.len() < 100_000) {
                    events += usize::from(normaliser.json(line).is_some());
                    normaliser.syslog(line);
                }
            }
        }
    }
    assert!(events > 10_000, "{events}");
}
