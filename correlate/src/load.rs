//! Folders of rule files to a rule set.
//!
//! In: folders and files, or the shipped texts. Out: [`Loaded`]: the set of
//! all sound rules, and a report with every finding. Never: one broken file
//! or rule that keeps the others out.
//!
//! In each folder `logsources.yaml` and `fields/*.yaml` add to the shipped
//! log sources and field maps, and `placeholders.yaml` has values for
//! placeholders; every other `.yml` and `.yaml`, at any depth,
//! is a rule file. Names that begin with a dot are passed over.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fields::FieldMaps;
use crate::finding::{Code, Finding, Findings, Place};
use crate::logsource::LogSources;
use crate::ruleset::RuleSet;
use crate::shipped;
use crate::sigma::document::{Body, Document};
use crate::sigma::filter;
use crate::sigma::mozdef_block::TestCase;
use crate::sigma::placeholders::Placeholders;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Most files of one load.
const FILES_MAX: usize = 100_000;

/// Deepest folder below the one that was named.
const FOLDERS_MAX: usize = 32;

/// What a load gave.
#[derive(Debug)]
pub struct Loaded {
    /// All sound rules.
    pub set: RuleSet,
    /// What was found.
    pub report: Report,
    /// The tests in the files of loaded rules.
    pub tests: Vec<RuleTests>,
}

/// Counts and findings of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rule files that were read.
    pub files: usize,
    /// Rules that are loaded.
    pub rules: usize,
    /// Findings that keep a rule out.
    pub errors: Vec<Finding>,
    /// Other findings.
    pub warnings: Vec<Finding>,
}

/// The tests of one rule.
#[derive(Clone, Debug)]
pub struct RuleTests {
    /// The rule's id, as its alerts have it.
    pub rule: String,
    /// Its file.
    pub file: Arc<str>,
    /// The tests.
    pub tests: Vec<TestCase>,
}

/// A text with its name and role.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path, for findings.
    pub name: Arc<str>,
    /// What it holds.
    pub role: Role,
    /// Its content.
    pub text: Arc<str>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rules.
    Rules,
    /// Field maps.
    Fields,
    /// Log sources.
    LogSources,
    /// Values of placeholders.
    Placeholders,
}

/// Loads folders or files, on top of the shipped log sources and field maps.
pub fn paths(paths: &[PathBuf]) -> Loaded {
    let mut findings = Vec::new();
    let mut files = shipped::files(|role| role != Role::Rules);
    files.extend(read(paths, &mut findings));
    self::files(&files, findings)
}

/// Loads the rules, log sources and field maps that are part of the program.
pub fn shipped() -> Loaded {
    files(&shipped::files(|_| true), Vec::new())
}

/// Loads the folders of the configuration; the shipped rules when there are none.
pub fn configured(folders: &[PathBuf]) -> Loaded {
    if folders.is_empty() { shipped() } else { paths(folders) }
}

/// Loads texts; `findings` are those of reading them.
pub fn files(files: &[SourceFile], mut findings: Vec<Finding>) -> Loaded {
    let parsed = Parsed::read(files, &mut findings);
    let rule_files = files.iter().filter(|file| file.role == Role::Rules).count();
    let Parsed { documents, sources, fields } = parsed;
    let tests: Vec<RuleTests> =
        documents.iter().filter(|d| !d.mozdef.tests.is_empty()).map(tests_of).collect();
    findings.extend(documents.iter().flat_map(|document| fields_never_there(document, &fields)));
    findings.extend(documents.iter().filter_map(|document| source_never_there(document, &sources)));
    let set = RuleSet::compile(documents, &sources, &fields, &mut findings);
    // By file as they were read, then by place; what concerns several files is found last.
    let order: HashMap<&str, usize> = files.iter().enumerate().map(|(i, file)| (&*file.name, i)).collect();
    findings.sort_by_key(|f| (order.get(&*f.file).copied(), f.place, f.code));
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(Finding::is_error);
    let loaded: HashSet<&str> = infos(&set).collect();
    let tests = tests.into_iter().filter(|t| loaded.contains(t.rule.as_str())).collect();
    Loaded { report: Report { files: rule_files, rules: set.len(), errors, warnings }, tests, set }
}

