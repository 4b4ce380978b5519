//! Whole events, from bytes to JSON.

use model::event::Limits;
use model::time::Timestamp;
use stream::record::Headers;

use super::{Alone, Format, Normalized, Normalizer, Raw, Sender};
use crate::chain::tally::Tally;
use crate::plugin::Metadata;
use crate::start::Settings;

fn normalizer() -> Normalizer {
    let mut settings = Settings::from_config(&Default::default()).unwrap();
    settings.hostname = "m".to_owned();
    settings.limits = Limits { bytes_max: 4096, depth_max: 8, fields_max: 50 };
    Normalizer::new(settings)
}

fn normalize(value: &[u8], format: Format, endpoint: Option<&str>, custom_endpoint: bool) -> String {
    let received = Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap();
    let raw = Raw {
        value,
        format,
        received,
        endpoint,
        custom_endpoint,
        queue: None,
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    let mut normalizer = normalizer();
    // Twice, so that what a first event leaves behind would be seen.
    for _ in 0..2 {
        let mut tally = Tally::default();
        normalizer.normalize(raw, &mut tally);
    }
    match normalizer.normalize(raw, &mut Tally::default()) {
        Normalized::Event { json, .. } => String::from_utf8(json.to_vec()).unwrap(),
        Normalized::Dropped { plugin } => format!("dropped by {plugin}"),
        Normalized::Dead { reason, detail } => format!("{reason}: {detail}"),
    }
}

/// With headers; as the plugins get it: none run.
pub(super) fn mapped(value: &[u8], format: Format, headers: &Headers) -> String {
    let mut settings = Settings::from_config(&Default::default()).unwrap();
    settings.plugins.clear();
    with_headers(settings, value, format, headers)
}

/// With headers, and all plugins.
pub(super) fn normalized(value: &[u8], format: Format, headers: &Headers) -> String {
    with_headers(Settings::from_config(&Default::default()).unwrap(), value, format, headers)
}

fn with_headers(settings: Settings, value: &[u8], format: Format, headers: &Headers) -> String {
    let raw = Raw {
        value,
        format,
        received: Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap(),
        endpoint: None,
        custom_endpoint: false,
        queue: None,
        item: 0,
        headers: Some(headers),
        sender: Sender::default(),
        digest: None,
    };
    match Normalizer::new(settings).normalize(raw, &mut Tally::default()) {
        Normalized::Event { json, .. } => String::from_utf8(json.to_vec()).unwrap(),
        Normalized::Dropped { plugin } => format!("dropped by {plugin}"),
        Normalized::Dead { reason, detail } => format!("{reason}: {detail}"),
    }
}

#[track_caller]
fn contains(json: &str, parts: &[&str]) {
    for part in parts {
        assert!(json.contains(part), "{part} in {json}");
    }
}

#[test]
fn a_syslog_line_runs_through_its_plugins() {
    let line = b"<38>Mar  3 13:06:56 bastion sshd[1291]: Accepted publickey for joe from 10.22.252.22 port 26476 ssh2\n";
    contains(
        &normalize(line, Format::Syslog, Some("events"), false),
        &[
            r#""utctimestamp":"2020-03-03T13:06:56+00:00""#,
            r#""receivedtimestamp":"2020-03-04T05:06:07+00:00""#,
            r#""category":"syslog""#,
            r#""severity":"INFO""#,
            r#""facility":"auth""#,
            r#""hostname":"bastion""#,
            r#""processid":"1291""#,
            r#""program":"sshd""#,
            r#""username":"joe""#,
            r#""sourceipaddress":"10.22.252.22""#,
            r#""plugins":["parse_sshd","sshdFindIP","ipFixup","geoip"]"#,
        ],
    );
}

#[test]
fn bytes_that_are_not_text_are_taken_and_marked() {
    let json = normalize(b"Mar  3 13:06:56 h sudo: caf\xe9 \xff", Format::Syslog, None, false);
    contains(&json, &["\"summary\":\"café ÿ\"", r#""errors":["syslog: bytes that are not UTF-8"#]);
}

#[test]
fn structured_data_lies_in_details() {
    let line = br#"<165>1 2020-03-03T22:14:15.003Z h a - ID47 [x@1 k="1" k="2" l="\]"] t"#;
    contains(
        &normalize(line, Format::Syslog, None, false),
        &[r#""structureddata":{"x@1":{"k":["1","2"],"l":"]"}}"#, r#""msgid":"ID47""#],
    );
}

#[test]
fn duplicate_keys_and_lone_surrogates_are_told() {
    let json = normalize(
        br#"{"summary":"a","summary":"b\ud800","details":{"x":1,"x":2}}"#,
        Format::Json,
        None,
        false,
    );
    contains(
        &json,
        &[
            "\"summary\":\"b\u{fffd}\"",
            r#""details":{"x":2}"#,
            r#""errors":["input: 2 duplicate keys, the last of each stands","input: 1 lone surrogates became U+FFFD"]"#,
        ],
    );
}

#[test]
fn custom_endpoints_skip_the_mapping_and_name_themselves() {
    let json = normalize(br#"{"Message":"x","endpoint":"evil"}"#, Format::Json, Some("app"), true);
    contains(&json, &[r#"{"Message":"x","endpoint":"app","customendpoint":true,"#, r#""summary":"UNKNOWN""#]);
    let said_by_itself =
        normalize(br#"{"Message":"x","customendpoint":1}"#, Format::Json, Some("events"), false);
    contains(&said_by_itself, &[r#""Message":"x""#, r#""endpoint":"events""#]);
    let not_true =
        normalize(br#"{"Message":"x","customendpoint":false}"#, Format::Json, Some("events"), false);
    contains(&not_true, &[r#""summary":"x""#, r#""details":{}"#]);
}

#[test]
fn what_cannot_be_normalised_is_dead_with_a_reason() {
    let check = |value: &[u8], format, expected: &str| {
        let got = normalize(value, format, None, false);
        assert!(got.starts_with(expected), "{got}");
    };
    check(b"", Format::Json, "empty");
    check(b" \n", Format::Syslog, "empty");
    check(b"{", Format::Json, "malformed_json");
    check(b"[1]", Format::Json, "not_an_object");
    check(b"\"x\"", Format::Json, "not_an_object");
    check(b"{\"a\":\"\xff\"}", Format::Json, "invalid_utf8");
    check("[".repeat(10_000).as_bytes(), Format::Json, "too_");
    check(format!("{{\"a\":{}1{}}}", "[".repeat(20), "]".repeat(20)).as_bytes(), Format::Json, "too_deep");
    check(format!("{{\"a\":\"{}\"}}", "x".repeat(5000)).as_bytes(), Format::Json, "too_large");
    check("x".repeat(5000).as_bytes(), Format::Syslog, "too_large");
    let many: Vec<String> = (0..60).map(|n| format!("\"k{n}\":1")).collect();
    check(format!("{{{}}}", many.join(",")).as_bytes(), Format::Json, "too_many_fields");
}

#[test]
fn one_plugin_runs_alone_on_normal_form() {
    let mut normalizer = normalizer();
    let now = Timestamp::EPOCH;
    let mut run =
        |name: &str, json: &str| normalizer.run_plugin(name, json.as_bytes(), Metadata::default(), now);
    let lower = run("lower_keys", r#"{"A":{"B":1}}"#);
    assert_eq!(lower, Alone::Event(r#"{"a":{"b":1}}"#.to_owned(), Metadata::default()));
    assert_eq!(run("none_of_this_name", "{}"), Alone::UnknownPlugin);
    assert!(matches!(run("lower_keys", "{"), Alone::Unreadable(_)));
}

#[test]
fn a_plugin_that_fails_is_told_and_the_others_do_their_work() {
    use crate::plugin::{Context, Outcome, Plugin, PluginError};
    struct Fails(&'static str, i32);
    impl Plugin for Fails {
        fn name(&self) -> &str {
            self.0
        }
        fn registration(&self) -> Vec<&str> {
            vec!["sshd"]
        }
        fn priority(&self) -> i32 {
            self.1
        }
        fn run(
            &self,
            event: &mut model::event::Event,
            context: &mut Context<'_>,
        ) -> Result<Outcome, PluginError> {
            event.set_member("summary", "half-done")?;
            context.metadata.id = Some("half-done".to_owned());
            if self.1 > 5 { panic!("a bug") } else { Err(PluginError::Input("too old".to_owned())) }
        }
    }
    let mut settings = Settings::from_config(&Default::default()).unwrap();
    settings.plugins.push(Box::new(Fails("first", 1)));
    settings.plugins.push(Box::new(Fails("last", 99)));
    let mut normalizer = Normalizer::new(settings);
    let line = b"Nov 24 11:59:58 h sshd[1]: Accepted publickey for joe from 10.2.3.4 port 26476 ssh2 \xff";
    let received = Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap();
    let raw = Raw {
        value: line,
        format: Format::Syslog,
        received,
        endpoint: None,
        custom_endpoint: false,
        queue: None,
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    for _ in 0..2 {
        let Normalized::Event { json, metadata } = normalizer.normalize(raw, &mut Tally::default()) else {
            panic!("no event");
        };
        assert_eq!(metadata, &Metadata::default());
        contains(
            std::str::from_utf8(json).unwrap(),
            &[
                r#""summary":"Accepted publickey"#,
                r#""sourceipaddress":"10.2.3.4""#,
                r#""plugins":["parse_sshd","sshdFindIP","ipFixup","geoip"]"#,
                r#""errors":["syslog: bytes that are not UTF-8 were read as Latin-1","plugin first: too old","plugin last: it panicked"]"#,
            ],
        );
    }
}

#[test]
fn times_without_a_zone_are_read_in_the_configured_one() {
    let config = model::config::NormalizeConfig { zone_minutes: -330, ..Default::default() };
    let received = Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap();
    let mut normalizer = Normalizer::new(Settings::from_config(&config).unwrap());
    for (format, value, expected) in [
        (Format::Syslog, "<38>Mar  3 13:06:56 bastion sshd[1291]: x", "2020-03-03T18:36:56+00:00"),
        (Format::Json, r#"{"timestamp":"2020-03-03 13:06:56"}"#, "2020-03-03T18:36:56+00:00"),
        (Format::Json, r#"{"timestamp":"2020-03-03 13:06:56Z"}"#, "2020-03-03T13:06:56+00:00"),
    ] {
        let value = value.as_bytes();
        let raw = Raw {
            value,
            format,
            received,
            endpoint: None,
            custom_endpoint: false,
            queue: None,
            item: 0,
            headers: None,
            sender: Sender::default(),
            digest: None,
        };
        let Normalized::Event { json, .. } = normalizer.normalize(raw, &mut Tally::default()) else {
            panic!()
        };
        contains(std::str::from_utf8(json).unwrap(), &[&format!(r#""utctimestamp":"{expected}""#)]);
    }
}

/// An event of an input with a shape of its own.
fn of_input(value: &str, format: Format, queue: Option<&str>, sender: Sender<'_>) -> String {
    let settings = Settings::from_config(&model::config::NormalizeConfig {
        hostname: "m".to_owned(),
        ..Default::default()
    });
    let mut normalizer = Normalizer::new(settings.unwrap());
    let received = Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap();
    let raw = Raw {
        value: value.as_bytes(),
        format,
        received,
        endpoint: None,
        custom_endpoint: false,
        queue,
        item: 0,
        headers: None,
        sender,
        digest: None,
    };
    match normalizer.normalize(raw, &mut Tally::default()) {
        Normalized::Event { json, .. } => String::from_utf8(json.to_vec()).unwrap(),
        other => format!("{other:?}"),
    }
}

#[test]
fn papertrail_keeps_severity_and_address() {
    let of_input = |value: &str| of_input(value, Format::Papertrail, Some("acme"), Sender::default());
    let record = r#"{"id":"7711561783320576","received_at":"2020-03-04T05:05:00-07:00","generated_at":"2020-03-04T05:04:00-07:00",
        "hostname":"abc","source_name":"abc-1","source_ip":"208.75.57.121","program":"CROND","severity":"Notice","facility":"Cron",
        "message":"one\ntwo"}"#;
    let json = of_input(record);
    contains(
        &json,
        &[
            r#""tags":["papertrail","acme"]"#,
            r#""category":"syslog""#,
            r#""severity":"NOTICE""#,
            r#""summary":"one two""#,
            r#""hostname":"abc""#,
            r#""processname":"CROND""#,
            r#""utctimestamp":"2020-03-04T12:04:00+00:00""#,
            r#""source_ip":"208.75.57.121""#,
            r#""sourceipaddress":"208.75.57.121""#,
            r#""id":"7711561783320576""#,
        ],
    );
    contains(&of_input(r#"{"message":"hello","tags":"a"}"#), &[r#""summary":"hello""#, r#""tags":"a""#]);
    contains(&of_input("[1]"), &["Dead", "NotAnObject"]);
}

#[test]
fn pubsub_data_is_the_details() {
    let queue = Some("projects/p/subscriptions/s");
    let of_input = |value: &str| of_input(value, Format::PubSub, queue, Sender::default());
    let json = of_input(r#"{"foo":"bar","tags":["x"]}"#);
    contains(
        &json,
        &[r#""details":{"foo":"bar","tags":["x"]}"#, r#""tags":["projects/p/subscriptions/s","pubsub"]"#],
    );
    contains(&of_input("garbage"), &["Dead", "MalformedJson"]);
    contains(&of_input("7"), &["Dead", "NotAnObject"]);
}

#[test]
fn a_listener_knows_the_device_and_its_zone() {
    let sender = Sender { peer: Some("10.1.2.3"), zone_minutes: Some(120) };
    let of_input = |value: &str| of_input(value, Format::Syslog, None, sender);
    let json = of_input("<13>Mar  4 07:00:00 h x: y");
    contains(
        &json,
        &[
            r#""hostname":"h""#,
            r#""eventsourceipaddress":"10.1.2.3""#,
            r#""utctimestamp":"2020-03-04T05:00:00+00:00""#,
        ],
    );
    contains(&of_input("<13>text"), &[r#""hostname":"10.1.2.3""#]);
    // Around New Year, and in another zone: the latest year that is not more than a day ahead.
    contains(&of_input("<13>Dec 31 23:59:59 h x: y"), &["2019-12-31T21:59:59+00:00"]);
}
