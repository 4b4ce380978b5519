//! One rule of a file: what it says about itself, its log source, and its
//! detection or correlation.
//!
//! In: a YAML document. Out: a [`Document`], or findings. Never: other
//! documents; references between rules are resolved by the compiler.

use std::sync::Arc;

use crate::finding::{Code, Findings, Place, suggestion};
use crate::rule::Level;
use crate::sigma::ast::Expr;
use crate::sigma::correlation::{self, CorrelationPart};
use crate::sigma::detection;
use crate::sigma::mozdef_block::{self, MozdefBlock};
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{Kind, Node};

/// A rule as written, checked by itself.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file.
    pub file: Arc<str>,
    /// Where the rule starts.
    pub place: Place,
    /// Title.
    pub title: String,
    /// UUID or other id.
    pub id: Option<String>,
    /// Name for references.
    pub name: Option<String>,
    /// Level; medium when absent.
    pub level: Level,
    /// Sigma's tags.
    pub tags: Vec<String>,
    /// Detection or correlation.
    pub body: Body,
    /// Our own block.
    pub mozdef: MozdefBlock,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Body {
    /// Matches single events.
    Detection {
        /// Where it applies.
        logsource: LogSource,
        /// What must hold.
        expr: Expr,
    },
    /// Counts matches of other rules.
    Correlation(Box<CorrelationPart>),
    /// Must hold too for the rules that it names.
    Filter(FilterPart),
}

/// A filter as written.
#[derive(Clone, Debug)]
pub struct FilterPart {
    /// Where it applies; each part that it names must be the rule's.
    pub logsource: LogSource,
    /// Ids or names of the rules; empty: every rule of the log source.
    pub rules: Vec<(String, Place)>,
    /// What must hold beside the rule's own condition.
    pub expr: Expr,
}

/// A log source; lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogSource {
    /// `process_creation`, `webserver` and the like.
    pub category: Option<String>,
    /// `windows`, `aws` and the like; `mozdef` is every event.
    pub product: Option<String>,
    /// `sshd`, `cloudtrail` and the like.
    pub service: Option<String>,
}

impl Document {
    /// The id of the rule, as its alerts have it: its id, else its name, else its title.
    pub fn rule_id(&self) -> &str {
        self.id.as_deref().or(self.name.as_deref()).unwrap_or(&self.title)
    }
}

/// Top-level keys of Sigma, of SigmaHQ's house, and ours.
const KEYS: [&str; 26] = [
    "title",
    "id",
    "related",
    "name",
    "taxonomy",
    "status",
    "description",
    "license",
    "references",
    "author",
    "date",
    "modified",
    "logsource",
    "detection",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "correlation",
    "mozdef",
    "filter",
    "regression_tests_path",
    "simulation",
    "ruletype",
    "action",
];

const STATUS: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];
const LEVELS: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

/// Reads one document. `None` when it has an error, or a placeholder without values; both are among the findings.
pub fn read(node: &Node, findings: &mut Findings) -> Option<Document> {
    let before = findings.errors();
    let Some(entries) = node.entries() else {
        findings.add(node.place, Code::NotARule, format!("a rule is a map of keys, not {}", node.describe()));
        return None;
    };
    for entry in entries {
        if !KEYS.contains(&entry.key.as_str()) {
            let hint = suggestion(&entry.key, KEYS);
            // Sigma allows keys of one's own; what is nearly one of its keys is a slip.
            let code = if hint.is_empty() { Code::CustomKey } else { Code::UnknownKey };
            let message = format!("the top-level key \"{}\" is not known and has no effect{hint}", entry.key);
            findings.add(entry.place, code, message);
        }
    }
    let title = read::required_text(node, "title", findings);
    let id = read::text(node, "id", findings);
    let name = read::text(node, "name", findings);
    let level = level(node, findings);
    read::word(node, "status", &STATUS, findings);
    taxonomy(node, findings);
    let tags = read::texts(node, "tags", findings);
    let mozdef = mozdef_block::read(node.get("mozdef"), findings);
    let body = body(node, findings);
    if findings.errors() > before {
        return None;
    }
    Some(Document {
        file: Arc::clone(findings.file()),
        place: node.place,
        title: title?,
        id,
        name,
        level,
        tags,
        body: body?,
        mozdef,
    })
}

fn body(node: &Node, findings: &mut Findings) -> Option<Body> {
    if let Some(part) = node.get("filter") {
        return filter(node, part, findings).map(Body::Filter);
    }
    match (node.get("detection"), node.get("correlation")) {
        (Some(_), Some(second)) => {
            findings.add(
                second.place,
                Code::NotARule,
                "a rule has a detection or a correlation, not both: split it",
            );
            None
        }
        (Some(part), None) => {
            let logsource = logsource(node, findings);
            let expr = detection::read(part, findings);
            Some(Body::Detection { logsource: logsource?, expr: expr? })
        }
        (None, Some(part)) => correlation::read(part, findings).map(|part| Body::Correlation(Box::new(part))),
        (None, None) => {
            findings.add(
                node.place,
                Code::NotARule,
                "neither \"detection\" nor \"correlation\": this is no rule",
            );
            None
        }
    }
}

