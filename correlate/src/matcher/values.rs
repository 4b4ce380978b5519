//! The values of one event that rules ask for, found in one walk.
//!
//! In: the paths of all rules, once; an event, often. Out: for each slot (an
//! ordered list of paths) the values of the first path that is present.
//! Never: allocation once the memory has grown to the size of the events.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use model::event::{Array, Event, Object, Value};

use crate::fields::{Keys, PathLists};
use crate::fold::fold_into;
use crate::raw_value::{self, Opener};

/// Position of a slot.
pub(crate) type Slot = u32;

/// Paths that make up a slot, and what is wanted of it.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    nodes: Vec<Node>,
    /// By the position of the list of paths.
    slots: HashMap<u32, Slot, FixedState>,
    /// Slots that are asked for their text, so that an object's JSON must be written out.
    wants_text: Vec<bool>,
}

/// A step of the walk.
#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, u32, FixedState>,
    /// Slots that end here, and the rank of this path in each.
    ends: Vec<(Slot, u8)>,
}

impl SlotTable {
    /// The slot of a list of paths; made when new. Paths beyond the 255th are dropped.
    pub(crate) fn slot(&mut self, list: u32, wants_text: bool, paths: &PathLists<'_>) -> Slot {
        let slot = match self.slots.get(&list) {
            Some(slot) => *slot,
            None => {
                let slot = self.add(&paths.list(list));
                self.slots.insert(list, slot);
                slot
            }
        };
        if let Some(wants) = self.wants_text.get_mut(slot as usize) {
            *wants |= wants_text;
        }
        slot
    }

    fn add(&mut self, paths: &[Keys]) -> Slot {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let slot = narrow(self.wants_text.len());
        self.wants_text.push(false);
        let paths = paths.get(..usize::from(u8::MAX)).unwrap_or(paths);
        for (rank, path) in paths.iter().enumerate() {
            let mut at = 0_u32;
            for key in path {
                let fresh = narrow(self.nodes.len());
                let known = self.nodes.get(at as usize).and_then(|n| n.children.get(key.as_str()).copied());
                at = match known {
                    Some(child) => child,
                    None => {
                        if let Some(node) = self.nodes.get_mut(at as usize) {
                            node.children.insert(key.as_str().into(), fresh);
                        }
                        self.nodes.push(Node::default());
                        fresh
                    }
                };
            }
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.ends.push((slot, u8::try_from(rank).unwrap_or(u8::MAX)));
            }
        }
        slot
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.wants_text.len()
    }

    /// Finds the values of an event.
    pub(crate) fn fill(&self, event: &Event, values: &mut Values) {
        values.begin(self.len());
        if let Some(root) = self.nodes.first() {
            self.object(root, event.root(), values);
        }
    }

    fn object(&self, node: &Node, object: Object<'_>, values: &mut Values) {
        for (key, value) in object.iter() {
            self.member(node, key, value, values);
            if memchr::memchr(b' ', key.as_bytes()).is_some() {
                // The specification strips the spaces of field names: "Source Name" is SourceName.
                let mut stripped = std::mem::take(&mut values.key);
                stripped.clear();
                stripped.extend(key.chars().filter(|c| *c != ' '));
                self.member(node, &stripped, value, values);
                values.key = stripped;
            }
        }
    }

    fn member(&self, node: &Node, key: &str, value: Value<'_>, values: &mut Values) {
        let Some(child) = node.children.get(key).and_then(|c| self.nodes.get(*c as usize)) else { return };
        match raw_value::text(value) {
            Some(text) if self.opened(child, text, values) => self.below(child, value, values),
            _ => self.found(child, value, values),
        }
    }

    fn found(&self, node: &Node, value: Value<'_>, values: &mut Values) {
        if !node.ends.is_empty() {
            self.leaf(&node.ends, value, values);
        }
        self.below(node, value, values);
    }

    /// Reads a wrapped value in place of its wrapper. False when it is none, or is itself inside of one.
    fn opened(&self, node: &Node, text: &str, values: &mut Values) -> bool {
        if values.is_inside {
            return false;
        }
        let mut opener = values.opener.take().unwrap_or_default();
        values.is_inside = true;
        let opened = opener.open(text).map(|value| self.found(node, value, values)).is_some();
        values.is_inside = false;
        values.opener = Some(opener);
        opened
    }

    /// Goes on below a value; a list stands for each of its elements.
    fn below(&self, node: &Node, value: Value<'_>, values: &mut Values) {
        match value {
            _ if node.children.is_empty() => {}
            Value::Object(object) => self.object(node, object, values),
            Value::Array(array) => array.iter().for_each(|v| self.below(node, v, values)),
            _ => {}
        }
    }

    /// Gives a value to the slots that end at its path.
    fn leaf(&self, ends: &[(Slot, u8)], value: Value<'_>, values: &mut Values) {
        let wanted =
            ends.iter().any(|(slot, _)| self.wants_text.get(*slot as usize).copied().unwrap_or(false));
        let first = values.texts.len();
        values.add_texts(value, wanted);
        let added = first..values.texts.len();
        for (slot, rank) in ends {
            values.give(*slot, *rank, added.clone());
        }
    }
}

