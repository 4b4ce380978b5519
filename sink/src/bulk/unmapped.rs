//! A value that does not fit the mapping moves to `unmapped.<path>`, as JSON
//! text, so that the rest of its event can be searched.
//!
//! In: a document and the path that the index named. Out: the document with
//! the value moved and a mark in `mozdef.errors`. Never: a loss: the text is
//! the value, exactly.

use bytes::Bytes;
use model::event::{Event, Limits, Object, Path, Value};

/// Top-level object of moved values; the template keeps it out of the mapping, so nothing in it can conflict.
pub(crate) const UNMAPPED: &str = "unmapped";

/// Moves the value at a path, or the nearest value around it that can be moved. `None` where there is none.
pub(super) fn moved(source: &Bytes, path: &str) -> Option<Bytes> {
    let mut event = Event::new();
    event.parse(source, &Limits::MAX).ok()?;
    move_within(&mut event, path).then(|| written(&event))
}

/// Moves a value; false where there is none, or it was moved before.
pub(super) fn move_within(event: &mut Event, path: &str) -> bool {
    let Some(keys) = locate(event.root(), path) else { return false };
    if keys.first().is_none_or(|first| first == UNMAPPED) {
        return false;
    }
    let from = Path::from_keys(keys.iter().map(String::as_str));
    let to = Path::from_keys(std::iter::once(UNMAPPED).chain(keys.iter().map(String::as_str)));
    let Some(text) = event.get(&from).map(Value::to_json) else { return false };
    event.remove(&from);
    let mark = format!("{UNMAPPED}: {} does not fit the index", keys.join("."));
    event.set(&to, &text).is_ok() && event.push(&Path::new("mozdef.errors"), &mark).is_ok()
}

/// The keys on the way to a dotted path. Keys may hold dots themselves. Where the way ends in something that is no
/// object (an array, a scalar), the keys up to there.
fn locate(root: Object<'_>, path: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut object = root;
    let mut rest = path;
    loop {
        let (key, after) = longest_key(object, rest)?;
        keys.push(key.to_owned());
        match (after, object.get(key)) {
            (Some(after), Some(Value::Object(inner))) if longest_key(inner, after).is_some() => {
                object = inner;
                rest = after;
            }
            _ => return Some(keys),
        }
    }
}

/// The longest key of an object that a dotted path begins with, and the path behind it.
fn longest_key<'p>(object: Object<'_>, path: &'p str) -> Option<(&'p str, Option<&'p str>)> {
    let ends = path.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
    let candidates = std::iter::once(path.len()).chain(ends.into_iter().rev());
    candidates.into_iter().find_map(|end| {
        let key = path.get(..end)?;
        object.get(key)?;
        Some((key, path.get(end + 1..)))
    })
}

fn written(event: &Event) -> Bytes {
    let mut out = Vec::new();
    event.write_json(&mut out);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::moved;

    #[track_caller]
    fn check(source: &str, path: &str, expected: Option<&str>) {
        let got = moved(&Bytes::copy_from_slice(source.as_bytes()), path);
        let got = got.map(|bytes| {
            let mut value: Value = serde_json::from_slice(&bytes).unwrap();
            let errors = value["mozdef"]["errors"].take();
            assert!(errors[0].as_str().unwrap().starts_with("unmapped: "), "{errors}");
            value.as_object_mut().unwrap().remove("mozdef");
            value
        });
        assert_eq!(got, expected.map(|text| serde_json::from_str(text).unwrap()), "{source} {path}");
    }

    #[test]
    fn the_value_moves_as_exact_text() {
        let source = Bytes::from_static(br#"{"details":{"n":1e309,"s":"a\"b"},"mozdef":{"errors":["old"]}}"#);
        let once = moved(&source, "details.n").unwrap();
        let twice = String::from_utf8(moved(&once, "details.s").unwrap().to_vec()).unwrap();
        assert_eq!(
            twice,
            r#"{"details":{},"mozdef":{"errors":["old","unmapped: details.n does not fit the index",\
"unmapped: details.s does not fit the index"]},"unmapped":{"details":{"n":"1e309","s":"\"a\\\"b\""}}}"#
                .replace("\\\n", "")
        );
    }

    #[test]
    fn paths_are_found_through_odd_keys_and_arrays() {
        check(
            r#"{"details":{"ip":"foo"}}"#,
            "details.ip",
            Some(r#"{"details":{},"unmapped":{"details":{"ip":"\"foo\""}}}"#),
        );
        check(
            r#"{"details":{"a.b":{"c":1}}}"#,
            "details.a.b.c",
            Some(r#"{"details":{"a.b":{}},"unmapped":{"details":{"a.b":{"c":"1"}}}}"#),
        );
        check(
            r#"{"details":{"a.":1}}"#,
            "details.a.",
            Some(r#"{"details":{},"unmapped":{"details":{"a.":"1"}}}"#),
        );
        check(
            r#"{"details":{"list":[{"x":1},{"x":"y"}]}}"#,
            "details.list.x",
            Some(r#"{"details":{},"unmapped":{"details":{"list":"[{\"x\":1},{\"x\":\"y\"}]"}}}"#),
        );
        check(
            r#"{"details":{"a":1}}"#,
            "details.a.b",
            Some(r#"{"details":{},"unmapped":{"details":{"a":"1"}}}"#),
        );
        check(r#"{"details":{"a":1}}"#, "other", None);
        check(r#"{"unmapped":{"a":1}}"#, "unmapped.a", None);
        check("not json", "a", None);
    }
}
