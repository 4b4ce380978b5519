//! complianceitems: whether a target keeps to a policy is one document in `complianceitems`, its newest.
//!
//! In: events whose `details` are the result of a check. Out: a document of the parts that every result has, with
//! index and id; a drop, counted under this name, of those that lack a part. Never: other parts of the result.

use model::event::{Event, Object};

use super::details::details;
use super::md5;
use super::python_text::push_plain;
use super::rebuilt::{at, begin};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const COMPLIANCE_ITEMS: Builtin =
    Builtin { name: "complianceitems", registration: &["complianceitems"], priority: 20, run };

/// What a result has, one level deep.
const SINGLE: [&str; 4] = ["target", "compliance", "link", "utctimestamp"];

/// The same, in objects.
const NESTED: [(&str, &[&str]); 3] = [
    ("policy", &["level", "name", "url"]),
    ("check", &["description", "location", "name", "ref"]),
    ("check.test", &["type", "value"]),
];

/// What makes the id, after the plugin's name.
const ID: [&str; 3] = ["check.ref", "check.test.value", "target"];

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    // The word alone may stand in any event.
    if ![event.member_str("endpoint"), event.member_str("type")].contains(&Some("complianceitems")) {
        return Ok(Outcome::Unchanged);
    }
    let Some(id) = details(event).filter(|result| is_whole(*result)).and_then(id) else {
        return Ok(Outcome::Dropped);
    };
    let old = begin(event)?;
    let Some(result) = details(&old) else { return Ok(Outcome::Dropped) };
    for key in SINGLE.iter().chain(&["tags"]) {
        if let Some(value) = result.get(key) {
            event.set_member(key, value)?;
        }
    }
    for (object, keys) in NESTED {
        let Some(part) = at(result, object).and_then(|part| part.as_object()) else { continue };
        for key in keys {
            if let Some(value) = part.get(key) {
                event.set(&model::event::Path::new(&format!("{object}.{key}")), value)?;
            }
        }
    }
    context.metadata.index = Some("complianceitems".to_owned());
    context.metadata.id = Some(md5::hex(&id));
    Ok(Outcome::Changed)
}

fn is_whole(result: Object<'_>) -> bool {
    let has = |object: Object<'_>, key: &&str| object.get(key).is_some();
    SINGLE.iter().all(|key| has(result, key))
        && NESTED.iter().all(|(object, keys)| {
            let part = at(result, object).and_then(|part| part.as_object());
            part.is_some_and(|part| keys.iter().all(|key| has(part, key)))
        })
}

fn id(result: Object<'_>) -> Option<String> {
    let mut id = "complianceitems".to_owned();
    for path in ID {
        push_plain(&mut id, at(result, path)?);
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::COMPLIANCE_ITEMS;
    use crate::builtin::testing::{check, check_unchanged, metadata_of, outcome_of};
    use crate::plugin::Outcome;

    const RESULT: &str = r#"{"endpoint":"complianceitems","details":{"target":"www","compliance":true,"link":"l","utctimestamp":"T","more":1,
        "policy":{"level":"medium","name":"p","url":"u"},"check":{"description":"d","location":"l","name":"n","ref":"r1","test":{"type":"nexec","value":"ls"}}}}"#;

    #[test]
    fn a_result_is_a_document_of_its_own() {
        check(
            &COMPLIANCE_ITEMS,
            RESULT,
            r#"{"details":{},"target":"www","compliance":true,"link":"l","utctimestamp":"T","policy":{"level":"medium","name":"p","url":"u"},
                "check":{"description":"d","location":"l","name":"n","ref":"r1","test":{"type":"nexec","value":"ls"}}}"#,
        );
        let metadata = metadata_of(&COMPLIANCE_ITEMS, RESULT);
        assert_eq!(metadata.index.as_deref(), Some("complianceitems"));
        // The digest of "complianceitemsr1lswww".
        assert_eq!(metadata.id.as_deref(), Some("bf1e8917e6244afa06feb5d24cd08de2"));
    }

    #[test]
    fn what_lacks_a_part_is_dropped() {
        for part in ["target", "url", "ref", "value"] {
            let lacking = RESULT.replace(&format!("\"{part}\":"), "\"x\":");
            assert_eq!(outcome_of(&COMPLIANCE_ITEMS, &lacking), Outcome::Dropped, "{part}");
        }
        assert_eq!(outcome_of(&COMPLIANCE_ITEMS, r#"{"type":"complianceitems"}"#), Outcome::Dropped);
        check_unchanged(&COMPLIANCE_ITEMS, r#"{"summary":"complianceitems","details":{}}"#);
    }
}
