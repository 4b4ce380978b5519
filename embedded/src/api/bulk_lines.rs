//! The lines of a bulk body: an action, and for most actions a document.
//!
//! In: NDJSON. Out: [`Item`]s that borrow from it. Never: a body of which a part was done when a later line is broken:
//! all lines are read first.

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::index::write::Condition;
use crate::json;

/// Most actions of one body.
const ITEMS_MAX: usize = 100_000;

/// One action.
#[derive(Clone, Debug)]
pub(super) struct Item<'b> {
    pub(super) verb: Verb,
    pub(super) index: String,
    pub(super) id: Option<String>,
    pub(super) condition: Condition,
    pub(super) require_alias: bool,
    /// The line after the action; empty for a deletion.
    pub(super) source: &'b [u8],
}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Index,
    Create,
    Update,
    Delete,
}

impl Verb {
    /// The word in requests and replies.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// Reads a body; `default_index` is that of the path.
pub(super) fn read<'b>(body: &'b [u8], default_index: Option<&str>) -> Result<Vec<Item<'b>>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::parsing("request body is required"));
    }
    if body.last() != Some(&b'\n') {
        return Err(ApiError::illegal("The bulk request must be terminated by a newline [\\n]"));
    }
    let mut items = Vec::new();
    let mut lines = body.split(|byte| *byte == b'\n').enumerate();
    while let Some((number, line)) = lines.next() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line_number = number.saturating_add(1);
        let mut item = action(line, line_number, default_index)?;
        if item.verb != Verb::Delete {
            let source =
                lines.next().map(|(_, source)| source).filter(|s| !s.iter().all(u8::is_ascii_whitespace));
            item.source = source.ok_or_else(|| {
                ApiError::illegal(format!(
                    "Malformed action/metadata line [{line_number}]: no document follows"
                ))
            })?;
        }
        items.push(item);
        if items.len() > ITEMS_MAX {
            return Err(ApiError::new(
                413,
                "illegal_argument_exception",
                format!("a bulk request takes up to {ITEMS_MAX} actions"),
            ));
        }
    }
    Ok(items)
}

fn action<'b>(line: &[u8], number: usize, default_index: Option<&str>) -> Result<Item<'b>, ApiError> {
    let malformed =
        |why: &str| ApiError::illegal(format!("Malformed action/metadata line [{number}], {why}"));
    let object: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(malformed("expected START_OBJECT")),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    let (word, params) = json::only_entry(&object, "action").map_err(|e| malformed(&e.reason))?;
    let verb = match word {
        "index" => Verb::Index,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        other => {
            return Err(malformed(&format!(
                "expected field [create], [delete], [index] or [update] but found [{other}]"
            )));
        }
    };
    let mut item = Item {
        verb,
        index: default_index.unwrap_or_default().to_owned(),
        id: None,
        condition: Condition::Always,
        require_alias: false,
        source: &[],
    };
    let mut versions = Versions::default();
    for (key, value) in json::object(params, word).map_err(|e| malformed(&e.reason))? {
        take(&mut item, &mut versions, key, value).map_err(|e| malformed(&e.reason))?;
    }
    if item.index.is_empty() {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            format!("Validation Failed: {number}: index is missing;"),
        ));
    }
    if item.id.is_none() && matches!(verb, Verb::Update | Verb::Delete) {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            format!("Validation Failed: {number}: id is missing;"),
        ));
    }
    item.condition = versions.condition().map_err(|e| malformed(&e.reason))?;
    Ok(item)
}

