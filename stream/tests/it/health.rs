//! Readiness of the two loops: each state that they tell, and that it ends when its cause does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::delivery::{Delivery, DeliveryOptions, Outcome, run_delivery};
use stream::health::Health;
use stream::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError, Polled, SharedLog, Transaction};
use stream::record::{NewRecord, Position, Record};
use stream::shutdown::{Trigger, channel};
use stream::watched::{probe, watched};
use stream::worker::{Worker, WorkerOptions, run_worker};
use tokio::task::JoinHandle;

use crate::kit::{Harness, Local, SOON, to};

/// What a sick log does not do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sick {
    Join,
    Extent,
    Fetch,
    Poll,
    Commit,
    Produce,
}

/// A log that is sick on demand.
#[derive(Clone)]
struct Patient {
    inner: SharedLog,
    sick: Arc<Mutex<Option<Sick>>>,
}

impl Patient {
    fn new(inner: SharedLog) -> Patient {
        Patient { inner, sick: Arc::default() }
    }

    fn set(&self, sick: Option<Sick>) {
        *self.sick.lock().unwrap() = sick;
    }

    fn check(&self, sick: Sick) -> Result<(), LogError> {
        let is_sick = *self.sick.lock().unwrap() == Some(sick);
        if is_sick { Err(LogError::Unavailable("sick".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Log for Patient {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.check(Sick::Produce)?;
        self.inner.produce(records).await
    }
    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        self.check(Sick::Join)?;
        let inner = self.inner.subscribe(group, topic).await?;
        Ok(Box::new(Member { inner, log: self.clone() }))
    }
    async fn fetch(&self, topic: Topic, p: u32, from: u64, limits: FetchLimits) -> Result<Fetched, LogError> {
        self.check(Sick::Fetch)?;
        self.inner.fetch(topic, p, from, limits).await
    }
    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.check(Sick::Extent)?;
        self.inner.extent(topic, partition).await
    }
    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.inner.offset_at(topic, partition, time).await
    }
    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.inner.committed(group, topic, partition).await
    }
}

struct Member {
    inner: Box<dyn Consumer>,
    log: Patient,
}

#[async_trait]
impl Consumer for Member {
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError> {
        self.log.check(Sick::Poll)?;
        self.inner.poll(wait, limits).await
    }
    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        self.log.check(Sick::Commit)?;
        self.inner.commit(transaction).await
    }
    async fn settle(&mut self) -> Result<(), LogError> {
        self.inner.settle().await
    }
    async fn rewind(&mut self, partition: u32) -> Result<(), LogError> {
        self.inner.rewind(partition).await
    }
    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        self.inner.at_end()
    }
}

struct Nothing;

impl Worker for Nothing {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, _: u32, _: &[Record], _: Timestamp, _: &mut Vec<NewRecord>) {}
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

#[async_trait]
impl Delivery for Nothing {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        vec![Outcome::Done; records.len()]
    }
}

type Running = (Health, Trigger, JoinHandle<Result<(), LogError>>);

fn worker(log: &Patient) -> Running {
    let health = Health::default();
    let options = WorkerOptions {
        group: "health-worker",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: Some(Topic::Windows),
        health: health.clone(),
    };
    let (trigger, shutdown) = channel();
    let log: SharedLog = Arc::new(log.clone());
    (health, trigger, tokio::spawn(run_worker(log, options, Box::new(Nothing), Clock::System, shutdown)))
}

fn delivery(log: &Patient) -> Running {
    let health = Health::default();
    let options = DeliveryOptions {
        group: "health-delivery",
        stage: Stage::AlertSink,
        input: Topic::Raw,
        batch_records_max: 10,
        batch_bytes_max: 1 << 20,
        batch_wait_ms: 1,
        in_flight_max: 1,
        health: health.clone(),
    };
    let (trigger, shutdown) = channel();
    let log: SharedLog = Arc::new(log.clone());
    (health, trigger, tokio::spawn(run_delivery(log, options, Arc::new(Nothing), Clock::System, shutdown)))
}

async fn stop((_, trigger, running): Running) {
    trigger.fire();
    tokio::time::timeout(SOON, running).await.expect("a drain in time").unwrap().unwrap();
}

