//! What is counted of alerts, once they are committed.
//!
//! In: first firings. Out: metrics. Never: a count of what was aborted.

use std::collections::BTreeMap;

use model::metrics::metrics;
use model::time::Timestamp;

/// Counts of what is put out and not yet committed.
#[derive(Debug, Default)]
pub(crate) struct AlertCounts {
    by_severity: BTreeMap<String, u64>,
    /// Receipts of the firing events, in milliseconds.
    received: Vec<i64>,
    unknown: u64,
}

impl AlertCounts {
    /// An alert's first revision; `received`: of its firing event, if known.
    pub(crate) fn fired(&mut self, severity: &str, received: Option<i64>) {
        match self.by_severity.get_mut(severity) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.by_severity.insert(severity.to_owned(), 1);
            }
        }
        self.received.extend(received);
    }

    /// Values that a summary named but no event had.
    pub(crate) fn unknown(&mut self, count: u64) {
        self.unknown = self.unknown.saturating_add(count);
    }

    /// They are committed at `now`.
    pub(crate) fn report(self, now: Timestamp) {
        let m = metrics();
        for (severity, count) in self.by_severity {
            m.alerts.with_label_values(&[&severity]).inc_by(count);
        }
        for received in self.received {
            m.alert_seconds.observe(now.millis().saturating_sub(received).max(0) as f64 / 1000.0);
        }
        m.summary_unknown.inc_by(self.unknown);
    }
}
