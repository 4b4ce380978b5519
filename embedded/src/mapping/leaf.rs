//! One field of a mapping: its type and what its parameters change.
//!
//! In: a field's parameters. Out: [`Leaf`]. Never: a parameter that is taken and has no effect, unless
//! it only tunes how OpenSearch stores things.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::dates::DateFormats;
use crate::error::ApiError;

/// A field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    /// Full name with dots.
    pub(crate) name: String,
    /// The name as it stands in the index: free of characters with a meaning there.
    pub(crate) key: Arc<str>,
    pub(crate) kind: Kind,
    /// `index: false` takes it out of searches.
    pub(crate) searchable: bool,
    /// Strings of more UTF-16 units are kept in the source only.
    pub(crate) ignore_above: Option<usize>,
    /// A value that does not fit is kept in the source only; else the document is refused.
    pub(crate) ignore_malformed: bool,
    /// Stands in for an explicit null.
    pub(crate) null_value: Option<String>,
    /// The parameters as they were given.
    pub(crate) params: Map<String, Value>,
    /// Multi-fields: the same value under `name.sub`.
    pub(crate) subs: Vec<Arc<Leaf>>,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Words, lower-cased, with positions.
    Text,
    /// One exact string.
    Keyword,
    /// Whole numbers.
    Whole(Whole),
    /// IEEE numbers; `true` rounds to 32 bits.
    Float(bool),
    Boolean,
    /// Milliseconds since 1970.
    Date(DateFormats),
    /// IPv4 or IPv6.
    Ip,
    /// Kept, counted by `exists`, never searched by place.
    GeoPoint,
    /// Base64, kept in the source only.
    Binary,
}

/// Bounds of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Long,
    Integer,
    Short,
    Byte,
}

impl Whole {
    /// Smallest and largest value.
    pub(crate) const fn bounds(self) -> (i64, i64) {
        match self {
            Whole::Long => (i64::MIN, i64::MAX),
            Whole::Integer => (i32::MIN as i64, i32::MAX as i64),
            Whole::Short => (i16::MIN as i64, i16::MAX as i64),
            Whole::Byte => (i8::MIN as i64, i8::MAX as i64),
        }
    }
}

impl Kind {
    /// OpenSearch's word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Keyword => "keyword",
            Kind::Whole(Whole::Long) => "long",
            Kind::Whole(Whole::Integer) => "integer",
            Kind::Whole(Whole::Short) => "short",
            Kind::Whole(Whole::Byte) => "byte",
            Kind::Float(false) => "double",
            Kind::Float(true) => "float",
            Kind::Boolean => "boolean",
            Kind::Date(_) => "date",
            Kind::Ip => "ip",
            Kind::GeoPoint => "geo_point",
            Kind::Binary => "binary",
        }
    }

    fn parse(name: &str) -> Option<Kind> {
        Some(match name {
            "text" => Kind::Text,
            "keyword" => Kind::Keyword,
            "long" => Kind::Whole(Whole::Long),
            "integer" => Kind::Whole(Whole::Integer),
            "short" => Kind::Whole(Whole::Short),
            "byte" => Kind::Whole(Whole::Byte),
            "double" => Kind::Float(false),
            "float" => Kind::Float(true),
            "boolean" => Kind::Boolean,
            "date" => Kind::Date(DateFormats::default()),
            "ip" => Kind::Ip,
            "geo_point" => Kind::GeoPoint,
            "binary" => Kind::Binary,
            _ => return None,
        })
    }

    /// Its values stand in a column of numbers.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Kind::Whole(_) | Kind::Float(_) | Kind::Boolean | Kind::Date(_))
    }

    /// Its values stand in a column of strings.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self, Kind::Keyword | Kind::Ip)
    }
}

impl Leaf {
    /// Reads the parameters of a field.
    pub(crate) fn read(name: &str, params: &Map<String, Value>) -> Result<Leaf, ApiError> {
        let kind_name = params.get("type").and_then(Value::as_str).unwrap_or_default();
        let Some(kind) = Kind::parse(kind_name) else {
            return Err(ApiError::unsupported(format!("type [{kind_name}] of field [{name}]"))
                .because("mapper_parsing_exception", format!("no handler for type [{kind_name}]")));
        };
        let mut leaf = Leaf {
            name: name.to_owned(),
            key: index_key(name).into(),
            kind,
            searchable: true,
            ignore_above: None,
            ignore_malformed: false,
            null_value: None,
            params: params.clone(),
            subs: Vec::new(),
        };
        for (param, value) in params {
            leaf.take(param, value)?;
        }
        Ok(leaf)
    }

