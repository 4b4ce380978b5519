//! The `condition` of a correlation: bounds, the field that is measured, the
//! percentile.
//!
//! In: the block. Out: [`Read`]. Never: a condition that nothing fulfils, or a
//! bound in silence taken for another.

use crate::finding::{Code, Findings};
use crate::measured;
use crate::rule::{Condition, Kind};
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::Node;

/// A condition as written.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Bounds of counts.
    pub counts: Condition,
    /// Bounds of numbers, in units.
    pub limits: Condition<i128>,
    /// What is measured.
    pub fields: Vec<String>,
}

const BOUNDS: [&str; 6] = ["gt", "gte", "lt", "lte", "eq", "neq"];
const WITH_FIELD: [&str; 7] = ["gt", "gte", "lt", "lte", "eq", "neq", "field"];
const WITH_PERCENTILE: [&str; 8] = ["gt", "gte", "lt", "lte", "eq", "neq", "field", "percentile"];

/// Reads the condition of a correlation of so many rules; a percentile goes into the kind.
pub fn read(block: &Node, kind: &mut Kind, rules: usize, findings: &mut Findings) -> Option<Read> {
    let Some(node) = block.get("condition") else {
        if kind.tells_rules_apart() {
            return Some(Read { counts: all_of(rules), ..Read::default() });
        }
        findings.add(block.place, Code::MissingKey, "\"condition\" is missing from \"correlation\"");
        return None;
    };
    let is_percentile = matches!(kind, Kind::Percentile { .. });
    let has_field = kind.takes_numbers() || *kind == Kind::ValueCount;
    let keys: &[&str] = match (is_percentile, has_field) {
        (true, _) => &WITH_PERCENTILE,
        (_, true) => &WITH_FIELD,
        _ => &BOUNDS,
    };
    if !read::keys(node, &Known { block: "correlation.condition", keys, later: &[] }, findings) {
        return None;
    }
    if let Kind::Percentile { per_cent } = kind
        && node.get("percentile").is_some()
    {
        let given = read::number(node, "percentile", 0..=100, findings)?;
        *per_cent = u8::try_from(given).unwrap_or(100);
    }
    let fields = fields(node, *kind, findings)?;
    if kind.takes_numbers() {
        return limits(node, fields, findings);
    }
    let counts = counts(node, *kind, rules, findings)?;
    Some(Read { counts, fields, ..Read::default() })
}

/// All rules must match, where no other number is given.
fn all_of(rules: usize) -> Condition {
    Condition { gte: Some(rules as u64), ..Condition::default() }
}

fn fields(node: &Node, kind: Kind, findings: &mut Findings) -> Option<Vec<String>> {
    let fields: Vec<String> =
        read::texts(node, "field", findings).into_iter().filter(|field| !field.is_empty()).collect();
    let place = node.get("field").map_or(node.place, |field| field.place);
    match fields.len() {
        0 if kind.takes_numbers() || kind == Kind::ValueCount => {
            findings.add(place, Code::MissingKey, "\"field\" is missing from \"correlation.condition\"");
            None
        }
        2.. if kind.takes_numbers() => {
            findings.add(place, Code::WrongType, "\"field\" is one field: only value_count takes several");
            None
        }
        _ => Some(fields),
    }
}

fn counts(node: &Node, kind: Kind, rules: usize, findings: &mut Findings) -> Option<Condition> {
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
        if kind.tells_rules_apart() {
            return Some(all_of(rules));
        }
        return missing(node, findings);
    }
    // A window with no event in it does not exist, so a condition that only zero fulfils never fires.
    let possible = condition.lt != Some(0) && condition.eq != Some(0) && condition.lte != Some(0);
    let low = condition.gte.unwrap_or(0).max(condition.gt.map_or(0, |n| n.saturating_add(1)));
    let high = condition.lte.unwrap_or(u64::MAX).min(condition.lt.map_or(u64::MAX, |n| n.saturating_sub(1)));
    let most = if kind.tells_rules_apart() { rules as u64 } else { u64::MAX };
    let is_outside = |n: u64| n < low || n > high.min(most) || condition.neq == Some(n);
    if !possible || low > high.min(most) || condition.eq.is_some_and(is_outside) {
        findings.add(node.place, Code::CorrelationCondition, "no count of events fulfils this condition");
        return None;
    }
    Some(condition)
}

