//! What the local log's threads and handles share: health, extents, groups, news, the queue.
//!
//! In: what one of them has to tell. Out: the same to all others. Never: I/O.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use model::time::Clock;
use model::topic::Topic;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};

use super::append::{PERMIT_BYTES, QUEUE_BYTES, WRITE_MAX};
use super::committer::Request;
use super::group::Group;
use super::shard::Shard;
use super::slots::Slots;
use super::space::Space;
use super::store::Store;
use crate::log::{Extent, LogError};

/// Whether the log works.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// It does.
    Open,
    /// It was closed.
    Closed,
    /// A write failed: nothing is acknowledged any more.
    Broken(String),
}

/// Shared by all handles and threads.
pub(super) struct Core {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) partitions: u32,
    pub(super) clock: Clock,
    pub(super) shards: Slots<Shard>,
    pub(super) space: Space,
    pub(super) retention: Retention,
    store: RwLock<Option<Arc<Store>>>,
    pub(super) health: watch::Sender<Health>,
    /// Since when the committer has been at one batch.
    writing_since: Mutex<Option<Instant>>,
    full: AtomicBool,
    groups: Mutex<HashMap<(String, Topic), Arc<Group>>>,
    news: Vec<(Topic, watch::Sender<u64>)>,
    pub(super) queue: Mutex<Option<UnboundedSender<Request>>>,
    pub(super) room: Arc<Semaphore>,
    pub(super) turn: AtomicU32,
    /// Freed last.
    lock: Mutex<Option<super::lock::FolderLock>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// Largest age, in milliseconds.
    pub(super) age_ms: i64,
    /// Largest size of a partition, in bytes.
    pub(super) bytes_max: u64,
}

/// What [`Core::new`] is made of.
pub(super) struct Parts {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) partitions: u32,
    pub(super) clock: Clock,
    pub(super) shards: Slots<Shard>,
    pub(super) groups: HashMap<(String, Topic), Arc<Group>>,
    pub(super) space: Space,
    pub(super) retention: Retention,
    pub(super) store: Store,
    pub(super) queue: UnboundedSender<Request>,
    pub(super) lock: super::lock::FolderLock,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Core {
        let permits = QUEUE_BYTES.div_ceil(PERMIT_BYTES);
        Core {
            folder: parts.folder,
            id: parts.id,
            partitions: parts.partitions,
            clock: parts.clock,
            shards: parts.shards,
            space: parts.space,
            retention: parts.retention,
            store: RwLock::new(Some(Arc::new(parts.store))),
            health: watch::Sender::new(Health::Open),
            writing_since: Mutex::new(None),
            full: AtomicBool::new(false),
            groups: Mutex::new(parts.groups),
            news: Topic::ALL.into_iter().map(|topic| (topic, watch::Sender::new(0))).collect(),
            queue: Mutex::new(Some(parts.queue)),
            room: Arc::new(Semaphore::new(permits)),
            turn: AtomicU32::new(0),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    /// The engine, unless it was let go of.
    pub(super) fn store(&self) -> Result<Arc<Store>, LogError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(|| self.why_not())
    }

    pub(super) fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// `Err` when the log is closed or broken.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.health() {
            Health::Open => Ok(()),
            Health::Closed | Health::Broken(_) => Err(self.why_not()),
        }
    }

    /// Why nothing works.
    pub(super) fn why_not(&self) -> LogError {
        match self.health() {
            Health::Open | Health::Closed => LogError::Unavailable("it is closed".to_owned()),
            Health::Broken(why) => LogError::Broken(why),
        }
    }

    /// No acknowledgement from here on.
    pub(super) fn break_down(&self, why: String) {
        tracing::error!(why, "the log is broken; nothing is acknowledged any more; restart to recover");
        self.health.send_replace(Health::Broken(why));
        self.wake_all();
    }

    /// The committer begins a batch.
    pub(super) fn begin_write(&self) {
        *self.writing_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The committer has ended it.
    pub(super) fn end_write(&self) {
        *self.writing_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the committer has been at one batch for longer than any disk should take.
    pub(super) fn is_stuck(&self) -> bool {
        let since = *self.writing_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > WRITE_MAX)
    }

    /// No new calls from here on; what is queued is still written.
    pub(super) fn close(&self) {
        self.health.send_if_modified(|health| {
            let was_open = matches!(health, Health::Open);
            if was_open {
                *health = Health::Closed;
            }
            was_open
        });
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake_all();
    }

    /// Lets go of the files, then of the folder's lock.
    pub(super) fn let_go(&self) {
        let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(store);
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Says once when the disk becomes too full, and once when there is room again.
    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(folder = %self.folder.display(), "the disk is too full: the log takes nothing until there is room");
            } else {
                tracing::info!(folder = %self.folder.display(), "there is room on the disk again");
            }
        }
    }

    /// Whether the disk was too full for the last batch.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Hears of new records of a topic.
    pub(super) fn news(&self, topic: Topic) -> watch::Receiver<u64> {
        match self.news.iter().find(|(t, _)| *t == topic) {
            Some((_, sender)) => sender.subscribe(),
            None => watch::Sender::new(0).subscribe(),
        }
    }

    /// Wakes those who wait for records of a topic.
    pub(super) fn wake(&self, topic: Topic) {
        for (_, sender) in self.news.iter().filter(|(t, _)| *t == topic) {
            sender.send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    fn wake_all(&self) {
        Topic::ALL.into_iter().for_each(|topic| self.wake(topic));
    }

    /// First and next offset.
    pub(super) fn extent(&self, topic: Topic, partition: u32) -> Extent {
        self.shards.get(topic, partition).map_or(Extent::decided(0, 0), Shard::extent)
    }

    /// The group of this name on this topic.
    pub(super) fn group(&self, name: &str, topic: Topic) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry((name.to_owned(), topic)).or_insert_with(|| {
            let committed = (0..self.partitions).map(|_| None).collect();
            Arc::new(Group::new(name.to_owned(), topic, committed))
        });
        Arc::clone(group)
    }

    /// Next offset of a group, where it has committed one.
    pub(super) fn group_committed(&self, name: &str, topic: Topic, partition: u32) -> Option<u64> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(&(name.to_owned(), topic))?.committed(partition)
    }
}
