//! The recorded cases of this room, with the listed right value where the
//! original was wrong: `tests/deviations/<area>.jsonl` beside this crate.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use normalize::cases::{Area, Outcome, is_row_of, run};
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("cases/mozdef");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: recorded data absent at {}; set MOZDEF_SHARED", folder.display());
    None
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if path.extension().is_some_and(|extension| extension == "json") {
        return vec![serde_json::from_str(&text).unwrap()];
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn rows(area: Area) -> Vec<Value> {
    let path = format!("../tests/deviations/{}.jsonl", area.folder());
    lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

#[track_caller]
fn check(area: Area, passed_least: usize) {
    let Some(folder) = folder() else { return };
    let rows = rows(area);
    let mut used = vec![false; rows.len()];
    let (mut passed, mut unsupported, mut failed) = (0, Vec::new(), Vec::new());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join(area.folder())).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files {
        let file = path.file_stem().and_then(|stem| stem.to_str()).unwrap().to_owned();
        for case in lines(&path) {
            let row = rows.iter().position(|row| is_row_of(row, area, &file, &case));
            if let Some(row) = row {
                used[row] = true;
            }
            match run(area, &file, &case, row.map(|row| &rows[row])) {
                Outcome::Passed => passed += 1,
                Outcome::NotYetSupported(why) => unsupported.push(why),
                Outcome::Failed(why) => failed.push(format!("{file}: {}: {why}", case["name"])),
            }
        }
    }
    println!(
        "{}: {passed} passed, {} failed, {} not yet supported",
        area.folder(),
        failed.len(),
        unsupported.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed >= passed_least, "only {passed} passed; not yet supported: {unsupported:?}");
    let idle: Vec<&Value> = rows.iter().zip(&used).filter(|(_, used)| !**used).map(|(row, _)| row).collect();
    assert!(idle.is_empty(), "deviations of no case: {idle:?}");
}

#[test]
fn key_mapping() {
    check(Area::KeyMapping, 156);
}

#[test]
fn required_fields() {
    check(Area::Schema, 5);
}

#[test]
fn helpers() {
    check(Area::Util, 52);
}

#[test]
fn dispatch() {
    check(Area::Dispatch, 10);
}

#[test]
fn pipeline() {
    check(Area::Pipeline, 20);
}

#[test]
fn single_plugins() {
    check(Area::Normalise, 100);
}
