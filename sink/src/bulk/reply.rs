//! The reply to a bulk request, and what it means for each document.
//!
//! In: status and body. Out: a judgement for each document, or for all of
//! them together. Never: I/O, or a guess: a reply that does not fit the
//! request counts as none.

use serde::Deserialize;
use serde_json::Value;

use crate::document::Write;
use crate::index::{Answer, IndexError, reason};

/// What the index made of a whole request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// One judgement for each document, in order.
    Items(Vec<Judged>),
    /// Larger than the index takes.
    TooLarge,
    /// Not now.
    Later(String),
    /// Not before somebody has changed something.
    Shut(String),
    /// A document in it is such that the whole was refused.
    Refused(String),
}

/// What the index made of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is there.
    Done,
    /// One of its id was there before.
    Exists,
    /// A newer, or the same, version was there before.
    Newer,
    /// Not now.
    Later(String),
    /// Not before somebody has changed something.
    Shut(String),
    /// The index failed at it; it may be the document's fault.
    Failed(String),
    /// There is no such index.
    NoIndex,
    /// A value does not fit the mapping.
    Misfit {
        /// Which, if the index says so.
        path: Option<String>,
        /// The index's words.
        reason: String,
    },
    /// It will never go.
    Refused(String),
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Option<Body>,
    index: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    status: u16,
    error: Option<Value>,
}

/// Judges the answer to a request of these documents.
pub(super) fn judge(answer: Result<Answer, IndexError>, writes: &[Write]) -> Whole {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Whole::Later(error.to_string()),
    };
    match answer.status {
        200..300 => match serde_json::from_slice::<Reply>(&answer.body) {
            Ok(reply) if reply.items.len() == writes.len() => items(reply, writes),
            Ok(reply) => {
                Whole::Later(format!("{} items in the reply to {}", reply.items.len(), writes.len()))
            }
            Err(error) => Whole::Later(format!("the reply cannot be read: {error}")),
        },
        413 => Whole::TooLarge,
        429 | 408 => Whole::Later(words(&answer)),
        500.. => Whole::Later(words(&answer)),
        400 => Whole::Refused(words(&answer)),
        // 401 and 403: no right to write. 404, 405 and others: this is no index, or not at this address.
        _ => Whole::Shut(words(&answer)),
    }
}

fn words(answer: &Answer) -> String {
    format!("status {}: {}", answer.status, reason(&answer.body))
}

fn items(reply: Reply, writes: &[Write]) -> Whole {
    let mut judged = Vec::with_capacity(writes.len());
    for (item, write) in reply.items.into_iter().zip(writes) {
        let Some(body) = item.create.or(item.index) else {
            return Whole::Later("an item of the reply is neither create nor index".to_owned());
        };
        judged.push(judge_item(&body, *write));
    }
    Whole::Items(judged)
}

fn judge_item(body: &Body, write: Write) -> Judged {
    let error = Cause::of(body.error.as_ref());
    match body.status {
        200..300 => Judged::Done,
        409 => match write {
            Write::Create => Judged::Exists,
            Write::Replace { .. } => Judged::Newer,
        },
        // A block says 403, and 429 where the disk is full: no wait of ours lifts it.
        _ if error.kind == "cluster_block_exception" => Judged::Shut(error.text()),
        401 | 403 => Judged::Shut(error.text()),
        429 | 408 | 502..=504 => Judged::Later(error.text()),
        404 => Judged::NoIndex,
        500.. => Judged::Failed(error.text()),
        _ if error.is_misfit() => Judged::Misfit { path: error.path(), reason: error.text() },
        _ => Judged::Refused(error.text()),
    }
}

/// An error of the index, with the errors that caused it.
struct Cause<'a> {
    kind: &'a str,
    reason: &'a str,
    causes: Vec<(&'a str, &'a str)>,
}

/// Causes of causes that are looked at.
const CAUSES_MAX: usize = 8;

