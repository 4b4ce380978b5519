//! One signal that tells every loop to drain and end.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// Tells all holders of [`Shutdown`] to end. Dropping it does so too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Hears the signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Longest time from the signal to a loop's end, whatever it waits for: brokers that are away, an index that hangs.
pub(crate) const LAST: Duration = Duration::from_secs(8);

/// A trigger and what it triggers.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Gives the signal.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the signal was given.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Runs a loop that drains by itself after the signal; if it has not ended [`LAST`] after it, it is dropped.
    pub(crate) async fn bound<T>(mut self, run: impl Future<Output = T>) -> Option<T> {
        let late = async {
            self.wait().await;
            sleep(LAST).await;
        };
        tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = late => None,
        }
    }

    /// Waits for the signal.
    pub async fn wait(&mut self) {
        // An error means that the trigger was dropped, which is the signal too.
        if self.0.wait_for(|set| *set).await.is_err() {}
    }
}
