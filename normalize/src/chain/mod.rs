//! The plugin chain: ascending priority, ties by name; a plugin runs when the
//! event, as changed so far, has one of its words as a key or string.
//!
//! In: an event. Out: the event as the plugins left it, with their names in
//! `mozdef.plugins`; or dropped, by whom. Never: the half-done work of a
//! plugin that failed.

pub mod tally;
mod words;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path};

use self::tally::{Run, Tally};
pub use self::words::keys_and_values;
use self::words::{Numbers, Words};
use crate::marks::{Kind, Marks, excerpt};
use crate::plugin::{Context, Outcome, Plugin};

/// Plugins in the order in which they run. Its memory is reused from event to event.
pub struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
    words: Words,
    matched: Numbers,
    ran: Vec<usize>,
    before: Event,
}

/// What the chain did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Kept,
    /// A plugin dropped it.
    Dropped {
        /// The plugin's number in [`Chain::names`].
        number: usize,
    },
}

impl Chain {
    /// The chain of these plugins; those past 65,535 are left out.
    pub fn new(mut plugins: Vec<Box<dyn Plugin>>) -> Chain {
        plugins.sort_by(|a, b| (a.priority(), a.name()).cmp(&(b.priority(), b.name())));
        let mut words = Words::default();
        for (number, plugin) in (0..u16::MAX).zip(&plugins) {
            words.register(number, &plugin.registration());
        }
        Chain { plugins, words, matched: Numbers::default(), ran: Vec::new(), before: Event::new() }
    }

    /// The plugins' names, in order; a plugin's number is its place.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|plugin| plugin.name())
    }

    /// Runs the plugins that the event wakes. An error means that their names do not fit into the event's limits.
    ///
    /// # Errors
    /// [`EditError`] when the event is at its limits.
    pub fn run(
        &mut self,
        event: &mut Event,
        context: &mut Context<'_>,
        marks: &mut Marks,
        tally: &mut Tally,
    ) -> Result<Verdict, EditError> {
        self.ran.clear();
        self.words.find(event, &mut self.matched);
        let mut from = 0;
        while let Some(number) = self.matched.next(from) {
            from = number + 1;
            let run = self.run_one(number, event, context, marks);
            tally.ran(number, run);
            match run {
                Run::Dropped => return Ok(Verdict::Dropped { number }),
                Run::Failed => {}
                Run::Unchanged => self.ran.push(number),
                Run::Changed => {
                    self.ran.push(number);
                    // What it wrote or removed decides which of the later ones run.
                    if from < self.plugins.len() {
                        self.words.find(event, &mut self.matched);
                    }
                }
            }
        }
        self.write_names(event)?;
        Ok(Verdict::Kept)
    }

    /// Runs one plugin, whatever its registration; `None` when there is none of this name.
    pub fn run_alone(
        &mut self,
        name: &str,
        event: &mut Event,
        context: &mut Context<'_>,
        marks: &mut Marks,
    ) -> Option<Run> {
        let number = self.plugins.iter().position(|plugin| plugin.name() == name)?;
        Some(self.run_one(number, event, context, marks))
    }

    /// One plugin; when it fails or panics, event and metadata are as before.
    fn run_one(
        &mut self,
        number: usize,
        event: &mut Event,
        context: &mut Context<'_>,
        marks: &mut Marks,
    ) -> Run {
        let Some(plugin) = self.plugins.get(number) else { return Run::Unchanged };
        self.before.clone_from(event);
        let metadata = context.metadata.clone();
        let cause = match catch_unwind(AssertUnwindSafe(|| plugin.run(event, context))) {
            Ok(Ok(Outcome::Unchanged)) => return Run::Unchanged,
            Ok(Ok(Outcome::Changed)) => return Run::Changed,
            Ok(Ok(Outcome::Dropped)) => return Run::Dropped,
            Ok(Err(error)) => Cow::Owned(error.to_string()),
            Err(_) => Cow::Borrowed("it panicked"),
        };
        std::mem::swap(event, &mut self.before);
        context.metadata = metadata;
        tracing::debug!(plugin = plugin.name(), %cause, "plugin failed, its changes are undone");
        marks.add(Kind::Plugin, format!("plugin {}: {}", plugin.name(), excerpt(&cause)));
        Run::Failed
    }

    /// The names of those that ran, unless the event has a `mozdef` of its own.
    fn write_names(&self, event: &mut Event) -> Result<(), EditError> {
        static PLUGINS: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.plugins"));
        if event.member("mozdef").is_some() {
            return Ok(());
        }
        event.set(&PLUGINS, New::EmptyArray)?;
        for plugin in self.ran.iter().filter_map(|number| self.plugins.get(*number)) {
            event.push(&PLUGINS, plugin.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
