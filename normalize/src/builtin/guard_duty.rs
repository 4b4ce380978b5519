//! guardDuty: findings of Amazon GuardDuty, from AWS's many shapes into few names.
//!
//! In: events of source `guardduty` with the finding in `details`. Out: a new event with the fields of the finding's
//! category (`guard_duty_fields`), addresses and ports as other events have them. Never: a failure for what a finding
//! lacks.

use model::event::{EditError, Event, New, Object, Path, Value};

use super::details::{detail, detail_path, detail_str, details, has_detail};
use super::guard_duty_fields::{COMMON, INTERFACE, keeps_interface, maps};
use super::rebuilt::{at, begin, copy, iso, text_at};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const GUARD_DUTY: Builtin =
    Builtin { name: "guardDuty", registration: &["guardduty"], priority: 3, run };

/// Times, by name and path.
const TIMES: [(&str, &str); 4] = [
    ("gdeventcreatedts", "createdAt"),
    ("gdeventupdatedts", "updatedAt"),
    ("gdeventfirstseents", "finding.eventFirstSeen"),
    ("gdeventlastseents", "finding.eventLastSeen"),
];

/// Findings whose source is the other side even when the instance opened the connection.
const BRUTE_FORCE: [&str; 2] =
    ["UnauthorizedAccess:EC2/RDPBruteForce", "UnauthorizedAccess:EC2/SSHBruteForce"];

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("source") != Some("guardduty") || details(event).is_none() {
        return Ok(Outcome::Unchanged);
    }
    let old = begin(event)?;
    let Some(finding) = details(&old) else { return Ok(Outcome::Unchanged) };
    head(event, &old, finding)?;
    let category = text_at(finding, "category").unwrap_or_default();
    copy(finding, COMMON, event)?;
    for map in maps(category) {
        copy(finding, map, event)?;
    }
    interface(event, finding, category)?;
    for (name, path) in TIMES {
        if let Some(time) = at(finding, path).and_then(|time| iso(time, context)) {
            event.set_in("details", name, &time)?;
        }
    }
    tags(event, finding)?;
    if let Some(domain) = text_at(finding, "finding.additionalInfo.domain")
        && has_detail(event, "miscinfo")
    {
        event.set_in("details", "query", domain)?;
    }
    direction(event, category)?;
    Ok(Outcome::Changed)
}

/// Members of the event, and what kind of finding it is.
fn head(event: &mut Event, old: &Event, finding: Object<'_>) -> Result<(), EditError> {
    event.set_member("category", "guardduty")?;
    event.set_member("source", "guardduty")?;
    event.set_member("customendpoint", "")?;
    event.set_member("tags", New::EmptyArray)?;
    let path = Path::from_keys(["tags"]);
    event.push(&path, "aws")?;
    event.push(&path, "guardduty")?;
    match old.member("tags") {
        Some(Value::Array(tags)) => tags.iter().try_for_each(|tag| event.push(&path, tag))?,
        Some(tag @ Value::String(_)) => event.push(&path, tag)?,
        _ => {}
    }
    for (name, path) in [("type", "finding.action.actionType"), ("resourcerole", "finding.resourceRole")] {
        if let Some(text) = text_at(finding, path) {
            event.set_in("details", name, &text.to_lowercase())?;
        }
    }
    if let Some(category) = text_at(finding, "category") {
        event.set_in("details", "finding", category)?;
    }
    let title = at(finding, "title").or_else(|| old.member("summary"));
    title.map_or(Ok(()), |title| event.set_member("summary", title))
}

/// The first network interface of an instance, and the host name that it has.
fn interface(event: &mut Event, finding: Object<'_>, category: &str) -> Result<(), EditError> {
    let interfaces = at(finding, "resource.instanceDetails.networkInterfaces");
    let first = match interfaces {
        Some(Value::Array(list)) => list.get(0),
        other => other,
    };
    let Some(interface) = first.and_then(Value::as_object) else { return Ok(()) };
    if keeps_interface(category) {
        event.set_in("details", "net", Value::Object(interface))?;
    }
    copy(interface, INTERFACE, event)?;
    let name = text_at(interface, "publicDnsName").or_else(|| text_at(interface, "privateDnsName"));
    name.map_or(Ok(()), |name| event.set_member("hostname", name))
}

