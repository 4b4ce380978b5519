//! The stored form of records: blocks of neighbouring records of one partition.
//!
//! In: records to append. Out: bytes of a block, and records out of it, which
//! share its buffer. Never: a panic on a damaged block.
//!
//! ```text
//! block  = kind:u8 (1 dense, 2 sparse)  count:u32  base offset:u64  base time:i64 (µs)  record*
//! record = [sparse only: offset − base:varint  time − base time:zigzag varint]
//!          key  value  header count:varint  header*
//! header = name code:varint (0: name follows as bytes; n: KNOWN[n − 1])  value
//! bytes  = length:varint  byte*             (key, value, header value, header name)
//! ```
//!
//! All numbers of fixed width are little-endian. In a dense block the offsets
//! follow each other and all times are the base time; compaction writes sparse
//! ones. Base offset and time are left open when a block is filled, and set
//! when the log takes it ([`Filled::seal`]).

use std::borrow::Cow;

use bytes::Bytes;
use model::headers;
use model::time::Timestamp;
use model::topic::Topic;

use crate::record::{Headers, NewRecord, Record};

/// Bytes of the fixed part of a block.
const HEAD: usize = 21;
/// All offsets follow each other.
const DENSE: u8 = 1;
/// Each record has its own offset and time.
const SPARSE: u8 = 2;

/// A block is closed when it has grown to this many bytes.
pub(super) const BLOCK_BYTES: usize = 128 << 10;

/// Most headers of a record that is read back.
const HEADERS_MAX: u64 = 1024;

/// Header names that are stored as a number. Only ever appended to: the order is part of the format.
const KNOWN: [&str; 21] = [
    headers::RECEIVED,
    headers::INPUT,
    headers::PRINCIPAL,
    headers::ENDPOINT,
    headers::CUSTOM_ENDPOINT,
    headers::CONTENT_TYPE,
    headers::PEER,
    headers::CLIENT_ID,
    headers::ITEM,
    headers::BACKFILL,
    headers::EVENT_ID,
    headers::ORIGIN,
    headers::KIND,
    headers::INDEX,
    headers::DOCUMENT_ID,
    headers::STAGE,
    headers::REASON,
    headers::DETAIL,
    headers::VERSION,
    headers::REVISION,
    headers::RULE,
];

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged block: {0}")]
pub(super) struct Damaged(&'static str);

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Filled {
    bytes: Vec<u8>,
    count: u32,
}

impl Filled {
    /// An empty block.
    pub(super) fn new(capacity: usize) -> Filled {
        let mut bytes = Vec::with_capacity(capacity.saturating_add(HEAD));
        bytes.resize(HEAD, 0);
        Filled { bytes, count: 0 }
    }

    /// Appends a record whose offset and time follow from its place (dense).
    pub(super) fn push(&mut self, record: &NewRecord) {
        self.push_parts(&record.key, &record.value, &record.headers);
    }

    /// Appends a record with its offset and time, for a block of [`Filled::seal_sparse`] with this base.
    pub(super) fn push_sparse(&mut self, base: u64, base_time: Timestamp, record: &Record) {
        put_varint(&mut self.bytes, record.offset.saturating_sub(base));
        put_varint(&mut self.bytes, zigzag(record.appended.micros().saturating_sub(base_time.micros())));
        self.push_parts(&record.key, &record.value, &record.headers);
    }

    fn push_parts(&mut self, key: &[u8], value: &[u8], headers: &Headers) {
        put_bytes(&mut self.bytes, key);
        put_bytes(&mut self.bytes, value);
        put_varint(&mut self.bytes, headers.len() as u64);
        for (name, value) in headers.iter() {
            match KNOWN.iter().position(|known| *known == name) {
                Some(index) => put_varint(&mut self.bytes, index as u64 + 1),
                None => {
                    put_varint(&mut self.bytes, 0);
                    put_bytes(&mut self.bytes, name.as_bytes());
                }
            }
            put_bytes(&mut self.bytes, value);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Records in it.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether another record belongs into the next block.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// The dense block, at its place.
    pub(super) fn seal(self, base: u64, time: Timestamp) -> Bytes {
        self.seal_as(DENSE, base, time)
    }

    /// The sparse block, at its place.
    pub(super) fn seal_sparse(self, base: u64, time: Timestamp) -> Bytes {
        self.seal_as(SPARSE, base, time)
    }

    fn seal_as(mut self, kind: u8, base: u64, time: Timestamp) -> Bytes {
        let mut head = [0_u8; HEAD];
        let fields =
            [&[kind][..], &self.count.to_le_bytes(), &base.to_le_bytes(), &time.micros().to_le_bytes()];
        for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        for (to, from) in self.bytes.iter_mut().zip(head) {
            *to = from;
        }
        Bytes::from(self.bytes)
    }
}

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    sparse: bool,
    /// Records in it.
    pub(super) count: u32,
    /// Offset of the first record.
    pub(super) base: u64,
    /// When the first record was taken.
    pub(super) time: Timestamp,
}

/// Reads the head of a block.
pub(super) fn head(block: &[u8]) -> Result<Head, Damaged> {
    let mut at = Cursor { bytes: block, at: 0 };
    let sparse = match at.array::<1>()? {
        [DENSE] => false,
        [SPARSE] => true,
        _ => return Err(Damaged("unknown kind")),
    };
    let count = u32::from_le_bytes(at.array()?);
    let base = u64::from_le_bytes(at.array()?);
    let time = Timestamp::from_micros(i64::from_le_bytes(at.array()?));
    if count == 0 {
        return Err(Damaged("no records"));
    }
    Ok(Head { sparse, count, base, time })
}

/// The records of a block, in order. Ends after the first error.
pub(super) struct Records<'a> {
    block: &'a Bytes,
    at: usize,
    head: Head,
    topic: Topic,
    partition: u32,
    read: u32,
}

/// Opens a block for reading.
pub(super) fn records(block: &Bytes, topic: Topic, partition: u32) -> Result<Records<'_>, Damaged> {
    Ok(Records { head: head(block)?, block, at: HEAD, topic, partition, read: 0 })
}

