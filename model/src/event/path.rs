//! Paths into a document, compiled once.
//!
//! In: dotted text or keys. Out: [`Path`]. Never: array indices or wildcards.

/// A compiled path: keys from the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(Box<[Box<str>]>);

impl Path {
    /// `details.sourceipaddress`: parts are split at dots.
    pub fn new(dotted: &str) -> Path {
        Path(dotted.split('.').map(Box::from).collect())
    }

    /// Keys taken literally, dots included. A path of no keys is the root, which cannot be edited as a whole.
    pub fn from_keys<'k>(keys: impl IntoIterator<Item = &'k str>) -> Path {
        Path(keys.into_iter().map(Box::from).collect())
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|k| &**k)
    }

    pub(super) fn parts(&self) -> &[Box<str>] {
        &self.0
    }
}

/// Keys joined by dots; keys that contain dots are not told apart.
impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
