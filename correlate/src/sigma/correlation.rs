//! The `correlation` block.
//!
//! In: the block. Out: a [`CorrelationPart`], its references by name. Never:
//! a kind or key that is not built yet taken for one that is.

use crate::finding::{Code, Findings, Place};
use crate::rule::{Condition, Kind as Correlated};
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{Kind, Node};

/// Longest window: a year and a day.
const TIMESPAN_MS_MAX: i64 = 366 * 86_400_000;

/// Most fields to group by.
const GROUP_BY_MAX: usize = 16;

/// A correlation as written.
#[derive(Clone, Debug)]
pub struct CorrelationPart {
    /// What is counted.
    pub kind: Correlated,
    /// Ids or names of the rules that feed it.
    pub rules: Vec<(String, Place)>,
    /// Fields or aliases to group by.
    pub group_by: Vec<String>,
    /// Field aliases.
    pub aliases: Vec<Alias>,
    /// Length of the window.
    pub timespan_ms: i64,
    /// When it is hot.
    pub condition: Condition,
    /// Whether the rules that feed it alert by themselves too.
    pub generate: bool,
}

/// A name for fields that differ from rule to rule.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The name, for `group-by`.
    pub name: String,
    /// Rule (name or id) and its field.
    pub fields: Vec<(String, String, Place)>,
}

const KEYS: [&str; 7] = ["type", "rules", "group-by", "timespan", "condition", "aliases", "generate"];

/// Kinds that the language has and this version does not.
const LATER: [&str; 7] = [
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
];

/// Reads the block.
pub fn read(block: &Node, findings: &mut Findings) -> Option<CorrelationPart> {
    let before = findings.errors();
    if !read::keys(block, &Known { block: "correlation", keys: &KEYS, later: &[] }, findings) {
        return None;
    }
    // What another kind needs is not judged by the rules of this one.
    let kind = kind(block, findings)?;
    let part = CorrelationPart {
        kind,
        rules: rules(block, findings),
        group_by: group_by(block, findings),
        aliases: aliases(block, findings),
        timespan_ms: timespan(block, findings).unwrap_or(1),
        condition: condition(block, findings).unwrap_or_default(),
        generate: read::boolean(block, "generate", findings).unwrap_or(false),
    };
    (findings.errors() == before).then_some(part)
}

fn kind(block: &Node, findings: &mut Findings) -> Option<Correlated> {
    let word = read::required_text(block, "type", findings)?;
    let place = block.get("type").map_or(block.place, |n| n.place);
    if word == "event_count" {
        return Some(Correlated::EventCount);
    }
    if LATER.contains(&word.as_str()) {
        findings.add(place, Code::NotYet, format!("not supported yet: {word}"));
    } else {
        let hint = crate::finding::suggestion(&word, LATER.iter().copied().chain(["event_count"]));
        findings.add(place, Code::NotAllowed, format!("unknown correlation type \"{word}\"{hint}"));
    }
    None
}

fn rules(block: &Node, findings: &mut Findings) -> Vec<(String, Place)> {
    let found = read::texts(block, "rules", findings);
    if found.is_empty() {
        findings.add(block.place, Code::MissingKey, "\"rules\" is missing from \"correlation\"");
    }
    let places: Vec<Place> = match block.get("rules").map(|n| &n.kind) {
        Some(Kind::List(items)) => items.iter().filter(|i| i.text().is_some()).map(|i| i.place).collect(),
        _ => Vec::new(),
    };
    let at = |i: usize| places.get(i).copied().unwrap_or(block.place);
    found.into_iter().enumerate().map(|(i, name)| (name, at(i))).collect()
}

fn group_by(block: &Node, findings: &mut Findings) -> Vec<String> {
    let fields = read::texts(block, "group-by", findings);
    if fields.len() > GROUP_BY_MAX {
        let message = format!("\"group-by\" has {} fields, more than {GROUP_BY_MAX}", fields.len());
        findings.add(block.get("group-by").map_or(block.place, |n| n.place), Code::Limit, message);
    }
    fields
}

fn aliases(block: &Node, findings: &mut Findings) -> Vec<Alias> {
    let Some(node) = block.get("aliases") else { return Vec::new() };
    let Some(entries) = node.entries() else {
        findings.add(node.place, Code::WrongType, format!("\"aliases\" is a map, not {}", node.describe()));
        return Vec::new();
    };
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(fields) = entry.value.entries() else {
            let message = format!("the alias \"{}\" is a map of rule: field", entry.key);
            findings.add(entry.place, Code::WrongType, message);
            continue;
        };
        let fields = fields
            .iter()
            .filter_map(|f| match f.value.text() {
                Some(field) => Some((f.key.clone(), field.to_owned(), f.place)),
                None => {
                    let message = format!("the alias \"{}\" names no field for \"{}\"", entry.key, f.key);
                    findings.add(f.place, Code::WrongType, message);
                    None
                }
            })
            .collect();
        out.push(Alias { name: entry.key.clone(), fields });
    }
    out
}

fn timespan(block: &Node, findings: &mut Findings) -> Option<i64> {
    let text = read::required_text(block, "timespan", findings)?;
    let parsed = Some(text.as_str())
        .filter(|t| !t.ends_with("ms"))
        .and_then(read::milliseconds)
        .filter(|ms| (1..=TIMESPAN_MS_MAX).contains(ms));
    if parsed.is_none() {
        let message =
            format!("\"{text}\" is no time span: write a number and s, m, h or d, such as 90m, up to 366d");
        findings.add(block.get("timespan").map_or(block.place, |n| n.place), Code::TimeSpan, message);
    }
    parsed
}

fn condition(block: &Node, findings: &mut Findings) -> Option<Condition> {
    let Some(node) = block.get("condition") else {
        findings.add(block.place, Code::MissingKey, "\"condition\" is missing from \"correlation\"");
        return None;
    };
    let keys = ["gt", "gte", "lt", "lte", "eq", "neq"];
    if !read::keys(node, &Known { block: "correlation.condition", keys: &keys, later: &[] }, findings) {
        return None;
    }
    let mut get = |key: &str| read::number(node, key, 0..=u64::MAX, findings);
    let condition = Condition {
        gt: get("gt"),
        gte: get("gte"),
        lt: get("lt"),
        lte: get("lte"),
        eq: get("eq"),
        neq: get("neq"),
    };
    if condition == Condition::default() {
        let message = "a correlation condition has at least one of gt, gte, lt, lte, eq and neq";
        findings.add(node.place, Code::CorrelationCondition, message);
        return None;
    }
    // A window with no event in it does not exist, so a condition that only zero fulfils never fires.
    let possible = condition.lt != Some(0) && condition.eq != Some(0) && condition.lte != Some(0);
    let low = condition.gte.unwrap_or(0).max(condition.gt.map_or(0, |n| n.saturating_add(1)));
    let high = condition.lte.unwrap_or(u64::MAX).min(condition.lt.map_or(u64::MAX, |n| n.saturating_sub(1)));
    let contradicts = condition.eq.is_some_and(|n| n < low || n > high || condition.neq == Some(n));
    if !possible || low > high || contradicts {
        findings.add(node.place, Code::CorrelationCondition, "no count of events fulfils this condition");
        return None;
    }
    Some(condition)
}
