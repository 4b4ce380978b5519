//! The whole: catalog, indices, write-ahead log, points in time, and the thread that keeps them in order.
//!
//! In: a folder. Out: [`Index`], on which `api/` acts. Never: an index that is in the catalog and not on disk.
//!
//! The folder: `catalog.json`, `translog/`, `indices/NUMBER/` (`mapping.json` and the search library's files).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use model::event::Event;
use model::time::Clock;

use crate::catalog::names::Lenient;
use crate::catalog::templates::Blueprint;
use crate::catalog::{Catalog, IndexEntry, names};
use crate::error::{ApiError, OpenError};
use crate::index::files;
use crate::index::shard::{Shard, ShardOptions};
use crate::index::translog::Translog;
use crate::mapping::Mapping;
use crate::search::Target;
use crate::search::points::Points;

/// A writer of the search library that nobody used for so long gives its memory back.
const WRITER_IDLE: Duration = Duration::from_secs(15);
/// Most indices, so that a wild sender cannot fill the disk with folders.
const INDICES_MAX: usize = 5000;

/// What an index needs to be opened.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Folder of its own; made when absent. The caller sees to it that nobody else uses it.
    pub folder: PathBuf,
    /// Memory for documents that are not yet written, in MiB, for all indices together; at least 16.
    pub writer_mib: usize,
    /// Longest time from a document's acknowledgement to its first appearance in a search, in milliseconds.
    pub refresh_ms: u64,
    /// Where `now` comes from.
    pub clock: Clock,
}

/// The index for one machine.
pub struct Index {
    folder: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) refresh: Duration,
    writers_max: usize,
    writer_bytes: usize,
    catalog: RwLock<Arc<Catalog>>,
    /// Held while the catalog changes.
    changing: Mutex<()>,
    shards: RwLock<BTreeMap<String, Arc<Shard>>>,
    pub(crate) log: Translog,
    pub(crate) points: Points,
    keeper: Mutex<Option<Keeper>>,
}

/// The thread that commits and cleans up.
struct Keeper {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Opens the index in a folder: reads the catalog, applies what was acknowledged and not committed.
///
/// # Errors
/// See [`OpenError`].
pub fn open(options: EmbeddedOptions) -> Result<Arc<Index>, OpenError> {
    let io = |source| OpenError::Io { path: options.folder.clone(), source };
    std::fs::create_dir_all(options.folder.join("indices")).map_err(io)?;
    let catalog = Catalog::load(&options.folder.join("catalog.json"))?;
    // Every open writer may use its part of the budget, and one needs 15 MB.
    let budget = options.writer_mib.max(16).saturating_mul(1 << 20);
    let writers_max = (budget / (16 << 20)).clamp(1, 8);
    let writer_bytes = (budget / writers_max).min(256 << 20);
    remove_orphans(&options.folder, &catalog)?;
    let mut shards = BTreeMap::new();
    for (name, entry) in &catalog.indices {
        let folder = index_folder(&options.folder, entry.number);
        let mapping = read_mapping(&folder)?;
        let shard = Shard::new(ShardOptions {
            number: entry.number,
            name: name.clone(),
            folder,
            fields_max: entry.settings.fields_max(),
            writer_bytes,
            mapping,
        });
        shards.insert(name.clone(), Arc::new(shard));
    }
    let log = replay(&options.folder.join("translog"), &shards)?;
    let index = Arc::new(Index {
        folder: options.folder.clone(),
        clock: options.clock,
        refresh: Duration::from_millis(options.refresh_ms),
        writers_max,
        writer_bytes,
        catalog: RwLock::new(Arc::new(catalog)),
        changing: Mutex::new(()),
        shards: RwLock::new(shards),
        log,
        points: Points::default(),
        keeper: Mutex::new(None),
    });
    let keeper = start_keeper(Arc::downgrade(&index), index.refresh).map_err(io)?;
    *index.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    Ok(index)
}

fn replay(folder: &Path, shards: &BTreeMap<String, Arc<Shard>>) -> Result<Translog, OpenError> {
    let by_number: foldhash::HashMap<u64, &Arc<Shard>> = shards.values().map(|s| (s.number, s)).collect();
    let mut event = Event::new();
    let mut count: u64 = 0;
    let log = Translog::open(folder, |operation| {
        // Operations of a deleted index are passed over.
        let Some(shard) = by_number.get(&operation.index) else { return Ok(()) };
        count = count.saturating_add(1);
        shard.replay(&mut event, &operation).map_err(|e| format!("index [{}]: {e}", shard.name))
    })?;
    if count > 0 {
        tracing::info!(operations = count, "read the write-ahead log of the index");
    }
    Ok(log)
}

fn index_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join("indices").join(format!("{number:08}"))
}

