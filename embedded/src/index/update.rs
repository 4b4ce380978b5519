//! Partial updates: a document laid over the stored one.
//!
//! In: the body of an update. Out: the whole new document. Scripts are refused.

use model::event::{Event, Limits, New, Object, Path, Value};

use crate::error::ApiError;
use crate::json;

/// What an update says.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// Members that lie over the stored ones.
    partial: Option<Event>,
    /// The document where there is none.
    upsert: Option<Vec<u8>>,
    /// Without a change nothing is written.
    detect_noop: bool,
}

const LIMITS: Limits = Limits { bytes_max: 16 << 20, depth_max: 128, fields_max: 20_000 };

impl Update {
    /// Reads `{"doc": …, "doc_as_upsert": true}` or `{"doc": …, "upsert": …}`.
    pub(crate) fn read(body: &[u8]) -> Result<Update, ApiError> {
        let mut event = Event::new();
        event.parse(body, &LIMITS).map_err(|e| {
            ApiError::new(400, "json_parse_exception", format!("the update is not valid JSON: {e}"))
        })?;
        let mut update = Update { partial: None, upsert: None, detect_noop: true };
        let mut as_upsert = false;
        for (key, value) in event.root().iter() {
            match (key, value) {
                ("doc", Value::Object(_)) => update.partial = Some(event_of(value)?),
                ("upsert", Value::Object(_)) => update.upsert = Some(value.to_json().into_bytes()),
                ("doc_as_upsert", Value::Bool(flag)) => as_upsert = flag,
                ("detect_noop", Value::Bool(flag)) => update.detect_noop = flag,
                ("script" | "scripted_upsert" | "_source", _) => {
                    return Err(ApiError::unsupported(format!("[{key}] in an update")));
                }
                ("doc" | "upsert" | "doc_as_upsert" | "detect_noop", _) => {
                    return Err(ApiError::parsing(format!("[{key}] in an update has the wrong type")));
                }
                (other, _) => return Err(json::unknown_key("update", other)),
            }
        }
        if as_upsert {
            update.upsert = update.partial.as_ref().map(|partial| partial.to_json().into_bytes());
        }
        if update.partial.is_none() && update.upsert.is_none() {
            return Err(ApiError::new(
                400,
                "action_request_validation_exception",
                "Validation Failed: 1: script or doc is missing;",
            ));
        }
        Ok(update)
    }

    /// The new document; `None` when nothing changes.
    pub(crate) fn apply(&self, id: &str, stored: Option<&[u8]>) -> Result<Option<Vec<u8>>, ApiError> {
        let Some(stored) = stored else {
            let missing =
                || ApiError::new(404, "document_missing_exception", format!("[{id}]: document missing"));
            return self.upsert.clone().ok_or_else(missing).map(Some);
        };
        let mut event = Event::new();
        event.parse(stored, &LIMITS).map_err(|e| ApiError::storage(format!("document [{id}]: {e}")))?;
        let before = event.to_json();
        if let Some(partial) = &self.partial {
            let mut keys = Vec::new();
            lay_over(&mut event, partial.root(), &mut keys)?;
        }
        let after = event.to_json();
        Ok((!self.detect_noop || before != after).then(|| after.into_bytes()))
    }
}

fn event_of(value: Value<'_>) -> Result<Event, ApiError> {
    Event::from_json(&value.to_json()).map_err(|e| ApiError::parsing(format!("[doc] in an update: {e}")))
}

fn lay_over<'p>(event: &mut Event, partial: Object<'p>, keys: &mut Vec<&'p str>) -> Result<(), ApiError> {
    for (key, value) in partial.iter() {
        keys.push(key);
        let path = Path::from_keys(keys.iter().copied());
        let both_objects =
            matches!(value, Value::Object(_)) && matches!(event.get(&path), Some(Value::Object(_)));
        match value {
            Value::Object(inner) if both_objects => lay_over(event, inner, keys)?,
            _ => event.set(&path, New::Value(value)).map_err(|e| {
                ApiError::new(
                    400,
                    "mapper_parsing_exception",
                    format!("cannot update [{}]: {e}", keys.join(".")),
                )
            })?,
        }
        keys.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Update;

    #[track_caller]
    fn check(update: &str, stored: Option<&str>, expected: Result<Option<&str>, u16>) {
        let made = Update::read(update.as_bytes())
            .and_then(|u| u.apply("x", stored.map(str::as_bytes)))
            .map(|d| d.map(|d| String::from_utf8(d).unwrap()))
            .map_err(|e| e.status);
        assert_eq!(made, expected.map(|d| d.map(str::to_owned)), "{update}");
    }

    #[test]
    fn members_lie_over_the_stored_ones() {
        let stored = Some(r#"{"a":1.0,"d":{"x":1,"y":[1]}}"#);
        check(
            r#"{"doc":{"d":{"y":2},"n":null}}"#,
            stored,
            Ok(Some(r#"{"a":1.0,"d":{"x":1,"y":2},"n":null}"#)),
        );
        check(r#"{"doc":{"a":1.0}}"#, stored, Ok(None));
        check(r#"{"doc":{"a":{"b":1}},"detect_noop":false}"#, Some("{}"), Ok(Some(r#"{"a":{"b":1}}"#)));
        check(r#"{"doc":{"a":1},"doc_as_upsert":true}"#, None, Ok(Some(r#"{"a":1}"#)));
        check(r#"{"doc":{"a":1},"upsert":{"b":2}}"#, None, Ok(Some(r#"{"b":2}"#)));
        check(r#"{"doc":{"a":1}}"#, None, Err(404));
        check(r#"{"script":"x"}"#, None, Err(400));
        check(r#"{"what":1}"#, None, Err(400));
        check(r"{}", None, Err(400));
    }
}
