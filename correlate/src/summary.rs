//! Summaries of alerts: minijinja templates over an alert's numbers and its
//! sample events.
//!
//! In: a template and what is known of the alert. Out: one line of text of
//! bounded length. Never: I/O, other templates, HTML, an error that stops the
//! rule; a value that is missing prints as `UNKNOWN` and is counted.
//!
//! ```text
//! count, peak   numbers of the alert
//! group         the group's value; several are joined by ", "
//! groups        the same by field name: groups['details.sourceipaddress']
//! events        the sample events; event is the first
//! rule          id, title, name, level, severity
//! top(events, 'hostname')       "web1 (7 hits) web2 (3 hits)": the five most frequent values
//! ```
//!
//! `top` written like this counts every event of the alert, not only the
//! samples, for the first four fields; of other lists it counts what it is
//! given.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior};

use crate::rule::RuleInfo;
use crate::window::tops::{Counted, Tops, field_id};

/// Longest summary, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 4096;

/// Longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 16 << 10;

/// Most steps of a template: enough for a loop over hundreds of samples.
const FUEL: u64 = 50_000;

/// How many values `top` names.
const TOP_DEFAULT: usize = 5;

const UNKNOWN: &str = "UNKNOWN";

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse, or names a filter, test or function that does not exist.
    #[error("summary template, line {line}: {what}")]
    Invalid {
        /// Line within the template.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It is too long.
    #[error("summary template of {bytes} bytes, more than {TEMPLATE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It runs too long.
    #[error("summary template takes too many steps; make its loops shorter")]
    TooCostly,
}

/// What a template can say.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The rule.
    pub info: &'a RuleInfo,
    /// Distinct events.
    pub count: u64,
    /// Most ids in one hot window.
    pub peak: u64,
    /// Values by group-by field.
    pub groups: &'a serde_json::Map<String, serde_json::Value>,
    /// Sample events.
    pub events: &'a [&'a serde_json::Value],
    /// How often values occur over all events, where they were counted.
    pub tops: &'a Tops,
}

/// Most fields whose values are counted for one summary.
const COUNTED_MAX: usize = 4;

/// The fields that a template counts over all events: those of `top(events, '…'`.
pub fn counted_fields(template: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for call in template.split("top(").skip(1) {
        let Some(name) = counted_field(call) else { continue };
        if fields.len() < COUNTED_MAX && !fields.iter().any(|known| known == name) {
            fields.push(name.to_owned());
        }
    }
    fields
}

/// The name in ` events , '…'`.
fn counted_field(arguments: &str) -> Option<&str> {
    let path = arguments.trim_start().strip_prefix("events")?.trim_start().strip_prefix(',')?.trim_start();
    let quote = path.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (name, _) = path.strip_prefix(quote)?.split_once(quote)?;
    (!name.is_empty() && !name.contains('\\')).then_some(name)
}

/// A filled-in template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The line.
    pub text: String,
    /// Values that were missing, or 1 for a template that failed.
    pub missing: u64,
}

/// Fills in templates. One for each worker.
pub struct Summaries {
    environment: Environment<'static>,
    missing: Arc<AtomicU64>,
}

impl Default for Summaries {
    fn default() -> Summaries {
        Summaries::new()
    }
}

