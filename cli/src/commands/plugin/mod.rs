//! `mozdef plugin`: from an idea to a plugin on live events, without a server but for the last step.
//!
//! In: sources, `.wasm` files, the plugins folder. Out: components, test results, figures, files in the folder, which a
//! running MozDef watches. Never: code of a plugin outside of its sandbox.

mod arguments;
mod bench;
mod build;
mod difference;
mod folder;
mod inspect;
mod list;
mod new;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use model::config::{Config, PluginsConfig};
use plugins::tables::NoTables;
use plugins::{Cache, Loaded, Loader, Store};

pub(crate) use self::arguments::Plugin;
use crate::configuration;

/// Runs the command.
pub(crate) fn run(config_file: Option<&Path>, command: Plugin) -> anyhow::Result<ExitCode> {
    let config = configuration::load(config_file)?.config;
    match command {
        Plugin::New(options) => new::run(&options),
        Plugin::Build(options) => build::run(&config, &options),
        Plugin::Test(options) => test::run(&config, &options),
        Plugin::Bench(options) => bench::run(&config, &options),
        Plugin::Inspect(options) => inspect::run(&config, &options),
        Plugin::List(options) => list::run(&config, &options),
        Plugin::Push(options) => folder::push(&config, &options),
        Plugin::Disable(options) => folder::disable(&config, &options, true),
        Plugin::Enable(options) => folder::disable(&config, &options, false),
        Plugin::Rollback(options) => folder::rollback(&config, &options),
    }
}

/// The plugin's name, which is its file's.
fn name_of(file: &Path) -> anyhow::Result<String> {
    if file.extension().is_none_or(|extension| extension != "wasm") {
        bail!("{} is no .wasm file; `mozdef plugin build` makes one", file.display());
    }
    let name = file.file_stem().and_then(|stem| stem.to_str());
    Ok(name.with_context(|| format!("{} has no name", file.display()))?.to_owned())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Loads a file with these limits, as a running MozDef would; signatures are asked for where it is pushed.
fn load(config: &PluginsConfig, file: &Path) -> anyhow::Result<Arc<Loaded>> {
    let config = PluginsConfig { keys: Vec::new(), ..config.clone() };
    let loader = Loader::new(config.clone(), Cache::of(&config), Arc::new(NoTables), None);
    let loaded = loader.load(&name_of(file)?, &read(file)?, None);
    Ok(Arc::new(loaded.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?))
}

/// The plugins folder: named, or configured.
fn store(config: &Config, named: Option<&PathBuf>) -> anyhow::Result<Store> {
    let folder = named.or(config.normalize.plugins.folder.as_ref());
    let folder = folder.context("which folder? name it by --plugins, or set normalize.plugins.folder")?;
    if !folder.is_dir() {
        bail!("the plugins folder {} is not there; make it first", folder.display());
    }
    Ok(Store::new(folder))
}

/// A digest, short enough to read.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
