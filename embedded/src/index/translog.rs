//! The write-ahead log of all indices: what is acknowledged is here until the search library has it.
//!
//! In: operations, already decided. Out: durable once [`Translog::sync`] returns; replayed when the folder is
//! opened. A file goes when every index has committed what it holds. Never: an acknowledgement before `fsync`.
//! After a failed write the operations wait in memory for the next try.
//!
//! A file that is not the last must be whole; the last may end in half a record, which nobody was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use super::translog_file::Operation;
use super::translog_file::{
    MAGIC, cut_file, encode, file_numbers, file_path, later_format, new_file, read_file, remove_if_there,
};
use crate::error::{ApiError, OpenError};

/// A file is left for the next one at this size.
const FILE_BYTES: u64 = 16 << 20;
/// Bytes that may wait for the disk.
const BUFFER_BYTES_MAX: usize = 256 << 20;

/// The log, open for writing.
pub(crate) struct Translog {
    folder: PathBuf,
    state: Mutex<State>,
    flushed: Condvar,
}

struct State {
    buffer: Vec<u8>,
    /// Highest sequence number by index of what is in the buffer.
    buffered: BTreeMap<u64, u64>,
    /// Bytes ever appended; a position to wait for.
    appended: u64,
    synced: u64,
    flushing: bool,
    failed: Option<String>,
    file: Option<File>,
    file_number: u64,
    file_bytes: u64,
    /// Highest sequence number by index, for each file.
    holds: BTreeMap<u64, BTreeMap<u64, u64>>,
}

impl State {
    fn next_file(&mut self) {
        self.file = None;
        self.file_number = self.file_number.saturating_add(1);
        self.file_bytes = 0;
    }
}