/// Files, read.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Rules, with their filters applied.
    pub documents: Vec<Document>,
    /// Log sources.
    pub sources: LogSources,
    /// Field maps.
    pub fields: FieldMaps,
}

impl Parsed {
    /// Reads texts. What is wrong is left out, and is among the findings.
    pub fn read(files: &[SourceFile], findings: &mut Vec<Finding>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut placeholders = Placeholders::default();
        // Rules are read last: they need the placeholders.
        let (rules, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.role == Role::Rules);
        for file in others.into_iter().chain(rules) {
            let mut found = Findings::new(Arc::clone(&file.name));
            match file.role {
                Role::Rules => {
                    let read = crate::sigma::parse_with(&file.text, &placeholders, &mut found);
                    parsed.documents.extend(read);
                }
                Role::Fields => parsed.fields.add(&file.text, &mut found),
                Role::LogSources => parsed.sources.add(&file.text, &mut found),
                Role::Placeholders => placeholders.add(&file.text, &mut found),
            }
            findings.extend(found.into_vec());
        }
        parsed.documents = filter::apply(std::mem::take(&mut parsed.documents), findings);
        parsed
    }
}

/// The files of folders or files, on top of the shipped log sources and field maps; the shipped rules when there are none.
pub fn texts(folders: &[PathBuf], findings: &mut Vec<Finding>) -> Vec<SourceFile> {
    if folders.is_empty() {
        return shipped::files(|_| true);
    }
    let mut files = shipped::files(|role| role != Role::Rules);
    files.extend(read(folders, findings));
    files
}

/// A warning for a rule whose log source no event has.
fn source_never_there(document: &Document, sources: &LogSources) -> Option<Finding> {
    let Body::Detection { logsource, .. } = &document.body else { return None };
    (!sources.gives(logsource)).then(|| Finding {
        file: Arc::clone(&document.file),
        place: document.place,
        code: Code::NoSource,
        message: "no event has this log source: add what tells it to logsources.yaml".to_owned(),
    })
}

/// A warning for each field of a rule that no event of its log source has.
pub fn fields_never_there(document: &Document, fields: &FieldMaps) -> Vec<Finding> {
    let Body::Detection { logsource, expr } = &document.body else { return Vec::new() };
    let mut names = std::collections::BTreeSet::new();
    expr.visit(&mut |test| names.extend(test.field.as_deref()));
    let never = names.into_iter().filter(|name| fields.is_never_there(logsource, name));
    let finding = |name: &str| Finding {
        file: Arc::clone(&document.file),
        place: document.place,
        code: Code::UnknownField,
        message: format!("no event of this log source has the field \"{name}\": what tests it cannot hold"),
    };
    never.map(finding).collect()
}

fn infos(set: &RuleSet) -> impl Iterator<Item = &str> {
    let detections = set.detections.iter().map(|d| d.info.id.as_str());
    detections.chain(set.correlations.iter().map(|c| c.info.id.as_str()))
}

fn tests_of(document: &Document) -> RuleTests {
    RuleTests {
        rule: document.rule_id().to_owned(),
        file: Arc::clone(&document.file),
        tests: document.mozdef.tests.clone(),
    }
}

/// Reads all files below some paths, in order of their names.
fn read(paths: &[PathBuf], findings: &mut Vec<Finding>) -> Vec<SourceFile> {
    let mut walk = Walk { seen: HashSet::new(), files: Vec::new(), findings };
    for path in paths {
        match path.metadata() {
            Ok(about) if about.is_dir() => walk.folder(path, path, 0),
            Ok(_) => walk.file(path, Role::Rules),
            Err(error) => walk.unreadable(path, &error.to_string()),
        }
    }
    walk.files
}

struct Walk<'f> {
    seen: HashSet<PathBuf>,
    files: Vec<SourceFile>,
    findings: &'f mut Vec<Finding>,
}

