//! Every recorded query case of the original must pass.

use std::path::PathBuf;

use embedded::cases::Runner;
use serde_json::Value;

fn recorded_folder() -> Option<PathBuf> {
    let shared = std::env::var_os("MOZDEF_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = shared.join("cases/mozdef/query");
    folder.is_dir().then_some(folder)
}

#[test]
fn all_query_cases_pass() {
    let Some(folder) = recorded_folder() else {
        eprintln!("SKIPPED: recorded data absent: no cases/mozdef/query in $MOZDEF_SHARED");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let runner = Runner::new(scratch.path()).unwrap();
    let (mut passed, mut failed) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let case: Value = serde_json::from_str(line).unwrap();
            match runner.run(&case) {
                Ok(()) => passed += 1,
                Err(reason) => failed.push(format!(
                    "{}:{} {}: {reason}",
                    file.file_name().unwrap().to_string_lossy(),
                    number + 1,
                    case["name"]
                )),
            }
        }
    }
    assert!(failed.is_empty(), "{passed} passed, {} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(passed > 0, "no case in {}", folder.display());
}
