//! Records in, records out; and that the counts add up.

use bytes::Bytes;
use model::config::NormalizeConfig;
use model::error::Reason;
use model::headers;
use model::ids::EventId;
use model::metrics::{Stage, metrics};
use model::time::Timestamp;
use model::topic::Topic;
use stream::log::RECORD_BYTES_MAX;
use stream::record::{Headers, NewRecord, Record};
use stream::worker::Worker;

use super::NormalizerWorker;
use crate::plugin::{Context, Outcome, Plugin, PluginError};
use crate::start::Settings;

/// Drops `drop`, fails on `fail`, blows up `grow`, sends `elsewhere` elsewhere.
struct Obedient;

impl Plugin for Obedient {
    fn name(&self) -> &str {
        "obedient"
    }
    fn registration(&self) -> Vec<&str> {
        vec!["drop", "fail", "grow", "elsewhere"]
    }
    fn priority(&self) -> i32 {
        1
    }
    fn run(
        &self,
        event: &mut model::event::Event,
        context: &mut Context<'_>,
    ) -> Result<Outcome, PluginError> {
        match event.member_str("summary") {
            Some("drop") => return Ok(Outcome::Dropped),
            Some("fail") => return Err(PluginError::Input("asked to".to_owned())),
            Some("grow") => event.set_member("summary", &"x".repeat(RECORD_BYTES_MAX))?,
            _ => {
                context.metadata.index = Some("vulnerabilities".to_owned());
                context.metadata.id = Some("v1".to_owned());
            }
        }
        Ok(Outcome::Changed)
    }
}

fn worker() -> NormalizerWorker {
    let mut settings = Settings::from_config(&NormalizeConfig::default()).unwrap();
    settings.limits.bytes_max = 2 * RECORD_BYTES_MAX;
    settings.plugins = vec![Box::new(Obedient)];
    NormalizerWorker::with_settings(settings, "log")
}

fn raw(offset: u64, value: &str, headers: Headers) -> Record {
    Record {
        topic: Topic::Raw,
        partition: 3,
        offset,
        appended: Timestamp::from_millis(1_583_298_367_000),
        key: Bytes::new(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        headers,
    }
}

fn process(records: &[Record]) -> Vec<NewRecord> {
    let mut worker = worker();
    let mut out = Vec::new();
    worker.assigned(3, Vec::new(), Timestamp::EPOCH);
    worker.process(3, records, Timestamp::EPOCH, &mut out);
    out
}

fn header<'r>(record: &'r NewRecord, name: &str) -> Option<&'r str> {
    record.headers.get_str(name)
}

