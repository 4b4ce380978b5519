//! `mozdef demo`: start on a fresh folder, play the sample attacks, show what happens.
//!
//! In: the samples in the binary. Out: live counts and alerts, then addresses
//! and commands to try; with `--check` the numbers are checked and it ends.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use model::config::Config;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use serde_json::Value;

use crate::arguments::Demo;
use crate::commands::alerts::headline;
use crate::commands::send::{Batch, Kind, Poster};
use crate::configuration::Loaded;
use crate::process::Process;
use crate::questions::{Failure, Question};
use crate::{logging, output, samples};

/// A sample file in the binary.
struct Sample {
    name: &'static str,
    kind: Kind,
    text: &'static str,
}

/// The samples, in the order in which they are played.
const SAMPLES: [Sample; 4] = [
    Sample { name: "noise.log", kind: Kind::Syslog, text: include_str!("../../../samples/noise.log") },
    Sample {
        name: "ssh-brute-force.log",
        kind: Kind::Syslog,
        text: include_str!("../../../samples/ssh-brute-force.log"),
    },
    Sample {
        name: "port-scan.jsonl",
        kind: Kind::Json,
        text: include_str!("../../../samples/port-scan.jsonl"),
    },
    Sample {
        name: "aws-trail-off.jsonl",
        kind: Kind::Json,
        text: include_str!("../../../samples/aws-trail-off.jsonl"),
    },
];

/// What the alerts for the samples must speak of.
const EXPECTED_ALERTS: [(&str, &str); 4] = [
    ("SSH brute force from 203.0.113.45", "42 ssh bruteforce attempts by 203.0.113.45"),
    ("sudo failures of deploy", "sudo"),
    ("port scan by 10.2.0.66", "10.2.0.66"),
    ("CloudTrail switched off", "company-trail"),
];

/// Longest wait for the samples to come through.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Demo) -> anyhow::Result<ExitCode> {
    logging::start("warn", false);
    let (mut config, folder) = fresh(loaded.config, options.data.clone())?;
    // The demo's addresses are free ones where the usual are taken, so that it never fails for that.
    free_ports(&mut config).await;
    // Nobody wants to wait five seconds to see an alert grow.
    config.correlate.revise_ms = config.correlate.revise_ms.min(500);
    output::line(&format!("starting on {}", config.log.data.display()));
    let started = Instant::now();
    let mut running = Process::whole(&config, Clock::System).await?;
    running.start().await?;
    running.until_ready().await;
    output::line(&format!("ready after {:.1} s", started.elapsed().as_secs_f64()));

    let seen = play(&running).await?;
    let checked = check(&running, &seen).await;
    addresses(&running)?;
    let result = if options.check {
        running.wait(async {}).await.and(checked)
    } else {
        if let Err(error) = &checked {
            output::line(&format!("note: {error:#}"));
        }
        output::line("\nCtrl-C ends it.");
        running.wait(async { if tokio::signal::ctrl_c().await.is_err() {} }).await
    };
    drop(folder);
    result.map(|()| ExitCode::SUCCESS)
}

/// A configuration on a fresh folder, which goes away with the returned value unless the user named it.
fn fresh(mut config: Config, data: Option<PathBuf>) -> anyhow::Result<(Config, Option<tempfile::TempDir>)> {
    // Nothing of it goes to servers that others use.
    config.log.kafka = None;
    config.sink.url = None;
    let Some(data) = data else {
        let folder = tempfile::Builder::new().prefix("mozdef-demo-").tempdir()?;
        folder.path().clone_into(&mut config.log.data);
        return Ok((config, Some(folder)));
    };
    if std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty; the demo wants a fresh folder", data.display());
    }
    config.log.data = data;
    Ok((config, None))
}

async fn free_ports(config: &mut Config) {
    for address in [&mut config.ingest.http.listen, &mut config.embedded.listen, &mut config.admin.listen] {
        if tokio::net::TcpListener::bind(*address).await.is_err() {
            *address = SocketAddr::from(([127, 0, 0, 1], 0));
        }
    }
}

/// Sends the samples while counts and alerts are shown; returns the alerts.
async fn play(running: &Process) -> anyhow::Result<Vec<Value>> {
    let poster = Poster::new(&gateway(running)?, false)?;
    let now = Clock::System.now();
    let mut sent = 0;
    for sample in SAMPLES {
        let text = samples::move_to_now(sample.text, now);
        let count = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
        let batch = Batch {
            kind: sample.kind,
            body: Bytes::from(text),
            count,
            file: sample.name.to_owned(),
            first_line: 1,
            read_to: 0,
        };
        let posted = poster.post(&batch).await.with_context(|| format!("cannot send {}", sample.name))?;
        output::line(&format!("sent {:20} {:>4} events", sample.name, posted.accepted));
        sent += posted.accepted;
    }
    watch(running, sent).await
}

