//! `mozdef rules backtest`: what rules would have found in indexed events.
//!
//! In: rules, a time range, the index (asked directly or through a running
//! process). Out: alerts by rule and by day, or the alerts as JSON. Never:
//! alerts in the index; more events at once than one answer holds: the range
//! is halved until it fits.

use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use correlate::load::Loaded;
use correlate::offline::{self, OfflineEvent, OfflineOptions};
use indicatif::{ProgressBar, ProgressStyle};
use model::alert::Alert;
use model::config::Config;
use model::event::Event;
use model::ids::EventId;
use model::time::{Clock, Timestamp};
use serde_json::{Value, json};

use super::{load, tell};
use crate::arguments::Backtest;
use crate::client::Asker;
use crate::output;
use crate::questions::Question;

/// Most events of one answer.
const ANSWER_MAX: u32 = 10_000;

/// Runs the command.
pub(super) fn run(config: &Config, options: Backtest) -> anyhow::Result<ExitCode> {
    let loaded = load(options.rules.clone(), config);
    for finding in &loaded.report.errors {
        tell(&finding.to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let events = runtime.context("cannot start the runtime")?.block_on(fetch(config, &options))?;
    let count = events.len();
    let alerts = offline::run(&loaded.set, events, &OfflineOptions::from(&config.correlate));
    if options.json {
        let summary = summary(&alerts);
        output::json(&json!({"events": count, "alerts": alerts, "by_rule": summary}));
    } else {
        print(&loaded, &alerts, count);
    }
    Ok(super::exit_code(loaded.report.errors.is_empty()))
}

/// All events of the range, each once.
async fn fetch(config: &Config, options: &Backtest) -> anyhow::Result<Vec<OfflineEvent>> {
    let asker = Asker::of_index(options.admin.clone(), config)?;
    let now = Clock::System.now();
    let (from, to) = (instant(&options.from, now)?, instant(&options.to, now)?);
    if from >= to {
        bail!("--from {from} is not before --to {to}");
    }
    let bar = progress(to.millis().saturating_sub(from.millis()));
    let mut ranges = vec![(from.millis(), to.millis())];
    let (mut seen, mut events) = (HashSet::new(), Vec::new());
    while let Some((from, to)) = ranges.pop() {
        let text = |millis| Some(Timestamp::from_millis(millis).to_string());
        let query = options.query.clone();
        let question = Question::Events { query, from: text(from), to: text(to), size: ANSWER_MAX };
        let found = asker.ask(&question).await?;
        let total = found.get("total").and_then(Value::as_u64).unwrap_or(0);
        if total > u64::from(ANSWER_MAX) {
            let middle = from.saturating_add(to.saturating_sub(from) / 2);
            if middle <= from {
                bail!(
                    "{total} events within a millisecond at {}: narrow --query",
                    Timestamp::from_millis(from)
                );
            }
            ranges.extend([(middle, to), (from, middle)]);
            continue;
        }
        for hit in found.get("hits").and_then(Value::as_array).into_iter().flatten() {
            let id = hit.get("_id").and_then(Value::as_str).unwrap_or_default();
            if seen.insert(id.to_owned()) {
                events.extend(event(id, hit));
            }
        }
        if events.len() > options.most {
            bail!("more than --most {} events: choose a shorter time or a narrower --query", options.most);
        }
        bar.inc(u64::try_from(to.saturating_sub(from)).unwrap_or(0));
        bar.set_message(output::counted(events.len(), "event"));
    }
    bar.finish_and_clear();
    Ok(events)
}

fn event(id: &str, hit: &Value) -> Option<OfflineEvent> {
    let source = hit.get("_source")?;
    let event = Event::from_json(&source.to_string()).ok()?;
    // Documents that plugins gave an id of their own have no event id.
    let id = EventId::parse(id).unwrap_or_else(|| EventId::from_client("index", "", id.as_bytes(), 0));
    Some(OfflineEvent { id, event, origin: String::new() })
}

fn instant(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    crate::questions::events::instant(text, now, "time")
        .map_err(|failure| anyhow::anyhow!("{}", failure.into_text()))
}

/// How far through the time asked for; none where nobody looks.
fn progress(millis: i64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(millis).unwrap_or(0));
    match ProgressStyle::with_template("{bar:40} {percent}% {msg} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Rule title, then day, then alerts.
fn summary(alerts: &[Alert]) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut summary: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for alert in alerts {
        let day = alert.utctimestamp.get(..10).unwrap_or_default().to_owned();
        *summary.entry(alert.rule.title.clone()).or_default().entry(day).or_default() += 1;
    }
    summary
}

fn print(loaded: &Loaded, alerts: &[Alert], events: usize) {
    let mut rows = Vec::new();
    for (title, days) in summary(alerts) {
        for (day, count) in days {
            rows.push(vec![title.clone(), day, count.to_string()]);
        }
    }
    if !rows.is_empty() {
        output::line(&output::table(&["RULE", "DAY", "ALERTS"], rows));
    }
    output::line(&format!(
        "{} over {} by {}",
        output::counted(alerts.len(), "alert"),
        output::counted(events, "event"),
        output::counted(loaded.set.len(), "rule")
    ));
}
