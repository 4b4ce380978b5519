//! Poison, produced straight into the log and sent through the gateway: no consumer stops, and each record ends as an
//! event or as a dead letter with a reason.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use model::headers;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};
use tests::groups::{all_done, all_records, once_in_the_log};
use tests::process::{eventually, within};
use tests::servers::{Kafka, KafkaOptions, needs};
use tests::site::{Member, Site};

use super::turn;

/// An event id that is none.
const NO_ID: &str = "not hex at all";

/// Values that a stage must not trip over, by name.
fn values(limit: usize) -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let arrays = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let fields: Vec<String> = (0..5_000).map(|n| format!("\"f{n}\": {n}")).collect();
    let large = format!("{{\"summary\": \"{}\"}}", "x".repeat(limit - 4096));
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("no bytes", Vec::new()),
        ("a space", text(" ")),
        ("NUL", vec![0]),
        ("NULs inside", b"{\"summary\": \"a\0b\"}".to_vec()),
        ("an escaped NUL", text("{\"summary\": \"a\\u0000b\"}")),
        ("bad UTF-8", b"{\"summary\": \"\xff\xfe\"}".to_vec()),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec()),
        ("a lone surrogate", text("{\"summary\": \"\\ud800\"}")),
        ("cut off", text("{\"summary\": \"x")),
        ("two values", text("{\"summary\": \"a\"} {\"summary\": \"b\"}")),
        ("a number", text("5")),
        ("null", text("null")),
        ("an array", text("[1, 2]")),
        ("an empty object", text("{}")),
        ("null values", text("{\"summary\": null, \"details\": null, \"tags\": null, \"timestamp\": null}")),
        (
            "wrong types",
            text(
                "{\"summary\": {\"a\": 1}, \"details\": \"x\", \"tags\": 5, \"timestamp\": [], \"category\": {}}",
            ),
        ),
        (
            "duplicate keys",
            text("{\"summary\": \"one\", \"summary\": \"two\", \"details\": {\"a\": 1, \"a\": {\"b\": 2}}}"),
        ),
        (
            "1e309",
            text(
                "{\"summary\": \"big\", \"details\": {\"n\": 1e309, \"m\": -1e309, \"k\": 123456789012345678901234567890}}",
            ),
        ),
        ("an empty key", text("{\"\": 1, \"details\": {\"\": {\"\": \"x\"}}}")),
        ("dots", text("{\"details\": {\"a.b\": 1, \"a\": {\"b\": \"x\"}, \"..\": 2, \".a.\": 3}}")),
        (
            "far times",
            text("{\"summary\": \"t\", \"timestamp\": \"99999999-13-45T99:99:99Z\", \"utctimestamp\": -1}"),
        ),
        ("depth 10,000", deep.into_bytes()),
        ("arrays, depth 10,000", arrays.into_bytes()),
        ("5,000 fields", format!("{{\"details\": {{{}}}}}", fields.join(",")).into_bytes()),
        ("near the broker's limit", large.into_bytes()),
    ]
}

/// Headers that nobody should have written.
fn hostile_headers() -> Vec<(&'static str, Headers)> {
    let of = |name: &'static str, value: &[u8]| Headers::new().with(name, Bytes::copy_from_slice(value));
    let mut many = Headers::new();
    for number in 0..500 {
        many.push(format!("h{number}"), "x".repeat(100));
    }
    let mut twice = of(headers::RECEIVED, b"1");
    twice.push(headers::RECEIVED, "2");
    vec![
        ("received is no number", of(headers::RECEIVED, b"yesterday")),
        ("received is negative", of(headers::RECEIVED, b"-9223372036854775808")),
        ("received overflows", of(headers::RECEIVED, b"99999999999999999999999")),
        ("received is far away", of(headers::RECEIVED, b"9223372036854775")),
        ("received twice", twice),
        ("bad UTF-8", of(headers::PRINCIPAL, b"\xff\xfe\0")),
        ("an item that is no number", of(headers::CLIENT_ID, b"id").with(headers::ITEM, "x")),
        ("an id of a megabyte", of(headers::CLIENT_ID, &vec![b'x'; 1 << 20])),
        ("an event id that is none", of(headers::EVENT_ID, NO_ID.as_bytes())),
        ("an origin that is none", of(headers::ORIGIN, b"\0/../x")),
        ("an index that cannot be", of(headers::INDEX, b"../_all?pretty=true")),
        ("a content type that is none", of(headers::CONTENT_TYPE, b"\xff")),
        ("an unknown kind", of(headers::KIND, b"gift")),
        ("500 headers", many),
        ("an empty name", Headers::new().with("", "x")),
    ]
}

