//! JSON strings: find their end, check and resolve escapes, write them.
//!
//! In: bytes or text. Out: offsets, plain text, quoted text. Never: UTF-8
//! checks; the caller has made them or makes them afterwards.

use super::limits::ParseError;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks bytes of the word that are a quote, a backslash or below 0x20. The lowest mark is exact; those above
/// it may be false because of borrows.
const fn special_marks(word: u64) -> u64 {
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    (control | quote.wrapping_sub(LOW) & !quote | backslash.wrapping_sub(LOW) & !backslash) & HIGH
}

/// The first quote, backslash or control character at or after `from`.
#[inline]
pub(super) fn find_special(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let marks = special_marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = bytes.get(at..)?;
    tail.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').map(|offset| at + offset)
}

/// From the byte after the opening quote: the offset of the closing one, and whether there are escapes.
#[inline]
pub(super) fn scan_string(bytes: &[u8], from: usize) -> Result<(usize, bool), ParseError> {
    let mut escaped = false;
    let mut at = from;
    loop {
        let Some(found) = find_special(bytes, at) else {
            return Err(ParseError::Syntax { at: bytes.len(), what: "unterminated string" });
        };
        match bytes.get(found) {
            Some(b'"') => return Ok((found, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = found + escape_length(bytes, found)?;
            }
            _ => return Err(ParseError::Syntax { at: found, what: "control character in a string" }),
        }
    }
}

/// Length of the escape that starts with the backslash at `at`.
fn escape_length(bytes: &[u8], at: usize) -> Result<usize, ParseError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(6),
            _ => Err(ParseError::Syntax { at, what: "\\u without four hex digits" }),
        },
        _ => Err(ParseError::Syntax { at, what: "unknown escape" }),
    }
}

/// Appends the plain text of a checked string to `out`. Returns the number of lone surrogates in it.
pub(super) fn unescape(source: &str, out: &mut String) -> u32 {
    let mut lone = 0;
    let mut rest = source;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let (character, length) = match escape.as_bytes().first() {
            Some(b'u') => unescape_unit(escape),
            Some(b'n') => (Some('\n'), 1),
            Some(b't') => (Some('\t'), 1),
            Some(b'r') => (Some('\r'), 1),
            Some(b'b') => (Some('\u{8}'), 1),
            Some(b'f') => (Some('\u{c}'), 1),
            Some(&same) => (Some(char::from(same)), 1),
            None => break,
        };
        lone += u32::from(character.is_none());
        out.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    lone
}

/// `uXXXX`, or a pair `uXXXX\uXXXX`: the character (`None`: a lone surrogate) and the length.
fn unescape_unit(escape: &str) -> (Option<char>, usize) {
    let unit =
        |from: usize| escape.get(from..from + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(1) else { return (None, escape.len()) };
    if let 0xd800..0xdc00 = first
        && escape.get(5..7) == Some("\\u")
        && let Some(second @ 0xdc00..0xe000) = unit(7)
    {
        return (char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)), 11);
    }
    (char::from_u32(first), 5)
}

/// Whether the text can stand between quotes as it is.
pub(super) fn is_clean(text: &str) -> bool {
    find_special(text.as_bytes(), 0).is_none()
}

/// Appends the text as a quoted JSON string.
pub(super) fn write_quoted(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut done = 0;
    out.push(b'"');
    while let Some(found) = find_special(bytes, done) {
        out.extend_from_slice(bytes.get(done..found).unwrap_or_default());
        let byte = bytes.get(found).copied().unwrap_or_default();
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        done = found + 1;
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
    out.push(b'"');
}

/// Length of the text as a quoted JSON string.
pub(super) fn quoted_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = bytes.len() + 2;
    let mut done = 0;
    while let Some(found) = find_special(bytes, done) {
        let byte = bytes.get(found).copied().unwrap_or_default();
        length += if short_escape(byte).is_some() { 1 } else { 5 };
        done = found + 1;
    }
    length
}

fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{find_special, quoted_length, scan_string, unescape, write_quoted};

    #[test]
    fn specials_are_found_wherever_they_stand() {
        for length in 0..40 {
            for byte in 0..=255_u8 {
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                for at in 0..length {
                    let mut text = vec![b'x'; length];
                    text[at] = byte;
                    assert_eq!(find_special(&text, 0), special.then_some(at), "{byte} at {at} of {length}");
                }
            }
        }
        // The byte after a special one may be marked falsely; it must not hide the first.
        assert_eq!(find_special(b"\x80\"\x21\x1f!!!!", 0), Some(1));
    }

    #[track_caller]
    fn check(source: &str, plain: &str, lone: u32) {
        let mut out = String::new();
        assert_eq!(
            scan_string(format!("{source}\"").as_bytes(), 0),
            Ok((source.len(), source.contains('\\')))
        );
        assert_eq!(unescape(source, &mut out), lone, "{source}");
        assert_eq!(out, plain, "{source}");
        let mut quoted = Vec::new();
        write_quoted(plain, &mut quoted);
        assert_eq!(quoted, serde_json::to_vec(plain).unwrap(), "{source}");
        assert_eq!(quoted.len(), quoted_length(plain), "{source}");
    }

    #[test]
    fn strings_are_resolved_and_written_as_serde_json_does() {
        check("", "", 0);
        check("plain ä 漢 😀", "plain ä 漢 😀", 0);
        check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t", 0);
        check(r"\u0041\u00e4\ud83d\ude00x", "Aä😀x", 0);
        check(r"\u0000\u001f", "\0\u{1f}", 0);
        check(r"\ud800", "\u{fffd}", 1);
        check(r"\udc00\ud800", "\u{fffd}\u{fffd}", 2);
        check(r"\ud800\ud83d\ude00", "\u{fffd}😀", 1);
        check(r"\ud800\n\ud800x", "\u{fffd}\n\u{fffd}x", 2);
        check(r"\ud800A", "\u{fffd}A", 1);
    }

    #[test]
    fn broken_strings_are_refused() {
        for bad in [&b"abc"[..], b"a\\", b"a\\x\"", b"\\u12\"", b"\\u12g4\"", b"\\u", b"a\nb\"", b"\\u123"] {
            assert!(scan_string(bad, 0).is_err(), "{bad:?}");
        }
    }
}
