//! What the tests share: records, a harness over the local log, readers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::local::{self, LocalLog, LocalOptions};
use stream::log::{Consumer, FetchLimits, Polled, SharedLog};
use stream::record::{Headers, NewRecord, Record};

/// Bounds that no test reaches.
pub const ALL: FetchLimits = FetchLimits { records_max: 1_000_000, bytes_max: 1 << 30 };

/// Longest wait for something that must happen.
pub const SOON: Duration = Duration::from_secs(20);

/// A log under test, with what a test may do to it from outside.
#[async_trait]
pub trait Harness: Send {
    /// The log as it is now.
    fn log(&self) -> SharedLog;
    /// Ends it in good order and opens it again.
    async fn restart(&mut self);
    /// Lets time pass, as far as the log's stamps and retention are concerned.
    fn pass(&self, millis: i64);
    /// Removes and compacts now what time and size ask for.
    async fn upkeep(&self);
}

/// Age after which records of the harness's logs expire, in hours.
pub const RETENTION_HOURS: i64 = 2;
/// Size beyond which they do, in MiB for a topic of two partitions.
pub const RETENTION_MIB: u64 = 16;

/// The local log on a temporary folder.
pub struct Local {
    folder: tempfile::TempDir,
    clock: Clock,
    open: Option<Arc<LocalLog>>,
}

pub fn options(folder: &Path, clock: Clock) -> LocalOptions {
    LocalOptions {
        folder: folder.to_owned(),
        partitions: 2,
        retention_hours: RETENTION_HOURS as u64,
        retention_mib: RETENTION_MIB,
        min_free_mib: 0,
        clock,
    }
}

impl Local {
    pub async fn start() -> Local {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let (_, open) = local::open(options(folder.path(), clock.clone())).await.unwrap();
        Local { folder, clock, open: Some(open) }
    }

    pub fn local(&self) -> &Arc<LocalLog> {
        self.open.as_ref().unwrap()
    }
}

#[async_trait]
impl Harness for Local {
    fn log(&self) -> SharedLog {
        Arc::<LocalLog>::clone(self.local())
    }

    async fn restart(&mut self) {
        self.open.take().unwrap().close().await;
        let (_, open) = local::open(options(self.folder.path(), self.clock.clone())).await.unwrap();
        self.open = Some(open);
    }

    fn pass(&self, millis: i64) {
        self.clock.set(self.clock.now().plus_millis(millis));
    }

    async fn upkeep(&self) {
        self.local().upkeep().await.unwrap();
    }
}

/// A record for a partition.
pub fn to(topic: Topic, partition: u32, value: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic,
        partition: Some(partition),
        key: Bytes::new(),
        value: value.into(),
        headers: Headers::new(),
    }
}

/// A record with a key.
pub fn keyed(topic: Topic, partition: u32, key: &str, value: impl Into<Bytes>) -> NewRecord {
    NewRecord { key: Bytes::from(key.to_owned()), ..to(topic, partition, value) }
}

/// All records of a partition, read in small steps.
pub async fn read_all(log: &SharedLog, topic: Topic, partition: u32) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let (mut next, end) = (0, log.extent(topic, partition).await.unwrap().stable);
    while next < end {
        let limits = FetchLimits { records_max: 97, bytes_max: 1 << 20 };
        let some = log.fetch(topic, partition, next, limits).await.unwrap();
        next = some.next;
        all.extend(some.records);
    }
    all
}

/// Values as text.
pub fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

/// Polls until something other than `Nothing` comes.
pub async fn next(consumer: &mut dyn Consumer) -> Polled {
    let happened = async {
        loop {
            match consumer.poll(Duration::from_millis(200), ALL).await.unwrap() {
                Polled::Nothing { .. } => {}
                other => return other,
            }
        }
    };
    tokio::time::timeout(SOON, happened).await.expect("something to happen")
}

/// Polls until partitions are assigned.
pub async fn assigned(consumer: &mut dyn Consumer) -> Vec<u32> {
    match next(consumer).await {
        Polled::Assigned(partitions) => partitions,
        other => panic!("expected an assignment, got {other:?}"),
    }
}

/// Polls until these partitions are said to be at their ends; nothing else may come.
pub async fn ended(
    consumer: &mut dyn Consumer,
    partitions: &[u32],
    limits: FetchLimits,
) -> Vec<(u32, Timestamp)> {
    let told = async {
        loop {
            match consumer.poll(Duration::from_millis(20), limits).await.unwrap() {
                Polled::Nothing { at_end } if at_end.iter().map(|(p, _)| p).eq(partitions) => return at_end,
                Polled::Nothing { .. } => {}
                other => panic!("expected the end, got {other:?}"),
            }
        }
    };
    tokio::time::timeout(SOON, told).await.expect("the end to be told")
}

/// Polls until records come.
pub async fn records(consumer: &mut dyn Consumer) -> (u32, Vec<Record>) {
    match next(consumer).await {
        Polled::Records(partition, records) => (partition, records),
        other => panic!("expected records, got {other:?}"),
    }
}

/// Small random numbers (xorshift64*). The seed comes from `$MOZDEF_TEST_SEED`, else from the machine.
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub fn new() -> Random {
        use std::hash::{BuildHasher, RandomState};
        let given = std::env::var("MOZDEF_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u8)) | 1;
        Random { seed, state: seed }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// From 0 to `bound` − 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
