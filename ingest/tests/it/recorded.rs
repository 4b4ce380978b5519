//! Every recorded request to the original's loginput.

use std::path::{Path, PathBuf};

use ingest::cases::{Outcome, is_row_of, run};
use serde_json::Value;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_recorded_request_is_answered_as_recorded_or_as_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("MOZDEF_SHARED").map_or_else(|| root.join("../../shared"), PathBuf::from);
    let file = shared.join("cases/mozdef/http/loginput.jsonl");
    if !file.is_file() {
        println!("SKIPPED: recorded data absent at {}; set MOZDEF_SHARED", file.display());
        return;
    }
    let rows = lines(&root.join("../tests/deviations/http.jsonl"));
    let mut used = vec![false; rows.len()];
    let mut failed = Vec::new();
    let cases = lines(&file);
    for case in &cases {
        let row = rows.iter().position(|row| is_row_of(row, "loginput", case));
        if let Some(row) = row {
            used[row] = true;
        }
        match run("loginput", case, row.map(|row| &rows[row])).await {
            Outcome::Passed => {}
            other => failed.push(format!("{}: {other:?}", case["name"])),
        }
        // A row that is not needed any more must go.
        if row.is_some() && run("loginput", case, None).await == Outcome::Passed {
            failed.push(format!("{}: passes as recorded, and is listed", case["name"]));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(used.iter().all(|used| *used), "rows without a case: {used:?}");
    assert!(cases.len() >= 27, "{} cases", cases.len());
}
