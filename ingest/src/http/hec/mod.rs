//! Splunk's HTTP Event Collector: events in envelopes, raw lines, acknowledgements.
//!
//! In: what a request says beside its body, the text of one envelope. Out: what is wrong with it in Splunk's numbers;
//! Splunk's replies. Never: an acknowledgement of what is not durable.
//!
//! Acknowledgements need no memory: the answer that carries an ack id is sent only when the events are in the log, so
//! every id that was given is acknowledged, also after a restart and by another gateway.

mod ack;
mod reply;

use axum::http::{HeaderMap, Uri};
use model::headers;
use serde::Deserialize;
use serde_json::value::RawValue;
use stream::record::Headers;

use super::refusal::Refusal;

pub(super) use ack::{Acks, asked};
pub(super) use reply::{acks, healthy, refused, success};

/// Longest value that is taken from a request's address.
const PARAMETER_BYTES_MAX: usize = 512;

/// What Splunk says in its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Success,
    TokenRequired,
    InvalidAuthorization,
    InvalidToken,
    NoData,
    InvalidFormat,
    Busy,
    ChannelMissing,
    InvalidChannel,
    EventRequired,
    EventBlank,
    BadFields,
    QueryToken,
    Healthy,
    Unhealthy,
    TooLarge,
}

impl Code {
    /// Number and text.
    pub(super) const fn told(self) -> (u16, &'static str) {
        match self {
            Code::Success => (0, "Success"),
            Code::TokenRequired => (2, "Token is required"),
            Code::InvalidAuthorization => (3, "Invalid authorization"),
            Code::InvalidToken => (4, "Invalid token"),
            Code::NoData => (5, "No data"),
            Code::InvalidFormat => (6, "Invalid data format"),
            Code::Busy => (9, "Server is busy"),
            Code::ChannelMissing => (10, "Data channel is missing"),
            Code::InvalidChannel => (11, "Invalid data channel"),
            Code::EventRequired => (12, "Event field is required"),
            Code::EventBlank => (13, "Event field cannot be blank"),
            Code::BadFields => (15, "Error in handling indexed fields"),
            Code::QueryToken => (16, "Query string authorization is not enabled"),
            Code::Healthy => (17, "HEC is healthy"),
            Code::Unhealthy => (18, "HEC is unhealthy, queues are full"),
            Code::TooLarge => (27, "Request entity too large"),
        }
    }
}

/// What a request says beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The client's channel: it wants an ack id.
    pub(super) channel: Option<String>,
    /// Of raw lines: what stands in the envelope of an event, as headers of records.
    pub(super) metadata: Headers,
}

impl Asked {
    /// Reads address and headers.
    pub(super) fn of(uri: &Uri, head: &HeaderMap) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        let mut has_token = false;
        let query = uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let header = match &*name {
                "channel" => {
                    asked.channel = Some(value.into_owned());
                    continue;
                }
                "token" => {
                    has_token = true;
                    continue;
                }
                "host" => headers::HEC_HOST,
                "source" => headers::HEC_SOURCE,
                "sourcetype" => headers::HEC_SOURCE_TYPE,
                "index" => headers::HEC_INDEX,
                "time" => headers::HEC_TIME,
                _ => continue,
            };
            let sound = value.len() <= PARAMETER_BYTES_MAX && !value.chars().any(char::is_control);
            if !sound {
                return Err(Refusal::Splunk(Code::InvalidFormat));
            }
            asked.metadata.set(header, value.into_owned());
        }
        if has_token && !head.contains_key(axum::http::header::AUTHORIZATION) {
            return Err(Refusal::Splunk(Code::QueryToken));
        }
        if let Some(channel) = head.get("x-splunk-request-channel") {
            asked.channel = Some(String::from_utf8_lossy(channel.as_bytes()).into_owned());
        }
        match &asked.channel {
            Some(channel) if !is_guid(channel) => Err(Refusal::Splunk(Code::InvalidChannel)),
            _ => Ok(asked),
        }
    }
}

/// As `8-4-4-4-12` hex digits.
fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// The members of an envelope that must be looked at.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fields: Option<&'a RawValue>,
}

