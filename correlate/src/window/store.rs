//! The groups of one rule in one partition, with the times at which something
//! is due, and what is needed to take an uncommitted change back.
//!
//! In: entries by group key, watermarks, time. Out: revisions with their
//! group's key; the groups that changed. Never: rule texts, records.
//!
//! Only groups that are touched or due are ever looked at. A due time in the
//! heap may be stale: a group carries the one that counts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::hash::BuildHasher;

use foldhash::{fast, quality};
use hashbrown::HashTable;

use crate::window::group::Group;
use crate::window::{BEGINNING, Entry, Mark, Revision, Spec};

/// Whether changes can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// Until [`Store::commit`] each touched group is kept as it was.
    Keep,
    /// Changes are final at once.
    None,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It counts.
    Taken,
    /// An equal one is there.
    Equal,
    /// Its time is below the watermark by so many milliseconds.
    Late(i64),
}

const NEVER: i64 = i64::MAX;

#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    group: Group,
    /// The due time that counts, in event time; [`NEVER`] when there is none.
    due: i64,
}

/// All groups of one rule in one partition.
#[derive(Debug)]
pub struct Store {
    spec: Spec,
    images: Images,
    watermark: i64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: quality::RandomState,
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// By caller's time: groups with an episode whose revision waits. May be stale, too.
    revisions: BTreeSet<(i64, u32)>,
    /// Groups as they were at the last commit; `None` where there was none.
    before: HashMap<u32, Option<Group>, fast::RandomState>,
    watermark_before: i64,
    /// Groups touched since the last flush, with the bodies they had.
    touched: HashMap<u32, Vec<Mark>, fast::RandomState>,
    scratch: Vec<Revision>,
}

/// One changed group, for the changelog.
#[derive(Debug)]
pub struct Change<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// As it is now; empty when it is to be forgotten.
    pub group: &'a Group,
    /// Events whose bodies it had at the last flush.
    pub bodies_before: Vec<Mark>,
}

impl Store {
    /// No groups, at a watermark.
    pub fn new(spec: Spec, images: Images, watermark: i64) -> Store {
        Store {
            spec,
            images,
            watermark,
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: quality::RandomState::default(),
            due: BinaryHeap::new(),
            revisions: BTreeSet::new(),
            before: HashMap::default(),
            watermark_before: watermark,
            touched: HashMap::default(),
            scratch: Vec::new(),
        }
    }

    /// The rule as the engine sees it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Takes a rule of the same generation whose presentation changed.
    pub fn set_spec(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// The watermark.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds an entry to a group.
    pub fn insert(
        &mut self,
        key: &[u8],
        entry: Entry,
        now: i64,
        out: &mut impl FnMut(&[u8], Revision),
    ) -> Inserted {
        if entry.time < self.watermark {
            return Inserted::Late(self.watermark.saturating_sub(entry.time));
        }
        let at = self.find_or_make(key);
        self.image(at);
        let Some(slot) = self.slots.get_mut(at as usize) else { return Inserted::Equal };
        slot.group.advance(&self.spec, self.watermark, now, &mut self.scratch);
        let taken = slot.group.insert(&self.spec, entry, now, &mut self.scratch);
        self.after_touch(at, out);
        if taken { Inserted::Taken } else { Inserted::Equal }
    }

    /// Raises the watermark; a lower one changes nothing.
    pub fn advance(&mut self, watermark: i64, now: i64, out: &mut impl FnMut(&[u8], Revision)) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        while let Some(&Reverse((due, at))) = self.due.peek() {
            if due > watermark {
                break;
            }
            self.due.pop();
            if self.slots.get(at as usize).is_none_or(|slot| slot.due != due) {
                continue;
            }
            self.image(at);
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            slot.due = NEVER;
            slot.group.advance(&self.spec, watermark, now, &mut self.scratch);
            self.after_touch(at, out);
        }
    }

    /// Makes the revisions that had to wait.
    pub fn publish(&mut self, now: i64, out: &mut impl FnMut(&[u8], Revision)) {
        while let Some(&(due, at)) = self.revisions.first() {
            if due > now {
                break;
            }
            self.revisions.pop_first();
            let waits = self.slots.get(at as usize).and_then(|slot| slot.group.next_revision(&self.spec));
            if waits.is_none_or(|due| due > now) {
                continue;
            }
            self.image(at);
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            slot.group.publish(&self.spec, now, &mut self.scratch);
            self.after_touch(at, out);
        }
    }

