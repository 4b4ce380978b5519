//! `mozdef raw get`: what came in as an event, byte for byte.
//!
//! In: `mozdef.raw`, of a running MozDef or on Kafka. Out: the record with its headers, JSON, or the bytes alone.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::record;
use crate::arguments::Raw;
use crate::client::Asker;
use crate::configuration::Loaded;
use crate::output;
use crate::questions::Question;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, command: Raw) -> anyhow::Result<ExitCode> {
    let Raw::Get { id, json, bytes, admin } = command;
    let asker = Asker::of_log(admin, &loaded.config).await?;
    let found = asker.ask(&Question::Original { id }).await?;
    if bytes {
        let text = found.get("base64").and_then(Value::as_str).unwrap_or_default();
        let value = STANDARD.decode(text).context("the answer is no base64")?;
        std::io::stdout().write_all(&value).context("cannot write to standard output")?;
    } else if json {
        output::json(&found);
    } else {
        record::print(&found);
    }
    Ok(ExitCode::SUCCESS)
}