impl Walk<'_> {
    fn unreadable(&mut self, path: &Path, why: &str) {
        self.findings.push(Finding {
            file: path.to_string_lossy().into(),
            place: Place::START,
            code: Code::Unreadable,
            message: format!("cannot be read: {why}"),
        });
    }

    fn folder(&mut self, root: &Path, folder: &Path, depth: usize) {
        if depth > FOLDERS_MAX {
            self.unreadable(folder, &format!("more than {FOLDERS_MAX} folders deep"));
            return;
        }
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder, &error.to_string()),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
        paths.sort();
        for path in paths {
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            let yaml = path.extension().is_some_and(|e| e == "yml" || e == "yaml");
            if hidden {
                continue;
            }
            match path.metadata() {
                Ok(about) if about.is_dir() => self.folder(root, &path, depth + 1),
                Ok(_) if yaml => self.file(&path, role(root, &path)),
                Ok(_) => {}
                Err(error) => self.unreadable(&path, &error.to_string()),
            }
        }
    }

    /// The same file by two ways is read once.
    fn file(&mut self, path: &Path, role: Role) {
        if path.canonicalize().is_ok_and(|real| !self.seen.insert(real)) {
            return;
        }
        if self.files.len() >= FILES_MAX {
            if self.files.len() == FILES_MAX {
                self.unreadable(path, &format!("more than {FILES_MAX} files"));
            }
            return;
        }
        match path.metadata() {
            Ok(about) if about.len() > FILE_BYTES_MAX => {
                let why = format!("{} bytes, more than {FILE_BYTES_MAX}: split it", about.len());
                return self.unreadable(path, &why);
            }
            _ => {}
        }
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                let name = path.to_string_lossy().into();
                self.files.push(SourceFile { name, role, text: text.into() });
            }
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                self.unreadable(path, &format!("not UTF-8 at byte {at}"));
            }
            Err(error) => self.unreadable(path, &error.to_string()),
        }
    }
}

fn role(root: &Path, path: &Path) -> Role {
    let Ok(below) = path.strip_prefix(root) else { return Role::Rules };
    role_of(&below.to_string_lossy())
}

/// The role of a file by its path below a folder of rules.
pub(crate) fn role_of(below: &str) -> Role {
    match below {
        "logsources.yaml" | "logsources.yml" => Role::LogSources,
        "placeholders.yaml" | "placeholders.yml" => Role::Placeholders,
        _ if below.starts_with("fields/") => Role::Fields,
        _ => Role::Rules,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{paths, shipped};

    #[test]
    fn a_broken_file_leaves_the_others_in() {
        let folder = tempfile::tempdir().unwrap();
        let rule = |id: &str| {
            format!(
                "title: t\nid: {id}\nlogsource: {{product: mozdef}}\ndetection:\n  a:\n    summary: x\n  condition: a\n"
            )
        };
        fs::write(folder.path().join("good.yml"), rule("1")).unwrap();
        fs::write(folder.path().join("broken.yml"), "title: [").unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/two.yaml"), rule("2") + "---\n" + &rule("1")).unwrap();
        fs::write(folder.path().join("notes.txt"), "no rule").unwrap();
        fs::write(folder.path().join("latin.yml"), b"title: \xe4\n").unwrap();
        let loaded = paths(&[folder.path().to_owned(), folder.path().join("good.yml")]);
        let base = folder.path().display().to_string();
        let errors: Vec<String> =
            loaded.report.errors.iter().map(|f| f.to_string().replace(&base, "").replace("/", "")).collect();
        assert_eq!((loaded.report.files, loaded.report.rules), (3, 2), "{errors:?}");
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[0].starts_with("latin.yml:1:1: S001 cannot be read: not UTF-8 at byte 7"),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("broken.yml:1:8: S002"), "{errors:?}");
        assert!(
            errors[2].contains("good.yml:1:1: S024 the id or name \"1\" is taken by deeptwo.yaml"),
            "{errors:?}"
        );
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let loaded = paths(&["/nowhere/at/all".into()]);
        assert_eq!(loaded.report.errors.len(), 1);
    }

    #[test]
    fn the_shipped_rules_are_sound() {
        let loaded = shipped();
        let found: Vec<String> =
            loaded.report.errors.iter().chain(&loaded.report.warnings).map(ToString::to_string).collect();
        assert_eq!(found, [""; 0]);
        let results = crate::rule_tests::run(&loaded);
        assert!(results.len() >= loaded.set.correlations.len());
        let failed: Vec<String> =
            crate::rule_tests::findings(&results).iter().map(ToString::to_string).collect();
        assert_eq!(failed, [""; 0]);
    }
}
