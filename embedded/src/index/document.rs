//! A document ready for the search library: its leaves, flat, in one text buffer.
//!
//! In: leaves one by one from `build.rs`. Out: what the library's `Document` trait shows. Never: a tree.

use std::sync::Arc;

use tantivy::schema::Field;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};

use super::schema::fields;

/// A document on its way into the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) id: Arc<str>,
    pub(crate) source: Arc<[u8]>,
    pub(crate) version: u64,
    pub(crate) seq_no: u64,
    pub(crate) content: Content,
}

/// The indexed part of a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    buffer: String,
    keywords: Vec<(Arc<str>, Span)>,
    text: Vec<(Arc<str>, Span)>,
    numbers: Vec<(Arc<str>, i64)>,
    names: Vec<Arc<str>>,
    pub(crate) ignored: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Content {
    /// A string of a keyword or ip field.
    pub(crate) fn keyword(&mut self, key: &Arc<str>, value: &str) {
        let span = self.store(value);
        self.keywords.push((key.clone(), span));
    }

    /// A value of a text field.
    pub(crate) fn text(&mut self, key: &Arc<str>, value: &str) {
        let span = self.store(value);
        self.text.push((key.clone(), span));
        self.name(key);
    }

    /// A value of a field with a column of numbers.
    pub(crate) fn number(&mut self, key: &Arc<str>, value: i64) {
        self.numbers.push((key.clone(), value));
    }

    /// A field that has a value but no column.
    pub(crate) fn name(&mut self, key: &Arc<str>) {
        if !self.names.contains(key) {
            self.names.push(key.clone());
        }
    }

    /// A field whose value is kept in the source only.
    pub(crate) fn ignore(&mut self, key: &Arc<str>) {
        if !self.ignored.contains(key) {
            self.ignored.push(key.clone());
        }
    }

    fn store(&mut self, value: &str) -> Span {
        // A document is smaller than 4 GiB: the limit on request bodies sees to it.
        let start = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        self.buffer.push_str(value);
        Span { start, end: u32::try_from(self.buffer.len()).unwrap_or(u32::MAX) }
    }

    fn read(&self, span: Span) -> &str {
        self.buffer.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// A value as the library sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Unsigned(u64),
    Signed(i64),
    Keywords(&'a Content),
    Words(&'a Content),
    Numbers(&'a Content),
}

/// Members of one of the library's JSON fields: a flat list of path and value.
pub(crate) enum Members<'a> {
    Strings(&'a Content, std::slice::Iter<'a, (Arc<str>, Span)>),
    Numbers(std::slice::Iter<'a, (Arc<str>, i64)>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Shown<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Members::Strings(content, items) => {
                let (key, span) = items.next()?;
                Some((key, Shown::Text(content.read(*span))))
            }
            Members::Numbers(items) => {
                let (key, number) = items.next()?;
                Some((key, Shown::Signed(*number)))
            }
        }
    }
}

impl<'a> Value<'a> for Shown<'a> {
    type ArrayIter = std::iter::Empty<Shown<'a>>;
    type ObjectIter = Members<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        match *self {
            Shown::Text(text) => ReferenceValue::Leaf(ReferenceValueLeaf::Str(text)),
            Shown::Bytes(bytes) => ReferenceValue::Leaf(ReferenceValueLeaf::Bytes(bytes)),
            Shown::Unsigned(number) => ReferenceValue::Leaf(ReferenceValueLeaf::U64(number)),
            Shown::Signed(number) => ReferenceValue::Leaf(ReferenceValueLeaf::I64(number)),
            Shown::Keywords(content) => {
                ReferenceValue::Object(Members::Strings(content, content.keywords.iter()))
            }
            Shown::Words(content) => ReferenceValue::Object(Members::Strings(content, content.text.iter())),
            Shown::Numbers(content) => ReferenceValue::Object(Members::Numbers(content.numbers.iter())),
        }
    }
}

/// Fields of a document in turn.
pub(crate) struct Shows<'a> {
    document: &'a Prepared,
    step: usize,
}

impl<'a> Iterator for Shows<'a> {
    type Item = (Field, Shown<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.document;
        let content = &document.content;
        let fields = fields();
        loop {
            let step = self.step;
            self.step += 1;
            return Some(match step {
                0 => (fields.id, Shown::Text(&document.id)),
                1 => (fields.source, Shown::Bytes(&document.source)),
                2 => (fields.version, Shown::Unsigned(document.version)),
                3 => (fields.seq_no, Shown::Unsigned(document.seq_no)),
                4 if content.keywords.is_empty() => continue,
                4 => (fields.keywords, Shown::Keywords(content)),
                5 if content.numbers.is_empty() => continue,
                5 => (fields.numbers, Shown::Numbers(content)),
                6 if content.text.is_empty() => continue,
                6 => (fields.text, Shown::Words(content)),
                later => {
                    let at = later.checked_sub(7)?;
                    match content.names.get(at) {
                        Some(name) => (fields.names, Shown::Text(name)),
                        None => {
                            let at = at.checked_sub(content.names.len())?;
                            (fields.ignored, Shown::Text(content.ignored.get(at)?))
                        }
                    }
                }
            });
        }
    }
}

impl Document for Prepared {
    type Value<'a> = Shown<'a>;
    type FieldsValuesIter<'a> = Shows<'a>;

    fn iter_fields_and_values(&self) -> Shows<'_> {
        Shows { document: self, step: 0 }
    }
}
