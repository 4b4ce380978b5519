//! The tests inside rule files: events in, alerts compared.
//!
//! In: a load with its tests. Out: a result for each test. Never: the time of
//! day; events of a test are set at fixed times, so that a result repeats.

use std::sync::Arc;

use model::event::Event;
use model::ids::EventId;
use model::time::Timestamp;
use serde_json::{Map, Value};

use crate::finding::{Code, Finding, Place};
use crate::load::Loaded;
use crate::offline::{self, OfflineEvent, OfflineOptions};
use crate::sigma::mozdef_block::TestCase;

/// When the first event of a test happens: 2024-05-15T12:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_715_774_400_000);

/// Entries that a group may hold exactly during tests.
const GROUP_ENTRIES_MAX: usize = 100_000;

/// How one test went.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// The rule's id.
    pub rule: String,
    /// Its file.
    pub file: Arc<str>,
    /// Where the test starts.
    pub place: Place,
    /// The test's name.
    pub name: String,
    /// What was wrong; `None` when it passed.
    pub failure: Option<String>,
}

/// Runs all tests of a load. Each sees the whole set, and judges the alerts of its own rule.
pub fn run(loaded: &Loaded) -> Vec<TestResult> {
    let of_rule = |rule: &crate::load::RuleTests| {
        let one = |test: &TestCase| TestResult {
            rule: rule.rule.clone(),
            file: Arc::clone(&rule.file),
            place: test.place,
            name: test.name.clone(),
            failure: judge(loaded, &rule.rule, test).err(),
        };
        rule.tests.iter().map(one).collect::<Vec<_>>()
    };
    loaded.tests.iter().flat_map(of_rule).collect()
}

/// Failed tests as findings.
pub fn findings(results: &[TestResult]) -> Vec<Finding> {
    results
        .iter()
        .filter_map(|result| {
            let failure = result.failure.as_ref()?;
            Some(Finding {
                file: Arc::clone(&result.file),
                place: result.place,
                code: Code::TestFailed,
                message: format!("the test \"{}\" failed: {failure}", result.name),
            })
        })
        .collect()
}

fn judge(loaded: &Loaded, rule: &str, test: &TestCase) -> Result<(), String> {
    let events = events(test)?;
    let options = OfflineOptions { group_entries_max: GROUP_ENTRIES_MAX };
    let mut alerts: Vec<Value> = Vec::new();
    for alert in offline::run(&loaded.set, events, &options) {
        if alert.rule.id == rule && alert.merged_into.is_none() {
            alerts.push(serde_json::to_value(&alert).map_err(|error| error.to_string())?);
        }
    }
    compare(&test.alerts, &alerts)
}

/// The events of a test, one after the other. An event's own `utctimestamp` stays.
fn events(test: &TestCase) -> Result<Vec<OfflineEvent>, String> {
    let mut out = Vec::new();
    let mut at = START;
    for group in &test.events {
        for _ in 0..group.repeat {
            let mut form = group.event.clone();
            for key in ["receivedtimestamp", "utctimestamp", "timestamp"] {
                form.entry(key).or_insert_with(|| at.to_string().into());
            }
            let text = Value::Object(form).to_string();
            let event = Event::from_json(&text).map_err(|error| format!("an event is refused: {error}"))?;
            let id = EventId::from_position("test", &test.name, 0, out.len() as u64, 0);
            out.push(OfflineEvent { id, event, origin: String::new() });
            at = at.plus_millis(group.every_ms);
        }
    }
    Ok(out)
}

/// Each expected alert is a part of another of the alerts, and none is left over.
fn compare(expected: &[Map<String, Value>], alerts: &[Value]) -> Result<(), String> {
    let summaries = || {
        let texts: Vec<String> = alerts
            .iter()
            .map(|a| format!("\"{}\"", a.get("summary").and_then(Value::as_str).unwrap_or_default()))
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    };
    let mut left: Vec<&Value> = alerts.iter().collect();
    for (number, wanted) in expected.iter().enumerate() {
        let wanted = Value::Object(wanted.clone());
        let Some(at) = left.iter().position(|alert| difference(&wanted, alert).is_none()) else {
            // With one alert to look at, what differs is worth more than what was wanted.
            let why = match left.as_slice() {
                [only] => difference(&wanted, only).unwrap_or_default(),
                _ => format!("{wanted} is not part of any"),
            };
            return Err(format!("alert {}: {why}; alerts: {}", number + 1, summaries()));
        };
        left.remove(at);
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("{} expected, {} fired: {}", expected.len(), alerts.len(), summaries()))
}

/// What keeps `wanted` from being a part of `actual`: objects by their keys, lists element by element.
fn difference(wanted: &Value, actual: &Value) -> Option<String> {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            wanted.iter().find_map(|(key, value)| match actual.get(key) {
                None => Some(format!("\"{key}\" is missing")),
                Some(found) => difference(value, found).map(|why| format!("{key}: {why}")),
            })
        }
        (Value::Array(wanted), Value::Array(actual)) if wanted.len() == actual.len() => {
            wanted.iter().zip(actual).find_map(|(w, a)| difference(w, a))
        }
        _ if wanted == actual => None,
        _ => Some(format!("{wanted} expected, {actual} found")),
    }
}

#[cfg(test)]
mod tests {
    use super::{findings, run};
    use crate::load::{self, Role, SourceFile};

    fn results(alerts: &str) -> Vec<String> {
        let text = format!(
            "title: t\nid: 1\nname: n\nlogsource: {{product: mozdef}}\ndetection: {{a: {{summary: x}}, condition: a}}\n\
             mozdef:\n  summary: 'seen {{{{ event.details.user }}}}'\n  tests:\n    - name: one\n\
             \x20     events: [{{repeat: 2, event: {{summary: X, details: {{user: bob}}}}}}, {{event: {{summary: y}}}}]\n\
             \x20     alerts: {alerts}\n"
        );
        let file = SourceFile { name: "f".into(), role: Role::Rules, text: text.into() };
        let loaded = load::files(&[file], Vec::new());
        assert!(loaded.report.errors.is_empty(), "{:?}", loaded.report.errors);
        findings(&run(&loaded)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn alerts_are_compared_by_what_the_test_names() {
        assert_eq!(results("[{summary: seen bob}, {rule: {title: t}}]"), [""; 0]);
        assert_eq!(results("[{count: 1}, {count: 1, severity: WARNING}]"), [""; 0]);
    }

    #[test]
    fn what_differs_is_said() {
        assert_eq!(
            results("[{summary: seen bob}]"),
            ["f:9:7: S029 the test \"one\" failed: 1 expected, 2 fired: \"seen bob\", \"seen bob\""]
        );
        assert_eq!(
            results("[{summary: seen bob}, {summary: seen eve}]"),
            [
                "f:9:7: S029 the test \"one\" failed: alert 2: summary: \"seen eve\" expected, \"seen bob\" found; \
              alerts: \"seen bob\", \"seen bob\""
            ]
        );
        assert!(results("[{nothing: 1}, {}]")[0].contains("is not part of any"));
    }
}
