//! What is kept of the events that an alert can no longer show.
//!
//! In: entries that an episode covers. Out: entries without body, without
//! origin. Never: a body among the first, nor a value that is counted.

use std::sync::Arc;

use crate::window::entries::after;
use crate::window::episode::Episode;
use crate::window::group::Step;
use crate::window::journal::{Change, Journal};
use crate::window::{Entry, ORIGINS_MAX, Sample, Spec};

/// What trimming works with.
pub(super) struct Trim<'t> {
    pub(super) spec: &'t Spec,
    pub(super) journal: Option<&'t mut Journal>,
}

impl<'t> Trim<'t> {
    pub(super) fn of(step: &'t mut Step<'_>) -> Trim<'t> {
        Trim { spec: step.spec, journal: step.journal.as_deref_mut() }
    }

    fn set(&mut self, entry: &mut Entry, sample: Option<Arc<Sample>>) {
        let mark = entry.mark();
        let old = std::mem::replace(&mut entry.sample, sample);
        if let Some(journal) = &mut self.journal {
            journal.note(Change::Trimmed(mark, old));
        }
    }
}

/// Of a covered entry that can no longer be among the first, only what can still be shown is kept. Intervals only
/// grow, so an entry's rank in its episode never falls. `since`: nothing changed for entries before this time.
pub(super) fn trim_bodies(entries: &mut [Entry], episode: &Episode, since: i64, trim: &mut Trim<'_>) {
    let from = after(entries, trim.spec.before(episode.first_hot));
    let to = after(entries, episode.last_hot);
    let start = after(entries, since.saturating_sub(1)).max(from);
    let first_rank = episode.kept.len().saturating_add(start.saturating_sub(from));
    for (rank, entry) in (first_rank..).zip(entries.get_mut(start..to).unwrap_or_default()) {
        let Some(sample) = entry.sample.as_ref().filter(|_| rank >= trim.spec.samples) else { continue };
        if rank >= ORIGINS_MAX && sample.values.is_empty() {
            trim.set(entry, None);
        } else if !sample.body.is_empty() {
            let bare = Arc::new(sample.without_body());
            trim.set(entry, Some(bare));
        }
    }
}
