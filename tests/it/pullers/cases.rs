//! Recorded cases of the original's workers, from the service's answer to the document in the index.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::fakes::papertrail::Papertrail;
use tests::fakes::pubsub::{PubSub, SUBSCRIPTION};
use tests::process::eventually;
use tests::server::Server;

use super::{papertrail_section, pubsub_section};

/// Every plugin of the product: these cases were recorded before the plugins ran.
fn without_plugins() -> String {
    let names: Vec<&str> = normalize::builtin::ALL.iter().map(|plugin| plugin.name).collect();
    format!("  disabled_plugins: {}\n", json!(names))
}

fn cases(file: &str) -> anyhow::Result<Option<Vec<Value>>> {
    let Some(shared) = tests::data::folder() else { return Ok(None) };
    let text = std::fs::read_to_string(shared.join("cases/mozdef").join(file))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect::<anyhow::Result<_>>().map(Some)
}

/// What a case wants, with its clock in the place of ours.
fn wanted(area: &str, file: &str, case: &Value, field: &str) -> anyhow::Result<Value> {
    let rows = std::fs::read_to_string(format!("{}/deviations/{area}.jsonl", env!("CARGO_MANIFEST_DIR")));
    for row in rows.unwrap_or_default().lines() {
        let row: Value = serde_json::from_str(row)?;
        if row["file"] == json!(format!("{area}/{file}.jsonl")) && row["name"] == case["name"] {
            return Ok(row[field].clone());
        }
    }
    Ok(case[field].clone())
}

/// Everything that is wanted is there; a time that is the case's clock is the time of receipt.
fn differs(wanted: &Value, got: &Value, now: &Value, received: &Value, path: &str) -> Option<String> {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(_)) => wanted.iter().find_map(|(key, value)| {
            differs(value, got.get(key).unwrap_or(&Value::Null), now, received, &format!("{path}/{key}"))
        }),
        _ if wanted == now && got == received => None,
        _ if wanted == got => None,
        // A detail of one's own makes an object of what the original left empty.
        _ if wanted == &json!({}) && got.is_object() => None,
        _ => Some(format!("{path}: {got} is not {wanted}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keymapping_of_papertrail() -> anyhow::Result<()> {
    let Some(cases) = cases("keymapping/papertrail.jsonl")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let papertrail = Papertrail::start(4, false).await?;
    let now = model::time::Clock::System.now().millis().unsigned_abs() * 1000;
    for (number, case) in cases.iter().enumerate() {
        let mut event = case["input"].clone();
        // No name of the mapping's: it lands in details.
        event
            .as_object_mut()
            .context("no object")?
            .insert("casenumber".to_owned(), json!(number.to_string()));
        papertrail.add(now + number as u64, event, Duration::ZERO);
    }
    let more = papertrail_section(folder.path(), &papertrail.url, "overlap_s: 0")?
        + "normalize:\n  hostname: mozdef.test\n"
        + &without_plugins();
    let server = Server::start(folder.path(), &more).await?;
    let documents = eventually("every case is in the index", || async {
        let found = server.index.documents("events*", "details.casenumber", &[]).await?;
        ensure!(found.len() >= cases.len(), "{} of {}", found.len(), cases.len());
        Ok(found)
    })
    .await?;
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let own =
            |document: &&Value| document["_source"]["details"]["casenumber"] == json!(number.to_string());
        let document = &documents.iter().find(own).context("a case is missing")?["_source"];
        let wanted = wanted("keymapping", "papertrail", case, "expected")?;
        let received = &document["receivedtimestamp"];
        if let Some(difference) = differs(&wanted, document, &case["now"], received, "") {
            wrong.push(format!("{}: {difference}", case["name"]));
        }
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} cases", cases.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_pubsub() -> anyhow::Result<()> {
    let Some(cases) = cases("workers/pubsub.jsonl")? else { return Ok(()) };
    let pubsub = PubSub::start(5, false, None).await?;
    let more = pubsub_section(&format!("emulator: \"{}\"", pubsub.url), "https://pubsub.googleapis.com")
        + "normalize:\n  hostname: mozdef.test\n";
    for case in &cases {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path(), &more).await?;
        let data = match &case["input"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        pubsub.publish(data.as_bytes());
        let stored = case["stored"].as_array().context("no list")?;
        let found = eventually("it is acknowledged, and stored or dead", || async {
            ensure!(pubsub.outstanding() == 0, "it is not acknowledged");
            let found = server.index.documents("events*", "receivedtimestamp", &[]).await?;
            let dead = server.dead().await?.0;
            ensure!(found.len() as u64 + dead == 1, "{} stored, {dead} dead", found.len());
            Ok(found)
        })
        .await?;
        ensure!(found.len() == stored.len(), "{}: {found:?}", case["name"]);
        for (stored, found) in stored.iter().zip(&found) {
            let (wanted, got) = (&stored["document"], &found["_source"]);
            ensure!(got["tags"][0] == json!(SUBSCRIPTION), "{got}");
            let difference = differs(wanted, got, &case["now"], &got["receivedtimestamp"], "");
            ensure!(difference.is_none(), "{}: {difference:?}", case["name"]);
        }
        server.kill().await?;
    }
    Ok(())
}