impl Summaries {
    /// Without any template.
    pub fn new() -> Summaries {
        let missing = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&missing);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(move |out: &mut Output, state: &mut State, value: &Value| {
            if value.is_undefined() || value.is_none() {
                counter.fetch_add(1, Ordering::Relaxed);
                return Ok(out.write_str(UNKNOWN)?);
            }
            minijinja::escape_formatter(out, state, value)
        });
        environment.add_function("top", top);
        Summaries { environment, missing }
    }

    /// Fills in a template. One that fails gives the rule's title and says so.
    pub fn render(&self, template: &str, facts: &Facts<'_>) -> Summary {
        let before = self.missing.load(Ordering::Relaxed);
        match self.try_render(template, facts) {
            Ok(text) => {
                let missing = self.missing.load(Ordering::Relaxed).saturating_sub(before);
                Summary { text, missing }
            }
            Err(error) => {
                tracing::warn!(rule = facts.info.id, %error, "the summary template failed");
                let text = format!("{} (the summary template failed)", facts.info.title);
                Summary { text: bounded(text), missing: 1 }
            }
        }
    }

    fn try_render(&self, template: &str, facts: &Facts<'_>) -> Result<String, minijinja::Error> {
        let mut out = Line { bytes: Vec::new(), cut: false };
        let context = context(facts);
        let rendered = self
            .environment
            .template_from_str(template)
            .and_then(|t| t.render_captured_to(context, &mut out).map(drop));
        // A line that is full stops the template; that is no failure.
        if !out.cut {
            rendered?;
        }
        let mut text = String::from_utf8_lossy(&out.bytes).into_owned();
        if out.cut {
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            text.push('…');
        }
        Ok(text)
    }
}

/// Whether a template can be used: it parses, and whatever it names exists.
pub fn validate(template: &str) -> Result<(), TemplateError> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(TemplateError::TooLong { bytes: template.len() });
    }
    let event = serde_json::json!({});
    let groups = serde_json::Map::new();
    let info = trial_rule();
    let facts =
        Facts { info: &info, count: 1, peak: 1, groups: &groups, events: &[&event], tops: &Tops::default() };
    let Err(error) = Summaries::new().try_render(template, &facts) else { return Ok(()) };
    match error.kind() {
        ErrorKind::OutOfFuel => Err(TemplateError::TooCostly),
        ErrorKind::SyntaxError
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod
        | ErrorKind::TooManyArguments
        | ErrorKind::MissingArgument => Err(TemplateError::Invalid {
            line: error.line().unwrap_or(1),
            what: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        }),
        // The trial has no real event; with one it may well work.
        _ => Ok(()),
    }
}

fn trial_rule() -> RuleInfo {
    RuleInfo {
        id: String::new(),
        name: None,
        title: String::new(),
        level: crate::rule::Level::Low,
        severity: String::new(),
        category: String::new(),
        tags: Vec::new(),
        attack: Vec::new(),
        summary: String::new(),
        samples: 1,
        channel: None,
        notify: None,
        url: None,
        sources: Vec::new(),
        generation: String::new(),
    }
}

fn context(facts: &Facts<'_>) -> Value {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let group = facts.groups.values().map(shown).collect::<Vec<_>>().join(", ");
    let group = if facts.groups.is_empty() { Value::UNDEFINED } else { Value::from(group) };
    let events = facts.events.iter().map(|event| Value::from(Serde(event))).collect::<Vec<_>>();
    let rule = [
        ("id", Value::from(facts.info.id.as_str())),
        ("title", Value::from(facts.info.title.as_str())),
        ("name", facts.info.name.as_deref().map_or(Value::UNDEFINED, Value::from)),
        ("level", Value::from(facts.info.level.as_str())),
        ("severity", Value::from(facts.info.severity.as_str())),
    ];
    Value::from_pairs([
        ("count", Value::from(facts.count)),
        ("peak", Value::from(facts.peak)),
        ("group", group),
        ("groups", Value::from(Serde(facts.groups))),
        ("event", events.first().cloned().unwrap_or(Value::UNDEFINED)),
        ("events", Value::from(events)),
        ("rule", Value::from_pairs(rule)),
        (COUNTED, counted(facts)),
    ])
}

/// Name of what was counted, which templates do not see otherwise: no identifier has a blank.
const COUNTED: &str = "counted values";

/// `[[value, count], …]` by the name of the field, the most frequent first.
fn counted(facts: &Facts<'_>) -> Value {
    let rows = |name: &String| {
        let counts = facts.tops.of(field_id(name));
        let row = |one: &Counted| Value::from(vec![Value::from(&*one.value), Value::from(one.count)]);
        Value::from(counts.into_iter().map(row).collect::<Vec<_>>())
    };
    let fields = if facts.tops.is_empty() { Vec::new() } else { counted_fields(&facts.info.summary) };
    Value::from_pairs(fields.iter().map(|name| (name.clone(), rows(name))))
}

