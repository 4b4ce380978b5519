//! cloudtrail: values whose type changes from call to call become `{"raw_value": "<JSON>"}`,
//! so that the index keeps one type for each field.
//!
//! In: events with `source` `cloudtrail`, keys in lower case. Out: 73 paths wrapped where
//! present; `requestparameters.htmlpart` cut. Never: a wrapped null.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Object, Path};

use super::details::{cut_at, details};
use super::python_text::push_json;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const CLOUDTRAIL: Builtin =
    Builtin { name: "cloudtrail", registration: &["cloudtrail"], priority: 10, run };

/// Characters of a mail template that are kept.
const HTML_PART_CHARACTERS_MAX: usize = 4095;

/// Directly under `details`.
const TOP: &[&str] = &["additionaleventdata", "apiversion", "serviceeventdetails"];

/// Under `details.requestparameters`.
const REQUEST: &[&str] = &[
    "attribute",
    "authparameters",
    "bucketpolicy.statement.principal.service",
    "bucketpolicy.statement.principal.aws",
    "callerreference",
    "description",
    "describecapacityreservationsrequest",
    "describecoippoolsrequest",
    "describeegressonlyinternetgatewaysrequest",
    "describefastsnapshotrestoresrequest",
    "describeflowlogsrequest",
    "describeflowlogsrequest.filter.value",
    "describehostsrequest",
    "describeinstancetypeofferingsrequest",
    "describeinstancetypesrequest",
    "describeipv6poolsrequest",
    "describelaunchtemplatesrequest",
    "describenatgatewaysrequest",
    "describepublicipv4poolsrequest",
    "describescheduledinstancesrequest",
    "describespotfleetrequestsrequest",
    "describevpcendpointconnectionnotificationsrequest",
    "describevpcendpointsrequest",
    "describevpcendpointsrequest.filter",
    "describevpcendpointsrequest.filter.value",
    "describevpcendpointsrequest.vpcendpointid",
    "describevpcendpointserviceconfigurationsrequest",
    "describevpcendpointservicesrequest",
    "disableapitermination",
    "distributionconfig.callerreference",
    "domainname",
    "domainnames",
    "ebsoptimized",
    "filter",
    "groupdescription",
    "iaminstanceprofile",
    "invalidationbatch.callerreference",
    "imageid",
    "instancetype",
    "logging",
    "logstreamname",
    "metrics",
    "notification",
    "notificationconfiguration",
    "rule",
    "schema",
    "sort",
    "source",
    "tagging",
    "vpc",
];

/// Under `details.responseelements`.
const RESPONSE: &[&str] = &[
    "availabilityzones",
    "createddate",
    "creationdate",
    "creationtime",
    "credentials",
    "dbsubnetgroup",
    "distribution.distributionconfig.callerreference",
    "endpoint",
    "findings.service.additionalinfo.unusual",
    "invalidation.invalidationbatch.callerreference",
    "lastmodified",
    "lastmodifieddate",
    "policy",
    "responseparameters.method.response.header.access-control-allow-headers",
    "responseparameters.method.response.header.access-control-allow-methods",
    "responseparameters.method.response.header.access-control-allow-origin",
    "role",
    "securitygroups",
    "state",
    "subnets",
];

/// A path that is wrapped, and where its text goes.
struct Wrapped {
    /// The first key below the group's object; sorted by it, so that a key of an event finds its paths fast.
    first: &'static str,
    value: Path,
    raw: Path,
}

static GROUPS: LazyLock<[(&str, Vec<Wrapped>); 2]> = LazyLock::new(|| {
    [
        ("requestparameters", group("details.requestparameters.", REQUEST)),
        ("responseelements", group("details.responseelements.", RESPONSE)),
    ]
});

static TOP_WRAPPED: LazyLock<Vec<Wrapped>> = LazyLock::new(|| group("details.", TOP));

static HTML_PART: LazyLock<Path> = LazyLock::new(|| Path::new("details.requestparameters.htmlpart"));

