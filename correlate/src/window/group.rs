//! One group: its entries, its open episodes, and the algorithm of windows.
//!
//! In: entries that are not late, watermarks, the caller's time. Out:
//! revisions; the journal of what changed. Never: whether an entry is late;
//! the store knows the watermark.
//!
//! The result does not depend on the order in which entries arrive, nor on
//! how often the watermark is told in between: [`Group::next_due`] says when
//! telling it makes a difference.

use std::fmt;

use model::ids::EventId;

use crate::measured::Fact;
use crate::window::entries::{Filter, Row, Sweep, after, count_doubles, position, reserve_one};
use crate::window::episode::{Episode, Live};
use crate::window::folding::BODY_BYTES_MAX;
use crate::window::journal::{Change, Image, Journal};
use crate::window::trim::{Trim, trim_bodies};
use crate::window::{BEGINNING, Entry, Mark, Phase, Revision, Spec};

/// What is kept of one group. Small while nothing is hot, for there are many.
#[derive(Debug)]
pub struct Group {
    pub(crate) entries: Vec<Entry>,
    pub(crate) more: Option<Box<More>>,
    /// Watermark up to which everything is decided, and forgotten unless [`More::forgotten`] says otherwise.
    pub(crate) at: i64,
    /// Entries whose id an earlier one has.
    pub(super) doubles: u32,
    /// Bytes of bodies, never too low.
    pub(super) body_bytes: u32,
}

/// What only few groups have.
pub(crate) struct More {
    /// Open episodes in order of firing.
    pub(crate) episodes: Vec<Episode>,
    /// Folded entries, by time.
    pub(crate) rows: Vec<Row>,
    /// Whether counts may be off.
    pub(crate) approximate: bool,
    /// Entries up to this time are forgotten. It may lag behind the watermark: large groups forget many at once.
    pub(crate) forgotten: i64,
    /// Not stored; fills itself.
    filter: Filter,
}

/// What a step of a group works with.
pub struct Step<'a> {
    /// The rule.
    pub spec: &'a Spec,
    /// The caller's time, in milliseconds.
    pub now: i64,
    /// Where revisions go.
    pub out: &'a mut Vec<Revision>,
    /// Where changes are noted; `None` when they are final.
    pub journal: Option<&'a mut Journal>,
}

impl Step<'_> {
    pub(super) fn note(&mut self, change: Change) {
        if let Some(journal) = &mut self.journal {
            journal.note(change);
        }
    }
}

impl More {
    pub(super) fn new(forgotten: i64) -> Box<More> {
        let (episodes, rows, filter) = (Vec::new(), Vec::new(), Filter::default());
        Box::new(More { episodes, rows, approximate: false, forgotten, filter })
    }
}

/// Without the filter, which is no part of the state.
impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let More { episodes, rows, approximate, forgotten, filter: _ } = self;
        f.debug_struct("More")
            .field("episodes", episodes)
            .field("rows", rows)
            .field("approximate", approximate)
            .field("forgotten", forgotten)
            .finish()
    }
}

impl Group {
    /// An empty group at a watermark.
    pub fn new(watermark: i64) -> Group {
        Group { entries: Vec::new(), more: None, at: watermark, doubles: 0, body_bytes: 0 }
    }

    /// A group of stored parts. Entries are sorted by time and id.
    pub(crate) fn restore(spec: &Spec, mut entries: Vec<Entry>, image: Image) -> Group {
        for episode in &image.episodes {
            trim_bodies(&mut entries, episode, BEGINNING, &mut Trim { spec, journal: None });
        }
        let doubles = count_doubles(&entries);
        let mut group = Group { entries, more: None, at: image.at, doubles, body_bytes: 0 };
        group.set_more(image.episodes, image.rows, image.approximate, image.forgotten);
        group.count_body_bytes();
        group
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.more.is_none()
    }

    /// The small parts as they are, to take later changes back.
    pub(crate) fn image(&self) -> Image {
        let more = self.more.as_deref();
        Image {
            at: self.at,
            doubles: self.doubles,
            body_bytes: self.body_bytes,
            episodes: more.map(|more| more.episodes.clone()).unwrap_or_default(),
            rows: more.map(|more| more.rows.clone()).unwrap_or_default(),
            approximate: more.is_some_and(|more| more.approximate),
            forgotten: more.map_or(BEGINNING, |more| more.forgotten),
        }
    }