    /// Closes every episode and empties every group: the rule is no longer in force.
    pub fn retire(&mut self, now: i64, out: &mut impl FnMut(&[u8], Revision)) {
        for at in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            if self.slots.get(at as usize).is_none_or(|slot| slot.group.is_empty()) {
                continue;
            }
            self.image(at);
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            slot.group.retire(&self.spec, now, &mut self.scratch);
            self.after_touch(at, out);
        }
    }

    /// Puts a stored group back; it is not a change.
    pub fn restore(&mut self, key: &[u8], group: Group) {
        if group.is_empty() {
            return;
        }
        let at = self.find_or_make(key);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.group = group;
        }
        self.schedule(at);
    }

    /// Shows each group changed since the last flush.
    pub fn flush(&mut self, mut changed: impl FnMut(Change<'_>)) {
        let mut touched = self.touched.drain().collect::<Vec<_>>();
        touched.sort_unstable_by_key(|(at, _)| *at);
        for (at, bodies_before) in touched {
            if let Some(slot) = self.slots.get(at as usize) {
                changed(Change { key: &slot.key, group: &slot.group, bodies_before });
            }
        }
    }

    /// What changed is durable.
    pub fn commit(&mut self) {
        self.watermark_before = self.watermark;
        let mut before = std::mem::take(&mut self.before);
        for (at, _) in before.drain() {
            self.release_if_empty(at);
        }
        self.before = before;
    }

    /// What changed since the last commit did not happen.
    pub fn rollback(&mut self) {
        self.watermark = self.watermark_before;
        self.touched.clear();
        let mut before = std::mem::take(&mut self.before);
        for (at, image) in before.drain() {
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.group = image.unwrap_or_else(|| Group::new(BEGINNING));
                slot.due = NEVER;
            }
            self.schedule(at);
            self.release_if_empty(at);
        }
        self.before = before;
    }

    fn find_or_make(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        let same = |at: &u32| slots.get(*at as usize).is_some_and(|slot| *slot.key == *key);
        if let Some(&at) = self.index.find(hash, same) {
            return at;
        }
        let slot = Slot { key: key.into(), group: Group::new(self.watermark), due: NEVER };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(free) = self.slots.get_mut(at as usize) {
                    *free = slot;
                }
                at
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |at: &u32| slots.get(*at as usize).map_or(0, |slot| hasher.hash_one(&*slot.key));
        self.index.insert_unique(hash, at, rehash);
        at
    }

    /// Remembers a group as it is, before its first change.
    fn image(&mut self, at: u32) {
        if self.images == Images::None {
            return;
        }
        let Some(slot) = self.slots.get(at as usize) else { return };
        self.before.entry(at).or_insert_with(|| (!slot.group.is_empty()).then(|| slot.group.clone()));
        self.touched.entry(at).or_insert_with(|| slot.group.bodies().map(|(mark, _)| mark).collect());
    }

    fn after_touch(&mut self, at: u32, out: &mut impl FnMut(&[u8], Revision)) {
        if let Some(slot) = self.slots.get(at as usize) {
            self.scratch.drain(..).for_each(|revision| out(&slot.key, revision));
        }
        self.schedule(at);
        if self.images == Images::None {
            self.release_if_empty(at);
        }
    }

    fn schedule(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        // A later due time is found out when the earlier one comes.
        if let Some(due) = slot.group.next_due(&self.spec).filter(|due| *due < slot.due) {
            slot.due = due;
            self.due.push(Reverse((due, at)));
        }
        if let Some(due) = slot.group.next_revision(&self.spec) {
            self.revisions.insert((due, at));
        }
    }

    /// Only committed changes free a slot: its number is what the images go by.
    fn release_if_empty(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize).filter(|slot| slot.group.is_empty()) else { return };
        let hash = self.hasher.hash_one(&*slot.key);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == at) {
            found.remove();
            self.free.push(at);
            slot.key = Box::default();
            slot.due = NEVER;
        }
    }
}
