//! Cuts a stream into messages (RFC 6587): each with its length in front (`83 <34>…`), or ended by a line feed or NUL.
//! Which of the two is seen anew at every message, as senders mix them.
//!
//! In: bytes as they arrive. Out: messages in order, as slices of what arrived. Never: more memory than one message of the
//! largest size and one read; an end because one message is bad.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// Most digits of a length; more are text.
const COUNT_DIGITS_MAX: usize = 9;
/// Largest length that is believed, in bytes; a larger one is text that begins with a number.
const COUNT_MAX: usize = 16 << 20;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes, without length and line end; of one that is too long the first.
    pub(super) bytes: Bytes,
    /// Why it is not whole.
    pub(super) problem: Option<Problem>,
}

/// Why a message is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It had more bytes than are kept.
    TooLong {
        /// All bytes that it had.
        bytes: usize,
        /// What is kept of it.
        limit: usize,
    },
    /// The stream ended inside it.
    BrokenOff {
        /// Its length, where that was told.
        expected: Option<usize>,
    },
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The sender closed it: a line without a line end is whole.
    Closed,
    /// It broke, or we stopped reading.
    Broken,
}

/// Cuts one stream.
#[derive(Debug)]
pub(super) struct Framer {
    /// What has arrived and is not cut yet.
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    limit: usize,
    /// A message too long, of which the rest is passed over.
    skipped: Option<Skipped>,
}

#[derive(Debug)]
struct Skipped {
    kept: Bytes,
    bytes: usize,
    /// Bytes still to come; `None`: up to the line's end.
    left: Option<usize>,
}

/// How the next message is cut.
enum Framing {
    /// Its length, and how many bytes stand before it.
    Counted { header: usize, length: usize },
    /// To the next line end.
    Line,
    /// More bytes have to come before that is known.
    Unknown,
}

