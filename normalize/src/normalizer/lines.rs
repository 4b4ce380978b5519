//! Syslog messages, with JSON in the place of text mapped as an event of its own.
//!
//! In: the bytes of one message, what its listener knows of the sender. Out: its event in normal form, before the
//! plugins. Never: an error but for size and emptiness: what cannot be read stays text, with a remark.

use model::event::ParseError;

use super::{End, Normalizer, Raw};
use crate::dates::{self, Reference};
use crate::key_mapping::{self, Mapping, write_time};
use crate::marks::Kind;
use crate::syslog::{self, Filling, Payload};

impl Normalizer {
    /// One message, and what its listener knows of the sender.
    pub(super) fn read_message(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        self.read_syslog(raw.value, reference)?;
        let Some(peer) = raw.sender.peer else { return Ok(()) };
        self.event.set_in("details", "eventsourceipaddress", peer)?;
        if self.event.member("hostname").is_none() {
            self.event.set_member("hostname", peer)?;
        }
        Ok(())
    }

    /// One message alone.
    pub(super) fn read_syslog(&mut self, value: &[u8], reference: Reference) -> Result<(), End> {
        if value.trim_ascii().is_empty() {
            return Err(ParseError::Empty.into());
        }
        if value.len() > self.limits.bytes_max {
            return Err(ParseError::TooLarge { bytes: value.len(), limit: self.limits.bytes_max }.into());
        }
        let (line, all_utf8) = syslog::read_text(value);
        if !all_utf8 {
            let text = "syslog: bytes that are not UTF-8 were read as Latin-1";
            self.marks.add(Kind::Encoding, text.to_owned());
        }
        let message = syslog::parse(&line, reference);
        if let Some(digits) = message.odd_priority {
            self.marks.add(Kind::Syslog, format!("syslog: {digits} is no priority, which is 0 to 191"));
        }
        let mapped = match &message.payload {
            Some(Payload::Json { text, announced }) => self.map_payload(text, *announced, reference)?,
            Some(Payload::Broken(family)) => {
                let text = format!("syslog: the header of {} breaks off, kept as text", family.name());
                self.marks.add(Kind::Syslog, text);
                false
            }
            Some(Payload::Report(_)) | None => false,
        };
        let filling = if mapped { Filling::Payload } else { Filling::Empty };
        let context = key_mapping::Context {
            reference,
            received: &self.received,
            hostname: &self.hostname,
            queue: None,
        };
        syslog::write(&message, filling, context, &mut self.event)?;
        Ok(())
    }

    /// JSON in the place of text is mapped as an event of its own. False where it is none, and stays text.
    fn map_payload(&mut self, text: &str, announced: bool, reference: Reference) -> Result<bool, End> {
        match self.input.parse(text.as_bytes(), &self.limits) {
            Ok(flags) => self.settle(flags),
            Err(error) => {
                if announced {
                    let text = format!("syslog: the JSON after @cee: cannot be read, kept as text: {error}");
                    self.marks.add(Kind::Syslog, text);
                }
                return Ok(false);
            }
        }
        let context = key_mapping::Context {
            reference,
            received: &self.received,
            hostname: &self.hostname,
            queue: None,
        };
        self.mapper.map(Mapping::EventTask, &self.input, &mut self.event, context, &mut self.marks)?;
        if self.event.member("summary").is_none() {
            // What others call it; never one of the names that the mapping knows.
            let message = ["msg", "MSG", "log"].into_iter().find_map(|key| self.input.member_str(key));
            if let Some(message) = message {
                self.event.set_member("summary", message)?;
            }
        }
        if self.event.member("timestamp").is_none() {
            // The name that CEE has for it.
            let time = self.input.member("time").and_then(|value| dates::to_utc(value, reference));
            if let Some(time) = time {
                let mut text = String::with_capacity(32);
                write_time(time, &mut text);
                self.event.set_member("utctimestamp", &text)?;
                self.event.set_member("timestamp", &text)?;
            }
        }
        Ok(true)
    }
}
