//! The plugin chain: ascending priority, ties by name; a plugin runs when the
//! event, as changed so far, has one of its words as a key or string.
//!
//! In: an event. Out: the event as the plugins left it, with their names in
//! `mozdef.plugins`; or dropped, by whom; or a plugin failed, and the event is
//! to be made anew and run without it. Plugins are pure, so that this gives
//! what the others made of it, and costs nothing while none fails. Never: the
//! half-done work of a plugin that failed.

mod guest;
pub mod tally;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use model::event::{EditError, Event, New, Path};

use plugins::contract::Item;
use plugins::{Instance, Loaded};

pub use self::guest::{Answer, Waiting};
pub(crate) use self::guest::{apply, item};
use self::tally::{Run, Tally};
pub use self::words::keys_and_values;
use self::words::{Numbers, Words};
use crate::marks::excerpt;
use crate::plugin::{Context, Outcome, Plugin};

/// Plugins in the order in which they run. Its memory is reused from event to event.
pub struct Chain {
    plugins: Vec<Entry>,
    /// Native plugins whose place a WebAssembly plugin of the same name has taken.
    shadowed: Vec<Box<dyn Plugin>>,
    words: Words,
    passage: Passage,
    /// Numbers and names of those that ran on the last event.
    listed: Vec<usize>,
    list: Event,
}

/// A plugin of the chain.
enum Entry {
    Native(Box<dyn Plugin>),
    Guest(Box<Instance>),
}

/// How far an event has come.
#[derive(Debug, Default)]
pub struct Passage {
    /// The first number that has not had its turn.
    from: usize,
    matched: Numbers,
    ran: Vec<(usize, Run)>,
    /// Those that failed on it.
    failed: Vec<usize>,
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
    /// A WebAssembly plugin comes next: [`Chain::ask`] it, perhaps together with other events that wait for it, then
    /// [`Chain::resume`].
    Waiting {
        /// The plugin's number in [`Chain::names`].
        number: usize,
    },
    /// A plugin failed: the event is half-done. Make it anew and run the chain again; the plugin sits out.
    Failed {
        /// What to say in `mozdef.errors`.
        remark: String,
    },
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Entry::Native(plugin) => plugin.name(),
            Entry::Guest(instance) => &instance.plugin().description.name,
        }
    }

    fn priority(&self) -> i32 {
        match self {
            Entry::Native(plugin) => plugin.priority(),
            Entry::Guest(instance) => instance.plugin().description.priority,
        }
    }

    fn register(&self, number: u16, words: &mut Words) {
        match self {
            Entry::Native(plugin) => words.register(number, &plugin.registration()),
            Entry::Guest(instance) => {
                let description = &instance.plugin().description;
                let list: Vec<&str> = description.registration.iter().map(String::as_str).collect();
                if description.any {
                    words.register_always(number);
                } else {
                    words.register(number, &list);
                }
            }
        }
    }
}

impl Chain {
    /// The chain of these plugins; those past 65,535 are left out.
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Chain {
        let mut chain = Chain {
            plugins: plugins.into_iter().map(Entry::Native).collect(),
            shadowed: Vec::new(),
            words: Words::default(),
            passage: Passage::default(),
            listed: Vec::new(),
            list: Event::new(),
        };
        chain.settle();
        chain
    }

    /// Puts these WebAssembly plugins in the place of those before. One with the name of a native plugin takes that
    /// one's place for as long as it is there.
    pub fn set_guests(&mut self, guests: &[Arc<Loaded>]) {
        let mut natives = std::mem::take(&mut self.shadowed);
        let mut before = Vec::new();
        for entry in std::mem::take(&mut self.plugins) {
            match entry {
                Entry::Guest(instance) => before.push(instance),
                Entry::Native(plugin) => natives.push(plugin),
            }
        }
        for native in natives {
            if guests.iter().any(|guest| guest.description.name == native.name()) {
                self.shadowed.push(native);
            } else {
                self.plugins.push(Entry::Native(native));
            }
        }
        for guest in guests {
            // Whoever has not changed keeps its instance.
            let kept = before.iter().position(|instance| Arc::ptr_eq(instance.plugin(), guest));
            let made = || Box::new(Instance::new(Arc::clone(guest)));
            self.plugins.push(Entry::Guest(kept.map_or_else(made, |at| before.swap_remove(at))));
        }
        self.settle();
    }

    /// Order, words and numbers anew.
    fn settle(&mut self) {
        self.plugins.sort_by(|a, b| (a.priority(), a.name()).cmp(&(b.priority(), b.name())));
        self.plugins.truncate(usize::from(u16::MAX));
        self.words = Words::default();
        for (number, plugin) in (0..u16::MAX).zip(&self.plugins) {
            plugin.register(number, &mut self.words);
        }
        self.passage = Passage::default();
        self.listed.clear();
        self.list.clear();
    }

