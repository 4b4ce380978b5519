//! Values of Avro as JSON.
//!
//! In: a decoded value, and its schema where that says more than the value. Out: JSON text. Never: a loss without a sign:
//! bytes become base64, times RFC 3339, decimals numbers with all their digits.

use std::collections::HashMap;

use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::time::Timestamp;

/// Deepest nesting in which a schema is searched.
const DEPTH_MAX: usize = 200;
const DAY_MS: i64 = 86_400_000;

/// JSON text of a value. `schema`: needed for the scale of decimals alone.
pub(super) fn to_json(value: &Value, schema: Option<&Schema>) -> Vec<u8> {
    let mut names = HashMap::new();
    if let Some(schema) = schema {
        collect(schema, &mut names, 0);
    }
    let mut writer = Writer { out: Vec::with_capacity(256), names };
    writer.value(value, schema);
    writer.out
}

/// Named types, to which others refer by their full names.
fn collect<'s>(schema: &'s Schema, names: &mut HashMap<String, &'s Schema>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let next = depth.saturating_add(1);
    match schema {
        Schema::Array(list) => collect(&list.items, names, next),
        Schema::Map(map) => collect(&map.types, names, next),
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect(variant, names, next)),
        Schema::Record(record) => {
            names.insert(record.name.fullname(None), schema);
            record.fields.iter().for_each(|field| collect(&field.schema, names, next));
        }
        Schema::Decimal(decimal) => {
            if let apache_avro::schema::InnerDecimalSchema::Fixed(fixed) = &decimal.inner {
                names.insert(fixed.name.fullname(None), schema);
            }
        }
        _ => {}
    }
}

struct Writer<'s> {
    out: Vec<u8>,
    names: HashMap<String, &'s Schema>,
}

impl<'s> Writer<'s> {
    fn value(&mut self, value: &Value, schema: Option<&'s Schema>) {
        let schema = match schema {
            Some(Schema::Ref { name }) => self.names.get(&name.fullname(None)).copied(),
            other => other,
        };
        match value {
            Value::Null => self.raw("null"),
            Value::Boolean(truth) => self.raw(&truth.to_string()),
            Value::Int(number) => self.raw(&number.to_string()),
            Value::Long(number) => self.raw(&number.to_string()),
            Value::Float(number) => self.float(number.is_finite(), &number.to_string()),
            Value::Double(number) => self.float(number.is_finite(), &number.to_string()),
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => self.text(&STANDARD.encode(bytes)),
            Value::String(text) | Value::Enum(_, text) => self.text(text),
            Value::Union(place, inner) => self.value(inner, variant(schema, *place)),
            Value::Array(list) => {
                let items = if let Some(Schema::Array(list)) = schema { Some(&*list.items) } else { None };
                self.list(list, items);
            }
            Value::Map(map) => {
                let types = if let Some(Schema::Map(map)) = schema { Some(&*map.types) } else { None };
                self.object(map.iter().map(|(key, one)| (key, one, types)));
            }
            Value::Record(fields) => {
                let known = if let Some(Schema::Record(record)) = schema { &record.fields[..] } else { &[] };
                let known = known.iter().map(|field| Some(&field.schema)).chain(std::iter::repeat(None));
                self.object(fields.iter().zip(known).map(|((key, one), schema)| (key, one, schema)));
            }
            Value::Decimal(decimal) => {
                let scale = if let Some(Schema::Decimal(decimal)) = schema { decimal.scale } else { 0 };
                self.decimal(decimal, scale);
            }
            Value::BigDecimal(number) => self.raw(&number.to_plain_string()),
            Value::Uuid(uuid) => self.text(&uuid.to_string()),
            Value::Duration(length) => {
                let (months, days, ms): (u32, u32, u32) =
                    (length.months().into(), length.days().into(), length.millis().into());
                self.text(&format!("P{months}M{days}DT{}.{:03}S", ms / 1000, ms % 1000));
            }
            other => self.time(other),
        }
    }

