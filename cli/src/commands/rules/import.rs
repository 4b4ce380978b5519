//! `mozdef rules import sigma`: what of a folder of Sigma rules works here.
//!
//! In: a folder of rules. Out: how many load, have all their fields, and have
//! a log source here; with `--to` the files whose rules all do. Never: a
//! changed rule: files are copied as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use correlate::finding::{Code, Finding};
use correlate::load::{self, Parsed};
use correlate::sigma::document::{Body, Document};
use serde_json::{Value, json};

use super::list::source_text;
use crate::output;

/// What became of the rules of one log source.
#[derive(Default)]
struct Tally {
    ready: usize,
    without_fields: usize,
    without_source: usize,
}

/// What is found in a folder.
struct Report {
    by_source: BTreeMap<String, Tally>,
    left_out: Vec<Finding>,
    /// Files with a rule that is not ready.
    unready: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Runs the command.
pub(super) fn run(folder: PathBuf, to: Option<&Path>, as_json: bool) -> anyhow::Result<ExitCode> {
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    let mut findings = Vec::new();
    let files = load::texts(std::slice::from_ref(&folder), &mut findings);
    let parsed = Parsed::read(&files, &mut findings);
    let report = report(&parsed, findings);
    if as_json {
        output::json(&report.as_json());
    } else {
        report.print();
    }
    if let Some(to) = to {
        let copied = report.copy(&folder, to)?;
        if !as_json {
            output::line(&format!("{} copied to {}", output::counted(copied, "file"), to.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report(parsed: &Parsed, findings: Vec<Finding>) -> Report {
    let keeps_out = |finding: &Finding| finding.is_error() || finding.code == Code::Placeholder;
    let left_out: Vec<Finding> = findings.into_iter().filter(keeps_out).collect();
    let mut report = Report {
        by_source: BTreeMap::new(),
        unready: left_out.iter().map(|finding| finding.file.to_string()).collect(),
        files: BTreeSet::new(),
        left_out,
    };
    parsed.documents.iter().for_each(|document| report.add(document, parsed));
    report
}

impl Report {
    fn add(&mut self, document: &Document, parsed: &Parsed) {
        self.files.insert(document.file.to_string());
        let Body::Detection { logsource, .. } = &document.body else { return };
        let tally = self.by_source.entry(source_text(logsource)).or_default();
        if !parsed.sources.gives(logsource) {
            tally.without_source += 1;
        } else if !load::fields_never_there(document, &parsed.fields).is_empty() {
            tally.without_fields += 1;
        } else {
            tally.ready += 1;
            return;
        }
        self.unready.insert(document.file.to_string());
    }

    fn sum(&self, of: impl Fn(&Tally) -> usize) -> usize {
        self.by_source.values().map(of).sum()
    }

    fn print(&self) {
        for finding in &self.left_out {
            output::line(&finding.to_string());
        }
        let row = |(source, tally): (&String, &Tally)| {
            let counts = [tally.ready, tally.without_fields, tally.without_source];
            std::iter::once(source.clone()).chain(counts.map(|count| count.to_string())).collect::<Vec<_>>()
        };
        let rows = self.by_source.iter().map(row).collect();
        output::line(&output::table(&["LOG SOURCE", "READY", "FIELDS MISSING", "NO SOURCE HERE"], rows));
        output::line(&format!(
            "{} ready; {} test fields that their source never has; {} have no log source here; {} not loaded",
            output::counted(self.sum(|tally| tally.ready), "rule"),
            self.sum(|tally| tally.without_fields),
            self.sum(|tally| tally.without_source),
            self.left_out.len()
        ));
    }

    fn as_json(&self) -> Value {
        let sources: serde_json::Map<String, Value> = self
            .by_source
            .iter()
            .map(|(source, tally)| {
                let counts = json!({
                    "ready": tally.ready, "fields_missing": tally.without_fields, "no_source": tally.without_source,
                });
                (source.clone(), counts)
            })
            .collect();
        json!({
            "ready": self.sum(|tally| tally.ready), "fields_missing": self.sum(|tally| tally.without_fields),
            "no_source": self.sum(|tally| tally.without_source), "sources": sources,
            "not_loaded": self.left_out.iter().map(super::finding_json).collect::<Vec<_>>(),
        })
    }

    /// Copies the files all of whose rules are ready, at the same places below `to`.
    fn copy(&self, folder: &Path, to: &Path) -> anyhow::Result<usize> {
        let mut copied = 0;
        for file in self.files.difference(&self.unready) {
            let Ok(below) = Path::new(file).strip_prefix(folder) else { continue };
            let target = to.join(below);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)
                    .with_context(|| format!("cannot make {}", parent.display()))?;
            }
            std::fs::copy(file, &target).with_context(|| format!("cannot copy to {}", target.display()))?;
            copied += 1;
        }
        Ok(copied)
    }
}
