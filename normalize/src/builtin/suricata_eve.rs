//! EVE records as Suricata writes them, posted by any shipper, get the names that
//! MozDef gave to those which came through syslog-ng. MozDef itself did not know them.
//!
//! In: `details` with `event_type` and an end or a flow of a connection. Out: category
//! `suricata`, source `eve-log`, type `nsm`, the details of `eve.rs`, a summary with the
//! signature. Never: anything for records that `suricataFixup` has opened.

use model::event::{EditError, Event, Path};

use super::details::{detail, detail_str, has_detail};
use super::eve;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SURICATA_EVE: Builtin = Builtin {
    name: "suricata_eve",
    registration: &["flow_id", "src_ip", "stats", "engine"],
    priority: 5,
    run,
};

/// Kinds that have no connection.
const WITHOUT_ENDS: [&str; 2] = ["stats", "engine"];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let Some(kind) = detail_str(event, "event_type") else { return Ok(Outcome::Unchanged) };
    if event.member_str("type") == Some("nsm") || !is_eve(event, kind) {
        return Ok(Outcome::Unchanged);
    }
    let kind = kind.to_owned();
    return_payload(event)?;
    let without_ends = WITHOUT_ENDS.contains(&&*kind);
    if !without_ends {
        eve::name_ends(event)?;
        eve::flatten(event)?;
    }
    if kind == "alert" {
        eve::default_counters(event)?;
    }
    if event.member_str("summary").is_none() {
        let summary = if without_ends { format!("suricata {kind}") } else { summary(event, &kind) };
        event.set_member("summary", &summary)?;
    }
    let members = [
        ("category", "suricata"),
        ("source", "eve-log"),
        ("event_type", &*kind),
        ("type", "nsm"),
        ("eventsource", "nsm"),
    ];
    for (key, value) in members {
        event.set_member(key, value)?;
    }
    if event.member("severity").is_none() {
        event.set_member("severity", "INFO")?;
    }
    Ok(Outcome::Changed)
}

/// A flow's number, or a protocol between two addresses; for the other kinds their own object.
fn is_eve(event: &Event, kind: &str) -> bool {
    let has = |key| detail(event, key).is_some();
    has("flow_id")
        || (has("src_ip") && has("dest_ip") && has("proto"))
        || (WITHOUT_ENDS.contains(&kind) && has(kind))
}

/// Key mapping takes a member `payload` for the message of an event without one; in EVE it is bytes, in base64.
fn return_payload(event: &mut Event) -> Result<(), EditError> {
    let is_payload = event
        .member_str("summary")
        .is_some_and(|summary| !summary.starts_with('{') && !summary.contains(' '));
    if is_payload && !has_detail(event, "payload") && has_detail(event, "stream") {
        event.rename(&Path::from_keys(["summary"]), &Path::from_keys(["details", "payload"]))?;
    }
    Ok(())
}

/// `alert: ET SCAN … 10.0.0.1:5 -> 10.0.0.2:53`
fn summary(event: &Event, kind: &str) -> String {
    let ends = eve::ends_text(event);
    let alert = detail(event, "suricata_alert").and_then(|alert| alert.as_object());
    match alert.and_then(|alert| alert.get("signature")?.as_str()) {
        Some(signature) => format!("{kind}: {signature} {ends}"),
        None => format!("{kind}: {ends}"),
    }
}

#[cfg(test)]
mod tests {
    use super::SURICATA_EVE;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn an_alert_is_recognised() {
        check(
            &SURICATA_EVE,
            r#"{"summary":"qFEB","details":{"flow_id":1,"event_type":"alert","src_ip":"10.0.0.1","src_port":4,"dest_ip":"10.0.0.2","dest_port":53,"stream":0,
                "alert":{"signature":"S","severity":1},"app_proto":"dns","flow":{"pkts_toserver":2,"bytes_toclient":9},"http":{"url":"/","status":200,"protocol":"HTTP/1.1"}}}"#,
            r#"{"summary":"alert: S 10.0.0.1:4 -> 10.0.0.2:53","category":"suricata","source":"eve-log","event_type":"alert","type":"nsm","eventsource":"nsm","severity":"INFO",
                "details":{"flow_id":1,"event_type":"alert","sourceipaddress":"10.0.0.1","sourceport":4,"destinationipaddress":"10.0.0.2","destinationport":53,"stream":0,
                "suricata_alert":{"signature":"S","severity":1},"service":"dns","flow":{},"orig_pkts":2,"responseipbytes":9,"originipbytes":0,"resp_pkts":0,
                "http":{"protocol":"HTTP/1.1"},"uri":"/","status_code":200,"payload":"qFEB"}}"#,
        );
    }

    #[test]
    fn statistics_have_no_ends() {
        check(
            &SURICATA_EVE,
            r#"{"details":{"event_type":"stats","stats":{"uptime":8}}}"#,
            r#"{"summary":"suricata stats","category":"suricata","source":"eve-log","event_type":"stats","type":"nsm","eventsource":"nsm","severity":"INFO",
                "details":{"event_type":"stats","stats":{"uptime":8}}}"#,
        );
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"details":{"event_type":"login","src_ip":"10.0.0.1"}}"#,
            r#"{"details":{"src_ip":"10.0.0.1","dest_ip":"10.0.0.2"}}"#,
            r#"{"type":"nsm","details":{"event_type":"alert","flow_id":1}}"#,
            r#"{"details":{"event_type":7,"flow_id":1}}"#,
        ] {
            check_unchanged(&SURICATA_EVE, event);
        }
    }
}
