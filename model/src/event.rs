//! The event: a flat JSON document. (Skeleton: signatures only.)

use crate::error::Reason;

/// Limits of a document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest input, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting; a scalar member of the root object has depth 1.
    pub depth_max: usize,
    /// Most object keys over all levels.
    pub fields_max: usize,
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
    /// Keys that stood more than once in their object.
    pub duplicate_keys: u32,
    /// Lone surrogates that became U+FFFD.
    pub lone_surrogates: u32,
}

/// Why an input is no event. `at` is a byte offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("empty input")]
    Empty,
    #[error("invalid UTF-8 at byte {at}")]
    InvalidUtf8 { at: usize },
    #[error("{what} at byte {at}")]
    Syntax { at: usize, what: &'static str },
    #[error("the top level is not an object")]
    NotAnObject,
    #[error("nested deeper than {limit} at byte {at}")]
    TooDeep { at: usize, limit: usize },
    #[error("more than {limit} fields at byte {at}")]
    TooManyFields { at: usize, limit: usize },
    #[error("{bytes} bytes, more than {limit}")]
    TooLarge { bytes: usize, limit: usize },
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

/// Why an edit was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("nested deeper than the limit")]
    TooDeep,
    #[error("more fields than the limit")]
    TooManyFields,
    #[error("larger than the limit")]
    TooLarge,
    /// A part of the path exists and is not an object.
    #[error("a part of the path is not an object")]
    NotAnObject,
}

/// A compiled path: keys from the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(Box<[Box<str>]>);

impl Path {
    /// `details.sourceipaddress`: parts are split at dots.
    pub fn new(dotted: &str) -> Path {
        Path(dotted.split('.').map(Box::from).collect())
    }
    /// Keys taken literally, dots included.
    pub fn from_keys<'k>(keys: impl IntoIterator<Item = &'k str>) -> Path {
        Path(keys.into_iter().map(Box::from).collect())
    }
    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|k| &**k)
    }
}

/// A borrowed JSON value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    /// The number's source text, exactly.
    Number(&'a str),
    /// Unescaped.
    String(&'a str),
    Array(Array<'a>),
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    pub fn as_str(self) -> Option<&'a str> { todo!() }
    pub fn as_i64(self) -> Option<i64> { todo!() }
    pub fn as_f64(self) -> Option<f64> { todo!() }
    pub fn as_bool(self) -> Option<bool> { todo!() }
    pub fn as_object(self) -> Option<Object<'a>> { todo!() }
    pub fn as_array(self) -> Option<Array<'a>> { todo!() }
    pub fn is_null(self) -> bool { todo!() }
    /// Appends compact JSON.
    pub fn write_json(self, _out: &mut Vec<u8>) { todo!() }
    /// Compact JSON.
    pub fn to_json(self) -> String { todo!() }
}

/// A borrowed array.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> { _d: std::marker::PhantomData<&'a ()> }
impl<'a> Array<'a> {
    pub fn len(self) -> usize { todo!() }
    pub fn is_empty(self) -> bool { todo!() }
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> + 'a { std::iter::empty() }
}

/// A borrowed object. Keys keep their order and both of two duplicates.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> { _d: std::marker::PhantomData<&'a ()> }
impl<'a> Object<'a> {
    pub fn len(self) -> usize { todo!() }
    pub fn is_empty(self) -> bool { todo!() }
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Value<'a>)> + 'a { std::iter::empty() }
    /// The value of a key; of duplicates the last.
    pub fn get(self, _key: &str) -> Option<Value<'a>> { todo!() }
    /// Follows a path from this object.
    pub fn get_path(self, _path: &Path) -> Option<Value<'a>> { todo!() }
}

/// A value to be written.
#[derive(Clone, Copy, Debug)]
pub enum New<'v> {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    /// Not finite becomes null.
    F64(f64),
    Str(&'v str),
    EmptyArray,
    EmptyObject,
    /// Deep copy of a value of another event.
    Value(Value<'v>),
}
impl<'v> From<&'v str> for New<'v> { fn from(s: &'v str) -> New<'v> { New::Str(s) } }
impl<'v> From<&'v String> for New<'v> { fn from(s: &'v String) -> New<'v> { New::Str(s) } }
impl From<bool> for New<'_> { fn from(b: bool) -> Self { New::Bool(b) } }
impl From<i64> for New<'_> { fn from(n: i64) -> Self { New::I64(n) } }
impl From<u64> for New<'_> { fn from(n: u64) -> Self { New::U64(n) } }
impl<'v> From<Value<'v>> for New<'v> { fn from(v: Value<'v>) -> Self { New::Value(v) } }