fn read_mapping(folder: &Path) -> Result<Mapping, OpenError> {
    let path = folder.join("mapping.json");
    let damaged = |reason: String| OpenError::Damaged { path: path.clone(), reason };
    let bytes = std::fs::read(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    let body = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    Mapping::read(&body).map_err(|e| damaged(e.reason))
}

/// Folders of indices that were deleted or not wholly made.
fn remove_orphans(folder: &Path, catalog: &Catalog) -> Result<(), OpenError> {
    let parent = folder.join("indices");
    let io = |source| OpenError::Io { path: parent.clone(), source };
    for entry in std::fs::read_dir(&parent).map_err(io)? {
        let entry = entry.map_err(io)?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        let known = number.is_some_and(|n| catalog.indices.values().any(|index| index.number == n));
        if number.is_some() && !known {
            std::fs::remove_dir_all(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}

fn start_keeper(index: Weak<Index>, refresh: Duration) -> std::io::Result<Keeper> {
    let (stop, stopped) = std::sync::mpsc::channel();
    let pause = (refresh / 4).clamp(Duration::from_millis(10), Duration::from_millis(250));
    let thread = std::thread::Builder::new().name("index-keeper".to_owned()).spawn(move || {
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            let Some(index) = index.upgrade() else { return };
            index.keep_order();
        }
    })?;
    Ok(Keeper { stop, thread })
}

impl Index {
    /// Commits everything and stops the thread. Documents that come later are still taken.
    ///
    /// # Errors
    /// When the storage fails; nothing acknowledged is lost by it.
    pub fn close(&self) -> Result<(), ApiError> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Keeper { stop, thread }) = keeper {
            drop(stop);
            // A panic of the thread was reported where it happened.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("the thread that keeps the index in order had failed");
            }
        }
        for shard in self.all_shards() {
            shard.close()?;
        }
        self.trim_log()
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the catalog: in the file first, then in memory.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Catalog) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change_locked(change)
    }

    fn change_locked<T>(
        &self,
        change: impl FnOnce(&mut Catalog) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut next = Catalog::clone(&self.catalog());
        let result = change(&mut next)?;
        next.save(&self.folder.join("catalog.json"))?;
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(result)
    }

    pub(crate) fn shard(&self, name: &str) -> Option<Arc<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn all_shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Shards of an expression such as `events-*,alerts`.
    pub(crate) fn resolve(&self, expression: &str, lenient: Lenient) -> Result<Vec<Arc<Shard>>, ApiError> {
        let names = self.catalog().resolve(expression, lenient)?;
        // An index that was deleted this moment is left out.
        Ok(names.iter().filter_map(|name| self.shard(name)).collect())
    }

    /// The shard that a document of this index goes to; made from the templates when there is none.
    pub(crate) fn shard_to_write(&self, name: &str) -> Result<Arc<Shard>, ApiError> {
        let target = self.catalog().write_target(name)?;
        if let Some(shard) = target.and_then(|target| self.shard(&target)) {
            return Ok(shard);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have made it meanwhile.
        match self.catalog().write_target(name)?.and_then(|target| self.shard(&target)) {
            Some(shard) => Ok(shard),
            None => self.create_locked(name, &Blueprint::default()),
        }
    }

    /// Makes an index; `wanted` lies over what the templates say.
    pub(crate) fn create(&self, name: &str, wanted: &Blueprint) -> Result<Arc<Shard>, ApiError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.create_locked(name, wanted)
    }

    fn create_locked(&self, name: &str, wanted: &Blueprint) -> Result<Arc<Shard>, ApiError> {
        names::check(name, "index")?;
        let catalog = self.catalog();
        if catalog.indices.contains_key(name) {
            return Err(ApiError::new(
                400,
                "resource_already_exists_exception",
                format!("index [{name}] already exists"),
            )
            .on_index(name));
        }
        if catalog.is_alias(name) {
            return Err(ApiError::new(
                400,
                "invalid_index_name_exception",
                format!("Invalid index name [{name}], already exists as alias"),
            )
            .on_index(name));
        }
        if catalog.indices.len() >= INDICES_MAX {
            return Err(ApiError::new(
                400,
                "validation_exception",
                format!("this index holds {INDICES_MAX} indices, the most it takes"),
            ));
        }
        let mut blueprint = catalog.blueprint(name).with(wanted);
        // A template may name the index itself as its alias.
        blueprint.aliases.remove(name);
        if let Some(alias) = blueprint.aliases.keys().find(|alias| catalog.indices.contains_key(*alias)) {
            return Err(ApiError::new(
                400,
                "invalid_alias_name_exception",
                format!("Invalid alias name [{alias}]: an index exists with the same name as the alias"),
            ));
        }
        let fields_max = blueprint.settings.fields_max();
        let mapping = Mapping::default().merged(&Mapping::read(&blueprint.mappings)?, fields_max)?;
        let made = self.change_locked(|catalog| {
            let number = catalog.take_number();
            let shard = Shard::new(ShardOptions {
                number,
                name: name.to_owned(),
                folder: index_folder(&self.folder, number),
                fields_max,
                writer_bytes: self.writer_bytes,
                mapping,
            });
            // Before the catalog names it: a crash between the two leaves a folder that the next start removes.
            shard.create()?;
            files::sync_folder(&self.folder.join("indices"))?;
            catalog.indices.insert(
                name.to_owned(),
                IndexEntry {
                    number,
                    uuid: format!("mozdef{number:016x}"),
                    created_ms: self.clock.now().millis(),
                    settings: blueprint.settings,
                    aliases: blueprint.aliases,
                },
            );
            Ok(Arc::new(shard))
        })?;
        tracing::info!(index = name, number = made.number, "made an index");
        self.shards.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), made.clone());
        Ok(made)
    }

    /// Deletes indices with all their documents.
    pub(crate) fn delete(&self, names: &[String]) -> Result<(), ApiError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change_locked(|catalog| {
            catalog.indices.retain(|name, _| !names.contains(name));
            Ok(())
        })?;
        let removed: Vec<Arc<Shard>> = {
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            names.iter().filter_map(|name| shards.remove(name)).collect()
        };
        for shard in removed {
            tracing::info!(index = &*shard.name, "deleted an index");
            shard.abandon();
            std::fs::remove_dir_all(shard.folder())?;
        }
        Ok(())
    }

    /// Searchers of some shards, fresh enough.
    pub(crate) fn targets(&self, shards: &[Arc<Shard>]) -> Result<Vec<Target>, ApiError> {
        let catalog = self.catalog();
        shards
            .iter()
            .map(|shard| {
                let window_max =
                    catalog.indices.get(&*shard.name).map_or(10_000, |e| e.settings.result_window_max());
                Ok(Target {
                    index: shard.name.to_string(),
                    searcher: shard.searcher(self.refresh)?,
                    mapping: shard.mapping(),
                    window_max,
                })
            })
            .collect()
    }

    /// Closes the writer that was not used for longest when a further one is too much.
    pub(crate) fn make_room_for_writer(&self, shard: &Arc<Shard>) -> Result<(), ApiError> {
        if shard.writer_used().is_some() {
            return Ok(());
        }
        let mut open: Vec<(Instant, Arc<Shard>)> =
            self.all_shards().into_iter().filter_map(|s| Some((s.writer_used()?, s))).collect();
        open.sort_by_key(|(used, _)| *used);
        let surplus = open.len().saturating_add(1).saturating_sub(self.writers_max);
        for (_, idle) in open.into_iter().take(surplus) {
            idle.close()?;
        }
        Ok(())
    }

    fn keep_order(&self) {
        for shard in self.all_shards() {
            if let Err(error) = shard.maintain(self.refresh, WRITER_IDLE) {
                tracing::error!(index = &*shard.name, %error, "cannot commit; it is tried again");
            }
        }
        self.points.expire();
        if let Err(error) = self.trim_log() {
            tracing::error!(%error, "cannot trim the write-ahead log; it is tried again");
        }
    }

    fn trim_log(&self) -> Result<(), ApiError> {
        let held = self.log.indices();
        let mut committed = BTreeMap::new();
        for shard in self.all_shards().iter().filter(|shard| held.contains(&shard.number)) {
            committed.insert(shard.number, shard.committed_seq_no()?);
        }
        self.log.trim(&committed)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the index failed; what was acknowledged is in its write-ahead log");
        }
    }
}
