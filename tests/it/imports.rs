//! Imports between rooms point downwards only; each outside system has one door.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Room → rooms it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("stream", &["model"]),
    ("embedded", &["model"]),
    ("sink", &["stream", "model"]),
    ("ingest", &["stream", "model"]),
    ("mozdef-plugin", &[]),
    ("plugins", &["model"]),
    ("normalize", &["plugins", "stream", "model"]),
    ("correlate", &["stream", "model"]),
    ("mozdef", &["model", "stream", "embedded", "sink", "ingest", "plugins", "normalize", "correlate"]),
    ("chart", &["model"]),
    ("tests", &["model", "stream", "embedded", "sink", "ingest", "plugins", "normalize", "correlate"]),
];

/// Crate → the only rooms that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("fjall", &["stream"]),
    ("rdkafka", &["stream"]),
    ("lapin", &["ingest"]),
    ("aws-sdk-sqs", &["ingest"]),
    ("aws-sdk-s3", &["ingest"]),
    ("tantivy", &["embedded"]),
    ("opensearch", &["sink"]),
    ("maxminddb", &["normalize"]),
    ("wasmtime", &["plugins"]),
    ("minijinja", &["correlate"]),
    ("schema_registry_converter", &["normalize"]),
    ("clap", &["mozdef"]),
    ("prometheus", &["model"]),
];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let normal = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), normal(package))).collect()
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let rooms = dependencies();
    assert_eq!(
        rooms.len(),
        ALLOWED.len(),
        "a room is missing from the list in this test: {:?}",
        rooms.keys()
    );
    for (room, allowed) in ALLOWED {
        let wrong: Vec<_> = rooms[*room]
            .iter()
            .filter(|d| rooms.contains_key(*d) && !allowed.contains(&d.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{room} must not import {wrong:?}");
    }
}

#[test]
fn every_outside_system_has_one_door() {
    for (room, names) in dependencies() {
        for (crate_name, doors) in DOORS {
            let named = names.iter().any(|name| name == crate_name);
            assert!(
                !named || doors.contains(&room.as_str()),
                "{room} names {crate_name}; only {doors:?} may"
            );
        }
    }
}
