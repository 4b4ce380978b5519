//! The groups of one rule in one partition, with the times at which something
//! is due, and what is needed to take an uncommitted change back.
//!
//! In: entries by group key, watermarks, time. Out: revisions with their
//! group's key; the groups that changed. Never: rule texts, records.
//!
//! Only groups that are touched or due are ever looked at. A queued due time
//! may be stale: a slot carries the one that counts.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::{fast, quality};
use hashbrown::HashTable;

use crate::window::due::Due;
use crate::window::group::{Group, Step};
use crate::window::journal::Journal;
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
    due: Due,
    /// By caller's time: groups with an episode whose revision waits. May be stale, too.
    revisions: BTreeSet<(i64, u32)>,
    /// What happened to groups since the last commit.
    journals: HashMap<u32, Journal, fast::RandomState>,
    watermark_before: i64,
    scratch: Vec<Revision>,
}

/// One changed group, for the changelog.
#[derive(Debug)]
pub struct Change<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// As it is now; empty when it is to be forgotten.
    pub group: &'a Group,
    /// Events that may have come, gone, or changed their place since the last flush, sorted.
    pub events: Vec<Mark>,
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
            due: Due::new(spec.timespan_ms),
            revisions: BTreeSet::new(),
            journals: HashMap::default(),
            watermark_before: watermark,
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
        let watermark = self.watermark;
        let taken = self.touch(at, now, out, |group, step| {
            group.advance(watermark, step);
            group.insert(entry, step)
        });
        if taken == Some(true) { Inserted::Taken } else { Inserted::Equal }
    }

    /// Raises the watermark; a lower one changes nothing.
    pub fn advance(&mut self, watermark: i64, now: i64, out: &mut impl FnMut(&[u8], Revision)) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        loop {
            let slots = &self.slots;
            let due_of = |at: u32| slots.get(at as usize).map_or(NEVER, |slot| slot.due);
            let Some(at) = self.due.pop(watermark, due_of) else { return };
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.due = NEVER;
            }
            self.touch(at, now, out, |group, step| group.advance(watermark, step));
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
            self.touch(at, now, out, |group, step| group.publish(step));
        }
    }

    /// Closes every episode and empties every group: the rule is no longer in force.
    pub fn retire(&mut self, now: i64, out: &mut impl FnMut(&[u8], Revision)) {
        for at in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            if self.slots.get(at as usize).is_none_or(|slot| slot.group.is_empty()) {
                continue;
            }
            self.touch(at, now, out, |group, step| group.retire(step));
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
        let flushed = |(at, journal): (&u32, &mut Journal)| Some((*at, journal.flush()?));
        let mut touched = self.journals.iter_mut().filter_map(flushed).collect::<Vec<_>>();
        touched.sort_unstable_by_key(|(at, _)| *at);
        for (at, events) in touched {
            if let Some(slot) = self.slots.get(at as usize) {
                changed(Change { key: &slot.key, group: &slot.group, events });
            }
        }
    }

    /// What changed is durable.
    pub fn commit(&mut self) {
        self.watermark_before = self.watermark;
        let mut journals = std::mem::take(&mut self.journals);
        for (at, _) in journals.drain() {
            self.release_if_empty(at);
        }
        self.journals = journals;
    }

    /// What changed since the last commit did not happen.
    pub fn rollback(&mut self) {
        self.watermark = self.watermark_before;
        let mut journals = std::mem::take(&mut self.journals);
        for (at, journal) in journals.drain() {
            if let Some(slot) = self.slots.get_mut(at as usize) {
                match journal.image {
                    Some(image) => slot.group.undo(image, journal.changes),
                    None => slot.group = Group::new(BEGINNING),
                }
                slot.due = NEVER;
            }
            self.schedule(at);
            self.release_if_empty(at);
        }
        self.journals = journals;
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

    /// Changes a group, with a journal where changes may be taken back.
    fn touch<R>(
        &mut self,
        at: u32,
        now: i64,
        out: &mut impl FnMut(&[u8], Revision),
        change: impl FnOnce(&mut Group, &mut Step<'_>) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(at as usize)?;
        let journal = (self.images == Images::Keep).then(|| {
            let image = || (!slot.group.is_empty()).then(|| slot.group.image());
            let journal = self.journals.entry(at).or_insert_with(|| Journal::new(image()));
            journal.touch();
            journal
        });
        let mut step = Step { spec: &self.spec, now, out: &mut self.scratch, journal };
        let result = change(&mut slot.group, &mut step);
        self.scratch.drain(..).for_each(|revision| out(&slot.key, revision));
        self.schedule(at);
        if self.images == Images::None {
            self.release_if_empty(at);
        }
        Some(result)
    }

    fn schedule(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        // A later due time is found out when the earlier one comes.
        let due = slot.group.next_due(&self.spec).map(|due| due.max(self.watermark.saturating_add(1)));
        if let Some(due) = due.filter(|due| *due < slot.due) {
            slot.due = due;
            self.due.push(due, at);
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
