//! Ack ids, and questions about them.
//!
//! In: the time, the body of a question. Out: ids that only grow, also over restarts; which ids were given. Never: memory
//! of single ids.

use std::sync::atomic::{AtomicU64, Ordering};

use model::time::Timestamp;
use serde::Deserialize;

/// Most ids of one question.
const ASKED_MAX: usize = 10_000;

/// Gives ids: a thousandth of a second is worth 1024 of them. They stay below 2^53, where clients that count in floats
/// begin to err.
#[derive(Debug, Default)]
pub(in crate::http) struct Acks(AtomicU64);

impl Acks {
    /// An id larger than all that were given.
    pub(in crate::http) fn next(&self, now: Timestamp) -> u64 {
        let least = floor(now);
        let step = |last: u64| Some(last.saturating_add(1).max(least));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        last.unwrap_or_else(|last| last).saturating_add(1).max(least)
    }

    /// Whether an id may have been given, by whatever gateway: then its events are in the log.
    pub(in crate::http) fn was_given(&self, id: u64, now: Timestamp) -> bool {
        id <= self.0.load(Ordering::Relaxed).max(floor(now))
    }
}

fn floor(now: Timestamp) -> u64 {
    u64::try_from(now.millis()).unwrap_or_default().saturating_mul(1024)
}

#[derive(Deserialize)]
struct Question {
    acks: Vec<u64>,
}

/// The ids that a body asks about.
pub(in crate::http) fn asked(body: &[u8]) -> Option<Vec<u64>> {
    let question: Question = serde_json::from_slice(body).ok()?;
    (question.acks.len() <= ASKED_MAX).then_some(question.acks)
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::{Acks, asked};

    #[test]
    fn ids_grow_and_outlive_the_process() {
        let now = Timestamp::from_millis(1_718_000_000_000);
        let acks = Acks::default();
        let first = acks.next(now);
        let second = acks.next(now);
        assert!(second > first && second < 1 << 53);
        assert!(acks.was_given(first, now) && acks.was_given(second, now));
        assert!(!acks.was_given(second + 1, now));
        let later = Timestamp::from_millis(1_718_000_000_001);
        assert!(Acks::default().was_given(second, later));
        assert!(Acks::default().next(later) > second);
    }

    #[test]
    fn questions_are_read() {
        assert_eq!(asked(br#"{"acks":[1,2]}"#), Some(vec![1, 2]));
        for bad in ["", "[]", r#"{"acks":[-1]}"#, r#"{"acks":["1"]}"#, "{}"] {
            assert_eq!(asked(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(asked(format!(r#"{{"acks":[{}]}}"#, vec!["1"; 10_001].join(",")).as_bytes()), None);
    }
}
