//! The broker away under load: stopped in place, ended and started again, killed.

use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::process::{send_signal, within};
use tests::random::seed;
use tests::servers::{Kafka, KafkaOptions, needs};
use tests::site::{Member, Role, Site};
use tokio::time::Instant;

use super::{nothing_lost_or_doubled, turn};

#[derive(Clone, Copy, Debug)]
enum Outage {
    /// SIGSTOP, SIGCONT.
    Frozen,
    /// SIGTERM, and started again.
    Ended,
    /// SIGKILL, and started again at once: as when the leader of every partition restarts.
    Restarted,
}

/// Longest time until every stage is ready after the broker is back. Seconds as a rule; once a window stage was seen to
/// take more than 45 (`tests/faults.md`).
const READY_AGAIN: Duration = Duration::from_secs(150);

/// While the broker is away: the gateway answers 503, `/readyz` of every stage says why.
async fn everyone_says_so(members: &[Member]) -> anyhow::Result<()> {
    for member in members {
        let told = || async {
            let (status, body) = member.admin("/readyz").await?;
            ensure!(status == 503 && body.len() > 10, "{} says {status} {body}", member.role.command());
            Ok(body)
        };
        let body = within(Duration::from_secs(25), "readyz says that the broker is away", told).await?;
        println!("{}: {}", member.role.command(), body.trim());
    }
    Ok(())
}

async fn outage(kind: Outage, away: Duration) -> anyhow::Result<()> {
    if needs("kafka").is_none() {
        return Ok(());
    }
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}, {kind:?}, {away:?}");
    let folder = tempfile::tempdir()?;
    let mut kafka = Kafka::start(folder.path(), KafkaOptions::default()).await?;
    let site = Site::new(kafka.bootstrap(), 4, "", "").await?;
    let mut members = site.start_all(1).await?;
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let started = Instant::now();
    let pid = kafka.id().unwrap_or_default();
    match kind {
        Outage::Frozen => send_signal(pid, "STOP").await?,
        Outage::Ended => kafka.stop().await?,
        Outage::Restarted => kafka.kill().await?,
    }
    let acked = load.look(|ledger| ledger.acked.len());
    if !away.is_zero() {
        everyone_says_so(&members).await?;
        tokio::time::sleep_until(started + away).await;
        let (later, answers) = load.look(|ledger| (ledger.acked.len(), ledger.answers.clone()));
        // What was on its way when the broker stopped may still be answered.
        ensure!(later <= acked + 200, "{} events were acknowledged without a broker", later - acked);
        ensure!(answers.contains_key(&503), "no answer was 503: {answers:?}");
    }
    match kind {
        Outage::Frozen => send_signal(pid, "CONT").await?,
        Outage::Ended | Outage::Restarted => kafka.start_again().await?,
    }
    let back = Instant::now();
    for member in &members {
        let ready = || async {
            let (status, body) = member.admin("/readyz").await?;
            ensure!(status == 200, "{} says {status} {body}", member.role.command());
            Ok(())
        };
        within(READY_AGAIN, "all are ready again", ready).await?;
    }
    println!("all ready {:.1} s after the broker is back", back.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ledger = load.end().await?;
    nothing_lost_or_doubled(&site, &ledger).await?;
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    ensure!(members.iter().any(|member| member.role == Role::Gateway));
    Ok(())
}

/// How long the broker is away: 30 s in the long form.
fn away() -> Duration {
    Duration::from_secs(if std::env::var_os("MOZDEF_LONG").is_some() { 30 } else { 12 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_freezes_is_waited_for() -> anyhow::Result<()> {
    outage(Outage::Frozen, away()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_and_starts_again_is_waited_for() -> anyhow::Result<()> {
    outage(Outage::Ended, away()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_starts_again_is_waited_for() -> anyhow::Result<()> {
    outage(Outage::Restarted, Duration::ZERO).await
}
