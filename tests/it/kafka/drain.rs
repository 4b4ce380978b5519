//! SIGTERM under full load, of one stage after the other and of all at once: exit 0 within ten seconds, nothing lost,
//! nothing done twice.

use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::random::{Random, seed};
use tests::servers::needs;
use tests::site::{Member, Role, Site};

use super::{nothing_lost_or_doubled, times, turn};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_full_load_drains_in_time() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let (seed, rounds) = (seed()?, tests::data::scaled(5));
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random::new(seed);
    let site = Site::new(&kafka, 4, "", "").await?;
    let mut members = site.start_all(1).await?;
    let load = Load::start(&site.gateways, Rate::FULL, seed);
    let mut took = Vec::new();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(500 + random.below(1500))).await;
        // Every fifth round all of them, else one role after the other.
        let roles = if round % 5 == 4 { Role::ALL.to_vec() } else { vec![Role::ALL[round % 5]] };
        let ending: Vec<Member> = members.extract_if(.., |member| roles.contains(&member.role)).collect();
        let mut ended = Vec::new();
        for member in ending {
            let (role, name) = (member.role, member.instance.clone());
            ended.push((role, name, tokio::spawn(member.terminate())));
        }
        for (role, name, end) in ended {
            took.push(end.await??);
            let name = if random.below(2) == 0 { name } else { site.new_name() };
            members.push(Member::spawn(&site, role, &name).await?);
        }
        for member in &mut members {
            if roles.contains(&member.role) {
                member.ready().await?;
            }
        }
    }
    println!("{} drains: {}", took.len(), times(took.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.end().await?;
    ensure!(ledger.acked.len() > 500 * rounds, "only {} events were sent", ledger.acked.len());
    nothing_lost_or_doubled(&site, &ledger).await
}