impl Framer {
    /// Messages up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Framer {
        Framer { buffer: BytesMut::new(), searched: 0, limit, skipped: None }
    }

    /// Where more bytes are read to.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message that is there; `None` until more arrives. Blank ones are passed over.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.cut()?;
            if frame.problem.is_some() || !is_blank(&frame.bytes) {
                return Some(frame);
            }
        }
    }

    /// The message that the end of the stream leaves over.
    pub(super) fn finish(&mut self, end: End) -> Option<Frame> {
        if let Some(Skipped { kept, bytes, .. }) = self.skipped.take() {
            let bytes = bytes.saturating_add(self.buffer.len());
            self.buffer.clear();
            return Some(Frame { bytes: kept, problem: Some(Problem::TooLong { bytes, limit: self.limit }) });
        }
        let (header, problem) = match (self.framing(), end) {
            (Framing::Counted { header, length }, _) => {
                (header, Some(Problem::BrokenOff { expected: Some(length) }))
            }
            (_, End::Closed) => (0, None),
            (_, End::Broken) => (0, Some(Problem::BrokenOff { expected: None })),
        };
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        let bytes = without_carriage_return(rest.slice(header.min(rest.len())..));
        (!is_blank(&bytes)).then_some(Frame { bytes, problem })
    }

    fn cut(&mut self) -> Option<Frame> {
        if self.skipped.is_some() {
            return self.skip();
        }
        if self.searched == 0 {
            self.pass_line_ends();
        }
        match self.framing() {
            Framing::Unknown => None,
            Framing::Counted { header, length } => self.counted(header, length),
            Framing::Line => self.line(),
        }
    }

    /// Line ends in front of a message: many senders put one after a counted message too.
    fn pass_line_ends(&mut self) {
        let blank = self.buffer.iter().take_while(|c| matches!(c, b'\n' | b'\r' | 0)).count();
        if blank > 0 {
            drop(self.buffer.split_to(blank));
        }
    }

    fn framing(&self) -> Framing {
        let digits = self.buffer.iter().take(COUNT_DIGITS_MAX + 1).take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 || digits > COUNT_DIGITS_MAX || self.buffer.first() == Some(&b'0') {
            return if self.buffer.is_empty() { Framing::Unknown } else { Framing::Line };
        }
        match (self.buffer.get(digits), self.buffer.get(digits + 1)) {
            (None, _) | (Some(b' '), None) => Framing::Unknown,
            (Some(b' '), Some(b'<')) => {
                let number = self.buffer.iter().take(digits);
                let length = number.fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
                if length > COUNT_MAX {
                    Framing::Line
                } else {
                    Framing::Counted { header: digits + 1, length }
                }
            }
            _ => Framing::Line,
        }
    }

    fn counted(&mut self, header: usize, length: usize) -> Option<Frame> {
        let there = self.buffer.len() - header;
        if length <= self.limit {
            if there < length {
                return None;
            }
            drop(self.buffer.split_to(header));
            return Some(Frame { bytes: self.buffer.split_to(length).freeze(), problem: None });
        }
        if there < self.limit {
            return None;
        }
        drop(self.buffer.split_to(header));
        let kept = self.buffer.split_to(self.limit).freeze();
        self.skipped = Some(Skipped { kept, bytes: length, left: Some(length - self.limit) });
        self.skip()
    }

    fn line(&mut self) -> Option<Frame> {
        let searched = self.searched.min(self.buffer.len());
        let unsearched = self.buffer.get(searched..).unwrap_or_default();
        match memchr2(b'\n', 0, unsearched).map(|at| searched + at) {
            Some(end) if end <= self.limit => {
                let bytes = self.buffer.split_to(end).freeze();
                drop(self.buffer.split_to(1));
                self.searched = 0;
                Some(Frame { bytes: without_carriage_return(bytes), problem: None })
            }
            None if self.buffer.len() <= self.limit => {
                self.searched = self.buffer.len();
                None
            }
            _ => {
                let kept = self.buffer.split_to(self.limit).freeze();
                self.searched = 0;
                self.skipped = Some(Skipped { bytes: kept.len(), kept, left: None });
                self.skip()
            }
        }
    }

    /// Passes over what is too long; gives the message once its end has come.
    fn skip(&mut self) -> Option<Frame> {
        let skipped = self.skipped.as_mut()?;
        let ended = match &mut skipped.left {
            Some(left) => {
                let passed = (*left).min(self.buffer.len());
                drop(self.buffer.split_to(passed));
                *left -= passed;
                *left == 0
            }
            None => {
                let end = memchr2(b'\n', 0, &self.buffer);
                let passed = end.unwrap_or(self.buffer.len());
                drop(self.buffer.split_to(passed));
                skipped.bytes = skipped.bytes.saturating_add(passed);
                if end.is_some() {
                    drop(self.buffer.split_to(1));
                }
                end.is_some()
            }
        };
        if !ended {
            return None;
        }
        let Skipped { kept, bytes, .. } = self.skipped.take()?;
        Some(Frame { bytes: kept, problem: Some(Problem::TooLong { bytes, limit: self.limit }) })
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|c| c.is_ascii_whitespace() || *c == 0)
}

