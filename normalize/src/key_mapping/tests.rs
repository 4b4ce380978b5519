//! What the recorded cases do not show.

use model::event::Event;
use model::time::Timestamp;
use proptest::prelude::*;

use super::{Context, Mapper, Mapping};
use crate::dates::Reference;
use crate::marks::Marks;

const RECEIVED: &str = "2020-03-04T05:06:07+00:00";

fn map(mapping: Mapping, input: &str) -> (Event, Vec<&'static str>) {
    let reference = Reference::utc(Timestamp::parse_rfc3339(RECEIVED).unwrap());
    let context = Context { reference, received: RECEIVED, hostname: "m", queue: Some("q") };
    let mut output = Event::new();
    let mut marks = Marks::default();
    let input = Event::from_json(input).unwrap();
    Mapper::default().map(mapping, &input, &mut output, context, &mut marks).unwrap();
    let kinds = marks.kinds().map(super::Kind::as_str).collect();
    (output, kinds)
}

/// `expected` is what remains after the fields that are always set.
#[track_caller]
fn check(input: &str, expected: &str, kinds: &[&str]) {
    let (output, got) = map(Mapping::EventTask, input);
    let always = [
        format!(r#"{{"receivedtimestamp":"{RECEIVED}","mozdefhostname":"m","#),
        format!(r#","utctimestamp":"{RECEIVED}","type":"event"}}"#),
    ];
    let json = output.to_json();
    let rest = json.strip_prefix(always[0].as_str()).and_then(|json| json.strip_suffix(always[1].as_str()));
    assert_eq!((rest.unwrap_or(json.as_str()), got.as_slice()), (expected, kinds), "{input}");
}

#[test]
fn unknown_keys_go_into_details_unless_they_are_there() {
    check(r#"{"Foo":"a","details":{"foo":"b"},"@Bar":null}"#, r#""details":{"foo":"b","bar":null}"#, &[]);
    check(r#"{"Foo":1,"fOO":{"A":2}}"#, r#""details":{"foo":{"A":2}}"#, &[]);
    check(r#"{"Ä":1,"details.":2,"":3}"#, r#""details":{"ä":1,"details.":2,"":3}"#, &[]);
    check(
        r#"{"endpoint":1,"CustomEndpoint":false,"receivedtimestamp":0,"MozdefHostname":0}"#,
        r#""details":{}"#,
        &[],
    );
    check(r#"{"load":"x","tag":"y"}"#, r#""details":{"load":"x","tag":"y"}"#, &[]);
}

#[test]
fn nulls_are_skipped_and_objects_are_json_text() {
    check(
        r#"{"summary":null,"details":null,"source":null,"tags":null,"severity":null}"#,
        r#""details":{}"#,
        &[],
    );
    check(r#"{"summary":{"a":[1.50,"x"]}}"#, r#""details":{},"summary":"{\"a\":[1.50,\"x\"]}""#, &[]);
    check(r#"{"details.a":null,"fields.b":[1]}"#, r#""details":{"b":"[1]"}"#, &[]);
}

#[test]
fn what_cannot_be_converted_is_kept_as_text_and_marked() {
    check(r#"{"timestamp":"not a date"}"#, r#""details":{"timestamp":"not a date"}"#, &["time"]);
    check(r#"{"date":"Monday","details":{"date":1}}"#, r#""details":{"date":1}"#, &["time"]);
    check(r#"{"utctimestamp":null}"#, r#""details":{}"#, &["time"]);
    check(
        r#"{"details.n_int":"abc","fields.x_float":"NaN"}"#,
        r#""details":{"n_int":"abc","x_float":"NaN"}"#,
        &["number"],
    );
    check(r#"{"tags":5}"#, r#""details":{},"tags":["5"]"#, &["tags"]);
}

#[test]
fn numbers_by_suffix() {
    check(
        r#"{"details.a_int":" 42 ","details.b_int":4.7,"details.c_int":true}"#,
        r#""details":{"a_int":42,"b_int":4,"c_int":1}"#,
        &[],
    );
    check(
        r#"{"details.a_int":123456789012345678901234567890}"#,
        r#""details":{"a_int":123456789012345678901234567890}"#,
        &[],
    );
    check(
        r#"{"details.a_float":"4.5","details.b_float":7}"#,
        r#""details":{"a_float":4.5,"b_float":7}"#,
        &[],
    );
}

#[test]
fn windows_events_of_nxlog_keep_every_field() {
    check(
        r#"{"Domain":"W","SourceModuleType":"im_msvistalog","Message":"logon","TargetUserName":"bob"}"#,
        r#""details":{"domain":"W","sourcemoduletype":"im_msvistalog","targetusername":"bob"},"summary":"logon""#,
        &[],
    );
}

proptest! {
    #[test]
    fn times_are_written_as_they_display(micros in i64::MIN..i64::MAX, short in 0..3_i64) {
        for micros in [micros, micros / 1000, short * 1_000_000, micros / 1_000_000 * 1_000_000] {
            let time = Timestamp::from_micros(micros);
            let mut text = String::new();
            super::write_time(time, &mut text);
            prop_assert_eq!(text, time.to_string());
        }
    }

    #[test]
    fn no_value_of_any_key_is_lost(keys in proptest::collection::vec("[a-zA-Z@]{1,9}", 0..8)) {
        let members: Vec<String> = keys.iter().enumerate().map(|(n, key)| format!(r#""{key}":"value-{n}""#)).collect();
        for mapping in [Mapping::EventTask, Mapping::Sqs, Mapping::CloudTrail] {
            let (output, _) = map(mapping, &format!("{{{}}}", members.join(",")));
            let json = output.to_json().to_lowercase();
            for (number, key) in keys.iter().enumerate() {
                let clean = |key: &String| key.replace('@', "").to_lowercase();
                // A later key of the same name, or for the same field, may stand in its place.
                let last = keys.iter().skip(number + 1).all(|later| clean(later) != clean(key));
                let known = super::field::of(mapping, &clean(key)) != super::Field::Unknown;
                prop_assert!(!last || known || json.contains(&format!("value-{number}")), "{}", json);
            }
        }
    }
}
