//! Points in time: searchers that are kept, so that page after page sees the same documents.
//!
//! In: the searchers of a moment. Out: an id for them, until its time is over. Never: more than [`POINTS_MAX`] at once.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Target;
use crate::error::ApiError;

/// Most points at once.
const POINTS_MAX: usize = 100;
/// Longest time without use.
const KEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// All open points.
#[derive(Default)]
pub(crate) struct Points(Mutex<foldhash::HashMap<String, Open>>);

struct Open {
    targets: Arc<Vec<Target>>,
    keep: Duration,
    expires: Instant,
}

impl Points {
    /// Keeps searchers; the result is their id.
    pub(crate) fn open(&self, targets: Vec<Target>, keep: Duration) -> Result<String, ApiError> {
        check(keep)?;
        let mut points = self.lock();
        drop_expired(&mut points);
        if points.len() >= POINTS_MAX {
            return Err(ApiError::new(
                429,
                "rejected_execution_exception",
                format!(
                    "Trying to create too many Point In Time contexts. Must be less than or equal to: [{POINTS_MAX}]."
                ),
            ));
        }
        let id = new_id(points.len());
        let expires = Instant::now().checked_add(keep).unwrap_or_else(Instant::now);
        points.insert(id.clone(), Open { targets: Arc::new(targets), keep, expires });
        Ok(id)
    }

    /// The searchers of a point, whose time begins anew.
    pub(crate) fn get(&self, id: &str, keep: Option<Duration>) -> Result<Arc<Vec<Target>>, ApiError> {
        if let Some(keep) = keep {
            check(keep)?;
        }
        let mut points = self.lock();
        drop_expired(&mut points);
        let open = points.get_mut(id).ok_or_else(|| {
            ApiError::new(
                404,
                "search_context_missing_exception",
                format!("No search context found for id [{}]", crate::json::cut(id, 64)),
            )
        })?;
        open.keep = keep.unwrap_or(open.keep);
        open.expires = Instant::now().checked_add(open.keep).unwrap_or(open.expires);
        Ok(open.targets.clone())
    }

    /// Closes a point; false when there was none.
    pub(crate) fn close(&self, id: &str) -> bool {
        self.lock().remove(id).is_some()
    }

    /// Closes all; the result is their ids.
    pub(crate) fn close_all(&self) -> Vec<String> {
        self.lock().drain().map(|(id, _)| id).collect()
    }

    /// Gives back what nobody came for.
    pub(crate) fn expire(&self) {
        drop_expired(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, foldhash::HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(keep: Duration) -> Result<(), ApiError> {
    if keep > KEEP_MAX {
        return Err(ApiError::illegal(format!(
            "Keep alive for request ({keep:?}) is too large. It must be less than (24h)."
        )));
    }
    Ok(())
}

fn drop_expired(points: &mut foldhash::HashMap<String, Open>) {
    let now = Instant::now();
    points.retain(|_, open| open.expires > now);
}

/// An id that nobody guesses: two keyed hashes with keys of the system's randomness.
fn new_id(salt: usize) -> String {
    let part = || {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_usize(salt);
        hasher.finish()
    };
    format!("{:016x}{:016x}", part(), part())
}
