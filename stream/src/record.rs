//! Records: key, value and headers, with their place in the log; and the one
//! partitioner.
//!
//! In: bytes. Out: records to append, records as read. Never: what they mean.

use std::borrow::Cow;

use bytes::Bytes;
use model::time::Timestamp;
use model::topic::Topic;

/// Headers of a record, in order. Names are listed in `model::headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// No headers, with room for `count`.
    pub fn with_capacity(count: usize) -> Headers {
        Headers(Vec::with_capacity(count))
    }

    /// Appends a header.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Appends a header and returns itself, for building.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Headers {
        self.push(name, value);
        self
    }

    /// Puts a header in the place of the first of this name, or appends it.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let name = name.into();
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    /// Appends all of another, without copying names or values.
    pub fn extend(&mut self, more: &Headers) {
        self.0.extend_from_slice(&more.0);
    }

    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The first header of this name, as text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(n, v)| (&**n, v))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A record read from the log.
///
/// Its bytes are slices of a buffer that neighbouring records share: copy what is to be kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When the log took it.
    pub appended: Timestamp,
    /// Key; empty for none.
    pub key: Bytes,
    /// Value; empty is a tombstone in compacted topics.
    pub value: Bytes,
    /// Headers.
    pub headers: Headers,
}

impl Record {
    /// `topic/partition/offset`, as in the `origin` header.
    pub fn origin(&self) -> String {
        format!("{}/{}/{}", self.topic.name(), self.partition, self.offset)
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        size_of_parts(&self.key, &self.value, &self.headers)
    }
}

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Its topic.
    pub topic: Topic,
    /// Its partition; `None`: by hash of the key, or in turn where the key is empty.
    pub partition: Option<u32>,
    /// Key; empty for none.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
    /// Headers.
    pub headers: Headers,
}

impl NewRecord {
    /// Bytes of key, value and headers: what counts against the topic's largest record.
    pub fn size(&self) -> usize {
        size_of_parts(&self.key, &self.value, &self.headers)
    }
}

fn size_of_parts(key: &Bytes, value: &Bytes, headers: &Headers) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    key.len().saturating_add(value.len()).saturating_add(headers)
}

/// Where a record came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// The partition of a key: murmur2 as Kafka's own clients compute it, so that all of them agree with us.
/// `partitions` is at least 1.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff).checked_rem(partitions).unwrap_or(0)
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0_u32, |k, byte| (k << 8) | u32::from(*byte)).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |k, byte| (k << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::{Headers, murmur2, partition_of};

    /// Values from the tests of Apache Kafka's `Utils.murmur2`.
    #[test]
    fn the_hash_is_the_one_of_kafka_clients() {
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn every_partition_is_within_bounds() {
        for partitions in 1..9 {
            for key in 0..200_u32 {
                assert!(partition_of(&key.to_be_bytes(), partitions) < partitions);
            }
        }
    }

    #[test]
    fn set_replaces_the_first_and_keeps_the_order() {
        let mut headers = Headers::new().with("a", "1").with("b", "2");
        headers.set("a", "3");
        headers.set("c", "4");
        let seen: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect();
        assert_eq!(seen, ["a=3", "b=2", "c=4"]);
    }
}
