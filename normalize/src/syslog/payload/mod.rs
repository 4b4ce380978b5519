//! What a syslog message carries in the place of text: CEF, LEEF, or JSON.
//!
//! In: the text after the header. Out: the payload, and what stood before it.
//! Never: an error; what only resembles a payload stays text.

mod cef;
mod java_dates;
mod leef;
mod report;

use super::Message;

pub(super) use self::report::write;
pub use self::report::{Family, Report};

/// How far into the text CEF and LEEF may begin, in bytes: after words of a relay.
const BEGIN_BYTES_MAX: usize = 256;

/// A payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'l> {
    /// CEF or LEEF.
    Report(Report<'l>),
    /// What should be a JSON object; it is not read yet.
    Json {
        /// The object's text.
        text: &'l str,
        /// `@cee:` stood in front: somebody meant it.
        announced: bool,
    },
    /// CEF or LEEF whose header breaks off.
    Broken(Family),
}

/// Looks for a payload in the message's text, and puts right what the reader of headers took for a program.
pub(super) fn attach(message: &mut Message<'_>) {
    if message.program == Some("@cee") && message.process_id.is_none() {
        message.program = None;
        message.payload = json(message.text, true);
        return;
    }
    let text = message.text.trim_start_matches(' ');
    if let Some(rest) = text.strip_prefix("@cee:") {
        message.payload = json(rest, true);
        return;
    }
    if text.starts_with('{') {
        message.payload = json(text, false);
        return;
    }
    let Some((family, before, body)) = report(text) else { return };
    message.payload = Some(match family {
        Family::Cef => cef::parse(body),
        Family::Leef => leef::parse(body),
    });
    message.before_payload = before.trim_end_matches([' ', ':', '-']);
    if message.hostname.is_none() && message.process_id.is_none() && message.time.is_some() {
        // `stamp host: CEF:0|…`: after a stamp comes a host.
        message.hostname = message.program.take();
    }
    if message.program.is_none() && is_word(message.before_payload) {
        message.program = Some(std::mem::take(&mut message.before_payload));
    }
}

fn json(text: &str, announced: bool) -> Option<Payload<'_>> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    (announced || text.ends_with('}')).then_some(Payload::Json { text, announced })
}

/// `CEF:0|…` or `LEEF:1.0|…` near the front: which, what stands before it, and the rest after its colon.
fn report(text: &str) -> Option<(Family, &str, &str)> {
    let start = text.char_indices().nth(BEGIN_BYTES_MAX).map_or(text.len(), |(at, _)| at);
    let front = text.get(..start)?;
    [("CEF:", Family::Cef), ("LEEF:", Family::Leef)].into_iter().find_map(|(word, family)| {
        let at = front.find(word)?;
        let (before, rest) = text.split_at_checked(at)?;
        let body = rest.get(word.len()..)?.trim_start_matches(' ');
        let version = body.split('|').next().filter(|version| version.len() < body.len())?;
        let is_version = !version.is_empty()
            && version.len() <= 8
            && version.bytes().all(|c| c.is_ascii_digit() || c == b'.');
        let apart = before.is_empty() || before.ends_with([' ', ':', '\t']);
        (apart && is_version).then_some((family, before, body))
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Splits off the next field of a header: up to a bar that is not escaped. `\|` and `\\` are escapes.
fn header_field(text: &str) -> (std::borrow::Cow<'_, str>, Option<&str>) {
    let mut escaped = false;
    let mut plain = true;
    for (at, c) in text.bytes().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' => (escaped, plain) = (true, false),
            b'|' => return (unescape(text.get(..at).unwrap_or_default(), plain), text.get(at + 1..)),
            _ => {}
        }
    }
    (unescape(text, plain), None)
}

fn unescape(field: &str, plain: bool) -> std::borrow::Cow<'_, str> {
    let field = field.trim();
    if plain {
        return field.into();
    }
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next_if(|next| matches!(next, '|' | '\\' | '=')).unwrap_or('\\')),
            _ => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
