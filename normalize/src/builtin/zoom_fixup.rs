//! zoom_fixup: what Zoom's webhook says of meetings, without their topics.
//!
//! In: events of the host `zoom_host` with Zoom's record in `details.payload`. Out: a new event with the fields of
//! [`PAYLOAD`] and a summary. Never: a topic of a meeting; it may be secret.

use model::event::{Event, New, Value};

use super::details::details;
use super::rebuilt::{Map, at, begin, copy, has_tag, text_at};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const ZOOM_FIXUP: Builtin =
    Builtin { name: "zoom_fixup", registration: &["zoom_host"], priority: 2, run };

/// Members of the new event.
const MEMBERS: [(&str, &str); 6] = [
    ("category", "zoom"),
    ("eventsource", "MozDef-EF-zoom"),
    ("source", "api_aws_lambda"),
    ("hostname", "zoom_host"),
    ("severity", "info"),
    ("processname", "zoom_webhook_api"),
];

/// From `details.payload`. Of two account ids the payload's own stands.
const PAYLOAD: Map = &[
    ("account_id", "object.account_id"),
    ("account_id", "account_id"),
    ("calendar_name", "object.calendar_name"),
    ("duration", "object.duration"),
    ("email", "object.email"),
    ("end_time", "object.end_time"),
    ("host_email", "object.host_email"),
    ("host_id", "object.host_id"),
    ("id", "object.id"),
    ("issue", "object.issue"),
    ("original_sched_duration", "old_object.duration"),
    ("original_sched_start_time", "old_object.start_time"),
    ("particpant_id", "object.participant.id"),
    ("participant_join_time", "object.participant.join_time"),
    ("participant_leave_time", "object.participant.leave_time"),
    ("participant_sharing_content", "object.participant.sharing_details.content"),
    ("participant_sharing_date_time", "object.participant.sharing_details.date_time"),
    ("participant_sharing_file_link", "object.participant.sharing_details.file_link"),
    ("participant_sharing_link_source", "object.participant.sharing_details.link_source"),
    ("participant_sharing_source", "object.participant.sharing_details.source"),
    ("participant_user_id", "object.participant.user_id"),
    ("participant_username", "object.participant.user_name"),
    ("recording_count", "object.recording_count"),
    ("recording_files", "object.recording_files"),
    ("recording_file_end", "object.recording_file.recording_end"),
    ("recording_file_start", "object.recording_file.recording_start"),
    ("recording_files_end", "object.recording_files.recording_end"),
    ("recording_files_start", "object.recording_files.recording_start"),
    ("room_name", "object.room_name"),
    ("share_url", "object.share_url"),
    ("size", "object.total_size"),
    ("start_time", "object.start_time"),
    ("timezone", "object.timezone"),
    ("ts", "time_stamp"),
    ("type", "object.type"),
    ("user_id", "operator_id"),
    ("username", "operator"),
    ("uuid", "object.uuid"),
];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let is_tagged = has_tag(event, "zoom") || event.member("tags").is_none_or(is_empty);
    if !is_tagged || details(event).is_none() {
        return Ok(Outcome::Unchanged);
    }
    let old = begin(event)?;
    for (key, text) in MEMBERS {
        event.set_member(key, text)?;
    }
    event.set_member("tags", old.member("tags").map_or(New::EmptyArray, New::Value))?;
    let Some(record) = details(&old) else { return Ok(Outcome::Unchanged) };
    copy(record, &[("event", "event")], event)?;
    let payload = at(record, "payload").and_then(Value::as_object);
    let mut summary = format!("zoom: {}", text_at(record, "event").unwrap_or("UNKNOWN"));
    if let Some(payload) = payload {
        copy(payload, PAYLOAD, event)?;
        let user = text_at(payload, "operator").or_else(|| text_at(payload, "object.participant.user_name"));
        if let Some(user) = user {
            summary.push_str(" triggered by user ");
            summary.push_str(user);
        }
    }
    event.set_member("summary", &summary)?;
    Ok(Outcome::Changed)
}

/// No tags at all, as the schema's default has them.
fn is_empty(tags: Value<'_>) -> bool {
    tags.as_array().is_some_and(model::event::Array::is_empty)
}

#[cfg(test)]
mod tests {
    use super::ZOOM_FIXUP;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn a_meeting_is_told_without_its_topic() {
        check(
            &ZOOM_FIXUP,
            r#"{"hostname":"zoom_host","tags":["zoom"],"utctimestamp":"T","details":{"event":"meeting.ended","payload":
                {"account_id":"A","operator":"","object":{"account_id":"B","topic":"secret","id":7,"participant":{"user_name":"Eve"}}}}}"#,
            r#"{"hostname":"zoom_host","tags":["zoom"],"utctimestamp":"T","category":"zoom","eventsource":"MozDef-EF-zoom",
                "source":"api_aws_lambda","severity":"info","processname":"zoom_webhook_api",
                "summary":"zoom: meeting.ended triggered by user Eve",
                "details":{"event":"meeting.ended","account_id":"A","id":7,"participant_username":"Eve"}}"#,
        );
        check_unchanged(&ZOOM_FIXUP, r#"{"tags":["other"],"hostname":"zoom_host","details":{"event":"x"}}"#);
        check_unchanged(&ZOOM_FIXUP, r#"{"hostname":"zoom_host","details":"x"}"#);
    }
}
