//! What a group may hold at most: entries, and bytes of their events.
//!
//! In: a group that took an entry. Out: entries beyond the cap as rows, events
//! beyond the cap as origins. Never: a decision about hot times.

use crate::rule::Kind;
use crate::window::Entry;
use crate::window::entries::{after, fold, thin};
use crate::window::episode::drop_body;
use crate::window::group::{Group, More, Step, covering};
use crate::window::journal::Change;

/// Most bytes of events that a group keeps as possible samples; of further events only the origin is kept.
pub(super) const BODY_BYTES_MAX: u32 = 8 << 20;

impl Group {
    /// Folds entries beyond the cap into rows.
    pub(super) fn bound_entries(&mut self, step: &mut Step<'_>) {
        let most = step.spec.entries_max;
        if self.entries.len() <= most {
            return;
        }
        if step.spec.kind == Kind::EventCount {
            let below = after(&self.entries, self.at.saturating_sub(1));
            let folded = self.take_first(below);
            self.fold(folded, step);
        } else if let Some(folded) = thin(&mut self.entries, self.at, step.spec.kind) {
            self.fold(folded, step);
        }
        if self.entries.len() > most {
            let excess = self.entries.len().saturating_sub(most);
            // Some more than needed, so that the next arrivals do not fold again.
            let folded = self.take_first(excess.saturating_add(most / 8));
            self.fold(folded, step);
            if let Some(more) = self.more.as_deref_mut() {
                more.approximate = true;
            }
        }
    }

    fn take_first(&mut self, count: usize) -> Vec<Entry> {
        self.entries.drain(..count.min(self.entries.len())).collect()
    }

    fn fold(&mut self, folded: Vec<Entry>, step: &mut Step<'_>) {
        let Some(oldest) = folded.first().map(|entry| entry.time.saturating_sub(1)) else { return };
        let forgotten = self.forgotten(step.spec).min(oldest);
        let more = self.more.get_or_insert_with(|| More::new(forgotten));
        more.approximate |= fold(&folded, &mut more.rows, step.spec.entries_max);
        let removed = folded.len();
        for entry in folded {
            if let Some(episode) = covering(&mut more.episodes, entry.time, step.spec) {
                episode.count_values(&entry);
                if let Some(left) = episode.keep(entry.mark(), entry.sample.as_ref(), step.spec) {
                    step.note(Change::Left(left));
                }
            }
            step.note(Change::Removed(entry));
        }
        self.after_removal(removed);
    }

    pub(super) fn bound_body(&mut self, entry: &mut Entry) {
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

    pub(super) fn count_body_bytes(&mut self) {
        let bytes =
            self.entries.iter().filter_map(|entry| entry.sample.as_ref()).map(|sample| sample.body.len());
        self.body_bytes = u32::try_from(bytes.sum::<usize>()).unwrap_or(u32::MAX);
    }
}
