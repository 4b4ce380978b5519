//! kill -9 at random points: what was acknowledged is there, once, in order,
//! and batches are whole.
//!
//! The test runs its own binary again as the victim: three producers, and a
//! hop raw → events in transactions. It prints what was acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::time::Clock;
use model::topic::Topic;
use stream::local;
use stream::log::{Polled, SharedLog, Transaction};
use stream::record::NewRecord;

use crate::kit::{ALL, Random, keyed, options, read_all, to};

const CHILD_FOLDER: &str = "MOZDEF_TEST_KILL9_FOLDER";
const CHILD_ROUND: &str = "MOZDEF_TEST_KILL9_ROUND";
const TEST_NAME: &str = "kill9::what_is_acknowledged_survives_kill_9_at_twenty_random_points";
const KILLS: u64 = 20;
/// More kills, for a long run by hand.
const KILLS_VARIABLE: &str = "MOZDEF_TEST_KILLS";
const PRODUCERS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_kill_9_at_twenty_random_points() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        let round = std::env::var(CHILD_ROUND).unwrap().parse().unwrap();
        return victim(PathBuf::from(folder), round).await;
    }
    let mut random = Random::new();
    println!("seed {}", random.seed());
    let folder = tempfile::tempdir().unwrap();
    let mut acked: HashMap<String, u64> = HashMap::new();
    let mut id = None;
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    for round in 0..kills {
        let child = start(TEST_NAME, folder.path(), round);
        acked.extend(run_and_kill(child, Duration::from_millis(random.below(250))));
        let clock = Clock::System;
        let (log, local) = local::open(options(folder.path(), clock)).await.unwrap();
        assert_eq!(id.get_or_insert_with(|| log.id().to_owned()), log.id());
        verify(&log, &acked, round).await;
        drop(log);
        local.close().await;
    }
    println!("{} batches acknowledged over {kills} kills", acked.len());
    assert!(acked.len() as u64 > kills * PRODUCERS);
}

fn start(test: &str, folder: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Acknowledged batches: name and number of records.
fn run_and_kill(mut child: Child, after: Duration) -> HashMap<String, u64> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first acknowledgement says that the victim is under way.
    let mut acked = HashMap::new();
    let mut note = |line: String| {
        if let Some((name, count)) = line.strip_prefix("acked ").and_then(|rest| rest.split_once(' ')) {
            acked.insert(name.to_owned(), count.trim_end_matches(" .").parse().unwrap());
            return true;
        }
        false
    };
    while !note(lines.next().expect("the victim has died by itself").unwrap()) {}
    let killer = std::thread::spawn(move || {
        let until = Instant::now() + after;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    });
    // The pipe ends with the victim. A last line may be cut: such an acknowledgement was not heard.
    for line in lines.map_while(Result::ok) {
        if line.ends_with(" .") {
            note(line);
        }
    }
    killer.join().unwrap();
    acked
}

/// A batch lies in one partition: `<round>-<producer>-<number>` in each key, `<index>/<count>` in each value.
async fn verify(log: &SharedLog, acked: &HashMap<String, u64>, round: u64) {
    let mut found: HashMap<String, u64> = HashMap::new();
    for partition in 0..2 {
        let raw = read_all(log, Topic::Raw, partition).await;
        assert!(raw.iter().map(|record| record.offset).eq(0..raw.len() as u64), "holes in round {round}");
        let mut newest: HashMap<String, u64> = HashMap::new();
        let mut rest = raw.as_slice();
        while let Some(first) = rest.first() {
            let name = String::from_utf8(first.key.to_vec()).unwrap();
            let (_, count) = std::str::from_utf8(&first.value).unwrap().split_once('/').unwrap();
            let count: usize = count.trim_end_matches('x').parse().unwrap();
            assert!(rest.len() >= count, "half a batch in round {round}: {name}");
            for (index, record) in rest[..count].iter().enumerate() {
                assert_eq!(record.key, first.key, "a batch is torn in round {round}");
                assert!(record.value.starts_with(format!("{index}/{count}").as_bytes()));
            }
            let (writer, number) = name.rsplit_once('-').unwrap();
            let number: u64 = number.parse().unwrap();
            let before = newest.insert(writer.to_owned(), number);
            assert!(before.is_none_or(|before| before < number), "out of order in round {round}: {name}");
            assert_eq!(found.insert(name, count as u64), None, "twice in round {round}");
            rest = &rest[count..];
        }
        // The hop: what is committed was put out, once, in order, and nothing else.
        let committed = log.committed("hop", Topic::Raw, partition).await.unwrap() as usize;
        let events = read_all(log, Topic::Events, partition).await;
        let put_out = events.iter().map(|record| &record.value);
        assert!(
            put_out.eq(raw[..committed].iter().map(|record| &record.value)),
            "the hop differs in round {round}"
        );
    }
    for (name, count) in acked {
        assert_eq!(found.get(name), Some(count), "lost in round {round}: {name}");
    }
}

