//! One partition of the window stage: watermarks, rules, groups, and what is
//! not yet committed of them.
//!
//! In: match and watermark records, rule sets, time. Out: alerts, late events,
//! dead letters, changelog. Never: I/O; a change that cannot be taken back
//! before it is committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use model::error::Reason;
use model::headers;
use model::metrics::{Drop, Stage, metrics};
use model::time::Timestamp;
use stream::dead;
use stream::record::{NewRecord, Record};

use super::Shared;
use super::changelog::{Key, StoredWatermarks};
use super::outputs::{Revised, flush_groups, late_record, put_alert, revised_group};
use super::restored::Restored;
use super::rule_window::{About, RuleWindow, describe, recall, watermark};
use crate::alert_document::Documents;
use crate::alert_metrics::AlertCounts;
use crate::chain;
use crate::match_record;
use crate::measured;
use crate::ruleset::RuleSet;
use crate::window::state::decode_group;
use crate::window::store::Inserted;
use crate::window::watermarks::Watermarks;
use crate::window::{Entry, Spec};
use crate::wire::WireError;

/// The state of one partition.
pub(super) struct Partition {
    number: u32,
    watermarks: Watermarks,
    watermarks_committed: Watermarks,
    /// Whether the stored watermarks are to be written again.
    is_time_changed: bool,
    windows: Vec<RuleWindow>,
    by_prefix: HashMap<Arc<[u8]>, usize, RandomState>,
    /// Rules no longer in force whose end is not yet committed.
    retired: Vec<RuleWindow>,
    /// Whether `retired` has something that was not put out.
    is_retiring: bool,
    rules: Arc<RuleSet>,
    counts: Counts,
}

/// What is counted when it is committed.
#[derive(Default)]
struct Counts {
    finished: u64,
    late: u64,
    old_generation: u64,
    dead: u64,
    alerts: AlertCounts,
}

