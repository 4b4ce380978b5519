//! What services and their users get wrong: told, and survived.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::fakes::papertrail::Papertrail;
use tests::fakes::pubsub::{PubSub, write_key};
use tests::process::eventually;
use tests::server::Server;

use super::{each_once, indexed, papertrail_section, pubsub_section};

fn event(id: u64) -> Value {
    json!({ "id": id.to_string(), "message": format!("event {id}"), "severity": "Info" })
}

/// The sum of a metric's series whose text contains `labels`.
async fn metric(server: &Server, name: &str, labels: &str) -> anyhow::Result<f64> {
    let text = server.http.get(format!("{}/metrics", server.admin)).send().await?.text().await?;
    Ok(tests::site::sum_of(&text, name, labels))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_many_pages_comes_whole_and_a_restart_begins_where_it_ended()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let papertrail = Papertrail::start(1, false).await?;
    let now = model::time::Clock::System.now().millis().unsigned_abs();
    let ids: Vec<u64> = (0..500).map(|number| (now - 30_000) * 1000 + number * 60_000).collect();
    // Older than where the first search begins.
    papertrail.add((now - 3_600_000) * 1000, event((now - 3_600_000) * 1000), Duration::ZERO);
    for id in &ids {
        papertrail.add(*id, event(*id), Duration::ZERO);
    }
    let more =
        papertrail_section(folder.path(), &papertrail.url, "page: 7, overlap_s: 0, start_before_s: 60")?;
    let server = Server::start(folder.path(), &more).await?;
    eventually("every event is there once", || each_once(&server.index, "id", ids.iter().copied())).await?;
    ensure!(server.terminate().await?.0 == 0, "it did not end well");

    // What came while nobody looked, and longer ago than a first search would look back.
    let more =
        papertrail_section(folder.path(), &papertrail.url, "page: 7, overlap_s: 0, start_before_s: 0")?;
    let last = ids.last().copied().context("no ids")?;
    let later: Vec<u64> = (1..50).map(|number| last + number).collect();
    for id in &later {
        papertrail.add(*id, event(*id), Duration::ZERO);
    }
    let before = papertrail.answered(200);
    let server = Server::start(folder.path(), &more).await?;
    let all = || ids.iter().chain(&later).copied();
    eventually("every event is there once", || each_once(&server.index, "id", all())).await?;
    let searches = papertrail.answered(200) - before;
    ensure!(searches < 20, "{searches} searches: it began at the start again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_papertrail_token_is_told_and_a_renewed_one_is_taken() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let papertrail = Papertrail::start(2, false).await?;
    let id = model::time::Clock::System.now().millis().unsigned_abs() * 1000;
    papertrail.add(id, event(id), Duration::ZERO);
    let more = papertrail_section(folder.path(), &papertrail.url, "page: 7")?;
    std::fs::write(folder.path().join("papertrail-token"), "wrong")?;
    let server = Server::start(folder.path(), &more).await?;
    eventually("the failure is counted", || async {
        let denied =
            metric(&server, "mozdef_input_failures_total", "input=\"papertrail\",kind=\"denied\"").await?;
        ensure!(denied >= 1.0, "{denied} failures");
        Ok(())
    })
    .await?;
    ensure!(
        metric(&server, "mozdef_input_up", "input=\"papertrail\"").await? == 0.0,
        "it says that it is up"
    );
    std::fs::write(folder.path().join("papertrail-token"), tests::fakes::papertrail::TOKEN)?;
    eventually("the event is there", || each_once(&server.index, "id", std::iter::once(id))).await?;
    let logged = std::fs::read_to_string(folder.path().join("mozdef.log"))?;
    ensure!(logged.contains("Papertrail does not take the API token"), "{logged}");
    ensure!(!logged.contains("papertrail-secret"), "a token is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_no_json_are_dead_and_acknowledged_and_a_wrong_key_is_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pubsub = PubSub::start(3, false, None).await?;
    let more = pubsub_section(&format!("emulator: \"{}\"", pubsub.url), "https://pubsub.googleapis.com");
    for data in [&b"garbage"[..], b"", b"[1]", b"\xff\xfe", br#"{"number":"7"}"#] {
        pubsub.publish(data);
    }
    let server = Server::start(folder.path(), &more).await?;
    eventually("all is acknowledged", || async {
        ensure!(pubsub.outstanding() == 0, "{} are not", pubsub.outstanding());
        let dead = server.dead().await?.0;
        ensure!(dead == 4, "{dead} dead letters");
        ensure!(indexed(&server.index, "number").await?.get(&7) == Some(&1), "the good one is not there");
        Ok(())
    })
    .await?;
    server.kill().await?;

    // An account that is not let in.
    let folder = tempfile::tempdir()?;
    let stranger = tempfile::tempdir()?;
    let key = write_key(folder.path(), &format!("{}/token", pubsub.url))?;
    write_key(stranger.path(), "")?;
    pubsub.let_in(stranger.path());
    let more = pubsub_section(&format!("key_file: {}", key.display()), &pubsub.url);
    let server = Server::start(folder.path(), &more).await?;
    eventually("the failure is told", || async {
        let logged = std::fs::read_to_string(folder.path().join("mozdef.log"))?;
        ensure!(logged.contains("give the service account the role Pub/Sub Subscriber"), "{logged}");
        ensure!(!logged.contains("PRIVATE KEY") && !logged.contains("assertion="), "a secret is in the log");
        Ok(())
    })
    .await?;
    // Once it is let in, nothing has to be started again.
    pubsub.let_in(folder.path());
    pubsub.publish(br#"{"number":"8"}"#);
    eventually("the message is there", || each_once(&server.index, "number", std::iter::once(8))).await
}
