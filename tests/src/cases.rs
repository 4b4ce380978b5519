//! The runner of recorded cases: every file of every area folder, against the
//! room that knows the area.
//!
//! In: a folder of cases, `deviations/<area>.jsonl`. Out: counts by area and
//! the names of what failed. Never: a case passed because its name is known;
//! a deviation asserts the right value listed for it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

/// What one case said.
enum Outcome {
    Passed,
    Failed(String),
    NotYet,
}

/// Counts of one area.
#[derive(Clone, Debug, Default)]
pub struct Area {
    /// The folder's name.
    pub name: String,
    /// Cases that passed.
    pub passed: usize,
    /// `file: case: why` of those that failed.
    pub failed: Vec<String>,
    /// Cases of what is not built yet.
    pub unsupported: usize,
}

/// Counts of all areas.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By folder, in order of name.
    pub areas: Vec<Area>,
}

impl Report {
    /// Cases that passed.
    pub fn passed(&self) -> usize {
        self.areas.iter().map(|area| area.passed).sum()
    }

    /// Cases that failed.
    pub fn failed(&self) -> usize {
        self.areas.iter().map(|area| area.failed.len()).sum()
    }

    /// Cases of what is not built yet.
    pub fn unsupported(&self) -> usize {
        self.areas.iter().map(|area| area.unsupported).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for area in &self.areas {
            let Area { name, passed, failed, unsupported } = area;
            writeln!(f, "{name}: {passed} passed, {} failed, {unsupported} not yet supported", failed.len())?;
            for failure in failed {
                writeln!(f, "    {failure}")?;
            }
        }
        let (passed, failed) = (self.passed(), self.failed());
        writeln!(f, "all: {passed} passed, {failed} failed, {} not yet supported", self.unsupported())
    }
}

/// Runs every case below `folder` (which holds a folder for each source, which holds the areas).
///
/// # Errors
/// When a folder or file cannot be read, or holds what is no case.
pub fn run(folder: &Path) -> anyhow::Result<Report> {
    let scratch = tempfile::tempdir()?;
    let rooms = Rooms {
        runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        index: embedded::cases::Runner::new(scratch.path()).map_err(|why| anyhow::anyhow!("{why}"))?,
    };
    let mut report = Report::default();
    for source in entries(folder)? {
        for area in entries(&source)? {
            let name = stem(&area);
            let deviations = deviations(&name)?;
            let mut counts = Area { name: name.clone(), ..Area::default() };
            for file in entries(&area)? {
                for case in cases(&file)? {
                    counts.add(&file, &case, rooms.outcome(&name, &stem(&file), &case, &deviations));
                }
            }
            report.areas.push(counts);
        }
    }
    Ok(report)
}

impl Area {
    fn add(&mut self, file: &Path, case: &Value, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::NotYet => self.unsupported += 1,
            Outcome::Failed(why) => {
                let name = case.get("name").and_then(Value::as_str).unwrap_or("without a name");
                self.failed.push(format!("{}: {name}: {why}", stem(file)));
            }
        }
    }
}

/// What the rooms need to run cases.
struct Rooms {
    runtime: tokio::runtime::Runtime,
    index: embedded::cases::Runner,
}

impl Rooms {
    fn outcome(&self, area: &str, file: &str, case: &Value, deviations: &[Value]) -> Outcome {
        if let Some(known) = normalize::cases::Area::from_folder(area) {
            let row = deviations.iter().find(|row| normalize::cases::is_row_of(row, known, file, case));
            return match normalize::cases::run(known, file, case, row) {
                normalize::cases::Outcome::Passed => Outcome::Passed,
                normalize::cases::Outcome::NotYetSupported(_) => Outcome::NotYet,
                normalize::cases::Outcome::Failed(why) => Outcome::Failed(why),
            };
        }
        match area {
            "http" => {
                let row = deviations.iter().find(|row| ingest::cases::is_row_of(row, file, case));
                match self.runtime.block_on(ingest::cases::run(file, case, row)) {
                    ingest::cases::Outcome::Passed => Outcome::Passed,
                    ingest::cases::Outcome::NotYetSupported(_) => Outcome::NotYet,
                    ingest::cases::Outcome::Failed(why) => Outcome::Failed(why),
                }
            }
            "query" => match self.index.run(case) {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::Failed(why),
            },
            _ => Outcome::NotYet,
        }
    }
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(Vec::new());
    }
    let read = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    found.sort();
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn deviations(area: &str) -> anyhow::Result<Vec<Value>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("deviations/{area}.jsonl"));
    if file.is_file() { cases(&file) } else { Ok(Vec::new()) }
}

/// Cases of one file: JSON lines, or one document; alerts have theirs in `cases`.
fn cases(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    if file.extension().is_some_and(|extension| extension == "json") {
        let document: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        return Ok(match document.get("cases").and_then(Value::as_array) {
            Some(cases) => cases.clone(),
            None => vec![document],
        });
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| file.display().to_string())).collect()
}
