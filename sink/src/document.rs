//! One record as a document: index, id, and how it is written.
//!
//! In: records of `mozdef.events` and `mozdef.alerts`. Out: documents ready
//! for a bulk request. Never: a parse of the event; its bytes go to the index
//! as they are.

use bytes::Bytes;
use memchr::memchr;
use model::error::Reason;
use model::time::Timestamp;
use model::{headers, wire_format};
use serde::Deserialize;
use stream::record::Record;

/// Indices of events, where no plugin chose another.
pub(crate) const EVENTS: &str = "events";
/// Indices of alerts.
pub(crate) const ALERTS: &str = "alerts";

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Only if there is none of its id: a replay must not overwrite what analysts noted.
    Create,
    /// Over an older version.
    Replace {
        /// Of this document.
        version: u64,
        /// Also over the same version.
        same: bool,
    },
}

/// How long after a request its repetition is still known for one where midnight lies between them, in milliseconds.
const REPEATED_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Whether the same event may be in the index of another day: its client may have sent it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// No.
    Never,
    /// It may come again for the index of the next day.
    Next,
    /// It may be in this index of the day before.
    Before(String),
}

/// A document on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) index: String,
    pub(crate) id: String,
    pub(crate) write: Write,
    pub(crate) repeat: Repeat,
    /// JSON without a line feed.
    pub(crate) source: Bytes,
}

/// What a record of the log is to the sink.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// To be indexed.
    Document(Document),
    /// Nothing to index: a heartbeat, or the end of an alert's key.
    Nothing,
    /// Not what this topic should hold.
    Malformed(String),
}

/// The document of a record of `mozdef.events`.
pub(crate) fn event(record: &Record) -> Meant {
    if record.headers.get(headers::KIND).is_some() {
        return Meant::Nothing;
    }
    let received = record.headers.get_str(headers::RECEIVED).and_then(|text| text.parse::<i64>().ok());
    let Some(received) = received else { return malformed("header received is missing or no number") };
    let prefix = record.headers.get_str(headers::INDEX).unwrap_or(EVENTS);
    let index = format!("{prefix}-{}", Timestamp::from_millis(received).day());
    // A plugin that gives an id has one document for one thing, and the newest state of it counts.
    let (id, write) = match record.headers.get_str(headers::DOCUMENT_ID) {
        Some(id) => (Some(id), Write::Replace { version: u64::try_from(received).unwrap_or(0), same: true }),
        None => (std::str::from_utf8(&record.key).ok(), Write::Create),
    };
    let repeat = match write {
        Write::Create if record.headers.get(headers::CLIENT_ID).is_some() => repeat(prefix, received),
        _ => Repeat::Never,
    };
    document(record, index, id, write, repeat)
}

/// By the distance from midnight of an event with its client's own id.
fn repeat(prefix: &str, received: i64) -> Repeat {
    let of_day = received.rem_euclid(DAY_MS);
    if of_day < REPEATED_MS {
        let before = Timestamp::from_millis(received.saturating_sub(DAY_MS)).day();
        Repeat::Before(format!("{prefix}-{before}"))
    } else if of_day >= DAY_MS - REPEATED_MS {
        Repeat::Next
    } else {
        Repeat::Never
    }
}

/// The document of a record of `mozdef.alerts`.
pub(crate) fn alert(record: &Record) -> Meant {
    /// The only field that the sink needs.
    #[derive(Deserialize)]
    struct Fired {
        utctimestamp: String,
    }
    if record.headers.get(headers::KIND).is_some() || record.value.is_empty() {
        return Meant::Nothing;
    }
    let fired = match serde_json::from_slice::<Fired>(&record.value) {
        Ok(fired) => fired.utctimestamp,
        Err(error) => return Meant::Malformed(format!("no alert: {error}")),
    };
    let Some(fired) = Timestamp::parse_rfc3339(&fired) else {
        return Meant::Malformed(format!("utctimestamp {fired:?} is no time"));
    };
    let revision = record.headers.get_str(headers::REVISION).and_then(|text| text.parse::<u64>().ok());
    let Some(version) = revision else { return malformed("header revision is missing or no number") };
    let index = format!("{ALERTS}-{}", fired.month());
    let (id, write) = (std::str::from_utf8(&record.key).ok(), Write::Replace { version, same: false });
    document(record, index, id, write, Repeat::Never)
}

fn document(record: &Record, index: String, id: Option<&str>, write: Write, repeat: Repeat) -> Meant {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return malformed("no document id") };
    let value = record.value.slice_ref(wire_format::payload(&record.value));
    if !(value.starts_with(b"{") && value.ends_with(b"}")) {
        return malformed("the value is no JSON object");
    }
    let source = match memchr(b'\n', &value) {
        None => value,
        // Outside of strings, where JSON allows it, a line feed is white space; inside it is an error either way.
        Some(_) => value.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect::<Vec<u8>>().into(),
    };
    Meant::Document(Document { index, id: id.to_owned(), write, repeat, source })
}

fn malformed(why: &str) -> Meant {
    Meant::Malformed(why.to_owned())
}

/// The reason of a record that is [`Meant::Malformed`].
pub(crate) const MALFORMED: Reason = Reason::MalformedRecord;

impl Document {
    /// Appends the two lines of a bulk request.
    pub(crate) fn write_bulk(&self, out: &mut Vec<u8>) {
        let verb = match self.write {
            Write::Create => "create",
            Write::Replace { .. } => "index",
        };
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(verb.as_bytes());
        out.extend_from_slice(b"\":{\"_index\":");
        quoted(&self.index, out);
        out.extend_from_slice(b",\"_id\":");
        quoted(&self.id, out);
        if let Write::Replace { version, same } = self.write {
            let kind = if same { "external_gte" } else { "external" };
            out.extend_from_slice(format!(",\"version\":{version},\"version_type\":\"{kind}\"").as_bytes());
        }
        out.extend_from_slice(b"}}\n");
        out.extend_from_slice(&self.source);
        out.push(b'\n');
    }

