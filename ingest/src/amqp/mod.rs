//! Queues of RabbitMQ: MozDef's event task and the queues of its workers, and any other.
//!
//! In: messages of AMQP 0-9-1, plain or by TLS. Out: raw records; a message is acknowledged when the log has them, never
//! before. Never: a message put back into the queue by us, or held beyond the bounds: what can be no event goes to
//! `mozdef.dead`. When the connection, the channel or the queue goes, all is made anew after a pause.

mod connect;
mod link;
mod message;
mod publish;
mod take;
mod topology;

use std::collections::BTreeMap;
use std::time::Duration;

use model::config::AmqpConfig;
use model::metrics::metrics;
use stream::log::LogError;
use stream::shutdown::Shutdown;
use tokio::task::JoinSet;

pub use connect::ConnectError;
pub use publish::{PublishError, Publisher};

use crate::backoff::Backoff;
use crate::intake::Intake;
use crate::tasks;
use take::TakeError;

/// Name of the input.
const AMQP: &str = model::headers::INPUT_AMQP;
/// First and longest pause before the next connection.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Why the bridge cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// A file or variable of an entry is of no use.
    #[error("ingest.amqp.{name}: {source}")]
    Configuration {
        /// The entry.
        name: String,
        /// Why.
        source: Box<ConnectError>,
    },
    /// The log takes nothing more.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Checks what [`run`] would refuse to start with.
///
/// # Errors
/// The first entry whose files or variables are not there.
pub fn check(config: &BTreeMap<String, AmqpConfig>) -> Result<(), AmqpError> {
    config.iter().try_for_each(|(name, entry)| {
        let refused = |source| AmqpError::Configuration { name: name.clone(), source: Box::new(source) };
        connect::check(entry).map_err(refused)
    })
}

/// Takes from all queues until shutdown.
///
/// # Errors
/// [`AmqpError::Log`] when the log is broken; brokers that are away are waited for.
pub async fn run(
    config: BTreeMap<String, AmqpConfig>,
    intake: Intake,
    shutdown: Shutdown,
) -> Result<(), AmqpError> {
    check(&config)?;
    let mut queues = JoinSet::new();
    for (name, entry) in config {
        queues.spawn(queue(name, entry, intake.clone(), shutdown.clone()));
    }
    tasks::all(queues).await
}

/// One queue, over all its connections.
async fn queue(
    name: String,
    config: AmqpConfig,
    intake: Intake,
    mut shutdown: Shutdown,
) -> Result<(), AmqpError> {
    let up = metrics().input_up.with_label_values(&[AMQP, name.as_str()]);
    up.set(0);
    let mut backoff = Backoff::up_to(PAUSE_MAX);
    for server in config.servers.iter().cycle() {
        let outcome = take::session(&name, &config, server, &intake, &mut shutdown).await;
        up.set(0);
        match outcome {
            Ok(()) => return Ok(()),
            Err(TakeError::Log(error)) => return Err(error.into()),
            Err(error) => {
                metrics().input_failures.with_label_values(&[AMQP, error.kind()]).inc();
                tracing::warn!(input = AMQP, source = name, server, %error, "no messages for now; connecting again");
                // It had worked until then.
                if let TakeError::Lost(_) | TakeError::Cancelled { .. } = error {
                    backoff.reset();
                }
            }
        }
        if backoff.wait(None, &mut shutdown).await.is_stopped() {
            return Ok(());
        }
    }
    Ok(())
}
