//! WebAssembly plugins for tests, written in its text form, so that no other compiler is needed.
//!
//! In: the body of `process`. Out: components of the contract. Never: anything outside of tests.

#![allow(clippy::unwrap_used, reason = "a test program: a guest that cannot be made ends it")]

use std::sync::Arc;

use model::config::PluginsConfig;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use plugins::contract::{Item, WIT, WORLD};
use plugins::tables::NoTables;
use plugins::{Cache, LoadError, Loaded, Loader};

/// Parts of a guest.
pub struct Guest<'g> {
    /// Its name, at most 16 bytes.
    pub name: &'g str,
    /// Instructions of `process(list, count) -> address of the answers`.
    pub process: &'g str,
    /// Further fields of the module.
    pub more: &'g str,
    /// Instructions that run when it is asked what it is.
    pub describe: &'g str,
}

/// Answers `unchanged` to every event. `$answers` makes the list.
pub const UNCHANGED: &str = "(call $answers (local.get $count))";

/// Size of one verdict in memory: the change (a case and a string) and two optional strings.
const VERDICT_BYTES: u32 = 36;

impl<'g> Guest<'g> {
    /// A guest that only processes.
    pub fn new(name: &'g str, process: &'g str) -> Guest<'g> {
        Guest { name, process, more: "", describe: "" }
    }

    /// The component's bytes.
    ///
    /// # Panics
    ///
    /// Where its text is no WebAssembly.
    pub fn component(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"));
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", WIT).unwrap();
        let world = resolve.select_world(&[package], Some(WORLD)).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }

    /// Name at 16, registration word `word` at 32, the list of one word at 48; the description at 64; a list's head
    /// at 128; what is allocated from 4096 on, and from there anew with each call.
    fn text(&self) -> String {
        let Guest { name, process, more, describe } = self;
        let name_bytes = name.len();
        format!(
            r#"(module
  (import "mozdef:plugin/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{name}") (data (i32.const 32) "word") (data (i32.const 36) "1.0")
  (global $free (mut i32) (i32.const 4096))
  (func $allocate (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (i32.const -1) (memory.grow
            (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))) (then (unreachable))))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $allocate (local.get 3)))
  ;; A list of so many verdicts of case 0, without index and id.
  (func $answers (param $count i32) (result i32)
    (local $list i32)
    (local.set $list (call $allocate (i32.mul (local.get $count) (i32.const {VERDICT_BYTES}))))
    (memory.fill (local.get $list) (i32.const 0) (i32.mul (local.get $count) (i32.const {VERDICT_BYTES})))
    (i32.store (i32.const 128) (local.get $list))
    (i32.store (i32.const 132) (local.get $count))
    (i32.const 128))
  ;; The same, each with this case and text.
  (func $texts (param $count i32) (param $case i32) (param $text i32) (param $bytes i32) (result i32)
    (local $at i32) (local $left i32)
    (drop (call $answers (local.get $count)))
    (local.set $at (i32.load (i32.const 128)))
    (local.set $left (local.get $count))
    (loop $next
      (if (local.get $left) (then
        (i32.store8 (local.get $at) (local.get $case))
        (i32.store (i32.add (local.get $at) (i32.const 4)) (local.get $text))
        (i32.store (i32.add (local.get $at) (i32.const 8)) (local.get $bytes))
        (local.set $at (i32.add (local.get $at) (i32.const {VERDICT_BYTES})))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next))))
    (i32.const 128))
  {more}
  (func (export "mozdef:plugin/normaliser@1.0.0#describe") (result i32)
    {describe}
    (i32.store (i32.const 48) (i32.const 32)) (i32.store (i32.const 52) (i32.const 4))
    (i32.store (i32.const 64) (i32.const 16)) (i32.store (i32.const 68) (i32.const {name_bytes}))
    (i32.store (i32.const 72) (i32.const 36)) (i32.store (i32.const 76) (i32.const 3))
    (i32.store (i32.const 80) (i32.const 48)) (i32.store (i32.const 84) (i32.const 1))
    (i32.store8 (i32.const 88) (i32.const 0)) (i32.store (i32.const 92) (i32.const 10))
    (i32.const 64))
  (func (export "mozdef:plugin/normaliser@1.0.0#process") (param $list i32) (param $count i32) (result i32)
    {process})
  (func (export "cabi_post_mozdef:plugin/normaliser@1.0.0#process") (param i32)
    (global.set $free (i32.const 4096)))
)"#
        )
    }

    /// Loaded with these settings.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(&self, config: &PluginsConfig) -> Result<Arc<Loaded>, LoadError> {
        let loader = Loader::new(config.clone(), Cache::default(), Arc::new(NoTables), None);
        loader.load(self.name, &self.component(), None).map(Arc::new)
    }
}

/// Events without an index or id.
pub fn items<'d>(documents: &[&'d str]) -> Vec<Item<'d>> {
    documents.iter().map(|document| Item { document, received_ms: 1_000, index: None, id: None }).collect()
}