    /// Times: those of a place name no zone.
    fn time(&mut self, value: &Value) {
        let shown = |micros: i64| Timestamp::from_micros(micros).to_string();
        let local = |micros: i64| shown(micros).chars().take(26).collect::<String>();
        let text = match value {
            Value::Date(days) => {
                let midnight = Timestamp::from_millis(i64::from(*days).saturating_mul(DAY_MS));
                midnight.to_string().chars().take(10).collect()
            }
            Value::TimeMillis(ms) => clock(i64::from(*ms).saturating_mul(1000)),
            Value::TimeMicros(micros) => clock(*micros),
            Value::TimestampMillis(ms) => shown(ms.saturating_mul(1000)),
            Value::TimestampMicros(micros) => shown(*micros),
            Value::TimestampNanos(nanos) => shown(nanos.div_euclid(1000)),
            Value::LocalTimestampMillis(ms) => local(ms.saturating_mul(1000)),
            Value::LocalTimestampMicros(micros) => local(*micros),
            Value::LocalTimestampNanos(nanos) => local(nanos.div_euclid(1000)),
            // All other kinds are no times.
            _ => return self.raw("null"),
        };
        self.text(&text);
    }

    fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// What JSON has no number for is told as text.
    fn float(&mut self, is_finite: bool, text: &str) {
        if is_finite { self.raw(text) } else { self.text(text) }
    }

    fn text(&mut self, text: &str) {
        // Writing to memory does not fail, and text is always JSON.
        if serde_json::to_writer(&mut self.out, text).is_err() {
            self.raw("null");
        }
    }

    fn decimal(&mut self, decimal: &Decimal, scale: usize) {
        let bytes = Vec::<u8>::try_from(decimal).unwrap_or_default();
        match number(&bytes, scale) {
            Some(text) => self.raw(&text),
            None => self.text(&STANDARD.encode(bytes)),
        }
    }

    fn list(&mut self, list: &[Value], items: Option<&'s Schema>) {
        self.raw("[");
        for (place, one) in list.iter().enumerate() {
            if place > 0 {
                self.raw(",");
            }
            self.value(one, items);
        }
        self.raw("]");
    }

    fn object<'v>(&mut self, members: impl Iterator<Item = (&'v String, &'v Value, Option<&'s Schema>)>) {
        self.raw("{");
        for (place, (key, one, schema)) in members.enumerate() {
            if place > 0 {
                self.raw(",");
            }
            self.text(key);
            self.raw(":");
            self.value(one, schema);
        }
        self.raw("}");
    }
}

fn variant(schema: Option<&Schema>, place: u32) -> Option<&Schema> {
    let Some(Schema::Union(union)) = schema else { return None };
    union.variants().get(usize::try_from(place).ok()?)
}

/// Time of day, from microseconds after midnight.
fn clock(micros: i64) -> String {
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{rest:06}")
}

/// A number from its unscaled digits (two's complement, big-endian) and its scale; `None` beyond 128 bits.
fn number(bytes: &[u8], scale: usize) -> Option<String> {
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let mut wide = [if is_negative { 0xff } else { 0 }; 16];
    let from = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(from..)?.copy_from_slice(bytes);
    let unscaled = i128::from_be_bytes(wide);
    if scale == 0 {
        return Some(unscaled.to_string());
    }
    let digits = unscaled.unsigned_abs().to_string();
    let digits = format!("{digits:0>width$}", width = scale.checked_add(1)?);
    let (whole, part) = digits.split_at_checked(digits.len().checked_sub(scale)?)?;
    Some(format!("{}{whole}.{part}", if is_negative { "-" } else { "" }))
}

/// Whether a schema holds itself: a value of it may be so deep that reading it would end the process.
pub(super) fn is_recursive(schema: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<serde_json::Value>(schema) else { return false };
    holds_itself(&schema, &mut Vec::new(), "")
}

