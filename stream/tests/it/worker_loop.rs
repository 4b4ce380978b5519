//! The loop log → log: exactly once under faults and rebalances, state, ticks, drain.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use model::headers;
use model::metrics::{Stage, metrics};
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::health::Health;
use stream::log::{FetchLimits, LogError, RECORD_BYTES_MAX, SharedLog};
use stream::record::{Headers, NewRecord, Record};
use stream::shutdown::{Trigger, channel};
use stream::worker::{Worker, WorkerOptions, run_worker};
use tokio::task::JoinHandle;

use crate::flaky::Flaky;
use crate::kit::{Harness, Local, SOON, read_all, to, values};

/// Numbers the records of a partition; the count is its state.
#[derive(Default)]
struct Numbering {
    /// By partition: the count, and as it was at the last commit.
    counts: BTreeMap<u32, (u64, u64)>,
    stage: Option<Stage>,
    uncounted: u64,
}

impl Worker for Numbering {
    fn assigned(&mut self, partition: u32, restored: Vec<Record>, _: Timestamp) {
        assert!(restored.len() <= 1 && !self.counts.contains_key(&partition));
        let count =
            restored.first().map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse().unwrap());
        self.counts.insert(partition, (count, count));
    }

    fn process(&mut self, partition: u32, records: &[Record], _: Timestamp, out: &mut Vec<NewRecord>) {
        let (count, _) = self.counts.get_mut(&partition).unwrap();
        for record in records {
            let headers = Headers::new().with("number", count.to_string());
            out.push(NewRecord { headers, ..to(Topic::Events, partition, record.value.clone()) });
            *count += 1;
            self.uncounted += 1;
        }
        let state = NewRecord { key: "count".into(), ..to(Topic::Windows, partition, count.to_string()) };
        out.push(state);
    }

    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}

    fn committed(&mut self, partition: u32, _: Timestamp) {
        let (count, before) = self.counts.get_mut(&partition).unwrap();
        if let Some(stage) = self.stage {
            metrics().finished(stage, *count - *before);
        }
        *before = *count;
    }

    fn aborted(&mut self, partition: u32) {
        let (count, before) = self.counts.get_mut(&partition).unwrap();
        *count = *before;
    }

    fn revoked(&mut self, partition: u32) {
        let (count, before) = self.counts.remove(&partition).unwrap();
        assert_eq!(count, before, "revoked with uncommitted state");
    }
}

fn options(stage: Stage) -> WorkerOptions {
    WorkerOptions {
        group: "numbering",
        stage,
        input: Topic::Raw,
        changelog: Some(Topic::Windows),
        health: Health::default(),
    }
}

type Running = (Trigger, JoinHandle<Result<(), LogError>>);

fn start(log: &SharedLog, options: WorkerOptions, worker: impl Worker + 'static, clock: Clock) -> Running {
    let (trigger, shutdown) = channel();
    (trigger, tokio::spawn(run_worker(log.clone(), options, Box::new(worker), clock, shutdown)))
}

async fn stop((trigger, running): Running) {
    trigger.fire();
    tokio::time::timeout(SOON, running).await.expect("a drain in time").unwrap().unwrap();
}

const ONE: FetchLimits = FetchLimits { records_max: 1, bytes_max: 1 };

/// Whether nothing is left to read behind the committed offset (markers of transactions may be).
async fn has_all(log: &SharedLog, group: &str, topic: Topic, partition: u32) -> bool {
    let stable = log.extent(topic, partition).await.unwrap().stable;
    let committed = log.committed(group, topic, partition).await.unwrap();
    let rest = log.fetch(topic, partition, committed, ONE).await.unwrap();
    rest.records.is_empty() && rest.next >= stable
}

