//! The way of every input into the log: one durable produce, then the sender may be told.
//!
//! In: the records of messages. Out: they are in the log, and counted. Never: a word to the sender before that; a wait
//! that a shutdown cannot end, but for the one attempt under way, which the log bounds.

use std::time::Duration;

use model::error::Reason;
use model::headers;
use model::metrics::{Stage, metrics};
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::log::{LogError, SharedLog};
use stream::record::{NewRecord, Position};
use stream::shutdown::Shutdown;

use crate::backoff::Backoff;

/// Longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The log as an input sees it. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    log: SharedLog,
    clock: Clock,
    input: &'static str,
}

/// Why records are not in the log.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The process ends; whether some of them are in the log is not known. Tell the sender nothing.
    #[error("shutdown before the log confirmed")]
    Stopped,
    /// The log takes nothing more until the process is started again.
    #[error(transparent)]
    Log(LogError),
}

impl Intake {
    /// The way of one input (its name as in the header `input`).
    pub fn new(log: SharedLog, clock: Clock, input: &'static str) -> Intake {
        Intake { log, clock, input }
    }

    /// The log.
    pub fn log(&self) -> &SharedLog {
        &self.log
    }

    /// The time of receipt for what arrives now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Makes records durable together, once, and counts them. What is larger than its topic takes goes to
    /// `mozdef.dead` in its place. The places are in the order of the records.
    ///
    /// # Errors
    /// As the log says: after a retryable one, whether some of them are in the log is not known.
    pub async fn put(&self, mut records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.fit(&mut records);
        let sums = Sums::of(&records);
        let places = self.log.produce(records).await?;
        sums.count(self.input);
        Ok(places)
    }

    /// The same, again and again until the log has them.
    ///
    /// # Errors
    /// [`IntakeError::Stopped`] when shutdown comes first, [`IntakeError::Log`] when the log is broken.
    pub async fn put_until(
        &self,
        records: Vec<NewRecord>,
        shutdown: &mut Shutdown,
    ) -> Result<Vec<Position>, IntakeError> {
        let mut backoff = Backoff::up_to(WAIT_MAX);
        loop {
            match self.put(records.clone()).await {
                Ok(places) => return Ok(places),
                Err(error) if !error.is_retryable() => return Err(IntakeError::Log(error)),
                Err(error) => {
                    tracing::warn!(input = self.input, %error, "the log took no events; trying again");
                }
            }
            if backoff.wait(None, shutdown).await.is_stopped() {
                return Err(IntakeError::Stopped);
            }
        }
    }

    fn fit(&self, records: &mut [NewRecord]) {
        for record in records {
            let (bytes, limit) = (record.size(), self.log.record_bytes_max(record.topic));
            if record.topic == Topic::Raw && bytes > limit {
                record.topic = Topic::Dead;
                record.headers.push(headers::STAGE, Stage::Gateway.as_str());
                record.headers.push(headers::REASON, Reason::TooLarge.as_str());
                let detail = LogError::TooLarge { bytes, limit }.to_string();
                record.headers.push(headers::DETAIL, detail);
                record.headers.push(headers::VERSION, env!("CARGO_PKG_VERSION"));
            }
            if record.topic == Topic::Dead {
                cut(record, self.log.record_bytes_max(Topic::Dead));
            }
        }
    }
}

/// A dead letter that no topic takes as it is keeps its beginning, and says so.
fn cut(record: &mut NewRecord, limit: usize) {
    let Some(excess) = record.size().checked_sub(limit).filter(|excess| *excess > 0) else { return };
    let told = record.headers.get_str(headers::DETAIL).unwrap_or_default();
    let detail = format!("{told}; only the beginning of {} bytes is kept", record.value.len());
    let kept = record.value.len().saturating_sub(excess.saturating_add(detail.len()));
    record.value = record.value.slice(..kept);
    record.headers.set(headers::DETAIL, detail);
}

/// What a produce adds to the counters.
struct Sums {
    events: u64,
    bytes: u64,
    dead: Vec<(Reason, u64)>,
}

