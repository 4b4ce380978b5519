//! The lines of an OpenSearch `_bulk` request: actions, and the documents
//! that belong to them.
//!
//! In: the pieces of a body, in order. Out: documents with the index and id
//! that the client named, and actions that a gateway cannot do. Never: a
//! refusal of the whole request for one line: a document without an action
//! counts as `index`, so that nothing of a broken request is lost.

use serde_json::{Map, Value};

use super::split::Piece;

/// Longest line that is looked at as an action.
const ACTION_BYTES_MAX: usize = 4096;
/// Longest id of a document, as in OpenSearch.
const ID_BYTES_MAX: usize = 512;
/// Longest name of an index, as in OpenSearch.
const INDEX_BYTES_MAX: usize = 255;
/// What may stand in an action beside `_index` and `_id`.
const PARAMETERS: [&str; 18] = [
    "_type",
    "routing",
    "_routing",
    "parent",
    "_parent",
    "version",
    "_version",
    "version_type",
    "_version_type",
    "if_seq_no",
    "if_primary_term",
    "pipeline",
    "require_alias",
    "require_data_stream",
    "retry_on_conflict",
    "_retry_on_conflict",
    "dynamic_templates",
    "list_executed_pipelines",
];

/// What an action asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Index,
    Create,
    Update,
    Delete,
}

impl Verb {
    /// The word in requests and replies.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// An action line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) verb: Verb,
    pub(super) index: Option<String>,
    pub(super) id: Option<String>,
}

/// What a document without an action line counts as.
const IMPLIED: Action = Action { verb: Verb::Index, index: None, id: None };

/// One item of the reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A document to take.
    Document(Action, Piece),
    /// An action that is not done, and why.
    Refused(Action, &'static str),
}

/// The action that a piece is, if it is one.
pub(super) fn action(body: &[u8], piece: &Piece) -> Option<Action> {
    let text = body.get(piece.range.clone()).filter(|text| text.len() <= ACTION_BYTES_MAX)?;
    let verb = verb(text)?;
    if piece.problem.is_some() {
        return None;
    }
    let line: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let mut members = line.into_iter();
    let (Some((_, Value::Object(parameters))), None) = (members.next(), members.next()) else { return None };
    let mut action = Action { verb, index: None, id: None };
    for (name, value) in parameters {
        match (name.as_str(), value) {
            ("_index", Value::String(index)) => action.index = Some(index),
            ("_id", Value::String(id)) => action.id = Some(id),
            ("_id", Value::Number(id)) => action.id = Some(id.to_string()),
            ("_index" | "_id", Value::Null) => {}
            (name, _) if PARAMETERS.contains(&name) => {}
            _ => return None,
        }
    }
    Some(action)
}

/// Whether a body is an OpenSearch request: its first line is an action, not in an array.
pub(super) fn is_bulk(body: &[u8], pieces: &[Piece]) -> bool {
    let first = pieces.first();
    first.is_some_and(|piece| line_starts_with(body, piece) && action(body, piece).is_some())
}

/// Puts documents and actions together.
pub(super) fn pair(body: &[u8], pieces: Vec<Piece>) -> Vec<Line> {
    let mut lines = Vec::with_capacity(pieces.len() / 2 + 1);
    let mut pending: Option<Action> = None;
    for piece in pieces {
        if let Some(next) = action(body, &piece) {
            lines.extend(pending.take().map(without_document));
            match next.verb {
                Verb::Delete => {
                    lines.push(Line::Refused(next, "the gateway takes index and create, not delete"))
                }
                Verb::Index | Verb::Create | Verb::Update => pending = Some(next),
            }
            continue;
        }
        lines.push(match pending.take() {
            None => Line::Document(IMPLIED, piece),
            Some(action) if action.verb == Verb::Update => {
                Line::Refused(action, "the gateway takes index and create, not update")
            }
            Some(action) => match misfit(&action) {
                Some(what) => Line::Refused(action, what),
                None => Line::Document(action, piece),
            },
        });
    }
    lines.extend(pending.map(without_document));
    lines
}

/// Why index or id cannot be taken.
pub(super) fn misfit(action: &Action) -> Option<&'static str> {
    if action.id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Some("_id is longer than 512 bytes");
    }
    if action.id.as_deref() == Some("") {
        return Some("_id is empty");
    }
    let long = action.index.as_ref().is_some_and(|index| index.len() > INDEX_BYTES_MAX);
    long.then_some("_index is longer than 255 bytes")
}

fn without_document(action: Action) -> Line {
    Line::Refused(action, "the action has no document")
}

/// The verb that an object's first key is; cheap, for every event of a bulk request is asked.
fn verb(text: &[u8]) -> Option<Verb> {
    let key = text.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let verbs = [Verb::Index, Verb::Create, Verb::Update, Verb::Delete];
    verbs.into_iter().find(|verb| {
        let rest = key.strip_prefix(verb.as_str().as_bytes()).and_then(|rest| rest.strip_prefix(b"\""));
        let value = rest.and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"));
        value.is_some_and(|value| value.trim_ascii_start().starts_with(b"{"))
    })
}