/// `around`: full names of the types around this one.
fn holds_itself(schema: &serde_json::Value, around: &mut Vec<String>, namespace: &str) -> bool {
    use serde_json::Value as Json;
    if around.len() > DEPTH_MAX {
        return true;
    }
    match schema {
        Json::String(name) => around.contains(&full(name, namespace)),
        Json::Array(variants) => variants.iter().any(|variant| holds_itself(variant, around, namespace)),
        Json::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Json::as_str);
            let own = text("name").filter(|_| object.contains_key("fields")).map(|name| {
                let name = full(name, text("namespace").unwrap_or(namespace));
                let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
                (name, namespace)
            });
            let (is_named, namespace) = match own {
                Some((name, namespace)) => {
                    around.push(name);
                    (true, namespace)
                }
                None => (false, namespace.to_owned()),
            };
            let below = ["type", "items", "values"].iter().filter_map(|key| object.get(*key));
            let fields = object.get("fields").and_then(Json::as_array).into_iter().flatten();
            let found = below.chain(fields).any(|schema| holds_itself(schema, around, &namespace));
            if is_named {
                around.pop();
            }
            found
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::types::Value;
    use apache_avro::{Days, Decimal, Duration, Millis, Months};

    use super::{is_recursive, number, to_json};

    #[track_caller]
    fn check(value: Value, json: &str) {
        assert_eq!(String::from_utf8(to_json(&value, None)).unwrap(), json);
    }

    #[test]
    fn every_kind_of_value_is_written() {
        check(Value::Null, "null");
        check(Value::Long(i64::MIN), "-9223372036854775808");
        check(Value::Float(0.1), "0.1");
        check(Value::Double(f64::NAN), "\"NaN\"");
        check(Value::Bytes(vec![0, 255]), "\"AP8=\"");
        check(Value::String("a\"\n\u{1}".to_owned()), r#""a\"\n\u0001""#);
        check(Value::Enum(1, "HIGH".to_owned()), "\"HIGH\"");
        check(Value::Union(1, Box::new(Value::Int(7))), "7");
        check(Value::Array(vec![Value::Boolean(true), Value::Null]), "[true,null]");
        let fields = vec![("a".to_owned(), Value::Int(1)), ("b".to_owned(), Value::Array(vec![]))];
        check(Value::Record(fields), r#"{"a":1,"b":[]}"#);
        check(Value::Map([("k".to_owned(), Value::Null)].into()), r#"{"k":null}"#);
        check(Value::Date(19_000), "\"2022-01-08\"");
        check(Value::TimeMillis(3_723_004), "\"01:02:03.004000\"");
        check(Value::TimestampMillis(0), "\"1970-01-01T00:00:00+00:00\"");
        let length = Duration::new(Months::new(1), Days::new(2), Millis::new(3004));
        check(Value::Duration(length), "\"P1M2DT3.004S\"");
    }

    #[test]
    fn decimals_have_the_scale_of_their_schema_also_behind_a_name() {
        let schema = Schema::parse_str(
            r#"{"type": "record", "name": "a.R", "fields": [
                {"name": "one", "type": {"type": "record", "name": "Money", "fields": [
                    {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}]}},
                {"name": "two", "type": ["null", "Money"]}]}"#,
        )
        .unwrap();
        let money =
            |bytes: &[u8]| Value::Record(vec![("sum".to_owned(), Value::Decimal(Decimal::from(bytes)))]);
        let value = Value::Record(vec![
            ("one".to_owned(), money(&[0x01, 0x00])),
            ("two".to_owned(), Value::Union(1, Box::new(money(&[0xff])))),
        ]);
        let json = String::from_utf8(to_json(&value, Some(&schema))).unwrap();
        assert_eq!(json, r#"{"one":{"sum":2.56},"two":{"sum":-0.01}}"#);
        assert_eq!(number(&[1; 17], 0), None);
        assert_eq!(number(&[], 3).as_deref(), Some("0.000"));
    }

    #[test]
    fn a_schema_that_holds_itself_is_told_from_one_that_uses_a_name_twice() {
        let list =
            r#"{"type": "record", "name": "n.L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
        assert!(is_recursive(list));
        let far = r#"{"type": "record", "name": "A", "fields": [{"name": "b", "type": {"type": "array", "items":
            {"type": "record", "name": "B", "fields": [{"name": "a", "type": {"type": "map", "values": "A"}}]}}}]}"#;
        assert!(is_recursive(far));
        let twice = r#"{"type": "record", "name": "A", "fields": [{"name": "x", "type":
            {"type": "record", "name": "B", "fields": []}}, {"name": "y", "type": "B"}]}"#;
        assert!(!is_recursive(twice));
        assert!(!is_recursive("\"string\""));
    }
}
