//! Free space of the disk that holds the log.
//!
//! In: a folder. Out: whether there is room. Never: a write.

use std::path::{Path, PathBuf};

/// Least that is kept free, whatever is configured: what the engine may still write in the background when
/// the log has stopped taking records. Were that to fail, the log would have to be opened anew.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Below this nothing at all is written, not even to make room: the engine must not meet a full disk.
const RESERVE_BYTES: u64 = 16 << 20;

/// How free space is found out: bytes, by folder.
pub(super) type Probe = fn(&Path) -> std::io::Result<u64>;

/// Watches the free space of a folder.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    free_min: u64,
    probe: Probe,
}

impl Space {
    /// `free_min`: bytes below which nothing is taken.
    pub(super) fn new(folder: &Path, free_min: u64, probe: Probe) -> Space {
        Space { folder: folder.to_owned(), free_min: free_min.max(FREE_BYTES_MIN), probe }
    }

    /// Whether small writes are safe, such as offsets, or the marks of retention.
    pub(super) fn has_reserve(&self) -> bool {
        (self.probe)(&self.folder).is_ok_and(|free| free >= RESERVE_BYTES)
    }

    /// `Err` with what is wrong, for people, when so many bytes should not be written now.
    pub(super) fn check(&self, bytes: u64) -> Result<(), String> {
        let free = (self.probe)(&self.folder)
            .map_err(|error| format!("free space of {} cannot be read: {error}", self.folder.display()))?;
        if free.saturating_sub(bytes) >= self.free_min {
            return Ok(());
        }
        Err(format!(
            "{} has {} MiB free and must keep {} (log.min_free_mib); make room, or lower log.retention_mib",
            self.folder.display(),
            free >> 20,
            self.free_min >> 20
        ))
    }
}

/// Bytes that an ordinary user may still write.
pub(super) fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
