//! An event as a plugin sees it: read where it lies, changed by a patch.
//!
//! Reading parses no more than the way to what is asked for; writing collects a JSON merge patch. So what a plugin does
//! not touch stays byte for byte, and costs little.
//!
//! In: JSON. Out: values, and an answer. Never: a second copy of the document, unless a patch cannot say what is wanted.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::scan;

/// An event in normal form.
#[derive(Debug)]
pub struct Event<'d> {
    document: &'d str,
    received_ms: i64,
    /// Index alias other than `events`.
    pub index: Option<String>,
    /// Document id other than the event's own.
    pub id: Option<String>,
    patch: Map<String, Value>,
    /// The whole document, once a patch cannot say what is wanted.
    whole: Option<Value>,
    /// Another document in its place.
    replacement: Option<String>,
}

/// What becomes of an event, as the contract has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Unchanged,
    /// A JSON merge patch.
    Merged(String),
    /// The whole new document.
    Replaced(String),
    /// It goes no further.
    Dropped,
    /// The plugin cannot deal with it.
    Failed(String),
}

/// A plugin's answer for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it.
    pub change: Change,
    /// Index alias other than `events`.
    pub index: Option<String>,
    /// Document id other than the event's own.
    pub id: Option<String>,
    /// The document as it came.
    before: String,
}

impl Answer {
    /// The document as the answer leaves it; none when it was dropped or the plugin failed. For tests.
    pub fn document(&self) -> Option<String> {
        match &self.change {
            Change::Unchanged => Some(self.before.clone()),
            Change::Replaced(document) => Some(document.clone()),
            Change::Merged(patch) => {
                let mut document = serde_json::from_str(&self.before).ok()?;
                merge(&mut document, serde_json::from_str(patch).ok()?);
                Some(document.to_string())
            }
            Change::Dropped | Change::Failed(_) => None,
        }
    }
}

impl<'d> Event<'d> {
    /// The event of a document.
    pub fn new(document: &'d str, received_ms: i64, index: Option<String>, id: Option<String>) -> Event<'d> {
        Event { document, received_ms, index, id, patch: Map::new(), whole: None, replacement: None }
    }

    /// When it was received, in milliseconds since 1970.
    pub fn received_ms(&self) -> i64 {
        self.received_ms
    }

    /// The document as it came.
    pub fn document(&self) -> &'d str {
        self.document
    }

    /// The string at a path such as `details.username`.
    pub fn str(&self, path: &str) -> Option<Cow<'_, str>> {
        match self.changed(path) {
            Some(Value::String(text)) => return Some(Cow::Borrowed(text)),
            Some(Value::Null) if self.whole.is_none() => return None,
            Some(_) => return None,
            None => {}
        }
        if self.whole.is_some() {
            return None;
        }
        scan::text(scan::find(self.document, path)?)
    }

    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<Value> {
        if let Some(whole) = &self.whole {
            return at(whole, path).cloned();
        }
        let found = scan::find(self.document, path).and_then(|text| serde_json::from_str(text).ok());
        match (self.changed(path).cloned(), found) {
            (Some(Value::Null), _) => None,
            // What was set inside of it is merged into what is there.
            (Some(patch @ Value::Object(_)), Some(mut found @ Value::Object(_))) => {
                merge(&mut found, patch);
                Some(found)
            }
            (changed, found) => changed.or(found),
        }
    }

    /// Whether there is something at a path; `null` is something.
    pub fn has(&self, path: &str) -> bool {
        match self.changed(path) {
            Some(value) => self.whole.is_some() || !value.is_null(),
            None => self.whole.is_none() && scan::find(self.document, path).is_some(),
        }
    }

    /// Sets a value. Objects on the way are made; what is on the way and no object gives way.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let value = value.into();
        // In a patch `null` removes, and objects are merged.
        let can_be_said = matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
            || matches!(&value, Value::Array(_));
        if self.whole.is_none() && can_be_said {
            put(&mut self.patch, path, value);
            return;
        }
        if let Value::Object(whole) = self.whole() {
            put(whole, path, value);
        }
    }

    /// Removes a value.
    pub fn remove(&mut self, path: &str) {
        if self.whole.is_none() {
            if self.has(path) {
                put(&mut self.patch, path, Value::Null);
            }
            return;
        }
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let whole = self.whole();
        let parent = if parent.is_empty() { Some(whole) } else { at_mut(whole, parent) };
        if let Some(Value::Object(members)) = parent {
            members.shift_remove(key);
        }
    }

    /// Puts another document in the place of the event; what is set afterwards does not count.
    pub fn replace(&mut self, document: impl Into<String>) {
        self.replacement = Some(document.into());
    }

    /// The answer, when the plugin is done.
    pub(crate) fn finish(mut self) -> Answer {
        if let Some(document) = self.replacement.take() {
            return self.with(Change::Replaced(document));
        }
        let change = match &self.whole {
            Some(whole) => Change::Replaced(whole.to_string()),
            None if self.patch.is_empty() => Change::Unchanged,
            None => Change::Merged(serde_json::to_string(&self.patch).unwrap_or_default()),
        };
        self.with(change)
    }

    /// The answer with this change.
    pub(crate) fn with(self, change: Change) -> Answer {
        // Only natively somebody asks for the document.
        let before = if cfg!(target_arch = "wasm32") { String::new() } else { self.document.to_owned() };
        Answer { change, index: self.index, id: self.id, before }
    }

    /// What was set at a path.
    fn changed(&self, path: &str) -> Option<&Value> {
        if let Some(whole) = &self.whole {
            return at(whole, path);
        }
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        let value = self.patch.get(first)?;
        match rest {
            None => Some(value),
            // Something else stands on the way now, or nothing.
            Some(_) if !value.is_object() => Some(&Value::Null),
            Some(rest) => at(value, rest),
        }
    }

    /// From now on the document itself is changed.
    fn whole(&mut self) -> &mut Value {
        let (document, patch) = (self.document, &mut self.patch);
        self.whole.get_or_insert_with(|| {
            let mut whole = serde_json::from_str(document).unwrap_or_else(|_| Value::Object(Map::new()));
            merge(&mut whole, Value::Object(std::mem::take(patch)));
            whole
        })
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn at_mut<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('.').try_fold(value, |value, key| value.get_mut(key))
}

