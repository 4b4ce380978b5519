//! Indices by day and month: made before their first document, with template
//! and aliases.
//!
//! In: names of indices that documents go to. Out: indices that exist. Never:
//! a clock: the newest index that exists is today's.
//!
//! Aliases: `events` and `alerts` are on every index of theirs, by template,
//! so that a search over all days needs no list of them. (MozDef's were on the
//! newest index only.) As in MozDef, `events-previous` and `alerts-previous`
//! are on the one before the newest, and `events-weekly` on the last eight days.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use model::config::SinkConfig;
use model::time::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::document::{ALERTS, EVENTS};
use crate::index::{Index, IndexError};
use crate::templates;

/// Names remembered; beyond it all are forgotten and looked up again.
const KNOWN_MAX: usize = 4096;
/// Days that `events-weekly` covers.
const WEEK_DAYS: usize = 8;

/// Makes indices when they are needed.
#[derive(Debug)]
pub(crate) struct Indices {
    index: Index,
    config: SinkConfig,
    known: Mutex<HashSet<String>>,
}

impl Indices {
    pub(crate) fn new(index: Index, config: SinkConfig) -> Indices {
        Indices { index, config, known: Mutex::new(HashSet::new()) }
    }

    /// Writes the templates for events and alerts.
    pub(crate) async fn prepare_templates(&self) -> Result<(), IndexError> {
        for prefix in [EVENTS, ALERTS] {
            self.put_template(prefix).await?;
        }
        Ok(())
    }

    /// Whether an index was found or made before.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// An index turned out not to be there.
    pub(crate) fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Makes an index, if it is not there, by the template of its prefix.
    pub(crate) async fn prepare(&self, name: &str) -> Result<(), IndexError> {
        let prefix = name.rsplit_once('-').map_or(name, |(prefix, _)| prefix);
        self.put_template(prefix).await?;
        let made = self.index.json(Method::Put, &format!("/{}", encoded(name)), None, &[400]).await?;
        if made.is_null() && !self.exists(name).await? {
            let reason = "the index cannot be made".to_owned();
            return Err(IndexError::Refused { url: self.index.url().to_owned(), status: 400, reason });
        }
        if prefix == EVENTS || prefix == ALERTS {
            self.move_aliases(prefix).await?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name.to_owned());
        Ok(())
    }

    async fn put_template(&self, prefix: &str) -> Result<(), IndexError> {
        let path = format!("/_index_template/{}", encoded(&templates::name(prefix)));
        let body = templates::body(prefix, &self.config);
        self.index.json(Method::Put, &path, Some(&body), &[]).await.map(|_| ())
    }

    /// 400 on making an index says that it exists, or that it cannot.
    async fn exists(&self, name: &str) -> Result<bool, IndexError> {
        let found = self.index.json(Method::Get, &format!("/{}", encoded(name)), None, &[400, 404]).await?;
        Ok(!found.is_null())
    }

    /// Puts `<prefix>-previous` and `<prefix>-weekly` where they belong now.
    async fn move_aliases(&self, prefix: &str) -> Result<(), IndexError> {
        let path = format!("/{}-*/_alias", encoded(prefix));
        let found = self.index.json(Method::Get, &path, None, &[404]).await?;
        let actions = alias_actions(prefix, &found);
        if actions.is_empty() {
            return Ok(());
        }
        self.index.json(Method::Post, "/_aliases", Some(&json!({"actions": actions})), &[]).await.map(|_| ())
    }
}

/// The date in the name of an index of this prefix: `YYYYMMDD` or `YYYYMM`.
fn date_of<'n>(prefix: &str, name: &'n str) -> Option<&'n str> {
    let date = name.strip_prefix(prefix)?.strip_prefix('-')?;
    (matches!(date.len(), 6 | 8) && date.bytes().all(|b| b.is_ascii_digit())).then_some(date)
}

