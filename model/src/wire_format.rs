//! Confluent's wire format: a zero byte, the schema's number in four bytes, then what the schema describes.
//!
//! In: bytes. Out: the number and the rest. Never: a look at the schema.
//!
//! JSON never begins with a zero byte, so that both can stand in one topic.

/// First byte.
const MAGIC: u8 = 0;
/// Bytes before the payload.
pub const HEAD_BYTES: usize = 5;

/// The schema's number and the payload; `None` where the value is not in this format.
pub fn split(value: &[u8]) -> Option<(u32, &[u8])> {
    let ([magic, id @ ..], payload) = value.split_first_chunk::<HEAD_BYTES>()?;
    (*magic == MAGIC).then(|| (u32::from_be_bytes(*id), payload))
}

/// The payload, or all of a value that is not in this format.
pub fn payload(value: &[u8]) -> &[u8] {
    split(value).map_or(value, |(_, payload)| payload)
}

/// What stands before a payload of this schema.
pub fn head(schema: u32) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = schema.to_be_bytes();
    [MAGIC, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::{head, payload, split};

    #[test]
    fn the_number_and_the_payload_are_told_apart() {
        assert_eq!(split(b"\0\0\0\x01\x02abc"), Some((258, &b"abc"[..])));
        assert_eq!(split(b"\0\0\0\0\x07"), Some((7, &b""[..])));
        assert_eq!(split(b"\0\0\0\0"), None);
        assert_eq!(split(b"{\"a\":1}"), None);
        assert_eq!(payload(b"{\"a\":1}"), b"{\"a\":1}");
        let mut value = head(0x0102_0304).to_vec();
        value.extend_from_slice(b"{}");
        assert_eq!((split(&value), payload(&value)), (Some((0x0102_0304, &b"{}"[..])), &b"{}"[..]));
    }
}
