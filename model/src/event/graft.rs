//! Measuring, copying and sweeping subtrees.
//!
//! In: nodes of this or another event. Out: sizes, copies with their children
//! side by side, a document without leftovers. Never: limits; `edit.rs`
//! checks them first.

use super::node::{DUPLICATES, KEY_CLEAN, Kind, Node, STRING_CLEAN, Span, small};
use super::text::{is_clean, quoted_length};
use super::{Event, ROOT};

/// What a value counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Keys in it, over all levels.
    pub(super) fields: usize,
    /// Bytes of its compact JSON.
    pub(super) bytes: usize,
    /// Containers around its deepest value, counted from itself.
    pub(super) height: usize,
}

impl Size {
    pub(super) fn scalar(bytes: usize) -> Size {
        Size { fields: 0, bytes, height: 0 }
    }

    pub(super) fn plus(self, other: Size) -> Size {
        Size {
            fields: self.fields + other.fields,
            bytes: self.bytes + other.bytes,
            height: self.height.max(other.height),
        }
    }
}

impl Event {
    /// The size of a node's value, without its key.
    pub(super) fn measure(&self, node: &Node) -> Size {
        match node.kind {
            Kind::Null | Kind::True => Size::scalar(4),
            Kind::False => Size::scalar(5),
            Kind::Number => Size::scalar(node.span.len as usize),
            Kind::String => Size::scalar(self.quoted_bytes(node.span, node.has(STRING_CLEAN))),
            Kind::Array | Kind::Object => self.measure_children(self.children(node), node.kind),
        }
    }

    /// The size of an array or object with these children.
    pub(super) fn measure_children(&self, children: &[Node], kind: Kind) -> Size {
        let mut size = Size::scalar(2 + commas(children.len()));
        for child in children {
            let inner = if kind == Kind::Object { self.measure_member(child) } else { self.measure(child) };
            size = size.plus(Size { height: inner.height + 1, ..inner });
        }
        size
    }

    /// The size of a member: its key, colon and value.
    pub(super) fn measure_member(&self, node: &Node) -> Size {
        let value = self.measure(node);
        let key = self.quoted_bytes(node.key, node.has(KEY_CLEAN)) + 1;
        Size { fields: value.fields + 1, bytes: value.bytes + key, height: value.height }
    }

    fn quoted_bytes(&self, span: Span, clean: bool) -> usize {
        if clean { span.len as usize + 2 } else { quoted_length(self.slice(span)) }
    }

    /// Appends text between quotes. Returns its place, and whether it is clean.
    pub(super) fn add_text(&mut self, text: &str) -> (Span, bool) {
        self.text.push('"');
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        self.text.push('"');
        (Span::new(start, end), is_clean(text))
    }

    /// A copy of another event's node: text and children are copied into this event.
    pub(super) fn graft(&mut self, from: &Event, node: &Node) -> Node {
        let mut copy = *node;
        if node.key.len > 0 || node.has(KEY_CLEAN) {
            copy.key = self.copy_text(from, node.key);
        }
        match node.kind {
            Kind::Null | Kind::False | Kind::True => copy.span = Span::default(),
            Kind::Number | Kind::String => copy.span = self.copy_text(from, node.span),
            Kind::Array | Kind::Object => {
                let container = self.graft_children(from, from.children(node), node.kind);
                copy.span = container.span;
                copy.room = container.room;
            }
        }
        copy
    }

    /// A container of this kind with copies of another event's nodes.
    pub(super) fn graft_children(&mut self, from: &Event, children: &[Node], kind: Kind) -> Node {
        let first = self.nodes.len();
        self.nodes.resize(first + children.len(), Node::NULL);
        for (offset, child) in children.iter().enumerate() {
            let child = self.graft(from, child);
            self.set_node(first + offset, child);
        }
        let span = Span { start: small(first), len: small(children.len()) };
        Node { span, room: span.len, flags: DUPLICATES, ..Node::of(kind) }
    }