    fn take(&mut self, param: &str, value: &Value) -> Result<(), ApiError> {
        let place = format!("{param} of field {}", self.name);
        match (param, &mut self.kind) {
            ("type", _) => {}
            ("index", _) => self.searchable = crate::json::boolean(value, &place)?,
            ("ignore_above", Kind::Keyword) => {
                self.ignore_above = usize::try_from(crate::json::unsigned(value, &place)?).ok();
            }
            ("ignore_malformed", _) => self.ignore_malformed = crate::json::boolean(value, &place)?,
            ("null_value", kind) if kind.is_numeric() || kind.is_string() => {
                self.null_value = match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
            }
            ("format", Kind::Date(formats)) => {
                *formats = DateFormats::parse(crate::json::string(value, &place)?).map_err(|part| {
                    ApiError::unsupported(format!("date format [{part}] of field [{}]", self.name))
                })?;
            }
            ("analyzer" | "search_analyzer", Kind::Text) => {
                let analyzer = crate::json::string(value, &place)?;
                if analyzer != "standard" && analyzer != "default" {
                    return Err(ApiError::unsupported(format!(
                        "analyzer [{analyzer}] of field [{}]",
                        self.name
                    )));
                }
            }
            ("fields", _) => {
                for (sub, params) in crate::json::object(value, &place)? {
                    let params = crate::json::object(params, &place)?;
                    self.subs.push(Arc::new(Leaf::read(&format!("{}.{sub}", self.name), params)?));
                }
            }
            // These tune OpenSearch's storage and scores and change no match.
            (
                "doc_values"
                | "store"
                | "norms"
                | "coerce"
                | "eager_global_ordinals"
                | "meta"
                | "index_options"
                | "index_prefixes"
                | "index_phrases"
                | "fielddata"
                | "ignore_z_value"
                | "split_queries_on_whitespace",
                _,
            ) => {}
            _ => return Err(ApiError::unsupported(format!("parameter [{param}] of field [{}]", self.name))),
        }
        Ok(())
    }

    /// The field with another description of itself merged in.
    pub(crate) fn merged(&self, new: &Leaf) -> Result<Leaf, ApiError> {
        if self.kind.name() != new.kind.name() {
            return Err(super::changed(&self.name, self.kind.name(), new.kind.name()));
        }
        let mut merged = new.clone();
        for sub in &self.subs {
            if !merged.subs.iter().any(|s| s.name == sub.name) {
                merged.subs.push(sub.clone());
            }
        }
        Ok(merged)
    }
}

/// The name as a path of the index: `\0`, `\1` and `\` mean something there.
fn index_key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\0' => key.push_str("\u{2}0"),
            '\u{1}' => key.push_str("\u{2}1"),
            '\u{2}' => key.push_str("\u{2}2"),
            '\\' => key.push_str("\u{2}b"),
            other => key.push(other),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::{Kind, Leaf};
    use serde_json::json;

    fn read(params: serde_json::Value) -> Result<Leaf, String> {
        Leaf::read("f", params.as_object().unwrap()).map_err(|e| e.reason)
    }

    #[test]
    fn parameters_are_read_or_refused_by_name() {
        let leaf =
            read(json!({"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 5}}})).unwrap();
        assert_eq!((leaf.subs[0].name.as_str(), leaf.subs[0].ignore_above), ("f.raw", Some(5)));
        assert_eq!(read(json!({"type": "ip"})).unwrap().kind, Kind::Ip);
        for (params, named) in [
            (json!({"type": "nested"}), "[nested]"),
            (json!({"type": "keyword", "normalizer": "lower"}), "[normalizer]"),
            (json!({"type": "text", "analyzer": "english"}), "[english]"),
            (json!({"type": "date", "format": "dd/MM"}), "[dd/MM]"),
            (json!({"type": "keyword", "copy_to": "all"}), "[copy_to]"),
        ] {
            let reason = read(params).unwrap_err();
            assert!(reason.contains(named) && reason.contains("not supported"), "{reason}");
        }
    }

    #[test]
    fn keys_have_no_character_with_a_meaning() {
        assert_eq!(super::index_key("a.b\\c\u{0}\u{1}\u{2}"), "a.b\u{2}bc\u{2}0\u{2}1\u{2}2");
    }
}
