//! A version of a plugin that has passed every check and can be instantiated.
//!
//! In: a file's bytes, the configuration. Out: a loaded version, which threads may share, or why not.
//! Never: a plugin that imports what is not offered, or that does not say what it is within its deadline.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::config::PluginsConfig;
use wasmtime::component::{Component, Func, InstancePre, Linker};
use wasmtime::{Engine, Store as WasmStore};

use crate::contract::{Description, NORMALISER};
use crate::engine::{engine, ticks};
use crate::failure::Failure;
use crate::health::{Health, Standing};
use crate::host::{self, State};
use crate::inspect::{OutlineError, outline};
use crate::limits::Limits;
use crate::signature::{self, SignatureError};
use crate::store::digest_of;
use crate::tables::Tables;
use crate::{Cache, wasi};

/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 128 << 20;
/// Most registrations, and the longest, in bytes.
const REGISTRATIONS_MAX: usize = 1000;
const REGISTRATION_BYTES_MAX: usize = 256;
/// Longest time to say what it is: no event waits for it.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(2);
/// Longest name and version.
const NAME_BYTES_MAX: usize = 64;

/// Why a file does not become a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The machine gives no engine.
    #[error("no engine for plugins: {0}")]
    Engine(String),
    /// Too large.
    #[error("it has {bytes} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no plugin at all.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// Its signature does not count.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It cannot be compiled or linked.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// It did not say what it is.
    #[error("asked what it is, it failed: {0}")]
    Describe(Failure),
    /// What it says of itself cannot be.
    #[error("{0}")]
    Description(String),
    /// Its file has another name.
    #[error("the file is {file}.wasm, but the plugin calls itself {name}; rename one of them")]
    Name {
        /// The file's name without `.wasm`.
        file: String,
        /// The plugin's.
        name: String,
    },
}

/// Loads plugins.
#[derive(Clone)]
pub struct Loader {
    config: PluginsConfig,
    cache: Cache,
    tables: Arc<dyn Tables>,
    /// Hears of each version that is quarantined.
    told: Option<Sender<Quarantined>>,
}

/// A version that is not asked any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The plugin's name.
    pub name: String,
    /// The version's digest.
    pub digest: String,
    /// What went wrong last.
    pub why: String,
}

/// A version of a plugin, ready for instances.
pub struct Loaded {
    /// What it says of itself.
    pub description: Description,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: String,
    /// Size of its file, in bytes.
    pub bytes: usize,
    /// What it may use.
    pub limits: Limits,
    pub(crate) name: Arc<str>,
    settings: Arc<BTreeMap<String, String>>,
    tables: Arc<dyn Tables>,
    pre: InstancePre<State>,
    health: Mutex<Health>,
    told: Option<Sender<Quarantined>>,
}

/// An instance's store and its `process`.
pub(crate) struct Live {
    pub(crate) store: WasmStore<State>,
    pub(crate) process: Func,
}

impl Loader {
    /// A loader; `told` hears of each version that is quarantined.
    pub fn new(
        config: PluginsConfig,
        cache: Cache,
        tables: Arc<dyn Tables>,
        told: Option<Sender<Quarantined>>,
    ) -> Loader {
        Loader { config, cache, tables, told }
    }

    /// Loads a file that is called `NAME.wasm`.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, name: &str, bytes: &[u8], signature: Option<&str>) -> Result<Loaded, LoadError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(LoadError::TooLarge { bytes: bytes.len() });
        }
        let outline = outline(bytes)?;
        outline.check()?;
        let digest = digest_of(bytes);
        signature::check(&digest, signature, &self.config.keys)?;
        let engine = engine().map_err(LoadError::Engine)?;
        let limits = Limits::of(&self.config, name);
        let (pre, digest) = (self.link(engine, bytes, &digest, &outline.imports)?, digest);
        let settings = Arc::new(self.config.settings.get(name).cloned().unwrap_or_default());
        let health = Mutex::new(Health::new(limits.failures_max, limits.failures_window));
        let mut loaded = Loaded {
            description: Description {
                name: name.to_owned(),
                version: String::new(),
                registration: Vec::new(),
                any: false,
                priority: 0,
            },
            digest,
            bytes: bytes.len(),
            limits,
            name: name.into(),
            settings,
            tables: Arc::clone(&self.tables),
            pre,
            health,
            told: self.told.clone(),
        };
        loaded.description = loaded.describe().map_err(LoadError::Describe)?;
        sound(&loaded.description)?;
        if loaded.description.name != name {
            return Err(LoadError::Name { file: name.to_owned(), name: loaded.description.name });
        }
        Ok(loaded)
    }

    fn link(
        &self,
        engine: &Engine,
        bytes: &[u8],
        digest: &str,
        imports: &[String],
    ) -> Result<InstancePre<State>, LoadError> {
        let compile = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
        let component: Component = self.cache.component(engine, bytes, digest).map_err(compile)?;
        let mut linker = Linker::new(engine);
        host::define(&mut linker).map_err(compile)?;
        wasi::define(&mut linker, &component, imports).map_err(compile)?;
        linker.instantiate_pre(&component).map_err(compile)
    }
}

