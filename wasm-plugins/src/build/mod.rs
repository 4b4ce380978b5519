//! From an author's source to a `.wasm` file, with the tools that the author has.
//!
//! In: a Python file, or a Cargo project. Out: a component. Never: tools that are fetched without a word, or a
//! missing tool that is passed over in silence.

mod python;
mod rust;

use std::path::PathBuf;

pub use self::python::{COMPONENTIZE_PY, python};
pub use self::rust::{TARGET, rust, sdk_files};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is missing, and what to do about it.
    #[error("{tool} is missing: {why}; {remedy}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// What was tried.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The source is not what can be built.
    #[error("{0}")]
    Source(String),
    /// The compiler refused it.
    #[error("it does not compile:\n{0}")]
    Compile(String),
    /// Files.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl BuildError {
    /// Whether the machine lacks something, rather than the source.
    pub fn is_about_tools(&self) -> bool {
        matches!(self, BuildError::Tool { .. })
    }
}

fn file_error(path: &std::path::Path) -> impl Fn(std::io::Error) -> BuildError + '_ {
    |source| BuildError::File { path: path.to_owned(), source }
}

/// The last lines of what a tool has said.
fn tail(output: &std::process::Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}
