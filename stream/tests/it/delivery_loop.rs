//! The loop log → outside: prefixes, dead letters once, faults and rebalances.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::error::Reason;
use model::headers;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use model::topic::Topic;
use stream::delivery::{Delivery, DeliveryOptions, Outcome, run_delivery};
use stream::health::Health;
use stream::log::{LogError, SharedLog};
use stream::record::{Headers, NewRecord, Record};
use stream::shutdown::{Trigger, channel};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::flaky::Flaky;
use crate::kit::{Harness, Local, Random, SOON, keyed, read_all, to, values};

type Running = (Trigger, JoinHandle<Result<(), LogError>>);

fn options(stage: Stage) -> DeliveryOptions {
    DeliveryOptions {
        group: "sink",
        stage,
        input: Topic::Events,
        batch_records_max: 10,
        batch_bytes_max: 1 << 20,
        batch_wait_ms: 5,
        in_flight_max: 4,
        health: Health::default(),
    }
}

fn start(log: &SharedLog, options: DeliveryOptions, delivery: Arc<dyn Delivery>) -> Running {
    let (trigger, shutdown) = channel();
    (trigger, tokio::spawn(run_delivery(log.clone(), options, delivery, Clock::System, shutdown)))
}

async fn stop((trigger, running): Running) {
    trigger.fire();
    tokio::time::timeout(SOON, running).await.expect("a drain in time").unwrap().unwrap();
}

