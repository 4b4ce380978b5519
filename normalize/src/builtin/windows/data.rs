//! The fields of one Windows event as they are collected, and how they are written under `details`.
//!
//! In: parts of an event, in the ways in which tools write XML as JSON. Out: names in lower case with their values.
//! Never: one of two values of the same name lost: they become a list.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use model::event::{Event, Object, Value};

use crate::builtin::details::details;

/// Deepest nesting of `UserData` that is followed; what is below stays as it is.
const DEPTH_MAX: usize = 8;

/// A value of a field.
#[derive(Clone, Debug)]
enum Found<'e> {
    /// As it stands in the event.
    Taken(Value<'e>),
    /// Made here.
    Made(String),
    /// A number, perhaps out of text.
    Number(i64),
    /// Several of one name.
    List(Vec<Value<'e>>),
}

/// Names and values, in order of their coming.
#[derive(Debug, Default)]
pub(super) struct Fields<'e> {
    list: Vec<(String, Found<'e>)>,
    /// Where in the list a name stands: hostile events have thousands.
    places: HashMap<String, usize, RandomState>,
    /// Where else a name may stand: the `details` of events that are flat already.
    base: Option<Object<'e>>,
}

impl<'e> Fields<'e> {
    /// None yet, beside those that stand flat under `details`.
    pub(super) fn beside(base: Option<Object<'e>>) -> Fields<'e> {
        Fields { base, ..Fields::default() }
    }

    /// Whether the event has a field of this name, in lower case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name) || self.base.is_some_and(|base| base.get(name).is_some())
    }

    /// The text (or number) of a field that says something.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = match self.found(name) {
            Some(Found::Made(text)) => text.clone(),
            Some(Found::Number(number)) => number.to_string(),
            Some(Found::Taken(Value::String(text) | Value::Number(text))) => (*text).to_owned(),
            Some(_) => return None,
            None => match self.base?.get(name)? {
                Value::String(text) | Value::Number(text) => text.to_owned(),
                _ => return None,
            },
        };
        (!text.is_empty() && text != "-").then_some(text)
    }

    fn found(&self, name: &str) -> Option<&Found<'e>> {
        self.list.get(*self.places.get(name)?).map(|(_, found)| found)
    }

    fn put(&mut self, name: String, found: Found<'e>) {
        self.places.insert(name.clone(), self.list.len());
        self.list.push((name, found));
    }

    /// A field of the event's data. A second value of a name joins the first.
    pub(super) fn add(&mut self, name: &str, value: Value<'e>) {
        let name = plain(name);
        let place = self.places.get(&name).copied();
        match place.and_then(|place| self.list.get_mut(place)) {
            None => self.put(name, Found::Taken(value)),
            Some((_, Found::List(all))) => all.push(value),
            Some((_, found)) => {
                if let Found::Taken(first) = found {
                    *found = Found::List(vec![*first, value]);
                }
            }
        }
    }

    /// A field of the event's system part; where the data has its name, it becomes `system_name`.
    pub(super) fn add_system(&mut self, name: &str, value: Value<'e>) {
        if matches!(value, Value::Null | Value::String("")) {
            return;
        }
        let name = plain(name);
        let name = if self.places.contains_key(&name) { format!("system_{name}") } else { name };
        let number = matches!(name.as_str(), "eventid" | "level").then(|| number(value)).flatten();
        self.put(name, number.map_or(Found::Taken(value), Found::Number));
    }

    /// A field that is made of others, unless the event has one of its name.
    pub(super) fn add_made(&mut self, name: &str, text: String) {
        if !self.has(name) {
            self.put(name.to_owned(), Found::Made(text));
        }
    }

    /// The same value by another name, unless the event has a field of that name.
    pub(super) fn add_alias(&mut self, name: &str, of: &str) {
        if let Some(text) = self.text(of) {
            self.add_made(name, text);
        }
    }

    /// `EventData`: named members, or a list `Data` of elements with or without names.
    pub(super) fn add_event_data(&mut self, data: Value<'e>) {
        let data = match data {
            Value::Null => return,
            Value::Object(data) => data,
            other => return self.add_element("data", other),
        };
        for (key, value) in data.iter().filter(|(key, _)| !is_attributes(key)) {
            if key == "Data" { self.add_unnamed(value) } else { self.add_nested(key, value, 0) }
        }
    }

    fn add_unnamed(&mut self, value: Value<'e>) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.add_unnamed(element)),
            Value::Object(element) => {
                let inner = text_of(element).unwrap_or(Value::Null);
                match attribute(element, "Name").and_then(Value::as_str) {
                    Some(name) => self.add_element(name, inner),
                    None => self.add_unnamed_text(inner),
                }
            }
            other => self.add_unnamed_text(other),
        }
    }

    fn add_unnamed_text(&mut self, value: Value<'e>) {
        match value {
            Value::Null => {}
            Value::Array(all) => all.iter().for_each(|one| self.add("data", one)),
            one => self.add("data", one),
        }
    }

    fn add_element(&mut self, name: &str, value: Value<'e>) {
        match value {
            Value::Array(all) => all.iter().for_each(|one| self.add(name, one)),
            one => self.add(name, one),
        }
    }

    /// An element and all that is in it, each by its own name.
    pub(super) fn add_nested(&mut self, name: &str, value: Value<'e>, depth: usize) {
        match value {
            Value::Object(element) if depth < DEPTH_MAX => match text_of(element) {
                Some(text) => self.add_element(name, text),
                None => {
                    let inner = element.iter().filter(|(key, _)| !is_attributes(key));
                    inner.for_each(|(key, value)| self.add_nested(key, value, depth + 1));
                }
            },
            Value::Array(all) if depth < DEPTH_MAX => {
                all.iter().for_each(|one| self.add_nested(name, one, depth + 1));
            }
            other => self.add(name, other),
        }
    }

    /// `System`: elements by their names, attributes by element and attribute.
    pub(super) fn add_system_part(&mut self, system: Object<'e>) {
        for (key, value) in system.iter() {
            if let Some(element) = key.strip_suffix("_attributes") {
                self.add_attributes(element, value);
                continue;
            }
            match value {
                Value::Object(element) => {
                    element.iter().filter(|(key, _)| is_attributes(key)).for_each(
                        |(inner, value)| match inner.strip_prefix('@').filter(|name| *name != "attributes") {
                            Some(attribute) => self.add_system(&attribute_name(key, attribute), value),
                            None => self.add_attributes(key, value),
                        },
                    );
                    if let Some(text) = text_of(element) {
                        self.add_system(key, text);
                    }
                }
                text => self.add_system(key, text),
            }
        }
    }

    fn add_attributes(&mut self, element: &str, attributes: Value<'e>) {
        let Value::Object(attributes) = attributes else { return };
        attributes.iter().for_each(|(name, value)| self.add_system(&attribute_name(element, name), value));
    }

    /// The document anew, as JSON: one pass, where setting each field would look at all others. What was under
    /// `details` stays there, but for what the fields were taken out of; the fields follow.
    pub(super) fn render(&self, old: &Event, consumed: &[&str]) -> Vec<u8> {
        let mut json = Json::default();
        json.open();
        for (key, value) in old.root().iter().filter(|(key, _)| *key != "details") {
            json.member(key, value);
        }
        json.key("details");
        json.open();
        let mut ecs = Vec::new();
        for (key, value) in details(old).into_iter().flat_map(Object::iter) {
            if consumed.contains(&key) {
                continue;
            }
            match value {
                _ if self.base.is_none() && self.places.contains_key(key) => ecs.push((key, value)),
                Value::Object(own) if key == "ecs" && self.base.is_none() => ecs.extend(own.iter()),
                _ => json.member(key, value),
            }
        }
        for (name, found) in &self.list {
            match found {
                Found::Taken(value) => json.member(name, *value),
                Found::Made(text) => json.member(name, Value::String(text)),
                Found::Number(number) => json.member(name, Value::Number(&number.to_string())),
                Found::List(all) => json.list(name, all),
            }
        }
        if !ecs.is_empty() {
            json.key(if self.places.contains_key("ecs") { "ecs_" } else { "ecs" });
            json.open();
            ecs.into_iter().for_each(|(key, value)| json.member(key, value));
            json.close();
        }
        json.close();
        json.close();
        json.bytes
    }
}

