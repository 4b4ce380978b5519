//! OTLP/HTTP logs, in protobuf and in JSON: a request is cut into its log records.
//!
//! In: the body of a request. Out: each log record as it came, with the resource and the scope that it belongs to; the
//! replies that exporters expect. Never: a look into a record, but whether it is well-formed.

mod json;
mod protobuf;
mod reply;

use bytes::Bytes;
use model::error::Reason;

pub(super) use reply::{refused, taken};

/// Largest resource or scope: they go along with each record.
const CONTEXT_BYTES_MAX: usize = 8 << 10;

/// How a request is written; its answer is written in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

impl Form {
    /// Protobuf and JSON as the specification names them; anything else is refused.
    pub(super) fn of(content_type: Option<&str>) -> Option<Form> {
        let essence = content_type?.split(';').next()?.trim();
        if essence.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Form::Protobuf)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Some(Form::Json)
        } else {
            None
        }
    }

    /// The media type.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }
}

/// Log records of one scope of one resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) resource: Bytes,
    pub(super) scope: Bytes,
    pub(super) records: Vec<Bytes>,
}

/// Why a request as a whole, or a record of it, cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OtlpError {
    #[error("no ExportLogsServiceRequest in {form}: {cause}")]
    Malformed { form: &'static str, cause: String },
    #[error("more than {limit} log records")]
    TooMany { limit: usize },
}

/// Cuts a request.
pub(super) fn cut(body: &Bytes, form: Form, records_max: usize) -> Result<Vec<Group>, OtlpError> {
    match form {
        Form::Protobuf => protobuf::cut(body, records_max),
        Form::Json => json::cut(body, records_max),
    }
}

/// What is wrong with a record.
pub(super) fn mistake(
    group: &Group,
    record: &Bytes,
    form: Form,
    limits: &model::event::Limits,
) -> Option<(Reason, String)> {
    for (what, bytes) in [("resource", &group.resource), ("scope", &group.scope)] {
        if bytes.len() > CONTEXT_BYTES_MAX {
            let detail = format!("its {what} has {} bytes, more than {CONTEXT_BYTES_MAX}", bytes.len());
            return Some((Reason::TooLarge, detail));
        }
    }
    if record.len() > limits.bytes_max {
        return Some((Reason::TooLarge, format!("{} bytes, more than {}", record.len(), limits.bytes_max)));
    }
    match form {
        Form::Protobuf => {
            protobuf::is_message(record).err().map(|cause| (Reason::MalformedRecord, cause.to_string()))
        }
        Form::Json => json::mistake(record, limits),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::event::Limits;
    use proptest::prelude::*;

    use super::{Form, OtlpError, cut, mistake};

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(value.len() as u64, &mut out);
        out.extend_from_slice(value);
        out
    }

    fn request() -> Vec<u8> {
        let attributes = field(1, &field(1, b"host.name"));
        let records = [field(2, &field(3, b"INFO")), field(2, b""), field(2, b"\xff")].concat();
        let scope = [field(1, &field(1, b"lib")), records, field(3, b"schema")].concat();
        field(1, &[field(1, &attributes), field(2, &scope)].concat())
    }

    #[test]
    fn a_request_in_protobuf_is_cut_into_its_records() {
        let body = Bytes::from(request());
        let groups = cut(&body, Form::Protobuf, 3).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].resource, field(1, &field(1, b"host.name")));
        assert_eq!(groups[0].scope, field(1, b"lib"));
        assert_eq!(groups[0].records[0], field(3, b"INFO"));
        let bad: Vec<bool> = groups[0]
            .records
            .iter()
            .map(|record| mistake(&groups[0], record, Form::Protobuf, &Limits::default()).is_some())
            .collect();
        assert_eq!(bad, [false, false, true]);
        assert_eq!(cut(&body, Form::Protobuf, 2), Err(OtlpError::TooMany { limit: 2 }));
        assert!(matches!(cut(&body.slice(..9), Form::Protobuf, 9), Err(OtlpError::Malformed { .. })));
        assert_eq!(cut(&Bytes::new(), Form::Protobuf, 9), Ok(vec![]));
    }

    #[test]
    fn a_request_in_json_is_cut_into_its_records() {
        let body = r#"{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"scope":{"name":"lib"},
            "logRecords":[{"body":{"stringValue":"x"}},7,{"a":1}]},{"logRecords":null}],"schemaUrl":"u"},{}]}"#;
        let body = Bytes::from(body);
        let groups = cut(&body, Form::Json, 3).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!(
            (&groups[0].resource[..], &groups[0].scope[..]),
            (&br#"{"attributes":[]}"#[..], &br#"{"name":"lib"}"#[..])
        );
        assert_eq!(groups[0].records[0], r#"{"body":{"stringValue":"x"}}"#);
        let bad: Vec<bool> = groups[0]
            .records
            .iter()
            .map(|record| mistake(&groups[0], record, Form::Json, &Limits::default()).is_some())
            .collect();
        assert_eq!(bad, [false, true, false]);
        assert_eq!(cut(&body, Form::Json, 2), Err(OtlpError::TooMany { limit: 2 }));
        for bad in ["", "[]", "{\"resourceLogs\":7}", "{\"resourceLogs\":[{]}", "\u{0}"] {
            let refused = cut(&Bytes::from(bad), Form::Json, 9);
            assert!(matches!(refused, Err(OtlpError::Malformed { .. })), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn a_context_too_large_to_go_along_is_told() {
        let body = field(1, &[field(1, &field(1, &[b'x'; 9000])), field(2, &field(2, b""))].concat());
        let groups = cut(&Bytes::from(body), Form::Protobuf, 9).unwrap();
        let told = mistake(&groups[0], &groups[0].records[0], Form::Protobuf, &Limits::default()).unwrap();
        assert!(told.1.contains("resource"), "{}", told.1);
    }

    #[test]
    fn content_types_are_those_of_the_specification() {
        assert_eq!(Form::of(Some("application/json; charset=utf-8")), Some(Form::Json));
        assert_eq!(Form::of(Some("application/x-protobuf")), Some(Form::Protobuf));
        assert_eq!((Form::of(Some("text/plain")), Form::of(None)), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_the_cutter(
            place in any::<prop::sample::Index>(), byte in any::<u8>(), end in any::<prop::sample::Index>(),
        ) {
            let mut body = request();
            let place = place.index(body.len());
            body[place] = byte;
            body.truncate(end.index(body.len() + 1));
            let body = Bytes::from(body);
            for form in [Form::Protobuf, Form::Json] {
                let Ok(groups) = cut(&body, form, 100) else { continue };
                for group in &groups {
                    for record in &group.records {
                        mistake(group, record, form, &Limits::default());
                    }
                }
                let bytes: usize = groups.iter().flat_map(|group| &group.records).map(Bytes::len).sum();
                prop_assert!(bytes <= body.len());
            }
        }
    }
}
