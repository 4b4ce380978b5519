//! Random edits against the same edits on a serde_json value.
//!
//! The model is the plain meaning of each edit on a tree of maps; order counts.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Map, Value as Json, json};

use crate::event::{EditError, Event, Limits, New, Path, ROOT};

#[derive(Clone, Debug)]
enum Edit {
    Set(Vec<String>, Json),
    Push(Vec<String>, Json),
    Copy(Vec<String>, Vec<String>),
    Rename(Vec<String>, Vec<String>),
    Remove(Vec<String>),
    Lower,
    Map,
}

/// Few keys, so that paths meet.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "A", "", "É", "k\n\"", "a long key that needs room"])
        .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(key(), 0..4)
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 4.0)),
        "[a-z\"\\n\u{0}ä]{0,30}".prop_map(Json::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

fn value() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(3, 20, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from), object(inner),]
    })
}

fn object(inner: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    prop::collection::vec((key(), inner), 0..6).prop_map(|members| members.into_iter().collect())
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (path(), value()).prop_map(|(p, v)| Edit::Set(p, v)),
        3 => (path(), value()).prop_map(|(p, v)| Edit::Push(p, v)),
        2 => (path(), path()).prop_map(|(a, b)| Edit::Copy(a, b)),
        3 => (path(), path()).prop_map(|(a, b)| Edit::Rename(a, b)),
        2 => path().prop_map(Edit::Remove),
        1 => Just(Edit::Lower),
        1 => Just(Edit::Map),
    ]
}

type Keys = [String];

/// What the edit gives back, and the changed tree; the tree is left alone on error.
fn on_model(root: &mut Map<String, Json>, edit: &Edit) -> Result<bool, EditError> {
    match edit {
        Edit::Set(path, value) => set(root, path, value.clone()).map(|()| true),
        Edit::Push(path, value) => {
            let mut elements = match lookup(root, path) {
                Some(Json::Array(elements)) => elements.clone(),
                Some(other) => vec![other.clone()],
                None => Vec::new(),
            };
            elements.push(value.clone());
            set(root, path, Json::Array(elements)).map(|()| true)
        }
        Edit::Copy(from, to) => match lookup(root, from).cloned() {
            Some(value) => set(root, to, value).map(|()| true),
            None => Ok(false),
        },
        Edit::Rename(from, to) => rename(root, from, to),
        Edit::Remove(path) => Ok(remove(root, path)),
        Edit::Lower => {
            *root = map_keys(root, &|key| key.to_lowercase());
            Ok(true)
        }
        Edit::Map => {
            *root = map_keys(root, &|key| if key == "b" { "x.y".to_owned() } else { key.to_owned() });
            Ok(true)
        }
    }
}

fn lookup<'j>(root: &'j Map<String, Json>, path: &Keys) -> Option<&'j Json> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(root.get(first)?, |value, key| value.as_object()?.get(key))
}

fn set(root: &mut Map<String, Json>, path: &Keys, value: Json) -> Result<(), EditError> {
    let (last, parents) = path.split_last().ok_or(EditError::NotAnObject)?;
    for depth in 1..=parents.len() {
        match lookup(root, &parents[..depth]) {
            Some(found) if !found.is_object() => return Err(EditError::NotAnObject),
            _ => {}
        }
    }
    let parent = parents.iter().fold(root, |object, key| {
        object.entry(key.clone()).or_insert_with(|| json!({})).as_object_mut().unwrap()
    });
    parent.insert(last.clone(), value);
    Ok(())
}

fn remove(root: &mut Map<String, Json>, path: &Keys) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let parent = parents.iter().try_fold(root, |object, key| object.get_mut(key)?.as_object_mut());
    parent.is_some_and(|parent| parent.shift_remove(last).is_some())
}

fn rename(root: &mut Map<String, Json>, from: &Keys, to: &Keys) -> Result<bool, EditError> {
    let Some(value) = lookup(root, from).cloned() else { return Ok(false) };
    if from == to {
        return Ok(true);
    }
    if to.starts_with(from) {
        set(root, from, json!({}))?;
        set(root, to, value)?;
    } else {
        set(root, to, value)?;
        if !from.starts_with(to) {
            remove(root, from);
        }
    }
    Ok(true)
}

/// Of keys that become equal the last stays, at its own place.
fn map_keys(object: &Map<String, Json>, f: &dyn Fn(&str) -> String) -> Map<String, Json> {
    let mut out = Map::new();
    for (key, value) in object {
        out.shift_remove(&f(key));
        out.insert(f(key), map_value(value, f));
    }
    out
}

fn map_value(value: &Json, f: &dyn Fn(&str) -> String) -> Json {
    match value {
        Json::Object(object) => Json::Object(map_keys(object, f)),
        Json::Array(elements) => elements.iter().map(|element| map_value(element, f)).collect(),
        other => other.clone(),
    }
}