impl Translog {
    /// Opens the folder, shows every stored operation in order, and starts a new file.
    pub(crate) fn open(
        folder: &Path,
        mut apply: impl FnMut(Operation<'_>) -> Result<(), String>,
    ) -> Result<Translog, OpenError> {
        let io = |source| OpenError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let numbers = file_numbers(folder).map_err(io)?;
        let mut holds = BTreeMap::new();
        for number in &numbers {
            let path = file_path(folder, *number);
            let mut bytes = Vec::new();
            File::open(&path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(io)?;
            if let Some(found) = later_format(&bytes) {
                return Err(OpenError::Newer { path, found, known: 1 });
            }
            let mut held = BTreeMap::new();
            let whole = read_file(&bytes, |operation| {
                raise(&mut held, operation.index, operation.seq_no);
                apply(operation)
            })
            .map_err(|reason| OpenError::Replay { path: path.clone(), reason })?;
            if whole < bytes.len() {
                if numbers.last() != Some(number) {
                    let reason = format!("record at byte {whole} is broken");
                    return Err(OpenError::Damaged { path, reason });
                }
                let lost = bytes.len().saturating_sub(whole);
                tracing::warn!(file = %path.display(), bytes = lost, "cut an unfinished record off the write-ahead log");
                cut_file(&path, whole as u64).map_err(io)?;
            }
            holds.insert(*number, held);
        }
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let state = State {
            buffer: Vec::new(),
            buffered: BTreeMap::new(),
            appended: 0,
            synced: 0,
            flushing: false,
            failed: None,
            file: None,
            file_number: next,
            file_bytes: 0,
            holds,
        };
        let log = Translog { folder: folder.to_owned(), state: Mutex::new(state), flushed: Condvar::new() };
        Ok(log)
    }

    /// Adds an operation. It is durable once [`Translog::sync`] has returned for the position of a later call
    /// of [`Translog::position`].
    pub(crate) fn append(&self, operation: &Operation<'_>) -> Result<(), ApiError> {
        let mut state = self.lock();
        if let Some(reason) = &state.failed {
            return Err(ApiError::storage(reason));
        }
        if state.buffer.len() > BUFFER_BYTES_MAX {
            return Err(unavailable("the write-ahead log does not keep up".to_owned()));
        }
        let before = state.buffer.len();
        encode(operation, &mut state.buffer);
        let grown = state.buffer.len().saturating_sub(before) as u64;
        state.appended = state.appended.saturating_add(grown);
        raise(&mut state.buffered, operation.index, operation.seq_no);
        Ok(())
    }

    /// Everything appended so far lies before this position.
    pub(crate) fn position(&self) -> u64 {
        self.lock().appended
    }

    /// Waits until everything before `position` is on disk. Whoever comes first writes for all.
    pub(crate) fn sync(&self, position: u64) -> Result<(), ApiError> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.failed {
                return Err(ApiError::storage(reason));
            }
            if state.synced >= position {
                return Ok(());
            }
            if state.flushing {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.flush(state)?;
        }
    }

    /// Numbers of indices that the files name.
    pub(crate) fn indices(&self) -> BTreeSet<u64> {
        self.lock().holds.values().flat_map(|held| held.keys().copied()).collect()
    }

    /// Deletes files whose operations are all committed. `committed`: highest committed sequence number of each
    /// index; an index that is not in it is gone. (Not asked for index by index: a writer holds its index's lock
    /// while it waits for this log's.)
    pub(crate) fn trim(&self, committed: &BTreeMap<u64, u64>) -> Result<(), ApiError> {
        let mut state = self.lock();
        let done = |held: &BTreeMap<u64, u64>| {
            held.iter().all(|(index, highest)| committed.get(index).is_none_or(|seq_no| seq_no >= highest))
        };
        while let Some((number, held)) = state.holds.first_key_value() {
            let number = *number;
            if (state.file.is_some() && number == state.file_number) || state.flushing || !done(held) {
                break;
            }
            fs::remove_file(file_path(&self.folder, number))?;
            state.holds.remove(&number);
        }
        Ok(())
    }

    /// Writes the buffer without the lock, so that others may append meanwhile.
    fn flush<'l>(&'l self, mut state: MutexGuard<'l, State>) -> Result<MutexGuard<'l, State>, ApiError> {
        state.flushing = true;
        let buffer = std::mem::take(&mut state.buffer);
        let buffered = std::mem::take(&mut state.buffered);
        let target = state.appended;
        if state.file_bytes >= FILE_BYTES {
            state.next_file();
        }
        let (number, whole) = (state.file_number, state.file_bytes);
        let mut file = state.file.take();
        drop(state);
        let written = self.write(&mut file, number, &buffer);
        // What a failed write or sync left behind is cut off, so that the operations can go to a new file.
        let cut = match (&written, whole) {
            (Ok(()), _) => Ok(()),
            // Nothing was made.
            (Err(_), 0) if file.is_none() => Ok(()),
            (Err(_), 0) => remove_if_there(&file_path(&self.folder, number)),
            (Err(_), whole) => cut_file(&file_path(&self.folder, number), whole),
        };

        let mut state = self.lock();
        state.flushing = false;
        self.flushed.notify_all();
        match written {
            Ok(()) => {
                let held = state.holds.entry(number).or_default();
                for (index, seq_no) in buffered {
                    raise(held, index, seq_no);
                }
                state.file = file;
                state.file_bytes = whole.max(MAGIC.len() as u64).saturating_add(buffer.len() as u64);
                state.synced = target;
                Ok(state)
            }
            Err(error) => {
                tracing::error!(%error, folder = %self.folder.display(), "cannot write the write-ahead log; documents are refused until it can be written");
                let newer = std::mem::replace(&mut state.buffer, buffer);
                state.buffer.extend_from_slice(&newer);
                for (index, seq_no) in buffered {
                    raise(&mut state.buffered, index, seq_no);
                }
                state.next_file();
                if let Err(error) = cut {
                    state.failed = Some(format!("write-ahead log: {error}; start the index again"));
                }
                Err(unavailable(format!("write-ahead log: {error}")))
            }
        }
    }

    fn write(&self, file: &mut Option<File>, number: u64, buffer: &[u8]) -> std::io::Result<()> {
        let file = match file {
            Some(file) => file,
            None => file.insert(new_file(&self.folder, number)?),
        };
        file.write_all(buffer)?;
        file.sync_data()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raise(held: &mut BTreeMap<u64, u64>, index: u64, seq_no: u64) {
    let highest = held.entry(index).or_default();
    *highest = (*highest).max(seq_no);
}

fn unavailable(reason: String) -> ApiError {
    ApiError::new(503, "engine_exception", format!("storage failed: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::{Operation, Translog, file_path};
    use std::fs;
    use std::path::Path;

    fn operation(index: u64, seq_no: u64) -> Operation<'static> {
        let source = (!seq_no.is_multiple_of(3)).then_some(b"{\"a\":1}".as_slice());
        Operation { index, seq_no, version: seq_no + 1, id: "id-\u{e4}", source }
    }

    fn replay(folder: &Path) -> Vec<(u64, u64, bool)> {
        let mut seen = Vec::new();
        Translog::open(folder, |o| {
            seen.push((o.index, o.seq_no, o.source.is_some()));
            assert_eq!(o.id, "id-\u{e4}");
            Ok(())
        })
        .unwrap();
        seen
    }

    fn append(log: &Translog, operations: &[Operation<'_>]) {
        for operation in operations {
            log.append(operation).unwrap();
        }
        log.sync(log.position()).unwrap();
    }

    #[test]
    fn what_was_synced_is_replayed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let log = Translog::open(folder.path(), |_| Ok(())).unwrap();
        append(&log, &[operation(1, 1), operation(2, 1), operation(1, 2)]);
        append(&log, &[operation(1, 3)]);
        drop(log);
        let expected = [(1, 1, true), (2, 1, true), (1, 2, true), (1, 3, false)];
        assert_eq!(replay(folder.path()), expected);
        assert_eq!(replay(folder.path()), expected);
    }

    #[test]
    fn half_a_record_at_the_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let log = Translog::open(folder.path(), |_| Ok(())).unwrap();
        append(&log, &[operation(1, 1), operation(1, 2)]);
        drop(log);
        let path = file_path(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        for cut in [1, 10, whole.len() / 2 - 8] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(replay(folder.path()), [(1, 1, true)], "{cut}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(replay(folder.path()), [(1, 1, true)]);
    }

    #[test]
    fn damage_before_the_last_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for seq_no in 1..3 {
            let log = Translog::open(folder.path(), |_| Ok(())).unwrap();
            append(&log, &[operation(1, seq_no)]);
        }
        let path = file_path(folder.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = Translog::open(folder.path(), |_| Ok(())).err().unwrap();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }

    #[test]
    fn files_go_when_all_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let log = Translog::open(folder.path(), |_| Ok(())).unwrap();
        append(&log, &[operation(1, 1), operation(2, 7)]);
        drop(log);
        let log = Translog::open(folder.path(), |_| Ok(())).unwrap();
        append(&log, &[operation(1, 2)]);
        assert_eq!(log.indices().into_iter().collect::<Vec<_>>(), [1, 2]);
        log.trim(&[(1, 2), (2, 6)].into()).unwrap();
        assert!(file_path(folder.path(), 1).exists());
        log.trim(&[(1, 2)].into()).unwrap();
        assert!(!file_path(folder.path(), 1).exists());
        assert!(file_path(folder.path(), 2).exists());
    }
}
