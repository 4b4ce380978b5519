//! One group: its entries, its open episodes, and the algorithm of windows.
//!
//! In: entries that are not late, watermarks, the caller's time. Out:
//! revisions. Never: whether an entry is late; the store knows the watermark.
//!
//! The result does not depend on the order in which entries arrive, nor on
//! how often the watermark is told in between: [`Group::next_due`] says when
//! telling it makes a difference.

use std::fmt;

use model::ids::EventId;

use crate::window::entries::{Filter, Row, Sweep, after, count_doubles, fold, position, reserve_one};
use crate::window::episode::{Episode, Live, drop_body};
use crate::window::{BEGINNING, Entry, Mark, ORIGINS_MAX, Phase, Revision, Spec};

/// Most bytes of events that a group keeps as possible samples; of further events only the origin is kept.
pub const BODY_BYTES_MAX: u32 = 8 << 20;

/// What is kept of one group. Small while nothing is hot, for there are many.
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) entries: Vec<Entry>,
    pub(crate) more: Option<Box<More>>,
    /// Watermark up to which everything is decided and forgotten.
    pub(crate) at: i64,
    /// Entries whose id an earlier one has.
    doubles: u32,
    /// Bytes of bodies, never too low.
    body_bytes: u32,
}

/// What only few groups have.
#[derive(Clone, Default)]
pub(crate) struct More {
    /// Open episodes in order of firing.
    pub(crate) episodes: Vec<Episode>,
    /// Folded entries, by time.
    pub(crate) rows: Vec<Row>,
    /// Whether counts may be off.
    pub(crate) approximate: bool,
    /// Not stored; fills itself.
    pub(crate) filter: Filter,
}

/// Without the filter, which is no part of the state.
impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let More { episodes, rows, approximate, filter: _ } = self;
        f.debug_struct("More")
            .field("episodes", episodes)
            .field("rows", rows)
            .field("approximate", approximate)
            .finish()
    }
}

impl Group {
    /// An empty group at a watermark.
    pub fn new(watermark: i64) -> Group {
        Group::restore(watermark, Vec::new(), More::default())
    }

    /// A group of stored parts.
    pub(crate) fn restore(at: i64, entries: Vec<Entry>, more: More) -> Group {
        let is_plain = more.episodes.is_empty() && more.rows.is_empty() && !more.approximate;
        let more = (!is_plain).then(|| Box::new(more));
        let mut group = Group { doubles: count_doubles(&entries), entries, more, at, body_bytes: 0 };
        group.count_body_bytes();
        group
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.more.is_none()
    }

    /// Adds an entry at or above the watermark. False when an equal one is there.
    pub fn insert(&mut self, spec: &Spec, mut entry: Entry, now: i64, out: &mut Vec<Revision>) -> bool {
        let Err(at) = position(&self.entries, &entry) else { return false };
        let mark = entry.mark();
        self.bound_body(&mut entry);
        if self.has_id(entry.id) {
            self.doubles = self.doubles.saturating_add(1);
        }
        reserve_one(&mut self.entries);
        self.entries.insert(at, entry);
        if spec.condition.fires_at_once() {
            for (hot, measure) in self.hot_times(spec, at, spec.after(mark.time)) {
                self.heat(spec, hot, mark, measure, now, out);
            }
        }
        if self.more.is_some() {
            self.note_arrival(spec, mark.time);
        }
        self.bound_entries(spec);
        self.publish(spec, now, out);
        true
    }

    /// Moves the watermark: decides, forgets and closes.
    pub fn advance(&mut self, spec: &Spec, watermark: i64, now: i64, out: &mut Vec<Revision>) {
        if watermark <= self.at {
            return;
        }
        let old = std::mem::replace(&mut self.at, watermark);
        if !spec.condition.fires_at_once() {
            self.decide(spec, old, watermark, now, out);
        }
        self.forget(spec, spec.before(watermark));
        self.close(spec, watermark, now, out);
        self.publish(spec, now, out);
    }

