//! Finds and reads the configuration file.
//!
//! In: `--config`, `$MOZDEF_CONFIG`, `./mozdef.yaml`, `/etc/mozdef/mozdef.yaml`. Out: a valid `Config`, or every
//! mistake with its place. Never: guesses where a named file is missing.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use model::config::Config;

/// A configuration and where it came from.
pub(crate) struct Loaded {
    /// The file; `None` for defaults.
    pub file: Option<PathBuf>,
    /// Its content.
    pub config: Config,
}

/// The file that would be read: one named explicitly must exist.
pub(crate) fn find(explicit: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = explicit {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os("MOZDEF_CONFIG").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path));
    }
    [Path::new("./mozdef.yaml"), Path::new("/etc/mozdef/mozdef.yaml")]
        .into_iter()
        .find(|path| path.exists())
        .map(Path::to_owned)
}

/// Every mistake in a file, as `line:column: message` lines; empty when it is right.
pub(crate) fn mistakes(file: &Path) -> anyhow::Result<Vec<model::config::ConfigError>> {
    let text = read(file)?;
    Ok(match Config::from_yaml(&text) {
        Ok(config) => config.check(),
        Err(errors) => errors,
    })
}

/// Reads and checks the configuration.
pub(crate) fn load(explicit: Option<&Path>) -> anyhow::Result<Loaded> {
    let Some(file) = find(explicit) else {
        return Ok(Loaded { file: None, config: Config::default() });
    };
    let text = read(&file)?;
    let (config, errors) = match Config::from_yaml(&text) {
        Ok(config) => {
            let errors = config.check();
            (config, errors)
        }
        Err(errors) => (Config::default(), errors),
    };
    if errors.is_empty() {
        return Ok(Loaded { file: Some(file), config });
    }
    let lines: Vec<String> = errors.iter().map(|error| format!("  {}:{error}", file.display())).collect();
    bail!("{} in the configuration:\n{}", crate::output::counted(errors.len(), "mistake"), lines.join("\n"))
}

fn read(file: &Path) -> anyhow::Result<String> {
    let bytes =
        std::fs::read(file).with_context(|| format!("cannot read the configuration {}", file.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", file.display()))
}
