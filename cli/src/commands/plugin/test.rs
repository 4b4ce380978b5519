//! `mozdef plugin test`: a plugin on its cases.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use model::config::Config;
use normalize::case_file::{self, Case, Judge, Judgement};
use plugins::Loaded;
use serde_json::{Value, json};

use super::arguments::Test;
use super::{difference, load, name_of};
use crate::output;

/// Runs the command.
pub(super) fn run(config: &Config, options: &Test) -> anyhow::Result<ExitCode> {
    let files = case_files(&options.file, &options.cases)?;
    if files.is_empty() {
        bail!(
            "there are no cases: name files by --cases, or put {}.cases.jsonl beside it",
            name_of(&options.file)?
        );
    }
    let results = results(config, load(&config.normalize.plugins, &options.file)?, &files)?;
    let failed = results.iter().filter(|result| !result.passed()).count();
    let passed = results.len() - failed;
    if options.json {
        let cases: Vec<Value> = results.iter().map(Outcome::json).collect();
        output::json(&json!({"passed": passed, "failed": failed, "cases": cases}));
    } else {
        results.iter().for_each(Outcome::tell);
        output::line(&format!("{passed} passed, {failed} failed"));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named case files, else those beside the plugin.
pub(super) fn case_files(plugin: &Path, named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let own = plugin.with_file_name(format!("{}.cases.jsonl", name_of(plugin)?));
    Ok([own, plugin.with_file_name("cases.jsonl")].into_iter().filter(|file| file.exists()).take(1).collect())
}

/// A case and what became of it.
pub(super) struct Outcome {
    file: PathBuf,
    case: Case,
    judgement: Judgement,
}

/// Runs every case of the files.
pub(super) fn results(
    config: &Config,
    plugin: Arc<Loaded>,
    files: &[PathBuf],
) -> anyhow::Result<Vec<Outcome>> {
    let mut judge = Judge::guest(plugin, &config.normalize)?;
    let mut results = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let cases = case_file::read(&text).with_context(|| file.display().to_string())?;
        for case in cases {
            let judgement = judge.judge(&case);
            results.push(Outcome { file: file.clone(), case, judgement });
        }
    }
    Ok(results)
}

impl Outcome {
    /// Whether the plugin does as the case says.
    pub(super) fn passed(&self) -> bool {
        self.judgement == Judgement::Passed
    }

    fn fields(&self) -> Vec<difference::Field> {
        let Judgement::Differs { got, metadata } = &self.judgement else { return Vec::new() };
        let mut fields = difference::fields(Some(&self.case.expected), Some(got));
        let (wanted, metadata) = (&self.case.metadata_out, metadata);
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        for (name, wanted, got) in
            [("index", &wanted.index, &metadata.index), ("id", &wanted.id, &metadata.id)]
        {
            if wanted != got {
                let path = format!("metadata.{name}");
                fields.push(difference::Field { path, expected: text(wanted), got: text(got) });
            }
        }
        fields
    }

    /// What is wrong, for a person; nothing where it passed.
    pub(super) fn tell(&self) {
        if self.passed() {
            return;
        }
        let name = output::printable(&self.case.name);
        output::line(&output::strong(&format!("{}:{}: {name}", self.file.display(), self.case.line)));
        if let Judgement::Failed(why) = &self.judgement {
            output::line(&format!("    it failed: {}", output::printable(why)));
        }
        for line in difference::lines(&self.fields()) {
            output::line(&format!("    {line}"));
        }
    }

    fn json(&self) -> Value {
        let differences: Vec<Value> = self
            .fields()
            .iter()
            .map(|field| json!({"path": field.path, "expected": field.expected, "got": field.got}))
            .collect();
        let failure = match &self.judgement {
            Judgement::Failed(why) => Some(why),
            Judgement::Passed | Judgement::Differs { .. } => None,
        };
        json!({
            "file": self.file, "line": self.case.line, "name": self.case.name, "passed": self.passed(),
            "failure": failure, "differences": differences,
        })
    }
}
