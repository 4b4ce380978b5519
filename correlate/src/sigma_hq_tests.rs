//! All of SigmaHQ's rules, loaded and run over real events.
//!
//! In: the recorded rule archive and logs. Out: counts, printed. Never: a
//! rule that does not load without its reason, and no answer of the index
//! that a loop over all rules does not give.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use model::event::Event;

use crate::fields::FieldMaps;
use crate::finding::{Code, Findings};
use crate::load::{self, Role};
use crate::logsource::LogSources;
use crate::matcher::naive::Naive;
use crate::ruleset::{RuleSet, Scratch};
use crate::shipped;
use crate::sigma::document::{Body, Document};

/// The folder of recorded data, if it is there.
pub(crate) fn recorded() -> Option<PathBuf> {
    let folder = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    if folder.join("sigma/sigma-rules.tar.gz").is_file() {
        return Some(folder);
    }
    println!("SKIPPED: recorded data absent ({})", folder.display());
    None
}

/// The rule archive, unpacked.
fn unpack(recorded: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = recorded.join("sigma/sigma-rules.tar.gz");
    let done = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(done.success());
    folder
}

/// Lines of a file that are JSON objects.
fn lines(path: &Path) -> Vec<serde_json::Value> {
    let file = std::fs::File::open(path).unwrap();
    BufReader::new(flate2::read::GzDecoder::new(file))
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
        .filter(serde_json::Value::is_object)
        .collect()
}

/// MozDef's shape: unknown keys in lower case below `details`.
fn normal_form(mut raw: serde_json::Value, top: serde_json::Value) -> Event {
    let mut form = top;
    let details: serde_json::Map<String, serde_json::Value> = raw
        .as_object_mut()
        .map(|map| std::mem::take(map).into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect())
        .unwrap_or_default();
    form["details"] = details.into();
    event(&form)
}

fn event(json: &serde_json::Value) -> Event {
    Event::from_json(&json.to_string()).unwrap()
}

/// Windows events as their shippers write them and as the normal form has them, and CloudTrail likewise.
fn events(recorded: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut paths: Vec<PathBuf> =
        recorded.join("data/otrf/windows").read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "gz")) {
        for (i, raw) in lines(path).into_iter().enumerate() {
            match i % 2 {
                0 => events.push(event(&raw)),
                _ => events.push(normal_form(raw, serde_json::json!({"category": "windows"}))),
            }
        }
    }
    let aws = recorded.join("data/aws/invictus-cloudtrail-900.jsonl.gz");
    let cloudtrail = || serde_json::json!({"source": "cloudtrail", "mozdef": {"plugins": ["cloudtrail"]}});
    events.extend(lines(&aws).into_iter().map(|raw| normal_form(raw, cloudtrail())));
    let stratus = recorded.join("data/aws/stratus-red-team-cloudtrail.jsonl.gz");
    events.extend(lines(&stratus).into_iter().map(|mut raw| normal_form(raw["event"].take(), cloudtrail())));
    events
}

struct Corpus {
    documents: Vec<Document>,
    sources: LogSources,
    fields: FieldMaps,
}

impl Corpus {
    fn naive(&self) -> Naive<'_> {
        let (sources, fields) = (&self.sources, &self.fields);
        Naive { sources, fields, expressions: Default::default(), opened: Default::default() }
    }

    /// The rules that hold by the plain reading.
    fn plainly(&self, naive: &Naive<'_>, event: &Event) -> Vec<usize> {
        let labels = naive.labels(event);
        let holds = |document: &Document| match &document.body {
            Body::Detection { logsource, expr } => naive.holds(logsource, expr, event, &labels),
            Body::Correlation(_) | Body::Filter(_) => false,
        };
        (0..self.documents.len()).filter(|position| holds(&self.documents[*position])).collect()
    }
}

