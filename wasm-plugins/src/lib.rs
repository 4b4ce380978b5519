//! Plugins that anybody can ship as `.wasm`: the contract, and the host that runs them.
//!
//! In: WebAssembly components of the world in `wit/plugin.wit`, batches of events. Out: a verdict for each event, or
//! why there is none. Never: authority of any kind for a plugin, or a plugin that takes more time, memory or output
//! than its limits, whatever it does.

// One file has one exception, with its reason: `cache.rs`.
#![deny(unsafe_code)]

pub mod build;
mod cache;
pub mod component;
pub mod contract;
mod engine;
mod failure;
mod health;
mod host;
pub mod inspect;
mod instance;
mod limits;
mod loaded;
pub mod set;
pub mod signature;
mod store;
pub mod tables;
mod wasi;
mod watch;

pub use self::cache::Cache;
pub use self::failure::{Cause, Failure};
pub use self::health::Standing;
pub use self::instance::{Answers, Instance};
pub use self::limits::Limits;
pub use self::loaded::{LoadError, Loaded, Loader, Quarantined};
pub use self::store::{Kept, Store, digest_of};
pub use self::watch::{StartError, Watched, start};