/// What is wrong with an envelope that is a sound JSON object.
pub(super) fn mistake(text: &[u8]) -> Option<(Code, String)> {
    let envelope: Envelope = match serde_json::from_slice(text) {
        Ok(envelope) => envelope,
        Err(error) => return Some((Code::InvalidFormat, error.to_string())),
    };
    let Some(event) = envelope.event else {
        return Some((Code::EventRequired, "the envelope has no event".to_owned()));
    };
    if event.get().trim_matches('"').trim().is_empty() || event.get() == "{}" {
        return Some((Code::EventBlank, "the event is blank".to_owned()));
    }
    let flat = |fields: &RawValue| {
        let fields: Option<std::collections::HashMap<String, &RawValue>> =
            serde_json::from_str(fields.get()).ok();
        fields.is_some_and(|fields| fields.values().all(|value| !value.get().starts_with('{')))
    };
    if envelope.fields.is_some_and(|fields| !flat(fields)) {
        return Some((Code::BadFields, "fields is no flat object".to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Uri};
    use model::headers;
    use proptest::prelude::*;

    use super::{Asked, Code, is_guid, mistake};

    const CHANNEL: &str = "FE0ECFAD-13D5-401B-847D-77833BD77131";

    fn asked(uri: &str, channel: Option<&'static str>) -> Result<Asked, String> {
        let mut head = HeaderMap::new();
        if let Some(channel) = channel {
            head.insert("x-splunk-request-channel", HeaderValue::from_static(channel));
        }
        Asked::of(&uri.parse::<Uri>().unwrap(), &head).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn channel_and_metadata_are_read_from_the_request() {
        let got = asked(
            "/raw?channel=fe0ecfad-13d5-401b-847d-77833bd77131&host=web%201&sourcetype=syslog&x=1",
            None,
        );
        let got = got.unwrap();
        assert_eq!(got.channel.as_deref(), Some("fe0ecfad-13d5-401b-847d-77833bd77131"));
        assert_eq!(got.metadata.get_str(headers::HEC_HOST), Some("web 1"));
        assert_eq!(got.metadata.get_str(headers::HEC_SOURCE_TYPE), Some("syslog"));
        assert_eq!(got.metadata.len(), 2);
        assert_eq!(asked("/event", Some(CHANNEL)).unwrap().channel.as_deref(), Some(CHANNEL));
        assert_eq!(asked("/event", None), Ok(Asked::default()));
        assert!(asked("/event", Some("me")).unwrap_err().contains("channel"));
        assert!(asked("/event?token=x", None).unwrap_err().contains("Query string"));
        assert!(asked("/event?host=a%0ab", None).unwrap_err().contains("format"));
        assert!(is_guid(CHANNEL) && !is_guid("FE0ECFAD13D5401B847D77833BD77131") && !is_guid(""));
    }

    #[test]
    fn envelopes_are_judged_as_splunk_does() {
        for (envelope, code) in [
            (r#"{"event":"x"}"#, None),
            (r#"{"event":{"a":1},"time":1.5,"fields":{"a":"b","c":["d"]}}"#, None),
            (r#"{"event":7}"#, None),
            (r#"{"summary":"x"}"#, Some(Code::EventRequired)),
            (r#"{"event":null}"#, Some(Code::EventRequired)),
            (r#"{"event":""}"#, Some(Code::EventBlank)),
            (r#"{"event":"  "}"#, Some(Code::EventBlank)),
            (r#"{"event":"x","fields":{"a":{"b":1}}}"#, Some(Code::BadFields)),
            (r#"{"event":"x","fields":[1]}"#, Some(Code::BadFields)),
            (r#"{"event":"x","event":"y"}"#, Some(Code::InvalidFormat)),
        ] {
            assert_eq!(mistake(envelope.as_bytes()).map(|(code, _)| code), code, "{envelope}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn no_envelope_breaks_the_judge(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{".to_owned()), Just("}".to_owned()), Just("\"event\":".to_owned()),
                    Just("\"fields\":".to_owned()), Just(",".to_owned()), Just("\"\"".to_owned()),
                    Just("null".to_owned()), Just("[".to_owned()), Just("1e9".to_owned()), ".{0,8}",
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let sound = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_object());
            prop_assert!(sound || mistake(text.as_bytes()).is_some());
        }
    }
}
