//! Queues of Amazon SQS: events themselves, notifications of SNS, findings of GuardDuty, and objects of S3 that
//! notifications name: CloudTrail's trails, or JSON lines.
//!
//! In: messages, by long polling. Out: raw records; a message is deleted when the log has all of its events, never before.
//! Never: a message that others get while it is worked on; one that stands in the way of the next: what can be no event
//! goes to `mozdef.dead`, and what cannot be had yet stays in the queue for a while.

mod clients;
mod decoder;
mod message;
mod notification;
mod object;
mod publish;
mod receive;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::error::DisplayErrorContext;
use bytes::Bytes;
use model::config::SqsConfig;
use model::event::Limits;
use model::metrics::metrics;
use stream::log::LogError;
use stream::shutdown::Shutdown;
use tokio::task::JoinSet;

pub use publish::{SendError, Sender};

use crate::backoff::Backoff;
use crate::intake::Intake;
use crate::tasks;
use message::Reader;
use receive::{Queue, ReceiveError};

/// Name of the input.
const SQS: &str = model::headers::INPUT_SQS;
/// Longest pause before SQS is asked again.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Why the bridge cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    /// The log takes nothing more.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Takes from all queues until shutdown.
///
/// # Errors
/// [`SqsError::Log`] when the log is broken; SQS and S3 are waited for.
pub async fn run(
    config: BTreeMap<String, SqsConfig>,
    intake: Intake,
    shutdown: Shutdown,
) -> Result<(), SqsError> {
    let mut receivers = JoinSet::new();
    for (name, entry) in config {
        receivers.spawn(entry_receivers(name, entry, intake.clone(), shutdown.clone()));
    }
    tasks::all(receivers).await
}

/// The receivers of one queue.
async fn entry_receivers(
    name: String,
    config: SqsConfig,
    intake: Intake,
    mut shutdown: Shutdown,
) -> Result<(), SqsError> {
    metrics().input_up.with_label_values(&[SQS, name.as_str()]).set(0);
    let sqs = clients::sqs(&config).await;
    let Some(url) = url(&name, &config, &sqs, &mut shutdown).await else { return Ok(()) };
    tracing::info!(input = SQS, source = name, queue = url, "taking messages");
    let host = url.split('/').nth(2).unwrap_or_default();
    let reader = Reader {
        takes: config.takes,
        principal: Bytes::copy_from_slice(config.principal().as_bytes()),
        queue: Bytes::copy_from_slice(config.queue_name().as_bytes()),
        peer: Bytes::copy_from_slice(host.as_bytes()),
        limits: Limits::from(config.event),
    };
    let s3 = clients::s3(&config).await;
    let count = config.receivers;
    let queue = Arc::new(Queue { name, config, url, sqs, s3, reader, intake });
    let mut receivers = JoinSet::new();
    for _ in 0..count {
        receivers.spawn(receiver(queue.clone(), shutdown.clone()));
    }
    tasks::all(receivers).await
}

async fn receiver(queue: Arc<Queue>, mut shutdown: Shutdown) -> Result<(), SqsError> {
    let mut backoff = Backoff::up_to(PAUSE_MAX);
    loop {
        let started = tokio::time::Instant::now();
        match queue.receive(&mut shutdown).await {
            Ok(()) => return Ok(()),
            Err(ReceiveError::Log(error)) => return Err(error.into()),
            Err(error) => troubled(&queue.name, &error),
        }
        if started.elapsed() > PAUSE_MAX {
            backoff.reset();
        }
        if backoff.wait(None, &mut shutdown).await.is_stopped() {
            return Ok(());
        }
    }
}

/// The queue's URL, asked for until it is known; `None` on shutdown.
async fn url(
    name: &str,
    config: &SqsConfig,
    sqs: &aws_sdk_sqs::Client,
    shutdown: &mut Shutdown,
) -> Option<String> {
    if config.queue.contains("://") {
        return Some(config.queue.clone());
    }
    let mut backoff = Backoff::up_to(PAUSE_MAX);
    loop {
        let asking = sqs.get_queue_url().queue_name(&config.queue).send();
        let answer = tokio::select! {
            biased;
            () = shutdown.wait() => return None,
            answer = asking => answer,
        };
        let cause = match answer {
            Ok(answer) if answer.queue_url.is_some() => return answer.queue_url,
            Ok(_) => "SQS names no URL of it".to_owned(),
            Err(error) => DisplayErrorContext(&error).to_string(),
        };
        troubled(name, &ReceiveError::Queue { queue: config.queue.clone(), cause });
        if backoff.wait(None, shutdown).await.is_stopped() {
            return None;
        }
    }
}

fn troubled(name: &str, error: &ReceiveError) {
    metrics().input_up.with_label_values(&[SQS, name]).set(0);
    metrics().input_failures.with_label_values(&[SQS, "receive"]).inc();
    tracing::warn!(input = SQS, source = name, %error, "no messages for now; asking again");
}
