//! The events of an object, found while its bytes come: elements of `Records`, or lines.
//!
//! In: plain bytes in pieces of any size. Out: each event's own bytes, or what should have been one. Never: more in
//! memory than one event.

use bytes::Bytes;
use memchr::memchr;
use model::event::{Limits, ParseError, scan_value};

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An event.
    Event(Bytes),
    /// What is none, as far as it is kept, and why.
    Bad(Bytes, ParseError),
}

/// Finds events of one kind of object.
pub(super) enum Splitter {
    /// `{"Records": [{…}, …]}`, as CloudTrail writes it.
    Records(Records),
    /// A JSON object a line.
    Lines(Lines),
}

impl Splitter {
    /// Takes more bytes. An error means that nothing after it can be read.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Found>) -> Result<(), ParseError> {
        match self {
            Splitter::Records(records) => records.push(bytes, out),
            Splitter::Lines(lines) => {
                lines.push(bytes, out);
                Ok(())
            }
        }
    }

    /// The object ends here. An error means that it breaks off, or is not what it should be.
    pub(super) fn finish(&mut self, out: &mut Vec<Found>) -> Result<(), ParseError> {
        match self {
            Splitter::Records(records) => records.finish(),
            Splitter::Lines(lines) => {
                lines.end(out);
                Ok(())
            }
        }
    }
}

/// Bytes of one event, as far as the limit allows.
struct Kept {
    bytes: Vec<u8>,
    /// All that there were.
    length: usize,
    limits: Limits,
}

impl Kept {
    fn new(limits: Limits) -> Kept {
        Kept { bytes: Vec::new(), length: 0, limits }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.limits.bytes_max.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.length = self.length.saturating_add(bytes.len());
    }

    /// What it is, now that it is whole.
    fn take(&mut self) -> Found {
        let (bytes, length) =
            (Bytes::from(std::mem::take(&mut self.bytes)), std::mem::take(&mut self.length));
        let limit = self.limits.bytes_max;
        if length > limit {
            return Found::Bad(bytes, ParseError::TooLarge { bytes: length, limit });
        }
        match scan_value(&bytes, 0, &self.limits) {
            Ok(Some(range)) if bytes.first() != Some(&b'{') || range.end != bytes.len() => {
                Found::Bad(bytes, ParseError::NotAnObject)
            }
            Ok(Some(_)) => Found::Event(bytes),
            Ok(None) => Found::Bad(bytes, ParseError::Empty),
            Err(error) => Found::Bad(bytes, error),
        }
    }
}

/// Lines; blank ones are no events.
pub(super) struct Lines(Kept);

impl Lines {
    pub(super) fn new(limits: Limits) -> Lines {
        Lines(Kept::new(limits))
    }

    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Found>) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.0.add(bytes.get(..end).unwrap_or_default());
            self.end(out);
            bytes = bytes.get(end.saturating_add(1)..).unwrap_or_default();
        }
        self.0.add(bytes);
    }

    fn end(&mut self, out: &mut Vec<Found>) {
        let kept = &mut self.0;
        let cut = kept.length > kept.bytes.len();
        let trimmed = kept.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&kept.bytes).trim_ascii();
        if trimmed.is_empty() && !cut {
            kept.bytes.clear();
            kept.length = 0;
            return;
        }
        if !cut && trimmed.len() < kept.bytes.len() {
            kept.bytes = trimmed.to_vec();
            kept.length = kept.bytes.len();
        }
        out.push(kept.take());
    }
}

/// Where in the document the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the opening brace.
    Start,
    /// Between members.
    Members,
    /// In a member's name.
    Name,
    /// Between a name and its value.
    Colon,
    /// Before a value.
    Value,
    /// In a value that is not looked at.
    Skipped,
    /// Between elements of `Records`.
    Elements,
    /// In an element of `Records`.
    Element,
    /// Behind the closing brace.
    End,
}

/// Elements of the list `Records` of a document.
pub(super) struct Records {
    state: State,
    /// Number of the next byte.
    at: usize,
    /// Objects and lists around the next byte, within the value in hand.
    depth: usize,
    in_string: bool,
    escaped: bool,
    name: Vec<u8>,
    kept: Kept,
    /// Whether the list was there.
    found_list: bool,
}

/// The name of the list, and more bytes of names than are looked at.
const LIST: &[u8] = b"Records";
const NAME_BYTES_MAX: usize = 64;