impl Loaded {
    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).standing()
    }

    /// Takes note of a failure.
    pub(crate) fn failed(&self, why: &str) {
        let quarantined = self.health.lock().unwrap_or_else(PoisonError::into_inner).failed(Instant::now());
        if !quarantined {
            return;
        }
        let (plugin, digest) = (&*self.name, &self.digest);
        tracing::error!(plugin, digest, why, "the plugin is quarantined after repeated failures");
        let told = Quarantined { name: plugin.to_owned(), digest: digest.clone(), why: why.to_owned() };
        if self.told.as_ref().is_some_and(|sender| sender.send(told).is_err()) {
            tracing::debug!("nobody hears of quarantined plugins any more");
        }
    }

    /// A fresh instance: nothing of an earlier one is in it.
    pub(crate) fn instantiate(&self) -> Result<Live, Failure> {
        let (mut store, instance) = self.store(self.limits.deadline)?;
        let process = function(&mut store, &instance, "process")?;
        Ok(Live { store, process })
    }

    fn store(
        &self,
        deadline: Duration,
    ) -> Result<(WasmStore<State>, wasmtime::component::Instance), Failure> {
        let state = State::new(&self.name, &self.settings, &self.tables, self.limits.memory_bytes);
        let mut store = WasmStore::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.guard);
        store.set_hostcall_fuel(self.limits.output_bytes);
        // Before anything runs: the default is to interrupt at once.
        store.set_epoch_deadline(ticks(deadline));
        let instance = match self.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => {
                let refused = store.data().guard.refused;
                return Err(match Failure::of_call(&error, refused, deadline.as_millis()) {
                    Failure::Call { text, .. } => Failure::Call { cause: crate::Cause::Start, text },
                    other => other,
                });
            }
        };
        Ok((store, instance))
    }

    fn describe(&self) -> Result<Description, Failure> {
        let (mut store, instance) = self.store(DESCRIBE_WITHIN)?;
        let describe = function(&mut store, &instance, "describe")?;
        let wrong = |error: wasmtime::Error, store: &WasmStore<State>| {
            Failure::of_call(&error, store.data().guard.refused, DESCRIBE_WITHIN.as_millis())
        };
        let typed = match describe.typed::<(), (Description,)>(&store) {
            Ok(typed) => typed,
            Err(error) => return Err(wrong(error, &store)),
        };
        match typed.call(&mut store, ()) {
            Ok((description,)) => Ok(description),
            Err(error) => Err(wrong(error, &store)),
        }
    }
}

/// A function of the contract's interface.
fn function(
    store: &mut WasmStore<State>,
    instance: &wasmtime::component::Instance,
    name: &str,
) -> Result<Func, Failure> {
    let missing = || Failure::Call {
        cause: crate::Cause::Start,
        text: format!("it has no function {name} in {NORMALISER}"),
    };
    let interface = instance.get_export_index(&mut *store, None, NORMALISER).ok_or_else(missing)?;
    let index = instance.get_export_index(&mut *store, Some(&interface), name).ok_or_else(missing)?;
    instance.get_func(&mut *store, index).ok_or_else(missing)
}

/// What a plugin says of itself must make sense.
fn sound(description: &Description) -> Result<(), LoadError> {
    let wrong = |text: String| Err(LoadError::Description(text));
    let Description { name, version, registration, any, .. } = description;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        let name = crate::failure::bounded(name);
        return wrong(format!(
            "it calls itself {name:?}: letters, digits, `_` and `-` make a name, at most {NAME_BYTES_MAX}"
        ));
    }
    if version.len() > NAME_BYTES_MAX || version.chars().any(char::is_control) {
        return wrong(format!("its version has more than {NAME_BYTES_MAX} bytes, or control characters"));
    }
    if registration.is_empty() && !any {
        return wrong("it registers for no word: it would never run".to_owned());
    }
    if registration.len() > REGISTRATIONS_MAX
        || registration.iter().any(|word| word.is_empty() || word.len() > REGISTRATION_BYTES_MAX)
    {
        return wrong(format!(
            "it registers for more than {REGISTRATIONS_MAX} words, or for one that is empty or longer than \
             {REGISTRATION_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}
