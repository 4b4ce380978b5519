//! Which objects a notification names: CloudTrail's own, those of S3, by SNS, SQS or EventBridge.
//!
//! In: a message's body. Out: objects, or why there are none. Never: I/O.

use std::fmt;

use model::aws::sns_message;
use model::error::Reason;
use model::event::{Event, Limits, Object, ParseError, Value};

/// Most objects of one notification: S3 names one, CloudTrail a few.
const OBJECTS_MAX: usize = 1000;
/// Largest key of S3.
const KEY_BYTES_MAX: usize = 1024;
/// Objects beside CloudTrail's trails that hold sums of them, no events.
const DIGESTS: &str = "/CloudTrail-Digest/";

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectRef {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Where the bucket keeps versions and the notification names one.
    pub(super) version: Option<String>,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " version {version}"))
    }
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// These objects are there.
    Objects(Vec<ObjectRef>),
    /// Nothing that holds events, in good order.
    Nothing(&'static str),
    /// It is none.
    Wrong(Reason, String),
}

fn wrong(detail: impl Into<String>) -> Notice {
    Notice::Wrong(Reason::UnexpectedMessage, detail.into())
}

/// Reads a message's body.
pub(super) fn read(body: &[u8]) -> Notice {
    let mut document = match parse(body) {
        Ok(document) => document,
        Err(error) => return Notice::Wrong(error.reason(), format!("the message cannot be read: {error}")),
    };
    if let Some(text) = sns_message(&document).map(str::to_owned) {
        if text.starts_with("CloudTrail validation message") {
            return Notice::Nothing("CloudTrail tries the topic");
        }
        document = match parse(text.as_bytes()) {
            Ok(document) => document,
            Err(error) => {
                return Notice::Wrong(error.reason(), format!("what SNS carries cannot be read: {error}"));
            }
        };
    }
    of_document(document.root())
}

fn parse(bytes: &[u8]) -> Result<Event, ParseError> {
    // SQS takes no message of more than a MiB.
    let limits = Limits { bytes_max: 4 << 20, depth_max: 64, fields_max: 200_000 };
    let mut event = Event::new();
    event.parse(bytes, &limits)?;
    Ok(event)
}

fn of_document(root: Object<'_>) -> Notice {
    let text = |key| root.get(key).and_then(Value::as_str);
    if text("Event") == Some("s3:TestEvent") {
        return Notice::Nothing("S3 tries the queue");
    }
    let found = if let Some(bucket) = text("s3Bucket") {
        of_cloudtrail(bucket, root)
    } else if let Some(records) = root.get("Records") {
        of_s3(records)
    } else if let Some(detail) = root.get("detail").and_then(Value::as_object) {
        of_event_bridge(text("detail-type").unwrap_or_default(), detail)
    } else {
        Err("it names no objects: it has neither s3Bucket nor Records nor detail".to_owned())
    };
    match found {
        Err(detail) => wrong(detail),
        Ok(objects) if objects.len() > OBJECTS_MAX => {
            wrong(format!("it names more than {OBJECTS_MAX} objects"))
        }
        Ok(mut objects) => {
            objects.retain(|object| !object.key.contains(DIGESTS));
            if objects.is_empty() {
                Notice::Nothing("no object with events")
            } else {
                Notice::Objects(objects)
            }
        }
    }
}

/// By CloudTrail: a bucket, and one key or several.
fn of_cloudtrail(bucket: &str, root: Object<'_>) -> Result<Vec<ObjectRef>, String> {
    let object = |key: Value<'_>| match key.as_str() {
        Some(key) => object(bucket, key, None),
        None => Err("s3ObjectKey holds what is no text".to_owned()),
    };
    match root.get("s3ObjectKey") {
        Some(Value::Array(keys)) => keys.iter().map(object).collect(),
        Some(key @ Value::String(_)) => object(key).map(|object| vec![object]),
        _ => Err("it has a bucket, but no s3ObjectKey".to_owned()),
    }
}

/// By S3 itself: one record an object. Keys are encoded as in forms.
fn of_s3(records: Value<'_>) -> Result<Vec<ObjectRef>, String> {
    let Some(records) = records.as_array() else {
        return Err(format!("Records is {}, no list", shown(records)));
    };
    let mut objects = Vec::new();
    for record in records.iter() {
        let member =
            |object: Object<'_>, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let record = record.as_object().ok_or_else(|| "a record is no object".to_owned())?;
        let name = member(record, "eventName").unwrap_or_default();
        if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            continue;
        }
        let s3 = record.get("s3").and_then(Value::as_object).ok_or("a record has no s3")?;
        let bucket = s3.get("bucket").and_then(Value::as_object).ok_or("a record has no bucket")?;
        let entry = s3.get("object").and_then(Value::as_object).ok_or("a record has no object")?;
        let (bucket, key) = (member(bucket, "name"), member(entry, "key"));
        let (Some(bucket), Some(key)) = (bucket, key) else {
            return Err("a record names no bucket or no key".to_owned());
        };
        objects.push(object(&bucket, &from_form(&key)?, member(entry, "versionId"))?);
    }
    Ok(objects)
}

/// By EventBridge. Keys are as they are.
fn of_event_bridge(kind: &str, detail: Object<'_>) -> Result<Vec<ObjectRef>, String> {
    if kind != "Object Created" {
        return Err(format!("it is `{}` of EventBridge, not `Object Created`", short(kind)));
    }
    let inner = |key: &str| detail.get(key).and_then(Value::as_object);
    let text = |object: Option<Object<'_>>, key: &str| object?.get(key)?.as_str().map(str::to_owned);
    let (Some(bucket), Some(key)) = (text(inner("bucket"), "name"), text(inner("object"), "key")) else {
        return Err("its detail names no bucket or no key".to_owned());
    };
    object(&bucket, &key, text(inner("object"), "version-id")).map(|object| vec![object])
}

