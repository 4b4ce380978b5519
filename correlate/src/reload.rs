//! Rules that change while events pass: a change is judged whole, and takes
//! effect whole or not at all.
//!
//! In: folders, watched. Out: the set in force, swapped. Never: a set with a
//! finding or a failed test in the place of a good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::config::CorrelateConfig;
use model::metrics::metrics;
use notify::{RecursiveMode, Watcher};
use stream::shutdown::Shutdown;

use crate::finding::Finding;
use crate::load::{self, Loaded};
use crate::rule_tests;
use crate::ruleset::RuleSet;

/// Changes that come this close together are one: editors and `git pull` write many files.
const SETTLE: Duration = Duration::from_millis(300);

/// How often the signal to end is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why rules cannot be put in force at the start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder is not there.
    #[error("the rules folder {0} is not there: make it, or change correlate.rules")]
    Missing(PathBuf),
    /// A folder cannot be watched.
    #[error("the rules folder {folder} cannot be watched for changes: {source}")]
    Watch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// No thread.
    #[error("no thread to watch rules: {0}")]
    Thread(#[from] std::io::Error),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new set is in force.
    Loaded {
        /// How many rules it has.
        rules: usize,
    },
    /// Nothing that matters changed.
    Unchanged,
    /// The last good set stays in force.
    Refused(Vec<Finding>),
}

/// Loads the configured rules and, when they are folders, goes on watching them until `shutdown`.
///
/// A rule with a finding is left out at the start, loudly, as there is no earlier set; later changes are refused
/// as long as anything is wrong.
pub fn start(config: &CorrelateConfig, shutdown: Shutdown) -> Result<Arc<ArcSwap<RuleSet>>, StartError> {
    if let Some(missing) = config.rules.iter().find(|folder| !folder.exists()) {
        return Err(StartError::Missing(missing.clone()));
    }
    let loaded = load::configured(&config.rules);
    let objections = objections(&loaded);
    for finding in &objections {
        tracing::error!(%finding, "a rule is left out or fails its test");
    }
    tracing::info!(rules = loaded.set.len(), digest = loaded.set.digest, "rules in force");
    count("loaded", loaded.set.len());
    let live = Arc::new(ArcSwap::from_pointee(loaded.set));
    if !config.rules.is_empty() {
        watch(config.rules.clone(), Arc::clone(&live), shutdown, |_| {})?;
    }
    Ok(live)
}

/// Loads the folders again, and puts the set in force if nothing is wrong with it.
pub fn reload(folders: &[PathBuf], live: &ArcSwap<RuleSet>) -> Outcome {
    let loaded = load::paths(folders);
    let objections = objections(&loaded);
    if !objections.is_empty() {
        for finding in &objections {
            tracing::error!(%finding, "the rules are refused; the last good set stays in force");
        }
        metrics().rule_reloads.with_label_values(&["refused"]).inc();
        return Outcome::Refused(objections);
    }
    if loaded.set.digest == live.load().digest {
        metrics().rule_reloads.with_label_values(&["unchanged"]).inc();
        return Outcome::Unchanged;
    }
    let rules = loaded.set.len();
    tracing::info!(rules, digest = loaded.set.digest, "new rules in force");
    live.store(Arc::new(loaded.set));
    count("loaded", rules);
    Outcome::Loaded { rules }
}

fn count(outcome: &str, rules: usize) {
    metrics().rule_reloads.with_label_values(&[outcome]).inc();
    metrics().rules_loaded.set(i64::try_from(rules).unwrap_or(i64::MAX));
}

fn objections(loaded: &Loaded) -> Vec<Finding> {
    let mut all = loaded.report.errors.clone();
    all.extend(rule_tests::findings(&rule_tests::run(loaded)));
    all
}

