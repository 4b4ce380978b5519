//! Rule sets of a text, for tests.

use std::sync::Arc;

use crate::load::{Role, SourceFile, files};
use crate::ruleset::RuleSet;

/// The rules of a text, all of them sound.
pub(crate) fn rules(text: &str) -> RuleSet {
    let file = SourceFile { name: "test.yml".into(), role: Role::Rules, text: Arc::from(text) };
    let loaded = files(&[file], Vec::new());
    assert!(loaded.report.errors.is_empty(), "{:?}", loaded.report.errors);
    loaded.set
}