    /// Makes the revisions whose time has come.
    pub fn publish(&mut self, spec: &Spec, now: i64, out: &mut Vec<Revision>) {
        let Some(more) = self.more.as_deref_mut() else { return };
        let live = live(spec, &self.entries, &more.rows, more.approximate);
        for episode in more.episodes.iter_mut().filter(|episode| episode.changed) {
            if revision_due(episode, spec).is_none_or(|due| due <= now || now < episode.revised_at) {
                out.push(episode.revise(&live, Phase::Open, now));
            }
        }
    }

    /// Closes every episode and forgets everything: the rule is no longer in force.
    pub fn retire(&mut self, spec: &Spec, now: i64, out: &mut Vec<Revision>) {
        if let Some(mut more) = self.more.take() {
            let live = live(spec, &self.entries, &more.rows, more.approximate);
            for episode in &mut more.episodes {
                out.push(episode.revise(&live, Phase::Closed, now));
            }
        }
        self.entries = Vec::new();
        self.doubles = 0;
        self.body_bytes = 0;
    }

    /// The lowest watermark at which [`Group::advance`] does something.
    pub fn next_due(&self, spec: &Spec) -> Option<i64> {
        let mut due = self.entries.first().map(|entry| spec.after(entry.time));
        let mut sooner = |time: i64| due = Some(due.map_or(time, |old| old.min(time)));
        if !spec.condition.fires_at_once()
            && let Some(entry) = self.entries.get(after(&self.entries, self.at.saturating_sub(1)))
        {
            sooner(entry.time.saturating_add(1));
        }
        if let Some(more) = self.more.as_deref() {
            more.episodes.iter().for_each(|episode| sooner(spec.after(episode.last_hot)));
            more.rows.iter().take(1).for_each(|row| sooner(spec.after(row.time())));
        }
        due
    }

    /// The caller's time at which [`Group::publish`] does something.
    pub fn next_revision(&self, spec: &Spec) -> Option<i64> {
        let episodes = self.more.as_deref()?.episodes.iter();
        episodes.filter(|episode| episode.changed).filter_map(|episode| revision_due(episode, spec)).min()
    }