impl<'a> Cause<'a> {
    fn of(error: Option<&'a Value>) -> Cause<'a> {
        let part = |value: &'a Value, key| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(error) = error else { return Cause { kind: "", reason: "", causes: Vec::new() } };
        let mut causes = Vec::new();
        let mut next = error.get("caused_by");
        while let Some(cause) = next.filter(|_| causes.len() < CAUSES_MAX) {
            causes.push((part(cause, "type"), part(cause, "reason")));
            next = cause.get("caused_by");
        }
        let reason = error.as_str().unwrap_or_else(|| part(error, "reason"));
        Cause { kind: part(error, "type"), reason, causes }
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.kind, self.reason);
        for (kind, reason) in &self.causes {
            text.push_str(&format!("; {kind}: {reason}"));
        }
        text.chars().take(1000).collect()
    }

    /// Whether a value is at fault, and not the document as a whole.
    fn is_misfit(&self) -> bool {
        let parsing =
            ["mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception"];
        // The limit of fields is not the fault of one value: another would be next.
        !self.reason.contains("Limit of total fields")
            && (parsing.contains(&self.kind)
                || (self.kind == "illegal_argument_exception" && self.path().is_some()))
    }

    /// The field that the words name.
    fn path(&self) -> Option<String> {
        std::iter::once(self.reason)
            .chain(self.causes.iter().map(|(_, reason)| *reason))
            .find_map(named_field)
    }
}

/// Words before a field's name, as OpenSearch writes them, and what ends the name.
const NAMED: [(&str, char); 11] = [
    ("Existing mapping for [", ']'),
    ("failed to parse field [", ']'),
    ("object mapping for [", ']'),
    ("object mapping [", ']'),
    ("due to object field [", ']'),
    ("object resolution ambiguous: [", ']'),
    ("merge a non object mapping [", ']'),
    ("merge an object mapping [", ']'),
    ("mapper [", ']'),
    ("immense term in field=\"", '"'),
    ("cannot contain only whitespace: ['", '\''),
];

