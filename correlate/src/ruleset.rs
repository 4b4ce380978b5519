//! The set of rules in force. (Skeleton: signatures only.)

use model::event::Event;

use crate::rule::{Correlation, Detection};

/// A compiled, validated set of rules. Immutable; swapped whole.
pub struct RuleSet {
    /// Digest over all rules, 32 hex digits.
    pub digest: String,
    /// Detection rules.
    pub detections: Vec<Detection>,
    /// Correlation rules.
    pub correlations: Vec<Correlation>,
}

/// Memory reused from event to event.
#[derive(Default)]
pub struct Scratch {}

impl RuleSet {
    /// Puts the positions of the detections that match into `hits` (cleared first), ascending.
    pub fn evaluate(&self, _event: &Event, _scratch: &mut Scratch, _hits: &mut Vec<usize>) {
        todo!()
    }

    /// Positions of the correlations that a detection feeds.
    pub fn fed_by(&self, _detection: usize) -> &[usize] {
        todo!()
    }
}