/// Offset after the last record of a block.
pub(super) fn end(block: &Bytes, topic: Topic, partition: u32) -> Result<u64, Damaged> {
    let head = head(block)?;
    if !head.sparse {
        return Ok(head.base.saturating_add(u64::from(head.count)));
    }
    let mut last = head.base;
    for record in records(block, topic, partition)? {
        last = record?.offset;
    }
    Ok(last.saturating_add(1))
}

impl Records<'_> {
    fn read_one(&mut self) -> Result<Record, Damaged> {
        let mut at = Cursor { bytes: self.block, at: self.at };
        let (mut offset, mut appended) =
            (self.head.base.saturating_add(u64::from(self.read)), self.head.time);
        if self.head.sparse {
            offset = self.head.base.saturating_add(at.varint()?);
            let micros = self.head.time.micros().saturating_add(unzigzag(at.varint()?));
            appended = Timestamp::from_micros(micros);
        }
        let key = at.slice_of(self.block)?;
        let value = at.slice_of(self.block)?;
        let count = at.varint()?;
        if count > HEADERS_MAX {
            return Err(Damaged("too many headers"));
        }
        let mut headers = Headers::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            let name = match at.varint()? {
                0 => {
                    let name = at.slice_of(self.block)?;
                    let name = std::str::from_utf8(&name).map_err(|_| Damaged("header name is not UTF-8"))?;
                    Cow::Owned(name.to_owned())
                }
                code => {
                    let index = usize::try_from(code.saturating_sub(1)).unwrap_or(usize::MAX);
                    Cow::Borrowed(*KNOWN.get(index).ok_or(Damaged("unknown header name"))?)
                }
            };
            headers.push(name, at.slice_of(self.block)?);
        }
        self.at = at.at;
        Ok(Record { topic: self.topic, partition: self.partition, offset, appended, key, value, headers })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.head.count {
            return None;
        }
        let record = self.read_one();
        self.read = if record.is_ok() { self.read.saturating_add(1) } else { self.head.count };
        Some(record)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let end = self.at.saturating_add(N);
        let array = self.bytes.get(self.at..end).and_then(|slice| slice.try_into().ok());
        self.at = end;
        array.ok_or(Damaged("it breaks off"))
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged("a number does not end"))
    }

    /// A length and so many bytes, as a slice of the block.
    fn slice_of(&mut self, block: &Bytes) -> Result<Bytes, Damaged> {
        let length = usize::try_from(self.varint()?).map_err(|_| Damaged("it breaks off"))?;
        let end =
            self.at.checked_add(length).filter(|end| *end <= block.len()).ok_or(Damaged("it breaks off"))?;
        // An empty slice must not keep the block alive.
        let slice = if length == 0 { Bytes::new() } else { block.slice(self.at..end) };
        self.at = end;
        Ok(slice)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Key, value and headers.
    type Parts = (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

    fn a_record() -> impl Strategy<Value = Parts> {
        let name = prop_oneof![Just("received".to_owned()), Just("rule".to_owned()), "[a-zé-]{0,9}"];
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        (bytes(), bytes(), prop::collection::vec((name, bytes()), 0..5))
    }

    fn new_record((key, value, headers): Parts) -> NewRecord {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.push(name, value);
        }
        NewRecord { topic: Topic::Raw, partition: None, key: key.into(), value: value.into(), headers: all }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_back(parts in prop::collection::vec(a_record(), 1..8), base in any::<u32>(), time in 0..1_i64 << 50) {
            let time = Timestamp::from_micros(time);
            let written: Vec<NewRecord> = parts.into_iter().map(new_record).collect();
            let mut filled = Filled::new(0);
            written.iter().for_each(|record| filled.push(record));
            let block = filled.seal(u64::from(base), time);
            let read: Vec<Record> = records(&block, Topic::Raw, 3).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(end(&block, Topic::Raw, 3).unwrap(), u64::from(base) + written.len() as u64);
            let mut sparse = Filled::new(0);
            for (index, (record, new)) in read.iter().zip(&written).enumerate() {
                prop_assert_eq!((&record.key, &record.value, &record.headers), (&new.key, &new.value, &new.headers));
                prop_assert_eq!((record.offset, record.appended), (u64::from(base) + index as u64, time));
                let moved = Record { offset: record.offset * 3, appended: time.plus_millis(-(index as i64)), ..record.clone() };
                sparse.push_sparse(u64::from(base), time, &moved);
            }
            let block = sparse.seal_sparse(u64::from(base), time);
            for (index, (record, old)) in records(&block, Topic::Raw, 3).unwrap().map(Result::unwrap).zip(&read).enumerate() {
                prop_assert_eq!(record.offset, old.offset * 3);
                prop_assert_eq!(record.appended, time.plus_millis(-(index as i64)));
                prop_assert_eq!(record.value, old.value.clone());
            }
        }

        #[test]
        fn a_damaged_block_is_an_error_and_never_a_panic(
            parts in prop::collection::vec(a_record(), 1..4), flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut in any::<usize>(),
        ) {
            let mut filled = Filled::new(0);
            parts.into_iter().map(new_record).for_each(|record| filled.push(&record));
            let mut bytes = filled.seal(7, Timestamp::EPOCH).to_vec();
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(cut % (bytes.len() + 1));
            let block = Bytes::from(bytes);
            let read = records(&block, Topic::Raw, 0).map(|all| all.filter(Result::is_ok).count()).unwrap_or(0);
            prop_assert!(read <= block.len());
        }
    }

    #[test]
    fn known_names_are_distinct() {
        for (index, name) in KNOWN.iter().enumerate() {
            assert!(!KNOWN[index + 1..].contains(name), "{name}");
        }
    }

    /// The stored format: version 1 stays readable for ever.
    #[test]
    fn the_bytes_of_a_dense_block_are_these() {
        let mut filled = Filled::new(0);
        let headers = Headers::new().with("received", "9").with("x", "");
        filled.push(&NewRecord {
            topic: Topic::Raw,
            partition: None,
            key: "k".into(),
            value: "vv".into(),
            headers,
        });
        let block = filled.seal(258, Timestamp::from_micros(1));
        let head = [1, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let body = [1, b'k', 2, b'v', b'v', 2, 1, 1, b'9', 0, 1, b'x', 0];
        assert_eq!(block.as_ref(), [head.as_slice(), body.as_slice()].concat());
    }
}
