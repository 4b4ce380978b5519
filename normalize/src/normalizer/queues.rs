//! Bodies of queues' messages: kombu's text in text, base64 of SQS, SNS's envelope, findings of GuardDuty.
//!
//! In: a message's body as it came. Out: its event in normal form, before the plugins. Never: I/O.

use model::aws::{Finding, document_of_body, sns_message};
use model::error::Reason;
use model::event::ParseError;

use super::{End, Normalizer, Raw};
use crate::dates::Reference;
use crate::key_mapping::{Mapping, queue};

impl Normalizer {
    /// A JSON object, or a JSON string that holds one.
    pub(super) fn read_json_text(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        if raw.value.trim_ascii_start().starts_with(b"\"")
            && let Ok(text) = serde_json::from_slice::<String>(raw.value)
        {
            return self.read_json(Raw { value: text.as_bytes(), ..raw }, reference);
        }
        self.read_json(raw, reference)
    }

    /// A JSON object through the mapping of its input.
    pub(super) fn read_mapped(
        &mut self,
        raw: Raw<'_>,
        mapping: Mapping,
        reference: Reference,
    ) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        self.map_input(raw, mapping, reference)
    }

    /// A JSON object or base64 of it; its queue comes after the tags that it has.
    pub(super) fn read_sqs(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let value = document_of_body(raw.value);
        self.read_mapped(Raw { value: &value, ..raw }, Mapping::Sqs, reference)?;
        queue::tag(&mut self.event, raw.queue)?;
        Ok(())
    }

    /// What SNS carries: a JSON object, or text, which is the summary then. Without an envelope the body is the message.
    pub(super) fn read_sns(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        let Some(text) = sns_message(&self.input).map(str::to_owned) else {
            self.settle(flags);
            return self.map_input(raw, Mapping::Sns, reference);
        };
        match self.input.parse(text.as_bytes(), &self.limits) {
            Ok(flags) => {
                self.settle(flags);
                self.map_input(raw, Mapping::Sns, reference)
            }
            Err(ParseError::Syntax { .. } | ParseError::NotAnObject | ParseError::Empty) => {
                self.input.parse(b"{}", &self.limits)?;
                self.map_input(raw, Mapping::Sns, reference)?;
                self.event.set_member("summary", text.as_str())?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One of the events of a finding.
    pub(super) fn read_finding(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let mut flags = self.input.parse(raw.value, &self.limits)?;
        if let Some(text) = sns_message(&self.input).map(str::to_owned) {
            flags = self.input.parse(text.as_bytes(), &self.limits)?;
        }
        self.settle(flags);
        match Finding::of(self.input.root()) {
            Some(Finding::Details(_)) => {}
            Some(Finding::Native(finding)) => {
                self.inner.clear();
                self.inner.set_limits(&self.limits.for_normal_form());
                queue::native_finding(self.input.root(), finding, &mut self.inner)?;
                std::mem::swap(&mut self.input, &mut self.inner);
            }
            None => {
                return Err(End::Dead(Reason::UnexpectedMessage, "it is no finding of GuardDuty".to_owned()));
            }
        }
        self.map_input(raw, Mapping::GuardDuty, reference)?;
        queue::part_of_finding(self.input.root(), raw.item, &mut self.event)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::super::{Format, Normalized, Normalizer, Raw};
    use crate::chain::tally::Tally;
    use crate::start::Settings;

    /// As the plugins get it: none run.
    fn mapped(value: &[u8], format: Format, item: usize) -> String {
        let mut settings = Settings::from_config(&Default::default()).unwrap();
        settings.plugins.clear();
        let raw = Raw {
            value,
            format,
            received: Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap(),
            endpoint: None,
            custom_endpoint: false,
            queue: Some("q"),
            item,
            headers: None,
            sender: Default::default(),
            digest: None,
        };
        match Normalizer::new(settings).normalize(raw, &mut Tally::default()) {
            Normalized::Event { json, .. } => String::from_utf8(json.to_vec()).unwrap(),
            Normalized::Dropped { plugin } => format!("dropped by {plugin}"),
            Normalized::Dead { reason, detail } => format!("{reason}: {detail}"),
        }
    }

    #[track_caller]
    fn check(value: &[u8], format: Format, item: usize, parts: &[&str]) {
        let json = mapped(value, format, item);
        for part in parts {
            assert!(json.contains(part), "{part} in {json}");
        }
    }

    #[test]
    fn text_in_text_is_read_as_kombu_sends_it() {
        check(
            br#""{\"summary\":\"s\",\"pid\":1}""#,
            Format::JsonText,
            0,
            &[r#""summary":"s""#, r#""processid":"1""#],
        );
        check(br#"{"summary":"s"}"#, Format::JsonText, 0, &[r#""summary":"s""#]);
        check(br#""no object""#, Format::JsonText, 0, &["malformed_json"]);
        check(b"\"\xff\"", Format::JsonText, 0, &["invalid_utf8"]);
    }

    #[test]
    fn a_queue_of_sqs_comes_after_the_tags_that_an_event_has() {
        check(br#"{"tags":["a"]}"#, Format::Sqs, 0, &[r#""tags":["a","q"]"#]);
        check(br#"{"tags":"a"}"#, Format::Sqs, 0, &[r#""tags":["a","q"]"#]);
        check(b"eyJzdW1tYXJ5IjoicyJ9", Format::Sqs, 0, &[r#""summary":"s""#, r#""tags":["q"]"#]);
        check(b"bm90IGpzb24=", Format::Sqs, 0, &["malformed_json"]);
    }

    #[test]
    fn what_sns_carries_is_an_event_or_its_summary() {
        let details = &[r#""details":{"Foo":1}"#, r#""severity":"INFO""#, r#""tags":["q"]"#];
        check(br#"{"Type":"Notification","Message":"{\"Foo\":1}"}"#, Format::Sns, 0, details);
        check(br#"{"Message":"disk full"}"#, Format::Sns, 0, &[r#""summary":"disk full""#]);
        check(br#"{"Message":"[1]"}"#, Format::Sns, 0, &[r#""summary":"[1]""#]);
        // Raw delivery: no envelope.
        let raw = &[r#""summary":"s""#, r#""processid":"7""#, r#""category":"x""#, r#""hostname":"h""#];
        check(br#"{"payload":"  s","pid":"[7]","type":"x","host":"h"}"#, Format::Sns, 0, raw);
        check(b"no json", Format::Sns, 0, &["malformed_json"]);
        let deep = format!("{{\"Message\":\"{}\"}}", "[".repeat(200));
        check(deep.as_bytes(), Format::Sns, 0, &["too_deep"]);
    }

    #[test]
    fn a_finding_has_an_event_for_each_probe() {
        let message = br#"{"Message":"{\"category\":\"Recon\",\"tags\":[\"t\"],\"timestamp\":\"2020-01-02T03:04:05Z\",\"details\":{\"finding\":{\"action\":{\"actionType\":\"PORT_PROBE\",\"portProbeAction\":{\"portProbeDetails\":[{\"n\":1},{\"n\":2}]}}}}}"}"#;
        let common =
            [r#""source":"guardduty""#, r#""category":"Recon""#, r#""tags":["q"]"#, "2020-01-02T03:04:05"];
        check(message, Format::GuardDuty, 0, &[&common[..], &[r#""probeevent":{"n":1}"#]].concat());
        check(message, Format::GuardDuty, 1, &[&common[..], &[r#""probeevent":{"n":2}"#]].concat());
        let native = br#"{"detail-type":"GuardDuty Finding","time":"2020-01-02T03:04:05Z","detail":{"type":"Recon","title":"T","service":{"action":{"actionType":"DNS_REQUEST"}}}}"#;
        check(
            native,
            Format::GuardDuty,
            0,
            &[r#""summary":"T""#, r#""category":"Recon""#, r#""finding":{"action""#],
        );
        check(br#"{"a":1}"#, Format::GuardDuty, 0, &["unexpected_message"]);
    }
}
