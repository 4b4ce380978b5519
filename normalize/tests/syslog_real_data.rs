//! Every collected syslog line becomes an event, and lines of the standard are
//! told from lines that are not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "helpers of tests")]

use std::io::Read;
use std::path::{Path, PathBuf};

use model::config::NormalizeConfig;
use model::event::Event;
use model::time::Timestamp;
use normalize::dates::Reference;
use normalize::offline::{Input, Offline, Result as Normalized};
use normalize::syslog::{self, Payload, Shape};
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data/syslog");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: recorded data absent at {}; set MOZDEF_SHARED", folder.display());
    None
}

fn received() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").unwrap()
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        return plain;
    }
    bytes
}

/// The lines of a file, or the `raw` of each object of a collection.
fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = read(path);
    let collection = path.to_string_lossy().contains(".jsonl") && !path.to_string_lossy().contains("lnav");
    let rows = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    if !collection {
        return rows.map(<[u8]>::to_vec).collect();
    }
    let raw = |row| {
        serde_json::from_slice::<Value>(row).unwrap()["raw"].as_str().map(|raw| raw.as_bytes().to_vec())
    };
    rows.filter_map(raw).filter(|raw| !raw.trim_ascii().is_empty()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(files(&path));
        } else if !name.starts_with("LICENSE") && !name.ends_with(".md") {
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn every_line_gives_an_event() {
    let Some(folder) = folder() else { return };
    let mut offline = Offline::new(&NormalizeConfig::default(), None).unwrap();
    let mut count = 0;
    for path in files(&folder) {
        for line in lines(&path) {
            let shown = String::from_utf8_lossy(&line).into_owned();
            let Normalized::Event(json) = offline.normalize(Input::Syslog, &line, received()) else {
                panic!("{}: no event of {shown}", path.display());
            };
            let event = Event::from_json(std::str::from_utf8(json).unwrap()).unwrap();
            let summary = event.member_str("summary").unwrap_or_default();
            let (readable, is_text) = syslog::read_text(&line);
            let message = syslog::parse(&readable, Reference::utc(received()));
            let text = message.text.trim_start_matches(' ');
            assert!(
                summary.trim_start_matches(' ') == text
                    || summary == "UNKNOWN"
                    || shown.contains(summary) && text.is_empty()
                    || message.payload.is_some(),
                "{shown}: {summary}"
            );
            let errors = event.member("mozdef").and_then(|m| m.as_object()?.get("errors"));
            let odd = !is_text
                || message.odd_priority.is_some()
                || matches!(message.payload, Some(Payload::Broken(_)));
            assert_eq!(errors.is_some(), odd, "{}: {errors:?} of {shown}", path.display());
            count += 1;
        }
    }
    println!("{count} lines");
    assert!(count > 4_500, "{count} lines");
}

#[test]
fn lines_of_sshd_and_sudo_have_all_their_parts() {
    let Some(folder) = folder() else { return };
    let text = String::from_utf8(read(&folder.join("elastic-auth-3000.log.gz"))).unwrap();
    let reference = Reference::utc(received());
    let mut count = 0;
    for line in text.lines() {
        let message = syslog::parse(line, reference);
        assert_eq!(message.shape, Shape::Rfc3164, "{line}");
        assert!(message.time.is_some() && message.hostname.is_some(), "{line}");
        let continued = message.program.is_none() && message.text.starts_with("message repeated");
        assert!(message.program.is_some() || continued, "{line}");
        assert_eq!(
            message.process_id.is_some(),
            line.contains(&format!("{}[", message.program.unwrap_or("-"))),
            "{line}"
        );
        assert!(line.ends_with(message.text), "{line}");
        count += 1;
    }
    assert_eq!(count, 3000);
}

#[test]
fn what_is_rfc_5424_to_the_letter_is_told_from_what_is_not() {
    let Some(folder) = folder() else { return };
    let rows = read(&folder.join("rfc5424-go-syslog.jsonl"));
    let (mut valid, mut wrong) = (0, Vec::new());
    for row in rows.split(|b| *b == b'\n').filter(|row| !row.is_empty()) {
        let row: Value = serde_json::from_slice(row).unwrap();
        let Some(raw) = row["raw"].as_str() else { continue };
        let message = syslog::parse(raw, Reference::utc(received()));
        let expected = row["valid"] == Value::Bool(true);
        valid += u32::from(expected);
        if (message.shape == Shape::Rfc5424) != expected {
            wrong.push(format!("{expected} {:?} {raw:?} ({})", message.shape, row["error"]));
        }
    }
    assert!(valid > 40, "{valid}");
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every device whose message holds CEF or LEEF is named by the event, with the fields that it sent.
#[test]
fn cef_and_leef_of_every_vendor_are_read() {
    let Some(folder) = folder() else { return };
    let mut offline = Offline::new(&NormalizeConfig::default(), None).unwrap();
    let mut count = 0;
    for name in ["sc4s-cef-leef.jsonl", "logstash-codec-cef.jsonl"] {
        for line in lines(&folder.join("../cef-leef").join(name)) {
            let shown = String::from_utf8_lossy(&line).into_owned();
            let Normalized::Event(json) = offline.normalize(Input::Syslog, &line, received()) else {
                panic!("no event of {shown}");
            };
            let event: Value = serde_json::from_slice(json).unwrap();
            // Pieces of messages that were cut are text.
            let bars = shown.matches('|').count();
            let begins = shown.find("CEF:").or_else(|| shown.find("LEEF:"));
            if begins.is_none_or(|at| at > 150) || bars < 6 {
                continue;
            }
            let details = &event["details"];
            assert!(
                details["signatureid"].is_string() || details["eventid"].is_string(),
                "{shown}\n{event:#}"
            );
            if shown.contains("src=1") {
                let read = details["sourceipaddress"].is_string() || details["src"].is_string();
                assert!(read, "{shown}\n{event:#}");
            }
            let header = shown.split("EF:").next().unwrap_or_default();
            if header.contains(" sc4s-host-1 ") {
                assert_eq!(event["hostname"], "sc4s-host-1", "{shown}");
            }
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}