fn line_starts_with(body: &[u8], piece: &Piece) -> bool {
    let before = body.get(..piece.range.start).unwrap_or_default();
    before.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(before).trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use model::event::Limits;
    use proptest::prelude::*;

    use super::{Action, Line, Verb, action, is_bulk, pair};
    use crate::http::split::split_json;

    /// `verb index/id document` or `verb index/id !why`, separated by `|`.
    #[track_caller]
    fn check(body: &str, expected: &str) {
        let pieces = split_json(body.as_bytes(), &Limits::default(), 1000).unwrap();
        let name = |a: &Action| {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {}/{}", a.verb.as_str(), part(&a.index), part(&a.id))
        };
        let show = |line: &Line| match line {
            Line::Document(action, piece) => {
                let bad = if piece.problem.is_some() { "bad " } else { "" };
                format!("{} {bad}{}", name(action), body.get(piece.range.clone()).unwrap())
            }
            Line::Refused(action, why) => format!("{} !{why}", name(action)),
        };
        let got = pair(body.as_bytes(), pieces).iter().map(show).collect::<Vec<_>>().join("|");
        assert_eq!(got, expected, "{body}");
    }

    #[test]
    fn documents_find_their_actions() {
        check(
            "{\"index\":{\"_index\":\"x\",\"_id\":\"1\"}}\n{\"a\":1}\n{ \"create\" : {\"_id\":7,\"_type\":\"_doc\"} }\n{\"b\":2}\n",
            r#"index x/1 {"a":1}|create -/7 {"b":2}"#,
        );
        check(
            "{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{\"_id\":\"2\"}}\n{\"doc\":{}}\n{\"index\":{}}\n{\"c\":3}",
            "delete -/1 !the gateway takes index and create, not delete\
             |update -/2 !the gateway takes index and create, not update|index -/- {\"c\":3}",
        );
    }

    #[test]
    fn broken_requests_lose_no_document() {
        check("{\"index\":{}}\n{\"a\":1}\n{\"b\":2}", r#"index -/- {"a":1}|index -/- {"b":2}"#);
        check(
            "{\"index\":{}}\nbroken\n{\"index\":{}}\n{\"b\":2}",
            r#"index -/- bad broken|index -/- {"b":2}"#,
        );
        check(
            "{\"index\":{}}\n\n{\"create\":{}}\n{\"b\":2}\n{\"index\":{\"_id\":\"9\"}}",
            "index -/- !the action has no document|create -/- {\"b\":2}|index -/9 !the action has no document",
        );
        let long = "x".repeat(513);
        check(
            &format!("{{\"index\":{{\"_id\":\"{long}\"}}}}\n{{}}"),
            &format!("index -/{long} !_id is longer than 512 bytes"),
        );
    }

    #[test]
    fn events_that_look_like_actions_are_events() {
        let is_action = |text: &str| {
            let pieces = split_json(text.as_bytes(), &Limits::default(), 10).unwrap();
            action(text.as_bytes(), &pieces[0]).map(|a| a.verb)
        };
        assert_eq!(is_action(r#"{"index":{}}"#), Some(Verb::Index));
        for event in [
            r#"{"index":"events","summary":"s"}"#,
            r#"{"index":{"name":"x"}}"#,
            r#"{"index":{},"summary":"s"}"#,
            r#"{"indexes":{}}"#,
            r#"{"index":[]}"#,
            r#"{"_index":{}}"#,
            "{}",
        ] {
            assert_eq!(is_action(event), None, "{event}");
        }
    }

    #[test]
    fn an_array_is_no_opensearch_request() {
        let is = |body: &str| {
            is_bulk(body.as_bytes(), &split_json(body.as_bytes(), &Limits::default(), 10).unwrap())
        };
        assert!(is("\u{feff}\n{\"index\":{}}\n{\"a\":1}"));
        assert!(!is("[{\"index\":{}},{\"a\":1}]"));
        assert!(!is("{\"a\":1}\n{\"index\":{}}"));
        assert!(!is(""));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn no_document_is_lost_whatever_stands_around_it(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("{\"index\":{}}"), Just("{\"create\":{\"_id\":\"1\"}}"), Just("{\"update\":{\"_id\":1}}"),
                    Just("{\"delete\":{\"_id\":1}}"), Just("{\"d\":1}"), Just("broken"), Just(""), Just("{\"index\":7}"),
                    Just("{\"index\":{\"x\":1}}"), Just("["), Just("]"), Just("\u{0}"),
                ],
                0..12,
            ),
        ) {
            let body = lines.join("\n");
            let pieces = split_json(body.as_bytes(), &Limits::default(), 100).unwrap();
            let actions = pieces.iter().filter(|piece| action(body.as_bytes(), piece).is_some()).count();
            let documents = pieces.len() - actions;
            let pairs = pair(body.as_bytes(), pieces);
            let taken = pairs.iter().filter(|line| matches!(line, Line::Document(..))).count();
            let updates = pairs.iter().filter(|line| matches!(line, Line::Refused(action, _) if action.verb == Verb::Update));
            prop_assert!(taken <= documents && taken + updates.count() >= documents);
        }
    }
}
