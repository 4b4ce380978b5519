//! What happened to a group since the last commit: to take it back, and to
//! write only what changed.
//!
//! In: changes of a group's events as they happen, and its small parts as
//! they were. Out: the changed events, newest state looked up by the caller.
//! Never: a copy of all events; a hot group has thousands.

use std::sync::Arc;

use crate::measured::Fact;
use crate::window::entries::Row;
use crate::window::episode::Episode;
use crate::window::{Entry, Mark, Sample};

/// One change of a group's events.
#[derive(Debug)]
pub(crate) enum Change {
    /// An entry came.
    Inserted(Mark),
    /// An entry was forgotten or folded.
    Removed(Entry),
    /// An entry had this sample before.
    Trimmed(Mark, Option<Arc<Sample>>),
    /// An entry had this fact before: it names more rules now.
    Joined(Mark, Fact),
    /// An event left the first ones of an episode.
    Left(Mark),
}

/// The parts of a group that are copied before its first change. They are few and share what is large.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) at: i64,
    pub(crate) doubles: u32,
    pub(crate) body_bytes: u32,
    pub(crate) episodes: Vec<Episode>,
    pub(crate) rows: Vec<Row>,
    pub(crate) approximate: bool,
    pub(crate) forgotten: i64,
}

/// The changes of one group since the last commit.
#[derive(Debug)]
pub struct Journal {
    /// `None` where there was no group.
    pub(crate) image: Option<Image>,
    pub(crate) changes: Vec<Change>,
    /// How many of the changes are written.
    flushed: usize,
    /// Whether the group was touched since it was written.
    is_touched: bool,
}

impl Journal {
    /// Begins with the group as it is.
    pub(crate) fn new(image: Option<Image>) -> Journal {
        Journal { image, changes: Vec::new(), flushed: 0, is_touched: false }
    }

    /// The group is going to change.
    pub(crate) fn touch(&mut self) {
        self.is_touched = true;
    }

    /// Notes a change.
    pub(crate) fn note(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The events whose stored form may have changed since the last call, sorted; `None` when nothing was touched.
    pub(crate) fn flush(&mut self) -> Option<Vec<Mark>> {
        if !std::mem::take(&mut self.is_touched) {
            return None;
        }
        let new = self.changes.get(self.flushed..).unwrap_or_default();
        let mut marks = new.iter().filter_map(changed).collect::<Vec<_>>();
        marks.sort_unstable();
        marks.dedup();
        self.flushed = self.changes.len();
        Some(marks)
    }
}

/// A sample that is trimmed may stay stored as it was: it is trimmed again when it is read.
fn changed(change: &Change) -> Option<Mark> {
    match change {
        Change::Inserted(mark) | Change::Joined(mark, _) | Change::Left(mark) => Some(*mark),
        Change::Removed(entry) => Some(entry.mark()),
        Change::Trimmed(..) => None,
    }
}