fn without_carriage_return(bytes: Bytes) -> Bytes {
    match bytes.strip_suffix(b"\r") {
        Some(line) => bytes.slice(..line.len()),
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{End, Frame, Framer, Problem};

    const LIMIT: usize = 40;

    /// Messages of a stream that arrives in pieces of a size.
    fn frames(stream: &[u8], piece: usize, end: End) -> Vec<Frame> {
        let mut framer = Framer::new(LIMIT);
        let mut frames = Vec::new();
        for piece in stream.chunks(piece.max(1)) {
            framer.buffer().extend_from_slice(piece);
            frames.extend(std::iter::from_fn(|| framer.next()));
        }
        frames.extend(framer.finish(end));
        assert_eq!(framer.finish(end), None);
        frames
    }

    /// Whatever the pieces, the messages are these; what is not whole ends in `!`.
    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        for piece in [1, 2, 3, 7, 1000] {
            let got: Vec<String> = frames(stream.as_bytes(), piece, End::Closed)
                .iter()
                .map(|frame| {
                    let mark = if frame.problem.is_some() { "!" } else { "" };
                    String::from_utf8_lossy(&frame.bytes).into_owned() + mark
                })
                .collect();
            assert_eq!(got, expected, "{stream:?} in pieces of {piece}");
        }
    }

    #[test]
    fn lines_and_counts_in_one_stream() {
        check("<1>a\n<2>b\r\n<3>c", &["<1>a", "<2>b", "<3>c"]);
        check("4 <1>a4 <2>b", &["<1>a", "<2>b"]);
        check("4 <1>a\n4 <2>b\n", &["<1>a", "<2>b"]);
        check("<1>a\n4 <2>b<3>c\n4 <4>d", &["<1>a", "<2>b", "<3>c", "<4>d"]);
        check("8 <1>a\nb\n\n<2>c\n", &["<1>a\nb\n\n", "<2>c"]);
        check("<1>a\0<2>b\0\n\n", &["<1>a", "<2>b"]);
        check("\n\r\n \n\t\n", &[]);
        check("", &[]);
    }

    #[test]
    fn numbers_that_are_no_lengths() {
        check("12 monkeys\n2026-11-25 x\n7\n", &["12 monkeys", "2026-11-25 x", "7"]);
        check("0 <1>a\n1234567890 <1>b\n99999999 <1>c\n", &["0 <1>a", "1234567890 <1>b", "99999999 <1>c"]);
        check("12", &["12"]);
        check("12 ", &["12 "]);
    }

    #[test]
    fn what_is_too_long_or_cut_is_told_and_the_next_goes_through() {
        let long = "x".repeat(LIMIT + 5);
        let kept = format!("{}!", "x".repeat(LIMIT));
        check(&format!("{long}\n<1>a\n"), &[&kept, "<1>a"]);
        check(&format!("{}\n<1>a\n", "x".repeat(LIMIT)), &[&"x".repeat(LIMIT), "<1>a"]);
        let counted = format!("<9>{}", "y".repeat(LIMIT + 100));
        let kept = format!("<9>{}!", "y".repeat(LIMIT - 3));
        check(&format!("{} {counted}<1>a\n", counted.len()), &[&kept, "<1>a"]);
        check("100 <1>abc", &["<1>abc!"]);

        let got = frames(&[long.as_bytes(), b"\n"].concat(), 9, End::Closed);
        assert_eq!(got[0].problem, Some(Problem::TooLong { bytes: LIMIT + 5, limit: LIMIT }));
        let got = frames(long.as_bytes(), 9, End::Closed);
        assert_eq!(got[0].problem, Some(Problem::TooLong { bytes: LIMIT + 5, limit: LIMIT }));
        let got = frames(b"30 <1>abc", 9, End::Closed);
        assert_eq!(got[0].problem, Some(Problem::BrokenOff { expected: Some(30) }));
        let got = frames(b"<1>ab", 9, End::Broken);
        assert_eq!(got[0].problem, Some(Problem::BrokenOff { expected: None }));
    }

    /// Runs as many as `MOZDEF_FUZZ_CASES` says.
    fn cases() -> ProptestConfig {
        let cases = std::env::var("MOZDEF_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
        ProptestConfig::with_cases(cases.unwrap_or(100_000))
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn messages_do_not_depend_on_how_they_arrive(stream in "([0-9]{0,3} ?<[0-9]{1,3}>[a-z\\n\\x00\\r ]{0,50}|[0-9]{1,10}| |\\n){0,8}", piece in 1_usize..30) {
            let whole = frames(stream.as_bytes(), usize::MAX, End::Broken);
            prop_assert_eq!(&frames(stream.as_bytes(), piece, End::Broken), &whole);
            prop_assert!(whole.iter().all(|frame| frame.bytes.len() <= LIMIT));
        }

        #[test]
        fn messages_that_were_framed_come_back(texts in proptest::collection::vec("<[0-9]{1,3}>[a-zA-Z0-9 ]{0,30}[a-z]", 0..10), counted in any::<u16>(), piece in 1_usize..50) {
            let stream: String = texts.iter().enumerate().map(|(at, text)| {
                if counted >> (at % 16) & 1 == 1 { format!("{} {text}", text.len()) } else { format!("{text}\n") }
            }).collect();
            let got: Vec<String> = frames(stream.as_bytes(), piece, End::Closed).iter().map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned()).collect();
            prop_assert_eq!(got, texts);
        }
    }
}