fn record(topic: Topic, partition: u32, key: &str, value: Vec<u8>, headers: Headers) -> NewRecord {
    NewRecord { topic, partition: Some(partition), key: key.to_owned().into(), value: value.into(), headers }
}

/// A good event goes through every partition, to the index.
async fn still_moves(site: &Site, words: &str) -> anyhow::Result<()> {
    let good = format!("{{\"summary\": \"{words}\"}}");
    let good = (0..site.log.partitions(Topic::Raw))
        .map(|p| record(Topic::Raw, p, "", good.clone().into_bytes(), Headers::new()));
    let good: Vec<NewRecord> = good.collect();
    let expected = good.len() as u64;
    site.log.produce(good).await?;
    let query = serde_json::json!({"query": {"match_phrase": {"summary": words}}});
    within(Duration::from_secs(60), "good events go through", || async {
        let found = site.index.ask("/events*/_count?ignore_unavailable=true", &query).await?;
        ensure!(found["count"] == expected, "{words}: {found}");
        Ok(())
    })
    .await
}

async fn everybody_lives(members: &mut [Member]) -> anyhow::Result<()> {
    for member in members {
        let (status, body) = member.admin("/readyz").await?;
        let name = member.role.command();
        ensure!(member.process().is_running() && status == 200, "{name}: {status} {body}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_in_the_log_stops_no_consumer() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let site = Site::new(&kafka, 2, "", "").await?;
    let mut members = site.start_all(1).await?;
    still_moves(&site, "before the poison").await?;
    let mut sent = 0;
    for (name, value) in values(site.log.record_bytes_max(Topic::Raw)) {
        let produced = site.log.produce(vec![record(Topic::Raw, 0, name, value, Headers::new())]).await;
        ensure!(produced.is_ok(), "{name}: {produced:?}");
        sent += 1;
    }
    for (name, headers) in hostile_headers() {
        let value = format!("{{\"summary\": \"{name}\"}}").into_bytes();
        let produced = site.log.produce(vec![record(Topic::Raw, 1, "", value, headers)]).await;
        ensure!(produced.is_ok(), "{name}: {produced:?}");
        sent += 1;
    }
    still_moves(&site, "after the poison in raw").await?;
    within(Duration::from_secs(60), "every group has finished", || all_done(&site.log)).await?;
    let (events, letters) = once_in_the_log(&site.log).await?;
    println!("raw: {sent} poisoned records, {events} events and {letters} letters of the normalizer");
    ensure!(letters > 10, "only {letters} letters");
    everybody_lives(&mut members).await
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_events_stops_neither_correlator_nor_sink() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let site = Site::new(&kafka, 2, "", "").await?;
    let mut members = site.start_all(1).await?;
    still_moves(&site, "before the poison").await?;
    let mut keys = Vec::new();
    for (number, (name, value)) in values(site.log.record_bytes_max(Topic::Events)).into_iter().enumerate() {
        let key = format!("{number:032x}");
        let produced = site.log.produce(vec![record(Topic::Events, 0, &key, value, Headers::new())]).await;
        ensure!(produced.is_ok(), "{name}: {produced:?}");
        keys.push((name, key));
    }
    for (number, (name, own)) in hostile_headers().into_iter().enumerate() {
        let key = format!("{:032x}", 1000 + number);
        let value = format!("{{\"summary\": \"{name}\", \"utctimestamp\": \"x\"}}").into_bytes();
        // What has a kind is no event.
        if own.get(headers::KIND).is_none() {
            // The header is the event's id where it is there.
            let id = own.get_str(headers::EVENT_ID).map_or_else(|| key.clone(), str::to_owned);
            keys.push((name, id));
        }
        let produced = site.log.produce(vec![record(Topic::Events, 1, &key, value, own)]).await;
        ensure!(produced.is_ok(), "{name}: {produced:?}");
    }
    for (kind, received) in
        [(headers::KIND_HEARTBEAT, "x"), (headers::KIND_HEARTBEAT, "-5"), (headers::KIND_WATERMARK, "1")]
    {
        let headers = Headers::new().with(headers::KIND, kind).with(headers::RECEIVED, received);
        site.log.produce(vec![record(Topic::Events, 0, "", b"x".to_vec(), headers.clone())]).await?;
        site.log.produce(vec![record(Topic::Matches, 0, "", b"\0{[".to_vec(), headers)]).await?;
    }
    for (_, value) in values(64 << 10) {
        site.log.produce(vec![record(Topic::Matches, 1, "rule", value.clone(), Headers::new())]).await?;
        site.log.produce(vec![record(Topic::Alerts, 0, "alert", value, Headers::new())]).await?;
    }
    still_moves(&site, "after the poison in events").await?;
    within(Duration::from_secs(60), "every group has finished", || all_done(&site.log)).await?;
    let dead = all_records(&site.log, Topic::Dead).await?;
    let mut letters = 0;
    for (name, key) in &keys {
        let of_sink = |r: &&stream::record::Record| r.headers.get_str(headers::STAGE) == Some("event_sink");
        let letter = dead
            .iter()
            .filter(of_sink)
            .find(|r| r.key == key.as_bytes() || r.headers.get_str(headers::EVENT_ID) == Some(key));
        if let Some(letter) = letter {
            ensure!(letter.headers.get(headers::REASON).is_some(), "{name}: {letter:?}");
            letters += 1;
            continue;
        }
        let query = serde_json::json!({"query": {"ids": {"values": [key]}}});
        eventually("an event that is not dead is in the index", || async {
            let found = site.index.ask("/*/_count?ignore_unavailable=true", &query).await?;
            ensure!(found["count"] == 1, "{name} is neither dead nor indexed: {found}");
            Ok(())
        })
        .await?;
    }
    println!(
        "events: {} poisoned records, {letters} letters of the sink, {} letters in all",
        keys.len(),
        dead.len()
    );
    everybody_lives(&mut members).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_broker_takes_is_refused_and_nothing_is_stuck() -> anyhow::Result<()> {
    if needs("kafka").is_none() {
        return Ok(());
    }
    let _turn = turn().await;
    let folder = tempfile::tempdir()?;
    let kafka = Kafka::start(folder.path(), KafkaOptions::default()).await?;
    let site = Site::new(kafka.bootstrap(), 2, "", "").await?;
    let topic = format!("{}raw", site.prefix);
    let set = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        &topic,
        "--add-config",
        "max.message.bytes=100000",
    ];
    kafka.tool("ConfigCommand", &set).await?;
    let mut members = site.start_all(1).await?;
    let url = format!("{}/events", members[0].process().address("gateway"));
    // Not compressible, so that it is as large on the wire.
    let mut random = tests::random::Random::new(7);
    let noise: String = (0..20_000).map(|_| format!("{:016x}", random.number())).collect();
    let large = format!("{{\"summary\": \"{noise}\"}}");
    for _ in 0..3 {
        let answer = site.http.post(&url).body(large.clone()).send().await?;
        let (status, body) = (answer.status().as_u16(), answer.text().await?);
        ensure!(status == 413 || status == 400, "{status} {body}");
        ensure!(body.contains("bytes"), "{body}");
        let answer = site.http.post(&url).body("{\"summary\": \"small\"}").send().await?;
        ensure!(answer.status() == 200, "a small one after a large one: {}", answer.status());
    }
    // A batch with one that is too large: the others are taken, or the whole is refused; never half without a word.
    let batch = format!("{{\"summary\": \"small\"}}\n{large}\n");
    let answer =
        site.http.post(&url).header("content-type", "application/x-ndjson").body(batch).send().await?;
    let (status, body) = (answer.status().as_u16(), answer.text().await?);
    println!("batch with one too large: {status} {body}");
    ensure!(status == 413 || status == 400 || (status == 200 && body.contains("errors")), "{status} {body}");
    still_moves(&site, "after the large ones").await?;
    everybody_lives(&mut members).await
}
