//! RabbitMQ: what is taken, what is dead, and what happens when the broker, the queue or the login goes.

use anyhow::ensure;
use ingest::amqp::Publisher;
use model::config::{AmqpConfig, AmqpTls};
use tests::process::eventually;
use tests::server::Server;
use tests::servers::{Own, needs};

use super::summaries;

fn to(server: &str, queue: &str) -> AmqpConfig {
    let name = || queue.to_owned();
    AmqpConfig { servers: vec![server.to_owned()], queue: name(), exchange: name(), ..AmqpConfig::default() }
}

fn entry(server: &str, queue: &str, more: &str) -> String {
    format!("{{servers: ['{server}'], queue: {queue}, exchange: {queue}{more}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_taken_or_dead_and_none_stays_in_the_queue() -> anyhow::Result<()> {
    let Some(rabbit) = needs("rabbitmq") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let queue = format!("taken-{}", std::process::id());
    let publisher = Publisher::connect(to(&rabbit, &queue)).await?;
    let mut messages: Vec<(String, Vec<u8>)> = [
        &b"{\"summary\": \"one\"}"[..],
        b"",
        b"{\"summary\": \"caf\xe9\"}",
        b"not json",
        b"\"{\\\"summary\\\": \\\"text in text\\\"}\"",
        b"[{\"summary\": \"a\"}, {\"summary\": \"b\"}]",
        b"{\"summary\": \"last\"}",
    ]
    .iter()
    .enumerate()
    .map(|(number, body)| (format!("m{number}"), body.to_vec()))
    .collect();
    // Larger than any event, and than what the dead letters' topic takes.
    messages.push(("m-large".to_owned(), format!("{{\"a\":\"{}\"}}", "x".repeat(20 << 20)).into_bytes()));
    messages.push(("m-after".to_owned(), b"{\"summary\": \"after\"}".to_vec()));
    // The same message again, under its id.
    messages.push(("m0".to_owned(), b"{\"summary\": \"one\"}".to_vec()));
    publisher.send(&messages).await?;
    let server =
        Server::start(folder.path(), &format!("  amqp:\n    here: {}\n", entry(&rabbit, &queue, ""))).await?;
    let found = eventually("events are in the index", || summaries(&server.index, 6)).await?;
    ensure!(found == ["a", "after", "b", "last", "one", "text in text"], "{found:?}");
    let (dead, letters) = eventually("bad messages are dead", || async {
        let (dead, letters) = server.dead().await?;
        ensure!(dead == 4, "{dead} dead: {letters:?}");
        Ok((dead, letters))
    })
    .await?;
    for reason in ["empty", "invalid_utf8", "malformed_json", "too_large"] {
        ensure!(
            letters.iter().any(|letter| letter.to_string().contains(reason)),
            "{reason} in {dead}: {letters:?}"
        );
    }
    // Whoever asks for the queue is told how many messages are in it.
    eventually("nothing stays", || async {
        let left = publisher.waiting().await?;
        ensure!(left == 0, "{left} messages");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_outlives_broker_queue_and_connection() -> anyhow::Result<()> {
    if needs("rabbitmq").is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut broker = Own::start("rabbitmq", &folder.path().join("broker"), "amqp", &["--secure"]).await?;
    let (plain, secure) = (broker.said("amqp").to_owned(), broker.said("amqps").to_owned());
    std::fs::write(folder.path().join("password"), "guest\n")?;
    let files = |name: &str| broker.said(name).to_owned();
    let tls = format!(
        "{{ca_file: '{}', certificate_file: '{}', key_file: '{}'}}",
        files("ca"),
        files("certificate"),
        files("key")
    );
    let password = folder.path().join("password").display().to_string();
    let more = format!(", password_file: '{password}', tls: {tls}");
    let config = format!("  amqp:\n    here: {}\n", entry(&secure, "q", &more));
    let site = folder.path().join("site");
    std::fs::create_dir(&site)?;
    let server = Server::start(&site, &config).await?;
    send(&to(&plain, "q"), "before").await?;
    eventually("the first event", || summaries(&server.index, 1)).await?;

    broker.tool("delete_queue", &["q"]).await?;
    eventually("the queue is made again", || async { send(&to(&plain, "q"), "after the queue").await })
        .await?;
    eventually("the second event", || summaries(&server.index, 2)).await?;

    broker.kill().await?;
    broker.start_again().await?;
    send(&to(&plain, "q"), "after the broker").await?;
    eventually("the third event", || summaries(&server.index, 3)).await?;

    broker.tool("close_all_connections", &["a test"]).await?;
    send(&to(&plain, "q"), "after the connection").await?;
    let found = eventually("the fourth event", || summaries(&server.index, 4)).await?;
    ensure!(found.contains(&"after the connection".to_owned()), "{found:?}");
    let refused = Publisher::connect(AmqpConfig {
        // The test's authority is not the system's.
        tls: Some(AmqpTls::default()),
        ..to(&secure, "q")
    })
    .await;
    ensure!(refused.is_err(), "a broker is trusted whose authority is not known");
    Ok(())
}

async fn send(config: &AmqpConfig, summary: &str) -> anyhow::Result<()> {
    let publisher = Publisher::connect(config.clone()).await?;
    publisher.send(&[(summary.to_owned(), format!("{{\"summary\": \"{summary}\"}}").into_bytes())]).await?;
    Ok(publisher.close().await?)
}
