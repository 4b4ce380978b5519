//! The `mozdef:` block: what Sigma has no words for.
//!
//! In: the block. Out: a [`MozdefBlock`]. Never: a key that is not built yet
//! taken in silence, and never a template that does not compile.

use crate::finding::{Code, Findings, Place};
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{Kind, Node};
use crate::summary;

/// Most samples of an alert.
const SAMPLES_MAX: u64 = 100;

/// Most events of one test.
const TEST_EVENTS_MAX: u64 = 100_000;

/// The block, all of it optional.
#[derive(Clone, Debug, Default)]
pub struct MozdefBlock {
    /// Category of the alert.
    pub category: Option<String>,
    /// Summary template.
    pub summary: Option<String>,
    /// Tags of the alert, in place of the rule's.
    pub tags: Option<Vec<String>>,
    /// Most sample events.
    pub samples: Option<usize>,
    /// Severity, in place of the level's.
    pub severity: Option<String>,
    /// Where to announce the alert.
    pub channel: Option<String>,
    /// Whether to announce it.
    pub notify_mozdefbot: Option<bool>,
    /// Runbook or other link.
    pub url: Option<String>,
    /// Tests.
    pub tests: Vec<TestCase>,
}

/// A test in a rule file.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// Where it starts.
    pub place: Place,
    /// Events, in order of time.
    pub events: Vec<TestEvent>,
    /// What is expected: each is a part of one alert.
    pub alerts: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// An event of a test, repeated.
#[derive(Clone, Debug)]
pub struct TestEvent {
    /// How often.
    pub repeat: u64,
    /// Time between two of them, and before the next ones, in milliseconds.
    pub every_ms: i64,
    /// The normal form.
    pub event: serde_json::Map<String, serde_json::Value>,
}

const KEYS: [&str; 10] = [
    "category",
    "summary",
    "tags",
    "samples",
    "severity",
    "channel",
    "notify_mozdefbot",
    "url",
    "runbook",
    "tests",
];

/// Keys of the language that this version does not have.
const LATER: [&str; 7] = ["suppress", "active", "enrich", "actions", "absent", "deadman", "first_seen"];

const SEVERITIES: [&str; 5] = ["INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];

/// Reads the block; an absent one is empty.
pub fn read(block: Option<&Node>, findings: &mut Findings) -> MozdefBlock {
    let Some(block) = block else { return MozdefBlock::default() };
    if !read::keys(block, &Known { block: "mozdef", keys: &KEYS, later: &LATER }, findings) {
        return MozdefBlock::default();
    }
    if let (Some(_), Some(second)) = (block.get("url"), block.get("runbook")) {
        findings.add(second.place, Code::DuplicateKey, "\"url\" and \"runbook\" are the same: keep one");
    }
    let has_tags = block.get("tags").is_some();
    MozdefBlock {
        category: read::text(block, "category", findings),
        summary: summary(block, findings),
        tags: has_tags.then(|| read::texts(block, "tags", findings)),
        samples: read::number(block, "samples", 0..=SAMPLES_MAX, findings)
            .and_then(|n| usize::try_from(n).ok()),
        severity: read::word(block, "severity", &SEVERITIES, findings),
        channel: read::text(block, "channel", findings),
        notify_mozdefbot: read::boolean(block, "notify_mozdefbot", findings),
        url: read::text(block, "url", findings).or_else(|| read::text(block, "runbook", findings)),
        tests: tests(block, findings),
    }
}

fn summary(block: &Node, findings: &mut Findings) -> Option<String> {
    let text = read::text(block, "summary", findings)?;
    if let Err(error) = summary::validate(&text) {
        let place = block.get("summary").map_or(block.place, |n| n.place);
        findings.add(place, Code::Template, error.to_string());
        return None;
    }
    Some(text)
}

fn tests(block: &Node, findings: &mut Findings) -> Vec<TestCase> {
    let Some(node) = block.get("tests") else { return Vec::new() };
    let Kind::List(items) = &node.kind else {
        if !matches!(node.kind, Kind::Null) {
            findings.add(
                node.place,
                Code::WrongType,
                format!("\"tests\" is a list, not {}", node.describe()),
            );
        }
        return Vec::new();
    };
    items.iter().filter_map(|item| test(item, findings)).collect()
}

fn test(node: &Node, findings: &mut Findings) -> Option<TestCase> {
    let before = findings.errors();
    let known = Known { block: "mozdef.tests", keys: &["name", "events", "alerts"], later: &[] };
    if !read::keys(node, &known, findings) {
        return None;
    }
    let name = read::required_text(node, "name", findings);
    let list = |key: &str, findings: &mut Findings| match node.get(key).map(|n| &n.kind) {
        Some(Kind::List(items)) => items.clone(),
        _ => {
            findings.add(node.place, Code::MissingKey, format!("a test has a list \"{key}\""));
            Vec::new()
        }
    };
    let events: Vec<TestEvent> =
        list("events", findings).iter().filter_map(|item| test_event(item, findings)).collect();
    let alerts =
        list("alerts", findings).iter().filter_map(|item| json_map(item, "an alert", findings)).collect();
    let total = events.iter().fold(0_u64, |sum, e| sum.saturating_add(e.repeat));
    if total > TEST_EVENTS_MAX {
        findings.add(
            node.place,
            Code::Limit,
            format!("{total} events in one test, more than {TEST_EVENTS_MAX}"),
        );
    }
    (findings.errors() == before).then_some(TestCase { name: name?, place: node.place, events, alerts })
}

fn test_event(node: &Node, findings: &mut Findings) -> Option<TestEvent> {
    let known = Known { block: "mozdef.tests.events", keys: &["repeat", "every", "event"], later: &[] };
    if !read::keys(node, &known, findings) {
        return None;
    }
    let repeat = if node.get("repeat").is_some() {
        read::number(node, "repeat", 1..=TEST_EVENTS_MAX, findings)?
    } else {
        1
    };
    let every_ms = match read::text(node, "every", findings) {
        None => 1000,
        Some(text) => match read::milliseconds(&text) {
            Some(ms) => ms,
            None => {
                let place = node.get("every").map_or(node.place, |n| n.place);
                findings.add(
                    place,
                    Code::TimeSpan,
                    format!("\"{text}\" is no time span: write 5s, 2m or 500ms"),
                );
                return None;
            }
        },
    };
    let Some(event) = node.get("event") else {
        findings.add(node.place, Code::MissingKey, "\"event\" is missing");
        return None;
    };
    Some(TestEvent { repeat, every_ms, event: json_map(event, "\"event\"", findings)? })
}

fn json_map(
    node: &Node,
    what: &str,
    findings: &mut Findings,
) -> Option<serde_json::Map<String, serde_json::Value>> {
    match json(node) {
        serde_json::Value::Object(map) => Some(map),
        _ => {
            findings.add(node.place, Code::WrongType, format!("{what} is a map, not {}", node.describe()));
            None
        }
    }
}

/// YAML's core schema: plain numbers and booleans are those, quoted ones are text.
fn json(node: &Node) -> serde_json::Value {
    match &node.kind {
        Kind::Null => serde_json::Value::Null,
        Kind::Quoted(text) => text.as_str().into(),
        Kind::Plain(text) => {
            if let Some(yes) = node.boolean() {
                return yes.into();
            }
            let number = text.parse::<serde_json::Number>().ok();
            number.map_or_else(|| text.as_str().into(), serde_json::Value::Number)
        }
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Map(entries) => entries.iter().map(|e| (e.key.clone(), json(&e.value))).collect(),
    }
}
