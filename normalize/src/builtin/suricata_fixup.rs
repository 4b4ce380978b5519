//! suricataFixup: EVE records in syslog-ng's envelope.
//!
//! In: `customendpoint` events of category `suricata` whose `message` holds the record.
//! Out: a new event of type `nsm`; alerts of `eve-log` get their counters, HTTP fields
//! and a summary. Never: a failure on a record that is no JSON.

use model::event::{EditError, Event};
use model::time::Timestamp;

use super::envelope::{self, Header};
use super::{epoch, eve};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SURICATA_FIXUP: Builtin =
    Builtin { name: "suricataFixup", registration: &["suricata"], priority: 5, run };

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !envelope::is_custom(event, "suricata") {
        return Ok(Outcome::Unchanged);
    }
    let member = |key| event.member_str(key).map(str::to_owned);
    let host = member("host_from");
    let [source, kind] =
        ["source", "event_type"].map(|key| member(key).unwrap_or_else(|| "unknown".to_owned()));
    envelope::open(event, "message")?;
    let header = Header { kind: "nsm", category: "suricata", eventsource: "nsm", source: &source };
    envelope::rebuild(event, &["details", "rawdetails"], &header, context)?;
    event.set_member("event_type", &kind)?;
    if let Some(host) = host {
        event.set_member("hostname", &host)?;
    }
    epoch::set_times(event, flow_start(event).unwrap_or(context.now))?;
    eve::name_ends(event)?;
    if source == "eve-log" && kind == "alert" {
        alert(event)?;
    }
    Ok(Outcome::Changed)
}

fn flow_start(event: &Event) -> Option<Timestamp> {
    let flow = super::details::detail(event, "flow")?.as_object()?;
    epoch::instant(flow.get("start")?)
}

fn alert(event: &mut Event) -> Result<(), EditError> {
    eve::flatten(event)?;
    eve::default_counters(event)?;
    let summary = eve::ends_text(event);
    event.set_member("summary", &summary)
}

#[cfg(test)]
mod tests {
    use super::SURICATA_FIXUP;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn host_and_tags_stay_and_a_record_may_be_an_object() {
        check(
            &SURICATA_FIXUP,
            r#"{"customendpoint":true,"category":"suricata","host_from":"ids1","tags":["a"],"other":1,"message":{"src_ip":null,"dest_port":53,"flow":{"start":"2018-09-12T22:24:09.5+0000"}}}"#,
            r#"{"category":"suricata","hostname":"ids1","tags":["a"],"source":"unknown","event_type":"unknown","type":"nsm","eventsource":"nsm","severity":"INFO",
                "mozdefhostname":"mozdef.test","receivedtimestamp":"2020-03-04T05:06:07+00:00","utctimestamp":"2018-09-12T22:24:09.500000+00:00","timestamp":"2018-09-12T22:24:09.500000+00:00",
                "details":{"sourceipaddress":"0.0.0.0","destinationipaddress":"0.0.0.0","sourceport":0,"destinationport":53,"flow":{"start":"2018-09-12T22:24:09.5+0000"}}}"#,
        );
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"category":"suricata","details":{"suricata":1}}"#,
            r#"{"customendpoint":true,"category":"Suricata"}"#,
        ] {
            check_unchanged(&SURICATA_FIXUP, event);
        }
    }
}