/// `top(events, 'details.host', 3)`: the most frequent values with their counts; equals in order of appearance.
fn top(
    state: &State,
    events: Vec<Value>,
    path: String,
    most: Option<usize>,
) -> Result<Value, minijinja::Error> {
    let mut counts = counted_over_all(state, &events, &path);
    if counts.is_empty() {
        counts = counted_over(&events, &path)?;
    }
    if counts.is_empty() {
        return Ok(Value::UNDEFINED);
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let hits =
        counts.iter().take(most.unwrap_or(TOP_DEFAULT)).map(|(text, count)| format!("{text} ({count} hits)"));
    Ok(Value::from(hits.collect::<Vec<_>>().join(" ")))
}

/// What was counted of this field over all events; nothing when these are not all samples.
fn counted_over_all(state: &State, events: &[Value], path: &str) -> Vec<(String, u64)> {
    let samples = state.lookup("events").and_then(|samples| samples.len());
    let rows = state.lookup(COUNTED).and_then(|counted| counted.get_attr(path).ok());
    let Some(rows) = rows.filter(|_| samples == Some(events.len())).and_then(|rows| rows.try_iter().ok())
    else {
        return Vec::new();
    };
    let row = |row: Value| {
        let count = row.get_item_by_index(1).ok()?;
        Some((row.get_item_by_index(0).ok()?.to_string(), u64::try_from(count).ok()?))
    };
    rows.filter_map(row).collect()
}

fn counted_over(events: &[Value], path: &str) -> Result<Vec<(String, u64)>, minijinja::Error> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for event in events {
        let mut value = event.clone();
        for key in path.split('.') {
            value = value.get_attr(key)?;
            if value.is_undefined() {
                break;
            }
        }
        if value.is_undefined() || value.is_none() {
            continue;
        }
        let text = value.to_string();
        match counts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((text, 1)),
        }
    }
    Ok(counts)
}

fn bounded(mut text: String) -> String {
    if text.len() > SUMMARY_BYTES_MAX {
        let mut end = SUMMARY_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        let written = text.write_char('…');
        debug_assert!(written.is_ok());
    }
    text
}

