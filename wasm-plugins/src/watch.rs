//! The folder of plugins, watched: a change takes effect between two batches, without a restart.
//!
//! In: a folder. Out: the set in force, swapped whole. Never: work on the thread that events pass through; loading
//! and compiling happen here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::config::PluginsConfig;
use notify::{RecursiveMode, Watcher};

use crate::Cache;
use crate::loaded::{LoadError, Loader, Quarantined};
use crate::set::{Keeper, Set};
use crate::store::Store;
use crate::tables::Tables;

/// Changes that come this close together are one.
const SETTLE: Duration = Duration::from_millis(200);
/// How often the signal to end is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why plugins cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder is not there, or cannot be read.
    #[error(
        "the plugins folder {folder} cannot be read: {source}; make it, or change normalize.plugins.folder"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be watched.
    #[error("the plugins folder {folder} cannot be watched for changes: {source}")]
    Watch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// No thread.
    #[error("no thread to watch plugins: {0}")]
    Thread(#[from] std::io::Error),
}

/// What happens to the watching thread.
enum Word {
    /// Something in the folder has changed.
    Changed,
    /// A version is quarantined.
    Quarantined(Quarantined),
}

/// The set in force; watched for as long as this lives.
pub struct Watched {
    /// Files that were refused at the start, and why.
    pub refused: Vec<(String, LoadError)>,
    live: Arc<ArcSwap<Set>>,
    notices: Arc<Mutex<Vec<Quarantined>>>,
    ended: Arc<AtomicBool>,
}

impl Watched {
    /// A set that somebody else keeps.
    pub fn kept_by(live: Arc<ArcSwap<Set>>) -> Watched {
        Watched { refused: Vec::new(), live, notices: Arc::default(), ended: Arc::default() }
    }

    /// The set in force.
    pub fn set(&self) -> Arc<Set> {
        self.live.load_full()
    }

    /// The set's number, without taking it.
    pub fn generation(&self) -> u64 {
        self.live.load().generation
    }

    /// What was quarantined since the last time this was asked.
    pub fn take_notices(&self) -> Vec<Quarantined> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Loads the folder's plugins and goes on watching it.
///
/// A plugin that does not load is left out, loudly.
///
/// # Errors
/// See [`StartError`].
pub fn start(
    folder: PathBuf,
    config: &PluginsConfig,
    cache: Cache,
    tables: Arc<dyn Tables>,
) -> Result<Watched, StartError> {
    let (sender, words) = channel();
    let (told, quarantined) = channel();
    let loader = Loader::new(config.clone(), cache, tables, Some(told));
    let mut keeper = Keeper::new(Store::new(&folder), loader);
    // Before the first look, so that no change falls in between.
    let watcher = watcher(&folder, sender.clone())?;
    let report = keeper.refresh().map_err(|source| StartError::Folder { folder, source })?;
    let live = Arc::new(ArcSwap::from_pointee(keeper.set()));
    let notices = Arc::new(Mutex::new(Vec::new()));
    let ended = Arc::new(AtomicBool::new(false));
    let watched = Watched {
        refused: report.refused,
        live: live.clone(),
        notices: notices.clone(),
        ended: ended.clone(),
    };
    std::thread::Builder::new().name("plugin-quarantine".to_owned()).spawn(move || {
        // It ends when the last loaded plugin is gone, and with it the last sender.
        for told in quarantined {
            notices.lock().unwrap_or_else(PoisonError::into_inner).push(told.clone());
            if sender.send(Word::Quarantined(told)).is_err() {
                break;
            }
        }
    })?;
    std::thread::Builder::new().name("plugins".to_owned()).spawn(move || {
        // The watcher lives as long as the loop.
        let _watcher = watcher;
        while let Some(word) = next(&words, &ended) {
            let before = keeper.set().generation;
            act(&mut keeper, word);
            let set = keeper.set();
            if set.generation != before {
                live.store(Arc::new(set));
            }
        }
    })?;
    Ok(watched)
}

fn watcher(folder: &Path, sender: Sender<Word>) -> Result<notify::RecommendedWatcher, StartError> {
    let unwatchable = |source| StartError::Watch { folder: folder.to_owned(), source };
    let heard = move |change: notify::Result<notify::Event>| {
        // Reading a folder is an access too, and would wake us for our own loads.
        let matters = change.as_ref().map_or(true, |change| !change.kind.is_access());
        if matters && sender.send(Word::Changed).is_err() {
            tracing::debug!("a change of the plugins came after the end");
        }
    };
    let mut watcher = notify::recommended_watcher(heard).map_err(unwatchable)?;
    // Versions are kept in a folder inside, which is ours.
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
    Ok(watcher)
}

/// The folder is looked at after both: a change may have come together with a quarantine.
fn act(keeper: &mut Keeper, word: Word) {
    if let Word::Quarantined(told) = word {
        keeper.quarantined(&told);
    }
    if let Err(error) = keeper.refresh() {
        tracing::error!(%error, "the plugins folder cannot be read; the plugins in force stay");
    }
}

/// The next thing to do; changes that come together are one. `None` at the end.
fn next(words: &Receiver<Word>, ended: &AtomicBool) -> Option<Word> {
    loop {
        if ended.load(Ordering::Relaxed) {
            return None;
        }
        match words.recv_timeout(LOOK) {
            Ok(Word::Changed) => break,
            Ok(word) => return Some(word),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    // Whoever is copying a file goes on for a while.
    loop {
        match words.recv_timeout(SETTLE) {
            Ok(Word::Changed) => {}
            Ok(word) => return Some(word),
            Err(_) => return Some(Word::Changed),
        }
    }
}