/// JSON on its way.
#[derive(Debug, Default)]
struct Json {
    bytes: Vec<u8>,
}

impl Json {
    fn open(&mut self) {
        self.bytes.push(b'{');
    }

    fn close(&mut self) {
        self.bytes.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if self.bytes.last().is_some_and(|last| *last != b'{') {
            self.bytes.push(b',');
        }
        Value::String(key).write_json(&mut self.bytes);
        self.bytes.push(b':');
    }

    fn member(&mut self, key: &str, value: Value<'_>) {
        self.key(key);
        value.write_json(&mut self.bytes);
    }

    fn list(&mut self, key: &str, values: &[Value<'_>]) {
        self.key(key);
        self.bytes.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            value.write_json(&mut self.bytes);
        }
        self.bytes.push(b']');
    }
}

/// Keys under which tools put the attributes of an element.
fn is_attributes(key: &str) -> bool {
    key.starts_with(['#', '@', '$']) && key != "#text" || key.ends_with("_attributes") || key == "xmlns"
}

/// The name of an attribute as a field: `Provider_Name`, but the time alone.
fn attribute_name(element: &str, attribute: &str) -> String {
    if element == "TimeCreated" { attribute.to_owned() } else { format!("{element}_{attribute}") }
}

/// In lower case and without spaces, as the field is looked for.
fn plain(name: &str) -> String {
    if !name.is_ascii() {
        return name.chars().filter(|c| *c != ' ').flat_map(char::to_lowercase).collect();
    }
    let mut plain = name.to_ascii_lowercase();
    if plain.contains(' ') {
        plain.retain(|c| c != ' ');
    }
    plain
}

/// The text of an element that has attributes beside it.
pub(super) fn text_of<'e>(element: Object<'e>) -> Option<Value<'e>> {
    ["#text", "_", "$t", "content"].into_iter().find_map(|key| element.get(key))
}

/// An attribute of an element.
pub(super) fn attribute<'e>(element: Object<'e>, name: &str) -> Option<Value<'e>> {
    let inside = ["#attributes", "@attributes", "$"]
        .into_iter()
        .find_map(|key| element.get(key).and_then(Value::as_object)?.get(name));
    inside.or_else(|| element.get(&format!("@{name}"))).or_else(|| element.get(name))
}

/// An integer, also as text.
pub(super) fn number(value: Value<'_>) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}
