//! What a `.wasm` file is, without running it.
//!
//! In: its bytes. Out: size, what it imports and exports, and what of that is not offered. Never: its code.

use wasmparser::{Encoding, Parser, Payload};

use crate::contract::{HOST, NORMALISER};

/// What a file imports and exports, at its outermost level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Whether it is a component; else it is a core module.
    pub is_component: bool,
    /// Names of imports.
    pub imports: Vec<String>,
    /// Names of exports.
    pub exports: Vec<String>,
}

/// Why a file is no plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// Not WebAssembly, or broken.
    #[error("it is not WebAssembly, or broken: {0}")]
    Broken(String),
    /// A core module.
    #[error("it is a core module, not a component; `mozdef plugin build` makes components")]
    Module,
    /// It asks for what nobody offers.
    #[error(
        "it imports {names}, which MozDef does not offer; a plugin may import {HOST} alone (and WASI, which is empty)"
    )]
    Imports {
        /// Their names.
        names: String,
    },
    /// It exports nothing of the contract.
    #[error("it does not export {NORMALISER}; its exports are: {exports}")]
    Exports {
        /// Their names.
        exports: String,
    },
}

/// Reads the outermost level of a file.
///
/// # Errors
/// [`OutlineError::Broken`].
pub fn outline(bytes: &[u8]) -> Result<Outline, OutlineError> {
    let mut outline = Outline::default();
    let mut depth = 0_usize;
    let broken = |error: wasmparser::BinaryReaderError| OutlineError::Broken(error.to_string());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding, .. } if depth == 0 => {
                outline.is_component = encoding == Encoding::Component;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth = depth.saturating_add(1)
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    outline.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    outline.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

impl Outline {
    /// Imports that neither the contract nor an empty WASI has.
    pub fn not_offered(&self) -> impl Iterator<Item = &str> {
        let names = self.imports.iter().map(String::as_str);
        names.filter(|name| *name != HOST && !name.starts_with("wasi:"))
    }

    /// Whether it can be a plugin.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), OutlineError> {
        if !self.is_component {
            return Err(OutlineError::Module);
        }
        let names: Vec<&str> = self.not_offered().collect();
        if !names.is_empty() {
            return Err(OutlineError::Imports { names: names.join(", ") });
        }
        if !self.exports.iter().any(|name| name == NORMALISER) {
            let exports = if self.exports.is_empty() { "none".to_owned() } else { self.exports.join(", ") };
            return Err(OutlineError::Exports { exports });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{OutlineError, outline};

    #[test]
    fn what_is_no_plugin_is_told_apart() {
        assert!(matches!(outline(b"#!/bin/sh"), Err(OutlineError::Broken(_))));
        let module = wat::parse_str("(module)").unwrap();
        assert_eq!(outline(&module).unwrap().check(), Err(OutlineError::Module));
        let empty = wat::parse_str("(component)").unwrap();
        assert!(matches!(outline(&empty).unwrap().check(), Err(OutlineError::Exports { .. })));
        let sockets = wat::parse_str(r#"(component (import "evil:net/sockets" (instance)))"#).unwrap();
        let error = outline(&sockets).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("evil:net/sockets"), "{error}");
        assert!(outline(&module[..module.len() - 1]).is_ok() || outline(&module[..6]).is_err());
    }
}
