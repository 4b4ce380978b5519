//! Whether the sink gets its documents into the index, and why not.
//!
//! In: what each round met. Out: a word for readiness, log lines. Never: a
//! line for each attempt: one when trouble begins, one in thirty seconds, one when it is over.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two lines about the same trouble.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// State of one sink.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<Trouble>>);

#[derive(Debug)]
struct Trouble {
    why: String,
    since: Instant,
    told: Instant,
}

impl Health {
    /// Something does not go.
    pub(crate) fn trouble(&self, sink: &str, why: &str, paused: bool) {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = state.as_ref().is_none_or(|trouble| now.duration_since(trouble.told) >= REMIND_EVERY);
        let (since, told) = state.as_ref().map_or((now, now), |trouble| (trouble.since, trouble.told));
        *state = Some(Trouble { why: why.to_owned(), since, told: if tell { now } else { told } });
        if tell && paused {
            tracing::error!(
                sink,
                why,
                seconds = now.duration_since(since).as_secs(),
                "the index refuses writes; paused, nothing is dropped"
            );
        } else if tell {
            tracing::warn!(
                sink,
                why,
                seconds = now.duration_since(since).as_secs(),
                "the index does not take documents now; trying on"
            );
        }
    }

    /// Documents got in.
    pub(crate) fn good(&self, sink: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trouble) = state.take() {
            tracing::info!(
                sink,
                seconds = trouble.since.elapsed().as_secs(),
                "the index takes documents again"
            );
        }
    }

    /// Why nothing goes, if so.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|trouble| trouble.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn trouble_stands_until_it_is_over() {
        let health = Health::default();
        assert_eq!(health.why(), None);
        health.trouble("s", "first", false);
        health.trouble("s", "second", true);
        assert_eq!(health.why().as_deref(), Some("second"));
        health.good("s");
        assert_eq!(health.why(), None);
    }
}