async fn committed(log: &SharedLog, partition: u32, at_least: u64) -> u64 {
    let moved = async {
        loop {
            let next = log.committed("sink", Topic::Events, partition).await.unwrap();
            if next >= at_least {
                return next;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON * 3, moved).await.expect("the group to move on")
}

/// Hands each batch to the test, which says when and how it ends.
struct ByHand(mpsc::UnboundedSender<(Vec<String>, oneshot::Sender<Vec<Outcome>>)>);

#[async_trait]
impl Delivery for ByHand {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let (answer, outcomes) = oneshot::channel();
        self.0.send((values(records), answer)).unwrap();
        outcomes.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_finished_prefix_is_committed() {
    let local = Local::start().await;
    let log = local.log();
    log.produce((0..40).map(|i| keyed(Topic::Events, 0, &format!("id{i}"), format!("{i}"))).collect())
        .await
        .unwrap();
    let (sender, mut batches) = mpsc::unbounded_channel();
    let running = start(&log, options(Stage::AlertSink), Arc::new(ByHand(sender)));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(batches.recv().await.unwrap());
    }
    // They are under way at once, so they may come in any order.
    held.sort_by_key(|(batch, _)| batch[0].parse::<u32>().unwrap());
    let all: Vec<String> = held.iter().flat_map(|(batch, _)| batch.clone()).collect();
    assert_eq!(all, (0..40).map(|i| i.to_string()).collect::<Vec<_>>());
    // The last three end first, in reverse: nothing can be committed, no letter is written.
    let refused = || Outcome::Dead { reason: Reason::IndexRefused, detail: "no".to_owned() };
    for (_, answer) in held.drain(1..).rev() {
        let mut outcomes = vec![Outcome::Done; 10];
        outcomes[3] = refused();
        answer.send(outcomes).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(committed(&log, 0, 0).await, 0);
    let letters = || async {
        let (one, two) = (read_all(&log, Topic::Dead, 0).await, read_all(&log, Topic::Dead, 1).await);
        let mut all = values(&[one, two].concat());
        all.sort();
        all
    };
    assert_eq!(letters().await, Vec::<String>::new());
    held.remove(0).1.send(vec![Outcome::Done; 10]).unwrap();
    assert_eq!(committed(&log, 0, 1).await, 40);
    assert_eq!(letters().await, ["13", "23", "33"]);
    stop(running).await;
}

/// Ends at random times, refuses every seventh value, notes what it was given.
struct Outside {
    seen: Mutex<BTreeMap<String, u64>>,
    random: Mutex<Random>,
}

impl Outside {
    fn new() -> Arc<Outside> {
        Arc::new(Outside { seen: Mutex::default(), random: Mutex::new(Random::new()) })
    }
}

fn is_refused(value: &str) -> bool {
    value.parse::<u64>().unwrap() % 7 == 3
}

#[async_trait]
impl Delivery for Outside {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let millis = self.random.lock().unwrap().below(30);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let mut seen = self.seen.lock().unwrap();
        let outcome = |value: String| {
            *seen.entry(value.clone()).or_default() += 1;
            let dead = Outcome::Dead { reason: Reason::IdConflict, detail: value.clone() };
            if is_refused(&value) { dead } else { Outcome::Done }
        };
        assert!(records.iter().all(|record| record.headers.get(headers::KIND).is_none()));
        values(records).into_iter().map(outcome).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_delivered_and_letters_are_written_once_under_faults_and_rebalances() {
    let local = Local::start().await;
    let log = Flaky::over(local.log(), 25);
    let outside = Outside::new();
    let mut first = Some(start(&log, options(Stage::EventSink), outside.clone()));
    let mut second = None;
    let mut number = 0_u64;
    for round in 0..60 {
        let mut batch = Vec::new();
        for i in 0..50 {
            batch.push(keyed(Topic::Events, i % 2, &format!("id{number}"), number.to_string()));
            number += 1;
        }
        // What the log says to itself is no business of the outside.
        let beat = Headers::new().with(headers::KIND, headers::KIND_HEARTBEAT);
        batch.push(NewRecord { headers: beat, ..to(Topic::Events, round % 2, "") });
        log.produce(batch).await.unwrap();
        match round {
            10 | 40 => second = Some(start(&log, options(Stage::EventSink), outside.clone())),
            25 => stop(first.take().unwrap()).await,
            30 => first = Some(start(&log, options(Stage::EventSink), outside.clone())),
            35 => stop(second.take().unwrap()).await,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    for partition in 0..2 {
        let end = log.extent(Topic::Events, partition).await.unwrap().end;
        assert_eq!(committed(&log, partition, end).await, end);
    }
    stop(first.unwrap()).await;
    stop(second.unwrap()).await;
    assert_eq!(outside.seen.lock().unwrap().len() as u64, number);
    let mut letters = read_all(&log, Topic::Dead, 0).await;
    letters.extend(read_all(&log, Topic::Dead, 1).await);
    let mut dead: Vec<u64> = values(&letters).iter().map(|value| value.parse().unwrap()).collect();
    dead.sort_unstable();
    let expected: Vec<u64> = (0..number).filter(|n| is_refused(&n.to_string())).collect();
    assert_eq!(dead, expected);
    for letter in &letters {
        assert_eq!(letter.headers.get_str(headers::REASON), Some("id_conflict"));
        assert_eq!(letter.headers.get_str(headers::EVENT_ID), std::str::from_utf8(&letter.key).ok());
    }
    let (taken, finished, _, refused) = metrics().totals(Stage::EventSink);
    assert_eq!((taken, finished, refused), (number, number - expected.len() as u64, expected.len() as u64));
}

/// Forgets some records.
struct Forgetful;

#[async_trait]
impl Delivery for Forgetful {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        vec![Outcome::Done; records.len() - 1]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_without_an_outcome_for_each_record_stops() {
    let local = Local::start().await;
    let log = local.log();
    log.produce(vec![to(Topic::Events, 0, "x")]).await.unwrap();
    let (_trigger, running) = start(&log, options(Stage::AlertSink), Arc::new(Forgetful));
    let ended = tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    assert!(
        matches!(&ended, Err(LogError::Broken(why)) if why.contains("0 outcomes for 1 records")),
        "{ended:?}"
    );
    assert_eq!(log.committed("sink", Topic::Events, 0).await.unwrap(), 0);
}