/// Why a matches record cannot be used.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the key is no key of a match: {0}")]
    Key(#[source] WireError),
    #[error("the value is no match: {0}")]
    Match(#[source] WireError),
}

impl Partition {
    /// A partition with what its changelog says.
    pub(super) fn restore(
        number: u32,
        restored: &[Record],
        shared: &Shared,
        rules: Arc<RuleSet>,
    ) -> Partition {
        let stored = Restored::read(restored);
        let events_partitions = shared.events_partitions;
        let watermarks = match &stored.watermarks {
            Some(time) => Watermarks::restore(events_partitions, time.heard.clone(), time.low),
            None => Watermarks::new(events_partitions),
        };
        let mut partition = Partition {
            number,
            watermarks_committed: watermarks.clone(),
            watermarks,
            is_time_changed: false,
            windows: Vec::new(),
            by_prefix: HashMap::default(),
            retired: Vec::new(),
            is_retiring: false,
            rules: Arc::clone(&rules),
            counts: Counts::default(),
        };
        partition.take_rules(rules, shared);
        partition.fill(stored);
        partition.commit_quietly();
        partition
    }

    /// Puts restored groups into the rules in force; those of other rules are to be closed.
    fn fill(&mut self, stored: Restored<'_>) {
        let exceptions = stored.watermarks.as_ref().map(|time| &time.exceptions);
        for window in &mut self.windows {
            if let Some(&reached) = exceptions.and_then(|all| all.get(&*window.prefix)) {
                window.store.advance(reached, 0, &mut |_, _| {});
            }
            window.described = stored.rules.get(&*window.prefix).map(|bytes| bytes.to_vec());
        }
        let mut gone = BTreeMap::<&[u8], RuleWindow>::new();
        for (prefix, bytes) in &stored.rules {
            if !self.by_prefix.contains_key(*prefix) {
                match recall(bytes) {
                    Ok(window) => drop(gone.insert(prefix, window)),
                    Err(error) => {
                        tracing::error!(partition = self.number, %error, "episodes of a rule stay open")
                    }
                }
            }
        }
        for ((prefix, group), parts) in &stored.groups {
            let window = match self.by_prefix.get(*prefix) {
                Some(&at) => self.windows.get_mut(at),
                None => gone.get_mut(prefix),
            };
            let (Some(window), Some(head)) = (window, parts.head) else {
                tracing::error!(partition = self.number, "a stored group lacks its head or its rule");
                continue;
            };
            match decode_group(head, &parts.events, window.store.spec()) {
                Ok(state) => window.store.restore(group, state),
                Err(error) => {
                    tracing::error!(partition = self.number, %error, "a stored group cannot be read")
                }
            }
        }
        self.is_retiring = !gone.is_empty();
        self.retired = gone.into_values().collect();
    }

    /// Brings another set of rules into force: rules of the same generation keep their groups.
    pub(super) fn take_rules(&mut self, rules: Arc<RuleSet>, shared: &Shared) {
        let mut old = std::mem::take(&mut self.windows);
        for rule in &rules.correlations {
            let about = About::new(rule, &shared.bounds);
            let spec = Spec::new(rule, shared.revise_ms, shared.entries_max);
            let prefix = match_record::rule_prefix(&about.info);
            let window = match old.iter().position(|window| *window.prefix == *prefix) {
                Some(at) => {
                    let mut window = old.swap_remove(at);
                    window.about = about;
                    window.store.set_spec(spec);
                    window
                }
                None => RuleWindow::new(about, spec, self.watermarks.low()),
            };
            self.windows.push(window);
        }
        let prefixes = self.windows.iter().map(|window| Arc::clone(&window.prefix));
        self.by_prefix = prefixes.zip(0..).collect();
        self.is_retiring |= !old.is_empty();
        self.retired.append(&mut old);
        self.rules = rules;
        self.is_time_changed = true;
    }

    /// The digest of the rules that are in force here.
    pub(super) fn rules_digest(&self) -> &str {
        &self.rules.digest
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.windows.iter().map(|window| window.store.len()).sum()
    }

    /// Takes one record.
    pub(super) fn take(
        &mut self,
        record: &Record,
        now: i64,
        documents: &mut Documents,
        out: &mut Vec<NewRecord>,
    ) {
        let mut revised = Vec::new();
        match record.headers.get_str(headers::KIND) {
            Some(headers::KIND_WATERMARK) => match match_record::decode_watermarks(&record.value) {
                Ok(map) => self.hear(map, now, &mut revised),
                Err(error) => {
                    tracing::error!(partition = self.number, %error, "a watermark record cannot be read")
                }
            },
            Some(kind) => tracing::error!(partition = self.number, kind, "a matches record of unknown kind"),
            None => match self.count_match(record, now, &mut revised, out) {
                Ok(()) => {}
                Err(malformed) => {
                    self.counts.dead = self.counts.dead.saturating_add(1);
                    out.push(dead::letter(
                        record,
                        Stage::Window,
                        Reason::MalformedRecord,
                        &malformed.to_string(),
                    ));
                }
            },
        }
        self.put_alerts(revised, documents, out);
    }

    fn hear(&mut self, map: BTreeMap<u32, i64>, now: i64, revised: &mut Vec<Revised>) {
        if !self.watermarks.hear(map) {
            return;
        }
        self.is_time_changed = true;
        let low = self.watermarks.low();
        for (window, state) in self.windows.iter_mut().enumerate() {
            let to = watermark(low, state.about.lateness_ms);
            state.store.advance(to, now, &mut |group, revision| {
                revised.push(revised_group(window, group, revision))
            });
        }
    }

    /// A generation that is not in force is old: the process has one rule set, swapped before its first match is written.
    fn count_match(
        &mut self,
        record: &Record,
        now: i64,
        revised: &mut Vec<Revised>,
        out: &mut Vec<NewRecord>,
    ) -> Result<(), Malformed> {
        let (prefix, group) = match_record::split_key(&record.key).map_err(Malformed::Key)?;
        let found = match_record::decode(&record.value).map_err(Malformed::Match)?;
        let Some(&at) = self.by_prefix.get(prefix) else {
            self.counts.old_generation = self.counts.old_generation.saturating_add(1);
            return Ok(());
        };
        let Some(window) = self.windows.get_mut(at) else { return Ok(()) };
        let sample = Some(Arc::clone(&found.sample));
        let tells_apart = window.store.spec().kind.tells_rules_apart();
        let fact = if tells_apart { measured::rules(&found.rules) } else { found.fact };
        let entry = Entry { time: found.mark.time, id: found.mark.id, fact, sample };
        let mut emit = |group: &[u8], revision| revised.push(revised_group(at, group, revision));
        match window.store.insert(group, entry, now, &mut emit) {
            Inserted::Late(by) => {
                self.counts.late = self.counts.late.saturating_add(1);
                out.push(late_record(&found, &window.about, by));
            }
            Inserted::Taken | Inserted::Equal => {
                self.counts.finished = self.counts.finished.saturating_add(1)
            }
        }
        Ok(())
    }

    /// Revisions whose time has come, and the end of rules that are gone.
    pub(super) fn tick(&mut self, now: i64, documents: &mut Documents, out: &mut Vec<NewRecord>) {
        let mut revised = Vec::new();
        for (window, state) in self.windows.iter_mut().enumerate() {
            state
                .store
                .publish(now, &mut |group, revision| revised.push(revised_group(window, group, revision)));
        }
        self.put_alerts(revised, documents, out);
    }

    /// Closes the episodes of rules that are gone, if that has not been put out yet.
    pub(super) fn retire(&mut self, now: i64, documents: &mut Documents, out: &mut Vec<NewRecord>) {
        if !std::mem::take(&mut self.is_retiring) {
            return;
        }
        let mut retired = std::mem::take(&mut self.retired);
        for state in &mut retired {
            let mut revised = Vec::new();
            state.store.retire(now, &mut |group, revision| revised.push(revised_group(0, group, revision)));
            for one in revised.into_iter().filter(|_| state.about.alerts) {
                put_alert(&state.about, one, &mut self.counts.alerts, documents, out);
            }
            flush_groups(self.number, state, out);
            if state.described.take().is_some() {
                out.push(Key::Rule { prefix: &state.prefix }.record(self.number, Vec::new()));
            }
        }
        self.retired = retired;
    }

    fn put_alerts(&mut self, revised: Vec<Revised>, documents: &mut Documents, out: &mut Vec<NewRecord>) {
        for one in revised {
            for fed in chain::feed(&self.rules, one.window, &one.group, &one.revision) {
                if let Some(outer) = self.windows.get(fed.outer) {
                    let key = match_record::key(&outer.prefix, &fed.key);
                    out.push(match_record::record(key, match_record::encode(&fed.found)));
                }
            }
            if let Some(state) = self.windows.get(one.window).filter(|state| state.about.alerts) {
                put_alert(&state.about, one, &mut self.counts.alerts, documents, out);
            }
        }
    }

    /// Writes what changed to the changelog.
    pub(super) fn flush(&mut self, out: &mut Vec<NewRecord>) {
        for state in &mut self.windows {
            let written = flush_groups(self.number, state, out);
            if written == 0 {
                continue;
            }
            match describe(&state.about, state.store.spec()) {
                Ok(described) if state.described.as_ref() != Some(&described) => {
                    out.push(Key::Rule { prefix: &state.prefix }.record(self.number, described.clone()));
                    state.described = Some(described);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(rule = state.about.info.id, %error, "a rule cannot be described")
                }
            }
        }
        if std::mem::take(&mut self.is_time_changed) {
            out.push(Key::Watermarks.record(self.number, self.stored_watermarks().encode()));
        }
    }

    fn stored_watermarks(&self) -> StoredWatermarks {
        let low = self.watermarks.low();
        let exceptions = self.windows.iter().filter_map(|state| {
            let reached = state.store.watermark();
            (reached != watermark(low, state.about.lateness_ms)).then(|| (state.prefix.to_vec(), reached))
        });
        StoredWatermarks { heard: self.watermarks.heard().clone(), low, exceptions: exceptions.collect() }
    }

    /// What was put out is durable.
    pub(super) fn commit(&mut self, now: Timestamp) {
        std::mem::take(&mut self.counts).report(now);
        self.commit_quietly();
        if !self.is_retiring {
            self.retired.clear();
        }
    }

    fn commit_quietly(&mut self) {
        self.watermarks_committed.clone_from(&self.watermarks);
        self.windows.iter_mut().for_each(RuleWindow::commit);
    }

    /// What was put out did not happen. The rules stay as they are; the end of those that are gone is put out again.
    pub(super) fn abort(&mut self) {
        self.counts = Counts::default();
        self.watermarks.clone_from(&self.watermarks_committed);
        self.windows.iter_mut().chain(&mut self.retired).for_each(RuleWindow::rollback);
        self.is_retiring = !self.retired.is_empty();
        self.is_time_changed = true;
    }
}

impl Counts {
    fn report(self, now: Timestamp) {
        let m = metrics();
        m.finished(Stage::Window, self.finished);
        m.dropped(Stage::Window, Drop::Late, self.late);
        m.dropped(Stage::Window, Drop::OldGeneration, self.old_generation);
        m.dead(Stage::Window, Reason::MalformedRecord, self.dead);
        self.alerts.report(now);
    }
}