/// The tags of an instance, keys and values one after the other, in lower case.
fn tags(event: &mut Event, finding: Object<'_>) -> Result<(), EditError> {
    let Some(Value::Array(tags)) = at(finding, "resource.instanceDetails.tags") else { return Ok(()) };
    let path = detail_path("awstags");
    event.set(&path, New::EmptyArray)?;
    for (_, part) in tags.iter().filter_map(Value::as_object).flat_map(Object::iter) {
        if let Some(text) = part.as_str() {
            event.push(&path, &text.to_lowercase())?;
        }
    }
    Ok(())
}

/// Which side is the source, and the instance's own address where the finding does not say it.
fn direction(event: &mut Event, category: &str) -> Result<(), EditError> {
    if !has_detail(event, "direction") {
        event.set_in("details", "direction", "INBOUND")?;
    }
    let is_outbound = detail_str(event, "direction") == Some("OUTBOUND");
    if is_outbound && BRUTE_FORCE.contains(&category) {
        swap(event, "sourceipaddress", "destinationipaddress")?;
        event.remove(&detail_path("sourceport"));
        event.remove(&detail_path("destinationport"));
    }
    let own = if is_outbound { "sourceipaddress" } else { "destinationipaddress" };
    if !has_detail(event, own) {
        event.copy(&detail_path("publicip"), &detail_path(own))?;
    }
    Ok(())
}

/// Exchanges two values of `details`; one that is absent leaves the other's place empty.
fn swap(event: &mut Event, one: &str, other: &str) -> Result<(), EditError> {
    let text = |name: &str| detail(event, name).and_then(Value::as_str).map(str::to_owned);
    for (name, value) in [(one, text(other)), (other, text(one))] {
        match value {
            Some(value) => event.set_in("details", name, &value)?,
            None => drop(event.remove(&detail_path(name))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::GUARD_DUTY;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn a_finding_that_lacks_nearly_all_is_still_an_event() {
        check(
            &GUARD_DUTY,
            r#"{"source":"guardduty","tags":"t","summary":"s","details":{}}"#,
            r#"{"source":"guardduty","category":"guardduty","customendpoint":"","tags":["aws","guardduty","t"],"summary":"s",
                "details":{"direction":"INBOUND"}}"#,
        );
        check_unchanged(&GUARD_DUTY, r#"{"source":"guardduty","details":[]}"#);
        check_unchanged(&GUARD_DUTY, r#"{"source":"x","details":{"category":"guardduty"}}"#);
    }

    #[test]
    fn brute_force_from_the_instance_has_it_as_the_source() {
        check(
            &GUARD_DUTY,
            r#"{"source":"guardduty","details":{"category":"UnauthorizedAccess:EC2/SSHBruteForce","title":"T",
                "resource":{"instanceDetails":{"networkInterfaces":[{"publicIp":"198.51.100.9","privateDnsName":"p"}]}},
                "finding":{"action":{"actionType":"NETWORK_CONNECTION","networkConnectionAction":{"connectionDirection":"OUTBOUND",
                    "remoteIpDetails":{"ipAddressV4":"192.0.2.1"},"remotePortDetails":{"port":22},"localPortDetails":{"port":9}}}}}}"#,
            r#"{"source":"guardduty","category":"guardduty","customendpoint":"","tags":["aws","guardduty"],"summary":"T","hostname":"p",
                "details":{"type":"network_connection","finding":"UnauthorizedAccess:EC2/SSHBruteForce","direction":"OUTBOUND",
                    "net":{"publicIp":"198.51.100.9","privateDnsName":"p"},"publicip":"198.51.100.9","privatednsname":"p",
                    "sourceipaddress":"198.51.100.9","destinationipaddress":"192.0.2.1"}}"#,
        );
    }
}
