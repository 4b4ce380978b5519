//! kill -9 of each stage at random points under load, all four at once and independently: alone, beside a second
//! instance, and with its successor already there; started again under the same name or a new one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::random::{Random, seed};
use tests::servers::needs;
use tests::site::{Member, Role, Site};
use tokio::time::Instant;

use super::{nothing_lost_or_doubled, times, turn};

/// Kills one of a role again and again; gives the members at the end and the times from start to ready.
async fn killer(
    site: Arc<Site>,
    role: Role,
    mut members: Vec<Member>,
    kills: usize,
    mut random: Random,
) -> anyhow::Result<(Vec<Member>, Vec<Duration>)> {
    let mut ready = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(200 + random.below(3000))).await;
        let at = usize::try_from(random.below(members.len() as u64))?;
        let name = if random.below(2) == 0 { members[at].instance.clone() } else { site.new_name() };
        let started = Instant::now();
        let mut successor = if random.below(3) == 0 {
            let successor = Member::spawn(&site, role, &name).await?;
            tokio::time::sleep(Duration::from_millis(random.below(1500))).await;
            members.swap_remove(at).kill().await?;
            successor
        } else {
            members.swap_remove(at).kill().await?;
            Member::spawn(&site, role, &name).await?
        };
        // Some are killed again before they are ready.
        if random.below(4) > 0 {
            successor.ready().await?;
            ready.push(started.elapsed());
        }
        members.push(successor);
    }
    Ok((members, ready))
}

async fn crashes_of_every_stage(each: usize, kills: usize, salt: u64) -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let seed = seed()? ^ salt;
    println!("seed {seed}, {each} of each stage, {kills} kills of each stage");
    let site = Site::new(&kafka, 4, "", "").await?;
    let mut members = site.start_all(each).await?;
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    let mut killers = Vec::new();
    for (number, role) in Role::ALL.into_iter().enumerate() {
        let own = members.extract_if(.., |member| member.role == role).collect();
        let random = Random::new(seed.rotate_left(8).wrapping_add(number as u64));
        killers.push((role, tokio::spawn(killer(site.clone(), role, own, kills, random))));
    }
    for (role, killer) in killers {
        let (own, ready) = killer.await??;
        println!("{}: start to ready {}", role.command(), times(ready));
        members.extend(own);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.end().await?;
    ensure!(ledger.acked.len() > 100 * kills, "only {} events were sent", ledger.acked.len());
    nothing_lost_or_doubled(&site, &ledger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn single_stages_that_are_killed_lose_and_double_nothing() -> anyhow::Result<()> {
    crashes_of_every_stage(1, tests::data::scaled(5), 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_killed_beside_a_second_instance_lose_and_double_nothing() -> anyhow::Result<()> {
    crashes_of_every_stage(2, tests::data::scaled(5), 2).await
}