fn take(item: &mut Item<'_>, versions: &mut Versions, key: &str, value: &Value) -> Result<(), ApiError> {
    match key {
        "_index" => item.index = json::string(value, key)?.to_owned(),
        "_id" => {
            item.id = match value {
                Value::Null => None,
                Value::Number(number) => Some(number.to_string()),
                other => Some(json::string(other, key)?.to_owned()),
            };
        }
        "version" | "_version" => versions.version = Some(json::unsigned(value, key)?),
        "version_type" | "_version_type" => versions.kind = Some(json::string(value, key)?.to_owned()),
        "if_seq_no" => versions.if_seq_no = Some(json::unsigned(value, key)?),
        "if_primary_term" => versions.if_primary_term = Some(json::unsigned(value, key)?),
        "require_alias" => item.require_alias = json::boolean(value, key)?,
        // One node, one shard, one writer: there is nothing to retry.
        "retry_on_conflict" => {}
        "pipeline" | "routing" | "_routing" | "dynamic_templates" | "_type" | "parent" | "_parent" => {
            return Err(ApiError::unsupported(format!("[{key}] in an action")));
        }
        other => return Err(json::unknown_key("action", other)),
    }
    Ok(())
}

/// The version parameters of a request or an action.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    pub(super) version: Option<u64>,
    pub(super) kind: Option<String>,
    pub(super) if_seq_no: Option<u64>,
    pub(super) if_primary_term: Option<u64>,
}

impl Versions {
    /// What they mean together.
    pub(super) fn condition(&self) -> Result<Condition, ApiError> {
        let refuse = |reason: &str| {
            Err(ApiError::new(
                400,
                "action_request_validation_exception",
                format!("Validation Failed: 1: {reason};"),
            ))
        };
        match (self.version, self.kind.as_deref(), self.if_seq_no, self.if_primary_term) {
            (None, None | Some("internal"), None, None) => Ok(Condition::Always),
            (None, None, Some(seq_no), Some(term)) => Ok(Condition::IfSeqNo(seq_no, term)),
            (Some(version), Some("external" | "external_gt"), None, None) => Ok(Condition::Above(version)),
            (Some(version), Some("external_gte"), None, None) => Ok(Condition::AboveOrEqual(version)),
            (Some(_), None | Some("internal"), None, None) => refuse(
                "internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and `if_primary_term` instead",
            ),
            (None, Some(kind), None, None) => refuse(&format!("version type [{kind}] needs a version")),
            (_, _, Some(_), None) | (_, _, None, Some(_)) => {
                refuse("if_seq_no and if_primary_term go together")
            }
            (_, _, _, _) => refuse("version parameters do not go together"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Verb, read};
    use crate::index::write::Condition;

    #[test]
    fn lines_become_items() {
        let body = b"{\"index\":{\"_index\":\"a\",\"_id\":\"1\",\"version\":3,\"version_type\":\"external\"}}\n{\"x\":1}\n\n{\"delete\":{\"_id\":7}}\n{\"create\":{}}\n{}\n";
        let items = read(body, Some("b")).unwrap();
        assert_eq!(
            items.iter().map(|i| (i.verb, i.index.as_str(), i.id.as_deref())).collect::<Vec<_>>(),
            [(Verb::Index, "a", Some("1")), (Verb::Delete, "b", Some("7")), (Verb::Create, "b", None),]
        );
        assert_eq!(items[0].condition, Condition::Above(3));
        assert_eq!(items[0].source, b"{\"x\":1}");
    }

    #[test]
    fn broken_bodies_are_refused_whole() {
        for (body, words) in [
            ("", "body is required"),
            ("{\"index\":{}}\n{}", "terminated by a newline"),
            ("{\"index\":{}}\n{}\n", "index is missing"),
            ("{\"delete\":{\"_index\":\"a\"}}\n", "id is missing"),
            ("{\"index\":{\"_index\":\"a\"}}\n", "no document follows"),
            ("{\"upsert\":{}}\n{}\n", "but found [upsert]"),
            ("[1]\n", "expected START_OBJECT"),
            ("{\"index\":{\"_index\":\"a\",\"x\":1}}\n{}\n", "unknown key [x]"),
            ("{\"index\":{\"_index\":\"a\",\"version\":1}}\n{}\n", "internal versioning"),
            (
                "{\"index\":{\"_index\":\"a\",\"pipeline\":\"p\"}}\n{}\n",
                "[pipeline] in an action is not supported",
            ),
        ] {
            let error = read(body.as_bytes(), None).unwrap_err();
            assert!(error.status == 400 && error.reason.contains(words), "{body}: {}", error.reason);
        }
    }
}
