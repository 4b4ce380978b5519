//! `mozdef dlq list|show`: what could not be processed, and why.
//!
//! In: `mozdef.dead`, of a running MozDef or on Kafka. Out: a table, one letter whole, or JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::record;
use crate::arguments::Dlq;
use crate::client::Asker;
use crate::configuration::Loaded;
use crate::output;
use crate::questions::Question;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, command: Dlq) -> anyhow::Result<ExitCode> {
    match command {
        Dlq::List { size, json, admin } => {
            let asker = Asker::of_log(admin, &loaded.config).await?;
            list(&asker, size, json).await
        }
        Dlq::Show { id, json, admin } => {
            let asker = Asker::of_log(admin, &loaded.config).await?;
            show(&asker, id, json).await
        }
    }
}

async fn list(asker: &Asker, size: u32, as_json: bool) -> anyhow::Result<ExitCode> {
    let found = asker.ask(&Question::Letters { size }).await?;
    let total = found.get("total").and_then(Value::as_u64).unwrap_or(0);
    let letters = found.get("letters").and_then(Value::as_array).cloned().unwrap_or_default();
    if as_json {
        output::json(&json!({"total": total, "letters": letters}));
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        output::line("no dead letter");
        return Ok(ExitCode::SUCCESS);
    }
    let rows = letters.iter().map(row).collect();
    output::line(&output::table(&["TIME", "ID", "STAGE", "REASON", "DETAIL"], rows));
    output::line(&format!(
        "{} of {}; `mozdef dlq show ID` prints one whole",
        letters.len(),
        output::counted(total as usize, "dead letter")
    ));
    Ok(ExitCode::SUCCESS)
}

fn row(letter: &Value) -> Vec<String> {
    let text = |key: &str| letter.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    vec![text("time"), text("id"), text("stage"), text("reason"), text("detail")]
}

async fn show(asker: &Asker, id: String, as_json: bool) -> anyhow::Result<ExitCode> {
    let letter = asker.ask(&Question::Letter { id }).await?;
    if as_json {
        output::json(&letter);
        return Ok(ExitCode::SUCCESS);
    }
    record::print(&letter);
    Ok(ExitCode::SUCCESS)
}
