//! Waits between attempts: short at first, longer each time, and over at shutdown.
//!
//! In: attempts that failed. Out: waits. Never: a wait that shutdown does not end.

use std::time::Duration;

use stream::shutdown::Shutdown;

/// First wait.
const FIRST: Duration = Duration::from_millis(200);

/// How the next wait will be.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    /// Up to a minute.
    fn default() -> Backoff {
        Backoff::up_to(Duration::from_secs(60))
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It is time.
    Over,
    /// By shutdown.
    Stopped,
}

impl Waited {
    pub(crate) fn is_stopped(self) -> bool {
        self == Waited::Stopped
    }
}

impl Backoff {
    /// Waits that double up to this one.
    pub(crate) fn up_to(longest: Duration) -> Backoff {
        Backoff { next: FIRST, longest }
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits, at least as long as was asked for (no longer than the longest).
    pub(crate) async fn wait(&mut self, asked: Option<Duration>, shutdown: &mut Shutdown) -> Waited {
        pause(self.next(asked), shutdown).await
    }

    fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = asked.unwrap_or_default().max(self.next).min(self.longest);
        self.next = self.next.saturating_mul(2).min(self.longest);
        wait
    }
}

/// Waits so long, or until shutdown.
pub(crate) async fn pause(wait: Duration, shutdown: &mut Shutdown) -> Waited {
    tokio::select! {
        biased;
        () = shutdown.wait() => Waited::Stopped,
        () = tokio::time::sleep(wait) => Waited::Over,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_grow_up_to_a_bound_and_are_at_least_what_was_asked_for() {
        let mut backoff = Backoff::default();
        let asked = [None, None, Some(Duration::from_secs(7)), Some(Duration::from_secs(3600)), None];
        let waits = asked.map(|asked| backoff.next(asked).as_millis());
        assert_eq!(waits, [200, 400, 7000, 60_000, 3200]);
        assert_eq!((0..9).map(|_| backoff.next(None).as_secs()).max(), Some(60));
        backoff.reset();
        assert_eq!(backoff.next(None).as_millis(), 200);
    }

    #[tokio::test]
    async fn shutdown_ends_a_wait() {
        let (trigger, mut shutdown) = stream::shutdown::channel();
        trigger.fire();
        let mut backoff = Backoff::default();
        assert!(backoff.wait(Some(Duration::from_secs(3600)), &mut shutdown).await.is_stopped());
    }
}
