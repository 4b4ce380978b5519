//! A Cargo project that uses the SDK becomes a component.
//!
//! In: the project's folder. Out: a component of a few tens of kilobytes. Never: another target than the one that has
//! no system under it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BuildError, file_error, tail};
use crate::component;

/// The target that plugins are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What to do without the target.
const REMEDY: &str = "run `rustup target add wasm32-unknown-unknown`";

/// The SDK, file by file, as `mozdef plugin new` lays it beside a project.
pub fn sdk_files() -> [(&'static str, &'static str); 5] {
    [
        ("sdk/Cargo.toml", include_str!("../../sdk/Cargo.toml")),
        ("sdk/src/lib.rs", include_str!("../../sdk/src/lib.rs")),
        ("sdk/src/event.rs", include_str!("../../sdk/src/event.rs")),
        ("sdk/src/scan.rs", include_str!("../../sdk/src/scan.rs")),
        ("wit/plugin.wit", crate::contract::WIT),
    ]
}

/// The component of a project, with these of its features.
///
/// # Errors
/// See [`BuildError`].
pub fn rust(project: &Path, features: &[String]) -> Result<Vec<u8>, BuildError> {
    let manifest = project.join("Cargo.toml");
    if !manifest.exists() {
        return Err(BuildError::Source(format!("{} is not there", manifest.display())));
    }
    has_target(project)?;
    let output = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .args(["--features", &features.join(",")])
        .current_dir(project)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| missing("cargo", &error.to_string()))?;
    if !output.status.success() {
        let errors = tail(&std::process::Output { stdout: Vec::new(), ..output });
        let is_about_crates =
            ["failed to download", "failed to fetch", "failed to query", "spurious network error"]
                .iter()
                .any(|words| errors.contains(words));
        if is_about_crates {
            let remedy = "let cargo reach its registry, or fetch the crates beforehand (`cargo fetch`)";
            return Err(BuildError::Tool { tool: "a crate", why: errors, remedy });
        }
        return Err(BuildError::Compile(errors));
    }
    let file = artifact(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        BuildError::Source(
            "cargo made no .wasm file; Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`".to_owned(),
        )
    })?;
    let module = std::fs::read(&file).map_err(file_error(&file))?;
    component::from_module(&module).map_err(|error| BuildError::Source(error.to_string()))
}

/// The last `.wasm` file that cargo names: that of the project, after those it depends on.
fn artifact(messages: &str) -> Option<PathBuf> {
    let files = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?.clone();
        files.iter().filter_map(|file| file.as_str()).rfind(|file| file.ends_with(".wasm")).map(PathBuf::from)
    };
    messages.lines().rev().find_map(files)
}

/// Whether the target's own library is installed. By rustup, in the project: it may choose another toolchain.
fn has_target(project: &Path) -> Result<(), BuildError> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(project)
        .output()
        .map_err(|error| missing("rustc", &error.to_string()))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && Path::new(&folder).is_dir() {
        return Ok(());
    }
    Err(BuildError::Tool {
        tool: "the Rust target wasm32-unknown-unknown",
        why: format!("there is no folder {folder:?}"),
        remedy: REMEDY,
    })
}

fn missing(tool: &'static str, why: &str) -> BuildError {
    BuildError::Tool { tool, why: why.to_owned(), remedy: "install Rust (rustup)" }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::artifact;

    #[test]
    fn the_projects_own_file_is_the_last_one() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/dep.wasm\"]}\n",
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/mine.d\",\"/t/mine.wasm\"]}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n"
        );
        assert_eq!(artifact(messages), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(artifact("{\"filenames\":[\"/t/a.rlib\"]}\nnonsense"), None);
    }
}
