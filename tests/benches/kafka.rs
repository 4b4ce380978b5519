//! Over real Kafka (`tests/servers/with kafka -- cargo bench …`):
//!
//! * **J2**: the normalizer from `mozdef.raw` to `mozdef.events` in transactions, in events per CPU second of our
//!   process, beside J1, the same work on the same records without a log;
//! * **a step to J6**: every stage and the broker on this machine at 5,000 events a second through the gateway: time
//!   from the gateway's acknowledgement to the committed alert, and what each process took.
//!
//! Prints figures; judges nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program: what is not as expected ends it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use model::config::NormalizeConfig;
use model::headers;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use normalize::chain::tally::Tally;
use normalize::normalizer::{Format, Normalized, Normalizer, Raw, Sender};
use normalize::start::Settings;
use serde_json::{Value, json};
use stream::log::FetchLimits;
use stream::record::{Headers, NewRecord};
use tests::process::{cpu_seconds, memory_kb};
use tests::servers::needs;
use tests::site::{Member, Role, Site};
use tokio::time::Instant;

/// Records of J2.
const RECORDS: u64 = 400_000;
/// Events a second of the step to J6, for how long, in requests of how many.
const RATE: u64 = 5_000;
const SECONDS: u64 = 30;
const BATCH: u64 = 50;
/// One request in so many holds an attack.
const ATTACK_EVERY: u64 = 10;

/// A record of CloudTrail of 700 bytes.
fn cloudtrail(number: u64, event: &str, name: &str) -> String {
    format!(
        concat!(
            r#"{{"eventVersion":"1.08","userIdentity":{{"type":"IAMUser","principalId":"AIDAJQABLZS4A3QDU576Q","#,
            r#""arn":"arn:aws:iam::123456789012:user/alice","accountId":"123456789012","#,
            r#""accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"alice"}},"eventTime":"{time}","#,
            r#""eventSource":"cloudtrail.amazonaws.com","eventName":"{event}","awsRegion":"us-west-2","#,
            r#""sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2.13.5 Python/3.11.4 Linux/6.2.0","#,
            r#""requestParameters":{{"name":"{name}"}},"responseElements":null,"requestID":"{number:032x}","#,
            r#""eventID":"4e2f7a8c-1b2d-4c3e-8f9a-0b1c2d3e4f5a","readOnly":true,"eventType":"AwsApiCall","#,
            r#""recipientAccountId":"123456789012"}}"#
        ),
        time = Clock::System.now(),
        event = event,
        name = name,
        number = number,
    )
}

/// CPU seconds of the broker that runs for these tests; 0 when it is not known.
fn broker_cpu() -> f64 {
    let folder = std::env::var("MOZDEF_TEST_KAFKA_FOLDER").unwrap_or_default();
    let id = std::fs::read_to_string(format!("{folder}/pid")).unwrap_or_default();
    id.trim().parse().map_or(0.0, cpu_seconds)
}

/// Events per CPU second of the normalizer alone, on one thread.
fn j1(records: &[String]) -> f64 {
    let settings = Settings::from_config(&NormalizeConfig::default()).expect("the defaults are valid");
    let (mut normalizer, mut tally) = (Normalizer::new(settings), Tally::default());
    let mut run = || {
        let before = cpu_seconds(std::process::id());
        for value in records {
            let raw = Raw {
                value: value.as_bytes(),
                format: Format::Json,
                received: Clock::System.now(),
                endpoint: Some("events"),
                custom_endpoint: false,
                queue: None,
                item: 0,
                headers: None,
                sender: Sender::default(),
                digest: None,
            };
            let normalized = normalizer.normalize(std::hint::black_box(raw), &mut tally);
            assert!(matches!(normalized, Normalized::Event { .. }), "{normalized:?}");
        }
        records.len() as f64 / (cpu_seconds(std::process::id()) - before)
    };
    run();
    let mut rates: Vec<f64> = (0..3).map(|_| run()).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(1).copied().unwrap_or_default()
}

