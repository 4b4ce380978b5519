//! A plugin at work: one instance, used again until it fails.
//!
//! In: batches of events. Out: a verdict or a failure for each, in order. Never: an instance that goes on after a
//! trap, or one bad event that takes the others of its batch with it.

use std::sync::Arc;
use std::time::Instant;

use model::metrics::metrics;

use crate::contract::{Item, Verdict};
use crate::engine::ticks;
use crate::failure::{Cause, Failure};
use crate::health::Standing;
use crate::loaded::{Live, Loaded};

/// Most bytes of documents in one call, where it is not for one event.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// One worker's instance of a plugin.
pub struct Instance {
    plugin: Arc<Loaded>,
    live: Option<Live>,
}

/// What the answers for a batch are.
pub type Answers = Vec<Result<Verdict, Failure>>;

impl Instance {
    /// An instance of this version; it is made at the first call.
    pub fn new(plugin: Arc<Loaded>) -> Instance {
        Instance { plugin, live: None }
    }

    /// The version.
    pub fn plugin(&self) -> &Arc<Loaded> {
        &self.plugin
    }

    /// An answer for each event. When a call for several fails, each is tried alone, so that only those that the plugin
    /// cannot bear go without.
    pub fn process(&mut self, items: &[Item<'_>]) -> Answers {
        let mut answers = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(portion(rest, self.plugin.limits.batch_max));
            rest = others;
            match self.attempt(batch) {
                Ok(verdicts) => answers.extend(verdicts.into_iter().map(Ok)),
                Err(failure) if batch.len() == 1 => answers.push(Err(failure)),
                Err(_) => {
                    for item in batch {
                        answers.extend(match self.attempt(std::slice::from_ref(item)) {
                            Ok(verdicts) => verdicts.into_iter().next().map(Ok),
                            Err(failure) => Some(Err(failure)),
                        });
                    }
                }
            }
        }
        answers
    }

    /// What it gave turned out to be no document: that counts as a failure.
    pub fn gave_nonsense(&mut self, what: &str) -> Failure {
        let text = crate::failure::bounded(what);
        self.count(Cause::Output.as_str());
        self.plugin.failed(&text);
        Failure::Call { cause: Cause::Output, text }
    }

    /// One call.
    fn attempt(&mut self, items: &[Item<'_>]) -> Result<Vec<Verdict>, Failure> {
        if self.plugin.standing() == Standing::Quarantined {
            return Err(Failure::Quarantined);
        }
        let start = Instant::now();
        let result = self.call(items);
        let metrics = metrics();
        let name: &str = &self.plugin.name;
        metrics.plugin_seconds.with_label_values(&[name]).inc_by(start.elapsed().as_secs_f64());
        match &result {
            Ok(verdicts) => {
                let sent: usize = items.iter().map(|item| item.document.len()).sum();
                let got: usize = verdicts.iter().map(Verdict::bytes).sum();
                metrics.plugin_bytes.with_label_values(&[name, "in"]).inc_by(sent as u64);
                metrics.plugin_bytes.with_label_values(&[name, "out"]).inc_by(got as u64);
                self.count("ok");
            }
            Err(failure) => {
                // The instance may be in any state, and wasmtime lets nobody in again.
                self.live = None;
                if let Failure::Call { cause, text } = failure {
                    self.count(cause.as_str());
                    self.plugin.failed(text);
                }
            }
        }
        result
    }

    fn call(&mut self, items: &[Item<'_>]) -> Result<Vec<Verdict>, Failure> {
        let limits = &self.plugin.limits;
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.plugin.instantiate()?,
        };
        live.store.data_mut().now_ms = items.first().map_or(0, |item| item.received_ms);
        live.store.set_epoch_deadline(ticks(limits.deadline));
        let wrong = |error: wasmtime::Error, live: &Live| {
            Failure::of_call(&error, live.store.data().guard.refused, limits.deadline.as_millis())
        };
        let process = match live.process.typed::<(&[Item<'_>],), (Vec<Verdict>,)>(&live.store) {
            Ok(process) => process,
            Err(error) => return Err(wrong(error, &live)),
        };
        let (verdicts,) = match process.call(&mut live.store, (items,)) {
            Ok(verdicts) => verdicts,
            Err(error) => return Err(wrong(error, &live)),
        };
        if verdicts.len() != items.len() {
            let text = format!("{} verdicts for {} events", verdicts.len(), items.len());
            return Err(Failure::Call { cause: Cause::Output, text });
        }
        self.live = Some(live);
        Ok(verdicts)
    }

    /// Linear memory of the instance, in bytes; 0 without one.
    pub fn memory_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().guard.bytes())
    }

    fn count(&self, outcome: &str) {
        metrics().plugin_calls.with_label_values(&[&*self.plugin.name, outcome]).inc();
    }
}

/// How many events go into one call: as many as the limit, and no more bytes than a guest can be expected to hold.
fn portion(items: &[Item<'_>], batch_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fitting = items.iter().take(batch_max).take_while(|item| {
        bytes = bytes.saturating_add(item.document.len());
        bytes <= BATCH_BYTES_MAX
    });
    fitting.count().clamp(1, items.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES_MAX, portion};
    use crate::contract::Item;

    #[test]
    fn a_call_takes_so_many_events_and_bytes() {
        let item = |document| Item { document, received_ms: 0, index: None, id: None };
        let (small, large) = ("{}", "x".repeat(BATCH_BYTES_MAX / 2));
        assert_eq!(portion(&[item(small); 300], 128), 128);
        assert_eq!(portion(&[item(small); 3], 128), 3);
        assert_eq!(portion(&[item(&large); 3], 128), 2);
        let giant = "x".repeat(BATCH_BYTES_MAX + 1);
        assert_eq!(portion(&[item(&giant); 3], 128), 1);
    }
}