/// Waits until the reasons are as `is_so` says.
async fn until(health: &Health, what: &str, is_so: impl Fn(&[String]) -> bool) {
    let waiting = async {
        while !is_so(&health.reasons()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SOON, waiting).await.is_err() {
        panic!("not {what}: {:?}", health.reasons());
    }
}

async fn until_ready(health: &Health) {
    until(health, "ready", <[String]>::is_empty).await;
}

async fn until_told(health: &Health, reason: &str) {
    until(health, reason, |reasons| reasons.iter().any(|told| told.starts_with(reason))).await;
}

/// Each sickness is told, and is over when it is over.
async fn fares(log: &Patient, (health, _, _): &Running) {
    until_ready(health).await;
    assert_eq!(health.assigned(), Some(vec![0, 1]));
    for (sick, reason) in [
        (Sick::Extent, "cannot ask the log for its offsets: the log is unavailable: sick"),
        (Sick::Poll, "cannot read: the log is unavailable: sick"),
        (Sick::Commit, "the log takes no commits: the log is unavailable: sick"),
    ] {
        log.set(Some(sick));
        log.inner.produce(vec![to(Topic::Raw, 1, "x")]).await.unwrap();
        until_told(health, reason).await;
        log.set(None);
        until_ready(health).await;
    }
}

#[tokio::test]
async fn a_worker_tells_what_keeps_it() {
    let local = Local::start().await;
    let log = Patient::new(local.log());
    log.set(Some(Sick::Join));
    let running = worker(&log);
    until_told(&running.0, "cannot join the group").await;
    log.set(None);
    fares(&log, &running).await;
    stop(running).await;
}

#[tokio::test]
async fn a_delivery_tells_what_keeps_it() {
    let local = Local::start().await;
    let log = Patient::new(local.log());
    log.set(Some(Sick::Join));
    let running = delivery(&log);
    until_told(&running.0, "cannot join the group").await;
    log.set(None);
    fares(&log, &running).await;
    stop(running).await;
}

#[tokio::test]
async fn a_worker_that_restores_is_not_ready() {
    let local = Local::start().await;
    let log = Patient::new(local.log());
    log.inner.produce(vec![to(Topic::Windows, 0, "state")]).await.unwrap();
    log.set(Some(Sick::Fetch));
    let running = worker(&log);
    until_told(&running.0, "restoring partition 0: 0 of 1 offsets in 0 s").await;
    until_told(&running.0, "cannot restore state").await;
    log.set(None);
    until_ready(&running.0).await;
    stop(running).await;
}

#[tokio::test]
async fn a_spare_member_is_ready_without_partitions() {
    let local = Local::start().await;
    let log = Patient::new(local.log());
    let members = [worker(&log), worker(&log), worker(&log)];
    for (health, _, _) in &members {
        until_ready(health).await;
    }
    let settled = async {
        loop {
            let mut owned: Vec<usize> =
                members.iter().map(|(health, _, _)| health.assigned().unwrap().len()).collect();
            owned.sort_unstable();
            if owned == [0, 1, 1] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, settled).await.expect("a member without partitions");
    assert!(members.iter().all(|(health, _, _)| health.reasons().is_empty()));
    for member in members {
        stop(member).await;
    }
}

#[tokio::test]
async fn a_gateways_log_tells_what_appends_meet() {
    let local = Local::start().await;
    let log = Patient::new(local.log());
    let health = Health::default();
    let seen = watched(Arc::new(log.clone()), health.clone());
    let (trigger, shutdown) = channel();
    let probing = tokio::spawn(probe(Arc::new(log.clone()), &[Topic::Raw], health.clone(), shutdown));
    let told = || health.reasons_outside_of_groups();
    seen.produce(vec![to(Topic::Raw, 0, "x")]).await.unwrap();
    assert_eq!(told(), [""; 0]);
    log.set(Some(Sick::Produce));
    seen.produce(vec![to(Topic::Raw, 0, "x")]).await.unwrap_err();
    assert_eq!(told(), ["the log takes no records: the log is unavailable: sick"]);
    log.set(None);
    seen.produce(vec![to(Topic::Raw, 0, "x")]).await.unwrap();
    assert_eq!(told(), [""; 0]);
    log.set(Some(Sick::Extent));
    until_told(&health, "cannot use the log").await;
    log.set(None);
    until(&health, "reachable", |reasons| reasons.len() == 1).await;
    trigger.fire();
    probing.await.unwrap();
}
