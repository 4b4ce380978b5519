//! Ids of events and alerts: 128 bits of BLAKE3 over length-prefixed parts,
//! written as 32 hex digits.
//!
//! In: who sent what, or where it lies in the log. Out: the same id for the
//! same input, however often it is read again. Never: randomness.

use std::fmt;

/// Id of one event. Deterministic: see [`EventId::from_client`] and [`EventId::from_position`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId([u8; 16]);

/// Id of one alert (an episode of a rule and group).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertId([u8; 16]);

impl EventId {
    /// The id of a record for which the client gave one: nobody can take another principal's id.
    pub fn from_client(principal: &str, input: &str, client_id: &[u8], item: u32) -> EventId {
        EventId(digest(&[b"client", principal.as_bytes(), input.as_bytes(), client_id, &item.to_be_bytes()]))
    }

    /// The id of a record without a client's id: its place in the log.
    pub fn from_position(log_id: &str, topic: &str, partition: u32, offset: u64, item: u32) -> EventId {
        EventId(digest(&[
            b"position",
            log_id.as_bytes(),
            topic.as_bytes(),
            &partition.to_be_bytes(),
            &offset.to_be_bytes(),
            &item.to_be_bytes(),
        ]))
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<EventId> {
        parse_hex(text).map(EventId)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> EventId {
        EventId(bytes)
    }

    /// The 32 hex digits, without allocating.
    pub fn hex(&self) -> Hex {
        Hex::of(&self.0)
    }
}

impl AlertId {
    /// The id over the parts that define the alert (rule, generation, group, first event and time).
    pub fn from_parts(parts: &[&[u8]]) -> AlertId {
        AlertId(digest_after(b"alert", parts))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<AlertId> {
        parse_hex(text).map(AlertId)
    }

    /// The 32 hex digits, without allocating.
    pub fn hex(&self) -> Hex {
        Hex::of(&self.0)
    }
}

/// Digest of what an event was made of: two records of one id are the same event when it is equal.
pub fn content_digest(parts: &[&[u8]]) -> Hex {
    Hex::of(&digest_after(b"content", parts))
}

/// 32 hex digits on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex([u8; 32]);

impl Hex {
    fn of(bytes: &[u8; 16]) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0_u8; 32];
        for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
            }
        }
        Hex(out)
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlertId({self})")
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    digest_after(b"event", parts)
}

/// Each part is preceded by its length, so that no two lists of parts run together.
fn digest_after(domain: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(&domain).chain(parts) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut out = [0_u8; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut out = [0_u8; 16];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{AlertId, EventId};

    #[test]
    fn the_same_input_has_the_same_id_and_another_has_another() {
        let a = EventId::from_client("p", "http", b"x", 0);
        assert_eq!(a, EventId::from_client("p", "http", b"x", 0));
        assert_ne!(a, EventId::from_client("p", "http", b"x", 1));
        assert_ne!(a, EventId::from_client("ph", "ttp", b"x", 0));
        assert_ne!(EventId::from_position("l", "t", 0, 1, 0), EventId::from_position("l", "t", 1, 0, 0));
    }

    #[test]
    fn hex_reads_back() {
        let a = EventId::from_position("l", "mozdef.raw", 3, 9, 0);
        assert_eq!(EventId::parse(a.hex().as_str()), Some(a));
        assert_eq!(EventId::parse("zz"), None);
        assert_eq!(EventId::parse("+1000000000000000000000000000000f"), None);
    }

    /// Ids are stored, and replays rely on them: these values stay for ever.
    #[test]
    fn ids_never_change() {
        let shown = [
            EventId::from_client("alice", "http", b"42", 7).to_string(),
            EventId::from_position("log", "mozdef.raw", 1, 2, 3).to_string(),
            AlertId::from_parts(&[b"rule", b"group"]).to_string(),
        ];
        let expected = [
            "1746d86c61c15ebbff16f6b5550687d4",
            "5ec63012613d907759eaf2069dfcf9fc",
            "fccf93d1b8d74945d764390e51b5f396",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(AlertId::from_parts(&[b"ab", b"c"]), AlertId::from_parts(&[b"a", b"bc"]));
        assert_ne!(AlertId::from_parts(&[b"ab"]), AlertId::from_parts(&[b"ab", b""]));
    }
}
