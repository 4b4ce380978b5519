//! The bytes of an object made plain while they come: gzip, zstd, or as they are.
//!
//! In: stored bytes in pieces. Out: plain bytes in pieces. Never: more plain bytes than the limit, or more at once than a
//! small piece of stored bytes gives.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::write::Decoder as Zstd;

/// Stored bytes that are made plain at once: at gzip's densest this is 4 MiB.
pub(super) const STEP_BYTES: usize = 4096;
/// Bytes by which the kind is known.
const MAGIC_BYTES: usize = 4;
/// Largest window of zstd, as a power of two: 8 MiB, what its own tools write without being asked for more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why an object cannot be made plain.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// More than the limit.
    #[error("more than {limit} bytes after decompression")]
    TooLarge { limit: u64 },
    /// Broken.
    #[error("its compression is broken: {0}")]
    Broken(io::Error),
}

/// Plain bytes that were not taken yet.
struct Plain {
    bytes: Vec<u8>,
    /// All that may still come.
    left: u64,
    full: bool,
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                self.bytes.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            None => {
                self.full = true;
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Kind {
    /// Not known yet: the first bytes.
    Unknown(Vec<u8>, Plain),
    Stored(Plain),
    Gzip(Box<MultiGzDecoder<Plain>>),
    Zstd(Box<Zstd<'static, Plain>>),
    /// Its making failed.
    None,
}

/// Makes one object plain.
pub(super) struct Decoder {
    kind: Kind,
    limit: u64,
}

impl Decoder {
    /// For an object of at most this many plain bytes.
    pub(super) fn new(limit: u64) -> Decoder {
        let plain = Plain { bytes: Vec::new(), left: limit, full: false };
        Decoder { kind: Kind::Unknown(Vec::new(), plain), limit }
    }

    /// Takes stored bytes, at most [`STEP_BYTES`], and puts what they give into `out`, which is overwritten.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        out.clear();
        if let Kind::Unknown(head, _) = &mut self.kind {
            head.extend_from_slice(bytes);
            if head.len() >= MAGIC_BYTES {
                self.begin()?;
            }
        } else {
            self.write(bytes)?;
        }
        self.take(out);
        Ok(())
    }

    /// No more stored bytes come.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        out.clear();
        if matches!(self.kind, Kind::Unknown(..)) {
            self.begin()?;
        }
        let ended = match &mut self.kind {
            Kind::Gzip(gzip) => gzip.try_finish(),
            Kind::Zstd(zstd) => zstd.flush(),
            Kind::Stored(_) | Kind::Unknown(..) | Kind::None => Ok(()),
        };
        ended.map_err(|error| self.error(error))?;
        self.take(out);
        Ok(())
    }

    /// The first bytes tell the kind.
    fn begin(&mut self) -> Result<(), DecodeError> {
        let Kind::Unknown(head, plain) = std::mem::replace(&mut self.kind, Kind::None) else { return Ok(()) };
        self.kind = match head.as_slice() {
            [0x1f, 0x8b, ..] => Kind::Gzip(Box::new(MultiGzDecoder::new(plain))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let mut zstd = Zstd::new(plain).map_err(DecodeError::Broken)?;
                zstd.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(DecodeError::Broken)?;
                Kind::Zstd(Box::new(zstd))
            }
            _ => Kind::Stored(plain),
        };
        self.write(&head)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let written = match &mut self.kind {
            Kind::Stored(plain) => plain.write_all(bytes),
            Kind::Gzip(gzip) => gzip.write_all(bytes),
            Kind::Zstd(zstd) => zstd.write_all(bytes),
            Kind::Unknown(..) | Kind::None => Ok(()),
        };
        written.map_err(|error| self.error(error))
    }

    fn plain(&mut self) -> Option<&mut Plain> {
        match &mut self.kind {
            Kind::Unknown(_, plain) | Kind::Stored(plain) => Some(plain),
            Kind::Gzip(gzip) => Some(gzip.get_mut()),
            Kind::Zstd(zstd) => Some(zstd.get_mut()),
            Kind::None => None,
        }
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        if let Some(plain) = self.plain() {
            out.append(&mut plain.bytes);
        }
    }

    fn error(&mut self, error: io::Error) -> DecodeError {
        let limit = self.limit;
        if self.plain().is_some_and(|plain| plain.full) {
            DecodeError::TooLarge { limit }
        } else {
            DecodeError::Broken(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::{DecodeError, Decoder, STEP_BYTES};

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// All that comes out, and most of it at once.
    fn decode(stored: &[u8], step: usize, limit: u64) -> Result<(Vec<u8>, usize), DecodeError> {
        let (mut decoder, mut all, mut most, mut out) = (Decoder::new(limit), Vec::new(), 0, Vec::new());
        for chunk in stored.chunks(step) {
            decoder.push(chunk, &mut out)?;
            most = most.max(out.len());
            all.extend_from_slice(&out);
        }
        decoder.finish(&mut out)?;
        all.extend_from_slice(&out);
        Ok((all, most))
    }

    #[test]
    fn kinds_are_known_by_their_first_bytes() {
        let plain = b"{\"Records\":[]}".repeat(500);
        let two_members = [gzip(&plain), gzip(b"more")].concat();
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        for step in [1, 3, STEP_BYTES] {
            assert_eq!(decode(&plain, step, 1 << 20).unwrap().0, plain);
            assert_eq!(decode(&gzip(&plain), step, 1 << 20).unwrap().0, plain);
            assert_eq!(decode(&two_members, step, 1 << 20).unwrap().0, [&plain[..], b"more"].concat());
            assert_eq!(decode(&zstd, step, 1 << 20).unwrap().0, plain);
            assert_eq!(decode(b"ab", step, 10).unwrap().0, b"ab");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_gives_little_at_once() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let error = decode(&bomb, STEP_BYTES, 16 << 20).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit } if limit == 16 << 20), "{error}");
        assert!(decode(&bomb, STEP_BYTES, 64 << 20).unwrap().1 <= 8 << 20);
    }

    #[test]
    fn what_is_broken_is_told() {
        let mut stored = gzip(&b"some text that is long enough".repeat(50));
        let cut = &stored[..stored.len() - 9];
        assert!(matches!(decode(cut, STEP_BYTES, 1 << 20), Err(DecodeError::Broken(_))));
        let middle = stored.len() / 2;
        stored[middle] ^= 0xff;
        assert!(matches!(decode(&stored, STEP_BYTES, 1 << 20), Err(DecodeError::Broken(_))));
    }
}
