//! From the tests of many rules to the ones that an event passes, looking
//! only at rules that could match.
//!
//! In: trees of tests with their log sources, once; events, often. Out: the
//! positions of those that hold. Never: another answer than a loop over all
//! rules would give.

mod builder;
pub(crate) mod compiled;
mod date_part;
pub(crate) mod engine;
mod guard;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod values;