/// Watches folders on a thread of its own; `told` hears of each change that was judged.
fn watch(
    folders: Vec<PathBuf>,
    live: Arc<ArcSwap<RuleSet>>,
    shutdown: Shutdown,
    told: impl Fn(&Outcome) + Send + 'static,
) -> Result<(), StartError> {
    let (sender, changes) = channel();
    let unwatchable = |folder: &Path| {
        let folder = folder.to_owned();
        move |source| StartError::Watch { folder, source }
    };
    let first = folders.first().cloned().unwrap_or_default();
    let heard = move |change: notify::Result<notify::Event>| {
        // Reading a folder is an access too, and would wake us for our own loads.
        let matters = change.as_ref().map_or(true, |c| !c.kind.is_access());
        if matters && sender.send(change).is_err() {
            tracing::debug!("a change of the rules came after the end");
        }
    };
    let mut watcher = notify::recommended_watcher(heard).map_err(unwatchable(&first))?;
    for folder in &folders {
        watcher.watch(folder, RecursiveMode::Recursive).map_err(unwatchable(folder))?;
    }
    let thread = std::thread::Builder::new().name("rules".to_owned());
    thread.spawn(move || {
        // The watcher lives as long as the loop.
        let _watcher = watcher;
        while wait(&changes, &shutdown) {
            told(&reload(&folders, &live));
        }
    })?;
    Ok(())
}

/// Waits for changes and for the quiet after them. False at the end.
fn wait(changes: &Receiver<notify::Result<notify::Event>>, shutdown: &Shutdown) -> bool {
    loop {
        match changes.recv_timeout(LOOK) {
            Ok(change) => {
                if let Err(error) = change {
                    tracing::warn!(%error, "watching the rules failed; they are read again");
                }
                break;
            }
            Err(RecvTimeoutError::Timeout) if !shutdown.is_set() => {}
            Err(_) => return false,
        }
    }
    while changes.recv_timeout(SETTLE).is_ok() {}
    !shutdown.is_set()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn rule(title: &str, word: &str) -> String {
        format!(
            "title: {title}\nid: 1\nlogsource: {{product: mozdef}}\ndetection: {{a: {{summary: {word}}}, condition: a}}\n\
             mozdef:\n  tests:\n    - name: x\n      events: [{{event: {{summary: x}}}}]\n      alerts: [{{count: 1}}]\n"
        )
    }

    #[test]
    fn a_bad_change_leaves_the_last_good_set_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yml");
        let folders = [folder.path().to_owned()];
        fs::write(&file, rule("t", "x")).unwrap();
        let live = ArcSwap::from_pointee(RuleSet::empty());
        assert_eq!(reload(&folders, &live), Outcome::Loaded { rules: 1 });
        let good = live.load().digest.clone();
        fs::write(&file, "title: [").unwrap();
        assert!(matches!(reload(&folders, &live), Outcome::Refused(f) if f.len() == 1));
        fs::write(&file, rule("t", "y")).unwrap();
        assert!(matches!(reload(&folders, &live), Outcome::Refused(f) if f[0].to_string().contains("S029")));
        assert_eq!(live.load().digest, good);
        fs::write(&file, rule("t", "x")).unwrap();
        assert_eq!(reload(&folders, &live), Outcome::Unchanged);
        fs::write(&file, rule("other", "x")).unwrap();
        assert_eq!(reload(&folders, &live), Outcome::Loaded { rules: 1 });
        assert_ne!(live.load().digest, good);
    }

    #[test]
    fn a_change_on_disk_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yml"), rule("t", "x")).unwrap();
        let live = Arc::new(ArcSwap::from_pointee(RuleSet::empty()));
        let (sender, outcomes) = channel();
        let (trigger, shutdown) = stream::shutdown::channel();
        watch(vec![folder.path().to_owned()], Arc::clone(&live), shutdown, move |outcome| {
            sender.send(outcome.clone()).unwrap();
        })
        .unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/b.yml"), rule("u", "x").replace("id: 1", "id: 2")).unwrap();
        loop {
            let outcome = outcomes.recv_timeout(Duration::from_secs(60)).unwrap();
            if outcome == (Outcome::Loaded { rules: 2 }) {
                break;
            }
        }
        assert_eq!(live.load().len(), 2);
        trigger.fire();
        // The thread ends, and with it the sender.
        while outcomes.recv_timeout(Duration::from_secs(60)).is_ok() {}
    }

    #[test]
    fn a_missing_folder_stops_the_start() {
        let (_trigger, shutdown) = stream::shutdown::channel();
        let config = CorrelateConfig { rules: vec!["/nowhere/at/all".into()], ..CorrelateConfig::default() };
        let error = start(&config, shutdown).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
