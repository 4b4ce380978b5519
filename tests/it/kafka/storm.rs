//! A storm of rebalances: one to four instances of normalizer, correlator and sink, changed every five seconds by
//! graceful leaves and kill -9.

use std::time::Duration;

use anyhow::ensure;
use tests::groups::StallWatch;
use tests::load::{Load, Rate};
use tests::random::{Random, seed};
use tests::servers::needs;
use tests::site::{Member, Role, Site};
use tokio::time::Instant;

use super::{nothing_lost_or_doubled, turn};

/// Time between two changes.
const EVERY: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_rebalances_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let long = std::env::var_os("MOZDEF_LONG").is_some();
    let (seed, lasts) = (seed()?, Duration::from_secs(if long { 180 } else { 20 }));
    println!("seed {seed}, {lasts:?}");
    let mut random = Random::new(seed);
    let site = Site::new(&kafka, 4, "", "").await?;
    let mut members = site.start_all(1).await?;
    let watch = StallWatch::start(&site.log);
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    let (end, mut round) = (Instant::now() + lasts, Instant::now());
    let (mut starts, mut leaves, mut kills) = (0, 0, 0);
    while Instant::now() < end {
        round += EVERY;
        for role in [Role::Normalizer, Role::Correlator, Role::Sink] {
            let mut own: Vec<Member> = members.extract_if(.., |member| member.role == role).collect();
            // From one to four, or back to one.
            let wanted = if own.len() < 3 { 4 } else { 1 };
            while own.len() < wanted {
                own.push(Member::spawn(&site, role, &site.new_name()).await?);
                starts += 1;
            }
            while own.len() > wanted {
                let leaving = own.swap_remove(usize::try_from(random.below(own.len() as u64))?);
                if random.below(2) == 0 {
                    leaving.kill().await?;
                    kills += 1;
                } else {
                    leaving.terminate().await?;
                    leaves += 1;
                }
            }
            members.extend(own);
        }
        tokio::time::sleep_until(round).await;
    }
    let ledger = load.end().await?;
    nothing_lost_or_doubled(&site, &ledger).await?;
    let (stood, which) = watch.end().await?;
    println!(
        "{starts} starts, {leaves} leaves, {kills} kills; longest stand {:.1} s: {which}",
        stood.as_secs_f64()
    );
    ensure!(stood <= Duration::from_secs(30), "{which} stood still for {stood:?}");
    Ok(())
}
