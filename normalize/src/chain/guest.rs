//! WebAssembly plugins in the chain: events out, verdicts in.
//!
//! In: events that wait for one plugin. Out: what each answer means for its event. Never: a document that is not
//! within the event's limits, or a failure that touches the event.

use model::config::OnPluginError;
use model::event::{EditError, Event, New, Path, Value};
use plugins::contract::{Change, Item, Verdict};
use plugins::{Cause, Failure, Instance};

use super::tally::Run;
use crate::marks::excerpt;
use crate::plugin::{Context, Metadata, Outcome};

/// What a plugin has answered for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It stays as it is.
    Unchanged,
    /// It is to be changed so.
    Changed {
        /// A merge patch, or the whole document.
        change: Change,
        /// Where it goes.
        metadata: Metadata,
    },
    /// It goes no further.
    Dropped,
    /// The plugin has failed on it.
    Failed {
        /// What to say in `mozdef.errors`.
        remark: String,
        /// Whether the event is dead by that.
        is_dead: bool,
    },
}

/// How it went with the plugin that an event has waited for.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The plugin's number.
    pub number: usize,
    /// What it did.
    pub run: Run,
}

/// Puts events to a plugin.
pub(super) fn ask(instance: &mut Instance, items: &[Item<'_>]) -> Vec<Answer> {
    let answers = instance.process(items);
    answers
        .into_iter()
        .zip(items)
        .map(|(answer, item)| match answer {
            Ok(verdict) => of_verdict(instance, verdict, item),
            Err(failure) => failed(instance, &failure),
        })
        .collect()
}

/// What a plugin gave cannot be used.
pub(super) fn nonsense(instance: &mut Instance, what: &str) -> Answer {
    let failure = instance.gave_nonsense(what);
    failed(instance, &failure)
}

/// One event through one plugin, whatever its registration.
pub(super) fn run_alone(
    instance: &mut Instance,
    event: &mut Event,
    context: &mut Context<'_>,
) -> Result<Outcome, String> {
    let document = event.to_json();
    let item = item(&document, context.now.millis(), &context.metadata);
    match ask(instance, &[item]).pop() {
        None | Some(Answer::Unchanged) => Ok(Outcome::Unchanged),
        Some(Answer::Dropped) => Ok(Outcome::Dropped),
        Some(Answer::Failed { remark, .. }) => Err(remark),
        Some(Answer::Changed { change, metadata }) => {
            apply(event, &change).map_err(|what| format!("{what}"))?;
            context.metadata = metadata;
            Ok(Outcome::Changed)
        }
    }
}

/// An event as a plugin sees it.
pub(crate) fn item<'a>(document: &'a str, received_ms: i64, metadata: &'a Metadata) -> Item<'a> {
    Item { document, received_ms, index: metadata.index.as_deref(), id: metadata.id.as_deref() }
}

fn of_verdict(instance: &Instance, verdict: Verdict, item: &Item<'_>) -> Answer {
    let Verdict { change, index, id } = verdict;
    match change {
        Change::Dropped => Answer::Dropped,
        Change::Failed(text) => failed(instance, &Failure::Said(text)),
        Change::Unchanged if (index.as_deref(), id.as_deref()) == (item.index, item.id) => Answer::Unchanged,
        change => Answer::Changed { change, metadata: Metadata { index, id } },
    }
}

fn failed(instance: &Instance, failure: &Failure) -> Answer {
    let plugin = instance.plugin();
    let name = &plugin.description.name;
    let text = failure.to_string();
    let remark = match failure {
        Failure::Call { cause: Cause::Timeout | Cause::Memory, .. } | Failure::Quarantined => text.as_str(),
        Failure::Call { .. } | Failure::Said(_) => excerpt(&text),
    };
    tracing::debug!(plugin = name, cause = text, "the plugin failed, its changes do not count");
    Answer::Failed {
        remark: format!("plugin {name}: {remark}"),
        is_dead: plugin.limits.on_error == OnPluginError::Dead,
    }
}

/// Why what a plugin gave cannot become the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    /// No document, or one beyond the limits.
    #[error("it gave no document: {0}")]
    Document(#[from] model::event::ParseError),
    /// The patch does not fit into the limits.
    #[error("its changes do not fit: {0}")]
    Edit(#[from] EditError),
}

/// Changes an event as a plugin says.
///
/// # Errors
/// See [`ApplyError`]; the event may then be half-done.
pub(crate) fn apply(event: &mut Event, change: &Change) -> Result<(), ApplyError> {
    match change {
        Change::Replaced(document) => {
            let limits = event.limits();
            let flags = event.parse(document.as_bytes(), &limits)?;
            if flags.duplicate_keys > 0 {
                event.drop_duplicates();
            }
        }
        Change::Merged(patch) => {
            let mut changes = Event::new();
            changes.parse(patch.as_bytes(), &event.limits())?;
            let mut keys = Vec::new();
            merge(event, &changes, &mut keys)?;
        }
        Change::Unchanged | Change::Dropped | Change::Failed(_) => {}
    }
    Ok(())
}

/// RFC 7396: objects are merged, `null` removes, everything else is set.
fn merge(event: &mut Event, patch: &Event, keys: &mut Vec<String>) -> Result<(), EditError> {
    let members: Vec<(&str, Value<'_>)> = match keys.as_slice() {
        [] => patch.root().iter().collect(),
        keys => match patch.get(&path(keys)) {
            Some(Value::Object(object)) => object.iter().collect(),
            _ => return Ok(()),
        },
    };
    for (key, value) in members {
        keys.push(key.to_owned());
        let place = path(keys);
        match value {
            Value::Null => {
                event.remove(&place);
            }
            Value::Object(_) => {
                if !matches!(event.get(&place), Some(Value::Object(_))) {
                    event.set(&place, New::EmptyObject)?;
                }
                merge(event, patch, keys)?;
            }
            value => event.set(&place, value)?,
        }
        keys.pop();
    }
    Ok(())
}

fn path(keys: &[String]) -> Path {
    Path::from_keys(keys.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use model::event::Event;
    use plugins::contract::Change;

    use super::apply;

    #[track_caller]
    fn check(event: &str, change: &Change, expected: &str) {
        let mut changed = Event::from_json(event).unwrap();
        apply(&mut changed, change).unwrap();
        assert_eq!(changed.to_json(), expected);
    }

    #[test]
    fn merge_patches_set_nest_and_remove() {
        let patch = |json: &str| Change::Merged(json.to_owned());
        let event = r#"{"a":"b","c":{"d":"e","f":"g"},"x.y":1}"#;
        check(event, &patch(r#"{"a":"z","c":{"f":null}}"#), r#"{"a":"z","c":{"d":"e"},"x.y":1}"#);
        check(
            event,
            &patch(r#"{"c":[1],"n":{"m":{"o":null,"p":{}}}}"#),
            r#"{"a":"b","c":[1],"x.y":1,"n":{"m":{"p":{}}}}"#,
        );
        check(event, &patch(r#"{"x.y":null,"a":{"q":1.50}}"#), r#"{"a":{"q":1.50},"c":{"d":"e","f":"g"}}"#);
        check(event, &patch("{}"), event);
        check(event, &Change::Replaced(r#"{"k":1,"k":2}"#.to_owned()), r#"{"k":2}"#);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for json in ["", "[]", "{", "null", "{\"a\":\"\u{0}\"}"] {
            for change in [Change::Merged(json.to_owned()), Change::Replaced(json.to_owned())] {
                let mut event = Event::from_json("{}").unwrap();
                assert!(apply(&mut event, &change).is_err(), "{json}");
            }
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        assert!(apply(&mut Event::new(), &Change::Merged(deep)).is_err());
    }
}
