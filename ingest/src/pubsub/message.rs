//! A message as the API gives it.
//!
//! In: an element of `receivedMessages`. Out: a record. Never: a message without a record: what cannot be read is dead.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::error::Reason;
use model::headers;
use serde_json::{Map, Value};
use stream::record::NewRecord;

use crate::raw::{ClientId, Envelope};

/// Most attributes that are kept in headers.
const ATTRIBUTES_MAX: usize = 32;
/// Longest name and value of an attribute that are kept, in bytes together.
const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// A message, and what acknowledges it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Received {
    pub(super) ack_id: String,
    message: Map<String, Value>,
}

impl Received {
    /// `None` for what cannot even be acknowledged.
    pub(super) fn read(element: &Value) -> Option<Received> {
        let ack_id = element.get("ackId")?.as_str()?.to_owned();
        let message = element.get("message").and_then(Value::as_object).cloned().unwrap_or_default();
        Some(Received { ack_id, message })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.message.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The message's data as a raw record; its id is the client's.
    pub(super) fn record(&self, envelope: &Envelope) -> NewRecord {
        let id = self.text("messageId").or_else(|| self.text("message_id"));
        let client = id.map(|id| ClientId { id: Bytes::from(id.to_owned()), item: None });
        let data = self.text("data").unwrap_or_default();
        let mut record = match STANDARD.decode(data) {
            Ok(bytes) => envelope.event(Bytes::from(bytes), client.as_ref()),
            Err(error) => {
                let detail = format!("the message's data is no base64: {error}");
                let bytes = Bytes::from(data.to_owned());
                envelope.dead(bytes, client.as_ref(), Reason::MalformedRecord, &detail)
            }
        };
        for (name, key) in
            [(headers::PUBSUB_PUBLISH_TIME, "publishTime"), (headers::PUBSUB_ORDERING_KEY, "orderingKey")]
        {
            if let Some(text) = self.text(key).filter(|text| text.len() <= ATTRIBUTE_BYTES_MAX) {
                record.headers.push(name, text.to_owned());
            }
        }
        let attributes = self.message.get("attributes").and_then(Value::as_object);
        for (name, value) in attributes.into_iter().flatten().take(ATTRIBUTES_MAX) {
            let Some(value) = value.as_str() else { continue };
            if name.len().saturating_add(value.len()) <= ATTRIBUTE_BYTES_MAX {
                let name = format!("{}{name}", headers::PUBSUB_ATTRIBUTE_PREFIX);
                record.headers.push(name, value.to_owned());
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::headers;
    use model::time::Timestamp;
    use model::topic::Topic;
    use serde_json::json;
    use stream::record::Headers;

    use super::Received;
    use crate::raw::Source;

    #[test]
    fn data_ids_and_attributes_are_kept() {
        let source =
            Source { input: "pubsub", principal: Bytes::new(), peer: Bytes::new(), more: Headers::new() };
        let envelope = source.received(Timestamp::EPOCH);
        let element = json!({"ackId": "a1", "message": {"data": "eyJhIjoxfQ==", "messageId": "77", "publishTime": "2026-11-25T00:00:00Z",
            "attributes": {"logging.googleapis.com/timestamp": "t", "long": "x".repeat(2000)}}});
        let received = Received::read(&element).unwrap();
        let record = received.record(&envelope);
        let header = |name: &str| record.headers.get_str(name).map(str::to_owned);
        assert_eq!(
            (received.ack_id.as_str(), record.topic, &*record.value),
            ("a1", Topic::Raw, &b"{\"a\":1}"[..])
        );
        assert_eq!(header(headers::CLIENT_ID).as_deref(), Some("77"));
        assert_eq!(header("pubsub-attribute-logging.googleapis.com/timestamp").as_deref(), Some("t"));
        assert_eq!(header("pubsub-attribute-long"), None);
        assert_eq!(header(headers::PUBSUB_PUBLISH_TIME).as_deref(), Some("2026-11-25T00:00:00Z"));

        let bad =
            Received::read(&json!({"ackId": "a2", "message": {"data": "%%%", "messageId": "78"}})).unwrap();
        let dead = bad.record(&envelope);
        assert_eq!((dead.topic, &*dead.value), (Topic::Dead, &b"%%%"[..]));
        assert!(
            dead.headers.get_str(headers::DETAIL).unwrap().starts_with("the message's data is no base64")
        );

        let bare = Received::read(&json!({"ackId": "a3"})).unwrap().record(&envelope);
        assert_eq!((bare.topic, bare.value.len(), bare.key.len()), (Topic::Raw, 0, 0));
        assert_eq!(Received::read(&json!({"message": {}})), None);
    }
}
