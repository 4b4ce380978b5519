//! Finds a value in JSON text without building anything.
//!
//! In: an object's text that MozDef has written, a path. Out: the value's own text. Never: an answer where the text is
//! not what it should be; then there is none.

use std::borrow::Cow;

/// The text of the value at a path of keys, `details.username`; of duplicates the last.
pub(crate) fn find<'d>(document: &'d str, path: &str) -> Option<&'d str> {
    path.split('.').try_fold(document, member)
}

/// The text of a string value, unescaped.
pub(crate) fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The text of a member's value.
fn member<'d>(object: &'d str, wanted: &str) -> Option<&'d str> {
    let bytes = object.as_bytes();
    let mut at = blank(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let mut found = None;
    at = blank(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let end = string(bytes, at)?;
        let key = object.get(at..end)?;
        at = blank(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = blank(bytes, at + 1);
        let end = value(bytes, at)?;
        if text(key)? == wanted {
            found = object.get(at..end);
        }
        at = blank(bytes, end);
        if bytes.get(at) == Some(&b',') {
            at = blank(bytes, at + 1);
        }
    }
    found
}

/// The first place from `at` on that is no white space.
fn blank(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The place after the string that begins at `at`.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The place after the value that begins at `at`.
fn value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0_usize);
            loop {
                match bytes.get(at)? {
                    b'"' => at = string(bytes, at)?,
                    b'{' | b'[' => {
                        depth += 1;
                        at += 1;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        at += 1;
                        if depth == 0 {
                            return Some(at);
                        }
                    }
                    _ => at += 1,
                }
            }
        }
        _ => {
            let is_part = |byte: &&u8| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace();
            Some(at + bytes.get(at..)?.iter().take_while(is_part).count())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{find, text};

    #[test]
    fn values_are_found_where_they_lie() {
        let document = r#"{ "a":1.50 , "b":{"c":"x,}\"]","d":[{"e":{}}],"k\"ey":true},"b2":null,"a":2}"#;
        for (path, expected) in [
            ("a", Some("2")),
            ("b.c", Some(r#""x,}\"]""#)),
            ("b.d", Some(r#"[{"e":{}}]"#)),
            ("b.k\"ey", Some("true")),
            ("b2", Some("null")),
            ("b.x", None),
            ("a.b", None),
            ("", None),
        ] {
            assert_eq!(find(document, path), expected, "{path}");
        }
        assert_eq!(text(r#""x,}\"]""#).as_deref(), Some("x,}\"]"));
        assert_eq!(text("7"), None);
    }

    #[test]
    fn broken_text_gives_nothing_and_ends() {
        for document in
            ["", "{", r#"{"a"#, r#"{"a":"#, r#"{"a":"\"#, r#"{"a":[[["#, "[1]", r#"{"a" 1}"#, "nonsense"]
        {
            let found = find(document, "a");
            assert!(found.is_none_or(str::is_empty), "{document}: {found:?}");
        }
    }
}
