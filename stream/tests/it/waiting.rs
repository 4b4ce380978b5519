//! A worker that needs what is not there: its partition waits and says so, the other goes on, nothing comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::health::Health;
use stream::log::SharedLog;
use stream::record::{NewRecord, Record};
use stream::shutdown::channel;
use stream::worker::{Worker, WorkerOptions, run_worker};

use crate::kit::{Harness, Local, SOON, read_all, to, values};

/// Copies records; those of partition 0 need something.
struct Needs(Arc<AtomicBool>);

impl Worker for Needs {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn prepare(&mut self, partition: u32, _: &[Record]) -> Result<(), String> {
        if partition == 0 && !self.0.load(Ordering::SeqCst) {
            return Err("the thing is away".to_owned());
        }
        Ok(())
    }
    fn process(&mut self, partition: u32, records: &[Record], _: Timestamp, out: &mut Vec<NewRecord>) {
        out.extend(records.iter().map(|record| to(Topic::Events, partition, record.value.clone())));
    }
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("gave up waiting: {what}"));
}

async fn count(log: &SharedLog, partition: u32) -> usize {
    read_all(log, Topic::Events, partition).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_waits_for_what_it_needs_and_the_other_goes_on() {
    let local = Local::start().await;
    let log = local.log();
    let produce = async |partition: u32, values: std::ops::Range<u32>| {
        log.produce(values.map(|value| to(Topic::Raw, partition, value.to_string())).collect())
            .await
            .unwrap();
    };
    produce(0, 0..50).await;
    let (health, is_there) = (Health::default(), Arc::new(AtomicBool::new(false)));
    let options = WorkerOptions {
        group: "needs",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: None,
        health: health.clone(),
    };
    let (trigger, shutdown) = channel();
    let worker = Box::new(Needs(is_there.clone()));
    let running = tokio::spawn(run_worker(log.clone(), options, worker, Clock::System, shutdown));
    until("it says what it waits for", async || {
        health.reasons().iter().any(|why| why.contains("the thing is away"))
    })
    .await;
    for round in 0..5 {
        produce(1, round * 10..round * 10 + 10).await;
        until("the other partition goes on", async || count(&log, 1).await == round as usize * 10 + 10).await;
    }
    assert_eq!((count(&log, 0).await, log.committed("needs", Topic::Raw, 0).await.unwrap()), (0, 0));
    assert!(health.reasons().iter().any(|why| why.contains("the thing is away")), "{:?}", health.reasons());
    is_there.store(true, Ordering::SeqCst);
    until("what has waited is done", async || count(&log, 0).await == 50).await;
    until("it has nothing more to say", async || health.reasons().is_empty()).await;
    trigger.fire();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    for partition in 0..2 {
        let raw = read_all(&log, Topic::Raw, partition).await;
        assert_eq!(values(&read_all(&log, Topic::Events, partition).await), values(&raw));
    }
}
