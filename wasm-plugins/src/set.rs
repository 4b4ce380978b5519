//! Which versions are in force, and what becomes of a change in the folder.
//!
//! In: the folder as it is, versions that were quarantined. Out: a new set, or the one before. Never: a file that does
//! not load in the place of one that has.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::metrics::metrics;

use crate::health::Standing;
use crate::loaded::{LoadError, Loaded, Loader, Quarantined};
use crate::store::{PLUGINS_MAX, Store, digest_of};

/// The versions in force.
#[derive(Default)]
pub struct Set {
    /// Counts up with each change.
    pub generation: u64,
    /// In order of name.
    pub plugins: Vec<Arc<Loaded>>,
}

/// What a look into the folder has led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names of plugins that are new or have a new version.
    pub loaded: Vec<String>,
    /// Names of plugins that are gone.
    pub gone: Vec<String>,
    /// Names of plugins whose last good version was put back.
    pub rolled_back: Vec<String>,
    /// Files that were refused, and why.
    pub refused: Vec<(String, LoadError)>,
}

/// Keeps the set.
pub struct Keeper {
    store: Store,
    loader: Loader,
    current: BTreeMap<String, Arc<Loaded>>,
    /// Digests and signatures that were refused, so that they are told once.
    refused: BTreeMap<String, (String, Option<String>)>,
    generation: u64,
}

impl Keeper {
    /// A keeper of the plugins in a folder; nothing is loaded yet.
    pub fn new(store: Store, loader: Loader) -> Keeper {
        Keeper { store, loader, current: BTreeMap::new(), refused: BTreeMap::new(), generation: 0 }
    }

    /// The set in force.
    pub fn set(&self) -> Set {
        Set { generation: self.generation, plugins: self.current.values().cloned().collect() }
    }

    /// Looks into the folder again.
    ///
    /// # Errors
    /// When the folder cannot be read; the set is then as before.
    pub fn refresh(&mut self) -> std::io::Result<Report> {
        let mut report = Report::default();
        let mut wanted = self.store.names()?;
        if wanted.len() > PLUGINS_MAX {
            tracing::error!(
                plugins = wanted.len(),
                "only the first {PLUGINS_MAX} plugins of the folder are loaded"
            );
            wanted.truncate(PLUGINS_MAX);
        }
        wanted.retain(|name| !self.store.is_disabled(name));
        for name in &wanted {
            self.look_at(name, &mut report);
        }
        let gone: Vec<String> = self.current.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in gone {
            self.current.remove(&name);
            tracing::info!(plugin = name, "the plugin is no longer in force");
            report.gone.push(name);
        }
        self.refused.retain(|name, _| wanted.contains(name));
        self.settle(&report);
        Ok(report)
    }

    /// Puts the last good version of a plugin back, where there is one.
    pub fn quarantined(&mut self, told: &Quarantined) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.store.quarantine(&told.name, &told.digest, &told.why) {
            tracing::warn!(plugin = told.name, %error, "the quarantine cannot be kept beyond this process");
        }
        metrics().plugin_changes.with_label_values(&["quarantined"]).inc();
        if self.current.get(&told.name).is_some_and(|current| current.digest == told.digest) {
            self.roll_back(&told.name, &told.digest, &mut report);
        }
        self.settle(&report);
        report
    }

    /// One plugin of the folder.
    fn look_at(&mut self, name: &str, report: &mut Report) {
        let (bytes, signature) = match self.store.read(name) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(plugin = name, %error, "the plugin's file cannot be read now");
                return;
            }
        };
        let digest = digest_of(&bytes);
        let current = self.current.get(name).map(|current| (current.digest == digest, current.standing()));
        if current.is_some_and(|(same, _)| same)
            || self.refused.get(name).is_some_and(|refused| *refused == (digest.clone(), signature.clone()))
        {
            return;
        }
        if self.store.quarantined(name, &digest).is_some() {
            if current.is_none_or(|(_, standing)| standing == Standing::Quarantined) {
                self.roll_back(name, &digest, report);
            }
            return;
        }
        match self.loader.load(name, &bytes, signature.as_deref()) {
            Ok(loaded) => {
                if let Err(error) = self.store.keep(name, &digest, &bytes, signature.as_deref()) {
                    tracing::warn!(plugin = name, %error, "this version cannot be kept to go back to");
                }
                tracing::info!(
                    plugin = name,
                    version = loaded.description.version,
                    digest,
                    "plugin in force"
                );
                metrics().plugin_changes.with_label_values(&["loaded"]).inc();
                self.refused.remove(name);
                self.current.insert(name.to_owned(), Arc::new(loaded));
                report.loaded.push(name.to_owned());
            }
            Err(error) => {
                let stays = if current.is_some() { "; the version before stays in force" } else { "" };
                tracing::error!(plugin = name, digest, "the plugin is refused: {error}{stays}");
                metrics().plugin_changes.with_label_values(&["refused"]).inc();
                self.refused.insert(name.to_owned(), (digest, signature));
                report.refused.push((name.to_owned(), error));
            }
        }
    }

    /// The newest kept version that may run, in the place of `bad`.
    fn roll_back(&mut self, name: &str, bad: &str, report: &mut Report) {
        let kept = self.store.kept(name).into_iter();
        for kept in kept.filter(|kept| kept.digest != bad && kept.quarantined.is_none()) {
            let Some((bytes, signature)) = self.store.read_kept(name, &kept.digest) else { continue };
            match self.loader.load(name, &bytes, signature.as_deref()) {
                Ok(loaded) => {
                    tracing::warn!(
                        plugin = name,
                        digest = loaded.digest,
                        "the last good version is in force again"
                    );
                    metrics().plugin_changes.with_label_values(&["rolled_back"]).inc();
                    self.current.insert(name.to_owned(), Arc::new(loaded));
                    report.rolled_back.push(name.to_owned());
                    return;
                }
                Err(error) => {
                    tracing::warn!(plugin = name, digest = kept.digest, "cannot go back to it: {error}")
                }
            }
        }
        tracing::error!(plugin = name, "there is no good version to go back to");
    }

    fn settle(&mut self, report: &Report) {
        let changed =
            [&report.loaded, &report.gone, &report.rolled_back].iter().any(|names| !names.is_empty());
        self.generation = self.generation.saturating_add(u64::from(changed));
        let loaded = i64::try_from(self.current.len()).unwrap_or(i64::MAX);
        metrics().plugins_loaded.set(loaded);
    }
}