#[test]
fn an_event_carries_its_id_receipt_and_origin() {
    let given = Headers::new()
        .with(headers::RECEIVED, "1583298360123")
        .with(headers::PRINCIPAL, "p")
        .with(headers::INPUT, "http")
        .with(headers::CLIENT_ID, "c")
        .with(headers::ITEM, "4")
        .with(headers::BACKFILL, "1");
    let kept = EventId::from_client("someone", "else", b"x", 0);
    let replayed = Headers::new().with(headers::EVENT_ID, kept.hex().as_str().to_owned());
    let out = process(&[
        raw(7, r#"{"summary":"a"}"#, given),
        raw(8, r#"{"summary":"elsewhere"}"#, Headers::new()),
        raw(9, "{}", replayed),
    ]);
    let id = EventId::from_client("p", "http", b"c", 4);
    assert_eq!(
        (out[0].topic, out[0].partition, &out[0].key[..]),
        (Topic::Events, Some(3), id.hex().as_str().as_bytes())
    );
    assert_eq!(header(&out[0], headers::RECEIVED), Some("1583298360123"));
    assert_eq!(header(&out[0], headers::ORIGIN), Some("mozdef.raw/3/7"));
    assert_eq!(header(&out[0], headers::BACKFILL), Some("1"));
    assert!(
        std::str::from_utf8(&out[0].value)
            .unwrap()
            .contains(r#""receivedtimestamp":"2020-03-04T05:06:00.123000+00:00""#)
    );
    let by_place = EventId::from_position("log", "mozdef.raw", 3, 8, 0);
    assert_eq!(out[1].key, by_place.hex().as_str().as_bytes());
    assert_eq!(header(&out[1], headers::RECEIVED), Some("1583298367000"));
    assert_eq!(
        (header(&out[1], headers::INDEX), header(&out[1], headers::DOCUMENT_ID)),
        (Some("vulnerabilities"), Some("v1"))
    );
    assert_eq!(out[2].key, kept.hex().as_str().as_bytes());
}

#[test]
fn what_cannot_be_normalised_goes_to_dead_with_all_it_came_with() {
    let given = Headers::new().with(headers::PEER, "10.0.0.1").with(headers::STAGE, "old");
    let out = process(&[raw(1, "{\"a\":", given), raw(2, r#"{"summary":"grow"}"#, Headers::new())]);
    assert_eq!((out[0].topic, out[0].partition, &out[0].value[..]), (Topic::Dead, None, &b"{\"a\":"[..]));
    let expected = [
        (headers::PEER, "10.0.0.1"),
        (headers::STAGE, "normalizer"),
        (headers::REASON, "malformed_json"),
        (headers::ORIGIN, "mozdef.raw/3/1"),
        (headers::VERSION, env!("CARGO_PKG_VERSION")),
    ];
    for (name, value) in expected {
        assert_eq!(header(&out[0], name), Some(value), "{name}");
    }
    assert!(header(&out[0], headers::DETAIL).is_some_and(|detail| detail.contains("byte 5")));
    assert_eq!(header(&out[0], headers::EVENT_ID).map(str::as_bytes), Some(&out[0].key[..]));
    assert_eq!((out[1].topic, header(&out[1], headers::REASON)), (Topic::Dead, Some("too_large")));
}

#[test]
fn syslog_is_told_by_its_media_type() {
    let given = Headers::new().with(headers::CONTENT_TYPE, "Text/X-Syslog; charset=utf-8");
    let out = process(&[raw(1, "{\"not\": json", given)]);
    assert!(std::str::from_utf8(&out[0].value).unwrap().contains(r#""summary":"{\"not\": json""#));
}

#[test]
fn a_heartbeat_is_written_only_at_the_end() {
    let mut out = Vec::new();
    worker().tick(3, Timestamp::from_millis(9), None, &mut out);
    assert!(out.is_empty());
    worker().tick(3, Timestamp::from_millis(9), Some(Timestamp::from_millis(8)), &mut out);
    assert_eq!((out[0].topic, out[0].partition), (Topic::Events, Some(3)));
    assert_eq!(
        (header(&out[0], headers::KIND), header(&out[0], headers::RECEIVED)),
        (Some("heartbeat"), Some("8"))
    );
}

/// One test for all counts: the metrics belong to the process.
#[test]
fn what_is_aborted_is_not_counted_and_what_is_committed_adds_up() {
    let runs = |outcome: &str| metrics().plugin_runs.with_label_values(&["obedient", outcome]).get();
    let too_large = || {
        metrics()
            .text()
            .lines()
            .find(|l| l.contains("dead") && l.contains("normalizer") && l.contains("too_large"))
            .map(str::to_owned)
    };
    let records = ["drop", "fail", "grow", "elsewhere", "x"]
        .map(|word| raw(1, &format!(r#"{{"summary":"{word}"}}"#), Headers::new()));
    let mut worker = worker();
    let mut out = Vec::new();
    worker.process(3, &records, Timestamp::EPOCH, &mut out);
    worker.aborted(3);
    worker.committed(3, Timestamp::EPOCH);
    assert_eq!(runs("dropped"), 0, "an aborted batch was counted");
    let before = (metrics().totals(Stage::Normalizer), too_large());
    worker.process(3, &records, Timestamp::EPOCH, &mut out);
    worker.committed(3, Timestamp::EPOCH);
    worker.committed(3, Timestamp::EPOCH);
    assert_eq!([runs("dropped"), runs("failed"), runs("changed"), runs("unchanged")], [1, 1, 2, 0]);
    let after = metrics().totals(Stage::Normalizer);
    // Other tests of this process may count too, so that these are least values.
    assert!(after.1 >= before.0.1 + 3 && after.2 > before.0.2 && after.3 > before.0.3);
    assert_ne!(too_large(), before.1, "{}", Reason::TooLarge);
}
