//! customDocType: what comes through a custom endpoint has that endpoint's name as its type.
//!
//! In: events with a true `customendpoint`. Out: `type`. Never: a type that is no text.

use model::event::{Event, Value};

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const CUSTOM_DOC_TYPE: Builtin =
    Builtin { name: "customDocType", registration: &["customendpoint"], priority: 2, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !event.member("customendpoint").is_some_and(is_true) {
        return Ok(Outcome::Unchanged);
    }
    let Some(endpoint) = event.member_str("endpoint").map(str::to_owned) else {
        return Ok(Outcome::Unchanged);
    };
    event.set_member("type", &endpoint)?;
    Ok(Outcome::Changed)
}

/// As Python sees it: not null, false, zero or empty.
fn is_true(value: Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => truth,
        Value::Number(_) => value.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::CUSTOM_DOC_TYPE;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn the_endpoint_is_the_type() {
        check(
            &CUSTOM_DOC_TYPE,
            r#"{"customendpoint":true,"endpoint":"x","type":"y"}"#,
            r#"{"customendpoint":true,"endpoint":"x","type":"x"}"#,
        );
        for event in [
            r#"{"customendpoint":false,"endpoint":"x"}"#,
            r#"{"customendpoint":"","endpoint":"x"}"#,
            r#"{"customendpoint":0.0,"endpoint":"x"}"#,
            r#"{"customendpoint":1}"#,
            r#"{"customendpoint":[],"endpoint":"x"}"#,
        ] {
            check_unchanged(&CUSTOM_DOC_TYPE, event);
        }
    }
}
