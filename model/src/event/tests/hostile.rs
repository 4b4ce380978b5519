//! The recorded suite of hostile JSON files: `y_` is taken, `n_` is refused,
//! `i_` is free, and nothing panics.

use std::path::PathBuf;

use crate::event::{Event, Limits, ParseError, scan_value};

/// The recorded files of the suite: names and contents. Empty when they are absent.
pub(super) fn files() -> Vec<(String, Vec<u8>)> {
    let recorded = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let folder = recorded.join("data/json-hostile");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: recorded data absent: {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<(String, Vec<u8>)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok().filter(|name| name.ends_with(".json"))?;
            Some((name, std::fs::read(entry.path()).ok()?))
        })
        .collect();
    files.sort();
    files
}

/// Whether the whole input is one value, as the gateway sees it.
fn is_one_value(input: &[u8]) -> bool {
    let limits = Limits::default();
    match scan_value(input, 0, &limits) {
        Ok(Some(range)) => matches!(scan_value(input, range.end, &limits), Ok(None)),
        _ => false,
    }
}

#[test]
fn every_file_of_the_suite_meets_its_fate() {
    let mut event = Event::new();
    for (name, input) in files() {
        let parsed = event.parse(&input, &Limits::default());
        let is_json = matches!(parsed, Ok(_) | Err(ParseError::NotAnObject));
        assert_eq!(is_json, is_one_value(&input), "{name}: parse {parsed:?} and scan disagree");
        match name.as_bytes().first() {
            Some(b'y') => assert!(is_json, "{name}: {parsed:?}"),
            Some(b'n') => assert!(!is_json, "{name}: {parsed:?}"),
            _ => {}
        }
        if parsed.is_err() {
            assert!(event.root().is_empty(), "{name}");
        }
        // The same as a member: the root is an object then, and what follows is told apart all the same.
        if is_json && !input.starts_with(b"\xef\xbb\xbf") {
            let wrapped = [b"{\"k\":", &input[..], b"}"].concat();
            let result = event.parse(&wrapped, &Limits::default());
            assert!(result.is_ok(), "{name} as a member: {result:?}");
        }
    }
}
