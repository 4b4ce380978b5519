//! The grammar: one pass over JSON text that tells a sink what it meets, and
//! the scan that only wants to know where a value ends. Parsing and scanning
//! share it, so they cannot disagree.
//!
//! In: bytes. Out: calls to a [`Sink`], the end of the value. Never: recursion,
//! or UTF-8 checks (bytes above 0x7f are taken in strings only).

use std::ops::Range;

use super::limits::{Limits, ParseError};
use super::node::Kind;
use super::text::scan_string;

/// What a pass over JSON text tells. Ranges are byte offsets into the input.
pub(super) trait Sink {
    /// A key, without its quotes.
    fn key(&mut self, range: Range<usize>, escaped: bool);
    /// A string value, without its quotes.
    fn string(&mut self, range: Range<usize>, escaped: bool);
    /// A number, `null`, `true` or `false`.
    fn scalar(&mut self, kind: Kind, range: Range<usize>);
    /// An array or object begins.
    fn open(&mut self, kind: Kind);
    /// The innermost array or object ends.
    fn close(&mut self);
}

/// Wants to know nothing.
struct Ignore;

impl Sink for Ignore {
    fn key(&mut self, _: Range<usize>, _: bool) {}
    fn string(&mut self, _: Range<usize>, _: bool) {}
    fn scalar(&mut self, _: Kind, _: Range<usize>) {}
    fn open(&mut self, _: Kind) {}
    fn close(&mut self) {}
}

/// Where one JSON value of an input ends: checks syntax, UTF-8, depth, fields and size without building
/// anything. `from` is where to start (white space is skipped, and a byte order mark at offset 0); the result is
/// the value's range. `None` at the end of input.
///
/// Values may follow one another without a separator, except that a number or word must not run into a
/// letter or digit. What is accepted, [`super::Event::parse`] accepts too if it is an object.
///
/// # Errors
/// As for [`super::Event::parse`], without `Empty` and `NotAnObject`; offsets count from the start of `input`.
pub fn scan_value(input: &[u8], from: usize, limits: &Limits) -> Result<Option<Range<usize>>, ParseError> {
    let start = skip_space(input, if from == 0 { byte_order_mark(input) } else { from });
    if start >= input.len() {
        return Ok(None);
    }
    let end =
        scan(input, start, limits, &mut Ignore).map_err(|error| prefer_utf8_error(error, input, start))?;
    let value = input.get(start..end).unwrap_or_default();
    check_utf8(value).map_err(|at| ParseError::InvalidUtf8 { at: start + at })?;
    Ok(Some(start..end))
}

/// The offset of the first byte that is not UTF-8.
pub(super) fn check_utf8(bytes: &[u8]) -> Result<&str, usize> {
    // The fast check does not say where; the slow one runs only for what is refused.
    simdutf8::basic::from_utf8(bytes)
        .or_else(|_| simdutf8::compat::from_utf8(bytes).map_err(|error| error.valid_up_to()))
}

/// A syntax error at or after a byte that is not UTF-8 is told as such.
fn prefer_utf8_error(error: ParseError, input: &[u8], start: usize) -> ParseError {
    let ParseError::Syntax { at, .. } = error else { return error };
    // No further than the error: a body of many bad lines must not be checked to its end for each of them.
    let end = at.saturating_add(4).min(input.len());
    match check_utf8(input.get(start..end).unwrap_or_default()) {
        Err(bad) if start + bad <= at => ParseError::InvalidUtf8 { at: start + bad },
        _ => error,
    }
}

/// Length of a byte order mark at the start: RFC 8259 lets a parser ignore it.
pub(super) fn byte_order_mark(input: &[u8]) -> usize {
    if input.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

#[inline]
pub(super) fn skip_space(input: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = input.get(at) {
        at += 1;
    }
    at
}

/// Runs over the value that starts at `start` (no white space there). Returns where it ends.
pub(super) fn scan<S: Sink>(
    input: &[u8],
    start: usize,
    limits: &Limits,
    sink: &mut S,
) -> Result<usize, ParseError> {
    let limits = limits.clamped();
    let mut pass = Pass { input, start, at: start, limits, fields: 0, nesting: Nesting::default(), sink };
    pass.run()?;
    pass.check_size()?;
    Ok(pass.at)
}

struct Pass<'a, S> {
    input: &'a [u8],
    start: usize,
    at: usize,
    limits: Limits,
    fields: usize,
    nesting: Nesting,
    sink: &'a mut S,
}