fn put(mut members: &mut Map<String, Value>, path: &str, value: Value) {
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            members.insert(key.to_owned(), value);
            return;
        }
        let inner = members.entry(key).or_insert_with(|| Value::Object(Map::new()));
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        match inner {
            Value::Object(inner) => members = inner,
            _ => return,
        }
    }
}

/// RFC 7396.
fn merge(document: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *document = patch;
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Value::Object(members) = document else { return };
    for (key, value) in patch {
        if value.is_null() {
            members.shift_remove(&key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Change, Event};

    const DOCUMENT: &str =
        r#"{"summary":"a \"b\"","details":{"n":1.10,"user":"ann","deep":{"x":null}},"tags":["t"]}"#;

    fn after(work: impl FnOnce(&mut Event<'_>)) -> (Change, String) {
        let mut event = Event::new(DOCUMENT, 0, None, None);
        work(&mut event);
        let answer = event.finish();
        (answer.change.clone(), answer.document().unwrap())
    }

    #[test]
    fn reading_sees_what_was_written() {
        let mut event = Event::new(DOCUMENT, 0, None, None);
        assert_eq!(event.str("summary").as_deref(), Some("a \"b\""));
        assert_eq!((event.str("details.user").as_deref(), event.str("details.n")), (Some("ann"), None));
        assert!(event.has("details.deep.x") && !event.has("details.deep.y"));
        event.set("details.user", "bob");
        event.set("details.new.inner", 7);
        assert_eq!(event.str("details.user").as_deref(), Some("bob"));
        assert_eq!(event.get("details.new"), Some(json!({"inner": 7})));
        assert_eq!(event.get("details").unwrap()["user"], "bob");
        event.remove("details");
        assert!(event.get("details.user").is_none() && !event.has("details.user") && !event.has("details"));
        event.set("details.user", Value::Null);
        assert!(event.has("details.user") && event.str("details.user").is_none());
    }

    #[test]
    fn small_changes_are_patches_and_others_the_whole() {
        assert_eq!(after(|_| {}).0, Change::Unchanged);
        let (change, document) = after(|event| {
            event.set("details.user", "bob");
            event.remove("tags");
            event.remove("absent");
        });
        assert_eq!(change, Change::Merged(r#"{"details":{"user":"bob"},"tags":null}"#.to_owned()));
        assert!(document.contains(r#""user":"bob""#) && !document.contains("tags"), "{document}");
        let (change, document) = after(|event| {
            event.set("hostname", "h");
            event.set("details.deep", json!({"y": 1}));
            event.remove("details.user");
        });
        assert!(matches!(change, Change::Replaced(_)));
        assert!(
            document.contains(r#""deep":{"y":1}"#) && document.contains(r#""hostname":"h""#),
            "{document}"
        );
        assert!(!document.contains("ann"), "{document}");
    }
}
