//! RFC 3164 and log files: `stamp host tag[pid]: text`, any of it missing.
//!
//! In: the line after its priority. Out: a message; what is not recognised
//! stays in its text. Never: a program guessed from words without a `:` or a
//! process id after them.

use super::{Message, Shape, severity, stamp};
use crate::dates::Reference;

/// Longest host or tag, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Reads what is there.
pub(super) fn parse<'l>(line: &'l str, priority: Option<u8>, reference: Reference) -> Message<'l> {
    let mut message = Message { priority, text: line, ..Message::default() };
    let start = line.trim_start_matches(' ');
    let stamped = if priority.is_some() { find_stamp(start, reference) } else { at_front(start, reference) };
    if let Some(found) = stamped {
        message.shape = Shape::Rfc3164;
        message.time = Some(found.time);
        message.hostname = found.hostname;
        after_stamp(found.rest, &mut message);
    } else if priority.is_some() {
        message.shape = Shape::Rfc3164;
        message.text = start;
        // Without a stamp only a tag right after the priority can be told from text.
        let tag = start.strip_prefix(':').unwrap_or(start);
        if !take_cisco(start, &mut message) {
            take_tag(tag.trim_start_matches(' '), &mut message);
        }
    } else if !take_audit(start, reference, &mut message) {
        take_cisco_of_file(start, reference, &mut message);
    }
    message
}

/// `type=EXECVE msg=audit(1364481363.243:24287): …`, as the Linux audit daemon writes its file. True where the line is one.
fn take_audit<'l>(start: &'l str, reference: Reference, message: &mut Message<'l>) -> bool {
    const MARK: &str = " msg=audit(";
    if !start.starts_with("type=") && !start.starts_with("node=") {
        return false;
    }
    let Some((_, rest)) = start.split_once(MARK) else { return false };
    let Some((stamp, _)) = rest.split_once("):") else { return false };
    let seconds = stamp.split_once(':').map_or(stamp, |(seconds, _)| seconds);
    let Some(time) = crate::dates::from_text(seconds, reference) else { return false };
    message.shape = Shape::Rfc3164;
    message.time = Some(time);
    message.program = start.find(MARK).and_then(|at| start.get(at..)?.get(5..10));
    message.hostname =
        start.strip_prefix("node=").and_then(|rest| rest.split(' ').next()).filter(|host| is_host(host));
    true
}

/// `192.0.2.1 42: Feb 17 13:40:03.673: %SYS-5-CONFIG_I: text`, as a collector of Cisco's messages writes its file.
fn take_cisco_of_file<'l>(start: &'l str, reference: Reference, message: &mut Message<'l>) {
    if !take_cisco(start, message) {
        return;
    }
    let front = start.split_once('%').map_or("", |(front, _)| front);
    let stamped = front.split(": ").find_map(|word| at_front(word, reference));
    if let Some(found) = stamped {
        message.shape = Shape::Rfc3164;
        message.time = Some(found.time);
    }
    let sender =
        front.split_once(' ').map(|(word, _)| word).filter(|word| is_host(word) && word.contains('.'));
    message.hostname = message.hostname.or(sender);
}

/// `42: host: 1d02h: %SYS-5-CONFIG_I: text`: a device without a clock counts its messages or its time up. True where the
/// line is such a one.
fn take_cisco<'l>(start: &'l str, message: &mut Message<'l>) -> bool {
    const FRONT_BYTES_MAX: usize = 128;
    let Some(at) = start.find('%').filter(|at| *at <= FRONT_BYTES_MAX) else { return false };
    let (Some(front), Some(rest)) = (start.get(..at), start.get(at..)) else { return false };
    let Some((tag, text)) = rest.split_once(':') else { return false };
    let mut parts = tag.trim_start_matches('%').split('-').rev();
    let is_name = |part: Option<&str>| {
        part.is_some_and(|part| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
        })
    };
    let mnemonic = is_name(parts.next());
    let level = parts.next().is_some_and(|part| part.len() == 1 && part.bytes().all(|c| c.is_ascii_digit()));
    if !mnemonic || !level || !is_name(parts.next()) || !(front.is_empty() || front.ends_with(": ")) {
        return false;
    }
    let words = front.split(": ").map(|word| word.trim_matches([' ', ':', '*', '.']));
    message.hostname =
        words.filter(|word| is_host(word) && word.contains(char::is_alphabetic)).find(|word| {
            // `1d02h` and `2w3d` are times.
            !word.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'd' | b'h' | b'w' | b'y'))
        });
    message.program = Some(tag);
    message.text = text.strip_prefix(' ').unwrap_or(text);
    true
}

struct Stamped<'l> {
    time: model::time::Timestamp,
    hostname: Option<&'l str>,
    rest: &'l str,
}

fn at_front<'l>(line: &'l str, reference: Reference) -> Option<Stamped<'l>> {
    stamp::take(line, reference).map(|(time, rest)| Stamped { time, hostname: None, rest })
}

/// A stamp at the front, or after what Cisco puts there: `42: host: `, `host: *`, `:`; or after a version.
fn find_stamp<'l>(line: &'l str, reference: Reference) -> Option<Stamped<'l>> {
    let mut rest = line;
    let mut hostname = None;
    for _ in 0..4 {
        if let Some(found) = at_front(rest, reference) {
            return Some(Stamped { hostname, ..found });
        }
        if let Some((time, rest)) = stamp::take_epoch(rest) {
            return Some(Stamped { time, hostname, rest });
        }
        let end = rest.find([' ', ':']).filter(|end| *end <= NAME_BYTES_MAX)?;
        let (word, after) = rest.split_at_checked(end)?;
        let number = word.bytes().all(|c| c.is_ascii_digit());
        match after.strip_prefix(':') {
            Some(after) => {
                hostname = hostname.or_else(|| (!number && is_host(word)).then_some(word));
                rest = after.trim_start_matches(' ');
            }
            None if number && word.len() <= 3 => rest = after.trim_start_matches(' '),
            None => return None,
        }
    }
    None
}

