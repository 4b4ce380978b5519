//! Splits a request body into events: an object, an array of objects, lines
//! of JSON, JSON values one after another, or lines of syslog.
//!
//! In: the whole body. Out: byte ranges in order, each an event or the
//! reason why it is none. Never: copies, or a change to an event's bytes.
//!
//! One bad value does not spoil its neighbours: the next one is looked for on
//! the next line. Only where a document of several lines, or an array that is
//! the whole body, breaks off, no line after it can be trusted; then all of
//! the rest is one bad piece.

use std::ops::Range;

use memchr::memchr;
use model::event::{Limits, ParseError, scan_value};

/// An event, or what should have been one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it lies in the body. Never empty.
    pub(crate) range: Range<usize>,
    /// Why it is no event.
    pub(crate) problem: Option<ParseError>,
}

/// More events than one request may bring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Splits JSON. Byte numbers in problems count from the start of the body.
pub(crate) fn split_json(body: &[u8], limits: &Limits, pieces_max: usize) -> Result<Vec<Piece>, TooMany> {
    let first = start(body);
    // The size is checked here, so that an event too large is still known in its whole extent.
    let scan = Limits { bytes_max: usize::MAX, ..*limits };
    let mut splitter = Splitter {
        body,
        scan,
        bytes_max: limits.bytes_max,
        pieces_max,
        first,
        pieces: Vec::new(),
        unbalanced: false,
    };
    let mut at = first;
    while let Some((start, byte)) = next_token(body, at) {
        at = match byte {
            b'[' => splitter.array(start)?,
            b'{' => splitter.object(start)?,
            _ => splitter.scalar(start)?,
        };
    }
    Ok(splitter.pieces)
}

/// Splits lines of text. Blank lines are no events; a carriage return at the end belongs to the line's end.
pub(crate) fn split_lines(body: &[u8], limits: &Limits, pieces_max: usize) -> Result<Vec<Piece>, TooMany> {
    let mut pieces = Vec::new();
    let mut at = start(body);
    while at < body.len() {
        let end = line_end(body, at);
        let line = body.get(at..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            let range = at..at + line.len();
            let problem = (range.len() > limits.bytes_max)
                .then_some(ParseError::TooLarge { bytes: range.len(), limit: limits.bytes_max });
            push(&mut pieces, Piece { range, problem }, pieces_max)?;
        }
        at = end + 1;
    }
    Ok(pieces)
}

/// Number of the line, from 1, in which a byte lies.
pub(crate) fn line_number(body: &[u8], at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', body.get(..at).unwrap_or(body)).count()
}

/// Why an array cannot be read to its end.
enum Broken {
    Syntax(ParseError),
    TooMany,
}

impl From<TooMany> for Broken {
    fn from(_: TooMany) -> Broken {
        Broken::TooMany
    }
}

struct Splitter<'a> {
    body: &'a [u8],
    scan: Limits,
    bytes_max: usize,
    pieces_max: usize,
    /// Where the first value of the body begins.
    first: usize,
    pieces: Vec<Piece>,
    /// A value was found to have no end; looking again would make the work quadratic.
    unbalanced: bool,
}

