//! The event: a flat JSON document with an object at the top, reused from
//! event to event.
//!
//! One text buffer holds every key, string and number; one list of 24-byte
//! nodes holds the tree, the children of each object and array side by side.
//! Numbers keep their source text, objects their order and both of two
//! duplicates (reads give the last); lone surrogates become U+FFFD and are
//! counted. Strings that need no escape are copied out as they came in.
//!
//! In: JSON text, edits. Out: borrowed values, compact JSON that parses again
//! under the same limits. Never: node ids outside, recursion deeper than the
//! depth limit (512 at most), growth beyond the limits: edits leave old text
//! behind, but it is swept out before it exceeds a small multiple of what is
//! alive.

mod duplicates;
mod edit;
mod graft;
mod keys;
mod limits;
mod new;
mod node;
mod parse;
mod path;
mod scan;
mod text;
mod value;
mod write;

#[cfg(test)]
mod tests;

use self::duplicates::Seen;
pub use self::limits::{EditError, Flags, Limits, ParseError};
pub use self::new::New;
use self::node::{Kind, Node, Span};
pub use self::path::Path;
pub use self::scan::scan_value;
pub use self::value::{Array, Object, Value};
use self::value::{find, view};

/// Index of the root in the node list.
const ROOT: usize = 0;

/// What [`Event::visit`] shows: each key, and each leaf.
#[derive(Clone, Copy, Debug)]
pub enum Visit<'a> {
    /// A key of an object at any depth; its value follows.
    Key(&'a str),
    /// A value that is no array or object, or is an empty one.
    Leaf(Value<'a>),
}

/// A JSON document with an object at the top, flat in memory, reused from event to event.
#[derive(Clone)]
pub struct Event {
    /// The input, then resolved strings, then what edits brought. Strings stand between quotes here.
    text: String,
    /// The root at [`ROOT`]; children side by side; slots left by edits until they are swept.
    nodes: Vec<Node>,
    /// Limits that edits keep to.
    limits: Limits,
    /// Object keys over all levels.
    fields: usize,
    /// Bytes of compact JSON: an upper bound, see `bytes_exact`.
    bytes: usize,
    /// Whether `bytes` counts no white space or escapes of the input any more.
    bytes_exact: bool,
    /// Whether objects may share the text of their keys, as copies within the event do.
    shared_keys: bool,
    /// Sizes of text and nodes after the last parse or sweep.
    swept_text: usize,
    swept_nodes: usize,
    /// Working memory of the parser.
    pending: Vec<Node>,
    frames: Vec<u32>,
    seen: Seen,
}

impl Event {
    /// An empty object with the default limits.
    pub fn new() -> Event {
        Event {
            text: String::new(),
            nodes: vec![Node::EMPTY_OBJECT],
            limits: Limits::default().clamped(),
            fields: 0,
            bytes: 2,
            bytes_exact: true,
            shared_keys: false,
            swept_text: 0,
            swept_nodes: 1,
            pending: Vec::new(),
            frames: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Parses under the default limits; for tests and small things.
    ///
    /// # Errors
    /// As [`Event::parse`].
    pub fn from_json(json: &str) -> Result<Event, ParseError> {
        let mut event = Event::new();
        event.parse(json.as_bytes(), &Limits::default())?;
        Ok(event)
    }

    /// Limits that edits keep to: those of the last parse, unless set since.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets the limits that edits keep to, until the next parse. What is there already stays.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.clamped();
    }

    /// The whole document.
    pub fn root(&self) -> Object<'_> {
        Object { event: self, children: self.root_children() }
    }

    /// The value at a path; of duplicates the last.
    pub fn get(&self, path: &Path) -> Option<Value<'_>> {
        self.root().get_path(path)
    }

    /// The string at a path.
    pub fn str(&self, path: &Path) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// A top-level member.
    pub fn member(&self, key: &str) -> Option<Value<'_>> {
        find(self, self.root_children(), key).map(|node| view(self, node))
    }

    /// A top-level member that is a string.
    pub fn member_str(&self, key: &str) -> Option<&str> {
        let node = find(self, self.root_children(), key)?;
        (node.kind == Kind::String).then(|| self.slice(node.span))
    }

    /// Shows each key and each leaf at any depth, in document order. Empty arrays and objects are leaves.
    pub fn visit<'a>(&'a self, f: &mut dyn FnMut(Visit<'a>)) {
        self.visit_members(self.root_children(), f);
    }

    fn visit_members<'a>(&'a self, children: &'a [Node], f: &mut dyn FnMut(Visit<'a>)) {
        for child in children {
            f(Visit::Key(self.slice(child.key)));
            self.visit_value(child, f);
        }
    }

    fn visit_value<'a>(&'a self, node: &'a Node, f: &mut dyn FnMut(Visit<'a>)) {
        let children = self.children(node);
        if children.is_empty() {
            f(Visit::Leaf(view(self, node)));
        } else if node.kind == Kind::Object {
            self.visit_members(children, f);
        } else {
            children.iter().for_each(|child| self.visit_value(child, f));
        }
    }

    /// Appends compact JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes.min(self.text.len() + 64));
        write::members(self, self.root_children(), out);
    }

    /// Compact JSON.
    pub fn to_json(&self) -> String {
        write::to_string(|out| self.write_json(out))
    }

    fn root_children(&self) -> &[Node] {
        self.nodes.get(ROOT).map_or(&[], |root| self.children(root))
    }

    /// The children of an array or object; none for other nodes.
    #[inline]
    fn children(&self, node: &Node) -> &[Node] {
        if node.is_container() { self.nodes.get(node.span.range()).unwrap_or_default() } else { &[] }
    }

    #[inline]
    fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

/// The event's JSON.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_json())
    }
}
