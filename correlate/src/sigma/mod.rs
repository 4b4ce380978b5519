//! The front end for Sigma: YAML with places, rules, modifiers, conditions.
//!
//! In: the text of rule files. Out: [`document::Document`]s and findings.
//! Never: events.

pub mod ast;
pub mod condition;
pub mod correlation;
pub mod correlation_condition;
pub mod detection;
pub mod document;
pub mod filter;
pub mod modifier;
pub mod mozdef_block;
pub mod pattern;
pub mod pcre;
pub mod placeholders;
pub mod read;
pub mod yaml;

use crate::finding::Findings;
use document::Document;
use placeholders::Placeholders;

/// The rules of a file's text. What is wrong is among the findings; the other rules of the file are returned.
pub fn parse(text: &str, findings: &mut Findings) -> Vec<Document> {
    parse_with(text, &Placeholders::default(), findings)
}

/// The same, with values for placeholders.
pub fn parse_with(text: &str, placeholders: &Placeholders, findings: &mut Findings) -> Vec<Document> {
    let documents = yaml::parse(text, findings);
    let mut documents = document::collection(documents, findings);
    documents.iter_mut().for_each(|node| placeholders.fill(node));
    documents.iter().filter_map(|node| document::read(node, findings)).collect()
}
