//! A parsed document and a mapping become the indexed content.
//!
//! In: [`Event`], [`Mapping`]. Out: [`Content`]; or the paths that the mapping lacks; or OpenSearch's error
//! for a value that does not fit its field. Never: a value that is dropped without being named in `_ignored`.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use model::event::{Event, Object as EventObject, Value};

use super::document::Content;
use super::schema::{KEYWORD_BYTES_MAX, float_to_ordered, ip_to_text};
use crate::dates::Round;
use crate::error::ApiError;
use crate::json::cut;
use crate::mapping::{Discovered, Dynamic, JsonType, Kind, Leaf, Mapping, Node, Object};

/// What came of a document.
#[derive(Debug)]
pub(crate) enum Built {
    /// Every path is mapped.
    Ready(Content),
    /// The mapping must grow first.
    Unmapped(Vec<Discovered>),
}

/// Builds the content of a document; `id` is for messages.
pub(crate) fn build(mapping: &Mapping, event: &Event, id: &str) -> Result<Built, ApiError> {
    let mut builder = Builder { id, content: Content::default(), path: String::new(), found: Vec::new() };
    builder.object(Some(mapping.root()), Dynamic::Add, event.root())?;
    if builder.found.is_empty() {
        Ok(Built::Ready(builder.content))
    } else {
        Ok(Built::Unmapped(builder.found))
    }
}

struct Builder<'d> {
    id: &'d str,
    content: Content,
    /// Full name of the place that is being read.
    path: String,
    found: Vec<Discovered>,
}

