//! `mozdef search`: events by a Lucene query.
//!
//! In: a query and a time range. Out: a table, or `{"total": N, "hits": […]}`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::arguments::Search;
use crate::client::AdminClient;
use crate::configuration::Loaded;
use crate::output;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Search) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(options.admin, &loaded.config)?;
    let size = options.size.to_string();
    let mut parameters = vec![("query", options.query.as_str()), ("size", size.as_str())];
    parameters.extend(options.from.as_deref().map(|from| ("from", from)));
    parameters.extend(options.to.as_deref().map(|to| ("to", to)));
    let found = client.get("/api/search", &parameters).await?;
    let total = found.get("total").and_then(Value::as_u64).unwrap_or(0);
    let hits = found.get("hits").and_then(Value::as_array).cloned().unwrap_or_default();
    if options.json {
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
