//! What was odd about an event that goes on all the same: `mozdef.errors`.
//!
//! In: remarks of the syslog reader, the key mapping and the chain, while an
//! event is worked on. Out: texts in `mozdef.errors`, and counts by kind.
//! Never: more than a bounded number of bounded texts per event.

use std::sync::LazyLock;

use model::event::{EditError, Event, Path};

/// Most remarks kept for one event; the last says how many more there were.
const MARKS_MAX: usize = 20;

/// Longest excerpt of a value or key in a remark, in characters.
const EXCERPT_CHARS_MAX: usize = 80;

/// What kind of oddity; the label of `mozdef_event_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A time that could not be read: the receipt stands in for it.
    Time,
    /// A number that could not be read: kept as text.
    Number,
    /// Tags that are neither text nor a list.
    Tags,
    /// A plugin that failed: its changes were undone.
    Plugin,
    /// Bytes that are not UTF-8: read as Latin-1; lone surrogates: now U+FFFD.
    Encoding,
    /// Keys that stood more than once in an object: the last one stands.
    DuplicateKeys,
    /// A priority that is none, or a payload that breaks off: kept as text.
    Syslog,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [
        Kind::Time,
        Kind::Number,
        Kind::Tags,
        Kind::Plugin,
        Kind::Encoding,
        Kind::DuplicateKeys,
        Kind::Syslog,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Time => "time",
            Kind::Number => "number",
            Kind::Tags => "tags",
            Kind::Plugin => "plugin",
            Kind::Encoding => "encoding",
            Kind::DuplicateKeys => "duplicate_keys",
            Kind::Syslog => "syslog",
        }
    }
}

/// The remarks about one event.
#[derive(Debug, Default)]
pub struct Marks {
    texts: Vec<String>,
    kinds: u8,
    beyond: usize,
}

impl Marks {
    /// Forgets all, for the next event.
    pub fn clear(&mut self) {
        self.texts.clear();
        self.kinds = 0;
        self.beyond = 0;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Adds a remark; beyond the bound only its number is kept.
    pub fn add(&mut self, kind: Kind, text: String) {
        self.kinds |= 1 << kind as u8;
        if self.texts.len() < MARKS_MAX {
            self.texts.push(text);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// The kinds that there are.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.kinds & (1 << *kind as u8) != 0)
    }

    /// Writes the remarks into `mozdef.errors`, which is made or grows; `mozdef` must be an object or absent.
    pub fn write_to(&self, event: &mut Event) -> Result<(), EditError> {
        static ERRORS: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.errors"));
        for text in &self.texts {
            event.push(&ERRORS, text)?;
        }
        if self.beyond > 0 {
            event.push(&ERRORS, &format!("{} more", self.beyond))?;
        }
        Ok(())
    }
}

/// The first characters of a text that came from outside, for a remark.
pub fn excerpt(text: &str) -> &str {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{Kind, Marks, excerpt};

    #[test]
    fn remarks_are_bounded_and_counted() {
        let mut marks = Marks::default();
        for number in 0..23 {
            marks.add(if number == 0 { Kind::Time } else { Kind::Plugin }, number.to_string());
        }
        let mut event = Event::from_json(r#"{"mozdef":{"plugins":[]}}"#).unwrap();
        marks.write_to(&mut event).unwrap();
        let json = event.to_json();
        assert!(json.ends_with(r#""18","19","3 more"]}}"#), "{json}");
        assert_eq!(marks.kinds().collect::<Vec<_>>(), [Kind::Time, Kind::Plugin]);
        marks.clear();
        assert!(marks.is_empty() && marks.kinds().next().is_none());
    }

    #[test]
    fn excerpts_end_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ä".repeat(100)), "ä".repeat(80));
    }
}