/// Shows counts and alerts until all is quiet.
async fn watch(running: &Process, sent: u64) -> anyhow::Result<Vec<Value>> {
    let started = Instant::now();
    let mut cursor = "start".to_owned();
    let mut alerts: Vec<Value> = Vec::new();
    loop {
        let question = Question::AlertsAfter { after: cursor.clone() };
        let news = running.sources.answer(&question);
        if let Ok(news) = tokio::time::timeout(Duration::from_millis(300), news).await {
            let news = news.map_err(failed)?;
            if let Some(next) = news.get("cursor").and_then(Value::as_str) {
                next.clone_into(&mut cursor);
            }
            for alert in news.get("alerts").and_then(Value::as_array).into_iter().flatten() {
                clear_status();
                output::line(&format!("ALERT  {}", headline(alert)));
                alerts.push(alert.clone());
            }
        }
        let (counts, settled) = progress(sent);
        show_status(&counts);
        let all_alerts =
            EXPECTED_ALERTS.iter().all(|(_, words)| alerts.iter().any(|alert| speaks_of(alert, words)));
        if settled && all_alerts || started.elapsed() > PATIENCE {
            clear_status();
            output::line(&counts);
            return Ok(alerts);
        }
    }
}

/// Counts on one line, and whether every event has come to its end.
fn progress(sent: u64) -> (String, bool) {
    let (_, _, _, gateway_dead) = metrics().totals(Stage::Gateway);
    let (_, normalised, dropped, dead) = metrics().totals(Stage::Normalizer);
    let (_, indexed, _, refused) = metrics().totals(Stage::EventSink);
    let (_, alerts, _, _) = metrics().totals(Stage::AlertSink);
    let all_dead = gateway_dead + dead + refused;
    let text = format!(
        "events in {sent}, normalised {normalised}, indexed {indexed}, dead {all_dead}, alert revisions {alerts}"
    );
    (text, indexed + dropped + dead + refused >= sent)
}

fn show_status(text: &str) {
    if std::io::stdout().is_terminal() {
        let mut out = std::io::stdout().lock();
        // A status line that cannot be written is no reason to stop.
        if write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush()).is_err() {}
    }
}

fn clear_status() {
    if std::io::stdout().is_terminal() {
        let mut out = std::io::stdout().lock();
        if write!(out, "\r\x1b[2K").and_then(|()| out.flush()).is_err() {}
    }
}

fn speaks_of(alert: &Value, words: &str) -> bool {
    alert.get("summary").and_then(Value::as_str).is_some_and(|summary| summary.contains(words))
}

/// Every event is searchable or dead, and the expected alerts are there.
async fn check(running: &Process, alerts: &[Value]) -> anyhow::Result<()> {
    let sent: u64 =
        SAMPLES.iter().map(|s| s.text.lines().filter(|line| !line.trim().is_empty()).count() as u64).sum();
    let deadline = Instant::now() + Duration::from_secs(10);
    let everything = Question::Events { query: "*".to_owned(), from: None, to: None, size: 0 };
    let found = loop {
        let found = running.sources.answer(&everything).await.map_err(failed)?;
        let found = found.get("total").and_then(Value::as_u64).unwrap_or(0);
        if found >= sent || Instant::now() > deadline {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    if found != sent {
        bail!("{sent} events were sent, but {found} are in the index");
    }
    let missing: Vec<&str> = EXPECTED_ALERTS
        .iter()
        .filter(|(_, words)| !alerts.iter().any(|alert| speaks_of(alert, words)))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        bail!("no alert was raised for: {}", missing.join(", "));
    }
    output::line(&format!(
        "checked: {sent} of {sent} events are searchable, and every attack raised its alert"
    ));
    Ok(())
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{}", failure.into_text())
}

fn gateway(running: &Process) -> anyhow::Result<String> {
    let address = running.gateway.context("no gateway runs")?;
    Ok(format!("http://{address}"))
}

fn addresses(running: &Process) -> anyhow::Result<()> {
    let gateway = gateway(running)?;
    let index = running.index.as_deref().context("no index runs")?;
    output::line(&format!("\ngateway  {gateway}/events   takes events"));
    output::line(&format!("index    {index}          answers as OpenSearch does"));
    output::line(&format!("admin    http://{}/metrics  for Prometheus", running.admin));
    output::line("\nTry in another terminal:");
    for command in [
        "mozdef alerts".to_owned(),
        "mozdef search 'details.sourceipaddress:203.0.113.45'".to_owned(),
        format!(
            "curl -d '{{\"summary\":\"hello\",\"category\":\"test\",\"hostname\":\"me\"}}' {gateway}/events"
        ),
        "mozdef send /var/log/auth.log".to_owned(),
    ] {
        output::line(&format!("  {command}"));
    }
    Ok(())
}