/// A number of slots, nodes or texts; there are never 2^32 of them, as each costs more than a byte.
pub(crate) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The values of one event, in memory that is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Values {
    stamp: u32,
    cells: Vec<Cell>,
    touched: Vec<Slot>,
    links: Vec<Link>,
    texts: Vec<Text>,
    raw: String,
    folded: String,
    json: Vec<u8>,
    key: String,
    keywords: Vec<u32>,
    /// For wrapped values, once there was one.
    opener: Option<Box<Opener>>,
    /// Whether a wrapped value is being read.
    is_inside: bool,
}

/// What a slot holds; valid when its stamp is that of the event.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    stamp: u32,
    rank: u8,
    /// First and last link, plus one; 0 is none.
    head: u32,
    tail: u32,
}

/// A text of a slot and the next one.
#[derive(Clone, Copy, Debug)]
struct Link {
    text: u32,
    next: u32,
}

/// Where the text of a value lies. Null has none.
#[derive(Clone, Copy, Debug)]
struct Text {
    null: bool,
    raw: (u32, u32),
    folded: (u32, u32),
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen<'v> {
    /// Whether it is null; its texts are empty then.
    pub(crate) null: bool,
    /// As it stands in the event.
    pub(crate) raw: &'v str,
    /// Folded.
    pub(crate) folded: &'v str,
}

/// Memory above this is given back after an event that needed it.
const KEPT_MAX: usize = 1 << 20;

