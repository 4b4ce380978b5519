//! `mozdef plugin build`: sources to a component that loads.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::config::Config;
use plugins::{Cache, build, component};

use super::arguments::Build;
use super::{load, read};
use crate::output;

/// Runs the command.
pub(super) fn run(config: &Config, options: &Build) -> anyhow::Result<ExitCode> {
    let source = &options.source;
    let component = component_of(source, options)?;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}.wasm", name(source)?)),
    };
    let signed = out.with_extension("wasm.sig");
    if signed.exists() {
        // It was of another file.
        std::fs::remove_file(&signed).with_context(|| format!("cannot remove {}", signed.display()))?;
    }
    std::fs::write(&out, &component).with_context(|| format!("cannot write {}", out.display()))?;
    // It is compiled here once, and comes out of the cache from now on.
    let loaded = load(&config.normalize.plugins, &out)?;
    output::line(&format!(
        "{}: {} {}, {} KiB, registered for {}",
        out.display(),
        loaded.description.name,
        output::printable(&loaded.description.version),
        component.len().div_ceil(1024),
        words(&loaded.description)
    ));
    Ok(ExitCode::SUCCESS)
}

/// What a plugin runs on.
pub(super) fn words(description: &plugins::contract::Description) -> String {
    if description.any {
        "every event".to_owned()
    } else {
        output::printable(&description.registration.join(", "))
    }
}

fn component_of(source: &Path, options: &Build) -> anyhow::Result<Vec<u8>> {
    if source.is_dir() {
        return Ok(build::rust(source, &options.features)?);
    }
    match source.extension().and_then(|extension| extension.to_str()) {
        Some("py") => {
            let folder = Cache::user_folder().context("no cache folder: set HOME or XDG_CACHE_HOME")?;
            Ok(build::python(source, &options.plugin_version, &folder)?)
        }
        Some("wasm") => {
            let module = read(source)?;
            if !component::is_module(&module) {
                bail!("{} is a component already", source.display());
            }
            Ok(component::from_module(&module)?)
        }
        _ => bail!("{} is neither a .py file, a Cargo project nor a core module", source.display()),
    }
}

/// The plugin's name: that of the file, or of the project's folder.
fn name(source: &Path) -> anyhow::Result<String> {
    let whole = source.canonicalize().with_context(|| format!("cannot find {}", source.display()))?;
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    Ok(name.and_then(|name| name.to_str()).context("it has no name")?.to_owned())
}