/// What [`Event::visit`] shows: each key, and each leaf.
#[derive(Clone, Copy, Debug)]
pub enum Visit<'a> {
    Key(&'a str),
    Leaf(Value<'a>),
}

/// A JSON document with an object at the top, flat in memory, reused from event to event.
#[derive(Clone, Debug, Default)]
pub struct Event {}

impl Event {
    /// An empty object.
    pub fn new() -> Event { todo!() }
    /// Parses; for tests and small things.
    pub fn from_json(_json: &str) -> Result<Event, ParseError> { todo!() }
    /// Back to an empty object; memory is kept, but shrunk after giants.
    pub fn clear(&mut self) { todo!() }
    /// Replaces the content by this JSON object; nothing but white space may follow. On error the event is empty.
    pub fn parse(&mut self, _bytes: &[u8], _limits: &Limits) -> Result<Flags, ParseError> { todo!() }
    /// Limits that edits keep to (those of the last parse).
    pub fn root(&self) -> Object<'_> { todo!() }
    pub fn get(&self, _path: &Path) -> Option<Value<'_>> { todo!() }
    /// The string at a path.
    pub fn str(&self, _path: &Path) -> Option<&str> { todo!() }
    /// A top-level member.
    pub fn member(&self, _key: &str) -> Option<Value<'_>> { todo!() }
    /// A top-level member that is a string.
    pub fn member_str(&self, _key: &str) -> Option<&str> { todo!() }
    /// Sets a value; objects on the way are made; an existing value (all duplicates) is replaced in its place.
    pub fn set<'v>(&mut self, _path: &Path, _value: impl Into<New<'v>>) -> Result<(), EditError> { todo!() }
    /// Sets a top-level member.
    pub fn set_member<'v>(&mut self, _key: &str, _value: impl Into<New<'v>>) -> Result<(), EditError> { todo!() }
    /// Sets `object.key` where `object` is a top-level object (made when absent), without building a path.
    pub fn set_in<'v>(&mut self, _object: &str, _key: &str, _value: impl Into<New<'v>>) -> Result<(), EditError> { todo!() }
    /// Appends to the array at a path; made when absent. A scalar there becomes the array's first element.
    pub fn push<'v>(&mut self, _path: &Path, _value: impl Into<New<'v>>) -> Result<(), EditError> { todo!() }
    /// Copies a value within the event. False when there is none.
    pub fn copy(&mut self, _from: &Path, _to: &Path) -> Result<bool, EditError> { todo!() }
    /// Moves a value. False when there is none.
    pub fn rename(&mut self, _from: &Path, _to: &Path) -> Result<bool, EditError> { todo!() }
    /// Removes a value (all duplicates). False when there is none.
    pub fn remove(&mut self, _path: &Path) -> bool { todo!() }
    /// Rewrites keys at every depth: `Some` is the new key. Where two become equal the later stays.
    pub fn map_keys(&mut self, _f: impl FnMut(&str) -> Option<String>) { todo!() }
    /// Lower-cases keys at every depth. Where two become equal the later stays.
    pub fn lower_keys(&mut self) { todo!() }
    /// Shows each key and each leaf at any depth, in document order.
    pub fn visit<'a>(&'a self, _f: &mut dyn FnMut(Visit<'a>)) { todo!() }
    /// Appends compact JSON.
    pub fn write_json(&self, _out: &mut Vec<u8>) { todo!() }
    /// Compact JSON.
    pub fn to_json(&self) -> String { todo!() }
}

/// Where one JSON value of an input ends: checks syntax, depth, fields and size without building anything.
/// `from` is where to start (white space is skipped); the result is the value's range. `None` at the end of input.
pub fn scan_value(_input: &[u8], _from: usize, _limits: &Limits) -> Result<Option<std::ops::Range<usize>>, ParseError> {
    todo!()
}
