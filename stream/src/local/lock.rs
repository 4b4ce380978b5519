//! The lock on the log's folder: one process at a time.
//!
//! In: a folder. Out: a lock held until it is dropped, or who holds it. Never:
//! a stale lock; the kernel frees it when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::OpenError;

/// The lock. Dropping it frees the folder.
#[derive(Debug)]
pub(super) struct FolderLock(#[allow(dead_code, reason = "held for its lock")] File);

/// Makes the folder where it is absent, and locks it.
pub(super) fn lock(folder: &Path) -> Result<FolderLock, OpenError> {
    let not_writable = |error: std::io::Error| OpenError::NotWritable {
        folder: folder.display().to_string(),
        cause: error.to_string(),
    };
    std::fs::create_dir_all(folder).map_err(not_writable)?;
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(path).map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a help only; the answer is the same without.
            let read = file.read_to_string(&mut holder);
            let pid = holder.trim().parse::<u32>().ok().filter(|_| read.is_ok());
            let holder = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Err(OpenError::InUse { folder: folder.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(not_writable(error)),
    }
    file.set_len(0).map_err(not_writable)?;
    file.rewind().map_err(not_writable)?;
    writeln!(file, "{}", std::process::id()).map_err(not_writable)?;
    Ok(FolderLock(file))
}