impl Builder<'_> {
    fn object(
        &mut self,
        node: Option<&Object>,
        inherited: Dynamic,
        value: EventObject<'_>,
    ) -> Result<(), ApiError> {
        if node.is_some_and(Object::is_disabled) {
            return Ok(());
        }
        let dynamic = node.map_or(inherited, |n| n.dynamic(inherited));
        for (key, child) in value.iter() {
            let length = self.path.len();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(key);
            if key.is_empty() || key.contains('.') {
                self.dotted(node, dynamic, key, child)?;
            } else {
                self.member(node.and_then(|n| n.child(key)), dynamic, child)?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    /// A key with dots stands for objects; the path already holds it.
    fn dotted(
        &mut self,
        node: Option<&Object>,
        dynamic: Dynamic,
        key: &str,
        value: Value<'_>,
    ) -> Result<(), ApiError> {
        if key.split('.').any(|part| part.trim().is_empty()) {
            let reason = if key.is_empty() {
                "field name cannot be an empty string".to_owned()
            } else {
                format!(
                    "object field starting or ending with a [.] makes object resolution ambiguous: [{key}]"
                )
            };
            return Err(self.refused("failed to parse").because("illegal_argument_exception", reason));
        }
        let mut parts = key.split('.').peekable();
        let (mut object, mut inherited) = (node, dynamic);
        while let Some(part) = parts.next() {
            let child = object.and_then(|o| o.child(part));
            if parts.peek().is_none() {
                return self.member(child, inherited, value);
            }
            match child {
                Some(Node::Object(next)) => {
                    if next.is_disabled() {
                        return Ok(());
                    }
                    inherited = next.dynamic(inherited);
                    object = Some(next);
                }
                Some(Node::Leaf(leaf)) => {
                    return Err(self.refused(format!(
                        "Could not dynamically add mapping for field [{key}]. Existing mapping for [{}] must be of type object but found [{}].",
                        leaf.name,
                        leaf.kind.name()
                    )));
                }
                None => object = None,
            }
        }
        Ok(())
    }

    fn member(&mut self, node: Option<&Node>, dynamic: Dynamic, value: Value<'_>) -> Result<(), ApiError> {
        match node {
            Some(Node::Leaf(leaf)) => self.leaf(leaf, value),
            Some(Node::Object(object)) => self.object_value(object, dynamic, value),
            None => self.unmapped(dynamic, value),
        }
    }

    fn object_value(&mut self, object: &Object, dynamic: Dynamic, value: Value<'_>) -> Result<(), ApiError> {
        match value {
            _ if object.is_disabled() => Ok(()),
            Value::Object(members) => self.object(Some(object), dynamic, members),
            Value::Array(items) => items.iter().try_for_each(|item| self.object_value(object, dynamic, item)),
            Value::Null => Ok(()),
            _ => Err(self.refused(format!(
                "object mapping for [{0}] tried to parse field [{0}] as object, but found a concrete value",
                self.path
            ))),
        }
    }

    fn unmapped(&mut self, dynamic: Dynamic, value: Value<'_>) -> Result<(), ApiError> {
        let json_type = match value {
            Value::Null => return Ok(()),
            _ if dynamic == Dynamic::Ignore => return Ok(()),
            _ if dynamic == Dynamic::Strict => {
                let (parent, name) = self.path.rsplit_once('.').unwrap_or(("_doc", &self.path));
                return Err(ApiError::new(
                    400,
                    "strict_dynamic_mapping_exception",
                    format!(
                        "mapping set to strict, dynamic introduction of [{name}] within [{parent}] is not allowed"
                    ),
                ));
            }
            Value::Array(items) => return items.iter().try_for_each(|item| self.unmapped(dynamic, item)),
            Value::Object(members) => return self.object(None, dynamic, members),
            Value::Bool(_) => JsonType::Boolean,
            Value::String(_) => JsonType::String,
            Value::Number(text) if text.contains(['.', 'e', 'E']) => JsonType::Double,
            Value::Number(_) => JsonType::Long,
        };
        let path: Vec<String> = self.path.split('.').map(str::to_owned).collect();
        if !self.found.iter().any(|f| f.path == path) {
            let text = value.as_str().unwrap_or_default().to_owned();
            self.found.push(Discovered { path, json_type, text });
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Arc<Leaf>, value: Value<'_>) -> Result<(), ApiError> {
        self.values(leaf, value)?;
        leaf.subs.iter().try_for_each(|sub| self.values(sub, value))
    }

    fn values(&mut self, leaf: &Leaf, value: Value<'_>) -> Result<(), ApiError> {
        if leaf.kind == Kind::GeoPoint {
            return self.geo_point(leaf, value);
        }
        let text = match value {
            Value::Null => match &leaf.null_value {
                Some(text) => text.as_str(),
                None => return Ok(()),
            },
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(text) | Value::String(text) => text,
            Value::Array(items) => return items.iter().try_for_each(|item| self.values(leaf, item)),
            Value::Object(_) => {
                return self.misfit(
                    leaf,
                    value,
                    "illegal_state_exception",
                    "Can't get text on a START_OBJECT".to_owned(),
                );
            }
        };
        if let Err((kind, reason)) = self.scalar(leaf, text, value) {
            return self.misfit(leaf, value, kind, reason);
        }
        Ok(())
    }

    /// Adds one value; the error is why it does not fit.
    fn scalar(&mut self, leaf: &Leaf, text: &str, value: Value<'_>) -> Result<(), (&'static str, String)> {
        let illegal = |reason: String| ("illegal_argument_exception", reason);
        match &leaf.kind {
            Kind::Keyword => {
                if is_too_long(leaf, text) {
                    self.content.ignore(&leaf.key);
                } else {
                    self.content.keyword(&leaf.key, text);
                }
            }
            Kind::Text => self.content.text(&leaf.key, text),
            Kind::Ip => {
                let ip: IpAddr = text
                    .parse()
                    .map_err(|_| illegal(format!("'{}' is not an IP string literal.", cut(text, 100))))?;
                self.content.keyword(&leaf.key, &ip_to_text(ip));
            }
            Kind::Date(formats) => {
                let millis = formats
                    .read(text, &TimeZone::UTC, Round::Down)
                    .ok_or_else(|| illegal(format!("failed to parse date field [{}]", cut(text, 100))))?;
                self.content.number(&leaf.key, millis);
            }
            Kind::Boolean => match (value, text) {
                (Value::Number(_), _) => {
                    return Err((
                        "json_parse_exception",
                        format!("Current token ({text}) not of boolean type"),
                    ));
                }
                (_, "true") => self.content.number(&leaf.key, 1),
                (_, "false" | "") => self.content.number(&leaf.key, 0),
                _ => {
                    return Err(illegal(format!(
                        "Failed to parse value [{}] as only [true] or [false] are allowed.",
                        cut(text, 100)
                    )));
                }
            },
            Kind::Whole(whole) => {
                if !text.is_empty() {
                    let number = whole_number(text).ok_or_else(|| number_error(text))?;
                    let (least, most) = whole.bounds();
                    if !(least..=most).contains(&number) {
                        return Err(illegal(format!(
                            "Value [{text}] is out of range for a {}",
                            leaf.kind.name()
                        )));
                    }
                    self.content.number(&leaf.key, number);
                }
            }
            Kind::Float(single) => {
                if !text.is_empty() {
                    let number: f64 = text.parse().map_err(|_| number_error(text))?;
                    let number = if *single { f64::from(number as f32) } else { number };
                    if !number.is_finite() {
                        return Err(illegal(format!(
                            "[{}] supports only finite values, but got [{text}]",
                            leaf.kind.name()
                        )));
                    }
                    self.content.number(&leaf.key, float_to_ordered(number));
                }
            }
            Kind::Binary => self.content.name(&leaf.key),
            Kind::GeoPoint => {}
        }
        Ok(())
    }

    fn geo_point(&mut self, leaf: &Leaf, value: Value<'_>) -> Result<(), ApiError> {
        if value.is_null() || value.as_array().is_some_and(|items| items.is_empty()) {
            return Ok(());
        }
        if !is_geo_point(value) {
            let reason = "geo_point expected".to_owned();
            return self.misfit(leaf, value, "parse_exception", reason);
        }
        self.content.name(&leaf.key);
        Ok(())
    }

    /// Refuses the document, or keeps the value in the source only where the field says so.
    fn misfit(
        &mut self,
        leaf: &Leaf,
        value: Value<'_>,
        kind: &'static str,
        reason: String,
    ) -> Result<(), ApiError> {
        if leaf.ignore_malformed {
            self.content.ignore(&leaf.key);
            return Ok(());
        }
        let shown = match value {
            Value::String(text) => cut(text, 100),
            other => cut(&other.to_json(), 100),
        };
        let message = format!(
            "failed to parse field [{}] of type [{}] in document with id '{}'. Preview of field's value: '{shown}'",
            leaf.name,
            leaf.kind.name(),
            self.id
        );
        Err(self.refused(message).because(kind, reason))
    }

    fn refused(&self, reason: impl Into<String>) -> ApiError {
        ApiError::new(400, "mapper_parsing_exception", reason)
    }
}

fn number_error(text: &str) -> (&'static str, String) {
    ("illegal_argument_exception", format!("For input string: \"{}\"", cut(text, 100)))
}

/// A whole number; decimals are cut off, as OpenSearch's `coerce` does.
fn whole_number(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    let float: f64 = text.parse().ok()?;
    // 2^63 itself is out of range; every float below it converts exactly.
    let limit = 9_223_372_036_854_775_808.0_f64;
    (float.is_finite() && float >= -limit && float < limit).then_some(float as i64)
}

/// `{"lat": …, "lon": …}`, `"lat,lon"`, a geohash, `[lon, lat]`, or an array of these.
fn is_geo_point(value: Value<'_>) -> bool {
    match value {
        Value::Object(members) => {
            let number = |key| members.get(key).is_some_and(|v| v.as_f64().is_some() || text_is_number(v));
            number("lat") && number("lon")
        }
        Value::String(text) => match text.split_once(',') {
            Some((lat, lon)) => lat.trim().parse::<f64>().is_ok() && lon.trim().parse::<f64>().is_ok(),
            None => {
                let geohash = |b: u8| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ailo".contains(&b));
                !text.is_empty() && text.len() <= 12 && text.bytes().all(geohash)
            }
        },
        Value::Array(items) => {
            let pair = (2..=3).contains(&items.len()) && items.iter().all(|item| item.as_f64().is_some());
            pair || items.iter().all(is_geo_point)
        }
        _ => false,
    }
}

fn text_is_number(value: Value<'_>) -> bool {
    value.as_str().is_some_and(|text| text.parse::<f64>().is_ok())
}

/// A keyword that is kept, but not found.
fn is_too_long(leaf: &Leaf, text: &str) -> bool {
    let above = |max: usize| text.len() > max && text.encode_utf16().count() > max;
    text.len() > KEYWORD_BYTES_MAX || leaf.ignore_above.is_some_and(above)
}

#[cfg(test)]
mod tests {
    use super::{Built, build};
    use crate::mapping::Mapping;
    use model::event::Event;
    use serde_json::json;

    fn mapping() -> Mapping {
        Mapping::read(&json!({
            "dynamic_templates": [
                {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}},
                {"longs": {"match_mapping_type": "long", "mapping": {"type": "keyword"}}}
            ],
            "properties": {
                "summary": {"type": "text"}, "at": {"type": "date"}, "ip": {"type": "ip"},
                "success": {"type": "boolean"}, "count": {"type": "long"}, "place": {"type": "geo_point"},
                "short": {"type": "keyword", "ignore_above": 3},
                "details": {"properties": {"a": {"type": "keyword"}}}
            }
        }))
        .unwrap()
    }

    /// The document as the library sees it, or the error.
    fn shown(document: &str) -> String {
        let event = Event::from_json(document).unwrap();
        match build(&mapping(), &event, "x") {
            Ok(Built::Ready(content)) => format!("{content:?}"),
            Ok(Built::Unmapped(found)) => {
                found.iter().map(|f| format!("{}:{:?} ", f.path.join("."), f.json_type)).collect()
            }
            Err(error) => format!("{} | {}", error.reason, error.caused_by.map(|c| c.1).unwrap_or_default()),
        }
    }

    #[track_caller]
    fn check(document: &str, expected: &str) {
        let got = shown(document);
        assert!(got.contains(expected), "{document}: {got}");
    }

    #[test]
    fn values_go_to_their_fields() {
        check(r#"{"ip": "10.0.0.1"}"#, "00000000000000000000ffff0a000001");
        check(r#"{"at": "2016-07-13T14:33:31.625443+00:00"}"#, "1468420411625");
        check(r#"{"success": "true", "count": "12.9"}"#, r#"numbers: [("success", 1), ("count", 12)]"#);
        check(r#"{"short": "abcd"}"#, r#"ignored: ["short"]"#);
        check(r#"{"short": "äöü", "details.a": [1, null, [true, 1.50]]}"#, "äöü1true1.50");
        check(r#"{"place": {"lat": 1.5, "lon": "2"}}"#, r#"names: ["place"]"#);
    }

    #[test]
    fn unknown_paths_are_reported_once_with_their_type() {
        check(
            r#"{"new": {"x": [null, 1], "y": {"z": "t"}}, "list": [{"b": true}, {"b": false}], "e": [], "o": {}, "f": 1.5}"#,
            "new.x:Long new.y.z:String list.b:Boolean f:Double ",
        );
    }

    #[test]
    fn misfits_are_refused_with_opensearchs_words() {
        check(
            r#"{"ip": "abc"}"#,
            "failed to parse field [ip] of type [ip] in document with id 'x'. Preview of field's value: 'abc' | 'abc' is not an IP string literal.",
        );
        check(r#"{"at": "yesterday"}"#, "failed to parse field [at] of type [date]");
        check(r#"{"success": 1}"#, "failed to parse field [success] of type [boolean]");
        check(r#"{"count": "x"}"#, "For input string: \"x\"");
        check(r#"{"count": 1e30}"#, "For input string");
        check(r#"{"short": {"a": 1}}"#, "failed to parse field [short] of type [keyword]");
        check(
            r#"{"details": "text"}"#,
            "object mapping for [details] tried to parse field [details] as object",
        );
        check(r#"{"summary.x": 1}"#, "must be of type object but found [text]");
        check(r#"{"a..b": 1}"#, "object field starting or ending with a [.]");
        check(r#"{"place": "somewhere"}"#, "failed to parse field [place] of type [geo_point]");
    }

    #[test]
    fn giant_keywords_are_kept_in_the_source_only() {
        let giant = "x".repeat(40_000);
        check(&format!(r#"{{"details": {{"a": "{giant}"}}}}"#), r#"ignored: ["details.a"]"#);
    }
}
