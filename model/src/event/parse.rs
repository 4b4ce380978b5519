//! Parsing: the grammar's calls become text and nodes.
//!
//! In: bytes. Out: a document whose children lie side by side. Never: an
//! allocation once the buffers have grown to the size of the usual event.

use std::ops::Range;

use super::limits::{Flags, Limits, ParseError};
use super::node::{DUPLICATES, KEY_CLEAN, Kind, Node, STRING_CLEAN, Span, small};
use super::scan::{Sink, byte_order_mark, check_utf8, scan, skip_space};
use super::text::{is_clean, unescape};
use super::{Event, ROOT};

/// Buffers larger than this are given back when the next event is smaller.
const KEPT_BYTES: usize = 256 << 10;
const KEPT_NODES: usize = 8 << 10;

impl Event {
    /// Replaces the content by this JSON object; nothing but white space may follow. A byte order mark at the
    /// start is ignored. The limits hold for edits too.
    ///
    /// # Errors
    /// See [`ParseError`]. On error the event is empty.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Flags, ParseError> {
        self.clear();
        self.limits = limits.clamped();
        let result = self.fill(bytes);
        if result.is_err() {
            self.empty();
        }
        result
    }

    /// Back to an empty object; memory is kept, but shrunk after giants. The limits stay.
    pub fn clear(&mut self) {
        // One giant must not hold its memory for ever, and a run of giants must not allocate each time.
        if self.text.capacity() > KEPT_BYTES && self.text.len() <= KEPT_BYTES / 2 {
            self.text.clear();
            self.text.shrink_to(KEPT_BYTES);
        }
        if self.nodes.capacity() > KEPT_NODES && self.nodes.len() <= KEPT_NODES / 2 {
            self.nodes.clear();
            self.nodes.shrink_to(KEPT_NODES);
            self.pending.shrink_to(KEPT_NODES);
            self.seen.shrink();
        }
        self.empty();
    }

    fn empty(&mut self) {
        self.text.clear();
        self.nodes.clear();
        self.nodes.push(Node::EMPTY_OBJECT);
        self.pending.clear();
        self.frames.clear();
        self.fields = 0;
        self.bytes = 2;
        self.bytes_exact = true;
        self.shared_keys = false;
        self.note_size();
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<Flags, ParseError> {
        if bytes.len() > self.limits.bytes_max {
            return Err(ParseError::TooLarge { bytes: bytes.len(), limit: self.limits.bytes_max });
        }
        let source = check_utf8(bytes).map_err(|at| ParseError::InvalidUtf8 { at })?;
        let start = skip_space(bytes, byte_order_mark(bytes));
        if start == bytes.len() {
            return Err(ParseError::Empty);
        }
        self.text.push_str(source);
        let limits = self.limits;
        let mut builder = Builder {
            event: self,
            source,
            key: Span::default(),
            key_flags: 0,
            flags: Flags::default(),
            fields: 0,
        };
        let end = skip_space(bytes, scan(bytes, start, &limits, &mut builder)?);
        if end < bytes.len() {
            return Err(ParseError::Syntax { at: end, what: "unexpected character after the value" });
        }
        let Builder { flags, fields, .. } = builder;
        match self.pending.pop() {
            Some(root) if root.kind == Kind::Object => self.set_node(ROOT, root),
            _ => return Err(ParseError::NotAnObject),
        }
        self.fields = fields;
        self.bytes = bytes.len();
        self.bytes_exact = false;
        self.note_size();
        Ok(flags)
    }
}

struct Builder<'e> {
    event: &'e mut Event,
    source: &'e str,
    /// The key that the next value stands under.
    key: Span,
    key_flags: u8,
    flags: Flags,
    fields: usize,
}

impl Builder<'_> {
    /// The text of a string, and whether it can be copied out as it is.
    #[inline]
    fn text(&mut self, range: Range<usize>, escaped: bool) -> (Span, bool) {
        if !escaped {
            return (Span::new(range.start, range.end), true);
        }
        // Quotes around it, so that what is clean can be copied out with them like everything else.
        let text = &mut self.event.text;
        text.push('"');
        let start = text.len();
        self.flags.lone_surrogates += unescape(self.source.get(range).unwrap_or_default(), text);
        let end = text.len();
        text.push('"');
        (Span::new(start, end), is_clean(self.event.text.get(start..end).unwrap_or_default()))
    }

    #[inline]
    fn push(&mut self, kind: Kind, span: Span, flags: u8) {
        let node = Node { key: self.key, span, room: 0, kind, flags: flags | self.key_flags };
        self.event.pending.push(node);
        self.key = Span::default();
        self.key_flags = 0;
    }
}

impl Sink for Builder<'_> {
    #[inline]
    fn key(&mut self, range: Range<usize>, escaped: bool) {
        let (span, clean) = self.text(range, escaped);
        self.key = span;
        self.key_flags = if clean { KEY_CLEAN } else { 0 };
        self.fields += 1;
    }

    #[inline]
    fn string(&mut self, range: Range<usize>, escaped: bool) {
        let (span, clean) = self.text(range, escaped);
        self.push(Kind::String, span, if clean { STRING_CLEAN } else { 0 });
    }

    #[inline]
    fn scalar(&mut self, kind: Kind, range: Range<usize>) {
        self.push(kind, Span::new(range.start, range.end), 0);
    }

    #[inline]
    fn open(&mut self, kind: Kind) {
        self.event.frames.push(small(self.event.pending.len()));
        self.push(kind, Span::default(), 0);
    }

    /// The children, complete now, move side by side to the end of the node list.
    #[inline]
    fn close(&mut self) {
        let Event { text, nodes, pending, frames, seen, .. } = &mut *self.event;
        let Some(at) = frames.pop().map(|at| at as usize) else { return };
        let children = pending.get(at + 1..).unwrap_or_default();
        let (first, count) = (small(nodes.len()), small(children.len()));
        let is_object = pending.get(at).is_some_and(|node| node.kind == Kind::Object);
        let duplicates = if is_object { seen.count(text, children) } else { 0 };
        self.flags.duplicate_keys += duplicates;
        nodes.extend_from_slice(children);
        pending.truncate(at + 1);
        if let Some(node) = pending.get_mut(at) {
            node.span = Span { start: first, len: count };
            node.room = count;
            node.flags |= if duplicates > 0 { DUPLICATES } else { 0 };
        }
    }
}
