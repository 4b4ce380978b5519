//! `mozdef config check|schema`.
//!
//! In: a configuration file. Out: every mistake with its line, or the JSON Schema.

use std::path::Path;
use std::process::ExitCode;

use model::config::Config;
use serde_json::json;

use crate::arguments::ConfigCommand;
use crate::{configuration, output};

/// Runs the command.
pub(crate) fn run(config_file: Option<&Path>, command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file, json } => check(file.as_deref().or(config_file), json),
        ConfigCommand::Schema => {
            output::line(&serde_json::to_string_pretty(&Config::json_schema())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(explicit: Option<&Path>, as_json: bool) -> anyhow::Result<ExitCode> {
    let Some(file) = configuration::find(explicit) else {
        if as_json {
            output::json(&json!({"file": null, "errors": []}));
        } else {
            output::line("no configuration file: the defaults are in force (see `mozdef config schema`)");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let errors = configuration::mistakes(&file)?;
    if as_json {
        let errors: Vec<_> = errors
            .iter()
            .map(|error| {
                let (line, column) = error.place.map_or((None, None), |place| (Some(place.line), Some(place.column)));
                json!({"line": line, "column": column, "key": error.key, "message": error.problem.to_string()})
            })
            .collect();
        output::json(&json!({"file": file, "errors": errors}));
    } else {
        for error in &errors {
            output::line(&format!("{}:{error}", file.display()));
        }
        let verdict =
            if errors.is_empty() { "is right".to_owned() } else { output::counted(errors.len(), "mistake") };
        output::line(&format!("{}: {verdict}", file.display()));
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
