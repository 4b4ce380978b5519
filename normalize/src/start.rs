//! What a normalizer is made of, from the configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::config::{NormalizeConfig, PluginsConfig, SitesConfig};
use model::event::Limits;
use plugins::Watched;
use plugins::tables::NoTables;

use crate::builtin;
use crate::geoip_database::{GeoDatabase, GeoDatabaseError};
use crate::plugin::Plugin;

/// What a normalizer needs to know.
pub struct Settings {
    /// Name of this MozDef instance, written to `mozdefhostname`.
    pub hostname: String,
    /// Limits of an event as it comes in.
    pub limits: Limits,
    /// Minutes east of Greenwich for dates that name no zone.
    pub zone_minutes: i32,
    /// Geolocation; none without a database.
    pub geoip: Option<GeoDatabase>,
    /// Sites that host names tell.
    pub sites: SitesConfig,
    /// The plugins, in any order.
    pub plugins: Vec<Box<dyn Plugin>>,
    /// WebAssembly plugins, where there is a folder of them.
    pub guests: Option<Arc<Watched>>,
}

/// Why a normalizer cannot start. Each names the key and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A name that no plugin has.
    #[error("normalize.disabled_plugins: there is no plugin {name}; known are {known}")]
    UnknownPlugin {
        /// The name in the configuration.
        name: String,
        /// All names.
        known: String,
    },
    /// The geolocation database cannot be used.
    #[error("normalize.geoip_database: {0}")]
    Geolocation(#[from] GeoDatabaseError),
    /// The folder of WebAssembly plugins cannot be used.
    #[error("normalize.plugins.folder: {0}")]
    Plugins(#[from] plugins::StartError),
}

impl Settings {
    /// All built-in plugins, and what the configuration says.
    ///
    /// # Errors
    /// [`StartError`] when the configuration names what is not there.
    pub fn from_config(config: &NormalizeConfig) -> Result<Settings, StartError> {
        let known = || builtin::ALL.iter().map(|plugin| plugin.name);
        if let Some(name) = config.disabled_plugins.iter().find(|name| !known().any(|known| known == *name)) {
            let known = known().collect::<Vec<_>>().join(", ");
            return Err(StartError::UnknownPlugin { name: name.clone(), known });
        }
        let enabled = |name: &str| !config.disabled_plugins.iter().any(|disabled| disabled == name);
        let plugins = builtin::ALL.iter().filter(|plugin| enabled(plugin.name));
        Ok(Settings {
            hostname: if config.hostname.is_empty() { machine_name() } else { config.hostname.clone() },
            limits: config.event.into(),
            zone_minutes: config.zone_minutes,
            geoip: config.geoip_database.as_deref().map(GeoDatabase::open).transpose()?,
            sites: config.sites.clone(),
            plugins: plugins.map(|plugin| Box::new(plugin) as Box<dyn Plugin>).collect(),
            guests: guests(&config.plugins)?,
        })
    }
}

/// The WebAssembly plugins of the configured folder.
fn guests(config: &PluginsConfig) -> Result<Option<Arc<Watched>>, StartError> {
    let Some(folder) = config.folder.clone() else { return Ok(None) };
    let watched = plugins::start(folder, config, plugins::Cache::of(config), Arc::new(NoTables))?;
    Ok(Some(Arc::new(watched)))
}

/// The machine's own name, `localhost` where it has none.
fn machine_name() -> String {
    let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use model::config::NormalizeConfig;

    use super::Settings;
    use crate::builtin;

    #[test]
    fn plugins_are_disabled_by_name_and_a_wrong_name_is_told() {
        let mut config =
            NormalizeConfig { disabled_plugins: vec!["parse_su".to_owned()], ..Default::default() };
        let settings = Settings::from_config(&config).unwrap();
        assert_eq!(settings.plugins.len(), builtin::ALL.len() - 1);
        assert!(!settings.hostname.is_empty());
        config.disabled_plugins.push("parse_us".to_owned());
        let error = Settings::from_config(&config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("parse_us") && error.contains("parse_sshd"), "{error}");
    }
}
