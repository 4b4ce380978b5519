//! Stages that are wrong on purpose: the simulation must find each of them.
//!
//! In: a good stage. Out: one that breaks a promise now and then. Never: in a run that must pass.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::time::Timestamp;
use stream::delivery::{Delivery, Outcome};
use stream::record::{NewRecord, Record};
use stream::worker::Worker;

/// How a stage is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A window stage that does not put its state back after an abort.
    Forgetful,
    /// A window stage that begins without its changelog.
    Amnesiac,
    /// A sink that says done before it is.
    Hasty,
}

impl Mutant {
    pub const ALL: [Mutant; 3] = [Mutant::Forgetful, Mutant::Amnesiac, Mutant::Hasty];

    pub fn worker(self, worker: Box<dyn Worker>) -> Box<dyn Worker> {
        Box::new(Wrong { mutant: self, worker })
    }

    pub fn delivery(self, delivery: Arc<dyn Delivery>) -> Arc<dyn Delivery> {
        match self {
            Mutant::Hasty => Arc::new(Hasty(delivery)),
            Mutant::Forgetful | Mutant::Amnesiac => delivery,
        }
    }
}

struct Wrong {
    mutant: Mutant,
    worker: Box<dyn Worker>,
}

impl Worker for Wrong {
    fn assigned(&mut self, partition: u32, restored: Vec<Record>, now: Timestamp) {
        let restored = if self.mutant == Mutant::Amnesiac { Vec::new() } else { restored };
        self.worker.assigned(partition, restored, now);
    }
    fn process(&mut self, partition: u32, records: &[Record], now: Timestamp, out: &mut Vec<NewRecord>) {
        self.worker.process(partition, records, now, out);
    }
    fn tick(&mut self, partition: u32, now: Timestamp, at_end: Option<Timestamp>, out: &mut Vec<NewRecord>) {
        self.worker.tick(partition, now, at_end, out);
    }
    fn committed(&mut self, partition: u32, now: Timestamp) {
        self.worker.committed(partition, now);
    }
    fn aborted(&mut self, partition: u32) {
        if self.mutant != Mutant::Forgetful {
            self.worker.aborted(partition);
        }
    }
    fn revoked(&mut self, partition: u32) {
        self.worker.revoked(partition);
    }
}

struct Hasty(Arc<dyn Delivery>);

#[async_trait]
impl Delivery for Hasty {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let delivered = tokio::time::timeout(Duration::from_millis(200), self.0.deliver(records)).await;
        delivered.unwrap_or_else(|_| vec![Outcome::Done; records.len()])
    }
}