fn corpus(folder: &Path) -> Corpus {
    let mut corpus =
        Corpus { documents: Vec::new(), sources: LogSources::default(), fields: FieldMaps::default() };
    for file in shipped::files(|_| true) {
        let mut findings = Findings::new(Arc::clone(&file.name));
        match file.role {
            Role::Fields => corpus.fields.add(&file.text, &mut findings),
            Role::LogSources => corpus.sources.add(&file.text, &mut findings),
            Role::Rules | Role::Placeholders => {}
        }
    }
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for path in files {
        let mut findings = Findings::new(path.to_string_lossy().into());
        corpus.documents.extend(crate::sigma::parse(&std::fs::read_to_string(&path).unwrap(), &mut findings));
    }
    corpus
}

#[test]
fn all_rules_of_sigma_hq_load_or_are_named() {
    let Some(recorded) = recorded() else { return };
    let folder = unpack(&recorded);
    for (part, at_least, at_most_errors) in [
        ("rules", 3141, 0),
        ("rules-emerging-threats", 471, 0),
        ("rules-threat-hunting", 140, 0),
        ("rules-placeholder", 0, 0),
        ("unsupported", 1, 120),
    ] {
        let loaded = load::paths(&[folder.path().join(part)]);
        let report = &loaded.report;
        println!(
            "{part}: {} files, {} rules loaded, {} errors, {} warnings",
            report.files,
            report.rules,
            report.errors.len(),
            report.warnings.len()
        );
        for finding in report.errors.iter().chain(&report.warnings) {
            if part != "unsupported" {
                println!("  {}", finding.to_string().replace(&folder.path().display().to_string(), ""));
            }
        }
        assert!(report.rules >= at_least, "{part}: {} rules", report.rules);
        assert!(report.errors.len() <= at_most_errors, "{part}");
        if part == "rules-placeholder" {
            assert_eq!(report.rules, 0);
            let named = report.warnings.iter().filter(|f| f.code == Code::Placeholder).count();
            assert!(named >= report.files, "each placeholder rule is named");
        }
    }
}

#[test]
fn the_index_answers_as_a_loop_over_all_rules() {
    let Some(recorded) = recorded() else { return };
    let folder = unpack(&recorded);
    let corpus = corpus(&folder.path().join("rules"));
    let mut findings = Vec::new();
    let set = RuleSet::compile(corpus.documents.clone(), &corpus.sources, &corpus.fields, &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
    let events = events(&recorded);
    assert!(events.len() > 5000, "{}", events.len());
    let naive = corpus.naive();
    let (mut scratch, mut hits, mut expected) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut matches, mut rules) = (0, std::collections::BTreeSet::new());
    for (i, event) in events.iter().enumerate() {
        set.evaluate(event, &mut scratch, &mut hits);
        set.evaluate_all(event, &mut scratch, &mut expected);
        assert_eq!(hits, expected, "{}", event.to_json());
        matches += hits.len();
        rules.extend(hits.iter().copied());
        if i % 97 == 0 {
            assert_eq!(hits, corpus.plainly(&naive, event), "{}", event.to_json());
        }
    }
    println!("{} events x {} rules: {matches} matches of {} rules", events.len(), set.len(), rules.len());
    assert!(matches > 200 && rules.len() > 50, "{matches} matches of {} rules", rules.len());
}

/// Wraps a value as the CloudTrail plugin does.
fn wrap(value: &mut serde_json::Value) {
    if !value.is_null() {
        *value = serde_json::json!({"raw_value": value.to_string()});
    }
}

