//! Confluent's client as a producer and a consumer with a schema registry, and a registry that is away.
//!
//! Needs: `tests/servers/with kafka registry`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::topic::Topic;
use model::{headers, wire_format};
use serde_json::{Value, json};
use stream::record::{Headers, NewRecord};
use tests::groups::{all_done, all_records};
use tests::process::{send_signal, within};
use tests::servers::{Own, needs};
use tests::site::{Member, Role, Site};
use tokio::process::Command;

use super::{REST, turn};

/// Events of each kind.
const COUNT: usize = 100;

async fn python(registry: &Own, arguments: &[&str]) -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/kafka/schemas.py");
    let output = Command::new(registry.said("python")).arg(script).args(arguments).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Events by their summaries.
async fn indexed(site: &Site) -> anyhow::Result<Vec<Value>> {
    let fields = ["summary", "hostname", "utctimestamp", "details"];
    let documents = site.index.documents("events*", "receivedtimestamp", &fields).await?;
    Ok(documents.into_iter().map(|document| document["_source"].clone()).collect())
}

async fn raw(site: &Site, partition: u32, value: Bytes) -> anyhow::Result<()> {
    let record = NewRecord {
        topic: Topic::Raw,
        partition: Some(partition),
        key: Bytes::new(),
        value,
        headers: Headers::new(),
    };
    site.log.produce(vec![record]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_schemas_are_read_and_events_bear_one() -> anyhow::Result<()> {
    let (Some(brokers), Some(_)) = (needs("kafka"), needs("registry")) else { return Ok(()) };
    let _turn = turn().await;
    let folder = tempfile::tempdir()?;
    let registry = Own::start("registry", &folder.path().join("registry"), "registry", &[]).await?;
    let url = registry.said("registry").to_owned();
    let more = format!(
        "normalize:\n  registry: {{ urls: ['{url}'], timeout_ms: 2000, events_subject: the-events }}\n"
    );
    let site = Site::new(&brokers, 2, "", &more).await?;
    let mut members = site.start_all(1).await?;

    let topic = format!("{}raw", site.prefix);
    python(&registry, &["produce", &brokers, &url, &topic, &COUNT.to_string()]).await?;
    within(REST, "every value is an event", || async {
        let events = indexed(&site).await?;
        ensure!(events.len() == 3 * COUNT, "{} events", events.len());
        fields_are_right(&events)
    })
    .await?;
    // A consumer that knows nothing of MozDef reads the events by their schema.
    let topic = format!("{}events", site.prefix);
    let read = python(&registry, &["consume", &brokers, &url, &topic, &(3 * COUNT).to_string()]).await?;
    ensure!(read.lines().collect::<BTreeSet<_>>().len() == 3 * COUNT, "{read}");

    raw(&site, 0, Bytes::from_static(b"\0\0\x0f\x42\x3f{}")).await?;
    within(REST, "an unknown schema is told", || unknown_schema(&site)).await?;

    let late = python(&registry, &["late", &url]).await?;
    let late = Bytes::from(STANDARD.decode(late.trim())?);
    let id = registry.id().context("the registry has no process")?;
    send_signal(id, "STOP").await?;
    while_the_registry_is_away(&site, &mut members, &late).await?;
    send_signal(id, "CONT").await?;
    within(REST, "what has waited is an event", || async {
        let events = indexed(&site).await?;
        ensure!(events.iter().any(|event| event["summary"] == "late"), "{} events", events.len());
        Ok(())
    })
    .await?;
    within(REST, "every group has finished", || all_done(&site.log)).await?;
    ensure!(indexed(&site).await?.len() == 3 * COUNT + 2, "something came twice");
    within(REST, "the normalizer is ready again", || async {
        let (status, text) = normalizer(&members)?.admin("/readyz").await?;
        ensure!(status == 200, "{text}");
        Ok(())
    })
    .await?;
    for record in all_records(&site.log, Topic::Events).await? {
        let is_event = record.headers.get(headers::KIND).is_none();
        ensure!(is_event == wire_format::split(&record.value).is_some(), "{record:?}");
    }
    Ok(())
}

fn fields_are_right(events: &[Value]) -> anyhow::Result<()> {
    for event in events {
        let summary = event["summary"].as_str().context("no summary")?;
        let (kind, number) = summary.split_once(' ').context("an odd summary")?;
        let details = &event["details"];
        ensure!(details["kind"] == kind.to_uppercase() && event["hostname"] == "h", "{event}");
        let number: u64 = number.parse()?;
        // What is at its default has no bytes in Protobuf.
        let is_left_out = kind == "protobuf" && number == 0;
        ensure!(details["number"] == if is_left_out { Value::Null } else { json!(number) }, "{event}");
        match kind {
            "avro" => {
                let user = if number % 2 == 1 { json!("Jürgen") } else { Value::Null };
                ensure!(details["user"] == user && details["paid"] == 12.34, "{event}");
                ensure!(details["labels"] == json!({"a": "b"}), "{event}");
                ensure!(event["utctimestamp"].as_str().is_some_and(|at| at.starts_with("20")), "{event}");
            }
            "protobuf" => ensure!(details["names"] == json!(["a", "b"]), "{event}"),
            _ => {}
        }
    }
    Ok(())
}

async fn unknown_schema(site: &Site) -> anyhow::Result<()> {
    let letters = all_records(&site.log, Topic::Dead).await?;
    let letter = letters.first().context("no dead letter")?;
    ensure!(letter.headers.get_str(headers::REASON) == Some("unknown_schema"), "{letter:?}");
    let detail = letter.headers.get_str(headers::DETAIL).unwrap_or_default();
    ensure!(detail.contains("999999"), "{detail}");
    ensure!(letter.value.starts_with(b"\0\0\x0f\x42\x3f"), "{letter:?}");
    Ok(())
}

fn normalizer(members: &[Member]) -> anyhow::Result<&Member> {
    members.iter().find(|member| member.role == Role::Normalizer).context("no normalizer")
}

/// What needs a schema that is not known waits, and says so; the other partition goes on.
async fn while_the_registry_is_away(
    site: &Arc<Site>,
    members: &mut [Member],
    late: &Bytes,
) -> anyhow::Result<()> {
    raw(site, 0, late.clone()).await?;
    within(REST, "the normalizer says what it waits for", || async {
        let (status, text) = normalizer(members)?.admin("/readyz").await?;
        ensure!(status == 503 && text.contains("registry"), "{status} {text}");
        Ok(())
    })
    .await?;
    raw(site, 1, Bytes::from_static(b"{\"summary\": \"beside\"}")).await?;
    within(REST, "the other partition goes on", || async {
        let events = indexed(site).await?;
        ensure!(events.iter().any(|event| event["summary"] == "beside"), "{} events", events.len());
        ensure!(!events.iter().any(|event| event["summary"] == "late"), "{events:?}");
        Ok(())
    })
    .await?;
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    Ok(())
}
