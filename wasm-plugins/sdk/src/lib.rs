//! Plugins for MozDef in Rust: one trait and one macro; the same source runs natively, in tests, and as `.wasm`.
//!
//! ```
//! use mozdef_plugin::{Event, Outcome, Plugin};
//!
//! #[derive(Default)]
//! struct VpnLogin;
//!
//! impl Plugin for VpnLogin {
//!     const NAME: &'static str = "vpn_login";
//!     const VERSION: &'static str = "1.0.0";
//!     const REGISTRATION: &'static [&'static str] = &["vpnd"];
//!
//!     fn on_event(&mut self, event: &mut Event<'_>) -> Result<Outcome, String> {
//!         let Some(user) = event.str("summary").and_then(|line| Some(line.strip_prefix("login ")?.to_owned())) else {
//!             return Ok(Outcome::Keep);
//!         };
//!         event.set("details.username", user);
//!         Ok(Outcome::Keep)
//!     }
//! }
//!
//! mozdef_plugin::export!(VpnLogin);
//!
//! let answer = mozdef_plugin::run::<VpnLogin>(r#"{"summary":"login ann"}"#);
//! assert_eq!(answer.document(), Some(r#"{"summary":"login ann","details":{"username":"ann"}}"#.to_owned()));
//! ```
//!
//! In: events in normal form. Out: what changes about them. Never: files, network or clocks; a plugin is a function.

mod event;
mod scan;

pub use event::{Answer, Change, Event};
pub use serde_json::{Value, json};

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, with what was set.
    Keep,
    /// It goes no further; counted.
    Drop,
}

/// A plugin.
pub trait Plugin: Default {
    /// As in `mozdef.plugins`; the file is called so too.
    const NAME: &'static str;
    /// The author's own version.
    const VERSION: &'static str = "0.1.0";
    /// It runs on an event when one of these equals a key or a string value anywhere in it, whatever the case.
    const REGISTRATION: &'static [&'static str];
    /// It runs on every event.
    const ANY: bool = false;
    /// Lower runs first.
    const PRIORITY: i32 = 100;

    /// The work. What it remembers from event to event may be gone at any time.
    ///
    /// # Errors
    /// What to write into `mozdef.errors`; the event goes on without the changes.
    fn on_event(&mut self, event: &mut Event<'_>) -> Result<Outcome, String>;
}

/// Runs a plugin on one document, natively: for tests.
pub fn run<P: Plugin>(document: &str) -> Answer {
    answer(&mut P::default(), Event::new(document, 0, None, None))
}

/// What a plugin makes of an event.
pub fn answer<P: Plugin>(plugin: &mut P, mut event: Event<'_>) -> Answer {
    match plugin.on_event(&mut event) {
        Ok(Outcome::Keep) => event.finish(),
        Ok(Outcome::Drop) => event.with(Change::Dropped),
        Err(why) => event.with(Change::Failed(why)),
    }
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug,
    /// For the curious.
    Info,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Error,
}

/// Writes a line to MozDef's log; natively to standard error.
pub fn log(level: Level, message: &str) {
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
    #[cfg(target_arch = "wasm32")]
    {
        use component::mozdef::plugin::host;
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warning => host::Level::Warning,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
}

/// A setting, `normalize.plugins.settings.NAME.KEY`; natively `$MOZDEF_SETTING_KEY`.
pub fn setting(key: &str) -> Option<String> {
    #[cfg(not(target_arch = "wasm32"))]
    return std::env::var(format!("MOZDEF_SETTING_{}", key.to_uppercase())).ok();
    #[cfg(target_arch = "wasm32")]
    component::mozdef::plugin::host::setting(key)
}

/// The row of a look-up table that fits a key best; natively there are none.
pub fn lookup(table: &str, key: &str) -> Option<Value> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        let (_, _) = (table, key);
        None
    }
    #[cfg(target_arch = "wasm32")]
    serde_json::from_str(&component::mozdef::plugin::host::lookup(table, key)?).ok()
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component {
    wit_bindgen::generate!({
        path: "../wit",
        world: "normaliser-plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "mozdef_plugin::component",
    });

    use crate::event::Change as Own;
    use exports::mozdef::plugin::normaliser::{Change, Description, Item, Verdict};

    pub fn describe<P: crate::Plugin>() -> Description {
        Description {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            registration: P::REGISTRATION.iter().map(|word| (*word).to_owned()).collect(),
            any: P::ANY,
            priority: P::PRIORITY,
        }
    }

    pub fn process<P: crate::Plugin>(plugin: &mut P, batch: &[Item]) -> Vec<Verdict> {
        let one = |item: &Item| {
            let event =
                crate::Event::new(&item.document, item.received_ms, item.index.clone(), item.id.clone());
            let answer = crate::answer(plugin, event);
            let change = match answer.change {
                Own::Unchanged => Change::Unchanged,
                Own::Merged(patch) => Change::Merged(patch),
                Own::Replaced(document) => Change::Replaced(document),
                Own::Dropped => Change::Dropped,
                Own::Failed(why) => Change::Failed(why),
            };
            Verdict { change, index: answer.index, id: answer.id }
        };
        batch.iter().map(one).collect()
    }
}

/// Makes a type that implements [`Plugin`] the plugin of this crate. Natively it does nothing.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        mod mozdef_component {
            use $crate::component::exports::mozdef::plugin::normaliser::{Description, Guest, Item, Verdict};

            struct Component;

            std::thread_local! {
                static PLUGIN: std::cell::RefCell<$plugin> = std::cell::RefCell::default();
            }

            impl Guest for Component {
                fn describe() -> Description {
                    $crate::component::describe::<$plugin>()
                }

                fn process(batch: Vec<Item>) -> Vec<Verdict> {
                    PLUGIN.with_borrow_mut(|plugin| $crate::component::process(plugin, &batch))
                }
            }

            use super::*;

            $crate::component::export_component!(Component with_types_in $crate::component);
        }
    };
}
