//! Where the recorded cases and real logs are: beside the project, never in it.

use std::path::PathBuf;

/// The folder of recorded data, or `None` with a loud word when it is absent.
pub fn folder() -> Option<PathBuf> {
    let path = match std::env::var_os("MOZDEF_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    if path.join("data").is_dir() {
        return path.canonicalize().ok();
    }
    skipped(&format!("recorded data absent at {}; set MOZDEF_SHARED", path.display()));
    None
}

/// Says that a test did not run, and fails it where skipping is not allowed.
///
/// # Panics
///
/// Under `CI=true`, unless `ALLOW_SKIP=1`.
#[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    let strict = std::env::var_os("CI").is_some() && std::env::var_os("ALLOW_SKIP").is_none();
    assert!(!strict, "a test was skipped in CI: {why}");
}

/// A count for `make test`, or ten times as much (`MOZDEF_LONG=1`) for `make faults`.
pub fn scaled(short: usize) -> usize {
    if std::env::var_os("MOZDEF_LONG").is_some() { short * 10 } else { short }
}