fn group(prefix: &str, paths: &'static [&'static str]) -> Vec<Wrapped> {
    let mut wrapped: Vec<Wrapped> = paths
        .iter()
        .map(|path| Wrapped {
            first: path.split('.').next().unwrap_or(path),
            value: Path::new(&format!("{prefix}{path}")),
            raw: Path::new(&format!("{prefix}{path}.raw_value")),
        })
        .collect();
    // Stable: of two paths with the same first key the shorter stays in front.
    wrapped.sort_by_key(|entry| entry.first);
    wrapped
}

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("source") != Some("cloudtrail") {
        return Ok(Outcome::Unchanged);
    }
    let Some(details) = details(event) else { return Ok(Outcome::Unchanged) };
    let (top, groups) = (&*TOP_WRAPPED, &*GROUPS);
    let mut hits: Vec<&Wrapped> = top.iter().filter(|entry| details.get(entry.first).is_some()).collect();
    for (name, entries) in groups {
        if let Some(object) = details.get(name).and_then(|value| value.as_object()) {
            find(object, entries, &mut hits);
        }
    }
    let mut changed = cut_at(event, &HTML_PART, HTML_PART_CHARACTERS_MAX)?;
    for hit in hits {
        changed |= wrap(event, hit)?;
    }
    Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
}

/// Adds the entries that begin with a key of the object.
fn find(object: Object<'_>, entries: &'static [Wrapped], hits: &mut Vec<&'static Wrapped>) {
    for (key, _) in object.iter() {
        let from = entries.partition_point(|entry| entry.first < key);
        hits.extend(entries.iter().skip(from).take_while(|entry| entry.first == key));
    }
}

/// A path whose value was wrapped with one before it is gone by now.
fn wrap(event: &mut Event, entry: &Wrapped) -> Result<bool, EditError> {
    let Some(value) = event.get(&entry.value).filter(|value| !value.is_null()) else { return Ok(false) };
    let mut text = String::new();
    push_json(&mut text, value);
    event.set(&entry.value, New::EmptyObject)?;
    event.set(&entry.raw, &text)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use model::event::{Event, Path};

    use super::{CLOUDTRAIL, REQUEST, RESPONSE, TOP};
    use crate::builtin::testing::{check, check_unchanged, run_with};

    #[test]
    fn each_of_the_73_paths_is_wrapped() {
        let under = |prefix: &str, paths: &[&str]| {
            paths.iter().map(|path| format!("details.{prefix}{path}")).collect::<Vec<_>>()
        };
        let all =
            [under("", TOP), under("requestparameters.", REQUEST), under("responseelements.", RESPONSE)]
                .concat();
        assert_eq!(all.len(), 73);
        for path in all {
            let mut event = Event::from_json(r#"{"source":"cloudtrail"}"#).unwrap();
            event.set(&Path::new(&path), "é").unwrap();
            let out = run_with(&CLOUDTRAIL, &event.to_json(), None).to_json();
            // Four paths lie within another one, which takes them along.
            assert!(out.contains(r#"{"raw_value":""#) && out.contains(r"\u00e9"), "{path}: {out}");
        }
    }

    #[test]
    fn a_path_inside_a_wrapped_one_goes_with_it() {
        check(
            &CLOUDTRAIL,
            r#"{"source":"cloudtrail","details":{"requestparameters":{"describevpcendpointsrequest":{"filter":{"value":1}}}}}"#,
            r#"{"source":"cloudtrail","details":{"requestparameters":{"describevpcendpointsrequest":{"raw_value":"{\"filter\": {\"value\": 1}}"}}}}"#,
        );
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"source":"cloudtrail"}"#,
            r#"{"source":"cloudtrail","details":7}"#,
            r#"{"source":"cloudtrail","details":{"requestparameters":null,"responseelements":[],"additionaleventdata":null}}"#,
            r#"{"source":"x","details":{"apiversion":"1"}}"#,
        ] {
            check_unchanged(&CLOUDTRAIL, event);
        }
    }
}
