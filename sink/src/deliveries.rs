//! The two deliveries: events and alerts.
//!
//! In: records. Out: one outcome for each, in order. Never: an order among
//! requests: ids and versions make it not matter.

use async_trait::async_trait;
use stream::delivery::{Delivery, Outcome};
use stream::record::Record;

use crate::bulk::Bulk;
use crate::document::{MALFORMED, Meant, alert, event};

/// Records of `mozdef.events`.
pub(crate) struct EventDelivery(pub(crate) Bulk);

/// Records of `mozdef.alerts`.
pub(crate) struct AlertDelivery(pub(crate) Bulk);

#[async_trait]
impl Delivery for EventDelivery {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        deliver(&self.0, records.iter().map(event)).await
    }
}

#[async_trait]
impl Delivery for AlertDelivery {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        deliver(&self.0, records.iter().map(alert)).await
    }
}

async fn deliver(bulk: &Bulk, meant: impl Iterator<Item = Meant>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut documents = Vec::new();
    let mut slots = Vec::new();
    for meant in meant {
        match meant {
            Meant::Document(document) => {
                slots.push(outcomes.len());
                documents.push(document);
                outcomes.push(Outcome::Done);
            }
            Meant::Nothing => outcomes.push(Outcome::Done),
            Meant::Malformed(detail) => outcomes.push(Outcome::Dead { reason: MALFORMED, detail }),
        }
    }
    if documents.is_empty() {
        return outcomes;
    }
    for (slot, outcome) in slots.into_iter().zip(bulk.write(documents).await) {
        if let Some(place) = outcomes.get_mut(slot) {
            *place = outcome;
        }
    }
    outcomes
}
