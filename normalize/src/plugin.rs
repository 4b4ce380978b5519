//! What a normaliser plugin is. Native built-ins are rows of one table; WASM
//! plugins will be the same thing to the chain.
//!
//! In: an event in normal form (or, for custom endpoints, as it came).
//! Out: changed, unchanged or dropped; perhaps an index and an id.
//! Never: I/O, clocks or randomness.

use model::config::SitesConfig;
use model::event::{EditError, Event};
use model::time::Timestamp;

use crate::geoip_database::GeoDatabase;

/// A native plugin.
pub struct Builtin {
    /// MozDef's name of the plugin, as listed in `mozdef.plugins`.
    pub name: &'static str,
    /// It runs when one of these equals a key or a string value anywhere in the event, whatever the case.
    pub registration: &'static [&'static str],
    /// Lower runs first; equal priorities run in order of name.
    pub priority: i32,
    /// The work. Pure.
    pub run: fn(&mut Event, &mut Context<'_>) -> Result<Outcome, PluginError>,
}

/// What the chain runs: native built-ins, and whatever else can do the same.
pub trait Plugin: Send + Sync {
    /// See [`Builtin::name`].
    fn name(&self) -> &str;
    /// See [`Builtin::registration`].
    fn registration(&self) -> Vec<&str>;
    /// See [`Builtin::priority`].
    fn priority(&self) -> i32;
    /// The work. Pure.
    ///
    /// # Errors
    /// See [`PluginError`]; what was written until then does not count.
    fn run(&self, event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError>;
}

impl Plugin for &'static Builtin {
    fn name(&self) -> &str {
        self.name
    }

    fn registration(&self) -> Vec<&str> {
        self.registration.to_vec()
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn run(&self, event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
        (self.run)(event, context)
    }
}

/// What a plugin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Unchanged,
    /// Wrote to the event or the metadata.
    Changed,
    /// The event goes no further; counted by plugin.
    Dropped,
}

/// Why a plugin failed; the event goes on without its changes, marked in `mozdef.errors`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// A write passed a limit.
    #[error("cannot write to the event: {0}")]
    Edit(#[from] EditError),
    /// The event lacks or misshapes what the plugin needs.
    #[error("{0}")]
    Input(String),
}

/// Where an event goes in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Index alias other than `events`.
    pub index: Option<String>,
    /// Document id other than the event id.
    pub id: Option<String>,
}

/// What a plugin may look at beside the event.
pub struct Context<'a> {
    /// When the event was received.
    pub now: Timestamp,
    /// Name of this MozDef instance, as in `mozdefhostname`.
    pub hostname: &'a str,
    /// Geolocation, where a database is configured.
    pub geoip: Option<&'a GeoDatabase>,
    /// Sites that host names tell.
    pub sites: &'a SitesConfig,
    /// Index and id, as set so far.
    pub metadata: Metadata,
}
