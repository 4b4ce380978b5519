//! lower_keys: keys at every depth in lower case, for sources that mix them.
//!
//! In: CloudTrail, Suricata and GuardDuty events. Out: the same with lower-case keys;
//! where two become equal the later stays. Never: changed values.

use model::event::{Event, Object, Value};

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const LOWER_KEYS: Builtin =
    Builtin { name: "lower_keys", registration: &["cloudtrail", "suricata", "guardduty"], priority: 4, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !has_upper(event.root()) {
        return Ok(Outcome::Unchanged);
    }
    event.lower_keys();
    Ok(Outcome::Changed)
}

/// Whether a key at any depth would change. Ends at the first; as deep as the limits of the event.
fn has_upper(object: Object<'_>) -> bool {
    object.iter().any(|(key, value)| is_mixed(key) || inside(value))
}

fn inside(value: Value<'_>) -> bool {
    match value {
        Value::Object(object) => has_upper(object),
        Value::Array(list) => list.iter().any(inside),
        _ => false,
    }
}

fn is_mixed(key: &str) -> bool {
    key.bytes().any(|c| c.is_ascii_uppercase() || !c.is_ascii()) && key.to_lowercase() != key
}

#[cfg(test)]
mod tests {
    use super::LOWER_KEYS;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn keys_at_every_depth_and_in_lists_are_lowered() {
        check(&LOWER_KEYS, r#"{"a":[[{"B":{"Ä":1}}]]}"#, r#"{"a":[[{"b":{"ä":1}}]]}"#);
        check(&LOWER_KEYS, r#"{"Details":{"x":1},"details":{"X":2,"x":3}}"#, r#"{"details":{"x":3}}"#);
        check_unchanged(&LOWER_KEYS, r#"{"a":[{"b":"C","ß":["D"]}],"c.d":{}}"#);
    }
}
