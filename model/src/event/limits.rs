//! Limits of a document, and why an input or an edit is refused.
//!
//! In: configuration. Out: limits that are never above what the document can
//! hold, errors with a byte offset. Never: recovery; the caller decides.

use crate::error::Reason;

/// No document is nested deeper than this, whatever the configuration says.
pub(super) const DEPTH_HARD_MAX: usize = 512;
/// No document is larger than this, whatever the configuration says: offsets have 32 bits.
pub(super) const BYTES_HARD_MAX: usize = 512 << 20;

/// Limits of a document.
///
/// The depth of a value is the number of objects and arrays around it, so a
/// scalar member of the root object has depth 1 and the root itself depth 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest input, and largest compact JSON after edits, in bytes; at most 512 MiB.
    pub bytes_max: usize,
    /// Deepest nesting; a scalar member of the root object has depth 1. At most 512.
    pub depth_max: usize,
    /// Most object keys over all levels; duplicates count.
    pub fields_max: usize,
}

impl Limits {
    /// What a document can hold at all: for records that a stage of our own has written.
    pub const MAX: Limits =
        Limits { bytes_max: BYTES_HARD_MAX, depth_max: DEPTH_HARD_MAX, fields_max: usize::MAX };

    /// The limits of the normal form of an event that came in under `self`: keys move into `details`, and
    /// fields are added. For edits by the normalizer, and for every reader of normal form.
    #[must_use]
    pub fn for_normal_form(self) -> Limits {
        Limits {
            bytes_max: self.bytes_max.saturating_mul(2).saturating_add(64 << 10),
            depth_max: self.depth_max.saturating_add(16),
            fields_max: self.fields_max.saturating_mul(2).saturating_add(1000),
        }
    }

    /// These limits within what a document can hold at all.
    pub(super) fn clamped(self) -> Limits {
        Limits {
            bytes_max: self.bytes_max.min(BYTES_HARD_MAX),
            depth_max: self.depth_max.min(DEPTH_HARD_MAX),
            fields_max: self.fields_max,
        }
    }
}

impl From<crate::config::EventLimits> for Limits {
    fn from(l: crate::config::EventLimits) -> Limits {
        Limits { bytes_max: l.bytes_max, depth_max: l.depth_max, fields_max: l.fields_max }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        crate::config::EventLimits::default().into()
    }
}

/// What was odd about an input that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Keys that their object had already: all but one of each set of duplicates.
    pub duplicate_keys: u32,
    /// Lone surrogates that became U+FFFD.
    pub lone_surrogates: u32,
}

/// Why an input is no event. `at` is a byte offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but white space.
    #[error("empty input")]
    Empty,
    /// Not UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// The first byte that is wrong.
        at: usize,
    },
    /// Not JSON as RFC 8259 defines it.
    #[error("{what} at byte {at}")]
    Syntax {
        /// Where it stopped making sense.
        at: usize,
        /// What was found, or missed.
        what: &'static str,
    },
    /// JSON, but not an object.
    #[error("the top level is not an object")]
    NotAnObject,
    /// See [`Limits::depth_max`].
    #[error("nested deeper than {limit} at byte {at}")]
    TooDeep {
        /// The first value that is too deep.
        at: usize,
        /// The limit in force.
        limit: usize,
    },
    /// See [`Limits::fields_max`].
    #[error("more than {limit} fields at byte {at}")]
    TooManyFields {
        /// The first key that is too many.
        at: usize,
        /// The limit in force.
        limit: usize,
    },
    /// See [`Limits::bytes_max`].
    #[error("{bytes} bytes, more than {limit}")]
    TooLarge {
        /// Size of the input, as far as it was looked at.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
}

impl ParseError {
    /// The reason for a dead letter.
    pub fn reason(&self) -> Reason {
        match self {
            ParseError::Empty => Reason::Empty,
            ParseError::InvalidUtf8 { .. } => Reason::InvalidUtf8,
            ParseError::Syntax { .. } => Reason::MalformedJson,
            ParseError::NotAnObject => Reason::NotAnObject,
            ParseError::TooDeep { .. } => Reason::TooDeep,
            ParseError::TooManyFields { .. } => Reason::TooManyFields,
            ParseError::TooLarge { .. } => Reason::TooLarge,
        }
    }
}

/// Why an edit was refused. The event is then as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// See [`Limits::depth_max`].
    #[error("nested deeper than the limit")]
    TooDeep,
    /// See [`Limits::fields_max`].
    #[error("more fields than the limit")]
    TooManyFields,
    /// See [`Limits::bytes_max`].
    #[error("larger than the limit")]
    TooLarge,
    /// A part of the path exists and is not an object, or the path is empty.
    #[error("a part of the path is not an object")]
    NotAnObject,
}
