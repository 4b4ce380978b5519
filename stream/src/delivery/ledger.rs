//! What is finished and not committed: counts and dead letters by span.
//!
//! In: outcomes of spans, in any order. Out: what goes with the commit of a
//! prefix. Never: a dead letter before the offset that covers it.

use std::collections::BTreeMap;

use model::error::Reason;
use model::metrics::{Stage, metrics};

use crate::partition::Span;
use crate::record::NewRecord;

/// What became of the records of one span.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// First offset after the span.
    pub(super) to: u64,
    /// Records delivered.
    pub(super) done: u64,
    /// Reasons of those refused.
    pub(super) dead: Vec<Reason>,
    /// Their letters.
    pub(super) letters: Vec<NewRecord>,
}

/// Finished spans by partition and first offset.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<(u32, u64), Finished>);

/// What one commit is about.
#[derive(Debug, Default)]
pub(super) struct Account {
    done: u64,
    dead: Vec<Reason>,
}

impl Ledger {
    /// Notes a finished span.
    pub(super) fn note(&mut self, partition: u32, span: Span, finished: Finished) {
        self.0.insert((partition, span.from), finished);
    }

    /// How many spans wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The partition is gone.
    pub(super) fn forget(&mut self, partition: u32) {
        self.0.retain(|(p, _), _| *p != partition);
    }

    /// The letters of the prefix up to `next`. They stay here until [`Ledger::settle`].
    pub(super) fn letters(&self, partition: u32, next: u64) -> impl Iterator<Item = &NewRecord> {
        let spans = self.0.range((partition, 0)..(partition, next));
        spans.filter(move |(_, finished)| finished.to <= next).flat_map(|(_, finished)| &finished.letters)
    }

    /// Takes out the prefix up to `next`, which was committed.
    pub(super) fn settle(&mut self, partition: u32, next: u64, account: &mut Account) {
        let keys: Vec<(u32, u64)> =
            self.0.range((partition, 0)..(partition, next)).map(|(key, _)| *key).collect();
        for key in keys {
            if self.0.get(&key).is_some_and(|finished| finished.to <= next)
                && let Some(finished) = self.0.remove(&key)
            {
                account.done = account.done.saturating_add(finished.done);
                account.dead.extend(finished.dead);
            }
        }
    }
}

impl Account {
    /// Counts what was committed: `in = out + dead`.
    pub(super) fn count(self, stage: Stage) {
        metrics().taken(stage, self.done.saturating_add(self.dead.len() as u64));
        metrics().finished(stage, self.done);
        for reason in self.dead {
            metrics().dead(stage, reason, 1);
        }
    }
}
