//! A document of the same id is there already: is it the same document?
//!
//! In: what was to be written, what is stored. Out: yes or no. Never: a
//! judgement by the time of receipt: a request that was sent twice was
//! received twice, and is one event. The digest of the original bytes in
//! `mozdef.digest` decides; where there is none, the documents are compared.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use model::event::{Event, Limits, Object, Path, Value};

use super::unmapped::{UNMAPPED, move_within};

/// Whether `stored` is `source`, or became of it by moving values that did not fit.
pub(super) fn is_same(source: &Bytes, stored: Object<'_>) -> bool {
    let mut event = Event::new();
    if event.parse(source, &Limits::MAX).is_err() {
        return false;
    }
    if let (Some(ours), Some(theirs)) = (digest(event.root()), digest(stored)) {
        return ours == theirs;
    }
    if same_object(event.root(), stored, &[]) {
        return true;
    }
    let Some(Value::Object(unmapped)) = stored.get(UNMAPPED) else { return false };
    let mut paths = Vec::new();
    leaves(unmapped, &mut String::new(), &mut paths);
    // Every path was taken from the stored document: its own length bounds the work.
    if !paths.iter().all(|path| move_within(&mut event, path)) {
        return false;
    }
    // The order of the marks follows the order of the index's complaints, which is not known any more.
    event.remove(&Path::new("mozdef.errors"));
    same_object(event.root(), stored, &["mozdef", "errors"])
}

/// Digest of what an event was made of.
fn digest(event: Object<'_>) -> Option<&str> {
    static PATH: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.digest"));
    event.get_path(&PATH).and_then(Value::as_str)
}

/// Dotted paths of the texts in an object.
fn leaves(object: Object<'_>, prefix: &mut String, paths: &mut Vec<String>) {
    for (key, value) in object.iter() {
        let length = prefix.len();
        if length > 0 {
            prefix.push('.');
        }
        prefix.push_str(key);
        match value {
            Value::Object(inner) => leaves(inner, prefix, paths),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                paths.push(prefix.clone());
            }
        }
        prefix.truncate(length);
    }
}

/// Equal but for the order of keys, and for the member of `b` at the path `ignored`.
fn same_object(a: Object<'_>, b: Object<'_>, ignored: &[&str]) -> bool {
    let last = if let [last] = ignored { Some(*last) } else { None };
    let a: BTreeMap<&str, Value<'_>> = a.iter().filter(|(key, _)| Some(*key) != last).collect();
    let b: BTreeMap<&str, Value<'_>> = b.iter().filter(|(key, _)| Some(*key) != last).collect();
    a.len() == b.len()
        && a.iter().zip(&b).all(|((a_key, a), (b_key, b))| {
            let below = ignored.split_first().filter(|(first, rest)| *first == a_key && !rest.is_empty());
            a_key == b_key && same(*a, *b, below.map_or(&[], |(_, rest)| rest))
        })
}

fn same(a: Value<'_>, b: Value<'_>, ignored: &[&str]) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b || same_number(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b, &[]))
        }
        (Value::Object(a), Value::Object(b)) => same_object(a, b, ignored),
        _ => false,
    }
}

/// An index may write a fraction in another way; whole numbers it keeps as they are.
fn same_number(a: &str, b: &str) -> bool {
    let fraction = |text: &str| text.contains(['.', 'e', 'E']);
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => (fraction(a) || fraction(b)) && x == y && x.is_finite(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::event::Event;

    use super::super::unmapped::moved;
    use super::is_same;

    #[track_caller]
    fn check(source: &str, stored: &str, expected: bool) {
        let stored = Event::from_json(stored).unwrap();
        let source = Bytes::copy_from_slice(source.as_bytes());
        assert_eq!(is_same(&source, stored.root()), expected, "{source:?}");
    }

    #[test]
    fn order_and_writing_make_no_difference_but_content_does() {
        check(r#"{"a":1,"b":{"c":[1.50,"x",null]}}"#, r#"{"b":{"c":[1.5,"\u0078",null]},"a":1}"#, true);
        check(r#"{"a":1}"#, r#"{"a":2}"#, false);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false);
        check(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, false);
        check(r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#, false);
        check(r#"{"a":1e309}"#, r#"{"a":1e309}"#, true);
        check(r#"{"a":1e309}"#, r#"{"a":2e309}"#, false);
        check("broken", "{}", false);
    }

    #[test]
    fn the_digest_of_the_original_decides() {
        let one = r#"{"receivedtimestamp":"a","mozdef":{"digest":"d1"}}"#;
        check(one, r#"{"receivedtimestamp":"b","mozdef":{"digest":"d1","plugins":[]}}"#, true);
        check(one, r#"{"receivedtimestamp":"a","mozdef":{"digest":"d2"}}"#, false);
        check(one, r#"{"receivedtimestamp":"a","mozdef":{}}"#, false);
    }

    #[test]
    fn a_document_with_moved_values_is_still_the_same() {
        let source = r#"{"summary":"s","details":{"a":{"x":[1],"y":2},"b":"z"},"mozdef":{"plugins":[],"errors":["old"]}}"#;
        let mut stored = Bytes::copy_from_slice(source.as_bytes());
        for path in ["details.a.y", "details.b", "details.a.x"] {
            stored = moved(&stored, path).unwrap();
        }
        let stored = String::from_utf8(stored.to_vec()).unwrap();
        check(source, &stored, true);
        check(&source.replace("[1]", "[2]"), &stored, false);
        check(&source.replace("\"s\"", "\"t\""), &stored, false);
        check(&source.replace("\"plugins\":[]", "\"plugins\":[1]"), &stored, false);
        check(r#"{"summary":"s"}"#, r#"{"summary":"s","unmapped":{"details":{"a":"1"}}}"#, false);
    }
}