impl Values {
    fn begin(&mut self, slots: usize) {
        if self.raw.capacity() + self.folded.capacity() > KEPT_MAX {
            self.raw = String::new();
            self.folded = String::new();
            self.json = Vec::new();
        }
        self.raw.clear();
        self.folded.clear();
        self.texts.clear();
        self.links.clear();
        self.touched.clear();
        self.keywords.clear();
        // A caller may have caught a panic within one.
        self.is_inside = false;
        if self.cells.len() != slots || self.stamp == u32::MAX {
            self.cells.clear();
            self.cells.resize(slots, Cell::default());
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    /// Adds the texts of a value: one for a scalar, one for each element of a list.
    fn add_texts(&mut self, value: Value<'_>, wanted: bool) {
        match value {
            Value::Null => self.texts.push(Text { null: true, raw: (0, 0), folded: (0, 0) }),
            Value::Bool(true) => self.add_text("true"),
            Value::Bool(false) => self.add_text("false"),
            Value::Number(text) | Value::String(text) => self.add_text(text),
            Value::Array(array) => self.add_list(array, wanted),
            Value::Object(_) if wanted => {
                let mut json = std::mem::take(&mut self.json);
                json.clear();
                value.write_json(&mut json);
                self.add_text(std::str::from_utf8(&json).unwrap_or_default());
                self.json = json;
            }
            // Not asked for its text: it is there, and is not null.
            Value::Object(_) => self.add_text("{}"),
        }
    }

    fn add_list(&mut self, array: Array<'_>, wanted: bool) {
        for value in array.iter() {
            self.add_texts(value, wanted);
        }
    }

    fn add_text(&mut self, text: &str) {
        let raw = narrow(self.raw.len());
        let folded = narrow(self.folded.len());
        self.raw.push_str(text);
        fold_into(text, &mut self.folded);
        let text = Text {
            null: false,
            raw: (raw, narrow(self.raw.len())),
            folded: (folded, narrow(self.folded.len())),
        };
        self.texts.push(text);
    }

    /// Gives texts to a slot, unless a better path was there already. The same path again (a list of objects,
    /// a key twice) adds to what is there.
    fn give(&mut self, slot: Slot, rank: u8, texts: std::ops::Range<usize>) {
        let Some(cell) = self.cells.get_mut(slot as usize) else { return };
        if cell.stamp != self.stamp {
            self.touched.push(slot);
            *cell = Cell { stamp: self.stamp, rank, head: 0, tail: 0 };
        } else if rank < cell.rank {
            *cell = Cell { stamp: self.stamp, rank, head: 0, tail: 0 };
        } else if rank > cell.rank {
            return;
        }
        for text in texts {
            self.links.push(Link { text: narrow(text), next: 0 });
            let fresh = narrow(self.links.len());
            match cell.tail.checked_sub(1).and_then(|at| self.links.get_mut(at as usize)) {
                Some(last) => last.next = fresh,
                None => cell.head = fresh,
            }
            cell.tail = fresh;
        }
    }

    /// Slots that have something.
    pub(crate) fn touched(&self) -> &[Slot] {
        &self.touched
    }

    /// Whether the field of a slot is there, even null or empty.
    pub(crate) fn present(&self, slot: Slot) -> bool {
        self.cells.get(slot as usize).is_some_and(|c| c.stamp == self.stamp)
    }

    /// The values of a slot; none when it is absent or an empty list.
    pub(crate) fn of(&self, slot: Slot) -> impl Iterator<Item = Seen<'_>> {
        let head = self.cells.get(slot as usize).filter(|c| c.stamp == self.stamp).map_or(0, |c| c.head);
        let mut at = head;
        std::iter::from_fn(move || {
            let link = self.links.get(at.checked_sub(1)? as usize)?;
            at = link.next;
            self.seen(link.text)
        })
    }

    fn seen(&self, text: u32) -> Option<Seen<'_>> {
        let text = self.texts.get(text as usize)?;
        Some(Seen {
            null: text.null,
            raw: self.raw.get(text.raw.0 as usize..text.raw.1 as usize)?,
            folded: self.folded.get(text.folded.0 as usize..text.folded.1 as usize)?,
        })
    }

    /// Collects every leaf of the event, for keywords; not our own book-keeping under `mozdef`.
    pub(crate) fn collect_keywords(&mut self, event: &Event) {
        let first = self.texts.len();
        for (key, value) in event.root().iter() {
            if key != "mozdef" {
                self.add_leaves(value);
            }
        }
        self.keywords.extend((first..self.texts.len()).map(narrow));
    }

    fn add_leaves(&mut self, value: Value<'_>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(_, v)| self.add_leaves(v)),
            Value::Array(array) => array.iter().for_each(|v| self.add_leaves(v)),
            Value::Null => {}
            scalar => self.add_texts(scalar, true),
        }
    }

    /// The leaves that were collected.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = Seen<'_>> {
        self.keywords.iter().filter_map(|text| self.seen(*text))
    }
}