/// One line of bounded length.
struct Line {
    bytes: Vec<u8>,
    cut: bool,
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SUMMARY_BYTES_MAX.saturating_sub(self.bytes.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.bytes.extend(taken.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        if taken.len() < bytes.len() {
            self.cut = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use model::ids::EventId;

    use super::{
        Facts, SUMMARY_BYTES_MAX, Summaries, Summary, TemplateError, counted_fields, trial_rule, validate,
    };
    use crate::window::Mark;
    use crate::window::tops::{Tops, field_id};

    fn render(template: &str, groups: Value, events: &[Value]) -> Summary {
        let mut info = trial_rule();
        info.title = "Title".to_owned();
        let events = events.iter().collect::<Vec<_>>();
        let groups = groups.as_object().unwrap();
        let facts =
            Facts { info: &info, count: 12, peak: 7, groups, events: &events, tops: &Tops::default() };
        Summaries::new().render(template, &facts)
    }

    #[test]
    fn counted_fields_are_those_of_plain_calls() {
        for (template, expected) in [
            ("{{ top(events, 'hostname') }} {{ top( events,\"details.x\", 3) }}", "hostname details.x"),
            ("{{ top(events, 'a') }}{{ top(events, 'a', 1) }}", "a"),
            ("{{ top(events[:2], 'a') }} {{ top(events, name) }} top(events, ''", ""),
            (
                "{{ top(events,'a') }}{{ top(events,'b') }}{{ top(events,'c') }}{{ top(events,'d') }}{{ top(events,'e') }}",
                "a b c d",
            ),
        ] {
            assert_eq!(counted_fields(template).join(" "), expected, "{template}");
        }
    }

    #[test]
    fn what_was_counted_over_all_events_is_shown_in_place_of_the_samples() {
        let mut info = trial_rule();
        info.summary = "{{ top(events, 'host') }} | {{ top(events, 'host', 1) }} | {{ top(events[:1], 'host') }} | {{ top(events, 'user') }}"
            .to_owned();
        let mut tops = Tops::default();
        for n in 0..40_u8 {
            let mark = Mark { time: i64::from(n), id: EventId::from_bytes([n; 16]) };
            let host = if n % 4 == 0 { "web2" } else { "web1" };
            tops.add(&[(field_id("host"), host.into())].into(), mark);
        }
        let sample = json!({"host": "web2", "user": "eve"});
        let events = [&sample, &sample];
        let groups = serde_json::Map::new();
        let facts = Facts { info: &info, count: 40, peak: 9, groups: &groups, events: &events, tops: &tops };
        let text = Summaries::new().render(&info.summary, &facts).text;
        assert_eq!(text, "web1 (30 hits) web2 (10 hits) | web1 (30 hits) | web2 (1 hits) | eve (2 hits)");
    }

    #[track_caller]
    fn check(template: &str, expected: &str, missing: u64) {
        let host =
            |name: &str| json!({"hostname": name, "details": {"n": 1, "null": null}, "tags": ["a", "b"]});
        let events = [host("b"), host("a"), host("b"), json!({}), host("<c>")];
        let got = render(template, json!({"details.ip": "192.0.2.7"}), &events);
        assert_eq!((got.text.as_str(), got.missing), (expected, missing), "{template}");
        assert_eq!(validate(template), Ok(()), "{template}");
    }

    #[test]
    fn templates_are_filled_in() {
        check(
            "{{ count }} ssh bruteforce attempts by {{ group }} {{ top(events, 'hostname') }}",
            "12 ssh bruteforce attempts by 192.0.2.7 b (2 hits) a (1 hits) <c> (1 hits)",
            0,
        );
        check("{{ groups['details.ip'] }} {{ peak }} {{ rule.title }}", "192.0.2.7 7 Title", 0);
        check("{{ event.hostname }} {{ events[4].hostname }} {{ event.tags|join(',') }}", "b <c> a,b", 0);
        check("{{ events|map(attribute='hostname')|select|unique|join(' ') }}", "b a <c>", 0);
        check("{{ top(events, 'details.n', 1) }}", "1 (4 hits)", 0);
        check("two\nlines", "two lines", 0);
    }

    #[test]
    fn what_is_missing_is_unknown_and_counted() {
        check(
            "{{ nothing }} {{ event.no.such.field }} {{ event.details.null }}",
            "UNKNOWN UNKNOWN UNKNOWN",
            3,
        );
        check("{{ top(events, 'none') }} {{ events[9].x }}", "UNKNOWN UNKNOWN", 2);
        assert_eq!(render("by {{ group }}", json!({}), &[]).text, "by UNKNOWN");
        assert_eq!(render("by {{ group }}", json!({"a": "x", "b": 2}), &[]).text, "by x, 2");
    }

    #[test]
    fn what_fails_or_grows_does_no_harm() {
        assert_eq!(render("{{ count / 0 }}", json!({}), &[]).text, "Title (the summary template failed)");
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(render(endless, json!({}), &[]).text, "Title (the summary template failed)");
        let long = render("{% for a in range(9999) %}ü{% endfor %}", json!({}), &[]).text;
        assert!(long.len() <= SUMMARY_BYTES_MAX + 3 && long.ends_with("ü…"), "{}", long.len());
    }

    #[test]
    fn bad_templates_are_refused() {
        let line = |template: &str| match validate(template) {
            Err(TemplateError::Invalid { line, .. }) => line,
            other => panic!("{template}: {other:?}"),
        };
        assert_eq!(line("a\n{{ count"), 2);
        assert_eq!(line("{{ count|nosuchfilter }}"), 1);
        assert_eq!(line("{{ nosuchfunction(1) }}"), 1);
        assert_eq!(line("{{ top(events) }}"), 1);
        assert_eq!(line("{% if count is nosuchtest %}{% endif %}"), 1);
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(validate(endless), Err(TemplateError::TooCostly));
        assert_eq!(validate(&"x".repeat(20_000)), Err(TemplateError::TooLong { bytes: 20_000 }));
    }
}
