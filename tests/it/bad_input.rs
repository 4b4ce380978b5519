//! Hostile input through the real binary: a clear answer, no crash, no partition that stops.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::process::{PATIENCE, Process, eventually};
use tests::server::{self, Server, write_config};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_get_clear_answers_and_stop_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let cases: Vec<(&str, Vec<u8>, &[u16], &str)> = vec![
        ("empty", Vec::new(), &[400], ""),
        ("not json", b"{\"summary\": nope}".to_vec(), &[400], "byte 12"),
        ("cut off", b"{\"summary\": \"x".to_vec(), &[400], "byte"),
        ("scalar", b"5".to_vec(), &[400], "object"),
        ("invalid utf-8", b"{\"summary\": \"\xff\xfe\"}".to_vec(), &[400], "UTF-8"),
        ("depth 10,000", deep.into_bytes(), &[400], "deep"),
        ("50 MB", format!("{{\"summary\": \"{}\"}}", "x".repeat(50_000_000)).into_bytes(), &[413], "bytes"),
        ("duplicate keys", b"{\"summary\": \"one\", \"summary\": \"two\"}".to_vec(), &[200], ""),
        ("1e309", b"{\"summary\": \"big\", \"details\": {\"n\": 1e309}}".to_vec(), &[200], ""),
    ];
    for (name, body, statuses, words) in cases {
        let answer = server.post("/events", "application/json", body).await;
        // A body far over the limit may be cut off instead of answered.
        let Ok((status, text)) = answer else {
            ensure!(name == "50 MB", "{name}: {answer:?}");
            continue;
        };
        ensure!(statuses.contains(&status), "{name}: {status} {text}");
        ensure!(text.contains(words), "{name}: {text} does not say {words}");
    }
    // The stream goes on.
    let (status, _) = server.post("/events", "application/json", r#"{"summary": "still here"}"#).await?;
    ensure!(status == 200);
    eventually("the good events are searchable", || async {
        let found = server.index.ask("/events/_count", &json!({})).await?;
        ensure!(found["count"] == 3, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_with_a_bad_line_the_good_ones_are_taken() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let body = "{\"summary\": \"a\"}\nbroken line\n{\"summary\": \"c\"}\n";
    let (status, text) = server.post("/events", "application/x-ndjson", body).await?;
    let reply: Value = serde_json::from_str(&text)?;
    ensure!(status == 200 && reply["accepted"] == 2 && reply["errors"][0]["line"] == 2, "{status} {text}");
    eventually("two are searchable, one is dead", || async {
        let found = server.index.ask("/events/_count", &json!({})).await?;
        let (dead, letters) = server.dead().await?;
        ensure!(found["count"] == 2 && dead == 1, "{found} {letters:?}");
        Ok(())
    })
    .await?;
    let (_, letters) = server.dead().await?;
    ensure!(letters[0]["id"].as_str().is_some_and(|id| id.len() == 32), "{letters:?}");
    let id = letters[0]["id"].as_str().unwrap_or_default().to_owned();
    let (code, shown, error) = server::command(&["dlq", "show", &id, "--admin", &server.admin], None).await?;
    ensure!(code == 0 && shown.contains("broken line"), "{shown}{error}");
    let (code, listed, error) =
        server::command(&["dlq", "list", "--json", "--admin", &server.admin], None).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    ensure!(code == 0 && listed["total"] == 1, "{listed}{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_or_port_says_so() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let config = folder.path().join("mozdef.yaml").display().to_string();
    let (code, _, error) = server::command(&["--config", &config, "up"], None).await?;
    ensure!(code != 0 && error.contains("in use by another process"), "{code} {error}");

    let other = tempfile::tempdir()?;
    let port = server.gateway.rsplit(':').next().unwrap_or_default();
    let file = other.path().join("taken.yaml");
    std::fs::write(
        &file,
        format!(
            "log: {{data: {}}}\ningest: {{http: {{listen: \"127.0.0.1:{port}\"}}}}\nembedded: {{listen: \"127.0.0.1:0\"}}\nadmin: {{listen: \"127.0.0.1:0\"}}\n",
            other.path().join("data").display()
        ),
    )?;
    let (code, _, error) = server::command(&["--config", &file.display().to_string(), "up"], None).await?;
    ensure!(code != 0 && error.contains(port) && error.contains("ingest.http.listen"), "{code} {error}");
    ensure!(error.trim().lines().count() == 1, "more than one line: {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configuration_is_told_with_its_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = write_config(folder.path(), "sink:\n  bulk_document_max: 5\n")?;
    let text = std::fs::read_to_string(&file)?;
    let line = text.lines().position(|line| line.contains("bulk_document_max")).map_or(0, |index| index + 1);
    let place = format!(":{line}:");
    for arguments in [vec!["config", "check"], vec!["up"]] {
        let config = file.display().to_string();
        let mut all = vec!["--config", config.as_str()];
        all.extend(arguments);
        let (code, out, error) = server::command(&all, None).await?;
        let text = format!("{out}{error}");
        ensure!(code == 1, "{code} {text}");
        ensure!(text.contains(&place) && text.contains("bulk_document_max"), "{text}");
        ensure!(text.contains("bulk_documents_max"), "no suggestion: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_is_told_in_one_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "not a folder")?;
    let file = write_config(folder.path(), "")?;
    let data = blocked.join("data").display().to_string();
    let (code, _, error) =
        server::command(&["--config", &file.display().to_string(), "up", "--data", &data], None).await?;
    ensure!(code == 1 && error.contains("cannot be written") && error.contains(&data), "{code} {error}");
    ensure!(error.trim().lines().count() == 1, "more than one line: {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_little_disk_space_senders_are_told_to_come_back() -> anyhow::Result<()> {
    if server::over_kafka() {
        println!("SKIPPED (local log): the broker's disk is the broker's");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let (status, _) = server.post("/events", "application/json", r#"{"summary": "before"}"#).await?;
    ensure!(status == 200);
    server.terminate().await?;
    // More free space is asked for than any disk has: the same as a full one.
    let config = write_config(folder.path(), "")?;
    let text = std::fs::read_to_string(&config)?.replace("log:\n", "log:\n  min_free_mib: 1000000000000\n");
    std::fs::write(&config, text)?;
    let mut up = Process::spawn(&config, "up", &[], &folder.path().join("mozdef.log"))?;
    up.read_until("admin").await?;
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let url = format!("{}/events", up.address("gateway"));
    let response = http.post(url).body(r#"{"summary": "refused"}"#).send().await?;
    ensure!(response.status() == 503, "{}", response.status());
    ensure!(response.headers().contains_key("retry-after"), "no Retry-After");
    let body = response.text().await?;
    ensure!(body.contains("space"), "{body}");
    let readiness = http.get(format!("{}/readyz", up.address("admin"))).send().await?;
    ensure!(readiness.status() == 503, "{}", readiness.status());
    let reasons = readiness.text().await?;
    ensure!(reasons.contains("space"), "{reasons}");
    Ok(())
}
