//! `mozdef plugin new`: a plugin to start from.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::arguments::{Language, New};
use crate::output;

const PYTHON: &str = include_str!("templates/plugin.py.txt");
const RUST: &str = include_str!("templates/lib.rs.txt");
const MANIFEST: &str = include_str!("templates/Cargo.toml.txt");
const CASES: &str = include_str!("templates/cases.jsonl.txt");

/// Runs the command.
pub(super) fn run(options: &New) -> anyhow::Result<ExitCode> {
    let name = options.name.as_str();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.len() > 64
        || !name.chars().all(is_word)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        bail!("{name:?} is no name: letters, digits and `_`, not a digit first, at most 64");
    }
    let folder = Path::new(name);
    if folder.exists() {
        bail!("{name} is there already; choose another name, or go on in it");
    }
    let fill = |text: &str| text.replace("__NAME__", name);
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    match options.lang {
        Language::Python => {
            write(&format!("{name}.py"), &fill(PYTHON))?;
            write(&format!("{name}.cases.jsonl"), &fill(CASES))?;
        }
        Language::Rust => {
            write("Cargo.toml", &fill(MANIFEST))?;
            write("src/lib.rs", &fill(RUST))?;
            write(&format!("{name}.cases.jsonl"), &fill(CASES))?;
            for (file, text) in plugins::build::sdk_files() {
                write(&format!("mozdef-plugin/{file}"), text)?;
            }
        }
    }
    let source = if options.lang == Language::Python { format!("{name}/{name}.py") } else { name.to_owned() };
    output::line(&format!("made {name}/"));
    output::line(&format!(
        "next: mozdef plugin build {source} && mozdef plugin test {name}.wasm --cases {name}/{name}.cases.jsonl"
    ));
    Ok(ExitCode::SUCCESS)
}
