//! `mozdef plugin bench`: what a plugin costs for each event.

use std::process::ExitCode;

use anyhow::{Context, bail};
use model::config::{Config, PluginsConfig};
use plugins::Instance;
use plugins::contract::Item;
use serde_json::{Value, json};

use super::arguments::Bench;
use super::load;
use crate::output;

/// CPU time of each measurement, in nanoseconds.
const MEASURE_NS: u64 = 1_000_000_000;
/// Most events that are read.
const EVENTS_MAX: usize = 10_000;

/// A login as it is after key mapping.
const SAMPLE: &str = concat!(
    r#"{"receivedtimestamp":"2026-11-24T12:00:00.123000+00:00","utctimestamp":"2026-11-24T11:59:58+00:00","#,
    r#""timestamp":"2026-11-24T11:59:58+00:00","mozdefhostname":"mozdef1.example.net","category":"syslog","#,
    r#""hostname":"bastion.example.net","processid":"1291","processname":"sshd","severity":"INFO","source":"auth","#,
    r#""summary":"Failed password for invalid user admin from 198.51.100.7 port 42532 ssh2","tags":["auth","linux"],"#,
    r#""type":"event","details":{"program":"sshd","facility":"authpriv","site":"ber1","role":"bastion","#,
    r#""kernel":"6.1.0-26-amd64","sourceipaddress":"198.51.100.7","sourceport":42532,"username":"admin"}}"#
);

/// Runs the command.
pub(super) fn run(config: &Config, options: &Bench) -> anyhow::Result<ExitCode> {
    // Here it may take its time.
    let config = PluginsConfig { deadline_ms: 60_000, batch_max: 1024, ..config.normalize.plugins.clone() };
    let plugin = load(&PluginsConfig { limits: Default::default(), ..config }, &options.file)?;
    let documents = documents(options)?;
    let mut rows = Vec::new();
    for batch in &options.batch {
        let size = usize::try_from(*batch)?;
        let items: Vec<Item<'_>> =
            documents.iter().cycle().take(size).map(|document| item(document)).collect();
        let mut instance = Instance::new(plugin.clone());
        measure(&mut instance, &items, MEASURE_NS / 10)?;
        let rate = measure(&mut instance, &items, MEASURE_NS)?;
        rows.push((*batch, rate, instance.memory_bytes()));
    }
    let bytes = documents.iter().map(String::len).sum::<usize>() / documents.len().max(1);
    if options.json {
        let rows = rows.iter().map(|(batch, rate, memory)| {
            json!({"batch": batch, "events_per_cpu_second": rate, "microseconds": 1e6 / rate, "memory_bytes": memory})
        });
        output::json(&Value::Array(rows.collect()));
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("{} on events of {bytes} bytes", options.file.display()));
    let rows = rows.iter().map(|(batch, rate, memory)| {
        vec![
            batch.to_string(),
            format!("{rate:.0}"),
            format!("{:.2}", 1e6 / rate),
            format!("{:.1}", *memory as f64 / 1e6),
        ]
    });
    output::line(&output::table(&["BATCH", "EVENTS/CPU S", "µS/EVENT", "MB"], rows.collect()));
    Ok(ExitCode::SUCCESS)
}

fn item(document: &str) -> Item<'_> {
    Item { document, received_ms: 1_700_000_000_000, index: None, id: None }
}

fn documents(options: &Bench) -> anyhow::Result<Vec<String>> {
    let Some(file) = &options.events else { return Ok(vec![SAMPLE.to_owned()]) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut documents = Vec::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()).take(EVENTS_MAX) {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("{} line {number}", file.display()))?;
        // A case, or an event.
        documents.push(value.get("input").unwrap_or(&value).to_string());
    }
    if documents.is_empty() {
        bail!("{} has no events", file.display());
    }
    Ok(documents)
}

/// Events per second of CPU time.
fn measure(instance: &mut Instance, items: &[Item<'_>], for_ns: u64) -> anyhow::Result<f64> {
    let start = cpu_ns()?;
    let mut events = 0_u64;
    loop {
        for answer in instance.process(items) {
            answer.map_err(|failure| anyhow::anyhow!("it failed: {failure}"))?;
            events = events.saturating_add(1);
        }
        let passed = cpu_ns()?.saturating_sub(start);
        if passed >= for_ns {
            return Ok(events as f64 * 1e9 / passed as f64);
        }
    }
}

/// Nanoseconds that this thread has spent on a core.
fn cpu_ns() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .context("CPU time is counted on Linux alone")?;
    text.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .context("/proc/thread-self/schedstat has another form")
}
