//! Reading outside of any group: clients of their own, kept warm for the next step.
//!
//! In: a place and limits. Out: records that are decided, and where to go on. Never: beyond the last stable offset.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::topic::Topic;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::Core;
use super::batch::{self, Gathering};
use super::failure::{code, of_topic, unavailable};
use super::look::{self, Client, offset};
use super::settings;
use crate::log::{FetchLimits, Fetched, LogError};
use crate::record::Record;

/// Readers that wait for work.
const IDLE_MAX: usize = 4;
/// How long one waits.
const IDLE: Duration = Duration::from_secs(5);
/// Longest time of one fetch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Readers that wait for work.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<Reader>>);

/// One client, assigned to one partition.
struct Reader {
    client: Client,
    /// Topic, partition, and the offset that comes next; none before the first work.
    place: Option<(Topic, u32, u64)>,
    /// A record that was too much for the last fetch.
    left_over: Option<Record>,
    used: Instant,
}

impl Readers {
    /// The reader that stands at this place, else the one that waits longest.
    fn take(&self, core: &Core, place: (Topic, u32, u64)) -> Result<Reader, LogError> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = idle.iter().position(|reader| reader.place == Some(place)) {
            return Ok(idle.swap_remove(index));
        }
        if idle.len() >= IDLE_MAX {
            return Ok(idle.remove(0));
        }
        drop(idle);
        let group = core.config.group_name("mozdef-reader");
        let config = settings::reader(&core.base, &group, "read_committed");
        let client = look::client(&config, core.voice("read"))
            .map_err(|error| unavailable("making a client that reads", &error))?;
        Ok(Reader { client, place: None, left_over: None, used: Instant::now() })
    }

    fn give_back(&self, mut reader: Reader) {
        reader.used = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(reader);
        }
    }

    /// Takes out those that have waited too long (all of them at the end); dropping them blocks.
    pub(super) fn tired(&self, is_end: bool) -> Vec<impl Sized + Send + use<>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, kept) = idle.drain(..).partition(|reader| is_end || reader.used.elapsed() >= IDLE);
        *idle = kept;
        out
    }
}

/// Reads from `from` on, or the first record after it.
pub(super) async fn fetch(
    core: &Arc<Core>,
    topic: Topic,
    partition: u32,
    from: u64,
    limits: FetchLimits,
) -> Result<Fetched, LogError> {
    let nothing = Fetched { records: Vec::new(), next: from };
    if limits.records_max == 0 {
        return Ok(nothing);
    }
    // Before the reader looks, so that what it finds to be the end is at least this.
    let extent = core.looker.extent(topic, partition).await?;
    let begin = from.max(extent.start);
    if begin >= extent.stable {
        return Ok(Fetched { next: from.max(extent.start.min(extent.stable)), ..nothing });
    }
    let core = Arc::clone(core);
    let reading = move || {
        let mut reader = core.readers.take(&core, (topic, partition, begin))?;
        let fetched = reader.read(&core, (topic, partition, begin), extent.stable, limits);
        if fetched.is_ok() {
            core.readers.give_back(reader);
        }
        fetched.map_err(|error| of_topic(topic, "reading", &error))
    };
    tokio::task::spawn_blocking(reading).await.map_err(|error| LogError::Unavailable(error.to_string()))?
}

impl Reader {
    fn read(
        &mut self,
        core: &Core,
        place: (Topic, u32, u64),
        stable: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, KafkaError> {
        let (topic, partition, begin) = place;
        let mut is_fresh = self.place != Some(place);
        if is_fresh {
            self.assign(core, place)?;
        }
        let mut gathering = Gathering::new(topic, partition);
        let mut records = Vec::new();
        let mut next = begin;
        let mut bytes = 0_usize;
        if let Some(record) = self.left_over.take() {
            next = record.offset.saturating_add(1);
            bytes = record.size();
            records.push(record);
        }
        let deadline = Instant::now().checked_add(PATIENCE).unwrap_or_else(Instant::now);
        while next < stable && records.len().saturating_add(gathering.len()) < limits.records_max {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.client.poll(left) {
                Some(Ok(message)) => {
                    let size = batch::size(&message);
                    let is_first = records.is_empty() && gathering.len() == 0;
                    if !is_first && bytes.saturating_add(size) > limits.bytes_max {
                        let mut alone = Gathering::new(topic, partition);
                        alone.take(&message);
                        self.left_over = alone.finish().pop();
                        break;
                    }
                    bytes = bytes.saturating_add(size);
                    next = offset(message.offset()).saturating_add(1);
                    gathering.take(&message);
                }
                // Said after the assignment, this is the end as it was then, or later.
                Some(Err(KafkaError::PartitionEOF(_))) if is_fresh => next = next.max(stable),
                // Said at some time before: ask again from here.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.assign(core, (topic, partition, next))?;
                    is_fresh = true;
                }
                Some(Err(error)) => return Err(error),
                None if Instant::now() >= deadline => {
                    return Err(KafkaError::MessageConsumption(Code::OperationTimedOut));
                }
                None => {}
            }
        }
        records.extend(gathering.finish());
        // A reader that has skipped a hole has seen the end of it only.
        self.place = Some((topic, partition, next));
        Ok(Fetched { records, next })
    }

    fn assign(&mut self, core: &Core, (topic, partition, from): (Topic, u32, u64)) -> Result<(), KafkaError> {
        self.place = None;
        self.left_over = None;
        let mut assignment = TopicPartitionList::with_capacity(1);
        let from = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        assignment.add_partition_offset(core.names.wire(topic), look::number(partition), from)?;
        self.client.assign(&assignment)
    }
}

/// Whether an error tells of the state of one moment, and goes by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
        )
    )
}
