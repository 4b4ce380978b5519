//! From a core module that a compiler made to a component that the host loads.
//!
//! In: the module's bytes, with the contract's types in it as its bindings left them. Out: the component's bytes.
//! Never: imports of its own; whatever the module asks for besides the contract is an error here.

use wit_component::ComponentEncoder;

/// Why a module cannot become a component.
#[derive(Debug, thiserror::Error)]
#[error("the module is no plugin: {0}")]
pub struct ComponentError(String);

/// Whether the bytes are a core module, and not yet a component.
pub fn is_module(bytes: &[u8]) -> bool {
    wasmparser::Parser::is_core_wasm(bytes)
}

/// The component of a module.
///
/// # Errors
/// When its imports and exports are not those of the contract.
pub fn from_module(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let told = |error: &dyn std::fmt::Display| ComponentError(format!("{error:#}"));
    let encoder = ComponentEncoder::default().validate(true).module(module).map_err(|error| told(&error))?;
    let mut encoder = encoder;
    encoder.encode().map_err(|error| told(&error))
}
