//! Messages of librdkafka become records: one buffer for a whole batch.
//!
//! In: borrowed messages. Out: records whose bytes are slices of one buffer.
//! Never: a message that outlives its client.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use model::headers;
use model::time::Timestamp;
use model::topic::Topic;
use rdkafka::message::{BorrowedMessage, Headers as _, Message, Timestamp as Stamp};

use crate::record::{Headers, Record};

/// Records of one partition that are being gathered.
pub(super) struct Gathering {
    topic: Topic,
    partition: u32,
    bytes: BytesMut,
    drafts: Vec<Draft>,
}

struct Draft {
    offset: u64,
    appended: Timestamp,
    key: Range<usize>,
    value: Range<usize>,
    headers: Vec<(Cow<'static, str>, Range<usize>)>,
}

impl Gathering {
    pub(super) fn new(topic: Topic, partition: u32) -> Gathering {
        Gathering { topic, partition, bytes: BytesMut::new(), drafts: Vec::new() }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes a message. Messages come in order.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        if self.drafts.is_empty() {
            self.bytes.reserve(message.payload_len().saturating_mul(64).clamp(4096, 1 << 20));
        }
        let appended = match message.timestamp() {
            Stamp::CreateTime(ms) | Stamp::LogAppendTime(ms) => Timestamp::from_millis(ms),
            Stamp::NotAvailable => Timestamp::EPOCH,
        };
        let key = self.put(message.key().unwrap_or_default());
        let value = self.put(message.payload().unwrap_or_default());
        let count = message.headers().map_or(0, |headers| headers.count());
        let mut own = Vec::with_capacity(count);
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            let value = self.put(header.value.unwrap_or_default());
            own.push((name(header.key), value));
        }
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        self.drafts.push(Draft { offset, appended, key, value, headers: own });
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    /// The records.
    pub(super) fn finish(self) -> Vec<Record> {
        let (topic, partition, bytes) = (self.topic, self.partition, self.bytes.freeze());
        let cut = |range: Range<usize>| if range.is_empty() { Bytes::new() } else { bytes.slice(range) };
        let record = |draft: Draft| {
            let mut headers = Headers::with_capacity(draft.headers.len());
            for (name, value) in draft.headers {
                headers.push(name, cut(value));
            }
            let (key, value) = (cut(draft.key), cut(draft.value));
            Record { topic, partition, offset: draft.offset, appended: draft.appended, key, value, headers }
        };
        self.drafts.into_iter().map(record).collect()
    }
}

/// Bytes of a message's key, value and headers.
pub(super) fn size(message: &BorrowedMessage<'_>) -> usize {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers: usize =
        headers.map(|header| header.key.len().saturating_add(header.value.map_or(0, <[u8]>::len))).sum();
    message.payload_len().saturating_add(message.key_len()).saturating_add(headers)
}

/// The name of a header, without a copy where it is one of ours.
fn name(name: &str) -> Cow<'static, str> {
    match headers::ALL.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}