fn object(bucket: &str, key: &str, version: Option<String>) -> Result<ObjectRef, String> {
    let sound = |text: &str, most: usize| !text.is_empty() && text.len() <= most;
    let is_bucket = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    if !sound(bucket, 255) || !bucket.chars().all(is_bucket) {
        return Err(format!("`{}` cannot be the name of a bucket", short(bucket)));
    }
    if !sound(key, KEY_BYTES_MAX) {
        return Err(format!("`{}` cannot be the key of an object", short(key)));
    }
    let version = version.filter(|version| sound(version, KEY_BYTES_MAX) && version != "null");
    Ok(ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version })
}

/// A key as S3 writes it in its notifications: `+` for blanks, `%` and two hex digits for bytes.
fn from_form(key: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            (other, _) => {
                bytes.push(*other);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("`{}` cannot be the key of an object", short(key)))
}

fn shown(value: Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(100)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Notice, read};

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let got = match read(body.as_bytes()) {
            Notice::Objects(objects) => {
                objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            Notice::Nothing(why) => format!("nothing: {why}"),
            Notice::Wrong(reason, detail) => format!("{reason}: {detail}"),
        };
        assert_eq!(got, expected, "{body}");
        if body.starts_with('{') {
            let enveloped = serde_json::json!({"Type": "Notification", "Message": body}).to_string();
            if !body.contains("\"Message\"") && !expected.contains("cannot be read") {
                check_inner(&enveloped, expected);
            }
        }
    }

    #[track_caller]
    fn check_inner(body: &str, expected: &str) {
        let got = format!("{:?}", read(body.as_bytes()));
        let first = expected.split(", ").next().unwrap_or_default().split(": ").last().unwrap_or_default();
        let key = first.rsplit('/').next().unwrap_or_default();
        assert!(
            got.contains(key.split(" version").next().unwrap_or_default()),
            "{got} in an envelope, {expected}"
        );
    }

    #[test]
    fn notifications_of_cloudtrail() {
        check(
            r#"{"s3Bucket":"b","s3ObjectKey":["AWSLogs/1/CloudTrail/a.json.gz","x/c+d.gz"]}"#,
            "s3://b/AWSLogs/1/CloudTrail/a.json.gz, s3://b/x/c+d.gz",
        );
        check(r#"{"s3Bucket":"b","s3ObjectKey":"k"}"#, "s3://b/k");
        check(
            r#"{"s3Bucket":"b","s3ObjectKey":["AWSLogs/1/CloudTrail-Digest/a.json.gz"]}"#,
            "nothing: no object with events",
        );
        check(r#"{"s3Bucket":"b"}"#, "unexpected_message: it has a bucket, but no s3ObjectKey");
        check(
            r#"{"s3Bucket":"b","s3ObjectKey":[7]}"#,
            "unexpected_message: s3ObjectKey holds what is no text",
        );
        check(r#"{"Message":"CloudTrail validation message."}"#, "nothing: CloudTrail tries the topic");
    }

    #[test]
    fn notifications_of_s3() {
        check(
            r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Bc/%C3%A9.gz","versionId":"v1"}}}]}"#,
            "s3://b/a b+c/é.gz version v1",
        );
        check(
            r#"{"Records":[{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}"#,
            "nothing: no object with events",
        );
        check(
            r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#,
            "nothing: S3 tries the queue",
        );
        check(r#"{"Records":null}"#, "unexpected_message: Records is null, no list");
        check(r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#, "unexpected_message: a record has no s3");
        check(
            r#"{"detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"a+b"}}}"#,
            "s3://b/a+b",
        );
        check(
            r#"{"detail-type":"Object Deleted","detail":{}}"#,
            "unexpected_message: it is `Object Deleted` of EventBridge, not `Object Created`",
        );
    }

    #[test]
    fn what_is_no_notification_is_told() {
        check(
            "{}",
            "unexpected_message: it names no objects: it has neither s3Bucket nor Records nor detail",
        );
        check("no json", "malformed_json: the message cannot be read: expected a value at byte 0");
        let body = r#"{"Message":"no json"}"#;
        assert!(format!("{:?}", read(body.as_bytes())).contains("what SNS carries cannot be read"));
        check(
            r#"{"s3Bucket":"b b","s3ObjectKey":"k"}"#,
            "unexpected_message: `b b` cannot be the name of a bucket",
        );
        check(
            r#"{"s3Bucket":"b","s3ObjectKey":""}"#,
            "unexpected_message: `` cannot be the key of an object",
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::fuzz::cases(512)))]

        #[test]
        fn no_message_panics(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\{\"(Records|Message|detail|s3Bucket|s3ObjectKey)\":[\\[\\]{}\",:a-z0-9%+\\\\]{0,60}\\}".prop_map(String::into_bytes),
        ]) {
            let read = read(&body);
            prop_assert!(!matches!(read, Notice::Objects(objects) if objects.is_empty()));
        }

        /// Whatever a notification holds beside them, its objects are found.
        #[test]
        fn keys_come_through(keys in proptest::collection::vec("[ -~é]{1,30}", 1..5), extra in "[a-z]{0,10}") {
            let message = serde_json::json!({"s3ObjectKey": keys, "x": extra, "s3Bucket": "b"}).to_string();
            let body = serde_json::json!({"Message": message, "Type": "Notification"}).to_string();
            let Notice::Objects(objects) = read(body.as_bytes()) else { panic!("{body}") };
            prop_assert_eq!(objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(), keys);
        }
    }
}
