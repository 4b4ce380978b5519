//! A native built-in as a WebAssembly plugin: its own source file, with a chain of one around it.
//!
//! In: one feature, the built-in's name. Out: the plugin. Never: a copy of a built-in's code.

#![allow(dead_code, reason = "each feature uses one built-in")]

mod builtin;
#[path = "../../../../normalize/src/plugin.rs"]
mod plugin;

/// No built-in here looks addresses up.
mod geoip_database {
    /// See the normalizer.
    pub struct GeoDatabase;
}

use model::config::SitesConfig;
use model::event::{Event, Limits};
use model::time::Timestamp;
use plugin::{Builtin, Context, Metadata};

const BUILTIN: &Builtin = &builtin::CHOSEN;

/// The plugin.
pub struct Wrapped {
    event: Event,
    sites: SitesConfig,
}

impl Default for Wrapped {
    fn default() -> Wrapped {
        Wrapped { event: Event::new(), sites: SitesConfig::default() }
    }
}

impl mozdef_plugin::Plugin for Wrapped {
    const NAME: &'static str = BUILTIN.name;
    const REGISTRATION: &'static [&'static str] = BUILTIN.registration;
    const PRIORITY: i32 = BUILTIN.priority;

    fn on_event(
        &mut self,
        given: &mut mozdef_plugin::Event<'_>,
    ) -> Result<mozdef_plugin::Outcome, String> {
        let limits = Limits::default().for_normal_form();
        self.event.parse(given.document().as_bytes(), &limits).map_err(|error| error.to_string())?;
        let mut context = Context {
            now: Timestamp::from_millis(given.received_ms()),
            hostname: "",
            geoip: None,
            sites: &self.sites,
            metadata: Metadata { index: given.index.take(), id: given.id.take() },
        };
        let outcome = (BUILTIN.run)(&mut self.event, &mut context).map_err(|error| error.to_string())?;
        given.index = context.metadata.index;
        given.id = context.metadata.id;
        match outcome {
            plugin::Outcome::Dropped => return Ok(mozdef_plugin::Outcome::Drop),
            plugin::Outcome::Changed => given.replace(self.event.to_json()),
            plugin::Outcome::Unchanged => {}
        }
        Ok(mozdef_plugin::Outcome::Keep)
    }
}

mozdef_plugin::export!(Wrapped);
