//! Faults over real Kafka: stages killed, stopped, drained and rebalanced, the broker away, poison in the log.
//!
//! After each: every acknowledged event is in the index once with its own contents, or dead with a reason; alerts are
//! those of a naive count, each once; no group has passed or left a record. Seeds and counts are printed; `MOZDEF_SEED`
//! repeats a seed; `MOZDEF_LONG=1` is the long form. What was measured is in `tests/faults.md`.

mod crashes;
mod drain;
mod logins;
mod outage;
mod poison;
mod schemas;
mod sharing;
mod sources;
mod storm;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::headers;
use model::topic::Topic;
use serde_json::Value;
use tests::groups::{all_done, all_records, once_in_the_log};
use tests::load::Ledger;
use tests::oracle;
use tests::process::within;
use tests::site::Site;
use tokio::sync::{Mutex, MutexGuard};

/// Longest wait for everything to come to rest after the faults.
const REST: Duration = Duration::from_secs(180);

static TURN: Mutex<()> = Mutex::const_new(());

/// These tests take the machine whole: one at a time.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The numbers of events that are dead, each with a reason.
async fn dead_numbers(site: &Site) -> anyhow::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for record in all_records(&site.log, Topic::Dead).await? {
        let reason = record.headers.get_str(headers::REASON).unwrap_or_default();
        ensure!(!reason.is_empty(), "a dead letter without a reason: {record:?}");
        let value: Value = serde_json::from_slice(&record.value).context("a dead letter of the load")?;
        let ledger = value.get("ledger").or_else(|| value.pointer("/details/ledger"));
        let number = ledger.and_then(Value::as_str).and_then(|n| n.strip_prefix('n')?.parse().ok());
        numbers.insert(number.with_context(|| format!("a dead letter that was not sent: {value}"))?);
    }
    Ok(numbers)
}

/// Waits until everything is at rest, and compares with the ledger; says what it found.
async fn nothing_lost_or_doubled(site: &Arc<Site>, ledger: &Ledger) -> anyhow::Result<()> {
    let acked = &ledger.acked;
    ensure!(ledger.without_retry_after == 0, "{} refusals without Retry-After", ledger.without_retry_after);
    ensure!(
        ledger.longest_request < Duration::from_secs(100),
        "a request took {:?}: its events may be late for their windows",
        ledger.longest_request
    );
    within(REST, "every group has finished", || all_done(&site.log)).await?;
    let dead = dead_numbers(site).await?;
    let each_once = || oracle::each_once(&site.index, acked, &dead);
    let events = within(REST, "every acknowledged event is in the index once", each_once).await?;
    let expected = oracle::expected_alerts(&events);
    ensure!(!expected.is_empty(), "the load holds no alerts");
    let alerts = || oracle::alerts_equal(&site.index, &expected);
    within(Duration::from_secs(30), "alerts equal the naive count", alerts).await?;
    all_done(&site.log).await?;
    once_in_the_log(&site.log).await?;
    println!(
        "{} events acknowledged, {} dead, alerts {:?}, answers {:?}, {} unanswered, longest pause {:.1} s: nothing lost, nothing doubled",
        acked.len(),
        dead.len(),
        oracle::by_class(&expected),
        ledger.answers,
        ledger.unanswered,
        ledger.longest_pause.as_secs_f64()
    );
    Ok(())
}

/// Middle and largest of some times, in seconds.
fn times(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |index: usize| all.get(index).map_or(0.0, Duration::as_secs_f64);
    format!("p50 {:.1} s, max {:.1} s of {}", at(all.len() / 2), at(all.len().saturating_sub(1)), all.len())
}
