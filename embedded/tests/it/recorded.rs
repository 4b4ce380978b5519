//! Every recorded query case of the original must pass.

use std::path::PathBuf;

use embedded::cases::{Runner, mozdef_template, run_on};
use serde_json::Value;

use crate::real::Real;

fn recorded_folder() -> Option<PathBuf> {
    let shared = std::env::var_os("MOZDEF_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = shared.join("cases/mozdef/query");
    folder.is_dir().then_some(folder)
}

/// Runs every case; gives how many passed.
#[track_caller]
fn check(run: impl Fn(&Value) -> Result<(), String>) -> usize {
    let Some(folder) = recorded_folder() else {
        eprintln!("SKIPPED: recorded data absent: no cases/mozdef/query in $MOZDEF_SHARED");
        return 0;
    };
    let (mut passed, mut failed) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let case: Value = serde_json::from_str(line).unwrap();
            match run(&case) {
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
    passed
}

#[test]
fn all_query_cases_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let runner = Runner::new(scratch.path()).unwrap();
    check(|case| runner.run(case));
}

#[test]
fn all_query_cases_pass_on_a_real_server() {
    let Some(real) = Real::from_environment() else { return };
    let call = |method: &str, path: &str, query: &str, body: &[u8]| {
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let (status, reply) = real.call(method, &target, &String::from_utf8_lossy(body));
        if status < 300 { Ok(reply) } else { Err(format!("{method} {target}: {status} {reply}")) }
    };
    call("PUT", "/_index_template/mozdef", "", mozdef_template().to_string().as_bytes()).unwrap();
    let passed = check(|case| {
        let outcome = run_on(case, call);
        call("DELETE", "/events*", "", b"")?;
        outcome
    });
    println!("{passed} recorded cases pass on a real server");
}
