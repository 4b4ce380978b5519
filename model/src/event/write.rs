//! Compact JSON out of a document.
//!
//! In: nodes. Out: bytes. Never: deeper recursion than the document's depth
//! limit allows.

use super::Event;
use super::node::{KEY_CLEAN, Kind, Node, STRING_CLEAN, Span};
use super::text::write_quoted;
use super::value::Value;

pub(super) fn to_string(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

pub(super) fn value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(text) => out.extend_from_slice(text.as_bytes()),
        Value::String(text) => write_quoted(text, out),
        Value::Array(array) => elements(array.event, array.children, out),
        Value::Object(object) => members(object.event, object.children, out),
    }
}

pub(super) fn members(event: &Event, children: &[Node], out: &mut Vec<u8>) {
    let mut before = b'{';
    for child in children {
        out.push(before);
        string(event, child.key, child.has(KEY_CLEAN), out);
        out.push(b':');
        node(event, child, out);
        before = b',';
    }
    if children.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
}

fn elements(event: &Event, children: &[Node], out: &mut Vec<u8>) {
    let mut before = b'[';
    for child in children {
        out.push(before);
        node(event, child, out);
        before = b',';
    }
    if children.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
}

fn node(event: &Event, node: &Node, out: &mut Vec<u8>) {
    match node.kind {
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::False => out.extend_from_slice(b"false"),
        Kind::True => out.extend_from_slice(b"true"),
        Kind::Number => {
            out.extend_from_slice(event.text.as_bytes().get(node.span.range()).unwrap_or_default())
        }
        Kind::String => string(event, node.span, node.has(STRING_CLEAN), out),
        Kind::Array => elements(event, event.children(node), out),
        Kind::Object => members(event, event.children(node), out),
    }
}

/// Clean strings stand between quotes in the event's text, and go out with them in one piece.
#[inline]
fn string(event: &Event, span: Span, clean: bool, out: &mut Vec<u8>) {
    let range = span.range();
    if clean && let Some(quoted) = event.text.as_bytes().get(range.start.saturating_sub(1)..range.end + 1) {
        out.extend_from_slice(quoted);
    } else {
        write_quoted(event.slice(span), out);
    }
}
