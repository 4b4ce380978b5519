//! The JSON form: the same request in names.
//!
//! In: a JSON document. Out: groups of log records, each as it is written. Never: more records than are allowed in memory.

use std::fmt;

use bytes::Bytes;
use model::error::Reason;
use model::event::{Limits, scan_value};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Group, OtlpError};

/// More scopes and resources than this are not one request.
const GROUPS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_logs: Few<ResourceLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope_logs: Few<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default)]
    log_records: Option<&'a RawValue>,
}

/// An array of not too many; `null` is none.
struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded(deserializer, GROUPS_MAX).map(Few)
    }
}

/// Reads an array of at most `limit`; `null` is an empty one.
fn bounded<'de, T, D>(deserializer: D, limit: usize) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Bounded<T>(usize, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {}", self.0)
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = seq.next_element()? {
                if all.len() >= self.0 {
                    return Err(serde::de::Error::custom(TOO_MANY));
                }
                all.push(element);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(Bounded(limit, std::marker::PhantomData))
}

/// How an array that is too long is told through serde.
const TOO_MANY: &str = "too many elements";

pub(super) fn cut(body: &Bytes, records_max: usize) -> Result<Vec<Group>, OtlpError> {
    let failed = |error: serde_json::Error| {
        let cause = error.to_string();
        if cause.starts_with(TOO_MANY) {
            OtlpError::TooMany { limit: records_max }
        } else {
            OtlpError::Malformed { form: "JSON", cause }
        }
    };
    // A struct could be read from an array, too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(OtlpError::Malformed { form: "JSON", cause: "expected an object".to_owned() });
    }
    let request: Request = serde_json::from_slice(body).map_err(failed)?;
    let slice = |value: Option<&RawValue>| {
        value
            .filter(|value| value.get() != "null")
            .map_or_else(Bytes::new, |value| body.slice_ref(value.get().as_bytes()))
    };
    let mut groups = Vec::new();
    let mut left = records_max;
    for resource in request.resource_logs.0 {
        for scope in resource.scope_logs.0 {
            let Some(records) = scope.log_records else { continue };
            let mut reader = serde_json::Deserializer::from_str(records.get());
            let records: Vec<&RawValue> = bounded(&mut reader, left).map_err(failed)?;
            left = left.saturating_sub(records.len());
            if !records.is_empty() {
                groups.push(Group {
                    resource: slice(resource.resource),
                    scope: slice(scope.scope),
                    records: records.iter().map(|record| body.slice_ref(record.get().as_bytes())).collect(),
                });
            }
        }
    }
    Ok(groups)
}

/// What is wrong with a record.
pub(super) fn mistake(record: &Bytes, limits: &Limits) -> Option<(Reason, String)> {
    if !record.starts_with(b"{") {
        return Some((Reason::NotAnObject, "a log record is an object".to_owned()));
    }
    let error = scan_value(record, 0, limits).err()?;
    Some((error.reason(), error.to_string()))
}