impl Splitter<'_> {
    fn object(&mut self, start: usize) -> Result<usize, TooMany> {
        match scan_value(self.body, start, &self.scan) {
            Ok(Some(range)) => {
                let end = range.end;
                let problem = self.size_problem(&range);
                self.push(range, problem)?;
                Ok(end)
            }
            Ok(None) => Ok(self.body.len()),
            Err(problem) => self.bad_value(start, problem),
        }
    }

    /// A value that is neither object nor array: the whole line is none of ours.
    fn scalar(&mut self, start: usize) -> Result<usize, TooMany> {
        let problem = match scan_value(self.body, start, &self.scan) {
            Ok(_) => ParseError::NotAnObject,
            Err(problem) => problem,
        };
        self.bad_line(start, problem)
    }

    fn array(&mut self, start: usize) -> Result<usize, TooMany> {
        let before = self.pieces.len();
        match self.elements(start + 1) {
            Ok(end) => Ok(end),
            Err(Broken::TooMany) => Err(TooMany),
            Err(Broken::Syntax(problem)) => {
                self.pieces.truncate(before);
                if start == self.first {
                    self.bad_rest(start, problem)
                } else {
                    self.bad_line(start, problem)
                }
            }
        }
    }

    /// Reads the elements of an array from behind its bracket; returns the place behind the closing one.
    fn elements(&mut self, mut at: usize) -> Result<usize, Broken> {
        if let Some((place, b']')) = next_token(self.body, at) {
            return Ok(place + 1);
        }
        loop {
            at = self.element(at)?;
            match next_token(self.body, at) {
                Some((place, b',')) => at = place + 1,
                Some((place, b']')) => return Ok(place + 1),
                Some((at, _)) => {
                    return Err(Broken::Syntax(ParseError::Syntax { at, what: "expected , or ]" }));
                }
                None => {
                    return Err(Broken::Syntax(ParseError::Syntax { at, what: "the array does not end" }));
                }
            }
        }
    }

    fn element(&mut self, from: usize) -> Result<usize, Broken> {
        let Some((start, byte)) = next_token(self.body, from) else {
            return Err(Broken::Syntax(ParseError::Syntax { at: from, what: "the array does not end" }));
        };
        let (range, problem) = match scan_value(self.body, start, &self.scan) {
            Ok(Some(range)) if byte == b'{' => {
                let problem = self.size_problem(&range);
                (range, problem)
            }
            Ok(Some(range)) => (range, Some(ParseError::NotAnObject)),
            Ok(None) => {
                return Err(Broken::Syntax(ParseError::Syntax { at: start, what: "expected a value" }));
            }
            Err(problem) => match self.end_beyond_limits(start, &problem) {
                Some(end) => (start..end, Some(problem)),
                None => return Err(Broken::Syntax(problem)),
            },
        };
        let end = range.end;
        self.push(range, problem)?;
        Ok(end)
    }

    fn bad_value(&mut self, start: usize, problem: ParseError) -> Result<usize, TooMany> {
        if let Some(end) = self.end_beyond_limits(start, &problem) {
            self.push(start..end, Some(problem))?;
            return Ok(end);
        }
        self.bad_line(start, problem)
    }

    fn bad_line(&mut self, start: usize, problem: ParseError) -> Result<usize, TooMany> {
        let end = line_end(self.body, start);
        let line = self.body.get(start..end).unwrap_or_default().trim_ascii_end();
        // A bracket alone opens a document of several lines; its inner lines are no events.
        if matches!(line, b"{" | b"[") {
            return self.bad_rest(start, problem);
        }
        self.push(start..start + line.len(), Some(problem))?;
        Ok(end)
    }

    fn bad_rest(&mut self, start: usize, problem: ParseError) -> Result<usize, TooMany> {
        let length = self.body.get(start..).unwrap_or_default().trim_ascii_end().len();
        self.push(start..start + length, Some(problem))?;
        Ok(self.body.len())
    }

    fn size_problem(&self, range: &Range<usize>) -> Option<ParseError> {
        let bytes = range.len();
        (bytes > self.bytes_max).then_some(ParseError::TooLarge { bytes, limit: self.bytes_max })
    }

    /// Where a value ends that is well-formed as far as it was read, but goes over a limit.
    fn end_beyond_limits(&mut self, start: usize, problem: &ParseError) -> Option<usize> {
        let over = match problem {
            ParseError::TooDeep { .. } | ParseError::TooManyFields { .. } | ParseError::TooLarge { .. } => {
                true
            }
            ParseError::Empty
            | ParseError::InvalidUtf8 { .. }
            | ParseError::Syntax { .. }
            | ParseError::NotAnObject => false,
        };
        if !over || self.unbalanced {
            return None;
        }
        let end = balanced_end(self.body, start);
        self.unbalanced = end.is_none();
        end
    }

    fn push(&mut self, range: Range<usize>, problem: Option<ParseError>) -> Result<(), TooMany> {
        push(&mut self.pieces, Piece { range, problem }, self.pieces_max)
    }
}

fn push(pieces: &mut Vec<Piece>, piece: Piece, pieces_max: usize) -> Result<(), TooMany> {
    if pieces.len() >= pieces_max {
        return Err(TooMany);
    }
    pieces.push(piece);
    Ok(())
}

/// Behind a byte order mark, which some shippers send.
fn start(body: &[u8]) -> usize {
    if body.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}

fn next_token(body: &[u8], from: usize) -> Option<(usize, u8)> {
    let rest = body.get(from..)?;
    let skipped = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'))?;
    Some((from + skipped, *rest.get(skipped)?))
}

fn line_end(body: &[u8], from: usize) -> usize {
    body.get(from..).and_then(|rest| memchr(b'\n', rest)).map_or(body.len(), |length| from + length)
}

/// The place behind the bracket that closes the one at `start`; strings are stepped over.
fn balanced_end(body: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut bytes = body.get(start..)?.iter().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(start + offset + 1);
                }
            }
            b'"' => loop {
                match bytes.next()?.1 {
                    b'"' => break,
                    b'\\' => {
                        bytes.next()?;
                    }
                    _ => {}
                }
            },
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