impl Sums {
    fn of(records: &[NewRecord]) -> Sums {
        let mut sums = Sums { events: 0, bytes: 0, dead: Vec::new() };
        for record in records {
            sums.bytes = sums.bytes.saturating_add(record.value.len() as u64);
            if record.topic != Topic::Dead {
                sums.events = sums.events.saturating_add(1);
                continue;
            }
            let word = record.headers.get_str(headers::REASON);
            let reason = Reason::ALL.into_iter().find(|reason| Some(reason.as_str()) == word);
            let reason = reason.unwrap_or(Reason::MalformedRecord);
            match sums.dead.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => sums.dead.push((reason, 1)),
            }
        }
        sums
    }

    fn count(&self, input: &str) {
        let dead: u64 = self.dead.iter().map(|(_, count)| count).sum();
        let m = metrics();
        m.taken(Stage::Gateway, self.events.saturating_add(dead));
        m.finished(Stage::Gateway, self.events);
        for (reason, count) in &self.dead {
            m.dead(Stage::Gateway, *reason, *count);
        }
        m.input_records.with_label_values(&[input, "accepted"]).inc_by(self.events);
        m.input_records.with_label_values(&[input, "dead"]).inc_by(dead);
        m.input_bytes.with_label_values(&[input]).inc_by(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::error::Reason;
    use model::headers;
    use model::time::{Clock, Timestamp};
    use model::topic::Topic;
    use stream::local::{self, LocalOptions};
    use stream::log::{DEAD_RECORD_BYTES_MAX, FetchLimits, RECORD_BYTES_MAX, SharedLog};
    use stream::record::Headers;

    use super::Intake;
    use crate::raw::{Envelope, Source};

    async fn log(folder: &std::path::Path) -> SharedLog {
        let options = LocalOptions {
            folder: folder.to_owned(),
            partitions: 1,
            retention_hours: 1,
            retention_mib: 256,
            min_free_mib: 0,
            clock: Clock::System,
        };
        local::open(options).await.unwrap().0
    }

    fn envelope() -> Envelope {
        let source = Source {
            input: "test",
            principal: Bytes::from_static(b"me"),
            peer: Bytes::new(),
            more: Headers::new(),
        };
        source.received(Timestamp::from_millis(1))
    }

    #[tokio::test]
    async fn what_is_too_large_goes_to_dead_and_the_rest_is_in_raw() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path()).await;
        let intake = Intake::new(log.clone(), Clock::System, "test");
        let small = envelope().event(Bytes::from_static(b"{}"), None);
        let huge = Bytes::from(vec![b' '; 3 * RECORD_BYTES_MAX]);
        let huge = envelope().dead(huge, None, Reason::TooLarge, "huge");
        let large = envelope().event(Bytes::from(vec![b' '; RECORD_BYTES_MAX]), None);
        let (_trigger, mut shutdown) = stream::shutdown::channel();
        let places = intake.put_until(vec![large, small, huge], &mut shutdown).await.unwrap();
        assert_eq!(places.len(), 3);
        let limits = FetchLimits { records_max: 10, bytes_max: 64 << 20 };
        let raw = log.fetch(Topic::Raw, 0, 0, limits).await.unwrap().records;
        assert_eq!(raw.iter().map(|record| &*record.value).collect::<Vec<_>>(), [b"{}"]);
        let dead = log.fetch(Topic::Dead, 0, 0, limits).await.unwrap().records;
        assert_eq!(dead.len(), 2);
        assert!(dead[1].value.len() > RECORD_BYTES_MAX && dead[1].size() <= DEAD_RECORD_BYTES_MAX);
        let told = dead[1].headers.get_str(headers::DETAIL);
        assert_eq!(told, Some("huge; only the beginning of 25165824 bytes is kept"));
        assert_eq!(dead[0].headers.get_str(headers::REASON), Some(Reason::TooLarge.as_str()));
        assert_eq!(dead[0].value.len(), RECORD_BYTES_MAX);
    }
}
