//! `mozdef plugin push|disable|enable|rollback`: changes of the folder that a running MozDef watches.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use model::config::Config;
use plugins::tables::NoTables;
use plugins::{Cache, Loader, digest_of, signature};

use super::arguments::{Named, Push, Rollback};
use super::test::{case_files, results};
use super::{name_of, read, short, store};
use crate::output;

/// Checks, tests, signs and puts a plugin into the folder.
pub(super) fn push(config: &Config, options: &Push) -> anyhow::Result<ExitCode> {
    let store = store(config, options.plugins.as_ref())?;
    let name = name_of(&options.file)?;
    let bytes = read(&options.file)?;
    let digest = digest_of(&bytes);
    let signature = match &options.sign_key {
        Some(file) => {
            let secret =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let signed = signature::sign(&digest, &secret);
            let (signature, public) = signed
                .with_context(|| format!("{} holds no key: 64 hexadecimal digits are", file.display()))?;
            output::line(&format!("signed; the public key for normalize.plugins.keys is {public}"));
            Some(signature)
        }
        None => std::fs::read_to_string(options.file.with_extension("wasm.sig")).ok(),
    };
    let plugins = &config.normalize.plugins;
    let loader = Loader::new(plugins.clone(), Cache::of(plugins), Arc::new(NoTables), None);
    let loaded = loader
        .load(&name, &bytes, signature.as_deref())
        .map_err(|error| anyhow::anyhow!("{}: {error}", options.file.display()))?;
    let version = output::printable(&loaded.description.version);
    let files = case_files(&options.file, &options.cases)?;
    if files.is_empty() && !options.untested {
        bail!("{name} has no cases: name files by --cases, or say --untested");
    }
    let results = results(config, Arc::new(loaded), &files)?;
    let failed = results.iter().filter(|result| !result.passed()).count();
    if failed > 0 {
        results.iter().for_each(super::test::Outcome::tell);
        bail!("{} failed; nothing was pushed", output::counted(failed, "case"));
    }
    if let Some(why) = store.quarantined(&name, &digest) {
        output::line(&format!(
            "this version was quarantined ({}); it gets another chance",
            output::printable(&why)
        ));
        store.pardon(&name, &digest);
    }
    store
        .put(&name, &bytes, signature.as_deref())
        .with_context(|| format!("cannot write {}", store.file(&name).display()))?;
    output::line(&format!(
        "{name} {version} ({}) is in {}; {} passed",
        short(&digest),
        store.folder().display(),
        output::counted(results.len(), "case")
    ));
    if store.is_disabled(&name) {
        output::line(&format!("it is disabled: `mozdef plugin enable {name}` lets it run"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a plugin run no more, or again.
pub(super) fn disable(config: &Config, options: &Named, disabled: bool) -> anyhow::Result<ExitCode> {
    let store = store(config, options.plugins.as_ref())?;
    let name = known(&store, &options.name)?;
    store.set_disabled(name, disabled)?;
    output::line(&format!("{name} {}", if disabled { "is disabled" } else { "runs" }));
    Ok(ExitCode::SUCCESS)
}

/// Puts an earlier version back.
pub(super) fn rollback(config: &Config, options: &Rollback) -> anyhow::Result<ExitCode> {
    let store = store(config, options.plugins.as_ref())?;
    let name = known(&store, &options.name)?;
    let current = store.read(name).map(|(bytes, _)| digest_of(&bytes)).unwrap_or_default();
    let kept = store.kept(name);
    let fits = |digest: &str| match &options.digest {
        Some(beginning) => digest.starts_with(beginning.as_str()),
        None => digest != current,
    };
    // One that is named may have been quarantined: whoever names it wants it.
    let chosen = kept
        .iter()
        .filter(|version| fits(&version.digest))
        .find(|version| options.digest.is_some() || version.quarantined.is_none());
    let Some(chosen) = chosen else {
        let known: Vec<&str> = kept.iter().map(|version| short(&version.digest)).collect();
        bail!("{name} has no such version to go back to; kept are: {}", known.join(", "));
    };
    let (bytes, signature) = store
        .read_kept(name, &chosen.digest)
        .with_context(|| format!("the kept version {} is broken", short(&chosen.digest)))?;
    store.pardon(name, &chosen.digest);
    store.put(name, &bytes, signature.as_deref())?;
    output::line(&format!("{name} is version {} again", short(&chosen.digest)));
    Ok(ExitCode::SUCCESS)
}

/// The name of a plugin that is in the folder.
fn known<'n>(store: &plugins::Store, name: &'n str) -> anyhow::Result<&'n str> {
    let names = store.names()?;
    if !names.iter().any(|known| known == name) {
        bail!("there is no plugin {name} in {}; there are: {}", store.folder().display(), names.join(", "));
    }
    Ok(name)
}
