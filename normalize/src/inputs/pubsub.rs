//! Messages of Google Cloud Pub/Sub.
//!
//! In: the JSON object that a message's data is. Out: an event whose details are that object, tagged for the plugins
//! of Google's logs. Never: key mapping.

use model::event::{EditError, Event, New, Path};

/// Writes the event. `subscription` is the subscription's full name.
pub(crate) fn write(data: &Event, subscription: Option<&str>, event: &mut Event) -> Result<(), EditError> {
    event.set_member("details", New::EmptyObject)?;
    for (key, value) in data.root().iter() {
        event.set_in("details", key, value)?;
    }
    let tags = Path::from_keys(["tags"]);
    subscription.into_iter().chain(["pubsub"]).try_for_each(|tag| event.push(&tags, tag))
}
