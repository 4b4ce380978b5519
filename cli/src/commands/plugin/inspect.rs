//! `mozdef plugin inspect`: what a `.wasm` file is.

use std::process::ExitCode;

use model::config::Config;
use plugins::{digest_of, inspect::outline};
use serde_json::json;

use super::arguments::Inspect;
use super::build::words;
use super::{load, read};
use crate::output;

/// Runs the command.
pub(super) fn run(config: &Config, options: &Inspect) -> anyhow::Result<ExitCode> {
    let bytes = read(&options.file)?;
    let outline = outline(&bytes).map_err(|error| anyhow::anyhow!("{}: {error}", options.file.display()))?;
    let not_offered: Vec<&str> = outline.not_offered().collect();
    let loaded = load(&config.normalize.plugins, &options.file);
    let digest = digest_of(&bytes);
    let good = loaded.is_ok();
    if options.json {
        let description = loaded.as_ref().ok().map(|loaded| &loaded.description);
        output::json(&json!({
            "file": options.file, "bytes": bytes.len(), "digest": digest,
            "is_component": outline.is_component, "imports": outline.imports, "exports": outline.exports,
            "not_offered": not_offered,
            "name": description.map(|d| &d.name), "version": description.map(|d| &d.version),
            "registration": description.map(|d| &d.registration), "any": description.map(|d| d.any),
            "priority": description.map(|d| d.priority),
            "error": loaded.as_ref().err().map(|error| format!("{error:#}")),
        }));
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    output::line(&format!("{} {} bytes, sha256 {digest}", options.file.display(), bytes.len()));
    match &loaded {
        Ok(loaded) => {
            let description = &loaded.description;
            output::line(&format!(
                "  name      {} {}",
                description.name,
                output::printable(&description.version)
            ));
            output::line(&format!("  runs on   {}, priority {}", words(description), description.priority));
        }
        Err(error) => output::line(&format!("  REFUSED   {}", output::printable(&format!("{error:#}")))),
    }
    for import in &outline.imports {
        let remark = if not_offered.contains(&import.as_str()) {
            " (not offered)"
        } else if import.starts_with("wasi:") {
            " (empty, or a trap)"
        } else {
            ""
        };
        output::line(&format!("  imports   {}{remark}", output::printable(import)));
    }
    for export in &outline.exports {
        output::line(&format!("  exports   {}", output::printable(export)));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