/// `rules`, beside what a detection has.
fn filter(node: &Node, part: &Node, findings: &mut Findings) -> Option<FilterPart> {
    if let Some(other) = node.get("detection").or(node.get("correlation")) {
        findings.add(
            other.place,
            Code::NotARule,
            "a filter has neither a detection nor a correlation: split it",
        );
        return None;
    }
    let logsource = logsource(node, findings);
    let names = read::texts(part, "rules", findings);
    let value = part.get("rules");
    if names.is_empty() {
        let place = value.map_or(part.place, |value| value.place);
        findings.add(
            place,
            Code::MissingKey,
            "\"rules\" is missing from \"filter\": name rules, or write `any`",
        );
        return None;
    }
    let places: Vec<Place> = match value.map(|value| &value.kind) {
        Some(Kind::List(items)) => items.iter().map(|item| item.place).collect(),
        _ => value.map(|value| value.place).into_iter().collect(),
    };
    let is_any = names.len() == 1 && names.first().is_some_and(|name| name == "any");
    let rules = if is_any { Vec::new() } else { names.into_iter().zip(places).collect() };
    let expr = detection::read(&without(part, "rules"), findings);
    Some(FilterPart { logsource: logsource?, rules, expr: expr? })
}

fn level(node: &Node, findings: &mut Findings) -> Level {
    match read::word(node, "level", &LEVELS, findings).as_deref() {
        Some("informational") => Level::Informational,
        Some("low") => Level::Low,
        Some("high") => Level::High,
        Some("critical") => Level::Critical,
        _ => Level::Medium,
    }
}

fn taxonomy(node: &Node, findings: &mut Findings) {
    if let Some(value) = node.get("taxonomy") {
        match value.text() {
            None | Some("sigma" | "mozdef") => {}
            Some(other) => {
                let message =
                    format!("not supported yet: taxonomy \"{other}\"; use Sigma's or MozDef's field names");
                findings.add(value.place, Code::NotYet, message);
            }
        }
    }
}

/// Reads a `logsource` block of a rule, a field map or a log source file.
pub fn logsource(node: &Node, findings: &mut Findings) -> Option<LogSource> {
    let Some(block) = node.get("logsource") else {
        findings.add(
            node.place,
            Code::MissingKey,
            "\"logsource\" is missing: write `product: mozdef` for every event",
        );
        return None;
    };
    let known =
        Known { block: "logsource", keys: &["category", "product", "service", "definition"], later: &[] };
    if !read::keys(block, &known, findings) {
        return None;
    }
    let lower =
        |key: &str, findings: &mut Findings| read::text(block, key, findings).map(|t| t.to_ascii_lowercase());
    let source = LogSource {
        category: lower("category", findings),
        product: lower("product", findings),
        service: lower("service", findings),
    };
    if source == LogSource::default() {
        let message =
            "\"logsource\" names no category, product or service: write `product: mozdef` for every event";
        findings.add(block.place, Code::LogSource, message);
        return None;
    }
    Some(source)
}

/// Applies `action: global`, `reset` and `repeat` of rule collections, as the first tools defined them.
pub fn collection(documents: Vec<Node>, findings: &mut Findings) -> Vec<Node> {
    let mut global: Option<Node> = None;
    let mut last: Option<Node> = None;
    let mut out = Vec::with_capacity(documents.len());
    for document in documents {
        if matches!(document.kind, Kind::Null) {
            continue;
        }
        let action = document.get("action").map(|a| (a.place, a.text().unwrap_or_default().to_owned()));
        match action.as_ref().map(|(place, word)| (*place, word.as_str())) {
            None => {
                let whole = merged(global.as_ref(), &document);
                last = Some(whole.clone());
                out.push(whole);
            }
            Some((_, "global")) => global = Some(merged(global.as_ref(), &without(&document, "action"))),
            Some((_, "reset")) => global = None,
            Some((_, "repeat")) => {
                let whole = merged(last.as_ref(), &without(&document, "action"));
                last = Some(whole.clone());
                out.push(whole);
            }
            Some((place, word)) => {
                let message = format!("unknown action \"{word}\": use global, reset or repeat");
                findings.add(place, Code::UnknownAction, message);
            }
        }
    }
    out
}

fn without(node: &Node, key: &str) -> Node {
    let mut node = node.clone();
    if let Kind::Map(entries) = &mut node.kind {
        entries.retain(|e| e.key != key);
    }
    node
}

/// `over` on top of `base`: maps are merged key by key, anything else is replaced.
fn merged(base: Option<&Node>, over: &Node) -> Node {
    let (Some(Node { kind: Kind::Map(below), .. }), Kind::Map(above)) = (base, &over.kind) else {
        return over.clone();
    };
    let mut entries = below.clone();
    for entry in above {
        match entries.iter_mut().find(|e| e.key == entry.key) {
            Some(same) => {
                let value = merged(Some(&same.value), &entry.value);
                same.value = value;
                same.place = entry.place;
            }
            None => entries.push(entry.clone()),
        }
    }
    Node { place: over.place, kind: Kind::Map(entries) }
}