async fn caught_up(log: &SharedLog, group: &str, topic: Topic) {
    let all = async {
        for partition in 0..log.partitions(topic) {
            while !has_all(log, group, topic, partition).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(SOON * 3, all).await.expect("the group to catch up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_counts_once_under_faults_and_rebalances() {
    let local = Local::start().await;
    let log = Flaky::over(local.log(), 25);
    counts_once(&log, &log, Some(Stage::Normalizer), Duration::from_millis(10)).await;
    let (taken, finished, dropped, dead) = metrics().totals(Stage::Normalizer);
    assert_eq!((taken, finished, dropped, dead), (3000, 3000, 0, 0));
}

/// Two instances come and go, each on its own log over the same brokers; every record counts once. `pause` is between two
/// batches. `stage`: where the records are counted.
pub async fn counts_once(log: &SharedLog, other: &SharedLog, stage: Option<Stage>, pause: Duration) {
    let numbering = || Numbering { stage, ..Numbering::default() };
    // The counters are the process's: who does not ask for them counts where nobody else does.
    let counted = stage.unwrap_or(Stage::Gateway);
    let run = |log: &SharedLog| start(log, options(counted), numbering(), Clock::System);
    let mut first = Some(run(log));
    let mut second = None;
    for round in 0..60 {
        let batch = (0..50).map(|i| to(Topic::Raw, i % 2, format!("{round}/{i}"))).collect();
        log.produce(batch).await.unwrap();
        match round {
            10 | 40 => second = Some(run(other)),
            25 => stop(first.take().unwrap()).await,
            30 => first = Some(run(log)),
            35 => stop(second.take().unwrap()).await,
            _ => tokio::time::sleep(pause).await,
        }
    }
    caught_up(log, "numbering", Topic::Raw).await;
    stop(first.unwrap()).await;
    stop(second.unwrap()).await;
    for partition in 0..2 {
        let (raw, events) =
            (read_all(log, Topic::Raw, partition).await, read_all(log, Topic::Events, partition).await);
        assert_eq!(values(&events), values(&raw));
        for (index, event) in events.iter().enumerate() {
            assert_eq!(
                event.headers.get_str("number"),
                Some(index.to_string().as_str()),
                "the state differs"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_commits_what_was_processed() {
    let local = Local::start().await;
    let log = local.log();
    let running = start(&log, options(Stage::Window), Numbering::default(), Clock::System);
    let writer = log.clone();
    let writing = tokio::spawn(async move {
        for i in 0..200 {
            writer.produce((0..100).map(|_| to(Topic::Raw, i % 2, vec![b'x'; 700])).collect()).await.unwrap();
        }
    });
    while log.extent(Topic::Events, 0).await.unwrap().end == 0 {
        tokio::task::yield_now().await;
    }
    let began = std::time::Instant::now();
    stop(running).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    writing.await.unwrap();
    for partition in 0..2 {
        let committed = log.committed("numbering", Topic::Raw, partition).await.unwrap();
        assert_eq!(log.extent(Topic::Events, partition).await.unwrap().end, committed);
    }
}

/// Writes a heartbeat when its partition has ended, and tells what it was called with.
struct Heart(Sender<(u32, Option<Timestamp>)>);

impl Worker for Heart {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, _: u32, _: &[Record], _: Timestamp, _: &mut Vec<NewRecord>) {}
    fn tick(&mut self, partition: u32, _: Timestamp, at_end: Option<Timestamp>, out: &mut Vec<NewRecord>) {
        if at_end.is_some() {
            let headers = Headers::new().with(headers::KIND, headers::KIND_HEARTBEAT);
            out.push(NewRecord { headers, ..to(Topic::Events, partition, "") });
        }
        self.0.send((partition, at_end)).unwrap();
    }
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_come_each_second_and_say_where_the_end_is() {
    let local = Local::start().await;
    let log = local.log();
    log.produce(vec![to(Topic::Raw, 1, "x")]).await.unwrap();
    let (sender, ticks) = std::sync::mpsc::channel();
    let options = WorkerOptions {
        group: "heart",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: None,
        health: Health::default(),
    };
    let running = start(&log, options, Heart(sender), Clock::System);
    // Until both partitions were seen at their ends, and their heartbeats are there.
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 2 {
        let (partition, at_end) = tokio::task::block_in_place(|| ticks.recv_timeout(SOON)).unwrap();
        ended.extend(at_end.map(|_| partition));
    }
    stop(running).await;
    for partition in 0..2 {
        let events = read_all(&log, Topic::Events, partition).await;
        assert!(
            !events.is_empty()
                && events.iter().all(|e| e.headers.get_str(headers::KIND) == Some("heartbeat"))
        );
    }
    assert_eq!(log.committed("heart", Topic::Raw, 1).await.unwrap(), 1);
}

/// Puts out what no topic takes.
struct Giant(Sender<usize>);

impl Worker for Giant {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, partition: u32, records: &[Record], _: Timestamp, out: &mut Vec<NewRecord>) {
        for record in records {
            let headers = Headers::new().with(headers::ORIGIN, record.origin());
            let value = Bytes::from(vec![b'g'; RECORD_BYTES_MAX + 1]);
            out.push(NewRecord { key: "id".into(), headers, ..to(Topic::Events, partition, value) });
            out.push(to(Topic::Events, partition, "small"));
        }
    }
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
    fn too_large(&mut self, _: u32, output: &NewRecord) {
        self.0.send(output.size()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_too_large_becomes_a_dead_letter() {
    let local = Local::start().await;
    let log = local.log();
    log.produce(vec![to(Topic::Raw, 1, "x")]).await.unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    let options = WorkerOptions {
        group: "giant",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: None,
        health: Health::default(),
    };
    let running = start(&log, options, Giant(sender), Clock::System);
    caught_up(&log, "giant", Topic::Raw).await;
    stop(running).await;
    assert!(told.try_recv().unwrap() > RECORD_BYTES_MAX);
    assert_eq!(values(&read_all(&log, Topic::Events, 1).await), ["small"]);
    let mut dead = read_all(&log, Topic::Dead, 0).await;
    dead.extend(read_all(&log, Topic::Dead, 1).await);
    assert_eq!(dead.len(), 1);
    let header = |name| dead[0].headers.get_str(name);
    assert_eq!((header("reason"), header("stage")), (Some("too_large"), Some("match")));
    assert_eq!((header("origin"), header("event-id")), (Some("mozdef.raw/1/0"), Some("id")));
    assert_eq!(dead[0].value.len(), RECORD_BYTES_MAX + 1);
}

/// Panics on its first record.
struct Panics;

impl Worker for Panics {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, _: u32, _: &[Record], _: Timestamp, _: &mut Vec<NewRecord>) {
        panic!("on purpose");
    }
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_stops_the_stage_with_nothing_committed() {
    let local = Local::start().await;
    let log = local.log();
    log.produce(vec![to(Topic::Raw, 0, "x")]).await.unwrap();
    let options = WorkerOptions {
        group: "panics",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: None,
        health: Health::default(),
    };
    let (_trigger, running) = start(&log, options, Panics, Clock::System);
    let ended = tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    assert!(matches!(&ended, Err(LogError::Broken(why)) if why.contains("panic")), "{ended:?}");
    assert_eq!(log.committed("panics", Topic::Raw, 0).await.unwrap(), 0);
}
