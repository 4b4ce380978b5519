//! Whether a plugin is still trusted with events.
//!
//! In: failures and their times. Out: good, suspect, quarantined. Never: a way back; a quarantined version stays so
//! until somebody puts another in its place.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How a plugin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No failure within the window.
    Good,
    /// So many failures within the window.
    Suspect {
        /// How many.
        failures: usize,
    },
    /// It is not asked any more.
    Quarantined,
}

/// The failures of one version of a plugin.
#[derive(Debug)]
pub(crate) struct Health {
    failures: VecDeque<Instant>,
    failures_max: usize,
    window: Duration,
    quarantined: bool,
}

impl Health {
    pub(crate) fn new(failures_max: usize, window: Duration) -> Health {
        Health { failures: VecDeque::new(), failures_max: failures_max.max(1), window, quarantined: false }
    }

    /// Takes note of a failure; true when it is the one that quarantines.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        if self.quarantined {
            return false;
        }
        while self.failures.front().is_some_and(|at| now.saturating_duration_since(*at) > self.window) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        self.quarantined = self.failures.len() >= self.failures_max;
        self.quarantined
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.failures.len() {
            _ if self.quarantined => Standing::Quarantined,
            0 => Standing::Good,
            failures => Standing::Suspect { failures },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Health, Standing};

    #[test]
    fn so_many_failures_within_the_window_quarantine_once_and_for_all() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::new(3, Duration::from_secs(10));
        assert_eq!(health.standing(), Standing::Good);
        assert!(!health.failed(at(0)) && !health.failed(at(1)));
        assert!(!health.failed(at(11)), "the first is forgotten");
        assert_eq!(health.standing(), Standing::Suspect { failures: 2 });
        assert!(health.failed(at(11)));
        assert!(!health.failed(at(1000)), "told once");
        assert_eq!(health.standing(), Standing::Quarantined);
    }
}
