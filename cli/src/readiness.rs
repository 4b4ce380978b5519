//! Whether the process can do its work: every loop connected, assigned, restored and moving; the index reachable.
//!
//! In: the word of each part. Out: reasons in plain text, none when ready. Never: a restart; what gets better is ready again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use stream::health::Health;

/// The process as probes see it.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<State>);

#[derive(Default)]
struct State {
    phase: Phase,
    parts: Vec<Part>,
}

/// Where the process is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Not all parts are started; what is waited for.
    Starting(String),
    /// All parts are started.
    Running,
    /// It was told to end.
    Draining,
}

impl Default for Phase {
    fn default() -> Self {
        Phase::Starting("starting".to_owned())
    }
}

/// A part of the process that has a say.
pub(crate) enum Part {
    /// A member of a consumer group.
    Loop(&'static str, Health),
    /// What appends to the log from outside.
    Way(&'static str, Health),
    /// What writes to the index.
    Index(sink::Readiness),
}

impl Part {
    fn reasons(&self) -> Vec<String> {
        match self {
            Part::Loop(name, health) => named(name, health.reasons()),
            Part::Way(name, health) => named(name, health.reasons_outside_of_groups()),
            Part::Index(sinks) => sinks.get().err().into_iter().collect(),
        }
    }
}

fn named(name: &str, reasons: Vec<String>) -> Vec<String> {
    reasons.into_iter().map(|reason| format!("{name}: {reason}")).collect()
}

impl Readiness {
    /// One more part, before [`Readiness::running`].
    pub(crate) fn add(&self, part: Part) {
        self.state().parts.push(part);
    }

    /// Not there yet; why.
    pub(crate) fn waiting(&self, why: String) {
        self.state().phase = Phase::Starting(why);
    }

    /// Every part is started.
    pub(crate) fn running(&self) {
        self.state().phase = Phase::Running;
    }

    /// The process ends.
    pub(crate) fn draining(&self) {
        self.state().phase = Phase::Draining;
    }

    /// What keeps the process from its work; empty: it is ready.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let state = self.state();
        match &state.phase {
            Phase::Starting(why) => vec![why.clone()],
            Phase::Draining => vec!["draining".to_owned()],
            Phase::Running => state.parts.iter().flat_map(Part::reasons).collect(),
        }
    }

    /// `{ready, not_ready: [reason…], assigned: {loop: [partition…]}}`; null before the group has given some.
    pub(crate) fn json(&self) -> Value {
        let reasons = self.reasons();
        let state = self.state();
        let assigned: Map<String, Value> = state
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Loop(name, health) => Some(((*name).to_owned(), json!(health.assigned()))),
                Part::Way(..) | Part::Index(_) => None,
            })
            .collect();
        json!({"ready": reasons.is_empty(), "not_ready": reasons, "assigned": assigned})
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use stream::health::Health;

    use super::{Part, Readiness};

    #[test]
    fn every_part_has_a_say_once_all_are_started() {
        let ready = Readiness::default();
        assert_eq!(ready.reasons(), ["starting"]);
        ready.waiting("no broker".to_owned());
        assert_eq!(ready.reasons(), ["no broker"]);
        ready.add(Part::Loop("normalizer", Health::default()));
        ready.add(Part::Way("gateway", Health::default()));
        ready.running();
        assert_eq!(ready.reasons(), ["normalizer: the group has not yet assigned partitions"]);
        assert_eq!(ready.json()["assigned"], serde_json::json!({"normalizer": null}));
        ready.draining();
        assert_eq!(ready.reasons(), ["draining"]);
        assert_eq!(ready.json()["ready"], false);
    }
}
