//! Runs the worker's synchronous code beside the async threads.
//!
//! In: a piece of work. Out: its result. Never: two pieces at once.
//!
//! On a runtime of one thread the work is done on the spot: nobody else would
//! run meanwhile, and a simulation must not depend on the order of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::metrics::metrics;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Worker;
use crate::log::LogError;
use crate::watchdog::STALL;

/// Holds the worker between two pieces of work.
pub(super) struct Hands {
    group: &'static str,
    worker: Option<Box<dyn Worker>>,
}

impl Hands {
    pub(super) fn new(group: &'static str, worker: Box<dyn Worker>) -> Hands {
        Hands { group, worker: Some(worker) }
    }

    /// Runs a piece of work; one that takes longer than [`STALL`] is logged and counted while it lasts.
    pub(super) async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Worker) -> R + Send + 'static,
    ) -> Result<R, LogError> {
        let gone = || LogError::Broken(format!("the worker of {} has panicked", self.group));
        let mut worker = self.worker.take().ok_or_else(gone)?;
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            // A worker that has panicked is not used again.
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut *worker))).map_err(|_| gone())?;
            self.worker = Some(worker);
            return Ok(result);
        }
        let mut task = tokio::task::spawn_blocking(move || {
            let result = work(&mut *worker);
            (worker, result)
        });
        loop {
            match tokio::time::timeout(STALL, &mut task).await {
                Ok(Ok((worker, result))) => {
                    self.worker = Some(worker);
                    return Ok(result);
                }
                Ok(Err(error)) => {
                    return Err(LogError::Broken(format!("the worker of {}: {error}", self.group)));
                }
                Err(_) => {
                    tracing::error!(
                        group = self.group,
                        seconds = STALL.as_secs(),
                        "the worker does not come back"
                    );
                    metrics().stalled.with_label_values(&[self.group]).inc();
                }
            }
        }
    }
}
