//! github_webhooks: what GitHub's webhooks say happened to repositories and organisations.
//!
//! In: events tagged `githubeventsqs`, with the kind in `details.event` and GitHub's record in `details.body`. Out: a
//! new event with the fields of its kind (`github_fields`) and a summary; a drop, counted under this name, of kinds
//! that are not known. Never: changes to events without the tag.

use model::event::{EditError, Event, New, Path, Value};

use super::details::{detail, details};
use super::github_fields::{FIELDS, known};
use super::python_text::push_plain;
use super::rebuilt::{at, begin, copy, has_tag, iso, text_at};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const GITHUB_WEBHOOKS: Builtin =
    Builtin { name: "github_webhooks", registration: &["githubeventsqs"], priority: 10, run };

/// Parts of the summary: the field, and what stands before it.
const SUMMARY: [(&str, &str); 9] = [
    ("status", ""),
    ("action", ""),
    ("ref_type", ""),
    ("repo_name", "on repo: "),
    ("alert_note", "for: "),
    ("alert_package", "package: "),
    ("team_name", "team: "),
    ("blocked_user_login", "user: "),
    ("org_login", "in org: "),
];

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !has_tag(event, "githubeventsqs") {
        return Ok(Outcome::Unchanged);
    }
    let kind = details(event).and_then(|details| text_at(details, "event"));
    let Some(kind) = kind.and_then(known) else { return Ok(Outcome::Dropped) };
    let old = begin(event)?;
    let Some(record) = details(&old) else { return Ok(Outcome::Dropped) };
    event.set_member("category", "github")?;
    event.set_member("eventsource", "githubeventsqs")?;
    event.set_member("source", kind)?;
    event.set_member("tags", New::EmptyArray)?;
    for tag in ["github", "webhook"] {
        event.push(&Path::from_keys(["tags"]), tag)?;
    }
    copy(record, &[("request_id", "request_id")], event)?;
    if let Some(body) = at(record, "body").and_then(Value::as_object) {
        for (_, map) in FIELDS.iter().filter(|(kinds, _)| kinds.contains(&kind)) {
            copy(body, map, event)?;
        }
    }
    if kind == "push" {
        times(event, context)?;
    }
    let summary = summary(event, kind);
    event.set_member("summary", &summary)?;
    Ok(Outcome::Changed)
}

/// A push happened when its last commit was made.
fn times(event: &mut Event, context: &Context<'_>) -> Result<(), EditError> {
    let Some(committed) = detail(event, "commit_ts") else { return Ok(()) };
    let Some(time) = iso(committed, context) else { return Ok(()) };
    event.copy(&Path::from_keys(["details", "commit_ts"]), &Path::from_keys(["timestamp"]))?;
    event.set_member("utctimestamp", &time)
}

fn summary(event: &Event, kind: &str) -> String {
    let mut summary = match kind {
        "installation" => "github app: installation ".to_owned(),
        "public" => "github : change from private to public ".to_owned(),
        _ => format!("github: {kind}: "),
    };
    for (field, words) in SUMMARY {
        if let Some(value) = detail(event, field) {
            summary.push_str(words);
            push_plain(&mut summary, value);
            summary.push(' ');
        }
    }
    if let Some(user) = detail(event, "username") {
        summary.push_str("triggered by user: ");
        push_plain(&mut summary, user);
    }
    summary.truncate(summary.trim_end().len());
    summary
}

#[cfg(test)]
mod tests {
    use super::GITHUB_WEBHOOKS;
    use crate::builtin::testing::{check, check_unchanged, outcome_of};
    use crate::plugin::Outcome;

    #[test]
    fn a_push_has_the_time_of_its_commit() {
        check(
            &GITHUB_WEBHOOKS,
            r#"{"tags":["githubeventsqs"],"receivedtimestamp":"R","utctimestamp":"T","details":{"event":"push","body":{
                "ref":"refs/heads/x","head_commit":{"timestamp":"2018-10-31T18:58:04-07:00"},"sender":{"login":"u"},
                "repository":{"name":"r","private":false,"updated_at":"2018-11-01T00:51:49Z"}}}}"#,
            r#"{"tags":["github","webhook"],"receivedtimestamp":"R","timestamp":"2018-10-31T18:58:04-07:00",
                "utctimestamp":"2018-11-01T01:58:04+00:00","category":"github","eventsource":"githubeventsqs","source":"push",
                "summary":"github: push: on repo: r triggered by user: u","details":{"ref":"refs/heads/x","username":"u",
                "commit_ts":"2018-10-31T18:58:04-07:00","repo_name":"r","repo_private":false,"repo_updated_at":"2018-11-01T00:51:49Z"}}"#,
        );
    }

    #[test]
    fn unknown_kinds_are_dropped_and_other_events_left_alone() {
        for details in ["{}", r#"{"event":"star","body":{}}"#, "7"] {
            let event = format!(r#"{{"tags":"githubeventsqs","details":{details}}}"#);
            assert_eq!(outcome_of(&GITHUB_WEBHOOKS, &event), Outcome::Dropped, "{details}");
        }
        check_unchanged(
            &GITHUB_WEBHOOKS,
            r#"{"tags":["x"],"processname":"githubeventsqs","details":{"event":"push"}}"#,
        );
    }
}
