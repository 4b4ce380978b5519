//! One thing that is wrong with a configuration.
//!
//! In: what `load.rs` and `check.rs` find. Out: a line that names the place,
//! the key, what was expected, and the remedy. Never: the file's name, which
//! only the caller knows.

use std::fmt;

/// A place in the configuration's text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// One thing that is wrong with a configuration. Shown as `line:column: key: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands; `None` where the configuration did not come from text, or the key is not in it.
    pub place: Option<Place>,
    /// The key with those around it, as in `ingest.http.listen`; empty for the whole document.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Larger than any configuration needs to be.
    #[error("{bytes} bytes, more than the {limit} that a configuration may have")]
    TooLarge {
        /// Size of the text.
        bytes: usize,
        /// Size allowed.
        limit: usize,
    },
    /// Not YAML, several documents, or more anchors than allowed.
    #[error("{message}")]
    Syntax {
        /// What the YAML parser says.
        message: String,
    },
    /// No such key here.
    #[error("unknown key{}", advice(.similar, .elsewhere, .known))]
    UnknownKey {
        /// The known key that looks most like it.
        similar: Option<String>,
        /// Full keys of that name in other sections.
        elsewhere: Vec<String>,
        /// Every key that is known here.
        known: Vec<String>,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What belongs here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// A number outside of its range.
    #[error("expected {expected}, found {found}")]
    Range {
        /// The range.
        expected: String,
        /// The number.
        found: String,
    },
    /// A value that does not go with itself or another.
    #[error("{what}; {remedy}")]
    Value {
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{}:{}: ", place.line, place.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ConfigError {}

fn advice(similar: &Option<String>, elsewhere: &[String], known: &[String]) -> String {
    match (similar, elsewhere) {
        (Some(key), _) => format!(", did you mean `{key}`?"),
        (None, [_, ..]) => format!(", did you mean `{}`?", elsewhere.join("` or `")),
        (None, []) => format!("; known here: {}", known.join(", ")),
    }
}