    fn copy_text(&mut self, from: &Event, span: Span) -> Span {
        self.text.push('"');
        let start = self.text.len();
        self.text.push_str(from.slice(span));
        let end = self.text.len();
        self.text.push('"');
        Span::new(start, end)
    }

    /// A copy of this event's own node: children are copied, text is shared.
    pub(super) fn duplicate(&mut self, node: Node) -> Node {
        if !node.is_container() {
            return node;
        }
        let first = self.nodes.len();
        self.nodes.extend_from_within(node.span.range());
        for index in first..self.nodes.len() {
            if let Some(child) = self.nodes.get(index).copied().filter(Node::is_container) {
                let child = self.duplicate(child);
                self.set_node(index, child);
            }
        }
        self.shared_keys = true;
        Node { span: Span { start: small(first), ..node.span }, room: node.span.len, ..node }
    }

    pub(super) fn set_node(&mut self, index: usize, node: Node) {
        if let Some(place) = self.nodes.get_mut(index) {
            *place = node;
        }
    }

    /// Remembers the size from which leftovers are counted.
    pub(super) fn note_size(&mut self) {
        self.swept_text = self.text.len();
        self.swept_nodes = self.nodes.len();
    }

    /// Sweeps when leftovers may be most of what is held.
    pub(super) fn sweep_if_due(&mut self) {
        let text_due = self.text.len() > self.swept_text.saturating_mul(3).saturating_add(16 << 10);
        let nodes_due = self.nodes.len() > self.swept_nodes.saturating_mul(3).saturating_add(1 << 10);
        if text_due || nodes_due {
            self.sweep();
        }
    }

    /// Copies what is alive into fresh buffers.
    fn sweep(&mut self) {
        let Some(root) = self.nodes.get(ROOT).copied() else { return };
        let mut fresh = Event::new();
        let root = fresh.graft(self, &root);
        fresh.set_node(ROOT, root);
        self.text = std::mem::take(&mut fresh.text);
        self.nodes = std::mem::take(&mut fresh.nodes);
        self.shared_keys = false;
        self.note_size();
    }
}

/// Commas between so many children.
pub(super) fn commas(children: usize) -> usize {
    children.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use crate::event::{Event, ROOT};

    #[test]
    fn measured_bytes_are_those_written() {
        for json in
            ["{}", r#"{"a":1}"#, r#"{"a":"x\n\u0001\"","b\\":[true,false,null,-1.5e3,[],{}],"":{"k":"ä"}}"#]
        {
            let event = Event::from_json(json).unwrap();
            let size = event.measure(&event.nodes[ROOT]);
            assert_eq!(size.bytes, event.to_json().len(), "{json}");
            assert_eq!(size.fields, event.fields, "{json}");
        }
    }

    #[test]
    fn sweeping_changes_nothing_that_can_be_seen() {
        let json = r#"{"a":"x\n","a":[1,{"b":[]}],"":"","c":{"d":null,"e\t":true}}"#;
        let mut event = Event::from_json(json).unwrap();
        let before = event.to_json();
        event.sweep();
        assert_eq!(event.to_json(), before);
        assert_eq!(event.root().len(), 4);
    }

    #[test]
    fn leftovers_of_many_edits_stay_bounded() {
        let mut event = Event::from_json(r#"{"a":{"b":1}}"#).unwrap();
        for round in 0..100_000_u64 {
            event.set_in("a", "b", "a string of some length to make the buffer grow").unwrap();
            event.set_in("a", if round % 2 == 0 { "c" } else { "d" }, round).unwrap();
            assert!(event.remove(&crate::event::Path::new(if round % 2 == 0 { "a.c" } else { "a.d" })));
            assert!(event.text.len() < 32 << 10 && event.nodes.len() < 4 << 10, "round {round}");
        }
    }
}
