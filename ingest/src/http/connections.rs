//! Places for connections: when all are taken, the one that has been idle for longest gives its own up.
//!
//! In: connections that come, begin and end requests. Out: places. Never: an end of a connection whose request is under
//! way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A connection that had a request within this time is not idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// Time between two askings, while nobody gives up a place.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Wakes one connection, in the order in which they began to wait.
    wanted: Arc<Notify>,
    count: u32,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    wanted: Arc<Notify>,
    pub(super) use_of: Arc<Use>,
    _permit: OwnedSemaphorePermit,
}

/// What a connection does at the moment.
#[derive(Debug)]
pub(super) struct Use {
    under_way: AtomicUsize,
    began: Instant,
    /// Milliseconds after `began` when the last request ended.
    last_ms: AtomicU64,
}

impl Places {
    pub(super) fn new(count: u32) -> Places {
        Places { free: Arc::new(Semaphore::new(count as usize)), wanted: Arc::default(), count }
    }

    /// A place, which may have to be given up by another.
    pub(super) async fn take(&self) -> Option<Place> {
        let mut taking = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            if self.free.available_permits() == 0 {
                self.wanted.notify_one();
            }
            if let Ok(permit) = tokio::time::timeout(ASK_EVERY, taking.as_mut()).await {
                let began = Instant::now();
                let use_of = Use { under_way: AtomicUsize::new(0), began, last_ms: AtomicU64::new(0) };
                let wanted = Arc::clone(&self.wanted);
                return Some(Place { wanted, use_of: Arc::new(use_of), _permit: permit.ok()? });
            }
        }
    }

    /// Waits until every place is free.
    pub(super) async fn all_free(&self) {
        if self.free.acquire_many(self.count).await.is_err() {
            tracing::debug!("places are closed");
        }
    }
}

impl Place {
    /// Is over when another connection wants this place and it is idle.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            if self.use_of.is_idle() {
                return;
            }
        }
    }
}

impl Use {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ends.
    pub(super) fn end(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let since_ms = self.elapsed_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
        self.under_way.load(Ordering::Relaxed) == 0 && u128::from(since_ms) >= IDLE_AFTER.as_millis()
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