/// Host, tag and text.
fn after_stamp<'l>(rest: &'l str, message: &mut Message<'l>) {
    if let Some(after_colon) = rest.strip_prefix(':') {
        // `stamp: %ASA-6-302015: …`: no host comes.
        let text = after_colon.trim_start_matches(' ');
        message.text = text;
        take_tag(text, message);
        return;
    }
    let text = rest.trim_start_matches([' ', '\t']);
    message.text = text;
    if take_tag(text, message) || message.hostname.is_some() {
        return;
    }
    let Some((word, after)) = text.split_once(' ') else {
        return;
    };
    let after = after.trim_start_matches(' ');
    if let Some(name) = severity::of_word(word).filter(|_| message.priority.is_none()) {
        message.severity_word = Some(name);
        message.text = after;
        take_tag(after, message);
        return;
    }
    let host = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    if !is_host(host) {
        return;
    }
    message.hostname = Some(host);
    // `host : %FTD-6-430003: …`, as Cisco's newer firewalls write it.
    let after = after.strip_prefix(": ").unwrap_or(after);
    message.text = after;
    if !take_tag(after, message) {
        take_level_and_tag(after, message);
    }
}

/// `notice tmsh[16322]: …` or `<auth.info> sshd[1]: …`: a level between host and tag.
fn take_level_and_tag<'l>(text: &'l str, message: &mut Message<'l>) {
    let Some((word, after)) = text.split_once(' ') else { return };
    let bare = word.trim_matches(['<', '>']);
    let level = bare.rsplit('.').next().unwrap_or(bare);
    let Some(name) = severity::of_word(level) else { return };
    if take_tag(after.trim_start_matches(' '), message) && message.priority.is_none() {
        message.severity_word = Some(name);
    }
}

/// A tag at the front: `sshd[123]: `, `sudo: `, `[289]: `. True when there was one; the text is then what follows.
fn take_tag<'l>(text: &'l str, message: &mut Message<'l>) -> bool {
    let end = text.find(|c: char| c == '[' || c == ':' || !is_tag(c)).unwrap_or(text.len());
    let Some((name, after)) = text.split_at_checked(end) else { return false };
    if name.len() > NAME_BYTES_MAX || (name.is_empty() && !after.starts_with('[')) {
        return false;
    }
    let (process_id, after) = match take_process_id(after) {
        Some((id, rest)) => (Some(id), rest),
        None => (None, after),
    };
    let (level, after) = take_level(after);
    let rest = match after.strip_prefix(':') {
        Some(rest) if name.is_empty() && process_id.is_none() => {
            message.text = rest;
            return false;
        }
        Some(rest) => rest,
        // `launchd[1] (com.apple.x): …` and `cron[17] text`: the id alone makes it a tag.
        None if process_id.is_some() && !name.is_empty() && after.starts_with(' ') => after,
        None => return false,
    };
    if !fits(name, rest, process_id.is_some()) {
        return false;
    }
    message.severity_word = message.severity_word.or(level);
    if let Some(word) = severity::of_word(name).filter(|_| message.priority.is_none() && process_id.is_none())
    {
        message.severity_word = Some(word);
    } else {
        message.program = Some(name).filter(|name| !name.is_empty());
        message.process_id = process_id.filter(|id| !id.is_empty());
    }
    message.text = rest.strip_prefix(' ').unwrap_or(rest);
    true
}

/// CEF and LEEF begin as a tag does, `host:port` and `a::b` hold colons, and a clock is no tag.
fn fits(name: &str, rest: &str, has_id: bool) -> bool {
    let payload = !has_id && (name.eq_ignore_ascii_case("CEF") || name.eq_ignore_ascii_case("LEEF"));
    let glued = !has_id && !rest.is_empty() && !rest.starts_with([' ', '\t']);
    let number = name.bytes().all(|c| c.is_ascii_digit()) && !name.is_empty();
    !payload && !number && (!glued || severity::of_word(name).is_some())
}

fn is_tag(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '_' | '.' | '/' | '%' | '@' | '#' | '-' | '+' | '~' | '(' | ')' | '$' | '&' | '\\')
}

/// `[123]`, whatever stands inside, up to 64 bytes without spaces.
fn take_process_id(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(|c: char| c == ']' || c == '[' || c.is_whitespace()).filter(|end| *end <= 64)?;
    let (id, rest) = inside.split_at_checked(end)?;
    Some((id, rest.strip_prefix(']')?))
}

/// ` <Info>` before the colon, as macOS writes it.
fn take_level(text: &str) -> (Option<&'static str>, &str) {
    let taken = text.strip_prefix(" <").and_then(|inside| inside.split_once('>'));
    match taken.and_then(|(word, rest)| severity::of_word(word).map(|name| (name, rest))) {
        Some((name, rest)) => (Some(name), rest),
        None => (None, text),
    }
}

/// A name or an address: no brackets, quotes or signs that only text has.
fn is_host(word: &str) -> bool {
    let sign = |c: char| {
        !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '@' | ',' | '%' | '#' | '+'))
    };
    !word.is_empty()
        && word.len() <= NAME_BYTES_MAX
        && !word.contains(sign)
        && word.contains(|c: char| c.is_alphanumeric())
}
