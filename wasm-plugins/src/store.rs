//! The plugins folder: what is wanted, what was good, what is not wanted any more.
//!
//! ```text
//! DIR/NAME.wasm              the version that is wanted
//! DIR/NAME.wasm.sig          its signature, 128 hexadecimal digits (optional)
//! DIR/NAME.disabled          while it is there, NAME does not run
//! DIR/.versions/NAME/DIGEST.wasm         versions that have loaded, newest KEPT_MAX
//! DIR/.versions/NAME/DIGEST.wasm.sig     their signatures
//! DIR/.versions/NAME/DIGEST.quarantined  why that version must not run any more
//! ```
//!
//! In: a folder. Out: files, each written whole or not at all. Never: code that runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Versions kept of each plugin.
const KEPT_MAX: usize = 5;
/// Plugins that are read from one folder.
pub(crate) const PLUGINS_MAX: usize = 150;

/// A plugins folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A version that has loaded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the file.
    pub digest: String,
    /// When it was put there.
    pub at: SystemTime,
    /// Why it must not run any more, where that is so.
    pub quarantined: Option<String>,
}

/// SHA-256 in hexadecimal.
pub fn digest_of(bytes: &[u8]) -> String {
    crate::signature::to_hex(&Sha256::digest(bytes))
}

/// Writes a file whole or not at all.
///
/// # Errors
/// Those of the file system.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Not `.wasm`: a half-written file must not look like a plugin.
    let temporary = file.with_extension(format!("{}.new", std::process::id()));
    let mut new = fs::File::create(&temporary)?;
    let written = new.write_all(bytes).and_then(|()| new.sync_all());
    written.and_then(|()| fs::rename(&temporary, file)).inspect_err(|_| remove(&temporary))
}

/// Removes a file; one that is not there is removed already.
fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "cannot be removed");
    }
}

impl Store {
    /// The store in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        Store { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Names of the plugins that are wanted, in order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm")
                && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The file of a plugin.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wasm"))
    }

    /// Bytes and signature of the version that is wanted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, name: &str) -> std::io::Result<(Vec<u8>, Option<String>)> {
        let file = self.file(name);
        Ok((fs::read(&file)?, signature(&file)))
    }

    /// Puts a version in force.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put(&self, name: &str, bytes: &[u8], signature: Option<&str>) -> std::io::Result<()> {
        let file = self.file(name);
        // The signature is there before the file is.
        match signature {
            Some(signature) => replace(&signature_file(&file), signature.as_bytes())?,
            None => remove(&signature_file(&file)),
        }
        replace(&file, bytes)
    }

    /// Whether it runs when it can.
    pub fn is_disabled(&self, name: &str) -> bool {
        self.marker(name).exists()
    }

    /// Lets a plugin run no more, or again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_disabled(&self, name: &str, disabled: bool) -> std::io::Result<()> {
        if disabled {
            return replace(&self.marker(name), b"");
        }
        remove(&self.marker(name));
        Ok(())
    }

    fn marker(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.disabled"))
    }

    fn versions(&self, name: &str) -> PathBuf {
        self.folder.join(".versions").join(name)
    }

    /// Keeps a version that has loaded; only the newest few stay.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(
        &self,
        name: &str,
        digest: &str,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> std::io::Result<()> {
        let folder = self.versions(name);
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{digest}.wasm"));
        if let Some(signature) = signature {
            replace(&signature_file(&file), signature.as_bytes())?;
        }
        if fs::read(&file).is_ok_and(|kept| kept == bytes) {
            // It is in force again, and so the newest.
            fs::File::options().append(true).open(&file)?.set_modified(now())?;
        } else {
            replace(&file, bytes)?;
        }
        for old in self.kept(name).into_iter().skip(KEPT_MAX).filter(|kept| kept.quarantined.is_none()) {
            let file = folder.join(format!("{}.wasm", old.digest));
            remove(&file);
            remove(&signature_file(&file));
        }
        Ok(())
    }

    /// The versions that have loaded, newest first.
    pub fn kept(&self, name: &str) -> Vec<Kept> {
        let entries = fs::read_dir(self.versions(name)).into_iter().flatten().filter_map(Result::ok);
        let files = entries.map(|entry| entry.path());
        let mut kept: Vec<Kept> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .filter_map(|path| {
                let digest = path.file_stem()?.to_str()?.to_owned();
                let at = fs::metadata(&path).and_then(|about| about.modified()).ok()?;
                Some(Kept { quarantined: self.quarantined(name, &digest), digest, at })
            })
            .collect();
        kept.sort_by(|a, b| (b.at, &b.digest).cmp(&(a.at, &a.digest)));
        kept
    }

    /// Bytes and signature of a version that has loaded. `None` when it is gone, or not what its name says.
    pub fn read_kept(&self, name: &str, digest: &str) -> Option<(Vec<u8>, Option<String>)> {
        let file = self.versions(name).join(format!("{digest}.wasm"));
        let bytes = fs::read(&file).ok()?;
        (digest_of(&bytes) == digest).then(|| (bytes, signature(&file)))
    }

    /// Why a version must not run, if so.
    pub fn quarantined(&self, name: &str, digest: &str) -> Option<String> {
        fs::read_to_string(self.versions(name).join(format!("{digest}.quarantined"))).ok()
    }

    /// A version must not run any more.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn quarantine(&self, name: &str, digest: &str, why: &str) -> std::io::Result<()> {
        fs::create_dir_all(self.versions(name))?;
        replace(&self.versions(name).join(format!("{digest}.quarantined")), why.as_bytes())
    }

    /// A version may run again.
    pub fn pardon(&self, name: &str, digest: &str) {
        remove(&self.versions(name).join(format!("{digest}.quarantined")));
    }
}

