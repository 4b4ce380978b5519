//! The contract's types, as `wit/plugin.wit` has them; and its text.
//!
//! In: nothing. Out: what crosses the border. Never: a type that differs from the text; a component is checked
//! against these types when it is loaded.

use wasmtime::component::{ComponentType, Lift, Lower};

/// The contract as authors read it.
pub const WIT: &str = include_str!("../wit/plugin.wit");
/// The interface that a normaliser plugin exports.
pub const NORMALISER: &str = "mozdef:plugin/normaliser@1.0.0";
/// The interface that the host offers.
pub const HOST: &str = "mozdef:plugin/host@1.0.0";
/// The world of a normaliser plugin.
pub const WORLD: &str = "normaliser-plugin";

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Description {
    /// As in `mozdef.plugins`.
    pub name: String,
    /// The author's own version.
    pub version: String,
    /// It runs when one of these equals a key or a string value of the event, whatever the case.
    pub registration: Vec<String>,
    /// It runs on every event.
    pub any: bool,
    /// Lower runs first.
    pub priority: i32,
}

/// One event for a plugin.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub struct Item<'a> {
    /// The event in normal form, JSON.
    pub document: &'a str,
    /// When it was received, in milliseconds since 1970.
    #[component(name = "received-ms")]
    pub received_ms: i64,
    /// Index alias other than `events`.
    pub index: Option<&'a str>,
    /// Document id other than the event's.
    pub id: Option<&'a str>,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Change {
    /// It stays as it is.
    #[component(name = "unchanged")]
    Unchanged,
    /// A JSON merge patch.
    #[component(name = "merged")]
    Merged(String),
    /// The whole new document.
    #[component(name = "replaced")]
    Replaced(String),
    /// It goes no further.
    #[component(name = "dropped")]
    Dropped,
    /// The plugin cannot deal with it.
    #[component(name = "failed")]
    Failed(String),
}

/// The answer for one event.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Verdict {
    /// What becomes of it.
    pub change: Change,
    /// Index alias other than `events`.
    pub index: Option<String>,
    /// Document id other than the event's.
    pub id: Option<String>,
}

impl Verdict {
    /// Bytes of text that it carries.
    pub(crate) fn bytes(&self) -> usize {
        let change = match &self.change {
            Change::Unchanged | Change::Dropped => 0,
            Change::Merged(text) | Change::Replaced(text) | Change::Failed(text) => text.len(),
        };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        change.saturating_add(text(&self.index)).saturating_add(text(&self.id))
    }
}

/// How much a log line of a plugin matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "guests make them, not we")]
pub(crate) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warning")]
    Warning,
    #[component(name = "error")]
    Error,
}
