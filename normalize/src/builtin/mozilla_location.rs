//! mozilla_location: the site that a host name tells, and what kind of site that is.
//!
//! In: events of networks; `details.hostname`, else `hostname`, of the form `a.b.<site>.mozilla.com`; the configured
//! sites. Out: `details.site`, `details.sitetype`. Never: other changes.

use model::event::Event;

use super::details::{detail_str, details};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const MOZILLA_LOCATION: Builtin =
    Builtin { name: "mozilla_location", registration: &["network", "netflow"], priority: 5, run };

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let host = detail_str(event, "hostname").or_else(|| event.member_str("hostname"));
    let Some(site) = host.and_then(site).map(str::to_owned) else { return Ok(Outcome::Unchanged) };
    // What is no object is not replaced.
    if event.member("details").is_some() && details(event).is_none() {
        return Ok(Outcome::Unchanged);
    }
    let kind = if context.sites.datacenters.contains(&site) {
        "datacenter"
    } else if context.sites.offices.contains(&site) {
        "office"
    } else {
        "unknown"
    };
    event.set_in("details", "site", &site)?;
    event.set_in("details", "sitetype", kind)?;
    Ok(Outcome::Changed)
}

fn site(host: &str) -> Option<&str> {
    let labels = host.split('.').collect::<Vec<_>>();
    match labels[..] {
        [_, _, site, "mozilla", _] => Some(site),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{MOZILLA_LOCATION, site};
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn the_third_label_is_the_site() {
        for (host, expected) in [
            ("sw1.private.abc1.mozilla.com", Some("abc1")),
            ("sw1.abc1.mozilla.com", None),
            ("a.sw1.private.abc1.mozilla.com", None),
            ("sw1.private.abc1.example.com", None),
            ("....", None),
            ("", None),
        ] {
            assert_eq!(site(host), expected, "{host}");
        }
    }

    #[test]
    fn details_name_the_host_before_the_event_does() {
        check(
            &MOZILLA_LOCATION,
            r#"{"hostname":"h.private.dc1.mozilla.com","details":{"hostname":"h.private.of1.mozilla.com"}}"#,
            r#"{"hostname":"h.private.dc1.mozilla.com","details":{"hostname":"h.private.of1.mozilla.com","site":"of1","sitetype":"office"}}"#,
        );
        check(
            &MOZILLA_LOCATION,
            r#"{"hostname":"h.private.xyz.mozilla.com"}"#,
            r#"{"hostname":"h.private.xyz.mozilla.com","details":{"site":"xyz","sitetype":"unknown"}}"#,
        );
        check_unchanged(&MOZILLA_LOCATION, r#"{"hostname":"h.private.dc1.mozilla.com","details":"x"}"#);
    }
}
