//! Measures the local log against its budgets, in events per CPU second of the
//! whole process (committer, engine and compaction threads included):
//! append in batches >= 100,000; one consume-and-commit hop >= 50,000; RSS <= 150 MB.
//!
//! `cargo bench -p stream --bench log [-- EVENTS]`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark stops when it cannot measure, and prints"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::health::Health;
use stream::local::{self, LocalOptions};
use stream::log::{FetchLimits, Polled, SharedLog, Transaction};
use stream::record::{Headers, NewRecord, Record};
use stream::shutdown;
use stream::worker::{Worker, WorkerOptions, run_worker};

const EVENT_BYTES: usize = 700;
const BATCH: usize = 500;

/// Seconds of CPU of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

/// `VmRSS` and its peak, in MB.
fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let mb = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    format!("RSS {} MB, peak {} MB", mb("VmRSS"), mb("VmHWM"))
}

struct Measure(&'static str, f64, Instant);

impl Measure {
    fn start(what: &'static str) -> Measure {
        Measure(what, cpu_seconds(), Instant::now())
    }

    fn end(self, events: usize) {
        let (cpu, wall) = (cpu_seconds() - self.1, self.2.elapsed().as_secs_f64());
        let (per_cpu, per_s) = (events as f64 / cpu.max(0.01), events as f64 / wall);
        let (what, rss) = (self.0, rss());
        println!("{what:<46} {per_cpu:>9.0} events/CPU s {per_s:>9.0} events/s  {cpu:>6.2} CPU s  {rss}");
    }
}

fn event(topic: Topic, partition: Option<u32>, value: &Bytes) -> NewRecord {
    let headers = Headers::with_capacity(4)
        .with("received", "1700000000000")
        .with("input", "http")
        .with("principal", "anonymous")
        .with("endpoint", "events");
    NewRecord { topic, partition, key: Bytes::new(), value: value.clone(), headers }
}

async fn append(log: &SharedLog, value: &Bytes, events: usize, tasks: usize, batch: usize) {
    let work = (0..tasks).map(|_| {
        let (log, value) = (log.clone(), value.clone());
        tokio::spawn(async move {
            for _ in 0..events / tasks / batch {
                let records = (0..batch).map(|_| event(Topic::Raw, None, &value)).collect();
                log.produce(records).await.expect("produce");
            }
        })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.expect("task");
    }
}

/// Consumes `mozdef.raw`, puts each record into `mozdef.events`, commits both together.
async fn hop(log: &SharedLog, events: usize) {
    let mut consumer = log.subscribe("bench-hop", Topic::Raw).await.expect("subscribe");
    let limits = FetchLimits { records_max: BATCH, bytes_max: 4 << 20 };
    let mut done = 0;
    while done < events {
        let polled = consumer.poll(Duration::from_secs(1), limits).await.expect("poll");
        let Polled::Records(partition, records) = polled else { continue };
        let next = records.last().map_or(0, |record| record.offset + 1);
        done += records.len();
        let outputs = records.into_iter().map(|record| forward(partition, record)).collect();
        consumer.commit(Transaction { outputs, offsets: vec![(partition, next)] }).await.expect("commit");
    }
}

fn forward(partition: u32, record: Record) -> NewRecord {
    let (key, value, headers) = (record.key, record.value, record.headers);
    NewRecord { topic: Topic::Events, partition: Some(partition), key, value, headers }
}

struct Forward;

impl Worker for Forward {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, partition: u32, records: &[Record], _: Timestamp, out: &mut Vec<NewRecord>) {
        out.extend(records.iter().cloned().map(|record| forward(partition, record)));
    }
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

/// The same hop through the whole loop, until the group has caught up.
async fn worker(log: &SharedLog) {
    let options = WorkerOptions {
        group: "bench-worker",
        stage: Stage::Normalizer,
        input: Topic::Raw,
        changelog: None,
        health: Health::default(),
    };
    let (trigger, shutdown) = shutdown::channel();
    let running = tokio::spawn(run_worker(log.clone(), options, Box::new(Forward), Clock::System, shutdown));
    for partition in 0..2 {
        let end = log.extent(Topic::Raw, partition).await.expect("extent").end;
        while log.committed("bench-worker", Topic::Raw, partition).await.expect("committed") < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    trigger.fire();
    running.await.expect("task").expect("worker");
}

async fn run(events: usize) {
    let folder = tempfile::tempdir().expect("folder");
    let options = LocalOptions {
        folder: folder.path().to_owned(),
        partitions: 2,
        retention_hours: 72,
        retention_mib: 4096,
        min_free_mib: 256,
        clock: Clock::System,
    };
    let began = Instant::now();
    let (log, local) = local::open(options.clone()).await.expect("open");
    println!("new log open after {:?}, {}", began.elapsed(), rss());
    let value = Bytes::from(vec![b'x'; EVENT_BYTES]);

    let measure = Measure::start("append, batches of 500, one writer");
    append(&log, &value, events, 1, BATCH).await;
    measure.end(events);

    let measure = Measure::start("append, batches of 100, 8 writers");
    append(&log, &value, events / 2, 8, 100).await;
    measure.end(events / 2);

    let measure = Measure::start("append, single events, 64 writers");
    append(&log, &value, events / 20, 64, 1).await;
    measure.end(events / 20);

    let total = log.extent(Topic::Raw, 0).await.expect("extent").end
        + log.extent(Topic::Raw, 1).await.expect("extent").end;
    let measure = Measure::start("hop raw to events, batches of 500, from disk");
    hop(&log, total as usize).await;
    measure.end(total as usize);

    let measure = Measure::start("the same through run_worker, from disk");
    worker(&log).await;
    measure.end(total as usize);

    let measure = Measure::start("append and hop at once, per event appended");
    let (writer, reader) = (log.clone(), log.clone());
    let value = value.clone();
    let appending = tokio::spawn(async move { append(&writer, &value, events, 1, BATCH).await });
    let hopping = tokio::spawn(async move { hop(&reader, events).await });
    appending.await.expect("task");
    hopping.await.expect("task");
    measure.end(events);

    local.close().await;
    drop((log, local));
    let began = Instant::now();
    let (_log, _local) = local::open(options).await.expect("open");
    println!("open again after {:?}, {}", began.elapsed(), rss());
}

fn main() {
    let events = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("runtime").block_on(run(events));
}
