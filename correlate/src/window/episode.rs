//! An episode: a maximal run of hot times, as aggregates.
//!
//! In: hot times, and entries that the group forgets. Out: revisions. Never:
//! whether a time is hot; the group decides that.

use std::sync::Arc;

use crate::window::entries::{Row, between};
use crate::window::tops::Tops;
use crate::window::{Entry, Kept, Mark, ORIGINS_MAX, Phase, Revision, Sample, Spec};

/// The aggregates of an episode. What is still among the group's entries is not in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The event that made the first time hot.
    pub(crate) firing: Mark,
    /// Lowest hot time, in milliseconds.
    pub(crate) first_hot: i64,
    /// Highest hot time, in milliseconds.
    pub(crate) last_hot: i64,
    /// Forgotten events: distinct (time, id).
    pub(crate) count: u64,
    /// First forgotten event.
    pub(crate) first: Option<Mark>,
    /// Last forgotten event.
    pub(crate) last: Option<Mark>,
    /// The first forgotten events, sorted, at most [`ORIGINS_MAX`]. Shared with images and revisions.
    pub(crate) kept: Arc<Vec<Kept>>,
    /// Most ids in one hot window.
    pub(crate) peak: u64,
    /// Number of the last revision; 0 before the first.
    pub(crate) revision: u64,
    /// Caller's time of the first revision, in milliseconds.
    pub(crate) fired_at: i64,
    /// Caller's time of the last revision, in milliseconds.
    pub(crate) revised_at: i64,
    /// Whether it changed since the last revision.
    pub(crate) changed: bool,
    /// Values of forgotten and of folded events. Shared with images.
    pub(crate) tops: Arc<Tops>,
}

impl Episode {
    /// An episode of one hot time.
    pub(crate) fn new(firing: Mark, hot: i64, now: i64) -> Episode {
        Episode {
            firing,
            first_hot: hot,
            last_hot: hot,
            count: 0,
            first: None,
            last: None,
            kept: Arc::default(),
            peak: 0,
            revision: 0,
            fired_at: now,
            revised_at: now,
            changed: true,
            tops: Arc::default(),
        }
    }

    /// Whether a hot time belongs to it: its interval shares an event with one of the episode's.
    pub(crate) fn adjoins(&self, hot: i64, spec: &Spec) -> bool {
        spec.before(self.first_hot) < hot && hot < spec.after(self.last_hot)
    }

    /// Whether an event of this time is one of its events.
    pub(crate) fn covers(&self, time: i64, spec: &Spec) -> bool {
        spec.before(self.first_hot) < time && time <= self.last_hot
    }

    /// Makes the interval reach over another; true when it grew.
    pub(crate) fn stretch(&mut self, first_hot: i64, last_hot: i64) -> bool {
        let before = (self.first_hot, self.last_hot);
        self.first_hot = self.first_hot.min(first_hot);
        self.last_hot = self.last_hot.max(last_hot);
        before != (self.first_hot, self.last_hot)
    }

    /// Counts an event, or several, that the group forgets.
    pub(crate) fn count(&mut self, count: u64, first: Mark, last: Mark) {
        self.count = self.count.saturating_add(count);
        self.first = Some(self.first.map_or(first, |old| old.min(first)));
        self.last = Some(self.last.map_or(last, |old| old.max(last)));
    }

    /// Counts the values of an event that leaves the entries.
    pub(crate) fn count_values(&mut self, entry: &Entry) {
        if let Some(sample) = entry.sample.as_ref().filter(|sample| !sample.values.is_empty()) {
            Arc::make_mut(&mut self.tops).add(&sample.values, entry.mark());
        }
    }

    /// Keeps an event's sample and origin if it is among the first. Returns the event that is not, any more or at all.
    pub(crate) fn keep(&mut self, mark: Mark, sample: Option<&Arc<Sample>>, spec: &Spec) -> Option<Mark> {
        let is_last = self.kept.last().is_none_or(|last| last.mark < mark);
        if is_last && self.kept.len() >= ORIGINS_MAX {
            return Some(mark);
        }
        let at = if is_last {
            self.kept.len()
        } else {
            match self.kept.binary_search_by(|kept| kept.mark.cmp(&mark)) {
                Ok(_) => return None,
                Err(at) => at,
            }
        };
        let kept = Arc::make_mut(&mut self.kept);
        kept.insert(at, Kept { mark, sample: sample.cloned() });
        // The one that moved to the first place without a body, or the new one itself.
        if let Some(bare) = kept.get_mut(at.max(spec.samples)) {
            drop_body(&mut bare.sample);
        }
        if kept.len() > ORIGINS_MAX { kept.pop().map(|last| last.mark) } else { None }
    }

