//! Rewriting keys at every depth.
//!
//! In: a function from key to key. Out: the document without duplicate keys.
//! Never: other changes. Limits are not checked here: a caller that makes keys
//! longer sees it at the next edit.

use super::graft::commas;
use super::node::{DUPLICATES, KEY_CLEAN, Kind, Node, Span};
use super::text::quoted_length;
use super::{Event, ROOT};

/// What happens to a key.
enum Change {
    Keep,
    /// ASCII letters become small, in place.
    LowerInPlace,
    Replace(String),
}

impl Event {
    /// Rewrites keys at every depth: `Some` is the new key. Of keys that are or become equal the last stays.
    pub fn map_keys(&mut self, mut f: impl FnMut(&str) -> Option<String>) {
        self.change_keys(ROOT, &mut |key| f(key).map_or(Change::Keep, Change::Replace));
        self.sweep_if_due();
    }

    /// Lower-cases keys at every depth. Of keys that are or become equal the last stays.
    pub fn lower_keys(&mut self) {
        self.change_keys(ROOT, &mut lowered);
        self.sweep_if_due();
    }

    /// Drops all but the last of duplicate keys, at every depth. Returns how many.
    pub fn drop_duplicates(&mut self) -> usize {
        let before = self.fields;
        self.change_keys(ROOT, &mut |_| Change::Keep);
        before.saturating_sub(self.fields)
    }

    fn change_keys(&mut self, container: usize, f: &mut impl FnMut(&str) -> Change) {
        let Some(parent) = self.nodes.get(container).copied().filter(Node::is_container) else { return };
        let mut changed = false;
        for index in parent.span.range() {
            let Some(child) = self.nodes.get(index).copied() else { return };
            if parent.kind == Kind::Object {
                changed |= self.change_key(index, child, f);
            }
            if child.is_container() {
                self.change_keys(index, f);
            }
        }
        // Shared keys are lower-cased in place: the second object of two does not notice that it changed.
        if parent.kind == Kind::Object && (changed || parent.has(DUPLICATES) || self.shared_keys) {
            self.drop_shadowed(container);
        }
    }

    fn change_key(&mut self, index: usize, child: Node, f: &mut impl FnMut(&str) -> Change) -> bool {
        match f(self.slice(child.key)) {
            Change::Keep => false,
            Change::LowerInPlace => {
                // Copies within the event share keys; they are lower-cased all the same.
                if let Some(key) = self.text.get_mut(child.key.range()) {
                    key.make_ascii_lowercase();
                }
                true
            }
            Change::Replace(new) => {
                let old_length = quoted_length(self.slice(child.key));
                self.bytes = (self.bytes + quoted_length(&new)).saturating_sub(old_length);
                let (key, clean) = self.add_text(&new);
                let flags = child.flags & !KEY_CLEAN | if clean { KEY_CLEAN } else { 0 };
                self.set_node(index, Node { key, flags, ..child });
                true
            }
        }
    }

    /// Drops members of an object that have a later twin.
    fn drop_shadowed(&mut self, object: usize) {
        let Some(parent) = self.nodes.get(object).copied() else { return };
        let range = parent.span.range();
        let mut shadowed = std::mem::take(&mut self.frames);
        let mut seen = std::mem::take(&mut self.seen);
        shadowed.clear();
        let children = self.nodes.get(range.clone()).unwrap_or_default();
        seen.shadowed(&self.text, children, |offset| shadowed.push(super::node::small(offset)));
        self.seen = seen;
        // They come from the last to the first.
        let mut kept = range.start;
        for (offset, index) in range.clone().enumerate() {
            let Some(node) = self.nodes.get(index).copied() else { break };
            if shadowed.last().is_some_and(|&next| next as usize == offset) {
                shadowed.pop();
                let size = self.measure_member(&node);
                self.fields = self.fields.saturating_sub(size.fields);
                self.bytes = self.bytes.saturating_sub(size.bytes);
            } else {
                self.set_node(kept, node);
                kept += 1;
            }
        }
        self.frames = shadowed;
        self.bytes = (self.bytes + commas(kept - range.start)).saturating_sub(commas(range.len()));
        let span = Span::new(range.start, kept);
        self.set_node(object, Node { span, flags: parent.flags & !DUPLICATES, ..parent });
    }
}

fn lowered(key: &str) -> Change {
    let (mut ascii, mut upper) = (true, false);
    for byte in key.bytes() {
        ascii &= byte.is_ascii();
        upper |= byte.is_ascii_uppercase();
    }
    match (ascii, upper) {
        (true, false) => Change::Keep,
        (true, true) => Change::LowerInPlace,
        (false, _) => {
            let lower = key.to_lowercase();
            if lower == key { Change::Keep } else { Change::Replace(lower) }
        }
    }
}
