//! Names of indices: what a request's expression stands for, and which names are allowed.
//!
//! In: `events-2020*,alerts,-events-20200101`. Out: names of existing indices. Never: a guess.

use super::Catalog;
use crate::error::ApiError;
use crate::patterns::star_matches;

/// What to do with names that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lenient {
    /// Missing names are left out instead of answering 404.
    pub(crate) ignore_unavailable: bool,
    /// A pattern may match nothing.
    pub(crate) allow_no_indices: bool,
}

impl Default for Lenient {
    fn default() -> Lenient {
        Lenient { ignore_unavailable: false, allow_no_indices: true }
    }
}

impl Catalog {
    /// Indices that an expression stands for, in order of name, each once.
    pub(crate) fn resolve(&self, expression: &str, lenient: Lenient) -> Result<Vec<String>, ApiError> {
        let mut found: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        for (position, part) in expression.split(',').enumerate() {
            if let Some(excluded) = part.strip_prefix('-').filter(|_| position > 0) {
                found.retain(|name| !self.stands_for(excluded, name));
                continue;
            }
            if part.starts_with('<') {
                return Err(ApiError::unsupported(format!("date maths in index name [{part}]")));
            }
            let pattern = if part == "_all" || part.is_empty() { "*" } else { part };
            let before = found.len();
            found.extend(self.indices.keys().filter(|name| self.stands_for(pattern, name)).cloned());
            let missing = found.len() == before && !self.any(pattern);
            let is_pattern = pattern.contains('*');
            if missing && !is_pattern && !lenient.ignore_unavailable {
                return Err(ApiError::index_not_found(part));
            }
            if missing && is_pattern && !lenient.allow_no_indices {
                return Err(ApiError::index_not_found(part));
            }
        }
        Ok(found.into_iter().collect())
    }

    fn any(&self, pattern: &str) -> bool {
        self.indices.keys().any(|name| self.stands_for(pattern, name))
    }

    /// The expression names the index itself or one of its aliases.
    fn stands_for(&self, pattern: &str, name: &str) -> bool {
        star_matches(pattern, name)
            || self
                .indices
                .get(name)
                .is_some_and(|e| e.aliases.keys().any(|alias| star_matches(pattern, alias)))
    }

    /// The index that a write to a name goes to; `None` when it must be made first.
    pub(crate) fn write_target(&self, name: &str) -> Result<Option<String>, ApiError> {
        if self.indices.contains_key(name) {
            return Ok(Some(name.to_owned()));
        }
        let behind: Vec<_> = self.behind_alias(name).collect();
        if let Some((index, _)) = behind.iter().find(|(_, alias)| alias.is_write_index == Some(true)) {
            return Ok(Some((*index).to_owned()));
        }
        match behind.as_slice() {
            [] => Ok(None),
            [(index, alias)] if alias.is_write_index != Some(false) => Ok(Some((*index).to_owned())),
            _ => Err(ApiError::illegal(format!(
                "no write index is defined for alias [{name}]. The write index may be explicitly disabled using is_write_index=false or the alias points to multiple indices without one being designated as a write index"
            ))),
        }
    }
}

/// Checks the name of a new index or alias.
pub(crate) fn check(name: &str, what: &str) -> Result<(), ApiError> {
    let problem = if name.is_empty() {
        "must not be empty"
    } else if name.len() > 255 {
        "must not be longer than 255 bytes"
    } else if name == "." || name == ".." {
        "must not be '.' or '..'"
    } else if name.starts_with(['_', '-', '+']) {
        "must not start with '_', '-', or '+'"
    } else if name.chars().any(|c| "\\/*?\"<>| ,#:".contains(c) || c.is_control()) {
        "must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?, #, :]"
    } else if what == "index" && name.chars().any(char::is_uppercase) {
        "must be lowercase"
    } else {
        return Ok(());
    };
    let mut error = ApiError::new(
        400,
        "invalid_index_name_exception",
        format!("Invalid {what} name [{name}], {problem}"),
    );
    error.index = Some(name.to_owned());
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::{Lenient, check};
    use crate::catalog::{Alias, Catalog, IndexEntry};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (number, (name, aliases)) in [
            ("alerts-202001", vec![("alerts", Some(true))]),
            ("alerts-202002", vec![("alerts", None)]),
            ("events-20200101", vec![("events-previous", None), ("all", None)]),
            ("events-20200102", vec![("events", None), ("all", None)]),
        ]
        .into_iter()
        .enumerate()
        {
            let aliases =
                aliases.into_iter().map(|(a, w)| (a.to_owned(), Alias { is_write_index: w })).collect();
            let entry = IndexEntry {
                number: number as u64,
                uuid: String::new(),
                created_ms: 0,
                settings: Default::default(),
                aliases,
            };
            catalog.indices.insert(name.to_owned(), entry);
        }
        catalog
    }

    #[track_caller]
    fn resolves(expression: &str, expected: &[&str]) {
        assert_eq!(catalog().resolve(expression, Lenient::default()).unwrap(), expected, "{expression}");
    }

    #[test]
    fn expressions_stand_for_indices() {
        resolves("events", &["events-20200102"]);
        resolves("events,events-previous", &["events-20200101", "events-20200102"]);
        resolves("events-*", &["events-20200101", "events-20200102"]);
        resolves("events-*,-events-20200101", &["events-20200102"]);
        resolves("all", &["events-20200101", "events-20200102"]);
        resolves("nothing-*", &[]);
        assert_eq!(catalog().resolve("_all", Lenient::default()).unwrap().len(), 4);
        let error = catalog().resolve("events,gone", Lenient::default()).unwrap_err();
        assert_eq!(error.reason, "no such index [gone]");
        let lenient = Lenient { ignore_unavailable: true, allow_no_indices: true };
        assert_eq!(catalog().resolve("events,gone", lenient).unwrap(), ["events-20200102"]);
    }

    #[test]
    fn writes_go_to_one_index() {
        assert_eq!(catalog().write_target("alerts").unwrap().as_deref(), Some("alerts-202001"));
        assert_eq!(catalog().write_target("events").unwrap().as_deref(), Some("events-20200102"));
        assert_eq!(catalog().write_target("new").unwrap(), None);
        assert!(catalog().write_target("all").unwrap_err().reason.contains("no write index is defined"));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "Events", "_x", "a b", "a*", "..", "a/b", "a,b", "a\u{0}", &"x".repeat(256)] {
            assert_eq!(check(bad, "index").unwrap_err().status, 400, "{bad}");
        }
        assert!(check("events-20200101.x", "index").is_ok());
    }
}
