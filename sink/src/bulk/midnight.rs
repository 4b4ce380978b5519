//! Events that their clients send again after midnight, when they belong to
//! the index of another day.
//!
//! In: documents with what is known of their repetitions. Out: those that are
//! in no index. Never: a lookup for a document that cannot be a repetition,
//! and none before the documents that it may repeat are written.

use stream::delivery::Outcome;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::Bulk;
use super::round::Open;
use crate::document::{Document, Repeat};

/// Requests that write what may come again hold it shared; who looks for the first of two waits until all
/// that came before have let it go.
#[derive(Debug, Default)]
pub(crate) struct Midnight(RwLock<()>);

impl Midnight {
    /// To be held while documents are written that may come again on the next day.
    pub(super) async fn hold(&self, open: &[Open]) -> Option<RwLockReadGuard<'_, ()>> {
        if open.iter().any(|open| open.document.repeat == Repeat::Next) {
            return Some(self.0.read().await);
        }
        None
    }
}

impl Bulk {
    /// Settles documents that are in the index of the day before. Gives back the others.
    pub(super) async fn not_before(&self, open: Vec<Open>, outcomes: &mut [Option<Outcome>]) -> Vec<Open> {
        if open.is_empty() {
            return open;
        }
        drop(self.midnight.0.write().await);
        self.compare(open, before, outcomes).await
    }
}

/// Whether a document may be in an index of the day before.
pub(super) fn may_be_before(open: &Open) -> bool {
    matches!(open.document.repeat, Repeat::Before(_))
}

fn before(document: &Document) -> &str {
    match &document.repeat {
        Repeat::Before(index) => index,
        Repeat::Never | Repeat::Next => &document.index,
    }
}
