//! Queries: read from JSON or from Lucene's syntax, bound to an index, run by the search library.

pub(crate) mod ast;
pub(crate) mod compile;
mod compile_leaf;
pub(crate) mod docs;
pub(crate) mod dsl;
mod dsl_fields;
mod dsl_text;
mod lexer;
pub(crate) mod lucene;
