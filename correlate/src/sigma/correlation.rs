//! The `correlation` block.
//!
//! In: the block. Out: a [`CorrelationPart`], its references by name. Never:
//! a kind or key that is not built yet taken for one that is.

use crate::finding::{Code, Findings, Place};
use crate::rule::{Condition, Kind as Correlated};
use crate::sigma::correlation_condition as condition;
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{Kind, Node};
use crate::window::ORDERED_MAX;

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
    /// When it is hot, for kinds that count.
    pub condition: Condition,
    /// When it is hot, for kinds that take numbers.
    pub limits: Condition<i128>,
    /// Fields whose values are counted, or whose numbers are taken.
    pub fields: Vec<String>,
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

/// The kinds, as rules name them.
const KINDS: [(&str, Correlated); 8] = [
    ("event_count", Correlated::EventCount),
    ("value_count", Correlated::ValueCount),
    ("temporal", Correlated::Temporal),
    ("temporal_ordered", Correlated::TemporalOrdered),
    ("value_sum", Correlated::Sum),
    ("value_avg", Correlated::Average),
    ("value_percentile", Correlated::Percentile { per_cent: MEDIAN }),
    ("value_median", Correlated::Percentile { per_cent: MEDIAN }),
];

/// The percentile that is the median.
const MEDIAN: u8 = 50;

/// Most rules of a correlation that tells them apart.
const RULES_MAX: usize = 64;

/// Reads the block.
pub fn read(block: &Node, findings: &mut Findings) -> Option<CorrelationPart> {
    let before = findings.errors();
    if !read::keys(block, &Known { block: "correlation", keys: &KEYS, later: &[] }, findings) {
        return None;
    }
    // What another kind needs is not judged by the rules of this one.
    let mut kind = kind(block, findings)?;
    let rules = rules(block, findings);
    let condition = condition::read(block, &mut kind, rules.len(), findings).unwrap_or_default();
    let part = CorrelationPart {
        kind,
        group_by: group_by(block, findings),
        aliases: aliases(block, findings),
        timespan_ms: timespan(block, findings).unwrap_or(1),
        condition: condition.counts,
        limits: condition.limits,
        fields: condition.fields,
        generate: read::boolean(block, "generate", findings).unwrap_or(false),
        rules,
    };
    if kind.tells_rules_apart() {
        distinct_rules(block, &part, findings);
    }
    (findings.errors() == before).then_some(part)
}

/// Each rule of a temporal correlation is one of the things that must happen.
fn distinct_rules(block: &Node, part: &CorrelationPart, findings: &mut Findings) {
    let most = if part.kind == Correlated::TemporalOrdered { ORDERED_MAX } else { RULES_MAX };
    if part.rules.len() > most {
        let message = format!("{} rules, more than {most}: chain correlations", part.rules.len());
        findings.add(block.place, Code::Limit, message);
    }
    for (at, (name, place)) in part.rules.iter().enumerate() {
        if part.rules.iter().take(at).any(|(other, _)| other == name) {
            findings.add(
                *place,
                Code::CorrelationCondition,
                format!("the rule \"{name}\" stands here twice"),
            );
        }
    }
}

fn kind(block: &Node, findings: &mut Findings) -> Option<Correlated> {
    let word = read::required_text(block, "type", findings)?;
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == word) {
        return Some(*kind);
    }
    let place = block.get("type").map_or(block.place, |n| n.place);
    let hint = crate::finding::suggestion(&word, KINDS.iter().map(|(name, _)| *name));
    findings.add(place, Code::NotAllowed, format!("unknown correlation type \"{word}\"{hint}"));
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
