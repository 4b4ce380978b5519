//! Borrowed views of a document's values.
//!
//! In: an event. Out: values, arrays and objects that live as long as the
//! borrow. Never: node ids; edits move nodes.

use std::fmt;

use super::node::{Kind, Node};
use super::path::Path;
use super::{Event, write};

/// A borrowed JSON value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The number's source text, exactly.
    Number(&'a str),
    /// Unescaped.
    String(&'a str),
    /// An array.
    Array(Array<'a>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// The text of a string.
    pub fn as_str(self) -> Option<&'a str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// The integer whose digits stand there; `1.0`, `1e3` and what does not fit are none.
    pub fn as_i64(self) -> Option<i64> {
        if let Value::Number(text) = self { text.parse().ok() } else { None }
    }

    /// As [`Value::as_i64`], for integers from 0.
    pub fn as_u64(self) -> Option<u64> {
        if let Value::Number(text) = self { text.parse().ok() } else { None }
    }

    /// The nearest float of a number; none where that is infinite.
    pub fn as_f64(self) -> Option<f64> {
        if let Value::Number(text) = self { text.parse().ok().filter(|f: &f64| f.is_finite()) } else { None }
    }

    /// The value of `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(value) } else { None }
    }

    /// The object.
    pub fn as_object(self) -> Option<Object<'a>> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }

    /// The array.
    pub fn as_array(self) -> Option<Array<'a>> {
        if let Value::Array(array) = self { Some(array) } else { None }
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        matches!(self, Value::Null)
    }

    /// Appends compact JSON.
    pub fn write_json(self, out: &mut Vec<u8>) {
        write::value(self, out);
    }

    /// Compact JSON.
    pub fn to_json(self) -> String {
        write::to_string(|out| self.write_json(out))
    }
}

/// A borrowed array.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    pub(super) event: &'a Event,
    pub(super) children: &'a [Node],
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(self) -> usize {
        self.children.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.children.is_empty()
    }

    /// The elements in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> + 'a {
        self.children.iter().map(move |node| view(self.event, node))
    }

    /// The element at an index from 0.
    pub fn get(self, index: usize) -> Option<Value<'a>> {
        self.children.get(index).map(|node| view(self.event, node))
    }
}

/// A borrowed object. Keys keep their order and both of two duplicates.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub(super) event: &'a Event,
    pub(super) children: &'a [Node],
}

impl<'a> Object<'a> {
    /// Number of members; duplicates count.
    pub fn len(self) -> usize {
        self.children.len()
    }

    /// Whether there are no members.
    pub fn is_empty(self) -> bool {
        self.children.is_empty()
    }

    /// The members in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Value<'a>)> + 'a {
        self.children.iter().map(move |node| (self.event.slice(node.key), view(self.event, node)))
    }

    /// The value of a key; of duplicates the last.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.find(key).map(|node| view(self.event, node))
    }

    /// Follows a path from this object. The empty path is the object itself.
    pub fn get_path(self, path: &Path) -> Option<Value<'a>> {
        let Some((last, parents)) = path.parts().split_last() else { return Some(Value::Object(self)) };
        let mut children = self.children;
        for key in parents {
            let node = find(self.event, children, key)?;
            if node.kind != Kind::Object {
                return None;
            }
            children = self.event.children(node);
        }
        find(self.event, children, last).map(|node| view(self.event, node))
    }

    fn find(self, key: &str) -> Option<&'a Node> {
        find(self.event, self.children, key)
    }
}

/// The last child of a key.
#[inline]
pub(super) fn find<'a>(event: &Event, children: &'a [Node], key: &str) -> Option<&'a Node> {
    position(event, children, key).and_then(|index| children.get(index))
}

/// The index of the last child of a key.
#[inline]
pub(super) fn position(event: &Event, children: &[Node], key: &str) -> Option<usize> {
    let text = event.text.as_bytes();
    children.iter().rposition(|node| {
        node.key.len as usize == key.len() && text.get(node.key.range()) == Some(key.as_bytes())
    })
}

/// The value of a node.
#[inline]
pub(super) fn view<'a>(event: &'a Event, node: &Node) -> Value<'a> {
    match node.kind {
        Kind::Null => Value::Null,
        Kind::False => Value::Bool(false),
        Kind::True => Value::Bool(true),
        Kind::Number => Value::Number(event.slice(node.span)),
        Kind::String => Value::String(event.slice(node.span)),
        Kind::Array => Value::Array(Array { event, children: event.children(node) }),
        Kind::Object => Value::Object(Object { event, children: event.children(node) }),
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::Array(*self).fmt(f)
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::Object(*self).fmt(f)
    }
}
