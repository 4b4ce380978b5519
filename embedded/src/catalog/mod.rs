//! Which indices, aliases and templates there are; one small file, replaced as a whole.
//!
//! In: changes. Out: a [`Catalog`] value and its file. Never: a change that is in memory and not in the file.

pub(crate) mod names;
pub(crate) mod settings;
pub(crate) mod templates;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, OpenError};
use settings::Settings;
use templates::{IndexTemplate, LegacyTemplate};

/// Format of the file.
const FORMAT: u64 = 1;

/// All there is, apart from documents and mappings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalog {
    format: u64,
    /// Number of the next new index.
    next_number: u64,
    pub(crate) indices: BTreeMap<String, IndexEntry>,
    pub(crate) templates: BTreeMap<String, LegacyTemplate>,
    pub(crate) index_templates: BTreeMap<String, IndexTemplate>,
}

/// One index.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexEntry {
    /// Names its folder; never used again.
    pub(crate) number: u64,
    pub(crate) uuid: String,
    pub(crate) created_ms: i64,
    pub(crate) settings: Settings,
    pub(crate) aliases: BTreeMap<String, Alias>,
}

/// What an alias says about one of its indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alias {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) is_write_index: Option<bool>,
}

impl Catalog {
    /// Reads the file; an absent one is an empty catalog.
    pub(crate) fn load(path: &Path) -> Result<Catalog, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Catalog { format: FORMAT, next_number: 1, ..Catalog::default() });
            }
            Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        let found =
            value.get("format").and_then(Value::as_u64).ok_or_else(|| damaged("it has no format".into()))?;
        if found != FORMAT {
            return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        serde_json::from_value(value).map_err(|e| damaged(e.to_string()))
    }

    /// Writes the file, durably.
    pub(crate) fn save(&self, path: &Path) -> Result<(), ApiError> {
        let text = serde_json::to_vec(self).map_err(ApiError::storage)?;
        Ok(crate::index::files::replace(path, &text)?)
    }

    /// A number that no index has had.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    /// Indices of an alias.
    pub(crate) fn behind_alias<'c>(&'c self, alias: &'c str) -> impl Iterator<Item = (&'c str, Alias)> {
        self.indices
            .iter()
            .filter_map(move |(name, entry)| entry.aliases.get(alias).map(|a| (name.as_str(), *a)))
    }

    /// There is such an alias.
    pub(crate) fn is_alias(&self, name: &str) -> bool {
        self.behind_alias(name).next().is_some()
    }
}

/// Reads the body of one alias. Filters and routing are not supported.
pub(crate) fn read_alias(name: &str, body: &Value) -> Result<Alias, ApiError> {
    let mut alias = Alias::default();
    for (key, value) in crate::json::object(body, name)? {
        match key.as_str() {
            "is_write_index" => alias.is_write_index = Some(crate::json::boolean(value, key)?),
            "is_hidden" => {}
            other => return Err(ApiError::unsupported(format!("[{other}] of alias [{name}]"))),
        }
    }
    Ok(alias)
}

/// Reads `{"alias": {…}, …}`.
pub(crate) fn read_aliases(body: &Value) -> Result<BTreeMap<String, Alias>, ApiError> {
    let mut aliases = BTreeMap::new();
    for (name, body) in crate::json::object(body, "aliases")? {
        names::check(name, "alias")?;
        aliases.insert(name.clone(), read_alias(name, body)?);
    }
    Ok(aliases)
}

#[cfg(test)]
mod tests {
    use super::{Catalog, IndexEntry, read_aliases};
    use serde_json::json;

    #[test]
    fn the_file_reads_back_and_later_formats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.json");
        let mut catalog = Catalog::load(&path).unwrap();
        let number = catalog.take_number();
        catalog.indices.insert(
            "events".into(),
            IndexEntry {
                number,
                uuid: "u".into(),
                created_ms: 1,
                settings: Default::default(),
                aliases: read_aliases(&json!({"all": {}, "w": {"is_write_index": true}})).unwrap(),
            },
        );
        catalog.save(&path).unwrap();
        let mut again = Catalog::load(&path).unwrap();
        assert_eq!(again.behind_alias("w").next().unwrap().1.is_write_index, Some(true));
        assert_eq!(again.take_number(), number + 1);

        std::fs::write(&path, br#"{"format": 9}"#).unwrap();
        assert!(Catalog::load(&path).unwrap_err().to_string().contains("format 9"));
        std::fs::write(&path, b"{").unwrap();
        assert!(Catalog::load(&path).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn alias_filters_are_refused_by_name() {
        let error = read_aliases(&json!({"a": {"filter": {}}})).unwrap_err();
        assert!(error.reason.contains("[filter] of alias [a] is not supported"), "{}", error.reason);
    }
}