/// CloudTrail's plugin wraps values whose type changes; whatever it wraps, no rule may answer otherwise.
#[test]
fn wrapped_values_change_no_answer_of_the_aws_rules() {
    let Some(recorded) = recorded() else { return };
    let folder = unpack(&recorded);
    let corpus = corpus(&folder.path().join("rules/cloud/aws"));
    let set = RuleSet::compile(corpus.documents.clone(), &corpus.sources, &corpus.fields, &mut Vec::new());
    let naive = corpus.naive();
    let (mut scratch, mut hits, mut expected) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut wrapped, mut matches) = (0, std::collections::BTreeSet::new());
    for (i, event) in
        events(&recorded).iter().filter(|e| e.member_str("source") == Some("cloudtrail")).enumerate()
    {
        set.evaluate(event, &mut scratch, &mut expected);
        let mut form: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        let details = form["details"].as_object_mut().unwrap();
        for (key, value) in details.iter_mut() {
            match key.as_str() {
                "additionaleventdata" | "apiversion" | "serviceeventdetails" => wrap(value),
                "requestparameters" | "responseelements" => {
                    value.as_object_mut().into_iter().flatten().for_each(|(_, value)| wrap(value));
                }
                _ => {}
            }
        }
        let form = form.to_string();
        wrapped += form.matches("raw_value").count();
        let form = Event::from_json(&form).unwrap();
        set.evaluate(&form, &mut scratch, &mut hits);
        assert_eq!(hits, expected, "{}", form.to_json());
        if i % 7 == 0 {
            assert_eq!(hits, corpus.plainly(&naive, &form), "{}", form.to_json());
        }
        matches.extend(hits.iter().map(|hit| set.detections[*hit].info.title.clone()));
    }
    println!("{} rules, {wrapped} wrapped values, matches of {matches:#?}", set.len());
    assert!(set.len() >= 57 && wrapped > 1000 && matches.len() > 5, "{wrapped} {matches:?}");
}

/// The recorded cases: the rule of each must match its events, as often as the case says.
#[test]
fn the_regression_cases_of_sigma_hq_match_their_rules() {
    let Some(recorded) = recorded() else { return };
    let folder = unpack(&recorded);
    let parts = ["rules", "rules-emerging-threats", "rules-threat-hunting"].map(|p| folder.path().join(p));
    let loaded = load::paths(&parts);
    let mut folders = vec![recorded.join("sigma/regression")];
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        let paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        for path in paths {
            let events = match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => {
                    folders.push(path);
                    continue;
                }
                Some("json") => std::fs::read_to_string(&path).unwrap(),
                Some("raw") => {
                    // Raw lines of a device go through the normalizer first.
                    skipped += 1;
                    continue;
                }
                _ => continue,
            };
            match regression(&loaded.set, &path, &events) {
                Ok(()) => passed += 1,
                Err(why) => failed.push(why),
            }
        }
    }
    println!("regression: {passed} passed, {} failed, {skipped} raw lines not tried", failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(passed >= 101);
}

fn regression(set: &RuleSet, path: &Path, events: &str) -> Result<(), String> {
    let id = path.file_stem().unwrap().to_string_lossy().into_owned();
    let rule = set.detections.iter().position(|d| d.info.id == id).ok_or(format!("{id} is not loaded"))?;
    let info = std::fs::read_to_string(path.with_file_name("info.yml")).unwrap();
    let wanted = info
        .lines()
        .find_map(|line| line.trim().strip_prefix("match_count:"))
        .map(|count| count.trim().parse::<usize>().unwrap());
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    let (mut count, mut all) = ([0, 0], 0);
    for raw in serde_json::Deserializer::from_str(events).into_iter::<serde_json::Value>() {
        let raw = raw.map_err(|error| error.to_string())?;
        all += 1;
        // As the tool wrote it, and as it stands in the normal form.
        for (n, event) in [event(&raw), normal_form(raw, serde_json::json!({}))].iter().enumerate() {
            set.evaluate(event, &mut scratch, &mut hits);
            count[n] += usize::from(hits.contains(&rule));
        }
    }
    // Some cases count one match where each of their events fits the rule by its very words.
    let right = |wanted: usize| count == [wanted; 2] || count == [all; 2];
    match wanted {
        Some(wanted) if !right(wanted) => Err(format!("{id}: {count:?} matches, {wanted} wanted")),
        None if count[0] == 0 || count[0] != count[1] => Err(format!("{id}: {count:?} matches")),
        _ => Ok(()),
    }
}