    /// Takes back every change since the image.
    pub(crate) fn undo(&mut self, image: Image, changes: Vec<Change>) {
        for change in changes.into_iter().rev() {
            match change {
                Change::Inserted(mark) => {
                    if let Ok(at) = position(&self.entries, mark) {
                        self.entries.remove(at);
                    }
                }
                Change::Removed(entry) => {
                    if let Err(at) = position(&self.entries, entry.mark()) {
                        self.entries.insert(at, entry);
                    }
                }
                Change::Trimmed(mark, sample) => {
                    if let Ok(at) = position(&self.entries, mark)
                        && let Some(entry) = self.entries.get_mut(at)
                    {
                        entry.sample = sample;
                    }
                }
                Change::Joined(mark, fact) => {
                    if let Ok(at) = position(&self.entries, mark)
                        && let Some(entry) = self.entries.get_mut(at)
                    {
                        entry.fact = fact;
                    }
                }
                Change::Left(_) => {}
            }
        }
        (self.at, self.doubles, self.body_bytes) = (image.at, image.doubles, image.body_bytes);
        self.set_more(image.episodes, image.rows, image.approximate, image.forgotten);
    }

    fn set_more(&mut self, episodes: Vec<Episode>, rows: Vec<Row>, approximate: bool, forgotten: i64) {
        let is_needed = !episodes.is_empty() || !rows.is_empty();
        let filter = Filter::default();
        self.more = is_needed.then(|| Box::new(More { episodes, rows, approximate, forgotten, filter }));
    }

    /// Adds an entry at or above the watermark. False when an equal one is there.
    pub fn insert(&mut self, mut entry: Entry, step: &mut Step<'_>) -> bool {
        let mark = entry.mark();
        let at = match position(&self.entries, mark) {
            Ok(at) => return self.join(at, entry.fact, step),
            Err(at) => at,
        };
        self.bound_body(&mut entry);
        if self.has_id(entry.id) {
            self.doubles = self.doubles.saturating_add(1);
        }
        reserve_one(&mut self.entries);
        self.entries.insert(at, entry);
        step.note(Change::Inserted(mark));
        self.arrived(at, mark, step);
        self.bound_entries(step);
        self.publish(step);
        true
    }

    /// An equal entry: where it matters which rules matched, it may name more of them.
    fn join(&mut self, at: usize, fact: Fact, step: &mut Step<'_>) -> bool {
        let Some(entry) = self.entries.get_mut(at).filter(|_| step.spec.kind.tells_rules_apart()) else {
            return false;
        };
        let (mark, old) = (entry.mark(), entry.fact);
        if old | fact == old {
            return false;
        }
        entry.fact |= fact;
        step.note(Change::Joined(mark, old));
        self.arrived(at, mark, step);
        self.publish(step);
        true
    }

    /// The times that an entry may have made hot, and the episodes that it belongs to.
    fn arrived(&mut self, at: usize, mark: Mark, step: &mut Step<'_>) {
        if step.spec.fires_at_once() {
            for (hot, measure) in self.hot_times(step.spec, at, step.spec.after(mark.time)) {
                self.heat(hot, mark, measure, step);
            }
        }
        if self.more.is_some() {
            self.note_arrival(mark.time, step);
        }
    }

    /// Moves the watermark: decides, forgets and closes.
    pub fn advance(&mut self, watermark: i64, step: &mut Step<'_>) {
        if watermark <= self.at {
            return;
        }
        let old = std::mem::replace(&mut self.at, watermark);
        if !step.spec.fires_at_once() {
            self.decide(old, watermark, step);
        }
        let cut = step.spec.before(watermark);
        self.forget(cut, step);
        self.close(watermark, step);
        if self.more.is_none() {
            self.forget(cut, step);
        }
        self.publish(step);
    }

    /// Makes the revisions whose time has come.
    pub fn publish(&mut self, step: &mut Step<'_>) {
        let Some(more) = self.more.as_deref_mut() else { return };
        let live = live(step.spec, &self.entries, &more.rows, more.approximate);
        for episode in more.episodes.iter_mut().filter(|episode| episode.changed) {
            let due = revision_due(episode, step.spec);
            if due.is_none_or(|due| due <= step.now || step.now < episode.revised_at) {
                step.out.push(episode.revise(&live, Phase::Open, step.now));
            }
        }
    }

