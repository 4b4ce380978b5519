//! Shippers' requests in, documents and alerts out, through the real binary.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::process::eventually;
use tests::server::{self, Server};

fn unpack(file: &Path) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
    if file.extension().is_some_and(|e| e == "gz") {
        flate2::read::MultiGzDecoder::new(opened).read_to_end(&mut text)?;
    } else {
        std::io::BufReader::new(opened).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Waits until `expected` events are searchable or dead.
async fn all_arrived(server: &Server, expected: u64) -> anyhow::Result<()> {
    eventually("every event is searchable or dead", || async {
        let found = server.index.ask("/events*/_count?ignore_unavailable=true", &json!({})).await?;
        let indexed = found.get("count").and_then(Value::as_u64).unwrap_or(0);
        let (dead, _) = server.dead().await?;
        ensure!(indexed + dead == expected, "{indexed} searchable + {dead} dead of {expected}");
        Ok(())
    })
    .await
}

/// The counters of every stage add up.
async fn counters_add_up(server: &Server) -> anyhow::Result<()> {
    for stage in ["gateway", "normalizer", "match", "window", "event_sink", "alert_sink"] {
        eventually("counters add up", || async {
            let [taken, out, dropped, dead] = server.counts(stage).await?;
            ensure!(
                taken == out + dropped + dead,
                "{stage}: in {taken} = out {out} + dropped {dropped} + dead {dead}"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn send(server: &Server, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut all = vec!["send", "--json", "--to", server.gateway.as_str()];
    all.extend(arguments);
    let (code, out, error) = server::command(&all, None).await?;
    ensure!(code == 0 || code == 1, "send: {error}");
    serde_json::from_str(&out).with_context(|| format!("{out}{error}"))
}

/// The rules' own definition, counted by hand: ten or more lines of sshd that begin so, of one address within two
/// minutes. Live, old stamps fall back to the time of receipt; here the log's own times count.
fn addresses_by_hand(log: &str, beginning: &str) -> BTreeSet<String> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("sshd[")) {
        let text = line.split_once("]: ").map_or("", |(_, text)| text);
        let Some(address) = text.split(" from ").last().and_then(|rest| rest.split_whitespace().next())
        else {
            continue;
        };
        if text.starts_with(beginning) && address.parse::<std::net::Ipv4Addr>().is_ok() {
            times.entry(address.to_owned()).or_default().push(seconds(line));
        }
    }
    let hot = |times: &Vec<i64>| {
        times.iter().any(|t| times.iter().filter(|u| *t - 120 < **u && **u <= *t).count() >= 10)
    };
    times.into_iter().filter(|(_, times)| hot(times)).map(|(address, _)| address).collect()
}

/// Seconds of a stamp without a year: days of a leap year serve, since only differences count.
fn seconds(line: &str) -> i64 {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = line.split_whitespace();
    let name = parts.next().unwrap_or_default();
    let month = months.iter().position(|month| *month == name).unwrap_or(0);
    let day: i64 = parts.next().and_then(|d| d.parse().ok()).unwrap_or(0);
    let clock: Vec<i64> = parts.next().unwrap_or("").split(':').filter_map(|p| p.parse().ok()).collect();
    let days: i64 = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().take(month).sum::<i64>() + day;
    ((days * 24 + clock[0]) * 60 + clock[1]) * 60 + clock[2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_auth_log_is_searchable_and_its_attackers_are_alerted_on() -> anyhow::Result<()> {
    let Some(shared) = tests::data::folder() else { return Ok(()) };
    let file = shared.join("data/syslog/elastic-auth-3000.log.gz");
    let text = unpack(&file)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;

    let sent = send(&server, &["--format", "syslog", &file.display().to_string()]).await?;
    ensure!(sent["accepted"] == lines, "{sent}");
    all_arrived(&server, lines).await?;

    // The same again, as a shipper would wrap it.
    let events: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            json!({"message": line, "type": "syslog", "path": "/var/log/auth.log", "host": "shipper1"})
                .to_string()
        })
        .collect();
    for batch in events.chunks(500) {
        let (status, body) = server.post("/events", "application/json", batch.join("\n")).await?;
        ensure!(status == 200, "{status} {body}");
    }
    all_arrived(&server, 2 * lines).await?;
    counters_add_up(&server).await?;

    // Offline the log's own times count; live they are old, so that receipt counts: those addresses are among the live.
    let plain = folder.path().join("auth.log");
    std::fs::write(&plain, &text)?;
    let (_, normal, error) = server::command(&["normalize", "--format", "syslog"], Some(&plain)).await?;
    ensure!(normal.lines().count() as u64 == lines, "{} of {lines} lines: {error}", normal.lines().count());
    let normal_file = folder.path().join("normal.jsonl");
    std::fs::write(&normal_file, normal)?;
    let (code, alerts, error) = server::command(&["rules", "run"], Some(&normal_file)).await?;
    ensure!(code == 0, "{error}");
    let alerts: Vec<Value> = alerts.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (rule, beginning) in [("ssh_bruteforce", "Failed "), ("ssh_user_guessing", "Invalid user ")] {
        let offline = alerted_addresses(&alerts, rule);
        let by_hand = addresses_by_hand(&text, beginning);
        ensure!(offline == by_hand && !by_hand.is_empty(), "{rule}: {offline:?} against {by_hand:?}");
        eventually("live alerts", || async {
            let live = server.index.documents("alerts*", "utctimestamp", &[]).await?;
            let live: Vec<Value> = live.into_iter().filter_map(|hit| hit.get("_source").cloned()).collect();
            let live = alerted_addresses(&live, rule);
            ensure!(offline.is_subset(&live), "{rule}: {offline:?} are not all among {live:?}");
            Ok(())
        })
        .await?;
    }
    let (code, _) = server.terminate().await?;
    ensure!(code == 0, "exit code {code} after SIGTERM");
    Ok(())
}

fn alerted_addresses(alerts: &[Value], rule: &str) -> BTreeSet<String> {
    let of_rule = alerts.iter().filter(|alert| alert["classname"] == rule);
    of_rule
        .filter_map(|alert| alert["group"]["details.sourceipaddress"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudtrail_suricata_and_zeek_sets_arrive_whole() -> anyhow::Result<()> {
    let Some(shared) = tests::data::folder() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let mut files = vec![
        shared.join("data/aws/stratus-red-team-cloudtrail.jsonl.gz"),
        shared.join("data/aws/invictus-cloudtrail-900.jsonl.gz"),
        shared.join("data/suricata/vast-eve-1183.jsonl.gz"),
    ];
    for entry in std::fs::read_dir(shared.join("data/zeek/wrccdc-json"))? {
        let path = entry?.path();
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".gz") || name.ends_with(".log") || name.ends_with(".json") {
            files.push(path);
        }
    }
    ensure!(files.len() > 5, "{files:?}");
    let mut expected = 0;
    for file in &files {
        let lines = unpack(file)?.lines().filter(|line| !line.trim().is_empty()).count() as u64;
        let sent = send(&server, &["--format", "json", &file.display().to_string()]).await?;
        ensure!(sent["accepted"] == lines, "{}: {lines} lines, {sent}", file.display());
        expected += lines;
    }
    all_arrived(&server, expected).await?;
    counters_add_up(&server).await?;
    for (query, least) in [
        ("source:cloudtrail AND details.eventname:*", 900),
        ("details.eventname:StopLogging", 1),
        ("category:suricata OR source:suricata OR details.event_type:*", 1000),
        ("details.uid:*", 500),
    ] {
        let body = json!({"query": {"query_string": {"query": query}}});
        let found = server.index.ask("/events*/_count", &body).await?;
        ensure!(found["count"].as_u64().unwrap_or(0) >= least, "{query}: {found}, expected at least {least}");
    }
    let (code, _) = server.terminate().await?;
    ensure!(code == 0, "exit code {code} after SIGTERM");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_of_an_event_is_kept_byte_for_byte() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), "").await?;
    let original = "{ \"summary\":\"caf\\u00e9  \\/ x\", \"n\": 1.50, \"details\":{\"a\":1,\"a\":2} }";
    let (status, text) = server.post("/custom/shop", "application/json", original).await?;
    ensure!(status == 200, "{status} {text}");
    all_arrived(&server, 1).await?;
    let found = server.index.ask("/events*/_search", &json!({})).await?;
    let id = found.pointer("/hits/hits/0/_id").and_then(Value::as_str).context("an id")?;
    let get = async |how| server::command(&["raw", "get", id, "--admin", &server.admin, how], None).await;
    let (code, bytes, error) = get("--bytes").await?;
    ensure!(code == 0 && bytes == original, "{bytes}{error}");
    let (code, shown, error) = get("--json").await?;
    let shown: Value = serde_json::from_str(&shown).with_context(|| format!("{code} {error}"))?;
    ensure!(
        shown["headers"]["endpoint"] == "shop" && shown["headers"]["principal"] == "anonymous",
        "{shown}"
    );
    ensure!(shown["bytes"] == original.len(), "{shown}");
    let (code, _, error) =
        server::command(&["raw", "get", "0123456789abcdef0123456789abcdef", "--admin", &server.admin], None)
            .await?;
    ensure!(code == 1 && error.contains("no record of mozdef.raw"), "{code} {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_checks_its_own_numbers() -> anyhow::Result<()> {
    let (code, out, error) = server::command(&["demo", "--check"], None).await?;
    ensure!(code == 0, "{out}{error}");
    ensure!(out.contains("320 of 320 events are searchable"), "{out}");
    Ok(())
}
