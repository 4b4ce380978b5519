//! The window stage: matches to alerts.
//!
//! In: `mozdef.matches`, watermarks among them; the rules in force. Out:
//! `mozdef.alerts`, `mozdef.late`, `mozdef.dead`, and `mozdef.windows`, from
//! which the state of a partition is restored. Never: a look at groups that
//! are neither touched nor due.
//!
//! The match and window stages of one process share the rule set, and it is
//! swapped before the first match of a new generation is written. So a
//! generation that is not in force here is an old one, and its matches are
//! dropped and counted.

mod changelog;
#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
mod kinds;
mod outputs;
mod partition;
mod restored;
mod rule_window;
#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use model::config::CorrelateConfig;
use model::metrics::metrics;
use model::time::Timestamp;
use stream::record::{NewRecord, Record};
use stream::worker::Worker;

use self::partition::Partition;
use crate::alert_document::Documents;
use crate::event_time::Bounds;
use crate::ruleset::RuleSet;

/// What all partitions share.
struct Shared {
    bounds: Bounds,
    revise_ms: u64,
    entries_max: usize,
    events_partitions: u32,
}

/// The window stage of one process.
pub struct WindowWorker {
    rules: Arc<ArcSwap<RuleSet>>,
    shared: Shared,
    partitions: BTreeMap<u32, Partition>,
    documents: Documents,
}

impl WindowWorker {
    /// A worker over the rules in force; `events_partitions`: of `mozdef.events`, all of which must be heard of.
    pub fn new(
        rules: Arc<ArcSwap<RuleSet>>,
        config: &CorrelateConfig,
        events_partitions: u32,
    ) -> WindowWorker {
        let shared = Shared {
            bounds: Bounds::new(config),
            revise_ms: config.revise_ms,
            entries_max: config.group_entries_max,
            events_partitions,
        };
        WindowWorker { rules, shared, partitions: BTreeMap::new(), documents: Documents::default() }
    }

    /// Runs `work` on a partition between the rules' change and the changelog.
    fn with(
        &mut self,
        partition: u32,
        now: i64,
        out: &mut Vec<NewRecord>,
        work: impl FnOnce(&mut Partition, &mut Documents, &mut Vec<NewRecord>),
    ) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let rules = self.rules.load_full();
        if state.rules_digest() != rules.digest {
            state.take_rules(rules, &self.shared);
        }
        state.retire(now, &mut self.documents, out);
        work(state, &mut self.documents, out);
        state.flush(out);
    }

    fn count_groups(&self) {
        let groups = self.partitions.values().map(Partition::groups).sum::<usize>();
        metrics().window_groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
    }
}

impl Worker for WindowWorker {
    fn assigned(&mut self, partition: u32, restored: Vec<Record>, _now: Timestamp) {
        let state = Partition::restore(partition, &restored, &self.shared, self.rules.load_full());
        self.partitions.insert(partition, state);
        self.count_groups();
    }

    fn process(&mut self, partition: u32, records: &[Record], now: Timestamp, out: &mut Vec<NewRecord>) {
        let now = now.millis();
        self.with(partition, now, out, |state, documents, out| {
            records.iter().for_each(|record| state.take(record, now, documents, out));
        });
    }

    fn tick(&mut self, partition: u32, now: Timestamp, _at_end: Option<Timestamp>, out: &mut Vec<NewRecord>) {
        let now = now.millis();
        self.with(partition, now, out, |state, documents, out| state.tick(now, documents, out));
    }

    fn committed(&mut self, partition: u32, now: Timestamp) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.commit(now);
        }
        self.count_groups();
    }

    fn aborted(&mut self, partition: u32) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.abort();
        }
    }

    fn revoked(&mut self, partition: u32) {
        self.partitions.remove(&partition);
        self.count_groups();
    }
}