fn signature_file(file: &Path) -> PathBuf {
    file.with_extension("wasm.sig")
}

fn signature(file: &Path) -> Option<String> {
    fs::read_to_string(signature_file(file)).ok()
}

#[allow(clippy::disallowed_methods, reason = "the time of a file is the machine's, as `touch` writes it")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::{Store, digest_of};

    #[test]
    fn versions_are_kept_newest_first_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let versions: Vec<Vec<u8>> = (0..7_u8).map(|n| vec![n; 4]).collect();
        for bytes in &versions {
            store.put("p", bytes, Some("s")).unwrap();
            store.keep("p", &digest_of(bytes), bytes, Some("s")).unwrap();
        }
        assert_eq!(store.names().unwrap(), ["p"]);
        assert_eq!(store.read("p").unwrap(), (versions[6].clone(), Some("s".to_owned())));
        let kept = store.kept("p");
        assert_eq!(kept.len(), 5);
        assert_eq!(kept[0].digest, digest_of(&versions[6]));
        store.keep("p", &digest_of(&versions[4]), &versions[4], None).unwrap();
        assert_eq!(store.kept("p")[0].digest, digest_of(&versions[4]));
        assert_eq!(store.read_kept("p", &kept[1].digest).unwrap().0, versions[5]);
        store.quarantine("p", &kept[1].digest, "why").unwrap();
        assert_eq!(store.quarantined("p", &kept[1].digest).as_deref(), Some("why"));
        store.pardon("p", &kept[1].digest);
        assert_eq!(store.quarantined("p", &kept[1].digest), None);
    }

    #[test]
    fn kept_bytes_must_be_what_their_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.keep("p", "0123", b"other bytes", None).unwrap();
        assert!(store.read_kept("p", "0123").is_none());
    }

    #[test]
    fn disabled_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert!(!store.is_disabled("p"));
        store.set_disabled("p", true).unwrap();
        assert!(store.is_disabled("p"));
        store.set_disabled("p", false).unwrap();
        store.set_disabled("p", false).unwrap();
        assert!(!store.is_disabled("p"));
    }
}
