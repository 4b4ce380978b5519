//! Runs MozDef's recorded cases of single plugins: `cases/mozdef/normalise/<plugin>.jsonl`.
//!
//! In: the recorded cases, where present, and the deviations that we list. Out: a failure
//! that names each case which differs. Cases of plugins that are not built yet are counted aloud.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::event::Event;
use model::time::Timestamp;
use normalize::builtin::ALL;
use normalize::plugin::{Builtin, Context, Metadata, Outcome};
use serde_json::{Map, Value};

/// File and name of a case, and what is right instead of what was recorded.
type Deviations = BTreeMap<(String, String), Value>;

fn recorded_cases() -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = std::env::var_os("MOZDEF_SHARED").map_or_else(|| manifest.join("../../shared"), PathBuf::from);
    let folder = root.join("cases/mozdef/normalise");
    folder.is_dir().then_some(folder)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn deviations() -> Deviations {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/deviations/normalise.jsonl");
    if !path.exists() {
        return Deviations::new();
    }
    let key = |line: &Value, name: &str| {
        line[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {line}")).to_owned()
    };
    lines(&path).into_iter().map(|line| ((key(&line, "file"), key(&line, "name")), line)).collect()
}

/// What came out: the event (null when dropped) and where it goes.
fn run(plugin: &Builtin, case: &Value) -> Result<(Value, Metadata), String> {
    let mut event = Event::from_json(&case["input"].to_string()).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let now = case["now"].as_str().and_then(Timestamp::parse_rfc3339).unwrap_or(Timestamp::EPOCH);
    // Two cases of MozDef's own tests gave the plugin another name than the worker's.
    let recorded =
        text(&case["expected"]["mozdefhostname"]).filter(|_| !is_volatile(case, "/mozdefhostname"));
    let hostname = recorded.or_else(|| text(&case["mozdefhostname"]));
    let index = text(&case["metadata_in"]["index"]).filter(|index| index != "events");
    let metadata = Metadata { index, id: text(&case["metadata_in"]["id"]) };
    let sites = normalize::cases::sites();
    let hostname = hostname.as_deref().unwrap_or("test");
    let mut context = Context { now, hostname, geoip: None, sites: &sites, metadata };
    let outcome = (plugin.run)(&mut event, &mut context).map_err(|error| error.to_string())?;
    let out = serde_json::from_str(&event.to_json()).map_err(|error| error.to_string())?;
    if outcome == Outcome::Unchanged && out != case["input"] {
        return Err(format!("said unchanged, but wrote {out}"));
    }
    Ok((if outcome == Outcome::Dropped { Value::Null } else { out }, context.metadata))
}

fn is_volatile(case: &Value, pointer: &str) -> bool {
    case["volatile"].as_array().is_some_and(|pointers| pointers.iter().any(|volatile| volatile == pointer))
}

/// Removes what a case calls volatile: top-level members and members of objects, by JSON pointer.
fn without_volatile(mut value: Value, case: &Value) -> Value {
    for pointer in case["volatile"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Some((parent, key)) = pointer.rsplit_once('/') {
            value
                .pointer_mut(parent)
                .and_then(Value::as_object_mut)
                .map(|object: &mut Map<String, Value>| object.shift_remove(key));
        }
    }
    value
}

fn check(plugin: &Builtin, case: &Value, deviation: Option<&Value>) -> Result<(), String> {
    let right = |field: &str| {
        deviation
            .and_then(|d| d.get(field))
            .or_else(|| case["intended"].get(field))
            .unwrap_or(&case[field])
            .clone()
    };
    let (out, metadata) = run(plugin, case)?;
    let (out, expected) = (without_volatile(out, case), without_volatile(right("expected"), case));
    if out != expected {
        return Err(format!("got      {out}\n    expected {expected}"));
    }
    let expected = right("metadata_out");
    let index = expected["index"].as_str().filter(|index| *index != "events");
    if (metadata.index.as_deref(), metadata.id.as_deref()) != (index, expected["id"].as_str()) {
        return Err(format!("got {metadata:?}, expected {expected}"));
    }
    Ok(())
}

#[test]
fn recorded_cases_of_plugins() {
    let Some(folder) = recorded_cases() else {
        println!("SKIPPED: recorded data absent: cases of plugins");
        return;
    };
    let deviations = deviations();
    let (mut passed, mut deviating, mut unsupported, mut failed) = (0, 0, 0, Vec::new());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let cases = lines(path);
        let Some(plugin) = ALL.iter().find(|plugin| plugin.name == name) else {
            unsupported += cases.len();
            continue;
        };
        for case in &cases {
            let file = format!("normalise/{name}.jsonl");
            let deviation =
                deviations.get(&(file.clone(), case["name"].as_str().unwrap_or_default().to_owned()));
            deviating += usize::from(deviation.is_some());
            match check(plugin, case, deviation) {
                Ok(()) => passed += 1,
                Err(reason) => failed.push(format!("{file} {}: {reason}", case["name"])),
            }
        }
    }
    println!(
        "normalise: {passed} passed ({deviating} by a listed deviation), {} failed, {unsupported} not yet supported",
        failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > 0);
}

#[test]
fn every_listed_deviation_is_of_a_case_that_exists() {
    let Some(folder) = recorded_cases() else {
        println!("SKIPPED: recorded data absent: cases of plugins");
        return;
    };
    for ((file, name), _) in deviations() {
        let path = folder.join(file.trim_start_matches("normalise/"));
        assert!(lines(&path).iter().any(|case| case["name"] == name.as_str()), "{file}: no case {name}");
    }
}
