//! What happened to records and plugins since the last commit. Counted only
//! when the results are durable, so that an aborted batch is not counted twice.

use std::collections::BTreeMap;

use model::error::Reason;
use model::metrics::{Drop, Stage, metrics};

use crate::marks::{Kind, Marks};

/// What became of one run of a plugin; the label of `mozdef_plugin_runs_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It wrote to the event or the metadata.
    Changed,
    /// It did nothing.
    Unchanged,
    /// It dropped the event.
    Dropped,
    /// It failed; what it wrote was undone.
    Failed,
}

impl Run {
    /// Every outcome.
    pub const ALL: [Run; 4] = [Run::Changed, Run::Unchanged, Run::Dropped, Run::Failed];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Run::Changed => "changed",
            Run::Unchanged => "unchanged",
            Run::Dropped => "dropped",
            Run::Failed => "failed",
        }
    }
}

/// Counts that wait for a commit.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    finished: u64,
    dropped: u64,
    dead: [u64; Reason::ALL.len()],
    marked: [u64; Kind::ALL.len()],
    /// By the plugin's number in its chain.
    runs: Vec<[u64; Run::ALL.len()]>,
    /// By the plugin's name: those of chains that are no more.
    settled: BTreeMap<String, [u64; Run::ALL.len()]>,
}

impl Tally {
    /// Counts a run of the plugin of this number.
    pub fn ran(&mut self, number: usize, run: Run) {
        if self.runs.len() <= number {
            self.runs.resize(number + 1, [0; Run::ALL.len()]);
        }
        if let Some(count) = self.runs.get_mut(number).and_then(|runs| runs.get_mut(run as usize)) {
            *count += 1;
        }
    }

    /// The chain changes: from now on a number means another plugin. `names`: the names until now.
    pub fn settle<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for (name, runs) in names.zip(self.runs.drain(..)) {
            let settled = self.settled.entry(name.to_owned()).or_default();
            settled.iter_mut().zip(runs).for_each(|(sum, count)| *sum += count);
        }
    }

    /// Counts an event that goes on, and the kinds of remarks that it carries.
    pub fn finished(&mut self, marks: &Marks) {
        self.finished += 1;
        for kind in marks.kinds() {
            if let Some(count) = self.marked.get_mut(kind as usize) {
                *count += 1;
            }
        }
    }

    /// Counts an event that a plugin dropped.
    pub fn dropped(&mut self) {
        self.dropped += 1;
    }

    /// Counts a record that cannot be normalised.
    pub fn dead(&mut self, reason: Reason) {
        let index = Reason::ALL.iter().position(|known| *known == reason);
        if let Some(count) = index.and_then(|index| self.dead.get_mut(index)) {
            *count += 1;
        }
    }

    /// The event that was last counted as going on is dead instead: its normal form does not fit into the log.
    pub fn dead_after_all(&mut self, reason: Reason) {
        self.finished = self.finished.saturating_sub(1);
        self.dead(reason);
    }

    /// Adds all to the metrics and starts again from zero. `names`: the plugins' names by number.
    pub fn publish<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let metrics = metrics();
        metrics.finished(Stage::Normalizer, self.finished);
        metrics.dropped(Stage::Normalizer, Drop::Plugin, self.dropped);
        for (reason, count) in Reason::ALL.into_iter().zip(self.dead).filter(|(_, count)| *count > 0) {
            metrics.dead(Stage::Normalizer, reason, count);
        }
        for (kind, count) in Kind::ALL.into_iter().zip(self.marked).filter(|(_, count)| *count > 0) {
            metrics.event_errors.with_label_values(&[kind.as_str()]).inc_by(count);
        }
        names.zip(&self.runs).for_each(|(name, runs)| publish_runs(name, runs));
        self.settled.iter().for_each(|(name, runs)| publish_runs(name, runs));
        *self = Tally { runs: std::mem::take(&mut self.runs), ..Tally::default() };
        self.runs.clear();
    }
}

fn publish_runs(name: &str, runs: &[u64; Run::ALL.len()]) {
    for (run, count) in Run::ALL.into_iter().zip(runs).filter(|(_, count)| **count > 0) {
        metrics().plugin_runs.with_label_values(&[name, run.as_str()]).inc_by(*count);
    }
}

#[cfg(test)]
mod tests {
    use model::error::Reason;
    use model::metrics::{Stage, metrics};

    use super::{Run, Tally};
    use crate::marks::{Kind, Marks};

    #[test]
    fn what_was_counted_is_published_once() {
        let runs = |run: Run| metrics().plugin_runs.with_label_values(&["tally-b", run.as_str()]).get();
        let before = metrics().totals(Stage::Normalizer);
        let mut tally = Tally::default();
        let mut marks = Marks::default();
        marks.add(Kind::Time, "x".to_owned());
        tally.finished(&marks);
        tally.dropped();
        tally.dead(Reason::TooDeep);
        tally.ran(1, Run::Failed);
        tally.ran(1, Run::Changed);
        for _ in 0..2 {
            tally.publish(["tally-a", "tally-b"].into_iter());
        }
        let after = metrics().totals(Stage::Normalizer);
        assert!(after.1 > before.1 && after.2 > before.2 && after.3 > before.3);
        assert_eq!((runs(Run::Failed), runs(Run::Changed), runs(Run::Dropped)), (1, 1, 0));
    }
}
