//! Events of Splunk's collector: what the envelope says stands where the event itself says nothing.
//!
//! In: an envelope, or a raw line with its headers. Out: the event in normal form, before the plugins. Never: I/O.
//!
//! `host`, `source` and `time` are the event's host name, source and time; `sourcetype`, `index` and the members of
//! `fields` go into `details`. An event that is an object is mapped as one posted to `/events`; text is a JSON object, a
//! line of syslog, or the summary.

use model::event::{EditError, Event, New, Object, Value};
use model::headers;

use super::{End, Normalizer, Raw};
use crate::dates::Reference;
use crate::key_mapping::Mapping;
use crate::marks::Kind;

/// What stands beside the event: key of the event that it is like, or of `details`.
#[derive(Clone, Copy, Default)]
struct About<'a> {
    time: Option<New<'a>>,
    host: Option<New<'a>>,
    source: Option<New<'a>>,
    source_type: Option<New<'a>>,
    index: Option<New<'a>>,
}

impl<'a> About<'a> {
    fn of_envelope(envelope: Object<'a>) -> About<'a> {
        let member = |key: &str| match envelope.get(key)? {
            Value::Null => None,
            Value::String("") => None,
            // Splunk's own shippers write the time as text, too.
            Value::String(text) if key == "time" => text.parse().ok().map(New::F64),
            value => Some(New::Value(value)),
        };
        About {
            time: member("time"),
            host: member("host"),
            source: member("source"),
            source_type: member("sourcetype"),
            index: member("index"),
        }
    }

    fn of_headers(raw: Raw<'a>) -> About<'a> {
        let header = |name| raw.headers.and_then(|headers| headers.get_str(name));
        About {
            time: header(headers::HEC_TIME).and_then(|text| text.parse().ok()).map(New::F64),
            host: header(headers::HEC_HOST).map(New::Str),
            source: header(headers::HEC_SOURCE).map(New::Str),
            source_type: header(headers::HEC_SOURCE_TYPE).map(New::Str),
            index: header(headers::HEC_INDEX).map(New::Str),
        }
    }

    /// As members of an event whose own come after them, and go before them by that.
    fn write(&self, event: &mut Event) -> Result<(), EditError> {
        let members =
            [("timestamp", self.time), ("hostname", self.host), ("source", self.source)].into_iter();
        let details = [("sourcetype", self.source_type), ("index", self.index)];
        for (key, value) in members.chain(details) {
            if let Some(value) = value {
                event.set_member(key, value)?;
            }
        }
        Ok(())
    }
}

/// What an event is.
enum Content<'a> {
    Document(Object<'a>),
    Value(Value<'a>),
    Text(&'a str),
}

impl Normalizer {
    /// An event in its envelope.
    pub(super) fn read_collector(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        let envelope = std::mem::take(&mut self.input);
        let about = About::of_envelope(envelope.root());
        let content = match envelope.member("event").unwrap_or(Value::Null) {
            Value::Object(document) => Content::Document(document),
            Value::String(text) => Content::Text(text),
            value => Content::Value(value),
        };
        self.read_content(content, about, raw, reference)?;
        for (key, value) in
            envelope.member("fields").and_then(Value::as_object).into_iter().flat_map(Object::iter)
        {
            let there =
                self.event.member("details").and_then(Value::as_object).and_then(|d| d.get(key)).is_some();
            if !there {
                self.event.set_in("details", key, value)?;
            }
        }
        Ok(())
    }

    /// A line without an envelope.
    pub(super) fn read_collector_line(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let line = String::from_utf8_lossy(raw.value);
        if matches!(line, std::borrow::Cow::Owned(_)) {
            self.marks.add(Kind::Encoding, "line: bytes that are not UTF-8 became U+FFFD".to_owned());
        }
        self.read_content(Content::Text(line.trim_end()), About::of_headers(raw), raw, reference)
    }

    fn read_content(
        &mut self,
        content: Content<'_>,
        about: About<'_>,
        raw: Raw<'_>,
        reference: Reference,
    ) -> Result<(), End> {
        let text = match content {
            Content::Document(document) => return self.map_with(about, Some(document), None, raw, reference),
            Content::Value(value) => {
                return self.map_with(about, None, Some(New::Value(value)), raw, reference);
            }
            Content::Text(text) => text,
        };
        if text.trim_start().starts_with('{') {
            let mut inner = Event::new();
            if let Ok(flags) = inner.parse(text.as_bytes(), &self.limits) {
                if flags.duplicate_keys > 0 {
                    inner.drop_duplicates();
                }
                return self.map_with(about, Some(inner.root()), None, raw, reference);
            }
        }
        let mut start = text.bytes();
        if start.next() == Some(b'<') && start.next().is_some_and(|digit| digit.is_ascii_digit()) {
            return self.map_syslog(about, text, reference);
        }
        self.map_with(about, None, Some(New::Str(text)), raw, reference)
    }

    fn map_with(
        &mut self,
        about: About<'_>,
        document: Option<Object<'_>>,
        summary: Option<New<'_>>,
        raw: Raw<'_>,
        reference: Reference,
    ) -> Result<(), End> {
        self.input.clear();
        self.input.set_limits(&self.limits.for_normal_form());
        about.write(&mut self.input)?;
        for (key, value) in document.into_iter().flat_map(Object::iter) {
            self.input.set_member(key, value)?;
        }
        if let Some(summary) = summary {
            self.input.set_member("summary", summary)?;
        }
        self.map_input(raw, Mapping::EventTask, reference)
    }

    fn map_syslog(&mut self, about: About<'_>, line: &str, reference: Reference) -> Result<(), End> {
        self.read_syslog(line.as_bytes(), reference)?;
        if let Some(host) = about.host.filter(|_| self.event.member("hostname").is_none()) {
            self.event.set_member("hostname", host)?;
        }
        for (key, value) in [("sourcetype", about.source_type), ("index", about.index)] {
            if let Some(value) = value {
                self.event.set_in("details", key, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::headers;
    use stream::record::Headers;

    use super::super::Format;
    use super::super::tests::mapped;

    #[track_caller]
    fn check(envelope: &str, parts: &[&str]) {
        let got = mapped(envelope.as_bytes(), Format::Collector, &Headers::new());
        for part in parts {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }

    #[test]
    fn the_envelope_speaks_where_the_event_is_silent() {
        check(
            r#"{"time":1426279439.25,"host":"web","source":"app","sourcetype":"st","index":"main","event":"text","fields":{"a":"b"}}"#,
            &[
                r#""utctimestamp":"2015-03-13T20:43:59.250000+00:00""#,
                r#""hostname":"web""#,
                r#""source":"app""#,
                r#""summary":"text""#,
                r#""sourcetype":"st""#,
                r#""index":"main""#,
                r#""a":"b""#,
            ],
        );
        check(
            r#"{"time":"1426279439","host":"web","event":{"hostname":"db","message":"m","user":"u"}}"#,
            &[
                r#""utctimestamp":"2015-03-13T20:43:59+00:00""#,
                r#""hostname":"db""#,
                r#""summary":"m""#,
                r#""details":{"user":"u"}"#,
            ],
        );
    }

    #[test]
    fn text_is_json_or_syslog_or_a_summary() {
        check(r#"{"event":"{\"message\":\"m\",\"pid\":7}"}"#, &[r#""summary":"m""#, r#""processid":"7""#]);
        check(
            r#"{"host":"relay","event":"<38>Oct 27 14:01:12 web sshd[7]: hello"}"#,
            &[r#""hostname":"web""#, r#""processname":"sshd""#, r#""summary":"hello""#],
        );
        check(r#"{"event":"{broken"}"#, &[r#""summary":"{broken""#]);
        check(r#"{"event":7.5}"#, &[r#""summary":"7.5""#]);
    }

    #[test]
    fn lines_have_their_envelope_in_the_headers() {
        let about = Headers::new()
            .with(headers::HEC_HOST, "web")
            .with(headers::HEC_SOURCE_TYPE, "access")
            .with(headers::HEC_TIME, "1426279439");
        let got = mapped(b"GET / 200\xff", Format::CollectorLine, &about);
        for part in
            [r#""hostname":"web""#, r#""sourcetype":"access""#, "2015-03-13T20:43:59", "GET / 200\u{fffd}"]
        {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }
}
