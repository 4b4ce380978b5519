//! The pure state machine of one consumed partition, used by both loops.
//!
//! In: what was fetched, what is done, what became of commits and of the
//! assignment. Out: what to work on, commit, read again or give up. Never:
//! time, randomness or I/O.
//!
//! Work is a [`Span`] of offsets, handed out in order and finished in any
//! order; only the contiguous finished prefix can be committed (DL-2). A span
//! begins where the one before it ended, so that holes in a log (compaction,
//! transaction markers) belong to the span after them.

use std::collections::BTreeMap;

use crate::invariants::{DL_1, DL_3, DL_4, DL_5, DL_8, hold};

#[cfg(test)]
mod model_test;

/// Offsets `from..to`, as one piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// How often the partition had been aborted when the work was handed out.
    pub epoch: u32,
    /// First offset.
    pub from: u64,
    /// First offset after it.
    pub to: u64,
}

/// Whether records are taken, or the partition is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records are taken.
    Consuming,
    /// Work under way is finished and committed; nothing new is taken.
    Draining,
    /// Given up in good order.
    Released,
    /// Taken away: nothing can be committed any more.
    Lost,
}

/// What happens to a partition. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Records up to (not including) `next` were fetched.
    Fetched {
        /// Offset after the last record fetched.
        next: u64,
    },
    /// A piece of work is finished.
    Done(Span),
    /// A good time to commit.
    CommitDue,
    /// The commit that was asked for took effect.
    Committed {
        /// The offset it named.
        next: u64,
    },
    /// The commit that was asked for had no effect; what is done stays done.
    CommitFailed,
    /// All that is not committed did not happen.
    Abort,
    /// Finish and give up: the group or a shutdown wants it.
    Revoke,
    /// Gone.
    Lost,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Work on this.
    Work(Span),
    /// Commit this next offset, with all outputs below it.
    Commit {
        /// Next offset to read.
        next: u64,
    },
    /// Read again from here; whatever was handed out before counts for nothing.
    Rewind {
        /// Next offset to read.
        to: u64,
    },
    /// The partition may be given up.
    Release,
}

/// One consumed partition.
#[derive(Clone, Debug)]
pub struct Partition {
    phase: Phase,
    epoch: u32,
    /// Next offset to read, as the group knows it.
    committed: u64,
    /// The commit under way.
    committing: Option<u64>,
    /// End of the contiguous finished prefix.
    done: u64,
    /// Finished spans beyond the prefix: from → to.
    islands: BTreeMap<u64, u64>,
    /// Next offset to fetch.
    fetched: u64,
}

impl Partition {
    /// A partition that was just assigned; `committed` is its next offset to read.
    pub fn new(committed: u64) -> Partition {
        Partition::with_epoch(committed, 0)
    }

