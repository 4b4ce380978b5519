//! Edits: set, push, copy, rename, remove.
//!
//! In: paths and values. Out: the changed document, or an error and no
//! change. Never: a document that its own limits would refuse.

use super::graft::{Size, commas};
use super::new::{New, Source};
use super::node::{DUPLICATES, KEY_CLEAN, Kind, Node, Span, small};
use super::path::Path;
use super::text::quoted_length;
use super::value::position;
use super::{Event, ROOT, limits::EditError};

/// Where a path leads.
#[derive(Clone, Copy)]
enum Place {
    /// To a node (index in the node list), a child of `parent`.
    Found { parent: usize, child: usize },
    /// To nothing: `parent` is the last object that is there, `made` the index of the first key that is not.
    Missing { parent: usize, made: usize },
}

impl Event {
    /// Sets a value; objects on the way are made; an existing value (all duplicates) is replaced in its place.
    ///
    /// # Errors
    /// See [`EditError`]; the event is then as before.
    pub fn set<'v>(&mut self, path: &Path, value: impl Into<New<'v>>) -> Result<(), EditError> {
        self.put(path.parts(), &Source::New(value.into()), Size::default())
    }

    /// Sets a top-level member.
    ///
    /// # Errors
    /// As [`Event::set`].
    pub fn set_member<'v>(&mut self, key: &str, value: impl Into<New<'v>>) -> Result<(), EditError> {
        self.put(&[key], &Source::New(value.into()), Size::default())
    }

    /// Sets `object.key` where `object` is a top-level object (made when absent), without building a path.
    ///
    /// # Errors
    /// As [`Event::set`].
    pub fn set_in<'v>(
        &mut self,
        object: &str,
        key: &str,
        value: impl Into<New<'v>>,
    ) -> Result<(), EditError> {
        self.put(&[object, key], &Source::New(value.into()), Size::default())
    }

    /// Appends to the array at a path; made when absent. What is there and is no array becomes the array's
    /// first element.
    ///
    /// # Errors
    /// As [`Event::set`].
    pub fn push<'v>(&mut self, path: &Path, value: impl Into<New<'v>>) -> Result<(), EditError> {
        let keys = path.parts();
        let source = Source::New(value.into());
        let place = self.locate(keys)?;
        let size = self.measure_source(&source);
        let mut added = Size { height: size.height + 1, ..size };
        match place {
            Place::Found { child, .. } => {
                let old = self.node(child);
                let grown = match old.kind {
                    Kind::Array => self.comma_after(child),
                    // Brackets and a comma.
                    _ => Size { fields: 0, bytes: 3, height: self.measure(&old).height + 1 },
                };
                added = added.plus(grown);
            }
            Place::Missing { parent, made } => {
                added = added.plus(self.missing_size(parent, keys, made)).plus(Size::scalar(2));
            }
        }
        self.admit(keys.len(), added, Size::default())?;
        let value = self.store(&source);
        let array = match place {
            Place::Found { parent, child } => {
                let child = self.drop_twins(parent, child);
                let old = self.node(child);
                if old.kind != Kind::Array {
                    self.set_node(child, Node::of(Kind::Array).keyed_like(&old));
                    self.add_child(child, old.unkeyed());
                }
                child
            }
            Place::Missing { parent, made } => self.make(parent, keys, made, Node::of(Kind::Array)),
        };
        self.add_child(array, value);
        self.sweep_if_due();
        Ok(())
    }

    /// Copies a value within the event. False when there is none.
    ///
    /// # Errors
    /// As [`Event::set`].
    pub fn copy(&mut self, from: &Path, to: &Path) -> Result<bool, EditError> {
        let Some(node) = self.find_node(from.parts()) else { return Ok(false) };
        self.put(to.parts(), &Source::Copy(node), Size::default())?;
        Ok(true)
    }

    /// Moves a value, also into or out of itself (`a` to `a.b`, `a.b` to `a`). False when there is none.
    ///
    /// # Errors
    /// As [`Event::set`].
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<bool, EditError> {
        let (old, new) = (from.parts(), to.parts());
        let Ok(Place::Found { parent, child }) = self.locate(old) else { return Ok(false) };
        let node = self.node(child);
        if old == new {
            return Ok(true);
        }
        if new.starts_with(old) {
            self.wrap(old, new, node)?;
        } else if old.starts_with(new) {
            // The target goes away with everything in it but this value.
            self.put(new, &Source::Move(node), Size::default())?;
        } else {
            let comma = Size::scalar(commas(self.children(&self.node(parent)).len()).min(1));
            self.put(new, &Source::Move(node), self.measure_member(&node).plus(comma))?;
            self.remove_keys(old);
        }
        Ok(true)
    }

    /// Removes a value (all duplicates). False when there is none.
    pub fn remove(&mut self, path: &Path) -> bool {
        self.remove_keys(path.parts())
    }

    /// `from` becomes an object, its value moves to `to`, which is inside.
    fn wrap(&mut self, from: &[Box<str>], to: &[Box<str>], node: Node) -> Result<(), EditError> {
        let Place::Found { parent, child } = self.locate(from)? else { return Ok(()) };
        let inner = to.get(from.len()..).unwrap_or_default();
        // One object less is made than there are keys, but the outermost is made too.
        let added = chain_size(inner).plus(Size::scalar(2));
        let height = self.measure(&node).height;
        self.admit(to.len(), Size { height, ..added }, Size::default())?;
        let child = self.drop_twins(parent, child);
        self.set_node(child, Node::EMPTY_OBJECT.keyed_like(&node));
        self.make(child, inner, 0, node.unkeyed());
        self.sweep_if_due();
        Ok(())
    }

    /// Puts a value at a path. `credit` is what will be removed afterwards.
    fn put<K: AsRef<str>>(&mut self, keys: &[K], source: &Source<'_>, credit: Size) -> Result<(), EditError> {
        let place = self.locate(keys)?;
        let mut added = self.measure_source(source);
        let mut removed = credit;
        match place {
            Place::Found { child, .. } => removed = removed.plus(self.measure(&self.node(child))),
            Place::Missing { parent, made } => added = added.plus(self.missing_size(parent, keys, made)),
        }
        self.admit(keys.len(), added, removed)?;
        self.fields += credit.fields;
        self.bytes += credit.bytes;
        let value = self.store(source);
        match place {
            Place::Found { parent, child } => {
                let child = self.drop_twins(parent, child);
                let old = self.node(child);
                self.set_node(child, value.keyed_like(&old));
            }
            Place::Missing { parent, made } => {
                self.make(parent, keys, made, value);
            }
        }
        self.sweep_if_due();
        Ok(())
    }

    fn remove_keys<K: AsRef<str>>(&mut self, keys: &[K]) -> bool {
        let Ok(Place::Found { parent, child }) = self.locate(keys) else { return false };
        let child = self.drop_twins(parent, child);
        self.drop_child(parent, child);
        true
    }

    /// Follows keys through objects; of duplicates the last counts, as in reads.
    fn locate<K: AsRef<str>>(&self, keys: &[K]) -> Result<Place, EditError> {
        let mut parent = ROOT;
        let mut left = keys.len();
        for (index, key) in keys.iter().enumerate() {
            let node = self.node(parent);
            let Some(offset) = position(self, self.children(&node), key.as_ref()) else {
                return Ok(Place::Missing { parent, made: index });
            };
            let child = node.span.start as usize + offset;
            left -= 1;
            if left == 0 {
                return Ok(Place::Found { parent, child });
            }
            if self.node(child).kind != Kind::Object {
                return Err(EditError::NotAnObject);
            }
            parent = child;
        }
        Err(EditError::NotAnObject)
    }

    fn find_node<K: AsRef<str>>(&self, keys: &[K]) -> Option<Node> {
        match self.locate(keys) {
            Ok(Place::Found { child, .. }) => Some(self.node(child)),
            _ => None,
        }
    }

    /// Makes the objects that a path lacks, and the last key with this value. Returns the value's index.
    fn make<K: AsRef<str>>(&mut self, parent: usize, keys: &[K], made: usize, value: Node) -> usize {
        let mut at = parent;
        for (index, key) in keys.iter().enumerate().skip(made) {
            let (span, clean) = self.add_text(key.as_ref());
            let node = if index + 1 == keys.len() { value } else { Node::EMPTY_OBJECT };
            let flags = node.flags & !KEY_CLEAN | if clean { KEY_CLEAN } else { 0 };
            at = self.add_child(at, Node { key: span, flags, ..node });
        }
        at
    }

    /// Appends a child to a container. Returns its index. Moves the children when there is no room behind them.
    fn add_child(&mut self, parent: usize, child: Node) -> usize {
        let container = self.node(parent);
        let children = container.span.range();
        let count = children.len();
        let (first, room) = if count < container.room as usize {
            self.set_node(children.end, child);
            (children.start, container.room)
        } else if count > 0 && children.end == self.nodes.len() {
            self.nodes.push(child);
            (children.start, container.room + 1)
        } else {
            let first = self.nodes.len();
            let room = (count * 2).max(4);
            self.nodes.extend_from_within(children);
            self.nodes.push(child);
            self.nodes.resize(first + room, Node::NULL);
            (first, small(room))
        };
        let span = Span { start: small(first), len: small(count + 1) };
        self.set_node(parent, Node { span, room, ..container });
        first + count
    }

    /// Takes a child out of its container; those after it move up. Counts it out.
    fn drop_child(&mut self, parent: usize, child: usize) {
        let container = self.node(parent);
        let size = self.measure_member(&self.node(child));
        self.fields = self.fields.saturating_sub(size.fields);
        self.bytes = self.bytes.saturating_sub(size.bytes + commas(container.span.len as usize).min(1));
        let end = container.span.range().end;
        if child < end && end <= self.nodes.len() {
            self.nodes.copy_within(child + 1..end, child);
            let span = Span { len: container.span.len.saturating_sub(1), ..container.span };
            self.set_node(parent, Node { span, ..container });
        }
    }

    /// Drops the earlier duplicates of a child, which moves up. Returns its index.
    fn drop_twins(&mut self, parent: usize, child: usize) -> usize {
        if !self.node(parent).has(DUPLICATES) {
            return child;
        }
        let mut at = child;
        let mut index = self.node(parent).span.start as usize;
        while index < at {
            if self.slice(self.node(index).key) == self.slice(self.node(at).key) {
                self.drop_child(parent, index);
                at -= 1;
            } else {
                index += 1;
            }
        }
        at
    }

    /// Checks the limits for a change, and counts it in.
    fn admit(&mut self, depth: usize, added: Size, removed: Size) -> Result<(), EditError> {
        if depth + added.height > self.limits.depth_max {
            return Err(EditError::TooDeep);
        }
        let fields = (self.fields + added.fields).saturating_sub(removed.fields);
        if fields > self.limits.fields_max && fields > self.fields {
            return Err(EditError::TooManyFields);
        }
        let mut bytes = (self.bytes + added.bytes).saturating_sub(removed.bytes);
        if bytes > self.limits.bytes_max && bytes > self.bytes {
            if !self.bytes_exact {
                self.bytes = self.measure(&self.node(ROOT)).bytes;
                self.bytes_exact = true;
                bytes = (self.bytes + added.bytes).saturating_sub(removed.bytes);
            }
            if bytes > self.limits.bytes_max && bytes > self.bytes {
                return Err(EditError::TooLarge);
            }
        }
        self.fields = fields;
        self.bytes = bytes;
        Ok(())
    }

    /// The size of what a path lacks below `parent`, without its value.
    fn missing_size<K: AsRef<str>>(&self, parent: usize, keys: &[K], made: usize) -> Size {
        chain_size(keys.get(made..).unwrap_or_default()).plus(self.comma_after(parent))
    }

    /// The comma that another child of this container needs.
    fn comma_after(&self, container: usize) -> Size {
        Size::scalar(usize::from(self.node(container).span.len > 0))
    }

    fn node(&self, index: usize) -> Node {
        self.nodes.get(index).copied().unwrap_or(Node::NULL)
    }
}

/// The size of these keys, each but the last with an object for the next.
fn chain_size<K: AsRef<str>>(keys: &[K]) -> Size {
    let bytes: usize = keys.iter().map(|key| quoted_length(key.as_ref()) + 1).sum();
    Size { fields: keys.len(), bytes: bytes + 2 * keys.len().saturating_sub(1), height: 0 }
}