    /// Takes over everything of another. Returns the events that are not among the first any more.
    pub(crate) fn fold(&mut self, other: Episode, spec: &Spec) -> Vec<Mark> {
        if let (Some(first), Some(last)) = (other.first, other.last) {
            self.count(other.count, first, last);
        }
        self.stretch(other.first_hot, other.last_hot);
        self.peak = self.peak.max(other.peak);
        self.changed = true;
        if !other.tops.is_empty() {
            Arc::make_mut(&mut self.tops).join(&other.tops);
        }
        other.kept.iter().filter_map(|kept| self.keep(kept.mark, kept.sample.as_ref(), spec)).collect()
    }

    /// The next revision over aggregates, rows and entries.
    pub(crate) fn revise(&mut self, live: &Live<'_>, phase: Phase, now: i64) -> Revision {
        if self.revision == 0 {
            self.fired_at = now;
        }
        self.revision = self.revision.saturating_add(1);
        self.revised_at = now;
        self.changed = false;
        let open = live.spec.before(self.first_hot);
        let entries = between(live.entries, open, self.last_hot);
        let mut whole = Bounds { count: self.count, first: self.first, last: self.last };
        for row in live.rows.iter().filter(|row| open < row.time() && row.time() <= self.last_hot) {
            whole.add(row.count, row.first, row.last);
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            whole.add(entries.len() as u64, first.mark(), last.mark());
        }
        let tops = self.all_tops(entries);
        Revision {
            firing: self.firing,
            hot: self.first_hot,
            number: self.revision,
            phase,
            fired_at: self.fired_at,
            first: whole.first.unwrap_or(self.firing),
            last: whole.last.unwrap_or(self.firing),
            count: whole.count,
            peak: self.peak,
            events: self.first_events(entries),
            approximate: live.approximate || tops.is_approximate(),
            tops,
        }
    }

    /// With the values of entries. Where the first and the last have none, the rule counts none.
    fn all_tops(&self, entries: &[Entry]) -> Tops {
        let mut tops = Tops::clone(&self.tops);
        let values = |entry: &Entry| entry.sample.as_ref().is_some_and(|sample| !sample.values.is_empty());
        if !tops.is_empty() || entries.first().is_some_and(values) || entries.last().is_some_and(values) {
            for entry in entries {
                if let Some(sample) = &entry.sample {
                    tops.add(&sample.values, entry.mark());
                }
            }
        }
        tops
    }

    fn first_events(&self, entries: &[Entry]) -> Arc<Vec<Kept>> {
        // Kept events are older than entries, but for those of folded rows that were kept ahead of time.
        let ahead =
            self.kept.last().zip(entries.first()).is_some_and(|(kept, entry)| kept.mark >= entry.mark());
        if !ahead && (entries.is_empty() || self.kept.len() >= ORIGINS_MAX) {
            return Arc::clone(&self.kept);
        }
        let room = if ahead { entries.len() } else { ORIGINS_MAX.saturating_sub(self.kept.len()) };
        let mut events = Vec::with_capacity(self.kept.len().saturating_add(room.min(entries.len())));
        events.extend_from_slice(&self.kept);
        let kept = |entry: &Entry| Kept { mark: entry.mark(), sample: entry.sample.clone() };
        events.extend(entries.iter().take(room).map(kept));
        if ahead {
            events.sort_by_key(|kept| kept.mark);
            events.dedup_by_key(|kept| kept.mark);
            events.truncate(ORIGINS_MAX);
        }
        Arc::new(events)
    }
}

/// What a group still has of its matches.
pub(crate) struct Live<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) entries: &'a [Entry],
    pub(crate) rows: &'a [Row],
    pub(crate) approximate: bool,
}

struct Bounds {
    count: u64,
    first: Option<Mark>,
    last: Option<Mark>,
}

impl Bounds {
    fn add(&mut self, count: u64, first: Mark, last: Mark) {
        self.count = self.count.saturating_add(count);
        self.first = Some(self.first.map_or(first, |old| old.min(first)));
        self.last = Some(self.last.map_or(last, |old| old.max(last)));
    }
}

/// Leaves the origin only.
pub(crate) fn drop_body(sample: &mut Option<Arc<Sample>>) {
    if let Some(with_body) = sample.as_ref().filter(|sample| !sample.body.is_empty()) {
        *sample = Some(Arc::new(with_body.without_body()));
    }
}