/// Writes the records to `mozdef.raw`, as the gateway does.
async fn fill(site: &Site, records: &[String]) -> anyhow::Result<()> {
    let received = Clock::System.now().millis().to_string();
    let partitions = site.log.partitions(Topic::Raw);
    for (number, chunk) in records.chunks(2_000).enumerate() {
        let partition = Some(number as u32 % partitions);
        let new = |value: &String| NewRecord {
            topic: Topic::Raw,
            partition,
            key: bytes::Bytes::new(),
            value: value.clone().into(),
            headers: Headers::new()
                .with(headers::RECEIVED, received.clone())
                .with(headers::INPUT, "http")
                .with(headers::PRINCIPAL, "anonymous")
                .with(headers::ENDPOINT, "events"),
        };
        site.log.produce(chunk.iter().map(new).collect()).await?;
    }
    Ok(())
}

async fn j2(kafka: &str) -> anyhow::Result<()> {
    let records: Vec<String> = (0..RECORDS).map(|n| cloudtrail(n, "DescribeTrails", "trail")).collect();
    let bytes = records.first().map_or(0, String::len);
    let j1 = j1(records.get(..100_000).unwrap_or(&records));
    println!("J1: {j1:.0} events/CPU s ({bytes} B, all built-ins, no log)");
    let site = Site::new(kafka, 4, "", "").await?;
    fill(&site, &records).await?;
    let (broker, started) = (broker_cpu(), Instant::now());
    let mut member = Member::spawn(&site, Role::Normalizer, "bench").await?;
    member.ready().await?;
    let at_start = cpu_seconds(member.id());
    let done = loop {
        let done = member.metric("mozdef_records_out_total", "stage=\"normalizer\"").await?;
        if done >= RECORDS as f64 {
            break done;
        }
        ensure!(started.elapsed() < Duration::from_secs(180), "{done} of {RECORDS} in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (took, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds(member.id()));
    let commits = member.metric("mozdef_commits_total", "mozdef-normalizer").await?;
    let rate = done / cpu;
    println!(
        "J2: {rate:.0} events/CPU s = {:.0} % of J1 ({done} events, {cpu:.1} CPU s of the process, {at_start:.1} of them before it was ready)",
        100.0 * rate / j1
    );
    println!(
        "    {took:.1} s with the start, {:.0} events/s; {commits} commits, {:.0} ms apart; broker {:.1} CPU s; RSS {} MB, peak {} MB",
        done / took,
        1000.0 * took / commits,
        broker_cpu() - broker,
        memory_kb(member.id(), "VmRSS") / 1024,
        memory_kb(member.id(), "VmHWM") / 1024
    );
    member.terminate().await?;
    Ok(())
}

fn noise(number: u64) -> String {
    json!({
        "timestamp": Clock::System.now().to_string(), "hostname": format!("host{}", number % 50),
        "program": "CRON", "category": "syslog", "summary": format!("(root) CMD (run-parts /etc/cron.hourly) {number}"),
        "details": {"program": "CRON", "number": number, "padding": "x".repeat(400)},
    })
    .to_string()
}

/// One request and when it was due; the name and acknowledgement of its attack, if it has one.
async fn request(site: Arc<Site>, url: String, number: u64) -> anyhow::Result<Option<(String, Timestamp)>> {
    let name = format!("trail-{number}");
    let mut lines: Vec<String> = (1..BATCH).map(|n| noise(number * BATCH + n)).collect();
    let has_attack = number.is_multiple_of(ATTACK_EVERY);
    lines.push(if has_attack { cloudtrail(number, "StopLogging", &name) } else { noise(number * BATCH) });
    let request = site.http.post(url).header("content-type", "application/x-ndjson").body(lines.join("\n"));
    let answer = request.send().await?;
    ensure!(answer.status() == 200, "{} {}", answer.status(), answer.text().await?);
    Ok(has_attack.then(|| (name, Clock::System.now())))
}

/// Sends at a steady rate, whatever the answers take.
async fn send(site: &Arc<Site>, url: &str) -> anyhow::Result<BTreeMap<String, Timestamp>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(BATCH as f64 / RATE as f64));
    let mut requests = Vec::new();
    for number in 0..RATE * SECONDS / BATCH {
        ticks.tick().await;
        requests.push(tokio::spawn(request(site.clone(), url.to_owned(), number)));
    }
    let mut acked = BTreeMap::new();
    for request in requests {
        acked.extend(request.await??);
    }
    Ok(acked)
}