impl<S: Sink> Pass<'_, S> {
    fn run(&mut self) -> Result<(), ParseError> {
        loop {
            let mut ended = self.value()?;
            while ended {
                let Some(in_object) = self.nesting.top() else { return Ok(()) };
                self.space();
                match (self.peek(), in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.space();
                        self.key()?;
                        ended = false;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        self.space();
                        ended = false;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => self.close(),
                    (_, true) => return Err(self.wrong("expected `,` or `}`")),
                    (_, false) => return Err(self.wrong("expected `,` or `]`")),
                }
            }
        }
    }

    /// Takes a scalar or an empty container (true), or the start of a container up to its first value (false).
    #[inline]
    fn value(&mut self) -> Result<bool, ParseError> {
        if self.nesting.depth > self.limits.depth_max {
            return Err(ParseError::TooDeep { at: self.at, limit: self.limits.depth_max });
        }
        match self.peek() {
            Some(b'"') => {
                let from = self.at + 1;
                let (end, escaped) = scan_string(self.input, from)?;
                self.sink.string(from..end, escaped);
                self.at = end + 1;
                Ok(true)
            }
            Some(b'{') => self.open(Kind::Object, b'}'),
            Some(b'[') => self.open(Kind::Array, b']'),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Kind::True),
            Some(b'f') => self.word(b"false", Kind::False),
            Some(b'n') => self.word(b"null", Kind::Null),
            _ => Err(self.wrong("expected a value")),
        }
    }

    fn open(&mut self, kind: Kind, end: u8) -> Result<bool, ParseError> {
        self.check_size()?;
        self.sink.open(kind);
        self.nesting.push(kind == Kind::Object);
        self.at += 1;
        self.space();
        if self.peek() == Some(end) {
            self.close();
            return Ok(true);
        }
        if kind == Kind::Object {
            self.key()?;
        }
        Ok(false)
    }

    fn close(&mut self) {
        self.at += 1;
        self.nesting.pop();
        self.sink.close();
    }

    /// Takes a key, the colon and white space around it.
    #[inline]
    fn key(&mut self) -> Result<(), ParseError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a key in quotes"));
        }
        self.fields += 1;
        if self.fields > self.limits.fields_max {
            return Err(ParseError::TooManyFields { at: self.at, limit: self.limits.fields_max });
        }
        let from = self.at + 1;
        let (end, escaped) = scan_string(self.input, from)?;
        self.sink.key(from..end, escaped);
        self.at = end + 1;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("expected `:`"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], kind: Kind) -> Result<bool, ParseError> {
        let end = self.at + word.len();
        if self.input.get(self.at..end) != Some(word) {
            return Err(self.wrong("expected a value"));
        }
        self.finish_bare(kind, end)
    }

    fn number(&mut self) -> Result<bool, ParseError> {
        let mut end = self.at + usize::from(self.peek() == Some(b'-'));
        match self.input.get(end) {
            Some(b'0') => end += 1,
            _ => end = self.digits(end)?,
        }
        if self.input.get(end) == Some(&b'.') {
            end = self.digits(end + 1)?;
        }
        if let Some(b'e' | b'E') = self.input.get(end) {
            end += 1;
            if let Some(b'+' | b'-') = self.input.get(end) {
                end += 1;
            }
            end = self.digits(end)?;
        }
        self.finish_bare(Kind::Number, end)
    }

    /// The end of one or more digits.
    fn digits(&self, from: usize) -> Result<usize, ParseError> {
        let mut end = from;
        while let Some(b'0'..=b'9') = self.input.get(end) {
            end += 1;
        }
        if end == from {
            return Err(ParseError::Syntax { at: end, what: "expected a digit" });
        }
        Ok(end)
    }

    /// A number or word ends where nothing follows that could belong to it.
    fn finish_bare(&mut self, kind: Kind, end: usize) -> Result<bool, ParseError> {
        match self.input.get(end) {
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'+' | b'-' | b'_' | 0x80..) => {
                Err(ParseError::Syntax { at: end, what: "unexpected character after a value" })
            }
            _ => {
                self.sink.scalar(kind, self.at..end);
                self.at = end;
                Ok(true)
            }
        }
    }

    fn check_size(&self) -> Result<(), ParseError> {
        let bytes = self.at - self.start;
        if bytes > self.limits.bytes_max {
            return Err(ParseError::TooLarge { bytes, limit: self.limits.bytes_max });
        }
        Ok(())
    }

    fn space(&mut self) {
        self.at = skip_space(self.input, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn wrong(&self, what: &'static str) -> ParseError {
        let what = if self.at < self.input.len() { what } else { "unexpected end" };
        ParseError::Syntax { at: self.at, what }
    }
}

/// The open containers, one bit each: set for an object. Allocates only beyond 64.
#[derive(Default)]
struct Nesting {
    depth: usize,
    bits: u64,
    full: Vec<u64>,
}

impl Nesting {
    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.full.pop().unwrap_or_default();
        }
    }
}