    /// Closes every episode and forgets everything: the rule is no longer in force.
    pub fn retire(&mut self, step: &mut Step<'_>) {
        self.close(i64::MAX, step);
        self.more = None;
        for entry in std::mem::take(&mut self.entries) {
            step.note(Change::Removed(entry));
        }
        self.doubles = 0;
        self.body_bytes = 0;
    }

    /// The lowest watermark at which [`Group::advance`] does something.
    pub fn next_due(&self, spec: &Spec) -> Option<i64> {
        let mut due = self.entries.get(self.patience()).map(|entry| spec.after(entry.time));
        let mut sooner = |time: i64| due = Some(due.map_or(time, |old| old.min(time)));
        if !spec.fires_at_once()
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

    fn has_id(&mut self, id: EventId) -> bool {
        // A group that is hot or folded is likely to be large, and has room for a filter.
        let is_new = match self.more.as_deref_mut() {
            Some(more) => !more.filter.may_have(&self.entries, id),
            None => false,
        };
        !is_new && self.entries.iter().any(|other| other.id == id)
    }

    /// Hot times with their measures, from the entry at `from` to before `end`, ascending.
    fn hot_times(&self, spec: &Spec, from: usize, end: i64) -> Vec<(i64, u64)> {
        let mut hot = Vec::new();
        let rows = self.more.as_deref().map_or(&[][..], |more| &more.rows);
        let most = self.measure_max(rows, spec);
        let tail = self.entries.get(from..).unwrap_or_default();
        let Some(first) = tail.first().filter(|_| most >= spec.measure_min()) else { return hot };
        let mut sweep = Sweep::new(&self.entries, self.doubles, rows, spec, first.time);
        let mut previous = None;
        for time in tail.iter().map(|entry| entry.time).take_while(|&time| time < end) {
            if previous.replace(time) == Some(time) {
                continue;
            }
            let measure = sweep.measure(time);
            if sweep.is_hot(spec, measure) {
                hot.push((time, measure));
            }
        }
        hot
    }

    /// What no measure can exceed.
    fn measure_max(&self, rows: &[Row], spec: &Spec) -> u64 {
        if spec.kind.takes_numbers() {
            return u64::MAX;
        }
        if spec.kind.tells_rules_apart() {
            let rules = self.entries.iter().fold(0, |rules: Fact, entry| rules | entry.fact);
            return u64::from(rules.count_ones());
        }
        rows.iter().fold(self.entries.len() as u64, |sum, row| sum.saturating_add(row.count))
    }

    /// A time is hot: an episode begins, grows, or is joined with others.
    fn heat(&mut self, hot: i64, firing: Mark, measure: u64, step: &mut Step<'_>) {
        let spec = step.spec;
        let forgotten = self.forgotten(spec);
        let more = self.more.get_or_insert_with(|| More::new(forgotten));
        let Some(first) = more.episodes.iter().position(|episode| episode.adjoins(hot, spec)) else {
            let mut episode = Episode::new(firing, hot, step.now);
            episode.peak = measure;
            trim_bodies(&mut self.entries, &episode, BEGINNING, &mut Trim::of(step));
            more.episodes.push(episode);
            return;
        };
        let joined = more.episodes.split_off(first.saturating_add(1));
        let Some(mut oldest) = more.episodes.pop() else { return };
        let mut others = Vec::with_capacity(joined.len());
        // Entries between the old end and the new one are covered only now.
        let mut since = hot.min(oldest.last_hot.saturating_add(1));
        for mut episode in joined {
            if !episode.adjoins(hot, spec) {
                others.push(episode);
                continue;
            }
            since = BEGINNING;
            // One that was never published has nothing to take back.
            if episode.revision > 0 {
                let live = live(spec, &self.entries, &more.rows, more.approximate);
                step.out.push(episode.revise(&live, Phase::Merged(oldest.firing), step.now));
            }
            oldest.fold(episode, spec).into_iter().for_each(|mark| step.note(Change::Left(mark)));
        }
        if hot < oldest.first_hot {
            since = BEGINNING;
        }
        let grew = oldest.stretch(hot, hot) || measure > oldest.peak;
        oldest.changed |= grew;
        oldest.peak = oldest.peak.max(measure);
        if grew || since == BEGINNING {
            trim_bodies(&mut self.entries, &oldest, since, &mut Trim::of(step));
        }
        more.episodes.push(oldest);
        more.episodes.append(&mut others);
    }

    /// An entry of this time came: episodes that cover it have changed.
    fn note_arrival(&mut self, time: i64, step: &mut Step<'_>) {
        let Some(more) = self.more.as_deref_mut() else { return };
        for episode in more.episodes.iter_mut().filter(|episode| episode.covers(time, step.spec)) {
            episode.changed = true;
            trim_bodies(&mut self.entries, episode, time, &mut Trim::of(step));
        }
    }

    /// Conditions that only the watermark can decide, for times in `[old, watermark)`.
    fn decide(&mut self, old: i64, watermark: i64, step: &mut Step<'_>) {
        let from = after(&self.entries, old.saturating_sub(1));
        for (hot, measure) in self.hot_times(step.spec, from, watermark) {
            let smallest = self.entries.get(after(&self.entries, hot.saturating_sub(1))).map(Entry::mark);
            let Some(firing) = smallest else { continue };
            self.heat(hot, firing, measure, step);
        }
    }

    /// A time up to which everything is forgotten, now and whatever may still come.
    pub(super) fn forgotten(&self, spec: &Spec) -> i64 {
        let oldest = self.entries.first().map_or(BEGINNING, |entry| entry.time.saturating_sub(1));
        spec.before(self.at).min(oldest)
    }

    /// How many entries may wait to be forgotten: moving all others for each is dear where there are many, and what
    /// waits is in no window, but counts in its episode all the same.
    fn patience(&self) -> usize {
        if self.more.is_some() { self.entries.len() / 4 } else { 0 }
    }

    /// Entries up to `cut` leave; episodes that cover them count them first.
    fn forget(&mut self, cut: i64, step: &mut Step<'_>) {
        let spec = step.spec;
        self.forget_rows(cut, spec);
        let leaving = after(&self.entries, cut);
        if leaving <= self.patience() {
            return;
        }
        if let Some(more) = self.more.as_deref_mut() {
            more.forgotten = cut;
        }
        let episodes = self.more.as_deref_mut().map_or(&mut [][..], |more| &mut more.episodes);
        for entry in self.entries.drain(..leaving) {
            if let Some(episode) = covering(episodes, entry.time, spec) {
                episode.count(1, entry.mark(), entry.mark());
                episode.count_values(&entry);
                if let Some(left) = episode.keep(entry.mark(), entry.sample.as_ref(), spec) {
                    step.note(Change::Left(left));
                }
            }
            step.note(Change::Removed(entry));
        }
        self.after_removal(leaving);
    }

    fn forget_rows(&mut self, cut: i64, spec: &Spec) {
        let Some(More { episodes, rows, .. }) = self.more.as_deref_mut() else { return };
        rows.retain(|row| {
            let leaves = row.time() <= cut;
            if leaves && let Some(episode) = covering(episodes, row.time(), spec) {
                episode.count(row.count, row.first, row.last);
            }
            !leaves
        });
    }

    pub(super) fn after_removal(&mut self, removed: usize) {
        if removed == 0 {
            return;
        }
        if self.doubles > 0 {
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

    fn close(&mut self, watermark: i64, step: &mut Step<'_>) {
        let Some(more) = self.more.as_deref_mut() else { return };
        let live = live(step.spec, &self.entries, &more.rows, more.approximate);
        more.episodes.retain_mut(|episode| {
            let open = watermark < step.spec.after(episode.last_hot);
            if !open {
                step.out.push(episode.revise(&live, Phase::Closed, step.now));
                episode.kept.iter().for_each(|kept| step.note(Change::Left(kept.mark)));
            }
            open
        });
        if more.episodes.is_empty() && more.rows.is_empty() {
            self.more = None;
        }
    }
}

fn live<'a>(spec: &'a Spec, entries: &'a [Entry], rows: &'a [Row], approximate: bool) -> Live<'a> {
    Live { spec, entries, rows, approximate }
}

/// The episode that has an event of this time; there is at most one.
pub(super) fn covering<'e>(episodes: &'e mut [Episode], time: i64, spec: &Spec) -> Option<&'e mut Episode> {
    episodes.iter_mut().find(|episode| episode.covers(time, spec))
}

/// When the next revision may be made; `None` for at once.
fn revision_due(episode: &Episode, spec: &Spec) -> Option<i64> {
    (episode.revision > 0).then(|| episode.revised_at.saturating_add(spec.revise_ms))
}
