//! What a plugin may use, and what a running instance has used.
//!
//! In: the configuration. Out: numbers, and a guard that wasmtime asks before memory grows.
//! Never: a limit that is only looked at afterwards.

use std::time::Duration;

use model::config::{OnPluginError, PluginsConfig};
use wasmtime::ResourceLimiter;

/// Table elements of one instance: a component of Python has about ten thousand.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// What one plugin may use, and what follows when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest that one call may take, for its whole batch.
    pub deadline: Duration,
    /// Linear memory of an instance, all of its memories together, in bytes.
    pub memory_bytes: usize,
    /// What one call may hand back, and what one log line or key may hold, in bytes.
    pub output_bytes: usize,
    /// Most events in one call.
    pub batch_max: usize,
    /// Failures within [`Limits::failures_window`] that quarantine it.
    pub failures_max: usize,
    /// See [`Limits::failures_max`].
    pub failures_window: Duration,
    /// What becomes of an event on which it failed.
    pub on_error: OnPluginError,
}

impl Limits {
    /// Those of the plugin of this name.
    pub fn of(config: &PluginsConfig, name: &str) -> Limits {
        let own = config.limits.get(name).cloned().unwrap_or_default();
        let mebibytes = own.memory_mib.unwrap_or(config.memory_mib);
        Limits {
            deadline: Duration::from_millis(own.deadline_ms.unwrap_or(config.deadline_ms)),
            memory_bytes: usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(1 << 20),
            output_bytes: config.output_bytes_max,
            batch_max: own.batch_max.unwrap_or(config.batch_max),
            failures_max: config.failures_max,
            failures_window: Duration::from_secs(config.failures_window_s),
            on_error: own.on_error.unwrap_or(config.on_error),
        }
    }
}

/// Counts the memory of an instance; wasmtime asks it before anything grows.
#[derive(Debug)]
pub(crate) struct Guard {
    bytes: usize,
    bytes_max: usize,
    /// Whether it has said no.
    pub(crate) refused: bool,
}

impl Guard {
    pub(crate) fn new(bytes_max: usize) -> Guard {
        Guard { bytes: 0, bytes_max, refused: false }
    }

    /// Linear memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.bytes.saturating_add(desired.saturating_sub(current));
        if grown > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = grown;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
