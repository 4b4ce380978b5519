//! Values on their way into a document.
//!
//! In: scalars, values of other events, nodes of this one. Out: their size
//! before they are stored, their node after. Never: limits; `edit.rs` checks
//! them in between.

use std::fmt::Write;

use super::Event;
use super::graft::Size;
use super::node::{Kind, Node, STRING_CLEAN, Span};
use super::text::quoted_length;
use super::value::Value;

/// A value to be written.
#[derive(Clone, Copy, Debug)]
pub enum New<'v> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// An integer from 0.
    U64(u64),
    /// A float; not finite becomes null.
    F64(f64),
    /// A string.
    Str(&'v str),
    /// `[]`.
    EmptyArray,
    /// `{}`.
    EmptyObject,
    /// Deep copy of a value of another event.
    Value(Value<'v>),
}

impl<'v> From<&'v str> for New<'v> {
    fn from(s: &'v str) -> New<'v> {
        New::Str(s)
    }
}

impl<'v> From<&'v String> for New<'v> {
    fn from(s: &'v String) -> New<'v> {
        New::Str(s)
    }
}

impl From<bool> for New<'_> {
    fn from(b: bool) -> Self {
        New::Bool(b)
    }
}

impl From<i32> for New<'_> {
    fn from(n: i32) -> Self {
        New::I64(n.into())
    }
}

impl From<u32> for New<'_> {
    fn from(n: u32) -> Self {
        New::U64(n.into())
    }
}

impl From<i64> for New<'_> {
    fn from(n: i64) -> Self {
        New::I64(n)
    }
}

impl From<u64> for New<'_> {
    fn from(n: u64) -> Self {
        New::U64(n)
    }
}

impl From<f64> for New<'_> {
    fn from(n: f64) -> Self {
        New::F64(n)
    }
}

impl<'v> From<Value<'v>> for New<'v> {
    fn from(v: Value<'v>) -> Self {
        New::Value(v)
    }
}

/// A value on its way into the document.
pub(super) enum Source<'v> {
    New(New<'v>),
    /// A node of this event, to be copied.
    Copy(Node),
    /// A node of this event, to be moved; its old place goes away afterwards.
    Move(Node),
}

impl Event {
    /// What a value will count for once it is stored; floats at their longest.
    pub(super) fn measure_source(&self, source: &Source<'_>) -> Size {
        match source {
            Source::Copy(node) | Source::Move(node) => self.measure(node),
            Source::New(New::Value(Value::Array(array))) => {
                array.event.measure_children(array.children, Kind::Array)
            }
            Source::New(New::Value(Value::Object(object))) => {
                object.event.measure_children(object.children, Kind::Object)
            }
            Source::New(New::Value(Value::String(text)) | New::Str(text)) => {
                Size::scalar(quoted_length(text))
            }
            Source::New(New::Value(Value::Number(text))) => Size::scalar(text.len()),
            Source::New(New::I64(n)) => Size::scalar(digits(n.unsigned_abs()) + usize::from(*n < 0)),
            Source::New(New::U64(n)) => Size::scalar(digits(*n)),
            Source::New(New::F64(_)) => Size::scalar(FLOAT_BYTES_MAX),
            Source::New(New::EmptyArray | New::EmptyObject) => Size::scalar(2),
            Source::New(New::Null | New::Bool(_) | New::Value(Value::Null | Value::Bool(_))) => {
                Size::scalar(5)
            }
        }
    }

    /// Brings a value into this event's text and nodes.
    pub(super) fn store(&mut self, source: &Source<'_>) -> Node {
        match source {
            Source::Move(node) => *node,
            Source::Copy(node) => self.duplicate(*node),
            Source::New(new) => self.store_new(*new),
        }
    }

    fn store_new(&mut self, new: New<'_>) -> Node {
        match new {
            New::Null | New::Value(Value::Null) => Node::NULL,
            New::Bool(value) | New::Value(Value::Bool(value)) => {
                Node::of(if value { Kind::True } else { Kind::False })
            }
            New::I64(n) => self.store_number(format_args!("{n}")),
            New::U64(n) => self.store_number(format_args!("{n}")),
            New::F64(n) if n.is_finite() => self.store_number(format_args!("{n:?}")),
            New::F64(_) => Node::NULL,
            New::Value(Value::Number(text)) => self.store_number(format_args!("{text}")),
            New::Str(text) | New::Value(Value::String(text)) => {
                let (span, clean) = self.add_text(text);
                Node { span, flags: if clean { STRING_CLEAN } else { 0 }, ..Node::of(Kind::String) }
            }
            New::EmptyArray => Node::of(Kind::Array),
            New::EmptyObject => Node::EMPTY_OBJECT,
            New::Value(Value::Array(array)) => self.graft_children(array.event, array.children, Kind::Array),
            New::Value(Value::Object(object)) => {
                self.graft_children(object.event, object.children, Kind::Object)
            }
        }
    }

    fn store_number(&mut self, number: std::fmt::Arguments<'_>) -> Node {
        let start = self.text.len();
        // Writing to a String cannot fail.
        if self.text.write_fmt(number).is_err() {
            return Node::NULL;
        }
        Node { span: Span::new(start, self.text.len()), ..Node::of(Kind::Number) }
    }
}

/// `-2.2250738585072014e-308` and the like.
const FLOAT_BYTES_MAX: usize = 24;

fn digits(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}