fn limits(node: &Node, fields: Vec<String>, findings: &mut Findings) -> Option<Read> {
    let before = findings.errors();
    let mut get = |key: &str| {
        let value = node.get(key)?;
        let number = value.text().and_then(measured::parse);
        if number.is_none() {
            let message = format!("\"{key}\" is a number up to 1e18, not {}", value.describe());
            findings.add(value.place, Code::Number, message);
        }
        number.map(measured::units)
    };
    let limits = Condition {
        gt: get("gt"),
        gte: get("gte"),
        lt: get("lt"),
        lte: get("lte"),
        eq: get("eq"),
        neq: get("neq"),
    };
    if findings.errors() > before {
        return None;
    }
    if limits == Condition::default() {
        return missing(node, findings);
    }
    let low = limits.gte.into_iter().chain(limits.gt.map(|n| n.saturating_add(1))).max();
    let high = limits.lte.into_iter().chain(limits.lt.map(|n| n.saturating_sub(1))).min();
    let contradicts = low.zip(high).is_some_and(|(low, high)| low > high)
        || limits.eq.is_some_and(|n| low.is_some_and(|low| n < low) || high.is_some_and(|high| n > high));
    if contradicts || limits.eq.is_some() && limits.eq == limits.neq {
        findings.add(node.place, Code::CorrelationCondition, "no number fulfils this condition");
        return None;
    }
    Some(Read { limits, fields, ..Read::default() })
}

fn missing<T>(node: &Node, findings: &mut Findings) -> Option<T> {
    let message = "a correlation condition has at least one of gt, gte, lt, lte, eq and neq";
    findings.add(node.place, Code::CorrelationCondition, message);
    None
}

#[cfg(test)]
mod tests {
    use crate::finding::Findings;
    use crate::rule::Kind;
    use crate::sigma::document::Body;

    #[track_caller]
    fn check(correlation: &str, expected: &str) {
        let text = format!("title: t\ncorrelation:\n  rules: [a, b]\n  timespan: 1m\n  {correlation}\n");
        let mut findings = Findings::new("f".into());
        let documents = crate::sigma::parse(&text, &mut findings);
        let got = match (findings.into_vec().first(), documents.first().map(|document| &document.body)) {
            (Some(finding), _) => format!("{} {}", finding.code, finding.message),
            (None, Some(Body::Correlation(part))) => {
                let percentile = match part.kind {
                    Kind::Percentile { per_cent } => format!(" p{per_cent}"),
                    _ => String::new(),
                };
                let c = part.condition;
                let counts = [c.gt, c.gte, c.lt, c.lte, c.eq, c.neq];
                let l = part.limits;
                let limits = [l.gt, l.gte, l.lt, l.lte, l.eq, l.neq];
                let show = |n: Option<String>| n.unwrap_or_else(|| "-".to_owned());
                let all: Vec<String> = if part.kind.takes_numbers() {
                    limits.map(|n| show(n.map(|n| n.to_string()))).to_vec()
                } else {
                    counts.map(|n| show(n.map(|n| n.to_string()))).to_vec()
                };
                format!("{} [{}]{percentile}", all.join(" "), part.fields.join(","))
            }
            other => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{correlation}");
    }

    #[test]
    fn each_kind_takes_its_own_keys() {
        check("type: event_count\n  condition: {gte: 3, lt: 9}", "- 3 9 - - - []");
        check("type: value_count\n  condition: {gte: 3, field: User}", "- 3 - - - - [User]");
        check("type: value_count\n  condition: {gt: 3, field: [User, Host]}", "3 - - - - - [User,Host]");
        check("type: temporal", "- 2 - - - - []");
        check("type: temporal_ordered\n  condition: {gte: 1}", "- 1 - - - - []");
        check("type: value_sum\n  condition: {gt: 1.5, field: n}", "1500000000 - - - - - [n]");
        check("type: value_avg\n  condition: {lte: -2, field: n}", "- - - -2000000000 - - [n]");
        check(
            "type: value_percentile\n  condition: {lt: 1, field: n, percentile: 99}",
            "- - 1000000000 - - - [n] p99",
        );
        check("type: value_median\n  condition: {neq: 0, field: n}", "- - - - - 0 [n] p50");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        check(
            "type: event_count\n  condition: {gte: 3, field: x}",
            "S004 \"correlation.condition\" has no key \"field\"",
        );
        check("type: event_count", "S006 \"condition\" is missing from \"correlation\"");
        check(
            "type: value_count\n  condition: {gte: 3}",
            "S006 \"field\" is missing from \"correlation.condition\"",
        );
        check(
            "type: value_sum\n  condition: {gte: 3, field: [a, b]}",
            "S003 \"field\" is one field: only value_count takes several",
        );
        check(
            "type: value_sum\n  condition: {gte: x, field: a}",
            "S014 \"gte\" is a number up to 1e18, not \"x\"",
        );
        check(
            "type: value_sum\n  condition: {gt: 3, lt: 2, field: a}",
            "S023 no number fulfils this condition",
        );
        check("type: temporal\n  condition: {gte: 3}", "S023 no count of events fulfils this condition");
        check(
            "type: value_percentile\n  condition: {gte: 3, field: a, percentile: 101}",
            "S014 \"percentile\" is a number from 0 to 100, not \"101\"",
        );
        check(
            "type: event_count\n  condition: {}",
            "S023 a correlation condition has at least one of gt, gte, lt, lte, eq and neq",
        );
        check("type: event_sum\n  condition: {}", "S026 unknown correlation type \"event_sum\"");
    }
}
