//! Two instances of each stage share the partitions, and their counters add up.

use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::process::eventually;
use tests::random::seed;
use tests::servers::needs;
use tests::site::{Role, Site, counters_add_up};

use super::{nothing_lost_or_doubled, turn};

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_stage_share_the_work() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}");
    let site = Site::new(&kafka, 4, "", "").await?;
    let members = site.start_all(2).await?;
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ledger = load.end().await?;
    nothing_lost_or_doubled(&site, &ledger).await?;
    let counts = eventually("counters add up", || counters_add_up(&members)).await?;
    println!("{counts:?}");
    let acked = ledger.acked.len() as f64;
    ensure!(
        counts["gateway"][0] >= acked && counts["event_sink"][1] >= acked,
        "{counts:?} for {acked} events"
    );
    for member in &members {
        for stage in member.role.stages() {
            let took = member.metric("mozdef_records_in_total", &format!("stage=\"{stage}\"")).await?;
            ensure!(took > 0.0, "{stage} of {} had nothing to do", member.instance);
        }
    }
    ensure!(Role::ALL.len() * 2 == members.len());
    Ok(())
}
