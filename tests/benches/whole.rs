//! The whole on one machine: time to ready, idle memory, and the time from an
//! event to its alert at 2,000 events a second.
//!
//! Prints figures; judges nothing. Budgets: ready ≤ 3 s, idle ≤ 200 MB,
//! p99 ≤ 1 s on two cores.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test program: what is not as expected ends it"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::process::{cpu_seconds, memory_kb};
use tests::server::Server;
use tokio::time::Instant;

const RATE: usize = 2_000;
const SECONDS: usize = 20;
const BATCH: usize = 20;

fn noise(number: usize) -> String {
    json!({
        "timestamp": model::time::Clock::System.now().to_string(), "hostname": format!("host{}", number % 50),
        "program": "CRON", "category": "syslog", "summary": format!("(root) CMD (run-parts /etc/cron.hourly) {number}"),
        "details": {"program": "CRON", "number": number, "padding": "x".repeat(400)},
    })
    .to_string()
}

fn attack(number: usize) -> String {
    json!({
        "eventVersion": "1.09", "eventTime": model::time::Clock::System.now().to_string(),
        "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging", "awsRegion": "eu-central-1",
        "sourceIPAddress": "198.51.100.23", "userAgent": "aws-cli", "eventType": "AwsApiCall",
        "requestParameters": {"name": format!("trail-{number}")}, "recipientAccountId": "123456789012",
    })
    .to_string()
}

/// Sends at a steady rate; gives the time of each attack's acknowledgement.
async fn load(server: &Server) -> anyhow::Result<BTreeMap<String, Instant>> {
    let mut sent = BTreeMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(BATCH as f64 / RATE as f64));
    for batch in 0..RATE * SECONDS / BATCH {
        ticks.tick().await;
        let mut lines: Vec<String> = (0..BATCH - 1).map(|n| noise(batch * BATCH + n)).collect();
        let with_attack = batch % 10 == 0;
        lines.push(if with_attack { attack(batch) } else { noise(batch) });
        let (status, body) = server.post("/events", "application/x-ndjson", lines.join("\n")).await?;
        anyhow::ensure!(status == 200, "{status} {body}");
        if with_attack {
            sent.insert(format!("trail-{batch}"), Instant::now());
        }
    }
    Ok(sent)
}

/// Follows alerts until `expected` have come; gives the time each was seen.
async fn follow(server: &Server, expected: usize) -> anyhow::Result<BTreeMap<String, Instant>> {
    let mut seen = BTreeMap::new();
    let mut cursor = "start".to_owned();
    while seen.len() < expected {
        let news = server.get(&format!("{}/api/alerts/next?after={cursor}", server.admin)).await?;
        let now = Instant::now();
        news["cursor"].as_str().unwrap_or("start").clone_into(&mut cursor);
        for alert in news["alerts"].as_array().into_iter().flatten() {
            let name = alert.pointer("/events/0/documentsource/details/requestparameters/name");
            let name =
                name.map(|name| name["raw_value"].as_str().or(name.as_str()).unwrap_or_default().to_owned());
            let summary = alert.get("summary").and_then(Value::as_str).unwrap_or_default();
            let name =
                name.or_else(|| summary.split_whitespace().last().map(str::to_owned)).unwrap_or_default();
            seen.entry(name.trim_matches('"').to_owned()).or_insert(now);
        }
    }
    Ok(seen)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let server = Server::start(folder.path(), "").await?;
    println!("start to ready: {:.2} s", started.elapsed().as_secs_f64());
    let id = server.id().unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle RSS: {} kB", memory_kb(id, "VmRSS"));
    let before = cpu_seconds(id);
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle CPU: {:.1} % of one core", (cpu_seconds(id) - before) * 20.0);

    let before = cpu_seconds(id);
    let expected = RATE * SECONDS / BATCH / 10;
    let (sent, seen) = tokio::try_join!(load(&server), follow(&server, expected))?;
    let used = cpu_seconds(id) - before;
    let mut waits: Vec<f64> = sent
        .iter()
        .filter_map(|(name, at)| seen.get(name).map(|seen| seen.saturating_duration_since(*at).as_secs_f64()))
        .collect();
    waits.sort_by(f64::total_cmp);
    anyhow::ensure!(waits.len() == expected, "{} of {expected} alerts were seen", waits.len());
    let at = |share: f64| waits.get(((waits.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "{RATE} events/s for {SECONDS} s: event acknowledged → alert readable p50 {:.3} s, p99 {:.3} s, max {:.3} s",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "CPU: {used:.1} s for {} events ({:.0} events per CPU second, all stages and the index)",
        RATE * SECONDS,
        (RATE * SECONDS) as f64 / used
    );
    println!("RSS under load: {} kB, peak {} kB", memory_kb(id, "VmRSS"), memory_kb(id, "VmHWM"));
    Ok(())
}
