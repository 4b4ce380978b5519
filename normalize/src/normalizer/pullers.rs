//! Events that are fetched: Papertrail's search results, the data of Pub/Sub's messages.
//!
//! In: an event as its source gave it. Out: its event in normal form, before the plugins. Never: I/O.

use super::{End, Normalizer, Raw};
use crate::dates::Reference;
use crate::inputs::{papertrail, pubsub};
use crate::key_mapping::Mapping;

impl Normalizer {
    /// A search result, or an object of another shape, which is mapped as it is.
    pub(super) fn read_papertrail(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        if papertrail::is_record(&self.input) {
            self.event.set_limits(&self.limits.for_normal_form());
            papertrail::wrap(&self.input, raw.queue, &mut self.event)?;
            std::mem::swap(&mut self.input, &mut self.event);
            self.event.clear();
            self.event.set_limits(&self.limits.for_normal_form());
        }
        self.map_input(Raw { queue: None, ..raw }, Mapping::Papertrail, reference)
    }

    /// A message's data.
    pub(super) fn read_pubsub(&mut self, raw: Raw<'_>) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        self.event.set_member("receivedtimestamp", self.received.as_str())?;
        self.event.set_member("mozdefhostname", self.hostname.as_str())?;
        pubsub::write(&self.input, raw.queue, &mut self.event)?;
        Ok(())
    }
}
