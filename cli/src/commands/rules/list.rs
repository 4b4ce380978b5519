//! `mozdef rules list`: which rules there are.
//!
//! In: rules as read. Out: a table or JSON. Never: rules with mistakes; `check` tells of these.

use std::process::ExitCode;

use correlate::load::Parsed;
use correlate::sigma::document::{Body, Document, LogSource};
use serde_json::{Value, json};

use crate::output;

/// Runs the command.
pub(super) fn run(parsed: &Parsed, as_json: bool) -> ExitCode {
    if as_json {
        output::json(&parsed.documents.iter().map(|document| as_value(document, parsed)).collect());
        return ExitCode::SUCCESS;
    }
    let row = |document: &Document| {
        vec![
            document.rule_id().to_owned(),
            document.level.as_str().to_owned(),
            source(document),
            document.title.clone(),
            format!("{}:{}", document.file, document.place.line),
        ]
    };
    let rows: Vec<Vec<String>> = parsed.documents.iter().map(row).collect();
    let count = rows.len();
    output::line(&output::table(&["ID", "LEVEL", "SOURCE", "TITLE", "FILE"], rows));
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

fn as_value(document: &Document, parsed: &Parsed) -> Value {
    let has_source = match &document.body {
        Body::Detection { logsource, .. } => parsed.sources.gives(logsource),
        Body::Correlation(_) | Body::Filter(_) => true,
    };
    json!({
        "id": document.rule_id(), "title": document.title, "level": document.level.as_str(), "tags": document.tags,
        "source": source(document), "has_source": has_source, "file": &*document.file, "line": document.place.line,
    })
}
