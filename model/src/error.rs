//! What a failure means for the work in hand: each room's error type answers
//! with a [`Verdict`], so that no caller guesses.

use std::fmt;

/// What happens next to the record or request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, not before `after_ms` milliseconds.
    Retry {
        /// Milliseconds to wait.
        after_ms: u64,
    },
    /// It will never go: to `mozdef.dead` with this reason.
    Dead(Reason),
    /// The stage cannot go on: stop it, loudly, with nothing committed.
    Halt,
}

/// Why a record went to `mozdef.dead`. Closed, so that it can be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not JSON, or JSON that breaks off.
    MalformedJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Not UTF-8.
    InvalidUtf8,
    /// Deeper than the limit.
    TooDeep,
    /// More fields than the limit.
    TooManyFields,
    /// Larger than the limit.
    TooLarge,
    /// Nothing, or nothing but white space.
    Empty,
    /// The index refused it for good.
    IndexRefused,
    /// Another document has its id.
    IdConflict,
    /// A stage met a record that another stage should not have written.
    MalformedRecord,
    /// A message of another kind than its input takes.
    UnexpectedMessage,
    /// What a message points to cannot be had.
    Unreachable,
    /// Delivered again and again without success.
    TooManyAttempts,
    /// A plugin failed on it, and the configuration says `on_error: dead`.
    PluginFailed,
    /// The schema registry has no schema of this number, or one that cannot be used.
    UnknownSchema,
    /// The value does not fit its schema.
    SchemaMismatch,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 16] = [
        Reason::MalformedJson,
        Reason::NotAnObject,
        Reason::InvalidUtf8,
        Reason::TooDeep,
        Reason::TooManyFields,
        Reason::TooLarge,
        Reason::Empty,
        Reason::IndexRefused,
        Reason::IdConflict,
        Reason::MalformedRecord,
        Reason::UnexpectedMessage,
        Reason::Unreachable,
        Reason::TooManyAttempts,
        Reason::PluginFailed,
        Reason::UnknownSchema,
        Reason::SchemaMismatch,
    ];

    /// The word used in headers, metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::MalformedJson => "malformed_json",
            Reason::NotAnObject => "not_an_object",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::TooDeep => "too_deep",
            Reason::TooManyFields => "too_many_fields",
            Reason::TooLarge => "too_large",
            Reason::Empty => "empty",
            Reason::IndexRefused => "index_refused",
            Reason::IdConflict => "id_conflict",
            Reason::MalformedRecord => "malformed_record",
            Reason::UnexpectedMessage => "unexpected_message",
            Reason::Unreachable => "unreachable",
            Reason::TooManyAttempts => "too_many_attempts",
            Reason::PluginFailed => "plugin_failed",
            Reason::UnknownSchema => "unknown_schema",
            Reason::SchemaMismatch => "schema_mismatch",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
