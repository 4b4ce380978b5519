//! What an instance holds on the host's side, and the three functions that plugins may call.
//!
//! In: calls of a plugin. Out: log lines, settings, rows. Never: more log lines than the bound, or anything that
//! a plugin could change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use model::metrics::metrics;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::contract::{HOST, Level};
use crate::limits::Guard;
use crate::tables::Tables;

/// Longest log line, in bytes.
const LINE_BYTES_MAX: usize = 2048;
/// Lines that may come at once, and then each second.
const LINES_BURST: f64 = 50.0;
const LINES_PER_SECOND: f64 = 10.0;

/// What an instance may see.
pub(crate) struct State {
    /// The plugin's name.
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) guard: Guard,
    /// What a plugin sees as the time: the receipt of the first event in hand.
    pub(crate) now_ms: i64,
    /// Seed and count of what a plugin sees as chance.
    pub(crate) chance: (u64, u64),
    budget: Budget,
}

impl State {
    pub(crate) fn new(
        name: &Arc<str>,
        settings: &Arc<BTreeMap<String, String>>,
        tables: &Arc<dyn Tables>,
        memory_bytes: usize,
    ) -> State {
        use std::hash::BuildHasher;
        let seed = std::hash::RandomState::new().hash_one(&**name);
        State {
            name: Arc::clone(name),
            settings: Arc::clone(settings),
            tables: Arc::clone(tables),
            guard: Guard::new(memory_bytes),
            now_ms: 0,
            chance: (seed, 0),
            budget: Budget::new(Instant::now()),
        }
    }

    fn log(&mut self, level: Level, message: &str) {
        if !self.budget.take(Instant::now()) {
            metrics().plugin_log_lost.with_label_values(&[&*self.name]).inc();
            return;
        }
        let plugin = &*self.name;
        let message = cut(message);
        match level {
            Level::Debug => tracing::debug!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Warning => tracing::warn!(plugin, "{message}"),
            Level::Error => tracing::error!(plugin, "{message}"),
        }
    }
}

/// The beginning of a line, without control characters.
fn cut(message: &str) -> String {
    let mut bytes = 0_usize;
    let kept = message.chars().take_while(|c| {
        bytes = bytes.saturating_add(c.len_utf8());
        bytes <= LINE_BYTES_MAX
    });
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How many log lines an instance may still write.
#[derive(Debug)]
struct Budget {
    lines: f64,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        Budget { lines: LINES_BURST, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.lines = (self.lines + passed * LINES_PER_SECOND).min(LINES_BURST);
        if self.lines < 1.0 {
            return false;
        }
        self.lines -= 1.0;
        true
    }
}

/// Defines the contract's `host` interface.
pub(crate) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap("log", |mut store: StoreContextMut<'_, State>, (level, message): (Level, String)| {
        store.data_mut().log(level, &message);
        Ok(())
    })?;
    host.func_wrap("setting", |store: StoreContextMut<'_, State>, (key,): (String,)| {
        Ok((store.data().settings.get(&key).cloned(),))
    })?;
    host.func_wrap("lookup", |store: StoreContextMut<'_, State>, (table, key): (String, String)| {
        Ok((store.data().tables.look_up(&table, &key),))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Budget, LINE_BYTES_MAX, cut};

    #[test]
    fn a_flood_of_lines_is_a_trickle() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert_eq!((0..100_000).filter(|_| budget.take(start)).count(), 50);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100_000).filter(|_| budget.take(later)).count(), 10);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("a\nb\u{1b}c"), "a b c");
        assert!(cut(&"ä".repeat(5000)).len() <= LINE_BYTES_MAX);
    }
}
