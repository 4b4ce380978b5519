//! Whether a loop can do its work, and what keeps it from it: the word behind `/readyz`.
//!
//! In: what the drivers meet. Out: reasons in plain text, none when all is well.
//! Never: a decision; the drivers retry and rebuild whether somebody looks or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::log::LogError;

/// What a loop does with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Joins its group.
    Join,
    /// Asks where the group stands, and restores state.
    Restore,
    /// Reads its topic.
    Read,
    /// Looks where partitions begin and end.
    Look,
    /// Looks whether the log and its topics are there.
    Reach,
    /// Gets what its records need from outside.
    Prepare,
    /// Commits outputs and offsets.
    Commit,
    /// Appends what comes from outside.
    Produce,
}

impl Doing {
    const fn fails(self) -> &'static str {
        match self {
            Doing::Join => "cannot join the group",
            Doing::Restore => "cannot restore state",
            Doing::Read => "cannot read",
            Doing::Look => "cannot ask the log for its offsets",
            Doing::Reach => "cannot use the log",
            Doing::Prepare => "cannot go on with its records",
            Doing::Commit => "the log takes no commits",
            Doing::Produce => "the log takes no records",
        }
    }
}

/// State of one loop. Cheap to clone: clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Partitions that are ours; `None` before the group has said so.
    assigned: Option<BTreeSet<u32>>,
    restoring: BTreeMap<u32, Restoring>,
    stalled: BTreeMap<u32, Stalled>,
    troubles: BTreeMap<Doing, Trouble>,
}

#[derive(Clone, Copy, Debug)]
struct Restoring {
    since: Instant,
    done: u64,
    of: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stalled {
    since: Instant,
    lag: u64,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    since: Instant,
    /// When it was met last.
    last: Instant,
}

impl Health {
    /// Partitions that are ours (none: there are more members than partitions), or `None` before the group has said so.
    pub fn assigned(&self) -> Option<Vec<u32>> {
        self.state().assigned.as_ref().map(|partitions| partitions.iter().copied().collect())
    }

    /// What keeps a loop from its work; empty: it is connected, assigned, restored, and moves.
    pub fn reasons(&self) -> Vec<String> {
        let (state, now) = (self.state(), Instant::now());
        let mut reasons = state.trouble_reasons(now);
        if state.assigned.is_none() && reasons.is_empty() {
            reasons.push("the group has not yet assigned partitions".to_owned());
        }
        for (partition, Restoring { since, done, of }) in &state.restoring {
            let seconds = seconds(*since, now);
            reasons.push(format!("restoring partition {partition}: {done} of {of} offsets in {seconds} s"));
        }
        for (partition, Stalled { since, lag }) in &state.stalled {
            let seconds = seconds(*since, now);
            reasons.push(format!("partition {partition} stands still for {seconds} s, {lag} records behind"));
        }
        reasons
    }

    /// The same for what only appends and belongs to no group.
    pub fn reasons_outside_of_groups(&self) -> Vec<String> {
        self.state().trouble_reasons(Instant::now())
    }

    /// Something was refused or did not come back. That another owner has the partition is no trouble.
    pub(crate) fn failed(&self, doing: Doing, error: &LogError) {
        if matches!(error, LogError::Fenced) {
            return;
        }
        self.failed_because(doing, error.to_string());
    }

    /// The same, in words.
    pub(crate) fn failed_because(&self, doing: Doing, why: String) {
        let now = Instant::now();
        let mut state = self.state();
        let since = state.troubles.get(&doing).map_or(now, |trouble| trouble.since);
        state.troubles.insert(doing, Trouble { why, since, last: now });
    }

    /// It goes, or goes again.
    pub(crate) fn succeeded(&self, doing: Doing) {
        self.state().troubles.remove(&doing);
    }

    /// The trouble was not met again for so long, although nobody has tried.
    pub(crate) fn forgive(&self, doing: Doing, after: Duration) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.troubles.get(&doing).is_some_and(|trouble| now.duration_since(trouble.last) >= after) {
            state.troubles.remove(&doing);
        }
    }

    /// The group has given these, maybe none.
    pub(crate) fn given(&self, partitions: &[u32]) {
        self.state().assigned.get_or_insert_default().extend(partitions);
    }

    /// A poll came back. The member of a group of more members than partitions may wait for ever for its first ones.
    pub(crate) fn polled(&self, is_member: bool) {
        let mut state = self.state();
        state.troubles.remove(&Doing::Read);
        if is_member {
            state.assigned.get_or_insert_default();
        }
    }

    /// These are gone, in good order or not.
    pub(crate) fn gone(&self, partitions: &[u32]) {
        let mut state = self.state();
        for partition in partitions {
            state.restoring.remove(partition);
            if let Some(assigned) = &mut state.assigned {
                assigned.remove(partition);
            }
        }
        // It was about them; what is left is tried again soon.
        state.troubles.remove(&Doing::Restore);
        state.troubles.remove(&Doing::Commit);
    }