impl Records {
    pub(super) fn new(limits: Limits) -> Records {
        Records {
            state: State::Start,
            at: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            name: Vec::new(),
            kept: Kept::new(limits),
            found_list: false,
        }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<Found>) -> Result<(), ParseError> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if self.state == State::Element {
                let taken = self.element(rest, out);
                self.at = self.at.saturating_add(taken);
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            if self.outside(*byte)? {
                self.at = self.at.saturating_add(1);
                rest = after;
            }
        }
        Ok(())
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Syntax { at: self.at, what })
    }

    /// A byte that is in no element; false when it is to be looked at again, in another state.
    fn outside(&mut self, byte: u8) -> Result<bool, ParseError> {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match (self.state, byte) {
            (State::Name, _) => self.name_byte(byte),
            (State::Skipped, _) => return Ok(self.skipped_byte(byte)),
            (_, _) if blank => {}
            (State::Start, b'{') => self.state = State::Members,
            (State::Start, 0xEF | 0xBB | 0xBF) if self.at < 3 => {}
            (State::Start, _) => return self.wrong("expected an object"),
            (State::Members, b',') => {}
            (State::Members, b'"') => {
                self.name.clear();
                self.state = State::Name;
            }
            (State::Members, b'}') => self.state = State::End,
            (State::Members, _) => return self.wrong("expected a member's name"),
            (State::Colon, b':') => self.state = State::Value,
            (State::Colon, _) => return self.wrong("expected :"),
            (State::Value, b'[') if self.name == LIST => {
                self.found_list = true;
                self.state = State::Elements;
            }
            (State::Value, _) => {
                (self.depth, self.in_string, self.escaped) = (0, false, false);
                self.state = State::Skipped;
                return Ok(false);
            }
            (State::Elements, b',') => {}
            (State::Elements, b']') => self.state = State::Members,
            (State::Elements, _) => {
                (self.depth, self.in_string, self.escaped) = (0, false, false);
                self.state = State::Element;
                return Ok(false);
            }
            (State::End, _) => return self.wrong("more after the document's end"),
            (State::Element, _) => return Ok(false),
        }
        Ok(true)
    }

    fn name_byte(&mut self, byte: u8) {
        match byte {
            b'"' if !self.escaped => self.state = State::Colon,
            _ => {
                self.escaped = byte == b'\\' && !self.escaped;
                if self.name.len() < NAME_BYTES_MAX {
                    self.name.push(byte);
                }
            }
        }
    }

    /// False when the byte ends the value and belongs to what is around it.
    fn skipped_byte(&mut self, byte: u8) -> bool {
        if self.depth == 0 && !self.in_string && matches!(byte, b',' | b'}' | b']') {
            self.state = State::Members;
            return false;
        }
        self.step(byte);
        true
    }

    /// Follows strings and brackets.
    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Takes the bytes of an element; gives how many belong to it.
    fn element(&mut self, bytes: &[u8], out: &mut Vec<Found>) -> usize {
        for (number, byte) in bytes.iter().enumerate() {
            let outer = self.depth == 0 && !self.in_string;
            if outer && self.kept.length.saturating_add(number) > 0 && matches!(byte, b',' | b']') {
                // A value without brackets ends before what follows it.
                self.kept.add(bytes.get(..number).unwrap_or_default());
                self.ended(out);
                return number;
            }
            self.step(*byte);
            if self.depth == 0 && !self.in_string && matches!(byte, b'}' | b']') {
                let taken = number.saturating_add(1);
                self.kept.add(bytes.get(..taken).unwrap_or_default());
                self.ended(out);
                return taken;
            }
        }
        self.kept.add(bytes);
        bytes.len()
    }

    fn ended(&mut self, out: &mut Vec<Found>) {
        out.push(self.kept.take());
        self.state = State::Elements;
    }

    fn finish(&mut self) -> Result<(), ParseError> {
        match self.state {
            State::End if self.found_list => Ok(()),
            State::End => self.wrong("the document has no list of Records"),
            State::Start => Err(ParseError::Empty),
            _ => self.wrong("the document breaks off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::event::{Limits, ParseError};
    use proptest::prelude::*;

    use super::{Found, Lines, Records, Splitter};

    fn limits() -> Limits {
        Limits { bytes_max: 64, depth_max: 8, fields_max: 20 }
    }

    fn run(mut splitter: Splitter, input: &[u8], step: usize) -> (Vec<String>, Option<ParseError>) {
        let mut out = Vec::new();
        let pushed = input.chunks(step.max(1)).try_for_each(|chunk| splitter.push(chunk, &mut out));
        let ended = pushed.and_then(|()| splitter.finish(&mut out)).err();
        let show = |found: &Found| match found {
            Found::Event(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Found::Bad(bytes, error) => format!("{}: {}", error.reason(), String::from_utf8_lossy(bytes)),
        };
        (out.iter().map(show).collect(), ended)
    }

    #[track_caller]
    fn check(make: fn() -> Splitter, input: &str, expected: &[&str], ended: Option<&str>) {
        for step in [1, 2, 3, 7, input.len()] {
            let (found, error) = run(make(), input.as_bytes(), step);
            assert_eq!(found, expected, "{input} by {step}");
            let error = error.map(|error| error.to_string());
            assert_eq!(error.is_some(), ended.is_some(), "{input} by {step}: {error:?}");
            assert!(error.unwrap_or_default().contains(ended.unwrap_or_default()), "{input} by {step}");
        }
    }

    fn records() -> Splitter {
        Splitter::Records(Records::new(limits()))
    }

    fn lines() -> Splitter {
        Splitter::Lines(Lines::new(limits()))
    }

    #[test]
    fn elements_of_records_are_found_wherever_they_lie() {
        check(
            records,
            r#"{"Records":[{"a":"}]\""},{"b":[1,{}]}]}"#,
            &[r#"{"a":"}]\""}"#, r#"{"b":[1,{}]}"#],
            None,
        );
        check(
            records,
            "\u{feff} {\"x\":{\"Records\":[1]},\"Records\" : [ {} , {} ] , \"y\":\"]}\"} \n",
            &["{}", "{}"],
            None,
        );
        check(records, r#"{"Records":[]}"#, &[], None);
        check(
            records,
            r#"{"Records":[1, "x" ,null,[2]]}"#,
            &["not_an_object: 1", "not_an_object: \"x\" ", "not_an_object: null", "not_an_object: [2]"],
            None,
        );
    }

    #[test]
    fn what_is_no_list_of_records_is_told() {
        check(records, r#"{"Records":null}"#, &[], Some("no list of Records"));
        check(records, r#"{"a":1}"#, &[], Some("no list of Records"));
        check(records, "", &[], Some("empty"));
        check(records, "[1]", &[], Some("expected an object"));
        check(records, r#"{"Records":[{"a":1},{"b""#, &[r#"{"a":1}"#], Some("breaks off"));
        check(records, r#"{"Records":[]} x"#, &[], Some("more after"));
    }

    #[test]
    fn one_bad_element_does_not_spoil_its_neighbours() {
        let long = "x".repeat(80);
        let input = format!(r#"{{"Records":[{{"a":x}},{{"a":"{long}"}},{{"b":2}}]}}"#);
        let cut = format!("too_large: {{\"a\":\"{}", "x".repeat(58));
        check(records, &input, &["malformed_json: {\"a\":x}", &cut, r#"{"b":2}"#], None);
    }

    #[test]
    fn lines_are_events_but_for_blank_ones() {
        check(
            lines,
            "{\"a\":1}\r\n\n {\"b\":2} \n[1]\nbad\n{\"c\":3}",
            &["{\"a\":1}", "{\"b\":2}", "not_an_object: [1]", "malformed_json: bad", "{\"c\":3}"],
            None,
        );
        let long = "x".repeat(200);
        check(lines, &format!("{long}\n{{}}\n"), &[&format!("too_large: {}", "x".repeat(64)), "{}"], None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::fuzz::cases(512)))]

        /// The pieces in which bytes come make no difference, and nothing panics.
        #[test]
        fn steps_make_no_difference(
            input in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "\\{\"Records\": ?\\[[\\[\\]{}\",:a0-9 \n\\\\]{0,120}\\]?\\}?".prop_map(String::into_bytes),
            ],
            step in 1_usize..40,
        ) {
            for make in [records as fn() -> Splitter, lines] {
                prop_assert_eq!(run(make(), &input, step), run(make(), &input, input.len()));
            }
        }

        /// A list of any objects is found again.
        #[test]
        fn every_record_is_found(values in proptest::collection::vec("[a-z\"\\\\{}\\[\\]é]{0,12}", 0..20), step in 1_usize..40) {
            let all: Vec<String> = values.iter().map(|v| serde_json::json!({ "k": v }).to_string()).collect();
            let input = format!("{{\"v\":1,\"Records\":[{}],\"w\":[{{}}]}}", all.join(" ,\n"));
            let (found, error) = run(records(), input.as_bytes(), step);
            prop_assert_eq!(error, None);
            prop_assert_eq!(found, all);
        }
    }
}
