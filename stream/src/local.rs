//! The local log: one process, on a data folder, over fjall. (Skeleton.)

use std::path::PathBuf;
use std::sync::Arc;

use model::time::Clock;

use crate::log::SharedLog;

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
    InUse { folder: String, holder: String },
    /// The folder cannot be made or written.
    #[error("data folder {folder} cannot be written: {cause}; check its owner and mode, or choose another --data")]
    NotWritable { folder: String, cause: String },
    /// The folder holds more partitions than configured.
    #[error("log.partitions is {configured}, but {folder} already has {existing}; partitions never shrink")]
    Shrinks { folder: String, existing: u32, configured: u32 },
    /// The files cannot be read.
    #[error("the log in {folder} cannot be read: {cause}")]
    Corrupt { folder: String, cause: String },
}

/// Opens or makes the local log.
pub async fn open(_options: LocalOptions) -> Result<(SharedLog, Arc<LocalLog>), OpenError> {
    todo!()
}

/// The local log; for sizes, retention and a clean close.
pub struct LocalLog {}