    /// A new consumer is needed. What stands still goes on standing still until it moves.
    pub(crate) fn joining(&self) {
        let mut state = self.state();
        state.assigned = None;
        state.restoring.clear();
    }

    /// How far the restoring of a partition is.
    pub(crate) fn restoring(&self, partition: u32, done: u64, of: u64) {
        let mut state = self.state();
        let since = state.restoring.get(&partition).map_or_else(Instant::now, |restoring| restoring.since);
        state.restoring.insert(partition, Restoring { since, done, of });
    }

    /// A partition has its state.
    pub(crate) fn restored(&self, partition: u32) {
        self.state().restoring.remove(&partition);
    }

    /// A partition stands still, for `patience` already when this is said first.
    pub(crate) fn stalled(&self, partition: u32, lag: u64, patience: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        let since = state.stalled.get(&partition).map(|stalled| stalled.since);
        let since = since.unwrap_or_else(|| now.checked_sub(patience).unwrap_or(now));
        state.stalled.insert(partition, Stalled { since, lag });
    }

    /// A partition moves, or has nothing to read.
    pub(crate) fn moves(&self, partition: u32) {
        self.state().stalled.remove(&partition);
    }

    /// The partitions were looked at. Whatever stands still and is not ours any more is somebody else's trouble.
    pub(crate) fn measured(&self, outcome: Result<(), LogError>, is_ours: impl Fn(u32) -> bool) {
        match outcome {
            Ok(()) => self.succeeded(Doing::Look),
            Err(error) => self.failed(Doing::Look, &error),
        }
        self.state().stalled.retain(|partition, _| is_ours(*partition));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn trouble_reasons(&self, now: Instant) -> Vec<String> {
        let reason = |(doing, trouble): (&Doing, &Trouble)| match seconds(trouble.since, now) {
            0 => format!("{}: {}", doing.fails(), trouble.why),
            seconds => format!("{} for {seconds} s: {}", doing.fails(), trouble.why),
        };
        self.troubles.iter().map(reason).collect()
    }
}

fn seconds(since: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(since).as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Doing, Health};
    use crate::log::LogError;

    #[track_caller]
    fn check(health: &Health, expected: &[&str]) {
        assert_eq!(health.reasons(), expected);
    }

    fn away() -> LogError {
        LogError::Unavailable("no broker".to_owned())
    }

    #[test]
    fn an_empty_assignment_is_one() {
        let health = Health::default();
        check(&health, &["the group has not yet assigned partitions"]);
        health.given(&[]);
        check(&health, &[]);
        assert_eq!(health.assigned(), Some(Vec::new()));
        health.given(&[2, 1]);
        health.gone(&[2]);
        assert_eq!(health.assigned(), Some(vec![1]));
        health.joining();
        check(&health, &["the group has not yet assigned partitions"]);
    }

    #[test]
    fn restoring_tells_how_far() {
        let health = Health::default();
        health.given(&[3]);
        health.restoring(3, 0, 500);
        health.restoring(3, 200, 500);
        check(&health, &["restoring partition 3: 200 of 500 offsets in 0 s"]);
        health.restored(3);
        check(&health, &[]);
    }

    #[test]
    fn what_stands_still_does_so_until_it_moves_or_is_gone() {
        let health = Health::default();
        health.given(&[0, 1]);
        health.stalled(0, 7, Duration::from_secs(30));
        health.stalled(1, 8, Duration::from_secs(30));
        health.joining();
        health.given(&[0]);
        health.measured(Ok(()), |partition| partition == 0);
        check(&health, &["partition 0 stands still for 30 s, 7 records behind"]);
        health.moves(0);
        check(&health, &[]);
    }

    #[test]
    fn trouble_is_told_with_its_age_until_the_same_goes_again() {
        let health = Health::default();
        health.failed(Doing::Join, &away());
        check(&health, &["cannot join the group: the log is unavailable: no broker"]);
        health.succeeded(Doing::Join);
        health.given(&[0]);
        health.failed(Doing::Commit, &away());
        health.failed(Doing::Commit, &away());
        health.succeeded(Doing::Read);
        check(&health, &["the log takes no commits: the log is unavailable: no broker"]);
        health.forgive(Doing::Commit, Duration::from_secs(60));
        assert_eq!(health.reasons().len(), 1);
        health.forgive(Doing::Commit, Duration::ZERO);
        check(&health, &[]);
    }

    #[test]
    fn another_owner_is_no_trouble() {
        let health = Health::default();
        health.failed(Doing::Commit, &LogError::Fenced);
        assert!(health.reasons_outside_of_groups().is_empty());
    }
}
