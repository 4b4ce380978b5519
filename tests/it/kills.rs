//! kill -9 of the whole at random points under load: every acknowledged event
//! is in the index once, or dead once; alerts equal those of a naive count.
//!
//! The seed is printed; `MOZDEF_SEED` repeats it. Five kills in `make test`,
//! fifty in `make faults`.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::oracle;
use tests::process::eventually;
use tests::random::{Random, seed};
use tests::server::Server;

/// About what the whole takes on two cores beside the other tests.
const RATE: Rate = Rate { senders: 3, batch_max: 30, pause_ms_max: 60 };

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_kills_of_the_whole() -> anyhow::Result<()> {
    let (kills, seed) = (tests::data::scaled(5), seed()?);
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir()?;
    // Revisions are not throttled, so that the index shows the newest state.
    let more = "correlate:\n  revise_ms: 0\n";
    let mut server = Server::start(folder.path(), more).await?;
    let gateways = Arc::new(RwLock::new(vec![server.gateway.clone()]));
    let load = Load::start(&gateways, RATE, seed);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(200 + random.below(1500))).await;
        server.kill().await?;
        server = Server::start(folder.path(), more).await?;
        *gateways.write().unwrap() = vec![server.gateway.clone()];
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.end().await?;
    ensure!(ledger.acked.len() > 50 * kills, "only {} events were sent", ledger.acked.len());
    let (dead, letters) = server.dead().await?;
    ensure!(dead == 0, "{dead} dead letters, such as {:?}", letters.first());
    let none = BTreeSet::new();
    let events = eventually("every acknowledged event is in the index once", || {
        oracle::each_once(&server.index, &ledger.acked, &none)
    })
    .await?;
    let expected = oracle::expected_alerts(&events);
    ensure!(!expected.is_empty(), "the load holds no alerts");
    eventually("alerts equal the naive count", || oracle::alerts_equal(&server.index, &expected)).await?;
    println!(
        "{} events, alerts {:?}, {kills} kills: nothing lost, nothing doubled",
        ledger.acked.len(),
        oracle::by_class(&expected)
    );
    Ok(())
}
