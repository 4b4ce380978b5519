//! States that the stages must tell of and come back from by themselves: a member that was thought dead, a topic
//! deleted and made again, rights taken away.

use std::time::Duration;

use anyhow::ensure;
use tests::load::{Load, Rate};
use tests::process::within;
use tests::random::seed;
use tests::servers::{Kafka, KafkaOptions, needs};
use tests::site::{Member, Role, Site};

use super::{nothing_lost_or_doubled, turn};

/// Longest time in which a state is told or left.
const SOON: Duration = Duration::from_secs(60);

fn of(members: &mut [Member], role: Role) -> &mut Member {
    let found = members.iter_mut().find(|member| member.role == role);
    found.unwrap_or_else(|| panic!("no {}", role.command()))
}

async fn says(member: &Member, wanted: u16, words: &[&str]) -> anyhow::Result<String> {
    let name = member.role.command();
    within(SOON, &format!("readyz of {name} says {wanted}"), || async {
        let (status, body) = member.admin("/readyz").await?;
        let lower = body.to_lowercase();
        let said = words.is_empty() || words.iter().any(|word| lower.contains(word));
        ensure!(status == wanted && said, "{name}: {status} {body}");
        Ok(body.trim().to_owned())
    })
    .await
}

/// What is stopped in place longer than a session lasts.
const FROZEN: [Role; 3] = [Role::Normalizer, Role::Correlator, Role::Sink];

/// The group goes on without a member that is frozen; when it wakes it is a zombie, whose commits are fenced.
#[tokio::test(flavor = "multi_thread")]
async fn stages_that_wake_after_their_sessions_are_fenced() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    let _turn = turn().await;
    let (seed, times) = (seed()?, tests::data::scaled(1));
    println!("seed {seed}, {times} times");
    let site = Site::new(&kafka, 4, "", "").await?;
    let mut members = site.start_all(1).await?;
    for role in FROZEN {
        let mut second = Member::spawn(&site, role, &site.new_name()).await?;
        second.ready().await?;
        members.push(second);
    }
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    for _ in 0..times {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for role in FROZEN {
            of(&mut members, role).process().signal("STOP").await?;
        }
        tokio::time::sleep(Duration::from_secs(18)).await;
        for role in FROZEN {
            of(&mut members, role).process().signal("CONT").await?;
        }
        for role in FROZEN {
            says(of(&mut members, role), 200, &[]).await?;
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ledger = load.end().await?;
    nothing_lost_or_doubled(&site, &ledger).await?;
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_us_is_told_and_used_again_when_it_is_back() -> anyhow::Result<()> {
    if needs("kafka").is_none() {
        return Ok(());
    }
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}");
    let folder = tempfile::tempdir()?;
    let kafka = Kafka::start(folder.path(), KafkaOptions::default()).await?;
    let site = Site::new(kafka.bootstrap(), 2, "", "").await?;
    let mut members = site.start_all(1).await?;
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    nothing_lost_or_doubled(&site, &load.end().await?).await?;

    let topic = format!("{}events", site.prefix);
    kafka.tool("TopicCommand", &["--delete", "--topic", &topic]).await?;
    for role in [Role::Normalizer, Role::Correlator, Role::Sink] {
        let said = says(of(&mut members, role), 503, &["topics apply"]).await?;
        println!("{}: {said}", role.command());
    }
    site.apply_topics().await?;
    for role in Role::ALL {
        says(of(&mut members, role), 200, &[]).await?;
    }
    let before = site.index.count("events*").await?;
    let url = format!("{}/events", of(&mut members, Role::Gateway).process().address("gateway"));
    for number in 0..20 {
        let body = format!("{{\"summary\": \"after the topic came back {number}\"}}");
        let answer = site.http.post(&url).body(body).send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
    }
    within(SOON, "new events go through", || async {
        let count = site.index.count("events*").await?;
        ensure!(count == before + 20, "{count} of {} events", before + 20);
        Ok(())
    })
    .await?;
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_taken_away_are_told_and_work_goes_on_when_they_are_back() -> anyhow::Result<()> {
    if needs("kafka").is_none() {
        return Ok(());
    }
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}");
    let folder = tempfile::tempdir()?;
    let kafka = Kafka::start(folder.path(), KafkaOptions { secure: true, acl: true }).await?;
    let who = ["--allow-principal", "User:mozdef", "--operation", "All"];
    let all = ["--topic", "*", "--group", "*", "--transactional-id", "*", "--cluster"];
    kafka.tool("AclCommand", &[&["--add"], &who[..], &all[..]].concat()).await?;
    let password = folder.path().join("password");
    std::fs::write(&password, "broker secret")?;
    let sasl =
        format!("sasl: {{ mechanism: plain, username: mozdef, password_file: \"{}\" }}", password.display());
    let site = Site::new(kafka.said("plain"), 2, &sasl, "").await?;
    let mut members = site.start_all(1).await?;
    let load = Load::start(&site.gateways, Rate::STEADY, seed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    kafka.tool("AclCommand", &[&["--remove", "--force"], &who[..], &["--topic", "*"]].concat()).await?;
    for role in Role::ALL {
        let said = says(of(&mut members, role), 503, &["authoriz", "allowed", "denied"]).await?;
        println!("{}: {said}", role.command());
    }
    kafka.tool("AclCommand", &[&["--add"], &who[..], &["--topic", "*"]].concat()).await?;
    for role in Role::ALL {
        says(of(&mut members, role), 200, &[]).await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ledger = load.end().await?;
    nothing_lost_or_doubled(&site, &ledger).await?;
    ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
    Ok(())
}
