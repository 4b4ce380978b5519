//! A look into the log behind the stages: dead letters, what each consumer group has yet to do, and partitions
//! that stand still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use model::headers;
use model::topic::Topic;
use stream::log::{FetchLimits, SharedLog};
use stream::record::Record;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Every consumer group, with the topic that it reads.
pub const GROUPS: [(&str, Topic); 5] = [
    ("mozdef-normalizer", Topic::Raw),
    ("mozdef-match", Topic::Events),
    ("mozdef-window", Topic::Matches),
    ("mozdef-event-sink", Topic::Events),
    ("mozdef-alert-sink", Topic::Alerts),
];

/// One read.
const LIMITS: FetchLimits = FetchLimits { records_max: 1000, bytes_max: 4 << 20 };

/// Every committed record of a topic.
///
/// # Errors
/// The log does not answer.
pub async fn all_records(log: &SharedLog, topic: Topic) -> anyhow::Result<Vec<Record>> {
    let mut all = Vec::new();
    for partition in 0..log.partitions(topic) {
        let extent = log.extent(topic, partition).await?;
        let mut next = extent.start;
        while next < extent.stable {
            let fetched = log.fetch(topic, partition, next, LIMITS).await?;
            all.extend(fetched.records);
            next = fetched.next;
        }
    }
    Ok(all)
}

/// The first record that a group has not finished in a partition, heartbeats and watermarks aside.
async fn undone(
    log: &SharedLog,
    group: &str,
    topic: Topic,
    partition: u32,
) -> anyhow::Result<(u64, Option<Record>)> {
    let committed = log.committed(group, topic, partition).await?;
    let extent = log.extent(topic, partition).await?;
    ensure!(
        committed <= extent.end,
        "{group} has committed {committed} of {extent:?} in {topic}/{partition}"
    );
    let mut next = committed;
    while next < extent.stable {
        let fetched = log.fetch(topic, partition, next, LIMITS).await?;
        if let Some(record) = fetched.records.into_iter().find(|r| r.headers.get(headers::KIND).is_none()) {
            return Ok((committed, Some(record)));
        }
        next = fetched.next;
    }
    Ok((committed, None))
}

/// Every group has finished every record of its topic.
///
/// # Errors
/// Which has not, or has committed more than there is.
pub async fn all_done(log: &SharedLog) -> anyhow::Result<()> {
    for (group, topic) in GROUPS {
        for partition in 0..log.partitions(topic) {
            let (committed, undone) = undone(log, group, topic, partition).await?;
            let undone = undone.map(|record| record.origin());
            ensure!(undone.is_none(), "{group} stands at {committed} and has not finished {undone:?}");
        }
    }
    Ok(())
}

/// Watches how long a partition stays at one committed offset while it has work.
pub struct StallWatch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeMap<String, Duration>>,
}

impl StallWatch {
    /// Starts to watch.
    pub fn start(log: &SharedLog) -> StallWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (log.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut since: BTreeMap<String, (u64, Instant)> = BTreeMap::new();
            let mut longest: BTreeMap<String, Duration> = BTreeMap::new();
            while !stopped.load(Ordering::SeqCst) {
                for (group, topic) in GROUPS {
                    for partition in 0..log.partitions(topic) {
                        // A broker that is away is no stall of the group.
                        let Ok((committed, undone)) = undone(&log, group, topic, partition).await else {
                            continue;
                        };
                        let (name, now) = (format!("{group} {topic}/{partition}"), Instant::now());
                        let (at, from) = since.entry(name.clone()).or_insert((committed, now));
                        if *at != committed || undone.is_none() {
                            (*at, *from) = (committed, now);
                        }
                        let stood = now.saturating_duration_since(*from);
                        let most = longest.entry(name).or_default();
                        *most = (*most).max(stood);
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            longest
        });
        StallWatch { stop, task }
    }

    /// The longest time that a partition stood still, and which it was.
    ///
    /// # Errors
    /// The watch itself broke.
    pub async fn end(self) -> anyhow::Result<(Duration, String)> {
        self.stop.store(true, Ordering::SeqCst);
        let longest = self.task.await?;
        Ok(longest.into_iter().map(|(name, stood)| (stood, name)).max().unwrap_or_default())
    }
}

/// Each raw record is in `mozdef.events` once or in `mozdef.dead` once, and nothing else is: what exactly once in the
/// log means. Gives how many events and how many letters of the normalizer there are.
///
/// # Errors
/// What is there twice, or not at all.
pub async fn once_in_the_log(log: &SharedLog) -> anyhow::Result<(usize, usize)> {
    let raw: BTreeSet<String> = all_records(log, Topic::Raw).await?.iter().map(Record::origin).collect();
    let mut seen = BTreeSet::new();
    let mut counts = (0, 0);
    for topic in [Topic::Events, Topic::Dead] {
        for record in all_records(log, topic).await? {
            let header = |name| record.headers.get_str(name).unwrap_or_default();
            let is_letter_of_another = topic == Topic::Dead && header(headers::STAGE) != "normalizer";
            if record.headers.get(headers::KIND).is_some() || is_letter_of_another {
                continue;
            }
            let origin = header(headers::ORIGIN).to_owned();
            ensure!(raw.contains(&origin), "{} comes from {origin:?}, which is not there", record.origin());
            ensure!(!seen.contains(&origin), "{origin} is in {topic} again: {}", record.origin());
            seen.insert(origin);
            *(if topic == Topic::Events { &mut counts.0 } else { &mut counts.1 }) += 1;
        }
    }
    let missing: Vec<_> = raw.difference(&seen).take(5).collect();
    ensure!(missing.is_empty(), "{} raw records left no trace, such as {missing:?}", raw.len() - seen.len());
    Ok(counts)
}
