//! `mozdef alerts`: the newest alerts, or each as it is raised.
//!
//! In: the alerts of a running MozDef, or of its index and topic. Out: a table, a line for each, or JSON.

use std::process::ExitCode;

use serde_json::Value;

use crate::arguments::Alerts;
use crate::client::Asker;
use crate::configuration::Loaded;
use crate::output;
use crate::questions::Question;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Alerts) -> anyhow::Result<ExitCode> {
    if options.follow {
        follow(&Asker::of_log(options.admin, &loaded.config).await?, options.json).await
    } else {
        let asker = Asker::of_index(options.admin.clone(), &loaded.config)?;
        list(&asker, &options).await
    }
}

async fn list(asker: &Asker, options: &Alerts) -> anyhow::Result<ExitCode> {
    let found = asker.ask(&Question::Alerts { size: options.size }).await?;
    let alerts = found.get("alerts").and_then(Value::as_array).cloned().unwrap_or_default();
    if options.json {
        output::json(&Value::Array(alerts));
        return Ok(ExitCode::SUCCESS);
    }
    if alerts.is_empty() {
        output::line("no alert");
        return Ok(ExitCode::SUCCESS);
    }
    let rows = alerts.iter().map(row).collect();
    output::line(&output::table(&["TIME", "SEVERITY", "CATEGORY", "COUNT", "SUMMARY"], rows));
    Ok(ExitCode::SUCCESS)
}

async fn follow(asker: &Asker, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut cursor = "end".to_owned();
    loop {
        let news = asker.ask(&Question::AlertsAfter { after: cursor.clone() }).await?;
        for alert in news.get("alerts").and_then(Value::as_array).into_iter().flatten() {
            if as_json {
                output::json(alert);
            } else {
                output::line(&headline(alert));
            }
        }
        if let Some(next) = news.get("cursor").and_then(Value::as_str) {
            next.clone_into(&mut cursor);
        }
    }
}

/// An alert on one line.
pub(crate) fn headline(alert: &Value) -> String {
    let text = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("-");
    let revision = alert.get("revision").and_then(Value::as_u64).unwrap_or(1);
    let closed = alert.get("closed").and_then(Value::as_bool).unwrap_or(false);
    let state = match (revision, closed) {
        (1, _) => String::new(),
        (_, true) => " (closed)".to_owned(),
        (revision, false) => format!(" (revision {revision})"),
    };
    format!(
        "{}  {:8}  {}{state}",
        text("utctimestamp"),
        output::severity(text("severity")),
        output::strong(&output::printable(text("summary")))
    )
}

fn row(alert: &Value) -> Vec<String> {
    let text = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let count = alert.get("count").and_then(Value::as_u64).unwrap_or(0);
    vec![text("utctimestamp"), text("severity"), text("category"), count.to_string(), text("summary")]
}
