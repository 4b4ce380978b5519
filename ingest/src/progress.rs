//! How far a puller has come, kept in `mozdef.control` under its name, so that it survives the machine it runs on.
//!
//! In: a note after every page that is in the log. Out: the last note, at the start. Never: a note before what it speaks
//! of is durable; a crash in between repeats a page, and its events have the same ids.
//!
//! The log is the one thing that every process of MozDef has, wherever it runs: a file beside the process would be gone
//! with its pod, and what is in `mozdef.raw` could only be asked by reading all of it.

use bytes::Bytes;
use model::headers;
use model::topic::Topic;
use stream::log::{FetchLimits, LogError, SharedLog};
use stream::record::{Headers, NewRecord, partition_of};
use stream::shutdown::Shutdown;

use crate::backoff::Backoff;
use crate::intake::{Intake, IntakeError};

/// Bounds of one read.
const READ: FetchLimits = FetchLimits { records_max: 1000, bytes_max: 4 << 20 };

/// The note of one puller.
pub(crate) struct Progress {
    key: Bytes,
    input: &'static str,
}

impl Progress {
    /// Of a puller of this input, by the name of its source in the configuration.
    pub(crate) fn of(input: &'static str, source: &str) -> Progress {
        Progress { key: Bytes::from(format!("progress/{input}/{source}")), input }
    }

    /// The last note; waits for the log. `None` where there is none yet.
    ///
    /// # Errors
    /// [`IntakeError`] when shutdown comes first, or the log is broken.
    pub(crate) async fn load(
        &self,
        log: &SharedLog,
        shutdown: &mut Shutdown,
    ) -> Result<Option<Bytes>, IntakeError> {
        let mut backoff = Backoff::default();
        loop {
            match self.read(log).await {
                Ok(note) => return Ok(note),
                Err(error) if !error.is_retryable() => return Err(IntakeError::Log(error)),
                Err(error) => {
                    tracing::warn!(input = self.input, %error, "how far it came is not known yet; trying again");
                }
            }
            if backoff.wait(None, shutdown).await.is_stopped() {
                return Err(IntakeError::Stopped);
            }
        }
    }

    async fn read(&self, log: &SharedLog) -> Result<Option<Bytes>, LogError> {
        let partition = partition_of(&self.key, log.partitions(Topic::Control));
        let extent = log.extent(Topic::Control, partition).await?;
        let mut at = extent.start;
        let mut note = None;
        while at < extent.stable {
            let fetched = log.fetch(Topic::Control, partition, at, READ).await?;
            if fetched.next <= at {
                return Err(LogError::Unavailable("mozdef.control has an open transaction".to_owned()));
            }
            at = fetched.next;
            for record in fetched.records.into_iter().filter(|record| record.key == self.key) {
                // A copy: the record's bytes are a slice of all that was read.
                note = (!record.value.is_empty()).then(|| Bytes::copy_from_slice(&record.value));
            }
        }
        Ok(note)
    }

    /// Writes a note, until the log has it.
    ///
    /// # Errors
    /// As [`Intake::put_until`].
    pub(crate) async fn save(
        &self,
        intake: &Intake,
        note: String,
        shutdown: &mut Shutdown,
    ) -> Result<(), IntakeError> {
        let record = NewRecord {
            topic: Topic::Control,
            partition: None,
            key: self.key.clone(),
            value: Bytes::from(note),
            headers: Headers::new().with(headers::KIND, headers::KIND_PROGRESS),
        };
        let mut backoff = Backoff::default();
        loop {
            match intake.log().produce(vec![record.clone()]).await {
                Ok(_) => return Ok(()),
                Err(error) if !error.is_retryable() => return Err(IntakeError::Log(error)),
                Err(error) => {
                    tracing::warn!(input = self.input, %error, "how far it came is not written yet")
                }
            }
            if backoff.wait(None, shutdown).await.is_stopped() {
                return Err(IntakeError::Stopped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::time::Clock;
    use stream::local::{self, LocalOptions};

    use super::Progress;
    use crate::intake::Intake;

    #[tokio::test]
    async fn the_last_note_is_found_again_by_its_puller_alone() {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalOptions {
            folder: folder.path().to_owned(),
            partitions: 3,
            retention_hours: 1,
            retention_mib: 64,
            min_free_mib: 0,
            clock: Clock::System,
        };
        let log = local::open(options).await.unwrap().0;
        let intake = Intake::new(log.clone(), Clock::System, "papertrail");
        let (_trigger, mut shutdown) = stream::shutdown::channel();
        let (one, other) = (Progress::of("papertrail", "one"), Progress::of("papertrail", "other"));
        assert_eq!(one.load(&log, &mut shutdown).await.unwrap(), None);
        for note in 0..2500 {
            one.save(&intake, note.to_string(), &mut shutdown).await.unwrap();
            if note % 1000 == 0 {
                other.save(&intake, format!("other {note}"), &mut shutdown).await.unwrap();
            }
        }
        assert_eq!(one.load(&log, &mut shutdown).await.unwrap().as_deref(), Some(&b"2499"[..]));
        assert_eq!(other.load(&log, &mut shutdown).await.unwrap().as_deref(), Some(&b"other 2000"[..]));
    }
}