fn on_event(event: &mut Event, edit: &Edit) -> Result<bool, EditError> {
    let compiled = |path: &Keys| Path::from_keys(path.iter().map(String::as_str));
    match edit {
        Edit::Set(path, value) => with_new(value, |new| event.set(&compiled(path), new)).map(|()| true),
        Edit::Push(path, value) => with_new(value, |new| event.push(&compiled(path), new)).map(|()| true),
        Edit::Copy(from, to) => event.copy(&compiled(from), &compiled(to)),
        Edit::Rename(from, to) => event.rename(&compiled(from), &compiled(to)),
        Edit::Remove(path) => Ok(event.remove(&compiled(path))),
        Edit::Lower => {
            event.lower_keys();
            Ok(true)
        }
        Edit::Map => {
            event.map_keys(|key| (key == "b").then(|| "x.y".to_owned()));
            Ok(true)
        }
    }
}

/// Scalars by their own way in, the rest as a value of another event.
fn with_new<R>(value: &Json, write: impl FnOnce(New<'_>) -> R) -> R {
    match value {
        Json::Null => write(New::Null),
        Json::Bool(b) => write((*b).into()),
        Json::String(text) => write(text.into()),
        Json::Number(n) if n.is_i64() => write(n.as_i64().unwrap().into()),
        Json::Number(n) if n.is_u64() => write(n.as_u64().unwrap().into()),
        Json::Number(n) => write(n.as_f64().unwrap().into()),
        Json::Array(elements) if elements.is_empty() => write(New::EmptyArray),
        Json::Object(members) if members.is_empty() => write(New::EmptyObject),
        other => {
            let holder = Event::from_json(&json!({ "v": other }).to_string()).unwrap();
            write(holder.member("v").unwrap().into())
        }
    }
}

/// The counts that the limits are checked with are those of the document.
fn check_counts(event: &Event) {
    let size = event.measure(&event.nodes[ROOT]);
    let json = event.to_json();
    assert_eq!((size.fields, size.bytes), (event.fields, json.len()), "{json}");
    assert!(event.bytes >= json.len(), "{} bytes counted: {json}", event.bytes);
}

/// Copies share the text of their keys, whichever of the two comes first.
#[test]
fn keys_that_become_equal_are_one_in_copies_too() {
    for (start, from, to) in
        [(r#"{"c":{"A":1,"k":2,"a":3}}"#, "c", "z"), (r#"{"b":0,"c":{"A":1,"k":2,"a":3}}"#, "c", "b")]
    {
        let mut event = Event::from_json(start).unwrap();
        event.copy(&Path::from_keys([from]), &Path::from_keys([to])).unwrap();
        event.map_keys(|_| None);
        event.lower_keys();
        let (a, b) = if to == "b" { ("b", "c") } else { ("c", "z") };
        assert_eq!(event.to_json(), format!(r#"{{"{a}":{{"k":2,"a":3}},"{b}":{{"k":2,"a":3}}}}"#));
        check_counts(&event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn edits_do_what_they_do_to_a_tree(start in object(value()), edits in prop::collection::vec(edit(), 0..25)) {
        let mut model = start.as_object().unwrap().clone();
        let mut event = Event::from_json(&start.to_string()).unwrap();
        for edit in &edits {
            assert_eq!(on_event(&mut event, edit), on_model(&mut model, edit), "{edit:?}");
            let got: Json = serde_json::from_str(&event.to_json()).unwrap();
            assert_eq!(got.to_string(), Json::Object(model.clone()).to_string(), "after {edit:?}");
            check_counts(&event);
        }
    }

    /// Under tight limits an edit is refused whole or done whole, and what stands can be parsed again.
    #[test]
    fn edits_never_leave_the_limits(
        start in object(value()),
        edits in prop::collection::vec(edit(), 0..25),
        bytes_max in 50..400_usize,
        depth_max in 2..6_usize,
        fields_max in 3..15_usize,
        spaces in any::<bool>(),
    ) {
        let limits = Limits { bytes_max, depth_max, fields_max };
        let text = if spaces { serde_json::to_string_pretty(&start).unwrap() } else { start.to_string() };
        let mut event = Event::new();
        if event.parse(text.as_bytes(), &limits).is_err() {
            assert!(event.root().is_empty());
        }
        for edit in &edits {
            let before = event.to_json();
            let result = on_event(&mut event, edit);
            if result.is_err() {
                assert_eq!(event.to_json(), before, "{edit:?}");
            }
            check_counts(&event);
            // Longer keys are the caller's own wish: see `map_keys`.
            if !matches!(edit, Edit::Map | Edit::Lower) {
                let within = before.len().max(bytes_max);
                assert!(event.to_json().len() <= within, "{edit:?}: {}", event.to_json());
            }
        }
        let slack = limits.for_normal_form();
        let json = event.to_json();
        assert!(Event::new().parse(json.as_bytes(), &Limits { bytes_max: slack.bytes_max, ..limits }).is_ok(), "{json}");
    }
}