    /// The same, when work of an earlier assignment may still be under way: `epoch` differs from the epochs of that work.
    pub fn with_epoch(committed: u64, epoch: u32) -> Partition {
        Partition {
            phase: Phase::Consuming,
            epoch,
            committed,
            committing: None,
            done: committed,
            islands: BTreeMap::new(),
            fetched: committed,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Next offset to read, as the group knows it.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// End of the contiguous finished prefix.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Next offset to fetch.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// How far the partition is done with. `position`: how far the consumer has seen it, past holes (markers of
    /// transactions), which counts once everything that was fetched is committed.
    pub fn reached(&self, position: Option<u64>) -> u64 {
        if self.committed == self.fetched {
            position.unwrap_or(0).max(self.committed)
        } else {
            self.committed
        }
    }

    /// Whether some work is not finished.
    pub fn is_working(&self) -> bool {
        self.done < self.fetched
    }

    /// Whether the end of this work still counts: it is of this assignment, since the last abort, and not known yet.
    pub fn awaits(&self, span: Span) -> bool {
        matches!(self.phase, Phase::Consuming | Phase::Draining)
            && span.epoch == self.epoch
            && span.from >= self.done
            && span.to <= self.fetched
            && !self.islands.contains_key(&span.from)
    }

    /// Decides. Inputs that make no sense any more (work from before an abort, anything after the end) change nothing.
    pub fn step(&mut self, input: Input) -> Option<Effect> {
        let before = self.committed;
        let effect = match (self.phase, input) {
            (Phase::Released | Phase::Lost, _) => None,
            (_, Input::Lost) => self.lose(),
            (Phase::Consuming, Input::Fetched { next }) => self.hand_out(next),
            (Phase::Draining, Input::Fetched { .. }) => None,
            (Phase::Consuming | Phase::Draining, Input::Done(span)) => self.finish(span),
            (Phase::Consuming | Phase::Draining, Input::CommitDue) => self.commit(),
            (Phase::Consuming | Phase::Draining, Input::Committed { next }) => self.was_committed(next),
            (Phase::Consuming | Phase::Draining, Input::CommitFailed) => {
                self.committing = None;
                None
            }
            (Phase::Consuming | Phase::Draining, Input::Abort) => self.abort(),
            (Phase::Consuming | Phase::Draining, Input::Revoke) => {
                self.phase = Phase::Draining;
                self.commit().or_else(|| self.release())
            }
        };
        hold!(DL_1, self.committed <= self.done && self.done <= self.fetched);
        hold!(DL_3, before <= self.committed);
        hold!(DL_5, !matches!(self.phase, Phase::Released | Phase::Lost) || self.committing.is_none());
        effect
    }

    fn hand_out(&mut self, next: u64) -> Option<Effect> {
        if next <= self.fetched {
            return None;
        }
        let span = Span { epoch: self.epoch, from: self.fetched, to: next };
        self.fetched = next;
        Some(Effect::Work(span))
    }

    fn finish(&mut self, span: Span) -> Option<Effect> {
        // DL-7: late news from before an abort, or twice the same.
        if !self.awaits(span) {
            return None;
        }
        self.islands.insert(span.from, span.to);
        while let Some(entry) = self.islands.first_entry() {
            if *entry.key() != self.done {
                break;
            }
            self.done = entry.remove();
        }
        if self.phase == Phase::Draining { self.commit() } else { None }
    }

    fn commit(&mut self) -> Option<Effect> {
        if self.committing.is_some() || self.done == self.committed {
            return None;
        }
        hold!(DL_4, self.committing.is_none());
        self.committing = Some(self.done);
        Some(Effect::Commit { next: self.done })
    }

    fn was_committed(&mut self, next: u64) -> Option<Effect> {
        if self.committing != Some(next) {
            return None;
        }
        self.committing = None;
        self.committed = next;
        if self.phase == Phase::Draining { self.commit().or_else(|| self.release()) } else { None }
    }

    fn abort(&mut self) -> Option<Effect> {
        self.epoch = self.epoch.wrapping_add(1);
        self.committing = None;
        self.islands.clear();
        self.done = self.committed;
        self.fetched = self.committed;
        if self.phase == Phase::Draining {
            // Nothing new is taken, so nothing is left to be finished.
            return self.release();
        }
        Some(Effect::Rewind { to: self.committed })
    }

    fn lose(&mut self) -> Option<Effect> {
        self.phase = Phase::Lost;
        self.committing = None;
        self.islands.clear();
        self.done = self.committed;
        self.fetched = self.committed;
        None
    }

    fn release(&mut self) -> Option<Effect> {
        if self.is_working() || self.committing.is_some() || self.done != self.committed {
            return None;
        }
        hold!(DL_8, self.islands.is_empty());
        self.phase = Phase::Released;
        Some(Effect::Release)
    }
}

#[cfg(test)]
mod tests {
    use super::{Effect, Input, Partition, Phase, Span};

    fn span(from: u64, to: u64) -> Span {
        Span { epoch: 0, from, to }
    }

    #[track_caller]
    fn check(partition: &mut Partition, input: Input, expected: Option<Effect>) {
        assert_eq!(partition.step(input), expected, "{input:?}");
    }

    #[test]
    fn only_the_finished_prefix_is_committed() {
        let mut p = Partition::new(5);
        check(&mut p, Input::Fetched { next: 8 }, Some(Effect::Work(span(5, 8))));
        check(&mut p, Input::Fetched { next: 9 }, Some(Effect::Work(span(8, 9))));
        check(&mut p, Input::Done(span(8, 9)), None);
        check(&mut p, Input::CommitDue, None);
        check(&mut p, Input::Done(span(5, 8)), None);
        check(&mut p, Input::CommitDue, Some(Effect::Commit { next: 9 }));
        check(&mut p, Input::CommitDue, None);
        check(&mut p, Input::Committed { next: 9 }, None);
        assert_eq!(p.committed(), 9);
    }

    #[test]
    fn a_failed_commit_is_asked_for_again() {
        let mut p = Partition::new(0);
        check(&mut p, Input::Fetched { next: 2 }, Some(Effect::Work(span(0, 2))));
        check(&mut p, Input::Done(span(0, 2)), None);
        check(&mut p, Input::CommitDue, Some(Effect::Commit { next: 2 }));
        check(&mut p, Input::CommitFailed, None);
        check(&mut p, Input::CommitDue, Some(Effect::Commit { next: 2 }));
    }

    #[test]
    fn an_abort_reads_again_and_forgets_old_work() {
        let mut p = Partition::new(0);
        check(&mut p, Input::Fetched { next: 4 }, Some(Effect::Work(span(0, 4))));
        check(&mut p, Input::Abort, Some(Effect::Rewind { to: 0 }));
        check(&mut p, Input::Done(span(0, 4)), None);
        check(&mut p, Input::CommitDue, None);
        check(&mut p, Input::Fetched { next: 4 }, Some(Effect::Work(Span { epoch: 1, from: 0, to: 4 })));
        check(&mut p, Input::Done(Span { epoch: 1, from: 0, to: 4 }), None);
        check(&mut p, Input::CommitDue, Some(Effect::Commit { next: 4 }));
    }

    #[test]
    fn a_revoked_partition_drains_then_goes() {
        let mut p = Partition::new(0);
        check(&mut p, Input::Fetched { next: 4 }, Some(Effect::Work(span(0, 4))));
        check(&mut p, Input::Revoke, None);
        check(&mut p, Input::Fetched { next: 6 }, None);
        check(&mut p, Input::Done(span(0, 4)), Some(Effect::Commit { next: 4 }));
        check(&mut p, Input::Committed { next: 4 }, Some(Effect::Release));
        assert_eq!(p.phase(), Phase::Released);
        check(&mut p, Input::CommitDue, None);
    }

    #[test]
    fn an_idle_partition_goes_at_once() {
        check(&mut Partition::new(7), Input::Revoke, Some(Effect::Release));
    }

    #[test]
    fn holes_at_the_end_are_done_with_once_all_before_them_is_committed() {
        let mut p = Partition::new(5);
        assert_eq!((p.reached(None), p.reached(Some(3)), p.reached(Some(6))), (5, 5, 6));
        check(&mut p, Input::Fetched { next: 8 }, Some(Effect::Work(span(5, 8))));
        assert_eq!(p.reached(Some(9)), 5);
        check(&mut p, Input::Done(span(5, 8)), None);
        check(&mut p, Input::CommitDue, Some(Effect::Commit { next: 8 }));
        assert_eq!(p.reached(Some(9)), 5);
        check(&mut p, Input::Committed { next: 8 }, None);
        assert_eq!(p.reached(Some(9)), 9);
    }

    #[test]
    fn nothing_is_committed_after_a_loss() {
        let mut p = Partition::new(0);
        check(&mut p, Input::Fetched { next: 4 }, Some(Effect::Work(span(0, 4))));
        check(&mut p, Input::Done(span(0, 4)), None);
        check(&mut p, Input::Lost, None);
        check(&mut p, Input::CommitDue, None);
        assert_eq!((p.phase(), p.committed()), (Phase::Lost, 0));
    }
}
