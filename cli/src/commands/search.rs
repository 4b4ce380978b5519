//! `mozdef search`: events by a Lucene query.
//!
//! In: a query and a time range. Out: a table, or `{"total": N, "hits": […]}`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::arguments::Search;
use crate::client::Asker;
use crate::configuration::Loaded;
use crate::output;
use crate::questions::Question;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Search) -> anyhow::Result<ExitCode> {
    let Search { query, from, to, size, json: as_json, admin } = options;
    let asker = Asker::of_index(admin, &loaded.config)?;
    let found = asker.ask(&Question::Events { query, from, to, size }).await?;
    let total = found.get("total").and_then(Value::as_u64).unwrap_or(0);
    let hits = found.get("hits").and_then(Value::as_array).cloned().unwrap_or_default();
    if as_json {
        output::json(&json!({"total": total, "hits": hits}));
        return Ok(ExitCode::SUCCESS);
    }
    if hits.is_empty() {
        output::line(if total == 0 { "no event found" } else { "events found, none shown (--size 0)" });
        return Ok(ExitCode::SUCCESS);
    }
    let rows = hits.iter().map(row).collect();
    output::line(&output::table(&["TIME", "HOST", "CATEGORY", "SEVERITY", "SUMMARY"], rows));
    output::line(&format!("{} of {}", hits.len(), output::counted(total as usize, "event")));
    Ok(ExitCode::SUCCESS)
}

fn row(hit: &Value) -> Vec<String> {
    let source = hit.get("_source").unwrap_or(hit);
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    vec![text("utctimestamp"), text("hostname"), text("category"), text("severity"), text("summary")]
}
