//! Configuration of plugins that come as `.wasm`: where they are, and what they may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Plugins of the normalizer that come as WebAssembly components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginsConfig {
    /// Folder whose `.wasm` files are loaded, and watched for changes; none are loaded when absent. A plugin with the name
    /// of a built-in one takes its place.
    pub folder: Option<PathBuf>,
    /// Folder for compiled plugins; `mozdef/plugins` in the user's cache when absent. Nobody else may write there.
    pub cache: Option<PathBuf>,
    /// Ed25519 public keys, 64 hexadecimal digits each. When there are any, only plugins that one of them has signed
    /// are loaded.
    pub keys: Vec<String>,
    /// What becomes of an event on which a plugin failed, or whose plugin is quarantined.
    pub on_error: OnPluginError,
    /// Longest time of one call of a plugin, for its whole batch, in milliseconds.
    #[schemars(range(min = 10, max = 60000))]
    pub deadline_ms: u64,
    /// Most memory of one instance, in MiB.
    #[schemars(range(min = 1, max = 1024))]
    pub memory_mib: u64,
    /// Most bytes that one call may hand back.
    #[schemars(range(min = 65536, max = 268435456))]
    pub output_bytes_max: usize,
    /// Most events in one call.
    #[schemars(range(min = 1, max = 1024))]
    pub batch_max: usize,
    /// Failed calls within `failures_window_s` after which a plugin is quarantined.
    #[schemars(range(min = 1, max = 10000))]
    pub failures_max: usize,
    /// See `failures_max`, in seconds.
    #[schemars(range(min = 1, max = 86400))]
    pub failures_window_s: u64,
    /// Limits of single plugins, by name, where they differ.
    pub limits: BTreeMap<String, PluginLimits>,
    /// What plugins ask for as their settings: plugin's name, key, text.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        PluginsConfig {
            folder: None,
            cache: None,
            keys: Vec::new(),
            on_error: OnPluginError::Keep,
            deadline_ms: 250,
            memory_mib: 128,
            output_bytes_max: 16 << 20,
            batch_max: 128,
            failures_max: 5,
            failures_window_s: 60,
            limits: BTreeMap::new(),
            settings: BTreeMap::new(),
        }
    }
}

/// What becomes of an event on which a plugin failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPluginError {
    /// It goes on without the plugin's changes, with a mark in `mozdef.errors`.
    #[default]
    Keep,
    /// It goes to the dead letters, and can be replayed when the plugin is well again.
    Dead,
}

/// Limits of one plugin, where they differ from the common ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// See `normalize.plugins.deadline_ms`.
    #[schemars(range(min = 10, max = 60000))]
    pub deadline_ms: Option<u64>,
    /// See `normalize.plugins.memory_mib`.
    #[schemars(range(min = 1, max = 1024))]
    pub memory_mib: Option<u64>,
    /// See `normalize.plugins.batch_max`.
    #[schemars(range(min = 1, max = 1024))]
    pub batch_max: Option<usize>,
    /// See `normalize.plugins.on_error`.
    pub on_error: Option<OnPluginError>,
}