/// Writes until it is killed.
async fn victim(folder: PathBuf, round: u64) {
    let (log, _local) = local::open(options(&folder, Clock::System)).await.unwrap();
    let hop = tokio::spawn(hop(log.clone()));
    let producers: Vec<_> = (0..PRODUCERS).map(|i| tokio::spawn(produce(log.clone(), round, i))).collect();
    for producer in producers {
        producer.await.unwrap();
    }
    hop.await.unwrap();
}

async fn produce(log: SharedLog, round: u64, producer: u64) {
    let mut random = Random::new();
    for number in 0_u64.. {
        let (count, partition) = (1 + random.below(20), random.below(2) as u32);
        let name = format!("{round}-{producer}-{number}");
        let filler = "x".repeat(random.below(2000) as usize);
        let batch: Vec<NewRecord> =
            (0..count).map(|i| keyed(Topic::Raw, partition, &name, format!("{i}/{count}{filler}"))).collect();
        log.produce(batch).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acked {name} {count} .").and_then(|()| out.flush()).unwrap();
    }
}

async fn hop(log: SharedLog) {
    let mut consumer = log.subscribe("hop", Topic::Raw).await.unwrap();
    loop {
        if let Polled::Records(partition, read) = consumer.poll(Duration::from_secs(1), ALL).await.unwrap() {
            let next = read.last().unwrap().offset + 1;
            let outputs =
                read.iter().map(|record| to(Topic::Events, partition, record.value.clone())).collect();
            consumer.commit(Transaction { outputs, offsets: vec![(partition, next)] }).await.unwrap();
        }
    }
}

const UPKEEP_TEST_NAME: &str = "kill9::upkeep_that_is_killed_loses_nothing_it_must_keep";
const UPKEEP_KILLS: u64 = 10;
const KEYS: u64 = 40;

/// Retention and compaction under way all the time; the newest of each key and the youngest records stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_that_is_killed_loses_nothing_it_must_keep() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        let round = std::env::var(CHILD_ROUND).unwrap().parse().unwrap();
        return upkeep_victim(PathBuf::from(folder), round).await;
    }
    let mut random = Random::new();
    println!("seed {}", random.seed());
    let folder = tempfile::tempdir().unwrap();
    let mut newest: HashMap<String, u64> = HashMap::new();
    for round in 0..UPKEEP_KILLS {
        let child = start(UPKEEP_TEST_NAME, folder.path(), round);
        for (name, number) in run_and_kill(child, Duration::from_millis(50 + random.below(400))) {
            let before = newest.entry(name).or_default();
            *before = number.max(*before);
        }
        let (log, local) = local::open(options(folder.path(), Clock::System)).await.unwrap();
        let windows = read_all(&log, Topic::Windows, 0).await;
        for key in 0..KEYS {
            let last = windows.iter().rfind(|record| record.key == format!("k{key}")).expect("a key is gone");
            let number: u64 =
                std::str::from_utf8(&last.value).unwrap().trim_end_matches('x').parse().unwrap();
            assert!(number >= newest["k"], "k{key} went back to {number} in round {round}");
        }
        let raw = log.extent(Topic::Raw, 0).await.unwrap();
        assert!(raw.end > newest["raw"], "{raw:?} in round {round}");
        let kept = read_all(&log, Topic::Raw, 0).await;
        assert!(kept.iter().map(|record| record.offset).eq(raw.start..raw.end), "holes in round {round}");
        drop(log);
        local.close().await;
    }
    let (log, _local) = local::open(options(folder.path(), Clock::System)).await.unwrap();
    let extent = log.extent(Topic::Raw, 0).await.unwrap();
    println!("{extent:?}, newest {newest:?}");
    assert!(extent.start > 0, "retention was never under way");
    let written = log.extent(Topic::Windows, 0).await.unwrap().end;
    let kept = read_all(&log, Topic::Windows, 0).await.len() as u64;
    assert!(kept <= written / 2, "compaction was never under way: {kept} of {written}");
}

/// Writes windows and raw records, with upkeep after each batch.
async fn upkeep_victim(folder: PathBuf, round: u64) {
    let (log, local) = local::open(options(&folder, Clock::System)).await.unwrap();
    let filler = "x".repeat(4000);
    for number in (round * 1_000_000).. {
        let state =
            (0..KEYS).map(|key| keyed(Topic::Windows, 0, &format!("k{key}"), format!("{number}{filler}")));
        log.produce(state.collect()).await.unwrap();
        let raw = (0..100).map(|_| to(Topic::Raw, 0, filler.clone().into_bytes())).collect();
        let last = log.produce(raw).await.unwrap()[99].offset;
        let mut out = std::io::stdout().lock();
        writeln!(out, "acked k {number} .\nacked raw {last} .").and_then(|()| out.flush()).unwrap();
        drop(out);
        local.upkeep().await.unwrap();
    }
}
