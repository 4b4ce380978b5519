//! Bytes of a line as text: UTF-8, or Latin-1 where they are not.
//!
//! In: bytes. Out: text, and whether all was UTF-8. Never: a lost
//! letter of the letters that Latin-1 has.

use std::borrow::Cow;

/// Reads UTF-8. A byte that is not is read as Latin-1; where Latin-1 has no letter, and at the end of a line that was cut
/// inside a character, U+FFFD stands in. The flag says whether all was UTF-8.
pub fn read_text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.into(), true);
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        let cut = chunks.peek().is_none() && invalid.len() > 1;
        if cut {
            text.push(char::REPLACEMENT_CHARACTER);
            continue;
        }
        let letter = |byte: &u8| if *byte >= 0xa0 { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
        text.extend(invalid.iter().map(letter));
    }
    (text.into(), false)
}

#[cfg(test)]
mod tests {
    use super::read_text;

    #[test]
    fn letters_of_latin_1_survive() {
        assert_eq!(read_text("Grüße".as_bytes()), ("Grüße".into(), true));
        assert_eq!(read_text(b"Gr\xfc\xdfe"), ("Grüße".into(), false));
        assert_eq!(read_text(b"caf\xe9"), ("café".into(), false));
        assert_eq!(read_text(b"x \x80 y"), ("x \u{fffd} y".into(), false));
        assert_eq!(read_text(b"cut \xe2\x82"), ("cut \u{fffd}".into(), false));
        assert_eq!(
            read_text("ü".as_bytes().iter().chain(b" \xfc").copied().collect::<Vec<_>>().as_slice()).0,
            "ü ü"
        );
    }
}
