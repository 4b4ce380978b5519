//! What a body is, by its content type, and JSON that was posted as a form.
//!
//! In: the `Content-Type` header, a form body. Out: how to split it. Never:
//! strictness about JSON's many names: MozDef's shippers send what they like,
//! so only types that cannot hold text events are refused.

use bytes::Bytes;
use model::headers::MEDIA_SYSLOG;

use super::refusal::Refusal;

/// How a body is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON values.
    Json,
    /// JSON values, or a form that holds them.
    Form,
    /// Lines of syslog.
    Syslog,
}

/// Types that hold no text.
const BINARY: [&str; 14] = [
    "image/",
    "audio/",
    "video/",
    "font/",
    "multipart/",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/protobuf",
    "application/x-protobuf",
    "application/grpc",
    "application/msgpack",
];

/// What the header says about the body.
pub(super) fn kind(content_type: Option<&str>) -> Result<Kind, Refusal> {
    let whole = content_type.unwrap_or_default();
    let essence = whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if BINARY.iter().any(|binary| essence.starts_with(binary)) {
        return Err(Refusal::MediaType(essence));
    }
    Ok(match essence.as_str() {
        MEDIA_SYSLOG => Kind::Syslog,
        "application/x-www-form-urlencoded" => Kind::Form,
        _ => Kind::Json,
    })
}

/// The JSON of a form: the body itself where it is JSON (as `curl -d` posts it), else the first value, or name
/// without a value, that begins like JSON. What holds none is left as it is, and refused as JSON.
pub(super) fn form_json(body: Bytes) -> Bytes {
    if is_json(&body) {
        return body;
    }
    let candidates = body.split(|b| *b == b'&').map(|pair| {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let name = halves.next().unwrap_or_default();
        halves.next().filter(|value| !value.is_empty()).unwrap_or(name)
    });
    for candidate in candidates {
        let decoded = percent_decoded(candidate);
        if is_json(&decoded) {
            return Bytes::from(decoded);
        }
    }
    body
}

fn is_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Kind, form_json, kind};

    #[test]
    fn only_types_without_text_are_refused() {
        assert_eq!(kind(None).unwrap(), Kind::Json);
        for json in ["application/json", "application/x-ndjson", "text/plain; charset=utf-8", "", "nonsense"]
        {
            assert_eq!(kind(Some(json)).unwrap(), Kind::Json, "{json}");
        }
        assert_eq!(kind(Some("Text/X-Syslog; charset=utf-8")).unwrap(), Kind::Syslog);
        assert_eq!(kind(Some("application/x-www-form-urlencoded")).unwrap(), Kind::Form);
        for binary in ["image/png", "multipart/form-data; boundary=x", "application/x-protobuf"] {
            assert!(kind(Some(binary)).is_err(), "{binary}");
        }
    }

    #[track_caller]
    fn check(form: &str, expected: &str) {
        assert_eq!(form_json(Bytes::copy_from_slice(form.as_bytes())), expected, "{form}");
    }

    #[test]
    fn json_is_found_in_a_form() {
        check(r#" {"a":"b&c=d+%41"}"#, r#" {"a":"b&c=d+%41"}"#);
        check("payload=%7B%22a%22%3A%22x+y%26%22%7D&z=1", r#"{"a":"x y&"}"#);
        check("%5B%7B%7D%5D", "[{}]");
        check("%5B%7B%7D%5D=", "[{}]");
        check("a=1&b={\"c\":\"100%\"}", r#"{"c":"100%"}"#);
        check("a=1", "a=1");
        check("", "");
    }
}
