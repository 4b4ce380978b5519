//! `mozdef send`: files of log lines to a gateway, a queue, a topic or a syslog listener, and back only when they are safe.
//!
//! In: files (plain, `.gz`, `.zst`) or standard input. Out: requests of up to
//! 500 events, several under way at once, each repeated under one
//! `Idempotency-Key` until it is answered. Never: an event sent twice under two ids.

mod kafka;
mod post;
mod read;
mod syslog;
mod target;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use model::time::Clock;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::arguments::Send;
use crate::configuration::Loaded;
use crate::output;

pub(crate) use post::{Posted, Poster};
pub(crate) use read::{Batch, Kind};
use target::Target;

/// Requests under way at once.
const IN_FLIGHT_MAX: usize = 4;

/// What became of all files.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Events or lines sent.
    pub sent: u64,
    /// Of them, in the log.
    pub accepted: u64,
    /// Of them, refused: `file:line: reason`, the first ones.
    pub refused: Vec<String>,
    /// How many were refused.
    pub refused_count: u64,
}

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Send) -> anyhow::Result<ExitCode> {
    let to = options.to.clone().unwrap_or_else(|| format!("http://{}", loaded.config.ingest.http.listen));
    let target = Arc::new(Target::new(&to, loaded.config.log.kafka.as_ref(), options.backfill).await?);
    let bar = progress_bar();
    let started = Instant::now();
    let summary = send_all(&options, &target, &bar).await;
    bar.finish_and_clear();
    let summary = summary?;
    target.close().await?;
    report(&summary, started, options.json);
    Ok(if summary.refused_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn send_all(options: &Send, target: &Arc<Target>, bar: &ProgressBar) -> anyhow::Result<Summary> {
    let (sender, mut batches) = mpsc::channel::<Batch>(IN_FLIGHT_MAX);
    let reader = {
        let settings = read::Settings {
            files: options.files.clone(),
            format: options.format,
            move_to: options.move_to_now.then(|| Clock::System.now()),
        };
        bar.set_length(read::total_bytes(&settings.files));
        tokio::task::spawn_blocking(move || {
            read::read_all(&settings, &|batch| sender.blocking_send(batch).is_ok())
        })
    };
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut under_way = JoinSet::new();
    let mut summary = Summary::default();
    while let Some(batch) = batches.recv().await {
        let place = places.clone().acquire_owned().await.context("the sender was closed")?;
        let target = target.clone();
        under_way.spawn(async move {
            let result = target.post(&batch).await;
            drop(place);
            (batch, result)
        });
        while let Some(done) = under_way.try_join_next() {
            let (batch, posted) = done?;
            summary.add(&batch, posted?, bar);
        }
    }
    while let Some(done) = under_way.join_next().await {
        let (batch, posted) = done?;
        summary.add(&batch, posted?, bar);
    }
    reader.await??;
    Ok(summary)
}

impl Summary {
    fn add(&mut self, batch: &Batch, posted: Posted, bar: &ProgressBar) {
        const SHOWN_MAX: usize = 20;
        self.sent += batch.count;
        self.accepted += posted.accepted;
        self.refused_count += batch.count.saturating_sub(posted.accepted);
        for (line, reason) in posted.errors {
            if self.refused.len() < SHOWN_MAX {
                self.refused.push(format!(
                    "{}:{}: {reason}",
                    batch.file,
                    batch.first_line + line.saturating_sub(1)
                ));
            }
        }
        bar.set_position(batch.read_to);
        bar.set_message(format!("{} events", self.accepted));
    }
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

fn report(summary: &Summary, started: Instant, as_json: bool) {
    let seconds = started.elapsed().as_secs_f64();
    if as_json {
        output::json(&json!({
            "sent": summary.sent, "accepted": summary.accepted, "refused": summary.refused_count,
            "errors": summary.refused, "seconds": seconds,
        }));
        return;
    }
    for line in &summary.refused {
        output::line(&output::printable(line));
    }
    let rate = if seconds > 0.0 { summary.accepted as f64 / seconds } else { 0.0 };
    output::line(&format!(
        "{} accepted, {} refused, in {seconds:.1} s ({rate:.0} events/s)",
        output::counted(summary.accepted as usize, "event"),
        summary.refused_count
    ));
}