    /// Bytes that it takes in a bulk request, nearly.
    pub(crate) fn bulk_bytes(&self) -> usize {
        self.source.len() + self.index.len() + self.id.len() + 48
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    let plain = text.bytes().all(|b| (0x20..0x7F).contains(&b) && b != b'"' && b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::time::Timestamp;
    use model::topic::Topic;
    use stream::record::{Headers, Record};

    use super::{Document, Meant, Repeat, Write, alert, event};

    fn record(topic: Topic, key: &str, value: &str, headers: &[(&'static str, &str)]) -> Record {
        let headers = headers.iter().fold(Headers::new(), |all, (name, value)| {
            all.with(*name, Bytes::copy_from_slice(value.as_bytes()))
        });
        Record {
            topic,
            partition: 0,
            offset: 0,
            appended: Timestamp::EPOCH,
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            headers,
        }
    }

    #[track_caller]
    fn check(meant: Meant, expected: &str) {
        let Meant::Document(document) = meant else { panic!("{meant:?}") };
        let mut body = Vec::new();
        document.write_bulk(&mut body);
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn an_event_goes_to_the_day_of_its_receipt() {
        let received = ("received", "1718000000000");
        check(
            event(&record(Topic::Events, "ab", "{\"a\":1}", &[received])),
            "{\"create\":{\"_index\":\"events-20240610\",\"_id\":\"ab\"}}\n{\"a\":1}\n",
        );
        check(
            event(&record(Topic::Events, "ab", "{\"a\":\n1}", &[received, ("index", "vulnerabilities")])),
            "{\"create\":{\"_index\":\"vulnerabilities-20240610\",\"_id\":\"ab\"}}\n{\"a\": 1}\n",
        );
        check(
            event(&record(Topic::Events, "ab", "{}", &[received, ("document-id", "x\"y")])),
            "{\"index\":{\"_index\":\"events-20240610\",\"_id\":\"x\\\"y\",\"version\":1718000000000,\
             \"version_type\":\"external_gte\"}}\n{}\n",
        );
    }

    #[track_caller]
    fn check_repeat(received: &str, headers: &[(&'static str, &str)], expected: Repeat) {
        let headers = [&[("received", received)], headers].concat();
        let Meant::Document(document) = event(&record(Topic::Events, "ab", "{}", &headers)) else { panic!() };
        assert_eq!(document.repeat, expected, "{received}");
    }

    #[test]
    fn near_midnight_events_with_their_clients_id_may_be_in_two_indices() {
        let client = ("client-id", "x");
        let before = |index: &str| Repeat::Before(index.to_owned());
        check_repeat("1717977600000", &[client], before("events-20240609"));
        check_repeat("1717981199999", &[client, ("index", "x")], before("x-20240609"));
        check_repeat("1717981200000", &[client], Repeat::Never);
        check_repeat("1718060399999", &[client], Repeat::Never);
        check_repeat("1718060400000", &[client], Repeat::Next);
        check_repeat("1718063999999", &[client], Repeat::Next);
        check_repeat("1718063999999", &[], Repeat::Never);
        check_repeat("1717977600000", &[client, ("document-id", "y")], Repeat::Never);
    }

    #[test]
    fn an_alert_goes_to_the_month_of_its_first_firing() {
        let value = r#"{"summary":"s","utctimestamp":"2024-06-30T23:59:59+00:00"}"#;
        check(
            alert(&record(Topic::Alerts, "cd", value, &[("revision", "3")])),
            &format!(
                "{{\"index\":{{\"_index\":\"alerts-202406\",\"_id\":\"cd\",\"version\":3,\
                 \"version_type\":\"external\"}}}}\n{value}\n"
            ),
        );
    }

    #[test]
    fn what_is_no_document_is_known() {
        let beat = record(Topic::Events, "", "", &[("kind", "heartbeat"), ("received", "1")]);
        assert_eq!(event(&beat), Meant::Nothing);
        assert_eq!(alert(&record(Topic::Alerts, "cd", "", &[])), Meant::Nothing);
        let malformed = |meant| matches!(meant, Meant::Malformed(_));
        assert!(malformed(event(&record(Topic::Events, "ab", "{}", &[]))));
        assert!(malformed(event(&record(Topic::Events, "", "{}", &[("received", "1")]))));
        assert!(malformed(event(&record(Topic::Events, "ab", "", &[("received", "1")]))));
        assert!(malformed(event(&record(Topic::Events, "ab", "[1]", &[("received", "1")]))));
        assert!(malformed(alert(&record(
            Topic::Alerts,
            "cd",
            "{\"utctimestamp\":\"x\"}",
            &[("revision", "1")]
        ))));
        assert!(malformed(alert(&record(Topic::Alerts, "cd", "{}", &[("revision", "1")]))));
        let value = r#"{"utctimestamp":"2024-06-30T23:59:59Z"}"#;
        assert!(malformed(alert(&record(Topic::Alerts, "cd", value, &[]))));
    }

    #[test]
    fn the_size_of_a_document_is_nearly_right() {
        let document = Document {
            index: "events-20240610".to_owned(),
            id: "a".repeat(32),
            write: Write::Create,
            repeat: Repeat::Never,
            source: Bytes::from_static(b"{}"),
        };
        let mut body = Vec::new();
        document.write_bulk(&mut body);
        assert!(body.len() <= document.bulk_bytes() && document.bulk_bytes() < body.len() + 30);
    }
}
