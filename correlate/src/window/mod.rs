//! The window engine: groups of matches of one correlation rule, and the
//! episodes that they make.
//!
//! In: entries (time, event id) of one group in any order, and watermarks.
//! Out: revisions of episodes. Never: clocks, I/O, rule texts or alert
//! documents; the caller passes the time and knows the rule.
//!
//! ```text
//! entry      one match in a group; equal (time, id) count once
//! hot time   the time of an entry where the condition holds over (t − T, t]
//! episode    a maximal run of hot times with gaps below T: one alert
//! watermark  no event older than this is taken any more
//! ```
//!
//! [`group`] has the algorithm, `folding` and `trim` its bounds, [`entries`] what is kept of entries, `gauge`
//! what is measured of them, [`episode`] the aggregates, [`journal`] what is not yet
//! committed, [`store`] the groups of one rule with their due times,
//! [`watermarks`] how far time has come, [`tops`] how often values occur,
//! [`state`] the stored form.

use std::sync::Arc;

use model::ids::EventId;

use crate::measured::Fact;
use crate::rule::{Condition, Correlation, Kind};
use crate::window::tops::Tops;

mod due;
pub mod entries;
pub mod episode;
mod folding;
mod gauge;
pub mod group;
pub mod journal;
pub mod state;
pub mod store;
pub mod tops;
mod trim;
pub mod watermarks;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod histories;
#[cfg(test)]
pub(crate) mod oracle;

/// The watermark before anything was heard.
pub const BEGINNING: i64 = i64::MIN;

/// Most entries that a group may hold exactly, whatever is configured: its stored form must fit into one record.
pub const ENTRIES_MAX: usize = 40_000;

/// Most rules that a correlation with an order may name.
pub(crate) use self::gauge::ORDERED_MAX;

/// Most events of one episode whose origin is kept, and so named in its alert.
pub const ORIGINS_MAX: usize = 256;

/// A time in milliseconds and an event id: the order of everything in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Event time, in milliseconds.
    pub time: i64,
    /// Event id.
    pub id: EventId,
}

/// One match in a group.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Event time, in milliseconds.
    pub time: i64,
    /// Event id.
    pub id: EventId,
    /// What it adds to the measure, by the rule's kind.
    pub fact: Fact,
    /// What an alert says of the event; gone where no alert can need it.
    pub sample: Option<Arc<Sample>>,
}

impl Entry {
    /// Time and id.
    pub fn mark(&self) -> Mark {
        Mark { time: self.time, id: self.id }
    }
}

/// What an alert says of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it was received, in milliseconds; tells the index.
    pub received: i64,
    /// Prefix of its index, where a plugin chose one.
    pub index: Option<Box<str>>,
    /// Its id in the index, where a plugin chose one.
    pub document_id: Option<Box<str>>,
    /// Place of its raw record: `topic/partition/offset`.
    pub origin: Box<str>,
    /// The event as JSON; empty when only the origin is needed.
    pub body: Box<[u8]>,
    /// What it has in the fields that the rule's summary counts.
    pub values: tops::Values,
}

impl Sample {
    /// The same without the event itself.
    pub(crate) fn without_body(&self) -> Sample {
        Sample { body: Box::default(), ..self.clone() }
    }
}

/// What the engine needs to know of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Length of the window, in milliseconds; at least 1.
    pub timespan_ms: i64,
    /// What is measured.
    pub kind: Kind,
    /// When a window is hot, for kinds that count.
    pub condition: Condition,
    /// When a window is hot, for kinds that take numbers.
    pub limits: Condition<i128>,
    /// Most sample events of an alert.
    pub samples: usize,
    /// Least time between two revisions of an alert, in milliseconds.
    pub revise_ms: i64,
    /// Most entries that a group holds exactly.
    pub entries_max: usize,
}

impl Spec {
    /// The engine's view of a correlation.
    pub fn new(correlation: &Correlation, revise_ms: u64, entries_max: usize) -> Spec {
        Spec {
            timespan_ms: correlation.timespan_ms.max(1),
            kind: correlation.kind,
            condition: correlation.condition,
            limits: correlation.limits,
            samples: correlation.info.samples,
            revise_ms: i64::try_from(revise_ms).unwrap_or(i64::MAX),
            entries_max: entries_max.clamp(1, ENTRIES_MAX),
        }
    }

    /// The open end of the window that closes at `time`: entries must be later than this.
    pub(crate) fn before(&self, time: i64) -> i64 {
        time.saturating_sub(self.timespan_ms)
    }

    /// When an entry of `time` has left every window.
    pub(crate) fn after(&self, time: i64) -> i64 {
        time.saturating_add(self.timespan_ms)
    }

    /// Whether a hot time can be told as soon as it appears; else only the watermark decides.
    pub(crate) fn fires_at_once(&self) -> bool {
        !self.kind.takes_numbers() && self.condition.fires_at_once()
    }

    /// The least measure that could be hot; 0 when there is no such bound.
    pub(crate) fn measure_min(&self) -> u64 {
        let above = self.condition.gt.map_or(0, |n| n.saturating_add(1));
        above.max(self.condition.gte.unwrap_or(0)).max(self.condition.eq.unwrap_or(0))
    }
}

/// One revision of an episode, to be made into an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The event that made the first time hot; with rule and group it makes the alert's id.
    pub firing: Mark,
    /// The first time that is hot, in milliseconds.
    pub hot: i64,
    /// 1 at the first firing, then growing by one.
    pub number: u64,
    /// What comes after.
    pub phase: Phase,
    /// The caller's time at the first firing, in milliseconds.
    pub fired_at: i64,
    /// First event by (time, id).
    pub first: Mark,
    /// Last event by (time, id).
    pub last: Mark,
    /// Distinct (time, id).
    pub count: u64,
    /// Most ids in one hot window.
    pub peak: u64,
    /// The first events by (time, id), up to [`ORIGINS_MAX`]; the first [`Spec::samples`] with their bodies.
    pub events: Arc<Vec<Kept>>,
    /// How often values occur, where the rule's summary counts them.
    pub tops: Tops,
    /// Whether the group held more than it may, so that counts may be off.
    pub approximate: bool,
}

/// What comes after a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// More may come.
    Open,
    /// It was the last.
    Closed,
    /// It was the last: the episode of this firing event goes on with its events.
    Merged(Mark),
}

/// One of the first events of an episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Time and id.
    pub mark: Mark,
    /// What the alert says of it, if anything is known.
    pub sample: Option<Arc<Sample>>,
}
