//! `mozdef rules`: rule files and folders, without a server but for `backtest`.
//!
//! In: rule files and folders; for `run`, events in normal form on standard
//! input. Out: findings with their places, test results, or alerts as JSON
//! lines. Never: live rules; events are judged by their own times.

mod backtest;
mod coverage;
mod explain;
mod import;
mod list;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use correlate::finding::Finding;
use correlate::load::{Loaded, Parsed};
use correlate::offline::{self, OfflineEvent, OfflineOptions};
use model::config::Config;
use model::event::{Event, Limits};
use model::ids::EventId;
use serde_json::{Value, json};

use crate::arguments::{Import, Rules};
use crate::{configuration, output};

/// Runs the command.
pub(crate) fn run(config_file: Option<&Path>, command: Rules) -> anyhow::Result<ExitCode> {
    let config = configuration::load(config_file)?.config;
    match command {
        Rules::Check { paths, json } => Ok(check(&load(paths, &config), json)),
        Rules::Test { paths, json } => Ok(test(&load(paths, &config), json)),
        Rules::Run { paths } => run_rules(&load(paths, &config), &config),
        Rules::Explain(options) => explain::run(&config, &options),
        Rules::List { paths, hits, json, admin } => {
            let hits = if hits { Some(list::hits(admin, &config)?) } else { None };
            Ok(list::run(&parsed(paths, &config), hits.as_ref(), json))
        }
        Rules::Import(Import::Sigma { folder, to, json }) => import::run(folder, to.as_deref(), json),
        Rules::Coverage { paths } => Ok(coverage::run(&load(paths, &config))),
        Rules::Backtest(options) => backtest::run(&config, options),
    }
}

/// What was named, else what the configuration names, else the shipped rules.
fn load(paths: Vec<PathBuf>, config: &Config) -> Loaded {
    correlate::load::configured(if paths.is_empty() { &config.correlate.rules } else { &paths })
}

/// The same, read but not compiled.
fn parsed(paths: Vec<PathBuf>, config: &Config) -> Parsed {
    let mut findings = Vec::new();
    let folders = if paths.is_empty() { &config.correlate.rules } else { &paths };
    let parsed = Parsed::read(&correlate::load::texts(folders, &mut findings), &mut findings);
    for finding in findings.iter().filter(|finding| finding.is_error()) {
        tell(&finding.to_string());
    }
    parsed
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "file": &*finding.file, "line": finding.place.line, "column": finding.place.column,
        "code": finding.code.as_str(), "message": finding.message,
    })
}

fn check(loaded: &Loaded, as_json: bool) -> ExitCode {
    let report = &loaded.report;
    if as_json {
        let list = |findings: &[Finding]| findings.iter().map(finding_json).collect::<Vec<_>>();
        output::json(&json!({
            "files": report.files, "rules": report.rules,
            "errors": list(&report.errors), "warnings": list(&report.warnings),
        }));
    } else {
        for finding in report.errors.iter().chain(&report.warnings) {
            output::line(&finding.to_string());
        }
        output::line(&format!(
            "{}, {} loaded, {}, {}",
            output::counted(report.files, "file"),
            output::counted(report.rules, "rule"),
            output::counted(report.errors.len(), "error"),
            output::counted(report.warnings.len(), "warning")
        ));
    }
    exit_code(report.errors.is_empty())
}

fn test(loaded: &Loaded, as_json: bool) -> ExitCode {
    let results = correlate::rule_tests::run(loaded);
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    if as_json {
        let tests: Vec<Value> = results
            .iter()
            .map(|r| json!({"file": &*r.file, "rule": r.rule, "test": r.name, "failure": r.failure}))
            .collect();
        output::json(&json!({"tests": tests, "passed": results.len() - failed, "failed": failed}));
    } else {
        for result in &results {
            if let Some(failure) = &result.failure {
                output::line(&format!("{}: {}: {}\n    {failure}", result.file, result.rule, result.name));
            }
        }
        for finding in &loaded.report.errors {
            output::line(&finding.to_string());
        }
        output::line(&format!("{} passed, {failed} failed", results.len() - failed));
    }
    exit_code(failed == 0 && loaded.report.errors.is_empty())
}

fn run_rules(loaded: &Loaded, config: &Config) -> anyhow::Result<ExitCode> {
    for finding in &loaded.report.errors {
        tell(&finding.to_string());
    }
    let mut failures = 0_u64;
    let mut number = 0_u64;
    let events = std::io::stdin().lock().split(b'\n').map_while(|line| {
        number += 1;
        match line.context("cannot read standard input") {
            Ok(line) if line.trim_ascii().is_empty() => Some(None),
            Ok(line) => Some(parse(&line, number).map_err(|why| tell(&why)).map_err(|()| failures += 1).ok()),
            Err(error) => {
                tell(&format!("{error:#}"));
                failures += 1;
                None
            }
        }
    });
    let alerts = offline::run(&loaded.set, events.flatten(), &OfflineOptions::from(&config.correlate));
    for alert in alerts {
        output::json(&serde_json::to_value(&alert)?);
    }
    Ok(exit_code(failures == 0 && loaded.report.errors.is_empty()))
}

/// An event in normal form; its id is its line.
fn parse(line: &[u8], number: u64) -> Result<OfflineEvent, String> {
    let mut event = Event::new();
    event.parse(line, &Limits::default()).map_err(|error| format!("line {number}: {error}"))?;
    let id = EventId::from_position("standard input", "lines", 0, number, 0);
    Ok(OfflineEvent { id, event, origin: format!("line {number}") })
}

#[allow(clippy::print_stderr, reason = "standard output carries the alerts alone")]
fn tell(text: &str) {
    eprintln!("mozdef: {}", output::printable(text));
}