/// What changes so that the aliases are on the right ones of these indices (`{index: {"aliases": {…}}}`), and on no others.
fn alias_actions(prefix: &str, found: &Value) -> Vec<Value> {
    let indices = found.as_object().into_iter().flatten();
    let mut dated: Vec<(&str, &Value)> = indices
        .filter_map(|(name, state)| {
            Some((date_of(prefix, name).map(|_| name.as_str())?, state.get("aliases")?))
        })
        .collect();
    dated.sort_unstable_by_key(|(name, _)| *name);
    let Some(((newest, _), older)) = dated.split_last() else { return Vec::new() };
    let previous = older.last().map(|(name, _)| *name);
    let first_day = date_of(prefix, newest).filter(|_| prefix == EVENTS).and_then(week_start);
    let mut actions = Vec::new();
    for (name, aliases) in &dated {
        let in_week = first_day.as_deref().is_some_and(|first| date_of(prefix, name) >= Some(first));
        for (suffix, wanted) in [("previous", previous == Some(*name)), ("weekly", in_week)] {
            let alias = format!("{prefix}-{suffix}");
            let there = aliases.get(&alias).is_some();
            if there != wanted {
                let verb = if wanted { "add" } else { "remove" };
                actions.push(json!({verb: {"index": name, "alias": alias}}));
            }
        }
    }
    actions
}

/// The first of the days that end with this one, as `YYYYMMDD`.
fn week_start(day: &str) -> Option<String> {
    let number = |range: std::ops::Range<usize>| day.get(range)?.parse::<u16>().ok();
    let (year, month, of_month) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let noon = Timestamp::from_civil(
        i32::from(year),
        u8::try_from(month).ok()?,
        u8::try_from(of_month).ok()?,
        43_200,
        0,
    )?;
    let back_ms = i64::try_from(WEEK_DAYS).ok()?.saturating_sub(1).saturating_mul(86_400_000);
    Some(noon.plus_millis(-back_ms).day())
}

/// A name in a path; a plugin chose it, so it may hold anything.
pub(crate) fn encoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{alias_actions, date_of, encoded};

    /// Indices as `name=alias,alias`; changes as `+alias name` and `-alias name`.
    #[track_caller]
    fn check(prefix: &str, indices: &[&str], expected: &[&str]) {
        let mut found = serde_json::Map::new();
        for index in indices {
            let (name, aliases) = index.split_once('=').unwrap_or((index, ""));
            let aliases: serde_json::Map<_, _> =
                aliases.split(',').map(|alias| (alias.to_owned(), json!({}))).collect();
            found.insert(name.to_owned(), json!({"aliases": aliases}));
        }
        let part = |action: &Value, key: &str| action[key].as_str().unwrap().to_owned();
        let show = |action: &Value| {
            let (sign, action) = action.get("add").map_or(("-", &action["remove"]), |add| ("+", add));
            format!("{sign}{} {}", part(action, "alias"), part(action, "index"))
        };
        let got: Vec<String> = alias_actions(prefix, &found.into()).iter().map(show).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn aliases_follow_the_newest_index() {
        check("events", &[], &[]);
        check("events", &["events-20240610=events"], &["+events-weekly events-20240610"]);
        check(
            "events",
            &[
                "events-20240609=events,events-weekly",
                "events-20240602=events,events-weekly",
                "events-20240603=events,events-weekly,events-previous",
                "events-20240610=events",
                "events-other=events",
            ],
            &[
                "-events-weekly events-20240602",
                "-events-previous events-20240603",
                "+events-previous events-20240609",
                "+events-weekly events-20240610",
            ],
        );
        check("alerts", &["alerts-202405", "alerts-202406"], &["+alerts-previous alerts-202405"]);
        check("alerts", &["alerts-202405=alerts-previous", "alerts-202406"], &[]);
    }

    #[test]
    fn only_dated_indices_count() {
        assert_eq!(date_of("events", "events-20240610"), Some("20240610"));
        for other in ["events-weekly", "events-2024", "events", "events-2024061a", "eventsx-20240610"] {
            assert_eq!(date_of("events", other), None, "{other}");
        }
    }

    #[test]
    fn names_are_safe_in_a_path() {
        assert_eq!(encoded("events-20240610"), "events-20240610");
        assert_eq!(encoded("../a b?c"), "..%2Fa%20b%3Fc");
    }
}
