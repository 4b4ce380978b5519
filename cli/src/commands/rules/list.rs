//! `mozdef rules list`: which rules there are.
//!
//! In: rules as read; the newest alerts, where hits are asked for. Out: a table or JSON. Never: rules with mistakes; `check` tells of these.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Context;
use correlate::load::Parsed;
use correlate::sigma::document::{Body, Document, LogSource};
use model::config::Config;
use serde_json::{Value, json};

use crate::client::Asker;
use crate::output;
use crate::questions::Question;

/// Alerts by rule id.
pub(super) type Hits = HashMap<String, u64>;

/// Most alerts that are looked at.
const ALERTS_MAX: u32 = 10_000;

/// Counts the newest alerts by their rules.
pub(super) fn hits(admin: Option<String>, config: &Config) -> anyhow::Result<Hits> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.context("cannot start the runtime")?.block_on(async {
        let asker = Asker::of_index(admin, config)?;
        asker.ask(&Question::Alerts { size: ALERTS_MAX }).await
    })?;
    let mut hits = Hits::new();
    for alert in found.get("alerts").and_then(Value::as_array).into_iter().flatten() {
        if let Some(id) = alert.pointer("/rule/id").and_then(Value::as_str) {
            *hits.entry(id.to_owned()).or_default() += 1;
        }
    }
    Ok(hits)
}

/// Runs the command.
pub(super) fn run(parsed: &Parsed, hits: Option<&Hits>, as_json: bool) -> ExitCode {
    let of = |document: &Document| hits.map(|hits| hits.get(document.rule_id()).copied().unwrap_or(0));
    if as_json {
        output::json(
            &parsed.documents.iter().map(|document| as_value(document, parsed, of(document))).collect(),
        );
        return ExitCode::SUCCESS;
    }
    let row = |document: &Document| {
        let start = [document.rule_id(), document.level.as_str()].map(str::to_owned);
        let end = [document.title.clone(), format!("{}:{}", document.file, document.place.line)];
        let hits = of(document).map(|hits| hits.to_string());
        start.into_iter().chain([source(document)]).chain(hits).chain(end).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = parsed.documents.iter().map(row).collect();
    let count = rows.len();
    let head: &[&str] = match hits {
        Some(_) => &["ID", "LEVEL", "SOURCE", "HITS", "TITLE", "FILE"],
        None => &["ID", "LEVEL", "SOURCE", "TITLE", "FILE"],
    };
    output::line(&output::table(head, rows));
    output::line(&output::counted(count, "rule"));
    ExitCode::SUCCESS
}

/// `windows/process_creation`, or the kind of a correlation.
fn source(document: &Document) -> String {
    match &document.body {
        Body::Detection { logsource, .. } => source_text(logsource),
        Body::Correlation(part) => format!("{:?}", part.kind).to_lowercase(),
        Body::Filter(_) => "filter".to_owned(),
    }
}

/// The parts of a log source that are named.
pub(super) fn source_text(logsource: &LogSource) -> String {
    let parts = [&logsource.product, &logsource.service, &logsource.category];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/")
}

fn as_value(document: &Document, parsed: &Parsed, hits: Option<u64>) -> Value {
    let has_source = match &document.body {
        Body::Detection { logsource, .. } => parsed.sources.gives(logsource),
        Body::Correlation(_) | Body::Filter(_) => true,
    };
    let mut value = json!({
        "id": document.rule_id(), "title": document.title, "level": document.level.as_str(), "tags": document.tags,
        "source": source(document), "has_source": has_source, "file": &*document.file, "line": document.place.line,
    });
    if let (Some(map), Some(hits)) = (value.as_object_mut(), hits) {
        map.insert("hits".to_owned(), hits.into());
    }
    value
}
