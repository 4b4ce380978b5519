//! Bodies, and what they are.

use bytes::Bytes;
use model::config::SqsTakes;
use model::event::Limits;
use model::headers;
use model::time::Timestamp;
use proptest::prelude::*;

use super::{ATTRIBUTES_MAX, Meaning, Message, Reader};

fn reader(takes: SqsTakes) -> Reader {
    Reader {
        takes,
        principal: Bytes::from_static(b"q"),
        queue: Bytes::from_static(b"q"),
        peer: Bytes::from_static(b"sqs.example.org"),
        limits: Limits { bytes_max: 100_000, depth_max: 12, fields_max: 2000 },
    }
}

#[track_caller]
fn check(takes: SqsTakes, body: &str, expected: &str) {
    let got = match reader(takes).meaning(body.as_bytes()) {
        Meaning::Events(pieces) => {
            let show = |piece: &crate::http::split::Piece| {
                let problem = piece.problem.as_ref().map(|problem| format!(" {}", problem.reason()));
                format!(
                    "{}{}",
                    body.get(piece.range.clone()).unwrap_or_default(),
                    problem.unwrap_or_default()
                )
            };
            pieces.iter().map(show).collect::<Vec<_>>().join(" | ")
        }
        Meaning::Parts(parts) => format!("{parts} parts"),
        Meaning::Objects(objects) => format!("{} objects", objects.len()),
        Meaning::Nothing(why) => format!("nothing: {why}"),
        Meaning::Wrong(reason, detail) => format!("{reason}: {detail}"),
    };
    assert_eq!(got, expected, "{body}");
}

#[test]
fn a_queue_of_events_takes_objects_lists_and_base64() {
    use SqsTakes::Events;
    check(Events, r#"{"a":1}"#, r#"{"a":1}"#);
    check(Events, r#"[{"a":1},{"a":2}]"#, r#"{"a":1} | {"a":2}"#);
    check(Events, "eyJhIjoxfQ==", "eyJhIjoxfQ==");
    check(Events, "eyJhIjoxfSB7fQ==", "not_an_object: its base64 holds several values");
    check(Events, "[]", "nothing: an empty list");
    check(Events, "hello", "hello malformed_json");
    check(Events, " ", "empty: empty input");
    check(Events, "7", "7 not_an_object");
}

#[test]
fn a_notification_is_one_event_whatever_it_carries() {
    use SqsTakes::Sns;
    check(Sns, r#"{"Message":"no json"}"#, r#"{"Message":"no json"}"#);
    check(Sns, r#"{"Message":"{}"}"#, r#"{"Message":"{}"}"#);
    check(Sns, "plain text", "plain text malformed_json");
    check(Sns, "{} {}", "not_an_object: it holds several values");
}

#[test]
fn a_finding_is_as_many_events_as_it_has_parts() {
    use SqsTakes::Guardduty;
    let probes = |count: usize| {
        let list = vec!["{}"; count].join(",");
        let finding = format!(
            r#"{{"details":{{"finding":{{"action":{{"actionType":"PORT_PROBE","portProbeAction":{{"portProbeDetails":[{list}]}}}}}}}}}}"#
        );
        serde_json::json!({ "Message": finding }).to_string()
    };
    check(Guardduty, &probes(3), "3 parts");
    check(Guardduty, &probes(300), "too_large: a finding of 300 events, more than 256");
    check(Guardduty, r#"{"Message":"no json"}"#, "malformed_json: expected a value at byte 0");
    check(Guardduty, r#"{"Message":"{}"}"#, "unexpected_message: it is no finding of GuardDuty");
}

#[test]
fn notifications_name_objects() {
    for takes in [SqsTakes::Cloudtrail, SqsTakes::Lines] {
        check(takes, r#"{"Message":"{\"s3Bucket\":\"b\",\"s3ObjectKey\":[\"k\"]}"}"#, "1 objects");
        check(takes, r#"{"Event":"s3:TestEvent"}"#, "nothing: S3 tries the queue");
        check(takes, r#"{"Records":null}"#, "unexpected_message: Records is null, no list");
    }
}

#[test]
fn records_have_the_message_s_id_and_what_the_queue_says() {
    let message = Message {
        id: "m1".to_owned(),
        body: Bytes::from_static(br#"[{"a":1},{"a":2}]"#),
        group: Some("g".to_owned()),
        sent: Some("5".to_owned()),
        attributes: (0..20).map(|n| (format!("a{n}"), "é".repeat(2000))).collect(),
        ..Message::default()
    };
    let reader = reader(SqsTakes::Events);
    let Meaning::Events(pieces) = reader.meaning(&message.body) else { panic!("no events") };
    let mut records = Vec::new();
    reader.records(&message, pieces, Timestamp::from_millis(9), &mut records);
    let header = |name| records[1].headers.get_str(name);
    assert_eq!((header(headers::CLIENT_ID), header(headers::ITEM)), (Some("m1"), Some("1")));
    assert_eq!((header(headers::QUEUE), header(headers::SQS_SENT)), (Some("q"), Some("5")));
    assert_eq!((header(headers::INPUT), &*records[1].key), (Some("sqs"), &b"g"[..]));
    let own: Vec<usize> = records[0]
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with(headers::SQS_ATTRIBUTE_PREFIX))
        .map(|(_, value)| value.len())
        .collect();
    assert_eq!(own, [1024; ATTRIBUTES_MAX]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::fuzz::cases(512)))]

    #[test]
    fn no_message_panics(body in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:a-zA-Z0-9=+/\\\\ \n]{0,80}".prop_map(String::into_bytes),
    ]) {
        let all = [SqsTakes::Events, SqsTakes::Sns, SqsTakes::Cloudtrail, SqsTakes::Guardduty, SqsTakes::Lines];
        let message = Message { id: "m".to_owned(), body: Bytes::from(body), ..Message::default() };
        for takes in all {
            let (reader, mut records) = (reader(takes), Vec::new());
            match reader.meaning(&message.body) {
                Meaning::Events(pieces) => {
                    prop_assert!(!pieces.is_empty());
                    reader.records(&message, pieces, Timestamp::EPOCH, &mut records);
                }
                Meaning::Parts(parts) => reader.parts_of(&message, parts, Timestamp::EPOCH, &mut records),
                Meaning::Wrong(reason, detail) => {
                    records.push(reader.dead(&message, reason, &detail, Timestamp::EPOCH));
                }
                Meaning::Objects(_) | Meaning::Nothing(_) => continue,
            }
            prop_assert!(!records.is_empty());
        }
    }
}
