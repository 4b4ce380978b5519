//! What messages of AWS are wrapped in, as far as the bridge that takes them and the normaliser that reads them must
//! agree.
//!
//! In: a parsed message. Out: what lies in it. Never: a copy of it.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::event::{Event, Object, Path, Value};

/// The document in a message of SQS: its body, or what that is base64 of, as some clients send it.
pub fn document_of_body(body: &[u8]) -> Cow<'_, [u8]> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
    if body.trim_ascii_start().first().is_none_or(|first| !first.is_ascii_alphanumeric()) {
        return Cow::Borrowed(body);
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = ENGINE.decode(text).ok().filter(|bytes| bytes.trim_ascii_start().starts_with(b"{"));
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// Text that SNS carries in an envelope, where the document is one.
pub fn sns_message(envelope: &Event) -> Option<&str> {
    envelope.member_str("Message")
}

/// A finding of GuardDuty, in one of the forms in which it comes.
#[derive(Clone, Copy, Debug)]
pub enum Finding<'a> {
    /// As MozDef's users send it: the finding under `details`, what GuardDuty calls `service` as `details.finding`.
    Details(Object<'a>),
    /// As AWS writes it: alone, or as `detail` of an event of EventBridge.
    Native(Object<'a>),
}

impl<'a> Finding<'a> {
    /// The finding in a document, where it is one.
    pub fn of(document: Object<'a>) -> Option<Finding<'a>> {
        let member = |object: Object<'a>, key| object.get(key).and_then(Value::as_object);
        if let Some(details) = member(document, "details")
            && member(details, "finding").is_some()
        {
            return Some(Finding::Details(details));
        }
        let native = member(document, "detail").unwrap_or(document);
        let is_finding = member(native, "service").is_some_and(|service| member(service, "action").is_some());
        is_finding.then_some(Finding::Native(native))
    }

    /// What was seen, as GuardDuty tells it: action, additional information, times.
    fn service(self) -> Option<Object<'a>> {
        let (object, key) = match self {
            Finding::Details(object) => (object, "finding"),
            Finding::Native(object) => (object, "service"),
        };
        object.get(key).and_then(Value::as_object)
    }

    /// The probes or calls of which each is an event of its own, and what the event calls it.
    pub fn parts(self) -> Option<(&'static str, Parts<'a>)> {
        let service = self.service()?;
        let at = |path: &[&str]| service.get_path(&Path::from_keys(path.iter().copied()));
        match at(&["action", "actionType"])?.as_str()? {
            "PORT_PROBE" => {
                let probes = at(&["action", "portProbeAction", "portProbeDetails"])?;
                Some(("probeevent", Parts::of(probes)))
            }
            "AWS_API_CALL" => {
                let calls = ["recentApiCalls", "apiCalls"].into_iter().find_map(|key| {
                    at(&["additionalInfo", key])
                        .filter(|calls| calls.as_array().is_some_and(|c| !c.is_empty()))
                });
                let calls = calls.or_else(|| at(&["action", "awsApiCallAction"]))?;
                Some(("apicalls", Parts::of(calls)))
            }
            _ => None,
        }
    }

    /// How many events it is: at least one.
    pub fn events(self) -> usize {
        self.parts().map_or(1, |(_, parts)| parts.len().max(1))
    }
}

/// Parts of a finding: a list, or one that stands alone.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a>(Value<'a>);

impl<'a> Parts<'a> {
    fn of(value: Value<'a>) -> Parts<'a> {
        Parts(value)
    }

    fn len(self) -> usize {
        self.0.as_array().map_or(1, |list| list.len())
    }

    /// The part of this number, from 0.
    pub fn get(self, number: usize) -> Option<Value<'a>> {
        match self.0 {
            Value::Array(list) => list.get(number),
            alone => (number == 0).then_some(alone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, document_of_body, sns_message};
    use crate::event::Event;

    #[track_caller]
    fn check(json: &str, expected: Option<(usize, Option<&str>, Option<&str>)>) {
        let event = Event::from_json(json).unwrap();
        let found = Finding::of(event.root()).map(|finding| {
            let parts = finding.parts();
            let last =
                parts.and_then(|(_, parts)| parts.get(finding.events() - 1)).map(|part| part.to_json());
            (finding.events(), parts.map(|(name, _)| name), last)
        });
        let found = found.as_ref().map(|(events, name, last)| (*events, *name, last.as_deref()));
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn a_finding_is_as_many_events_as_it_has_probes_or_calls() {
        let probes = r#"{"details":{"finding":{"action":{"actionType":"PORT_PROBE","portProbeAction":{"portProbeDetails":[{"a":1},{"a":2}]}}}}}"#;
        check(probes, Some((2, Some("probeevent"), Some(r#"{"a":2}"#))));
        let calls = r#"{"detail":{"service":{"action":{"actionType":"AWS_API_CALL","awsApiCallAction":{"api":"x"}},"additionalInfo":{"recentApiCalls":[{"api":"y"}]}}}}"#;
        check(calls, Some((1, Some("apicalls"), Some(r#"{"api":"y"}"#))));
        let call = r#"{"service":{"action":{"actionType":"AWS_API_CALL","awsApiCallAction":{"api":"x"}}}}"#;
        check(call, Some((1, Some("apicalls"), Some(r#"{"api":"x"}"#))));
        let none = r#"{"details":{"finding":{"action":{"actionType":"PORT_PROBE","portProbeAction":{"portProbeDetails":[]}}}}}"#;
        check(none, Some((1, Some("probeevent"), None)));
        check(r#"{"details":{"finding":{"action":{"actionType":"DNS_REQUEST"}}}}"#, Some((1, None, None)));
        check(r#"{"details":{}}"#, None);
        check(r#"{"service":"x"}"#, None);
    }

    #[test]
    fn a_body_may_be_base64() {
        for (body, expected) in [
            (&b"eyJhIjoxfQ=="[..], &b"{\"a\":1}"[..]),
            (b" eyJh\nIjoxfQ \n", b"{\"a\":1}"),
            (b"{\"a\":1}", b"{\"a\":1}"),
            (b"no base64!", b"no base64!"),
            (b"", b""),
        ] {
            assert_eq!(&*document_of_body(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn only_text_is_a_message_of_sns() {
        assert_eq!(sns_message(&Event::from_json(r#"{"Message":"a\"b"}"#).unwrap()), Some("a\"b"));
        assert_eq!(sns_message(&Event::from_json(r#"{"Message":{}}"#).unwrap()), None);
    }
}