/// Reads committed alerts of one partition until told to stop; gives when each was first seen.
async fn follow(site: Arc<Site>, partition: u32, until: usize) -> anyhow::Result<Vec<(String, Timestamp)>> {
    let limits = FetchLimits { records_max: 1000, bytes_max: 4 << 20 };
    let (mut next, mut seen, mut last) = (0, Vec::new(), Instant::now());
    while seen.len() < until && last.elapsed() < Duration::from_secs(20) {
        let fetched = site.log.fetch(Topic::Alerts, partition, next, limits).await?;
        let now = Clock::System.now();
        next = fetched.next;
        if fetched.records.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        last = Instant::now();
        for record in fetched.records {
            let alert: Value = serde_json::from_slice(&record.value)?;
            let summary = alert.get("summary").and_then(Value::as_str).unwrap_or_default();
            seen.push((summary.rsplit(' ').next().unwrap_or_default().to_owned(), now));
        }
    }
    Ok(seen)
}

async fn j6(kafka: &str) -> anyhow::Result<()> {
    let site = Site::new(kafka, 2, "", "").await?;
    let mut members = site.start_all(1).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let url = format!("{}/events", members.first_mut().unwrap().process().address("gateway"));
    let before: Vec<f64> = members.iter().map(|member| cpu_seconds(member.id())).collect();
    let (broker, own) = (broker_cpu(), cpu_seconds(std::process::id()));
    let partitions = site.log.partitions(Topic::Alerts);
    let followers: Vec<_> =
        (0..partitions).map(|p| tokio::spawn(follow(site.clone(), p, usize::MAX))).collect();
    let started = Instant::now();
    let acked = send(&site, &url).await?;
    let took = started.elapsed().as_secs_f64();
    let figures: Vec<(f64, u64, u64)> = members
        .iter()
        .zip(&before)
        .map(|(m, before)| {
            (cpu_seconds(m.id()) - before, memory_kb(m.id(), "VmRSS"), memory_kb(m.id(), "VmHWM"))
        })
        .collect();
    let (broker, own) = (broker_cpu() - broker, cpu_seconds(std::process::id()) - own);
    let mut seen = BTreeMap::new();
    for follower in followers {
        for (name, at) in follower.await?? {
            seen.entry(name).or_insert(at);
        }
    }
    let wait =
        |(name, acked): (&String, &Timestamp)| Some((seen.get(name)?.micros() - acked.micros()) as f64 / 1e6);
    let mut waits: Vec<f64> = acked.iter().filter_map(wait).collect();
    waits.sort_by(f64::total_cmp);
    ensure!(waits.len() == acked.len(), "{} of {} alerts were seen", waits.len(), acked.len());
    let at = |share: f64| waits.get(((waits.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "J6 step: {:.0} events/s for {took:.0} s, {} alerts: acknowledged → alert committed and read p50 {:.3} s, p99 {:.3} s, max {:.3} s",
        (RATE * SECONDS) as f64 / took,
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    for (member, (cpu, rss, peak)) in members.iter().zip(figures) {
        println!(
            "    {:<11} {cpu:>5.1} CPU s, RSS {} MB, peak {} MB",
            member.role.command(),
            rss / 1024,
            peak / 1024
        );
    }
    println!("    broker      {broker:>5.1} CPU s; load, reader and embedded index {own:.1} CPU s");
    let deadline = Instant::now() + Duration::from_secs(120);
    while site.index.count("events*").await? < RATE * SECONDS && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("    all in the index {:.1} s after the first request", started.elapsed().as_secs_f64());
    for member in members {
        member.terminate().await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Some(kafka) = needs("kafka") else { return Ok(()) };
    j2(&kafka).await?;
    j6(&kafka).await
}