    /// The plugins' names, in order; a plugin's number is its place.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(Entry::name)
    }

    /// Begins with another event: all plugins take part.
    pub fn begin(&mut self) {
        self.passage.failed.clear();
    }

    /// The plugin of this number sits out for the event in hand.
    pub fn leave_out(&mut self, number: usize) {
        self.passage.failed.push(number);
    }

    /// Exchanges how far the event in hand has come with another's.
    pub fn exchange(&mut self, passage: &mut Passage) {
        std::mem::swap(&mut self.passage, passage);
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
        self.passage.ran.clear();
        self.passage.from = 0;
        self.words.find(event, 0, &mut self.passage.matched);
        self.go_on(event, context, tally)
    }

    /// Goes on after the plugin that the event has waited for.
    ///
    /// # Errors
    /// As [`Chain::run`].
    pub fn resume(
        &mut self,
        waited: Waiting,
        event: &mut Event,
        context: &mut Context<'_>,
        tally: &mut Tally,
    ) -> Result<Verdict, EditError> {
        match waited.run {
            Run::Failed => self.passage.failed.push(waited.number),
            run => self.passage.ran.push((waited.number, run)),
        }
        match waited.run {
            Run::Changed => self.words.find(event, self.passage.from, &mut self.passage.matched),
            Run::Dropped => {
                self.count(tally);
                return Ok(Verdict::Dropped { number: waited.number });
            }
            Run::Unchanged | Run::Failed => {}
        }
        self.go_on(event, context, tally)
    }

    fn go_on(
        &mut self,
        event: &mut Event,
        context: &mut Context<'_>,
        tally: &mut Tally,
    ) -> Result<Verdict, EditError> {
        while let Some(number) = self.passage.matched.next(self.passage.from) {
            self.passage.from = number + 1;
            let entry = self.plugins.get(number).filter(|_| !self.passage.failed.contains(&number));
            let plugin = match entry {
                None => continue,
                Some(Entry::Guest(_)) => return Ok(Verdict::Waiting { number }),
                Some(Entry::Native(plugin)) => plugin,
            };
            match run_one(&**plugin, event, context) {
                Ok(Outcome::Unchanged) => self.passage.ran.push((number, Run::Unchanged)),
                Ok(Outcome::Changed) => {
                    self.passage.ran.push((number, Run::Changed));
                    // What it wrote or removed decides which of the later ones run.
                    if self.passage.from < self.plugins.len() {
                        self.words.find(event, self.passage.from, &mut self.passage.matched);
                    }
                }
                Ok(Outcome::Dropped) => {
                    self.passage.ran.push((number, Run::Dropped));
                    self.count(tally);
                    return Ok(Verdict::Dropped { number });
                }
                Err(remark) => {
                    self.passage.failed.push(number);
                    return Ok(Verdict::Failed { remark });
                }
            }
        }
        self.count(tally);
        self.write_names(event)?;
        Ok(Verdict::Kept)
    }

    /// Puts events to the WebAssembly plugin of this number; as many answers as events.
    pub fn ask(&mut self, number: usize, items: &[Item<'_>]) -> Vec<Answer> {
        match self.plugins.get_mut(number) {
            Some(Entry::Guest(instance)) => guest::ask(instance, items),
            _ => Vec::new(),
        }
    }

    /// The answer of the plugin of this number was no document, or did not fit: that counts against it.
    pub fn gave_nonsense(&mut self, number: usize, what: &str) -> Answer {
        match self.plugins.get_mut(number) {
            Some(Entry::Guest(instance)) => guest::nonsense(instance, what),
            _ => Answer::Unchanged,
        }
    }

    /// Runs one plugin, whatever its registration; `None` when there is none of this name. `Err` says how it failed.
    pub fn run_alone(
        &mut self,
        name: &str,
        event: &mut Event,
        context: &mut Context<'_>,
    ) -> Option<Result<Outcome, String>> {
        let entry = self.plugins.iter_mut().find(|entry| entry.name() == name)?;
        Some(match entry {
            Entry::Native(plugin) => run_one(&**plugin, event, context),
            Entry::Guest(instance) => guest::run_alone(instance, event, context),
        })
    }

    /// Counts the runs of the last attempt, and those that failed before it.
    fn count(&self, tally: &mut Tally) {
        let failed = self.passage.failed.iter().map(|number| (*number, Run::Failed));
        self.passage.ran.iter().copied().chain(failed).for_each(|(number, run)| tally.ran(number, run));
    }

    /// The names of those that ran, unless the event has a `mozdef` of its own.
    fn write_names(&mut self, event: &mut Event) -> Result<(), EditError> {
        static PLUGINS: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.plugins"));
        if event.member("mozdef").is_some() {
            return Ok(());
        }
        // The events of a stream mostly wake the same plugins.
        if !self.passage.ran.iter().map(|(number, _)| number).eq(&self.listed)
            || self.list.member("plugins").is_none()
        {
            self.listed.clear();
            self.listed.extend(self.passage.ran.iter().map(|(number, _)| *number));
            self.list.clear();
            self.list.set_member("plugins", New::EmptyArray)?;
            let names = self.listed.iter().filter_map(|number| self.plugins.get(*number));
            names.map(Entry::name).try_for_each(|name| self.list.push(&Path::new("plugins"), name))?;
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
