//! kill -9 of the whole while pullers fetch from services that fail: every event that a service has handed over is in raw
//! at least once and in the index exactly once. Five kills in `make test`, fifty with `MOZDEF_LONG=1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use model::time::Clock;
use serde_json::json;
use tests::fakes::papertrail::Papertrail;
use tests::fakes::pubsub::{PubSub, write_key};
use tests::process::eventually;
use tests::random::{Random, seed};
use tests::server::Server;

use super::{each_once, papertrail_section, pubsub_section, raw_ids};

/// Kills the server so often, at random times.
async fn kill(
    mut server: Server,
    folder: &std::path::Path,
    more: &str,
    kills: usize,
    random: &mut Random,
) -> anyhow::Result<Server> {
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(100 + random.below(1200))).await;
        server.kill().await?;
        server = Server::start(folder, more).await?;
    }
    Ok(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn papertrail_loses_and_doubles_nothing_over_kills() -> anyhow::Result<()> {
    let (kills, seed) = (tests::data::scaled(5), seed()?);
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir()?;
    let papertrail = Papertrail::start(seed, true).await?;
    let more = papertrail_section(folder.path(), &papertrail.url, "page: 40, overlap_s: 3")?;
    let server = Server::start(folder.path(), &more).await?;

    let ended = Arc::new(AtomicBool::new(false));
    let adding = tokio::spawn({
        let (papertrail, ended, mut random) = (papertrail.clone(), ended.clone(), Random::new(seed ^ 1));
        async move {
            let mut count = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let now = Clock::System.now();
                for _ in 0..20 {
                    count += 1;
                    // Papertrail's ids are in the order of arrival; some events are shown up to a second late.
                    let id = now.millis().unsigned_abs() * 1000 + count % 1000;
                    let late = if random.below(10) == 0 { random.below(1000) } else { 0 };
                    let event = json!({
                        "id": id.to_string(), "received_at": now.to_string(), "generated_at": now.to_string(),
                        "hostname": "web1", "source_ip": "192.0.2.7", "program": "app", "severity": "Notice",
                        "message": format!("event {id}"),
                    });
                    papertrail.add(id, event, Duration::from_millis(late));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            count
        }
    });
    let server = kill(server, folder.path(), &more, kills, &mut random).await?;
    ended.store(true, Ordering::Relaxed);
    let count = adding.await?;
    eventually("every event is in the index once", || async {
        let given = papertrail.given();
        ensure!(given.len() as u64 == count, "{} of {count} were fetched", given.len());
        each_once(&server.index, "id", given.into_iter()).await
    })
    .await?;
    let (code, _) = server.terminate().await?;
    ensure!(code == 0, "it ended with {code}");
    let raw = raw_ids(folder.path()).await?;
    let missing = papertrail.given().iter().filter(|id| !raw.contains_key(&id.to_string())).count();
    ensure!(missing == 0, "{missing} events that were handed over are not in raw");
    let twice = raw.values().filter(|count| **count > 1).count();
    println!(
        "{count} events, {kills} kills, {twice} of them twice in raw, answers 503: {}, 429: {}",
        papertrail.answered(503),
        papertrail.answered(429)
    );
    ensure!(papertrail.answered(503) > 0, "no request failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pubsub_loses_and_doubles_nothing_over_kills() -> anyhow::Result<()> {
    let (kills, seed) = (tests::data::scaled(5), seed()?);
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir()?;
    let pubsub = PubSub::start(seed, true, None).await?;
    let key = write_key(folder.path(), &format!("{}/token", pubsub.url))?;
    pubsub.let_in(folder.path());
    let more = pubsub_section(&format!("key_file: {}", key.display()), &pubsub.url);
    let server = Server::start(folder.path(), &more).await?;

    let ended = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (pubsub, ended) = (pubsub.clone(), ended.clone());
        async move {
            let mut count = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    count += 1;
                    pubsub
                        .publish(json!({ "number": count.to_string(), "text": "é" }).to_string().as_bytes());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            count
        }
    });
    let server = kill(server, folder.path(), &more, kills, &mut random).await?;
    ended.store(true, Ordering::Relaxed);
    let count = publishing.await?;
    eventually("every message is acknowledged, and in the index once", || async {
        ensure!(pubsub.outstanding() == 0, "{} of {count} are not acknowledged", pubsub.outstanding());
        each_once(&server.index, "number", 1..=count).await
    })
    .await?;
    let (code, _) = server.terminate().await?;
    ensure!(code == 0, "it ended with {code}");
    let raw = raw_ids(folder.path()).await?;
    let missing = (1..=count).filter(|number| !raw.contains_key(&number.to_string())).count();
    ensure!(missing == 0, "{missing} messages that were handed over are not in raw");
    println!(
        "{count} messages, {kills} kills, {} redelivered, {} tokens, answers 401: {}, 503: {}, 429: {}",
        pubsub.redelivered(),
        pubsub.tokens(),
        pubsub.answered(401),
        pubsub.answered(503),
        pubsub.answered(429)
    );
    ensure!(pubsub.tokens() > 1 && pubsub.answered(401) > 0, "no token expired");
    Ok(())
}
