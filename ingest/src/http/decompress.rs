//! Compressed bodies: gzip, deflate and zstd.
//!
//! In: a compressed body, and how large it may become. Out: the plain body.
//! Never: more memory than the limit, whatever the body claims.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::refusal::Refusal;

/// Largest window of a zstd body: 8 MiB, which zstd's levels up to 19 keep to.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    /// Reads the `Content-Encoding` header; `None` for a plain body.
    pub(super) fn of(header: Option<&str>) -> Result<Option<Encoding>, Refusal> {
        match header.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Encoding::Gzip)),
            "deflate" => Ok(Some(Encoding::Deflate)),
            "zstd" => Ok(Some(Encoding::Zstd)),
            other => Err(Refusal::Encoding(other.chars().take(64).collect())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }
}

/// The plain body. `reserve` is asked for the memory before it is used.
pub(super) fn decompress(
    body: &Bytes,
    encoding: Encoding,
    limit: usize,
    reserve: &mut dyn FnMut(usize) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let failed =
        |cause: io::Error| Refusal::Compression { encoding: encoding.name(), cause: cause.to_string() };
    let mut reader: Box<dyn Read + '_> = match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(&body[..])),
        // RFC 9110 means the zlib format; some clients send raw deflate.
        Encoding::Deflate if is_zlib(body) => Box::new(ZlibDecoder::new(&body[..])),
        Encoding::Deflate => Box::new(DeflateDecoder::new(&body[..])),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(&body[..]).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            Box::new(decoder)
        }
    };
    let mut out = Vec::new();
    let mut chunk = vec![0_u8; 64 << 10];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        if count == 0 {
            return Ok(Bytes::from(out));
        }
        if out.len().saturating_add(count) > limit {
            return Err(Refusal::BodyTooLarge { limit });
        }
        reserve(out.len().saturating_add(count))?;
        out.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// Whether the two bytes at the front are a zlib header.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [first, second, ..] => first & 0x0F == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::{Encoding, decompress};
    use crate::http::refusal::Refusal;

    fn compressed(encoding: Encoding, plain: &[u8]) -> Bytes {
        let out = match encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
        };
        Bytes::from(out)
    }

    fn plain(body: &Bytes, encoding: Encoding, limit: usize) -> Result<Bytes, Refusal> {
        decompress(body, encoding, limit, &mut |_| Ok(()))
    }

    #[test]
    fn what_was_packed_is_unpacked_up_to_the_limit() {
        let text = b"{\"a\":1}\n".repeat(50_000);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let body = compressed(encoding, &text);
            assert_eq!(plain(&body, encoding, text.len()).unwrap(), text, "{encoding:?}");
            let over = plain(&body, encoding, text.len() - 1);
            assert!(matches!(over, Err(Refusal::BodyTooLarge { .. })), "{encoding:?}");
            let cut = plain(&body.slice(..body.len() / 2), encoding, text.len());
            assert!(matches!(cut, Err(Refusal::Compression { .. })), "{encoding:?}");
            let refused = decompress(&body, encoding, text.len(), &mut |bytes| {
                if bytes > 100_000 { Err(Refusal::Busy) } else { Ok(()) }
            });
            assert!(matches!(refused, Err(Refusal::Busy)), "{encoding:?}");
        }
    }

    #[test]
    fn raw_deflate_and_joined_gzip_are_understood() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"{\"raw\":1}").unwrap();
        assert_eq!(
            plain(&Bytes::from(encoder.finish().unwrap()), Encoding::Deflate, 100).unwrap(),
            "{\"raw\":1}"
        );
        let joined = [compressed(Encoding::Gzip, b"ab"), compressed(Encoding::Gzip, b"cd")].concat();
        assert_eq!(plain(&Bytes::from(joined), Encoding::Gzip, 100).unwrap(), "abcd");
    }

    #[test]
    fn garbage_is_refused_with_its_encoding() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let message =
                plain(&Bytes::from_static(b"garbage garbage"), encoding, 100).unwrap_err().to_string();
            assert!(message.starts_with(&format!("the body is no valid {}: ", encoding.name())), "{message}");
        }
    }

    #[test]
    fn the_header_is_read_as_shippers_write_it() {
        assert_eq!(Encoding::of(None).unwrap(), None);
        assert_eq!(Encoding::of(Some(" GZIP ")).unwrap(), Some(Encoding::Gzip));
        assert_eq!(Encoding::of(Some("identity")).unwrap(), None);
        assert!(matches!(Encoding::of(Some("br")), Err(Refusal::Encoding(name)) if name == "br"));
        assert!(Encoding::of(Some("gzip, zstd")).is_err());
    }
}
