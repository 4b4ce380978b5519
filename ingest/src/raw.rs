//! Raw records and dead letters with all their headers: what one input writes as every other does.
//!
//! In: what is known of a source, and the bytes of one event. Out: a record for `mozdef.raw`, or for `mozdef.dead` with
//! the reason. Never: a change to the bytes.

use bytes::Bytes;
use model::error::Reason;
use model::headers;
use model::ids::EventId;
use model::metrics::Stage;
use model::time::Timestamp;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

/// What all events of one message, request or connection have in common.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name of the input (`http`, `syslog`, …): part of event ids, so two inputs never give the same one.
    pub input: &'static str,
    /// Who sends: owner of a token, name in a certificate, queue or topic. Part of event ids.
    pub principal: Bytes,
    /// Address of the sender, or of the server that the message was fetched from; may be empty.
    pub peer: Bytes,
    /// Everything else that is the same for all, in order.
    pub more: Headers,
}

/// The client's own id of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Id of the message, request or document.
    pub id: Bytes,
    /// Number of the event in it, where it may have several.
    pub item: Option<u32>,
}

/// A [`Source`] at a time of receipt.
#[derive(Clone, Debug)]
pub struct Envelope {
    input: &'static str,
    principal: Bytes,
    base: Headers,
}

impl Source {
    /// The headers of what is received now.
    pub fn received(&self, at: Timestamp) -> Envelope {
        let mut base = Headers::with_capacity(self.more.len().saturating_add(8))
            .with(headers::RECEIVED, at.millis().to_string())
            .with(headers::INPUT, self.input)
            .with(headers::PRINCIPAL, self.principal.clone())
            .with(headers::PEER, self.peer.clone());
        base.extend(&self.more);
        Envelope { input: self.input, principal: self.principal.clone(), base }
    }
}

impl Envelope {
    /// An event. With an id of its client's, what is sent again is the same event.
    pub fn event(&self, value: Bytes, client: Option<&ClientId>) -> NewRecord {
        let key = client.map(|client| client.id.clone()).unwrap_or_default();
        NewRecord { topic: Topic::Raw, partition: None, key, value, headers: self.headers(client) }
    }

    /// What is no event, with the reason; it keeps the id that it would have had as an event.
    pub fn dead(&self, value: Bytes, client: Option<&ClientId>, reason: Reason, detail: &str) -> NewRecord {
        let mut headers = self.headers(client);
        let mut key = Bytes::new();
        if let Some(client) = client {
            let principal = std::str::from_utf8(&self.principal).unwrap_or_default();
            let id = EventId::from_client(principal, self.input, &client.id, client.item.unwrap_or(0));
            key = Bytes::copy_from_slice(id.hex().as_str().as_bytes());
            headers.push(headers::EVENT_ID, key.clone());
        }
        headers.push(headers::STAGE, Stage::Gateway.as_str());
        headers.push(headers::REASON, reason.as_str());
        headers.push(headers::DETAIL, detail.to_owned());
        headers.push(headers::VERSION, env!("CARGO_PKG_VERSION"));
        NewRecord { topic: Topic::Dead, partition: None, key, value, headers }
    }

    fn headers(&self, client: Option<&ClientId>) -> Headers {
        let mut headers = self.base.clone();
        if let Some(client) = client {
            headers.push(headers::CLIENT_ID, client.id.clone());
            if let Some(item) = client.item {
                headers.push(headers::ITEM, item.to_string());
            }
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::error::Reason;
    use model::headers;
    use model::ids::EventId;
    use model::time::Timestamp;
    use model::topic::Topic;
    use stream::record::Headers;

    use super::{ClientId, Source};

    #[test]
    fn a_dead_letter_has_the_id_of_the_event_that_it_would_have_been() {
        let source = Source {
            input: "amqp",
            principal: Bytes::from_static(b"eventtask"),
            peer: Bytes::from_static(b"127.0.0.1:5672"),
            more: Headers::new().with(headers::ENDPOINT, "cef"),
        };
        let envelope = source.received(Timestamp::from_millis(7));
        let client = ClientId { id: Bytes::from_static(b"m1"), item: Some(2) };
        let event = envelope.event(Bytes::from_static(b"{}"), Some(&client));
        assert_eq!((event.topic, &*event.key, &*event.value), (Topic::Raw, &b"m1"[..], &b"{}"[..]));
        let names: Vec<_> = event.headers.iter().map(|(name, _)| name).collect();
        let expected = ["received", "input", "principal", "peer", "endpoint", "client-id", "item"];
        assert_eq!(names, expected);

        let dead = envelope.dead(Bytes::new(), Some(&client), Reason::Empty, "no bytes");
        let id = EventId::from_client("eventtask", "amqp", b"m1", 2).hex();
        assert_eq!((dead.topic, &*dead.key), (Topic::Dead, id.as_str().as_bytes()));
        assert_eq!(dead.headers.get_str(headers::REASON), Some("empty"));
        let nameless = envelope.dead(Bytes::new(), None, Reason::Empty, "no bytes");
        assert_eq!((nameless.key.len(), nameless.headers.get(headers::EVENT_ID)), (0, None));
    }
}
