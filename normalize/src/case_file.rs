//! Cases of plugins: an event in, an event out, one JSON object a line. The same files judge native plugins and
//! WebAssembly ones.
//!
//! In: a file's text. Out: for each case whether the plugin does as it says. Never: a line that is passed over.

use std::sync::Arc;

use arc_swap::ArcSwap;
use model::config::NormalizeConfig;
use model::time::Timestamp;
use plugins::set::Set;
use plugins::{Loaded, Watched};
use serde_json::{Map, Value};

use crate::normalizer::{Alone, Normalizer};
use crate::plugin::Metadata;
use crate::start::{Settings, StartError};

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What it shows.
    pub name: String,
    /// The event, exactly as it stands in the file.
    pub input: String,
    /// What comes out; null when it is dropped.
    pub expected: Value,
    /// Where it goes before the plugin.
    pub metadata_in: Metadata,
    /// Where it goes after it.
    pub metadata_out: Metadata,
    /// When it was received.
    pub now: Timestamp,
}

/// What a plugin did with a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// As it says.
    Passed,
    /// Something else.
    Differs {
        /// The event; null when it was dropped.
        got: Value,
        /// Where it goes.
        metadata: Metadata,
    },
    /// It failed.
    Failed(String),
}

/// A line that is no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CaseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

const KEYS: [&str; 6] = ["name", "input", "expected", "metadata_in", "metadata_out", "now"];

/// The cases of a file; empty lines do not count.
///
/// # Errors
/// The first line that is no case.
pub fn read(text: &str) -> Result<Vec<Case>, CaseError> {
    let lines = text.lines().zip(1..).filter(|(text, _)| !text.trim().is_empty());
    lines.map(|(text, line)| case(text, line).map_err(|what| CaseError { line, what })).collect()
}

fn case(text: &str, line: usize) -> Result<Case, String> {
    /// The input's own text keeps its numbers.
    #[derive(serde::Deserialize)]
    struct Raw<'r> {
        #[serde(borrow)]
        input: &'r serde_json::value::RawValue,
    }
    let all: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(key) = all.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key {key}; known are {}", KEYS.join(", ")));
    }
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| format!("input: {error}"))?;
    let metadata = |key: &str| {
        let text = |name: &str| all.get(key)?.get(name)?.as_str().map(str::to_owned);
        Metadata { index: text("index").filter(|index| index != "events"), id: text("id") }
    };
    let now = match all.get("now") {
        None => Timestamp::EPOCH,
        Some(now) => now
            .as_str()
            .and_then(Timestamp::parse_rfc3339)
            .ok_or_else(|| "now: not a time such as 2026-01-31T12:00:00Z".to_owned())?,
    };
    Ok(Case {
        line,
        name: all.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        input: raw.input.get().to_owned(),
        expected: all.get("expected").cloned().ok_or("`expected` is missing; null means dropped")?,
        metadata_in: metadata("metadata_in"),
        metadata_out: metadata("metadata_out"),
        now,
    })
}

/// Judges one plugin.
pub struct Judge {
    normalizer: Normalizer,
    plugin: String,
}

impl Judge {
    /// Of a native plugin.
    ///
    /// # Errors
    /// As [`Settings::from_config`].
    pub fn native(plugin: &str, config: &NormalizeConfig) -> Result<Judge, StartError> {
        Judge::with(plugin, None, config)
    }

    /// Of a WebAssembly plugin.
    ///
    /// # Errors
    /// As [`Settings::from_config`].
    pub fn guest(plugin: Arc<Loaded>, config: &NormalizeConfig) -> Result<Judge, StartError> {
        let name = plugin.description.name.clone();
        Judge::with(&name, Some(Set { generation: 1, plugins: vec![plugin] }), config)
    }

    fn with(plugin: &str, set: Option<Set>, config: &NormalizeConfig) -> Result<Judge, StartError> {
        let mut config = config.clone();
        config.plugins.folder = None;
        let mut settings = Settings::from_config(&config)?;
        settings.guests = set.map(|set| Arc::new(Watched::kept_by(Arc::new(ArcSwap::from_pointee(set)))));
        Ok(Judge { normalizer: Normalizer::new(settings), plugin: plugin.to_owned() })
    }

    /// What the plugin makes of an event, whatever its registration; none when it drops it.
    ///
    /// # Errors
    /// How it failed.
    pub fn run(
        &mut self,
        input: &str,
        metadata: Metadata,
        now: Timestamp,
    ) -> Result<Option<(String, Metadata)>, String> {
        match self.normalizer.run_plugin(&self.plugin, input.as_bytes(), metadata, now) {
            Alone::Event(json, metadata) => Ok(Some((json, metadata))),
            Alone::Dropped => Ok(None),
            Alone::Failed(why) | Alone::Unreadable(why) => Err(why),
            Alone::UnknownPlugin => Err(format!("there is no plugin {}", self.plugin)),
        }
    }

    /// Judges a case.
    pub fn judge(&mut self, case: &Case) -> Judgement {
        let (got, metadata) = match self.run(&case.input, case.metadata_in.clone(), case.now) {
            Err(why) => return Judgement::Failed(why),
            Ok(None) => (Value::Null, case.metadata_out.clone()),
            Ok(Some((json, metadata))) => match serde_json::from_str(&json) {
                Ok(got) => (got, metadata),
                Err(error) => return Judgement::Failed(error.to_string()),
            },
        };
        if got == case.expected && metadata == case.metadata_out {
            return Judgement::Passed;
        }
        Judgement::Differs { got, metadata }
    }
}

#[cfg(test)]
mod tests {
    use model::config::NormalizeConfig;

    use super::{Judge, Judgement, read};

    #[test]
    fn cases_are_read_and_judged() {
        let text = concat!(
            r#"{"name":"typed","input":{"type":"x","n":1.10},"expected":{"type":"netflow","n":1.10}}"#,
            "\n\n",
            r#"{"input":{},"expected":{"type":"other"},"metadata_in":{"index":"i"},"metadata_out":{"index":"i"}}"#
        );
        let cases = read(text).unwrap();
        assert_eq!((cases[0].input.as_str(), cases[1].line), (r#"{"type":"x","n":1.10}"#, 3));
        let mut judge = Judge::native("netflowFixup", &NormalizeConfig::default()).unwrap();
        assert_eq!(judge.judge(&cases[0]), Judgement::Passed);
        assert!(matches!(judge.judge(&cases[1]), Judgement::Differs { .. }));
    }

    #[test]
    fn what_is_no_case_is_told_with_its_line() {
        for (text, word) in [
            ("nonsense", "line 1"),
            (r#"{"input":{}}"#, "expected"),
            (r#"{"input":{},"expected":{},"expcted":1}"#, "expcted"),
            (r#"{"expected":{}}"#, "input"),
            (r#"{"input":{},"expected":{},"now":"soon"}"#, "now"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
