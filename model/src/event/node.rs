//! The node: 24 bytes for one value and the key it stands under.
//!
//! In: offsets into the event's text and node list. Out: the same. Never:
//! seen outside of `event/`, because edits move nodes.

/// A range of the event's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: small(start), len: small(end.saturating_sub(start)) }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// One value. `span` is the text of a number or string, the children (in the node list) of a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The key's text; empty in arrays and for the root.
    pub(super) key: Span,
    pub(super) span: Span,
    /// Places for children, used or spare; at least `span.len`. 0 for scalars.
    pub(super) room: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<Node>() == 24);

/// The key can be copied out as it is, with the quotes that stand around it in the text.
pub(super) const KEY_CLEAN: u8 = 1;
/// The string can be copied out as it is, with the quotes that stand around it in the text.
pub(super) const STRING_CLEAN: u8 = 2;
/// The object may have a key more than once: edits must look for twins. Means nothing for other nodes.
pub(super) const DUPLICATES: u8 = 4;

impl Node {
    pub(super) const NULL: Node = Node::of(Kind::Null);
    pub(super) const EMPTY_OBJECT: Node = Node::of(Kind::Object);

    pub(super) const fn of(kind: Kind) -> Node {
        Node { key: Span { start: 0, len: 0 }, span: Span { start: 0, len: 0 }, room: 0, kind, flags: 0 }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Array | Kind::Object)
    }

    /// This node's value under the key of `other`.
    pub(super) fn keyed_like(self, other: &Node) -> Node {
        Node { key: other.key, flags: self.flags & !KEY_CLEAN | other.flags & KEY_CLEAN, ..self }
    }

    /// This node's value under no key, as an array's element.
    pub(super) fn unkeyed(self) -> Node {
        Node { key: Span::default(), flags: self.flags & !KEY_CLEAN, ..self }
    }
}

/// Offsets fit 32 bits because documents are limited to 512 MiB (see `BYTES_HARD_MAX`).
pub(super) fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
