//! What a PromQL query names: metrics, and labels with the values asked for.
//!
//! In: a query. Out: every name in it that MozDef's table of metrics does not have. Never: PromQL's grammar, which
//! promtool checks.

use std::iter::Peekable;
use std::str::CharIndices;

use model::error::Reason;
use model::metrics::{Drop, Metric, Stage, TABLE};

/// Labels that scraping adds.
const TARGET: &[&str] = &["namespace", "job", "pod", "instance", "component"];

/// What is wrong with the names in a query; empty when every metric and label is in the table.
pub fn mistakes(query: &str) -> Vec<String> {
    let words = words(query);
    let mut found = Vec::new();
    let mut known: Vec<&str> = TARGET.to_vec();
    let mut is_any = false;
    for (index, word) in words.iter().enumerate() {
        let Word::Name(name) = word else { continue };
        if !name.starts_with("mozdef_") {
            continue;
        }
        is_any = true;
        let Some((metric, is_bucket)) = metric(name) else {
            found.push(format!("{name} is not in the table of metrics"));
            continue;
        };
        known.extend(metric.labels);
        if is_bucket {
            known.push("le");
        }
        let selector = words.get(index + 1..).unwrap_or_default();
        found.extend(selector_mistakes(metric, is_bucket, selector));
    }
    if !is_any {
        found.push("no metric of MozDef is named".to_owned());
    }
    found.extend(
        grouped(&words)
            .filter(|label| !known.contains(label))
            .map(|label| format!("no label `{label}` here")),
    );
    found
}

/// The metric of a series, and whether the series is a histogram's bucket.
fn metric(series: &str) -> Option<(&'static Metric, bool)> {
    let named = |name: &str| TABLE.iter().find(|metric| metric.name == name);
    let of_histogram = |suffix| named(series.strip_suffix(suffix)?);
    named(series)
        .map(|metric| (metric, false))
        .or_else(|| of_histogram("_bucket").map(|metric| (metric, true)))
        .or_else(|| of_histogram("_sum").or_else(|| of_histogram("_count")).map(|metric| (metric, false)))
}

fn selector_mistakes(metric: &Metric, is_bucket: bool, words: &[Word]) -> Vec<String> {
    let mut found = Vec::new();
    if words.first() != Some(&Word::Sign('{')) {
        return found;
    }
    let mut label = "";
    for word in words.iter().take_while(|word| **word != Word::Sign('}')) {
        match word {
            Word::Name(name) => {
                label = name.as_str();
                let is_known =
                    metric.labels.contains(&label) || TARGET.contains(&label) || (is_bucket && label == "le");
                if !is_known {
                    found.push(format!("{} has no label `{label}`", metric.name));
                }
            }
            Word::Text(values) => {
                let wrong = values.split('|').filter(|value| !is_value(label, value));
                found.extend(
                    wrong.map(|value| format!("{}: the label `{label}` is never `{value}`", metric.name)),
                );
            }
            Word::Sign(_) => {}
        }
    }
    found
}

/// Whether a label can have a value. Labels with values from elsewhere can have any.
fn is_value(label: &str, value: &str) -> bool {
    let is_pattern = value.starts_with('$') || value.contains(['.', '*', '+', '[']);
    is_pattern
        || match label {
            "stage" => Stage::ALL.iter().any(|stage| stage.as_str() == value),
            "reason" => {
                Reason::ALL.iter().any(|reason| reason.as_str() == value)
                    || Drop::ALL.iter().any(|drop| drop.as_str() == value)
            }
            _ => true,
        }
}

/// The labels of `by (…)`, `on (…)` and their like.
fn grouped(words: &[Word]) -> impl Iterator<Item = &str> {
    const GROUPERS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut is_inside = false;
    words.iter().enumerate().filter_map(move |(index, word)| {
        let before = index.checked_sub(1).and_then(|before| words.get(before));
        match (word, before) {
            (Word::Sign('('), Some(Word::Name(name))) if GROUPERS.contains(&name.as_str()) => {
                is_inside = true
            }
            (Word::Sign(')'), _) => is_inside = false,
            (Word::Name(label), _) if is_inside => return Some(label.as_str()),
            _ => {}
        }
        None
    })
}

#[derive(Debug, PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Sign(char),
}

fn words(query: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = query.char_indices().peekable();
    while let Some((_, char)) = chars.next() {
        match char {
            ' ' | '\n' | '\t' => {}
            '"' | '\'' | '`' => {
                let text: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != char).collect();
                words.push(Word::Text(text));
            }
            c if c.is_ascii_alphanumeric() || c == '_' => words.push(Word::Name(name(c, &mut chars))),
            sign => words.push(Word::Sign(sign)),
        }
    }
    words
}

fn name(first: char, chars: &mut Peekable<CharIndices<'_>>) -> String {
    let mut name = String::from(first);
    while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')) {
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::mistakes;

    #[track_caller]
    fn check(query: &str, expected: &[&str]) {
        assert_eq!(mistakes(query), expected, "{query}");
    }

    #[test]
    fn names_of_the_table_are_known() {
        check("sum by (namespace, stage) (rate(mozdef_records_in_total{stage=\"match\"}[5m])) > 0", &[]);
        check("histogram_quantile(0.99, sum by (le) (rate(mozdef_alert_latency_seconds_bucket[5m])))", &[]);
        check("mozdef_ready{pod=~\"$pod\"} == 0", &[]);
        check("mozdef_records_dead_total{reason=~\"too_deep|index_refused\"}", &[]);
    }

    #[test]
    fn other_names_are_told() {
        check("rate(mozdef_eps[5m])", &["mozdef_eps is not in the table of metrics"]);
        check("up == 0", &["no metric of MozDef is named"]);
        check("mozdef_ready{group=\"x\"}", &["mozdef_ready has no label `group`"]);
        check("sum by (topic) (mozdef_ready)", &["no label `topic` here"]);
        check(
            "mozdef_records_in_total{stage=\"matcher\"}",
            &["mozdef_records_in_total: the label `stage` is never `matcher`"],
        );
        check("mozdef_ready{le=\"1\"}", &["mozdef_ready has no label `le`"]);
    }
}
