//! broFixup: lines of Zeek's logs in syslog-ng's envelope, as MozDef received them.
//!
//! In: `customendpoint` events of category `bro` with `SOURCE` (`bro_conn`, `bro_dns` …)
//! and `MESSAGE`, the line as JSON. Out: a new event of type `nsm`, see `zeek`. Never: a
//! failure on a line that is no JSON.

use model::event::Event;

use super::details::detail_path;
use super::envelope::{self, Header};
use super::{epoch, zeek};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const BRO_FIXUP: Builtin = Builtin { name: "broFixup", registration: &["bro"], priority: 5, run };

/// Characters of `bro_` or another word before the log's name in `SOURCE`.
const PREFIX_CHARACTERS: usize = 4;

/// What the envelope may have left in the record.
const LEFT_OVERS: [&str; 4] = ["resp_cc", "FILE_NAME", "MESSAGE", "SOURCE"];

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !envelope::is_custom(event, "bro") {
        return Ok(Outcome::Unchanged);
    }
    let Some(source) = event.member_str("SOURCE") else { return Ok(Outcome::Unchanged) };
    let log: String = source.chars().skip(PREFIX_CHARACTERS).collect();
    let host = event.member_str("HOST_FROM").map(str::to_owned);
    envelope::open(event, "MESSAGE")?;
    let header = Header { kind: "nsm", category: "bro", eventsource: "nsm", source: &log };
    envelope::rebuild(event, &["details", "rawdetails"], &header, context)?;
    event.set_member("customendpoint", "bro")?;
    if let Some(host) = host {
        event.set_member("hostname", &host)?;
    }
    for key in LEFT_OVERS {
        event.remove(&detail_path(key));
    }
    epoch::set_times(event, zeek::written(event).unwrap_or(context.now))?;
    zeek::name_ends(event)?;
    zeek::describe(event, &log)?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::BRO_FIXUP;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn a_line_that_is_no_json_is_kept_whole() {
        check(
            &BRO_FIXUP,
            r#"{"customendpoint":true,"category":"bro","SOURCE":"bro_odd","MESSAGE":"{","HOST_FROM":"nsm1","DATE":"x"}"#,
            r#"{"customendpoint":"bro","category":"bro","hostname":"nsm1","source":"odd","type":"nsm","eventsource":"nsm","severity":"INFO","mozdefhostname":"mozdef.test",
                "receivedtimestamp":"2020-03-04T05:06:07+00:00","utctimestamp":"2020-03-04T05:06:07+00:00","timestamp":"2020-03-04T05:06:07+00:00","details":{},
                "rawdetails":{"customendpoint":true,"category":"bro","SOURCE":"bro_odd","MESSAGE":"{","HOST_FROM":"nsm1","DATE":"x"}}"#,
        );
    }

    #[test]
    fn a_notice_takes_indicators_from_its_text() {
        let out = crate::builtin::testing::run_with(
            &BRO_FIXUP,
            r#"{"customendpoint":"","category":"bro","SOURCE":"bro_notice","MESSAGE":"{\"note\":\"N\",\"sub\":\"10.0.0.1 and 10.0.0.2\",\"actions\":\"Notice::ACTION_LOG\",\"resp_cc\":\"US\"}"}"#,
            None,
        );
        let out: serde_json::Value = serde_json::from_str(&out.to_json()).unwrap();
        assert_eq!(out["details"]["indicators"], serde_json::json!(["10.0.0.1", "10.0.0.2"]));
        assert_eq!(out["details"].get("resp_cc"), None);
        assert_eq!(out["summary"], "N source unknown destination unknown port unknown");
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"category":"bro","customendpoint":true}"#,
            r#"{"category":"bro","SOURCE":"bro_conn"}"#,
        ] {
            check_unchanged(&BRO_FIXUP, event);
        }
    }
}
