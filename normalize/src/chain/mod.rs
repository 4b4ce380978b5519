//! The plugin chain: ascending priority, ties by name; a plugin runs when the
//! event, as changed so far, has one of its words as a key or string.
//!
//! In: an event. Out: the event as the plugins left it, with their names in
//! `mozdef.plugins`; or dropped, by whom; or a plugin failed, and the event is
//! to be made anew and run without it. Plugins are pure, so that this gives
//! what the others made of it, and costs nothing while none fails. Never: the
//! half-done work of a plugin that failed.

pub mod tally;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path};

use self::tally::{Run, Tally};
pub use self::words::keys_and_values;
use self::words::{Numbers, Words};
use crate::marks::excerpt;
use crate::plugin::{Context, Outcome, Plugin};

/// Plugins in the order in which they run. Its memory is reused from event to event.
pub struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
    words: Words,
    matched: Numbers,
    ran: Vec<(usize, Run)>,
    /// Those that failed on the event in hand.
    failed: Vec<usize>,
    /// Numbers and names of those that ran on the last event.
    listed: Vec<usize>,
    list: Event,
}

/// What the chain did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Kept,
    /// A plugin dropped it.
    Dropped {
        /// The plugin's number in [`Chain::names`].
        number: usize,
    },
    /// A plugin failed: the event is half-done. Make it anew and run the chain again; the plugin sits out.
    Failed {
        /// What to say in `mozdef.errors`.
        remark: String,
    },
}

impl Chain {
    /// The chain of these plugins; those past 65,535 are left out.
    pub fn new(mut plugins: Vec<Box<dyn Plugin>>) -> Chain {
        plugins.sort_by(|a, b| (a.priority(), a.name()).cmp(&(b.priority(), b.name())));
        plugins.truncate(usize::from(u16::MAX));
        let mut words = Words::default();
        for (number, plugin) in (0..u16::MAX).zip(&plugins) {
            words.register(number, &plugin.registration());
        }
        Chain {
            plugins,
            words,
            matched: Numbers::default(),
            ran: Vec::new(),
            failed: Vec::new(),
            listed: Vec::new(),
            list: Event::new(),
        }
    }

    /// The plugins' names, in order; a plugin's number is its place.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|plugin| plugin.name())
    }

    /// Begins with another event: all plugins take part.
    pub fn begin(&mut self) {
        self.failed.clear();
    }

    /// Runs the plugins that the event wakes.
    ///
    /// # Errors
    /// [`EditError`] when the names of those that ran do not fit into the event's limits.
    pub fn run(
        &mut self,
        event: &mut Event,
        context: &mut Context<'_>,
        tally: &mut Tally,
    ) -> Result<Verdict, EditError> {
        self.ran.clear();
        self.words.find(event, 0, &mut self.matched);
        let mut from = 0;
        while let Some(number) = self.matched.next(from) {
            from = number + 1;
            let Some(plugin) = self.plugins.get(number).filter(|_| !self.failed.contains(&number)) else {
                continue;
            };
            match run_one(&**plugin, event, context) {
                Ok(Outcome::Unchanged) => self.ran.push((number, Run::Unchanged)),
                Ok(Outcome::Changed) => {
                    self.ran.push((number, Run::Changed));
                    // What it wrote or removed decides which of the later ones run.
                    if from < self.plugins.len() {
                        self.words.find(event, from, &mut self.matched);
                    }
                }
                Ok(Outcome::Dropped) => {
                    self.ran.push((number, Run::Dropped));
                    self.count(tally);
                    return Ok(Verdict::Dropped { number });
                }
                Err(remark) => {
                    self.failed.push(number);
                    return Ok(Verdict::Failed { remark });
                }
            }
        }
        self.count(tally);
        self.write_names(event)?;
        Ok(Verdict::Kept)
    }

    /// Runs one plugin, whatever its registration; `None` when there is none of this name. `Err` says how it failed.
    pub fn run_alone(
        &self,
        name: &str,
        event: &mut Event,
        context: &mut Context<'_>,
    ) -> Option<Result<Outcome, String>> {
        let plugin = self.plugins.iter().find(|plugin| plugin.name() == name)?;
        Some(run_one(&**plugin, event, context))
    }

    /// Counts the runs of the last attempt, and those that failed before it.
    fn count(&self, tally: &mut Tally) {
        let failed = self.failed.iter().map(|number| (*number, Run::Failed));
        self.ran.iter().copied().chain(failed).for_each(|(number, run)| tally.ran(number, run));
    }

    /// The names of those that ran, unless the event has a `mozdef` of its own.
    fn write_names(&mut self, event: &mut Event) -> Result<(), EditError> {
        static PLUGINS: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.plugins"));
        if event.member("mozdef").is_some() {
            return Ok(());
        }
        // The events of a stream mostly wake the same plugins.
        if !self.ran.iter().map(|(number, _)| number).eq(&self.listed)
            || self.list.member("plugins").is_none()
        {
            self.listed.clear();
            self.listed.extend(self.ran.iter().map(|(number, _)| *number));
            self.list.clear();
            self.list.set_member("plugins", New::EmptyArray)?;
            let names = self.listed.iter().filter_map(|number| self.plugins.get(*number));
            names
                .map(|plugin| plugin.name())
                .try_for_each(|name| self.list.push(&Path::new("plugins"), name))?;
        }
        match self.list.member("plugins") {
            Some(names) => event.set(&PLUGINS, names),
            None => event.set(&PLUGINS, New::EmptyArray),
        }
    }
}

/// One plugin; a panic is a failure like any other.
fn run_one(plugin: &dyn Plugin, event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, String> {
    let cause = match catch_unwind(AssertUnwindSafe(|| plugin.run(event, context))) {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    tracing::debug!(plugin = plugin.name(), %cause, "plugin failed, its changes are undone");
    Err(format!("plugin {}: {}", plugin.name(), excerpt(&cause)))
}

#[cfg(test)]
mod tests;