fn named_field(reason: &str) -> Option<String> {
    if let Some((_, rest)) = reason.split_once("dynamic introduction of [") {
        let (leaf, rest) = rest.split_once(']')?;
        let (parent, _) = rest.split_once("within [")?.1.split_once(']')?;
        return Some(if parent == "_doc" { leaf.to_owned() } else { format!("{parent}.{leaf}") });
    }
    let named = NAMED.iter().find_map(|(before, end)| {
        let (_, rest) = reason.split_once(before)?;
        rest.split_once(*end).map(|(name, _)| name.to_owned())
    });
    named.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Judged, Whole, judge};
    use crate::document::Write;
    use crate::index::Answer;

    fn answer(status: u16, body: &str) -> Whole {
        let answer = Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) };
        judge(Ok(answer), &[Write::Create])
    }

    fn item(status: u16, error: &str) -> Judged {
        let error = if error.is_empty() { String::new() } else { format!(",\"error\":{error}") };
        let body = format!(
            "{{\"errors\":true,\"items\":[{{\"create\":{{\"_id\":\"x\",\"status\":{status}{error}}}}}]}}"
        );
        match answer(200, &body) {
            Whole::Items(mut items) if items.len() == 1 => items.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_that_does_not_fit_is_no_reply() {
        for body in [
            "",
            "{",
            "null",
            "<html>",
            "{\"items\":[]}",
            "{\"items\":[{\"update\":{\"status\":200}}]}",
            "{\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]}",
        ] {
            assert!(matches!(answer(200, body), Whole::Later(_)), "{body}");
        }
    }

    #[test]
    fn whole_answers_are_judged_by_status() {
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(answer(status, "x"), Whole::Later(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert!(matches!(answer(status, "x"), Whole::Shut(_)), "{status}");
        }
        assert_eq!(answer(413, ""), Whole::TooLarge);
        let body = r#"{"error":{"type":"t","reason":"r"}}"#;
        assert_eq!(answer(400, body), Whole::Refused("status 400: t: r".to_owned()));
    }

    #[test]
    fn items_are_judged_each() {
        assert_eq!(item(201, ""), Judged::Done);
        assert_eq!(item(409, r#"{"type":"version_conflict_engine_exception"}"#), Judged::Exists);
        assert!(matches!(
            item(429, r#"{"type":"rejected_execution_exception","reason":"r"}"#),
            Judged::Later(_)
        ));
        assert!(matches!(
            item(503, r#"{"type":"unavailable_shards_exception","reason":"r"}"#),
            Judged::Later(_)
        ));
        assert!(matches!(item(500, r#"{"type":"null_pointer_exception"}"#), Judged::Failed(_)));
        assert!(matches!(
            item(403, r#"{"type":"cluster_block_exception","reason":"read-only"}"#),
            Judged::Shut(_)
        ));
        assert!(matches!(
            item(429, r#"{"type":"cluster_block_exception","reason":"read-only"}"#),
            Judged::Shut(_)
        ));
        assert_eq!(item(404, r#"{"type":"index_not_found_exception"}"#), Judged::NoIndex);
        let limit = r#"{"type":"illegal_argument_exception","reason":"Limit of total fields [1000] has been exceeded"}"#;
        assert!(matches!(item(400, limit), Judged::Refused(_)));
        assert!(matches!(
            item(400, r#"{"type":"invalid_index_name_exception","reason":"r"}"#),
            Judged::Refused(_)
        ));
        assert!(matches!(item(400, "\"odd\""), Judged::Refused(_)));
        let newer = judge(
            Ok(Answer { status: 200, body: Bytes::from_static(br#"{"items":[{"index":{"status":409}}]}"#) }),
            &[Write::Replace { version: 1, same: false }],
        );
        assert_eq!(newer, Whole::Items(vec![Judged::Newer]));
    }

    #[track_caller]
    fn check_path(kind: &str, reason: &str, caused_by: &str, expected: Option<&str>) {
        let error = serde_json::json!({
            "type": kind, "reason": reason,
            "caused_by": {"type": "x", "reason": caused_by},
        });
        let Judged::Misfit { path, .. } = item(400, &error.to_string()) else { panic!("{reason}") };
        assert_eq!(path.as_deref(), expected, "{reason}");
    }

    #[test]
    fn the_field_at_fault_is_found_in_the_words() {
        let parsing = "mapper_parsing_exception";
        check_path(
            parsing,
            "failed to parse field [details.sourceipaddress] of type [ip] in document with id 'x'. Preview of field's value: 'foo'",
            "'foo' is not an IP string literal.",
            Some("details.sourceipaddress"),
        );
        check_path(
            parsing,
            "object mapping for [details.user] tried to parse field [user] as object, but found a concrete value",
            "",
            Some("details.user"),
        );
        check_path(
            parsing,
            "Could not dynamically add mapping for field [details.a.b]. Existing mapping for [details.a] must be of type object but found [keyword].",
            "",
            Some("details.a"),
        );
        check_path(
            "illegal_argument_exception",
            "mapper [details.n] cannot be changed from type [long] to [text]",
            "",
            Some("details.n"),
        );
        check_path(
            "illegal_argument_exception",
            "Document contains at least one immense term in field=\"details.blob\" (whose UTF8 encoding is longer than the max length 32766)",
            "",
            Some("details.blob"),
        );
        check_path(
            "illegal_argument_exception",
            "Limit of mapping depth [20] has been exceeded due to object field [details.a.b]",
            "",
            Some("details.a.b"),
        );
        check_path(
            "strict_dynamic_mapping_exception",
            "mapping set to strict, dynamic introduction of [x] within [details] is not allowed",
            "",
            Some("details.x"),
        );
        check_path(
            "strict_dynamic_mapping_exception",
            "mapping set to strict, dynamic introduction of [x] within [_doc] is not allowed",
            "",
            Some("x"),
        );
        check_path(
            parsing,
            "failed to parse",
            "object field starting or ending with a [.] makes object resolution ambiguous: [details.a.]",
            Some("details.a."),
        );
        check_path(
            "illegal_argument_exception",
            "object field cannot contain only whitespace: ['details. ']",
            "",
            Some("details. "),
        );
        check_path(parsing, "failed to parse", "Duplicate field 'a'", None);
    }
}
