//! Files of the write-ahead log.
//!
//! `NNNNNNNNNN.log`: the magic, then records: length (u32), CRC-32 (u32) of the body, body. Body: kind (u8), index
//! number, sequence number, version (u64 each), length of the id (u32), id, source. Little endian.
//!
//! In: operations or a file's bytes. Out: the other. Never: a record whose checksum does not fit.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Crc;

/// What every file begins with; the digits are the format.
pub(super) const MAGIC: &[u8; 8] = b"MOZTLG01";
/// Largest record that is believed when a file is read.
const RECORD_BYTES_MAX: usize = 512 << 20;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    /// Number of the index in the catalog.
    pub(crate) index: u64,
    pub(crate) seq_no: u64,
    pub(crate) version: u64,
    pub(crate) id: &'a str,
    /// `None` deletes.
    pub(crate) source: Option<&'a [u8]>,
}

/// The file of a number.
pub(super) fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.log"))
}

/// Numbers of the files of a folder, ascending.
pub(super) fn file_numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(number) = name.to_str().and_then(|n| n.strip_suffix(".log")).and_then(|n| n.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a file, durably; on an error there is none.
pub(super) fn new_file(folder: &Path, number: u64) -> std::io::Result<File> {
    let path = file_path(folder, number);
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let begun = file.write_all(MAGIC).and_then(|()| File::open(folder)?.sync_all());
    if let Err(error) = begun {
        remove_if_there(&path)?;
        return Err(error);
    }
    Ok(file)
}

/// Cuts a file off after some bytes, durably.
pub(super) fn cut_file(path: &Path, length: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// Removes a file that may not be there.
pub(super) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The format in the magic, when it is not ours.
pub(super) fn later_format(bytes: &[u8]) -> Option<u64> {
    let (magic, _) = bytes.split_first_chunk::<8>()?;
    let digits = magic.strip_prefix(b"MOZTLG")?;
    if magic == MAGIC { None } else { std::str::from_utf8(digits).ok()?.parse().ok() }
}

fn checksum(body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(body);
    crc.sum()
}

/// Appends an operation as a record.
pub(super) fn encode(operation: &Operation<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.push(u8::from(operation.source.is_some()));
    for number in [operation.index, operation.seq_no, operation.version] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    // An id has at most 512 bytes, checked where it comes in.
    out.extend_from_slice(&u32::try_from(operation.id.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(operation.id.as_bytes());
    out.extend_from_slice(operation.source.unwrap_or_default());
    let body_at = start.saturating_add(8);
    let body = out.get(body_at..).unwrap_or_default();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = checksum(body).to_le_bytes();
    if let Some(head) = out.get_mut(start..body_at) {
        head.copy_from_slice(&[length, crc].concat());
    }
}

/// Shows the records of a file; the result is the length of the part that is whole.
pub(super) fn read_file(
    bytes: &[u8],
    mut apply: impl FnMut(Operation<'_>) -> Result<(), String>,
) -> Result<usize, String> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else { return Ok(0) };
    while let Some((body, after)) = next_record(rest) {
        let Some(operation) = decode(body) else { break };
        apply(operation)?;
        rest = after;
    }
    Ok(bytes.len().saturating_sub(rest.len()))
}

fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > RECORD_BYTES_MAX {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    (checksum(body) == u32::from_le_bytes(*crc)).then_some((body, rest))
}

fn decode(body: &[u8]) -> Option<Operation<'_>> {
    let (kind, rest) = body.split_first()?;
    let (index, rest) = rest.split_first_chunk::<8>()?;
    let (seq_no, rest) = rest.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (id_length, rest) = rest.split_first_chunk::<4>()?;
    let (id, source) = rest.split_at_checked(u32::from_le_bytes(*id_length) as usize)?;
    Some(Operation {
        index: u64::from_le_bytes(*index),
        seq_no: u64::from_le_bytes(*seq_no),
        version: u64::from_le_bytes(*version),
        id: std::str::from_utf8(id).ok()?,
        source: (*kind == 1).then_some(source),
    })
}
