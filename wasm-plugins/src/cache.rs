//! Machine code of plugins, kept so that each version is compiled once.
//!
//! Compiling takes 0.1 s for a small plugin and many seconds for one of Python. A file of the cache is a keyed digest
//! (BLAKE3) of all that follows, then the code. The key is made at random and lies beside the files, readable by their
//! owner alone: what anybody else writes there, or what rots, is not run but compiled anew.
//!
//! In: WebAssembly. Out: code. Never: code that this user's key has not signed.

#![allow(unsafe_code, reason = "running kept machine code means trusting it; it is authenticated first")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::config::PluginsConfig;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the keyed digest.
const SEAL_BYTES: usize = 32;
/// Most bytes of a kept file that are read.
const CODE_BYTES_MAX: u64 = 1 << 30;

/// A folder of machine code; or none, and everything is compiled.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// The folder and its key.
    place: Option<(PathBuf, [u8; 32])>,
}

impl Cache {
    /// The configured cache, or that of the user.
    pub fn of(config: &PluginsConfig) -> Cache {
        match config.cache.clone().or_else(Cache::user_folder) {
            Some(folder) => Cache::open(&folder),
            None => Cache::default(),
        }
    }

    /// The user's folder for what belongs to plugins.
    pub fn user_folder() -> Option<PathBuf> {
        let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
        Some(cache.join("mozdef/plugins"))
    }

    /// The cache in this folder, which is made; no cache, with a word in the log, where that cannot be.
    pub fn open(folder: &Path) -> Cache {
        match key(folder) {
            Ok(key) => Cache { place: Some((folder.to_owned(), key)) },
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "no cache for plugins: each start compiles them");
                Cache::default()
            }
        }
    }

    /// The component of these bytes, whose digest is known; from the cache or compiled.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        digest: &str,
    ) -> Result<Component, wasmtime::Error> {
        let Some((folder, key)) = &self.place else { return Component::new(engine, bytes) };
        let file = folder.join(format!("{digest}.cwasm"));
        if let Some(code) = read(&file, key, digest) {
            // SAFETY: the bytes are what `serialize` gave in a process of this user: their keyed digest, with a key that
            // only this user can read, has just been checked. Wasmtime itself checks that version, settings and
            // processor are those of this engine.
            match unsafe { Component::deserialize(engine, &code) } {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::debug!("kept code of a plugin does not fit, it is made anew: {error:#}")
                }
            }
        }
        let component = Component::new(engine, bytes)?;
        let kept = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| write(&file, key, digest, &code).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(file = %file.display(), error, "the code of a plugin is not kept");
        }
        Ok(component)
    }
}

/// The folder's key; made with the folder where there is none.
fn key(folder: &Path) -> std::io::Result<[u8; 32]> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = folder.join("key");
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
        Ok(mut new) => std::io::Write::write_all(&mut new, &key)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let kept = fs::read(&file)?;
            key = kept
                .try_into()
                .map_err(|_| std::io::Error::other("the file `key` has not 32 bytes; remove it"))?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

fn seal(key: &[u8; 32], digest: &str, code: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(key).update(digest.as_bytes()).update(code).finalize()
}

/// Kept code, when its seal is right.
fn read(file: &Path, key: &[u8; 32], digest: &str) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    fs::File::open(file).ok()?.take(CODE_BYTES_MAX).read_to_end(&mut all).ok()?;
    let (found, code) = all.split_at_checked(SEAL_BYTES)?;
    let found: [u8; SEAL_BYTES] = found.try_into().ok()?;
    // The comparison of hashes takes the same time wherever they differ.
    if seal(key, digest, code) != blake3::Hash::from_bytes(found) {
        tracing::warn!(file = %file.display(), "kept code of a plugin was changed by somebody, it is made anew");
        return None;
    }
    Some(code.to_vec())
}

fn write(file: &Path, key: &[u8; 32], digest: &str, code: &[u8]) -> std::io::Result<()> {
    let mut all = seal(key, digest, code).as_bytes().to_vec();
    all.extend_from_slice(code);
    crate::store::replace(file, &all)
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::Cache;
    use crate::engine::engine;

    #[test]
    fn kept_code_is_run_only_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path());
        let engine = engine().unwrap();
        let bytes = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let made = cache.component(engine, &bytes, "d1").unwrap();
        let file = folder.path().join("d1.cwasm");
        let kept = std::fs::read(&file).unwrap();
        assert_eq!(kept.len(), made.serialize().unwrap().len() + super::SEAL_BYTES);
        assert!(super::read(&file, &cache.place.as_ref().unwrap().1, "d1").is_some());
        // Code of one plugin under the name of another, and one flipped byte.
        std::fs::copy(&file, folder.path().join("d2.cwasm")).unwrap();
        let key = cache.place.as_ref().unwrap().1;
        assert!(super::read(&folder.path().join("d2.cwasm"), &key, "d2").is_none());
        for at in [0, super::SEAL_BYTES, kept.len() - 1] {
            let mut bad = kept.clone();
            bad[at] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            assert!(super::read(&file, &key, "d1").is_none(), "byte {at}");
        }
        let _component: Component = cache.component(engine, &bytes, "d1").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), kept, "it was made anew");
        let again = Cache::open(folder.path());
        assert_eq!(again.place.as_ref().unwrap().1, key, "the key stays");
    }
}
