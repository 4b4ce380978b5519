//! The local log: one process, on a data folder, over fjall.
//!
//! In: records and offsets of one process. Out: the same log after any crash.
//! Never: an acknowledgement before the flush to disk, or after a failed one.
//!
//! ```text
//! produce, commit ─▶ queue (bounded by bytes) ─▶ committer: one batch, one flush ─▶ tails in memory ─▶ poll, fetch
//!                                                        │ fjall (store.rs)                     ▲
//!                                                        └──── upkeep: retention, compaction    └─ older: from disk
//! ```

mod append;
mod block;
mod committer;
mod compact;
mod consumer;
mod group;
mod lock;
mod open;
mod read;
mod shard;
mod shared;
mod slots;
mod space;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use model::time::{Clock, Timestamp};
use model::topic::Topic;

use self::consumer::LocalConsumer;
use self::shared::{Core, Health};
use crate::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError, SharedLog};
use crate::record::{NewRecord, Position};

/// How the local log is opened.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Its folder; made when absent. Locked against other processes.
    pub folder: PathBuf,
    /// Partitions of every topic; may grow.
    pub partitions: u32,
    /// Largest age of records in topics cleaned by time, in hours.
    pub retention_hours: u64,
    /// Largest size of one such topic, in MiB.
    pub retention_mib: u64,
    /// Free disk space, in MiB, below which nothing is taken.
    pub min_free_mib: u64,
    /// The time.
    pub clock: Clock,
}

/// Why the local log cannot be opened. Each names the folder and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error("data folder {folder} is in use by another process{holder}; stop it or choose another --data")]
    InUse {
        /// The folder.
        folder: String,
        /// ` (pid 123)`, or nothing where it is not known.
        holder: String,
    },
    /// The folder cannot be made or written.
    #[error(
        "data folder {folder} cannot be written: {cause}; check its owner and mode, or choose another --data"
    )]
    NotWritable {
        /// The folder.
        folder: String,
        /// What the system said.
        cause: String,
    },
    /// The folder holds more partitions than configured.
    #[error("log.partitions is {configured}, but {folder} already has {existing}; partitions never shrink")]
    Shrinks {
        /// The folder.
        folder: String,
        /// Partitions it has.
        existing: u32,
        /// Partitions asked for.
        configured: u32,
    },
    /// The files cannot be read.
    #[error("the log in {folder} cannot be read: {cause}")]
    Corrupt {
        /// The folder.
        folder: String,
        /// What is wrong.
        cause: String,
    },
}

/// Opens or makes the local log. Both handles are of the same log.
pub async fn open(options: LocalOptions) -> Result<(SharedLog, Arc<LocalLog>), OpenError> {
    open_with(options, space::free_bytes).await
}

async fn open_with(
    options: LocalOptions,
    probe: space::Probe,
) -> Result<(SharedLog, Arc<LocalLog>), OpenError> {
    let folder = options.folder.display().to_string();
    let opened = tokio::task::spawn_blocking(move || open::open_blocking(&options, probe)).await;
    let log = opened.map_err(|error| OpenError::Corrupt { folder, cause: error.to_string() })??;
    let log = Arc::new(log);
    Ok((Arc::<LocalLog>::clone(&log), log))
}

/// The local log; for sizes, upkeep and a clean close. Dropping it closes it too.
pub struct LocalLog {
    core: Arc<Core>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    committer: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    stop_upkeep: Sender<()>,
}

impl LocalLog {
    /// Bytes of a topic on disk.
    pub fn bytes(&self, topic: Topic) -> u64 {
        self.core.store().map(|store| store.disk_bytes(topic)).unwrap_or(0)
    }

    /// Removes what is too old or too much, and compacts, now. It also happens by itself every two seconds.
    pub async fn upkeep(&self) -> Result<(), LogError> {
        let core = Arc::clone(&self.core);
        let pass = tokio::task::spawn_blocking(move || upkeep::pass(&core)).await;
        pass.map_err(|error| LogError::Broken(error.to_string()))?
    }

    /// Writes what is queued, stops, and frees the folder. Every later call answers [`LogError::Unavailable`].
    pub async fn close(&self) {
        let threads = self.stop();
        let core = Arc::clone(&self.core);
        let closed = tokio::task::spawn_blocking(move || finish(&core, threads)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the log did not close in good order");
        }
    }

    /// No new calls from here on.
    fn stop(&self) -> Option<Threads> {
        self.core.close();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits for the threads and lets go of the files.
fn finish(core: &Core, threads: Option<Threads>) {
    let Some(threads) = threads else { return };
    drop(threads.stop_upkeep);
    if core.is_stuck() {
        // It may never come back; the kernel frees the folder when the process ends.
        return;
    }
    for thread in [threads.committer, threads.upkeep] {
        if thread.join().is_err() {
            tracing::error!("a thread of the log has panicked");
        }
    }
    core.let_go();
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        let threads = self.stop();
        finish(&self.core, threads);
    }
}

#[async_trait]
impl Log for LocalLog {
    fn id(&self) -> &str {
        &self.core.id
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        self.core.partitions
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.core.append(&records, None).await
    }

    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        self.core.check()?;
        Ok(Box::new(LocalConsumer::new(Arc::clone(&self.core), self.core.group(group, topic))))
    }

    async fn fetch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        self.core.check()?;
        self.core.read(topic, partition, from, limits).await
    }

    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.core.check()?;
        Ok(self.core.extent(topic, partition))
    }

    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.core.check()?;
        self.core.offset_at(topic, partition, time).await
    }

    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.core.check()?;
        let start = self.core.extent(topic, partition).start;
        Ok(self.core.group_committed(group, topic, partition).map_or(start, |next| next.max(start)))
    }
}