    /// Time and id of each event whose body is kept.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = (Mark, &std::sync::Arc<crate::window::Sample>)> {
        let kept = self.more.iter().flat_map(|more| &more.episodes).flat_map(|episode| &episode.kept);
        let kept = kept.filter_map(|kept| Some((kept.mark, kept.sample.as_ref()?)));
        let live = self.entries.iter().filter_map(|entry| Some((entry.mark(), entry.sample.as_ref()?)));
        kept.chain(live).filter(|(_, sample)| !sample.body.is_empty())
    }

    fn has_id(&mut self, id: EventId) -> bool {
        // A group that is hot or folded is likely to be large, and has room for a filter.
        let is_filtered = match self.more.as_deref_mut() {
            Some(more) => !more.filter.may_have(&self.entries, id),
            None => false,
        };
        !is_filtered && self.entries.iter().any(|other| other.id == id)
    }

    /// Hot times with their measures, from the entry at `from` to before `end`, ascending.
    fn hot_times(&self, spec: &Spec, from: usize, end: i64) -> Vec<(i64, u64)> {
        let mut hot = Vec::new();
        let rows = self.more.as_deref().map_or(&[][..], |more| &more.rows);
        let most = rows.iter().fold(self.entries.len() as u64, |sum, row| sum.saturating_add(row.count));
        let tail = self.entries.get(from..).unwrap_or_default();
        let Some(first) = tail.first().filter(|_| most >= spec.measure_min()) else { return hot };
        let mut sweep = Sweep::new(&self.entries, self.doubles, rows, spec.timespan_ms, first.time);
        let mut previous = None;
        for time in tail.iter().map(|entry| entry.time).take_while(|&time| time < end) {
            if previous.replace(time) == Some(time) {
                continue;
            }
            let measure = sweep.measure(time);
            if spec.condition.holds(measure) {
                hot.push((time, measure));
            }
        }
        hot
    }

    /// A time is hot: an episode begins, grows, or is joined with others.
    fn heat(&mut self, spec: &Spec, hot: i64, firing: Mark, measure: u64, now: i64, out: &mut Vec<Revision>) {
        let more = self.more.get_or_insert_default();
        let mut since = hot;
        let Some(first) = more.episodes.iter().position(|episode| episode.adjoins(hot, spec)) else {
            let mut episode = Episode::new(firing, hot, now);
            episode.peak = measure;
            trim_bodies(&mut self.entries, &episode, BEGINNING, spec);
            more.episodes.push(episode);
            return;
        };
        let joined = more.episodes.split_off(first.saturating_add(1));
        let Some(mut oldest) = more.episodes.pop() else { return };
        let mut others = Vec::with_capacity(joined.len());
        for mut episode in joined {
            if !episode.adjoins(hot, spec) {
                others.push(episode);
                continue;
            }
            since = BEGINNING;
            // One that was never published has nothing to take back.
            if episode.revision > 0 {
                let live = live(spec, &self.entries, &more.rows, more.approximate);
                out.push(episode.revise(&live, Phase::Merged(oldest.firing), now));
            }
            oldest.fold(episode, spec);
        }
        if hot < oldest.first_hot {
            since = BEGINNING;
        }
        let grew = oldest.stretch(hot, hot) || measure > oldest.peak;
        oldest.changed |= grew;
        oldest.peak = oldest.peak.max(measure);
        if grew || since == BEGINNING {
            trim_bodies(&mut self.entries, &oldest, since, spec);
        }
        more.episodes.push(oldest);
        more.episodes.append(&mut others);
    }

    /// An entry of this time came: episodes that cover it have changed.
    fn note_arrival(&mut self, spec: &Spec, time: i64) {
        let Some(more) = self.more.as_deref_mut() else { return };
        for episode in more.episodes.iter_mut().filter(|episode| episode.covers(time, spec)) {
            episode.changed = true;
            trim_bodies(&mut self.entries, episode, time, spec);
        }
    }

    /// Conditions that only the watermark can decide, for times in `[old, watermark)`.
    fn decide(&mut self, spec: &Spec, old: i64, watermark: i64, now: i64, out: &mut Vec<Revision>) {
        let from = after(&self.entries, old.saturating_sub(1));
        for (hot, measure) in self.hot_times(spec, from, watermark) {
            let smallest = self.entries.get(after(&self.entries, hot.saturating_sub(1))).map(Entry::mark);
            let Some(firing) = smallest else { continue };
            self.heat(spec, hot, firing, measure, now, out);
        }
    }

    /// Entries up to `cut` leave; episodes that cover them count them first.
    fn forget(&mut self, spec: &Spec, cut: i64) {
        let leaving = after(&self.entries, cut);
        let doubles = self.doubles;
        if let Some(more) = self.more.as_deref_mut() {
            for entry in self.entries.iter().take(leaving) {
                if let Some(episode) =
                    more.episodes.iter_mut().find(|episode| episode.covers(entry.time, spec))
                {
                    episode.take(entry.mark(), entry.sample.as_ref(), spec);
                }
            }
            let episodes = &mut more.episodes;
            more.rows.retain(|row| {
                if row.time() <= cut
                    && let Some(episode) =
                        episodes.iter_mut().find(|episode| episode.covers(row.time(), spec))
                {
                    episode.take_row(row);
                }
                row.time() > cut
            });
        }
        self.entries.drain(..leaving);
        self.after_removal(leaving, doubles);
    }

    fn after_removal(&mut self, removed: usize, doubles: u32) {
        if removed == 0 {
            return;
        }
        if doubles > 0 {
            self.doubles = count_doubles(&self.entries);
        }
        if self.body_bytes > BODY_BYTES_MAX / 2 {
            self.count_body_bytes();
        }
        if self.entries.is_empty() {
            self.entries = Vec::new();
            self.body_bytes = 0;
        } else if self.entries.capacity() > 16 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len().saturating_mul(2));
        }
    }

    fn close(&mut self, spec: &Spec, watermark: i64, now: i64, out: &mut Vec<Revision>) {
        let Some(more) = self.more.as_deref_mut() else { return };
        let live = live(spec, &self.entries, &more.rows, more.approximate);
        more.episodes.retain_mut(|episode| {
            let open = watermark < spec.after(episode.last_hot);
            if !open {
                out.push(episode.revise(&live, Phase::Closed, now));
            }
            open
        });
        if more.episodes.is_empty() && more.rows.is_empty() {
            self.more = None;
        }
    }

    /// Folds entries beyond the cap into rows.
    fn bound_entries(&mut self, spec: &Spec) {
        if self.entries.len() <= spec.entries_max {
            return;
        }
        let below = after(&self.entries, self.at.saturating_sub(1));
        self.fold(spec, below);
        if self.entries.len() > spec.entries_max {
            let excess = self.entries.len().saturating_sub(spec.entries_max);
            // Some more than needed, so that the next arrivals do not fold again.
            self.fold(spec, excess.saturating_add(spec.entries_max / 8));
            self.more.get_or_insert_default().approximate = true;
        }
    }

    fn fold(&mut self, spec: &Spec, count: usize) {
        if count == 0 {
            return;
        }
        let doubles = self.doubles;
        let more = self.more.get_or_insert_default();
        let (folded, joined) = fold(&mut self.entries, count, &mut more.rows, spec.entries_max);
        more.approximate |= joined;
        for entry in &folded {
            if let Some(episode) = more.episodes.iter_mut().find(|episode| episode.covers(entry.time, spec)) {
                episode.keep(entry.mark(), entry.sample.as_ref(), spec);
            }
        }
        self.after_removal(folded.len(), doubles);
    }

    fn bound_body(&mut self, entry: &mut Entry) {
        let bytes = entry.sample.as_ref().map_or(0, |sample| sample.body.len());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.body_bytes.saturating_add(bytes) > BODY_BYTES_MAX {
            self.count_body_bytes();
        }
        if self.body_bytes.saturating_add(bytes) > BODY_BYTES_MAX {
            drop_body(&mut entry.sample);
        } else {
            self.body_bytes = self.body_bytes.saturating_add(bytes);
        }
    }

    fn count_body_bytes(&mut self) {
        let bytes =
            self.entries.iter().filter_map(|entry| entry.sample.as_ref()).map(|sample| sample.body.len());
        self.body_bytes = u32::try_from(bytes.sum::<usize>()).unwrap_or(u32::MAX);
    }
}

fn live<'a>(spec: &'a Spec, entries: &'a [Entry], rows: &'a [Row], approximate: bool) -> Live<'a> {
    Live { spec, entries, rows, approximate }
}

/// When the next revision may be made; `None` for at once.
fn revision_due(episode: &Episode, spec: &Spec) -> Option<i64> {
    (episode.revision > 0).then(|| episode.revised_at.saturating_add(spec.revise_ms))
}

/// Of a covered entry that can no longer be among the first, only what can still be shown is kept. Intervals only
/// grow, so an entry's rank in its episode never falls. `since`: nothing changed for entries before this time.
fn trim_bodies(entries: &mut [Entry], episode: &Episode, since: i64, spec: &Spec) {
    let from = after(entries, spec.before(episode.first_hot));
    let to = after(entries, episode.last_hot);
    let start = after(entries, since.saturating_sub(1)).max(from);
    let first_rank = episode.kept.len().saturating_add(start.saturating_sub(from));
    for (rank, entry) in (first_rank..).zip(entries.get_mut(start..to).unwrap_or_default()) {
        if rank >= ORIGINS_MAX {
            entry.sample = None;
        } else if rank >= spec.samples {
            drop_body(&mut entry.sample);
        }
    }
}
