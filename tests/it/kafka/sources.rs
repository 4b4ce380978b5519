//! Topics of other programs through `mozdef kafka`, killed at random points: every record is an event once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use model::headers;
use model::topic::Topic;
use serde_json::{Value, json};
use stream::record::{Headers, NewRecord};
use tests::groups::{all_done, all_records};
use tests::process::{Process, within};
use tests::random::{Random, seed};
use tests::server::command;
use tests::servers::needs;
use tests::site::Site;

use super::{REST, turn};

/// Records that the other program produces, at a time and in all.
const BATCH: u64 = 20;
const RECORDS: u64 = 2_000;
/// Records that `mozdef send` produces.
const BY_HAND: u64 = 1_000;

/// A configuration for the source alone: the log of `site`, and the topics of another program.
fn configuration(folder: &Path, brokers: &str, site: &Site, other: &Site) -> anyhow::Result<PathBuf> {
    // MozDef's own topic is in the pattern, and must be left out: read, it would feed itself for ever.
    let pattern = format!("^({}|{})raw$", other.prefix, site.prefix).replace('.', "[.]");
    let text = format!(
        "log:\n  kafka:\n    brokers: [\"{brokers}\"]\n    prefix: \"{}\"\nadmin:\n  listen: 127.0.0.1:0\n\
         ingest:\n  kafka:\n    apps:\n      topics: [\"{pattern}\"]\n",
        site.prefix
    );
    let file = folder.join("source.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}

async fn spawn(config: &Path, folder: &Path) -> anyhow::Result<Process> {
    let mut process =
        Process::spawn(config, "kafka", &[("MOZDEF_INSTANCE", "source")], &folder.join("source.log"))?;
    process.read_until("admin").await?;
    Ok(process)
}

fn record(number: u64) -> NewRecord {
    NewRecord {
        topic: Topic::Raw,
        partition: None,
        key: Bytes::new(),
        value: Bytes::from(json!({"summary": "of another program", "number": number}).to_string()),
        headers: Headers::new().with("trace", number.to_string()),
    }
}

/// `mozdef send` to the topic; and to one that is not there.
async fn sent_by_hand(brokers: &str, other: &Site, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("by-hand.jsonl");
    let line = |number: u64| format!("{{\"summary\": \"by hand\", \"number\": {}}}\n", RECORDS + number);
    std::fs::write(&file, (0..BY_HAND).map(line).collect::<String>())?;
    let file = file.display().to_string();
    let to = format!("kafka://{brokers}/{}raw", other.prefix);
    let (code, output, errors) = command(&["send", "--to", &to, &file], None).await?;
    ensure!(code == 0 && output.contains("1000 events accepted"), "{code} {output} {errors}");
    let (code, _, errors) = command(&["send", "--to", &format!("{to}-not-there"), &file], None).await?;
    ensure!(code == 1 && errors.contains("has no topic"), "{code} {errors}");
    Ok(())
}

/// The numbers of the records whose events are indexed; each once, or this fails.
async fn indexed(site: &Site) -> anyhow::Result<BTreeSet<u64>> {
    let documents = site.index.documents("events*", "details.number", &["details.number"]).await?;
    let count = documents.len();
    let number = |document: &Value| document.pointer("/_source/details/number").and_then(Value::as_u64);
    let numbers: Option<BTreeSet<u64>> = documents.iter().map(number).collect();
    let numbers = numbers.with_context(|| format!("an event without its number: {:?}", documents.first()))?;
    ensure!(numbers.len() == count, "{count} events of {} records", numbers.len());
    Ok(numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_other_programs_arrive_once_whatever_is_killed() -> anyhow::Result<()> {
    let Some(brokers) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let (seed, kills) = (seed()?, tests::data::scaled(5));
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let (site, other) = (Site::new(&brokers, 2, "", "").await?, Site::new(&brokers, 3, "", "").await?);
    let mut members = site.start_all(1).await?;
    let folder = tempfile::tempdir()?;
    let config = configuration(folder.path(), &brokers, &site, &other)?;
    let mut source = spawn(&config, folder.path()).await?;

    let log = other.log.clone();
    let pause = Duration::from_millis(40 * kills as u64);
    let producing = tokio::spawn(async move {
        for first in (0..RECORDS).step_by(BATCH as usize) {
            log.produce((first..first + BATCH).map(record).collect()).await?;
            tokio::time::sleep(pause).await;
        }
        anyhow::Ok(())
    });
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(300 + random.below(3_500))).await;
        source.kill().await?;
        source = spawn(&config, folder.path()).await?;
    }
    producing.await??;
    sent_by_hand(&brokers, &other, folder.path()).await?;
    let poison = NewRecord { value: Bytes::from_static(b"no event"), ..record(0) };
    other.log.produce(vec![poison]).await?;

    within(REST, "every record is an event once", || async {
        let numbers = indexed(&site).await?;
        ensure!(numbers == (0..RECORDS + BY_HAND).collect(), "{} of {RECORDS} are there", numbers.len());
        Ok(())
    })
    .await?;
    within(REST, "what is none is dead", || async {
        let letters = all_records(&site.log, Topic::Dead).await?;
        let letter = letters.first().context("no dead letter")?;
        ensure!(&*letter.value == b"no event" && letter.headers.get_str("kafka-header-trace") == Some("0"));
        ensure!(letter.headers.get_str(headers::REASON) == Some("malformed_json"), "{letter:?}");
        Ok(())
    })
    .await?;
    within(REST, "every group has finished", || all_done(&site.log)).await?;
    ensure!(indexed(&site).await?.len() as u64 == RECORDS + BY_HAND);
    let raw = all_records(&site.log, Topic::Raw).await?;
    let times_twice = raw.len() as u64 - RECORDS - BY_HAND;
    let (code, took) = source.terminate().await?;
    ensure!(code == 0 && took < Duration::from_secs(10), "{code} after {took:?}");
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    println!("{RECORDS} records, {kills} kills, {times_twice} raw records twice: each an event once");
    Ok(())
}
