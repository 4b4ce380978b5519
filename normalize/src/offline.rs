//! Normalising without a log or a server: for `mozdef normalize`.
//!
//! In: lines. Out: normal form, as the normalizer stage would write it.

use model::config::NormalizeConfig;
use model::time::Timestamp;

use crate::chain::tally::Tally;
use crate::normalizer::{Alone, Format, Normalized, Normalizer, Raw, Sender};
use crate::plugin::Metadata;
use crate::start::{Settings, StartError};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A JSON object.
    Json,
    /// A syslog message.
    Syslog,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result<'r> {
    /// Normal form.
    Event(&'r [u8]),
    /// Dropped by the plugin of this name.
    Dropped(&'r str),
    /// Cannot be normalised, for this reason.
    Dead(String),
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The configuration does not fit.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no plugin of the name that was asked for.
    #[error("there is no plugin {name}; known are {known}")]
    UnknownPlugin {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
}

/// Normalises lines: all of the way, or one plugin on documents in normal form.
pub struct Offline {
    normalizer: Normalizer,
    plugin: Option<String>,
    /// The last document of a plugin that ran alone.
    document: String,
}

impl Offline {
    /// With the plugin of this name alone, or the whole way.
    ///
    /// # Errors
    /// [`OfflineError`] when the configuration or the plugin's name does not fit.
    pub fn new(config: &NormalizeConfig, plugin: Option<&str>) -> std::result::Result<Offline, OfflineError> {
        let normalizer = Normalizer::new(Settings::from_config(config)?);
        if let Some(name) = plugin.filter(|name| !normalizer.plugin_names().any(|known| known == *name)) {
            let known = normalizer.plugin_names().collect::<Vec<_>>().join(", ");
            return Err(OfflineError::UnknownPlugin { name: name.to_owned(), known });
        }
        Ok(Offline { normalizer, plugin: plugin.map(str::to_owned), document: String::new() })
    }

    /// WebAssembly plugins that were refused, and why.
    pub fn refused(&self) -> &[(String, plugins::LoadError)] {
        self.normalizer.guests().map_or(&[], |guests| &guests.refused)
    }

    /// Normalises one line, received at `now`.
    pub fn normalize(&mut self, input: Input, line: &[u8], now: Timestamp) -> Result<'_> {
        if let Some(name) = &self.plugin {
            return match self.normalizer.run_plugin(name, line, Metadata::default(), now) {
                Alone::Event(document, _) => {
                    self.document = document;
                    Result::Event(self.document.as_bytes())
                }
                Alone::Dropped => Result::Dropped(name),
                Alone::Failed(cause) | Alone::Unreadable(cause) => Result::Dead(cause),
                Alone::UnknownPlugin => Result::Dead(format!("there is no plugin {name}")),
            };
        }
        let format = match input {
            Input::Json => Format::Json,
            Input::Syslog => Format::Syslog,
        };
        let raw = Raw {
            value: line,
            format,
            received: now,
            endpoint: None,
            custom_endpoint: false,
            queue: None,
            item: 0,
            headers: None,
            sender: Sender::default(),
            digest: None,
        };
        match self.normalizer.normalize(raw, &mut Tally::default()) {
            Normalized::Event { json, .. } => Result::Event(json),
            Normalized::Dropped { plugin } => Result::Dropped(plugin),
            Normalized::Dead { reason, detail } => Result::Dead(format!("{reason}: {detail}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::config::NormalizeConfig;
    use model::time::Timestamp;

    use super::{Input, Offline, Result};

    #[test]
    fn lines_become_normal_form_or_one_plugin_runs() {
        let config = NormalizeConfig { hostname: "h".to_owned(), ..Default::default() };
        let mut whole = Offline::new(&config, None).unwrap();
        let now = Timestamp::EPOCH;
        assert!(matches!(whole.normalize(Input::Syslog, b"any text", now), Result::Event(_)));
        assert!(matches!(whole.normalize(Input::Json, b"any text", now), Result::Dead(_)));
        let mut alone = Offline::new(&config, Some("lower_keys")).unwrap();
        assert_eq!(alone.normalize(Input::Json, br#"{"A":1}"#, now), Result::Event(br#"{"a":1}"#));
        assert!(Offline::new(&config, Some("nobody")).is_err());
    }
}
