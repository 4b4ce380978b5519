//! Events and alerts to the index, and back by search.
//!
//! In: `mozdef.events`, `mozdef.alerts`. Out: documents in daily and monthly
//! indices of OpenSearch, or of the embedded index: the same client speaks to
//! both. Never: two documents for one event, whatever is sent twice; never a
//! document dropped because the index is away.

#![forbid(unsafe_code)]

mod backoff;
mod bulk;
mod deliveries;
mod document;
#[cfg(test)]
mod fake_index;
mod health;
pub mod index;
mod indices;
pub mod search;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use model::config::SinkConfig;
use model::metrics::Stage;
use model::topic::Topic;
use stream::delivery::{Delivery, DeliveryOptions};

use self::backoff::Backoff;
use self::bulk::{Bulk, Midnight};
use self::deliveries::{AlertDelivery, EventDelivery};
use self::health::Health;
use self::index::{Index, IndexError};
use self::indices::Indices;

/// Environment variable with the password of `sink.user`.
pub const PASSWORD_VARIABLE: &str = "MOZDEF_OPENSEARCH_PASSWORD";

/// Longest time that [`start`] waits for the index.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that the sink is made of.
pub struct Parts {
    /// What to run with [`stream::delivery::run_delivery`], by name.
    pub deliveries: Vec<(&'static str, DeliveryOptions, Arc<dyn Delivery>)>,
    /// Events and alerts in the index.
    pub search: search::Searcher,
    /// Whether documents get in.
    pub readiness: Readiness,
}

/// Tells whether documents get into the index. Cheap to clone.
#[derive(Clone)]
pub struct Readiness(Vec<(&'static str, Arc<Health>)>);

impl Readiness {
    /// `Ok`, or which sink cannot write and why.
    pub fn get(&self) -> Result<(), String> {
        let troubled =
            self.0.iter().find_map(|(sink, health)| health.why().map(|why| format!("{sink}: {why}")));
        troubled.map_or(Ok(()), Err)
    }
}

/// Connects the sinks to the index at `url`. The password comes from [`PASSWORD_VARIABLE`].
///
/// An index that is away is no error: the deliveries wait for it, say so, and prepare it when it is there.
///
/// # Errors
/// [`IndexError::Address`] where `url` is no address.
pub async fn start(config: &SinkConfig, url: &str) -> Result<Parts, IndexError> {
    let password = std::env::var(PASSWORD_VARIABLE).ok();
    let index = Index::new(url, config.user.as_deref(), password.as_deref())?;
    // Two instances must not wait in step; which one waits how long is all the same.
    Ok(start_over(config, index, u64::from(std::process::id())).await)
}

/// The same over an index that is there already; waits are by this seed.
pub async fn start_over(config: &SinkConfig, index: Index, seed: u64) -> Parts {
    let indices = Arc::new(Indices::new(index.clone(), config.clone()));
    match tokio::time::timeout(START_TIMEOUT, indices.prepare_templates()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the index is not ready yet; events wait in the log for it"),
        Err(_) => {
            let url = index.url();
            tracing::warn!(url, "the index does not answer yet; events wait in the log for it");
        }
    }
    let bulk = |sink, seed| {
        let health = Arc::new(Health::default());
        Bulk {
            sink,
            index: index.clone(),
            indices: indices.clone(),
            backoff: Backoff::new(seed),
            health,
            documents_max: config.bulk_documents_max,
            bytes_max: config.bulk_bytes_max,
            midnight: Midnight::default(),
        }
    };
    let events = bulk("event sink", seed);
    let alerts = bulk("alert sink", seed.rotate_left(32));
    let readiness =
        Readiness(vec![("event sink", events.health.clone()), ("alert sink", alerts.health.clone())]);
    Parts {
        deliveries: vec![
            (
                "event sink",
                options(config, "mozdef-event-sink", Stage::EventSink, Topic::Events),
                Arc::new(EventDelivery(events)),
            ),
            (
                "alert sink",
                options(config, "mozdef-alert-sink", Stage::AlertSink, Topic::Alerts),
                Arc::new(AlertDelivery(alerts)),
            ),
        ],
        search: search::Searcher::new(index),
        readiness,
    }
}

fn options(config: &SinkConfig, group: &'static str, stage: Stage, input: Topic) -> DeliveryOptions {
    DeliveryOptions {
        group,
        stage,
        input,
        batch_records_max: config.bulk_documents_max,
        batch_bytes_max: config.bulk_bytes_max,
        batch_wait_ms: config.bulk_wait_ms,
        in_flight_max: config.bulk_in_flight_max,
        health: stream::health::Health::default(),
    }
}
