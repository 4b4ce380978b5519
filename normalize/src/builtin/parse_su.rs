//! su: who became whom, or tried to.
//!
//! In: lines of the program `su`. Out: `details.{originuser, username, uid, status}`;
//! `username` is the user become, `originuser` the user before. Beyond MozDef's plugin:
//! failures (`status` `failed` or `authentication failure`, `success` false) and the
//! lines that su itself writes. Never: changes to lines that it does not know.

use model::event::Event;

use super::details::{Fields, line_of};
use super::pam::{self, PamEvent};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table. MozDef registered it to `sshd`, where it never met a line of su.
pub(super) const PARSE_SU: Builtin =
    Builtin { name: "parse_su", registration: &["su", "su-l"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let line = line_of(event, &["su", "su-l"]);
    let Some((fields, success)) = line.as_deref().and_then(parse) else { return Ok(Outcome::Unchanged) };
    fields.write_with_success(event, success)?;
    Ok(Outcome::Changed)
}

/// The fields of a line, and whether the change of user succeeded where the line says so.
fn parse(line: &str) -> Option<(Fields<'_>, Option<bool>)> {
    let Some(pam) = pam::parse(line) else { return own_line(line) };
    if pam.service != "su" && !pam.service.starts_with("su-") {
        return None;
    }
    match pam.event {
        PamEvent::Session { status, user, by, uid } => {
            let fields = Fields::new().or_null("originuser", by).text("status", status);
            Some((fields.or_null("uid", uid).text("username", user), None))
        }
        PamEvent::Failure { by, uid, tty, user, .. } => {
            let fields = Fields::new().or_null("originuser", by).text("status", "authentication failure");
            Some((fields.or_null("uid", uid).or_null("username", user).some("tty", tty), Some(false)))
        }
    }
}

/// The two dialects of su: `FAILED SU (to root) alice on pts/0` and `FAILED su for root by alice`.
fn own_line(line: &str) -> Option<(Fields<'_>, Option<bool>)> {
    let (status, success, rest) =
        if let Some(rest) = line.strip_prefix("FAILED SU ").or_else(|| line.strip_prefix("FAILED su ")) {
            ("failed", false, rest)
        } else if let Some(rest) = line.strip_prefix("Successful su ") {
            ("succeeded", true, rest)
        } else {
            ("succeeded", true, line.starts_with("(to ").then_some(line)?)
        };
    let (user, by, tty) = if let Some(rest) = rest.strip_prefix("for ") {
        let (user, by) = rest.split_once(" by ")?;
        (user, by, None)
    } else {
        let (user, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
        let (by, tty) = rest.rsplit_once(" on ")?;
        (user, by, Some(tty))
    };
    let fields =
        Fields::new().text("originuser", by).text("status", status).text("username", user).some("tty", tty);
    Some((fields, Some(success)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(line: &str, by: Option<&str>, user: &str, status: &str, success: Option<bool>) {
        let (fields, succeeded) = parse(line).unwrap_or_else(|| panic!("not read: {line}"));
        assert_eq!(
            (fields.get("originuser"), fields.get("username"), fields.get("status")),
            (by, Some(user), Some(status)),
            "{line}"
        );
        assert_eq!(succeeded, success, "{line}");
    }

    #[test]
    fn sessions_and_attempts() {
        check(
            "pam_unix(su:session): session opened for user root by alice(uid=1000)",
            Some("alice"),
            "root",
            "opened",
            None,
        );
        check("pam_unix(su-l:session): session closed for user root", None, "root", "closed", None);
        check(
            "pam_unix(su:auth): authentication failure; logname=alice uid=1000 euid=0 tty=pts/0 ruser=alice rhost=  user=root",
            Some("alice"),
            "root",
            "authentication failure",
            Some(false),
        );
        check("FAILED SU (to root) alice on pts/0", Some("alice"), "root", "failed", Some(false));
        check("FAILED su for root by alice", Some("alice"), "root", "failed", Some(false));
        check("Successful su for root by alice", Some("alice"), "root", "succeeded", Some(true));
        check("(to root) alice on pts/0", Some("alice"), "root", "succeeded", Some(true));
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            "+ /dev/pts/0 root:root",
            "FAILED SU",
            "FAILED SU (to root",
            "Successful su for root",
            "(to x",
            "pam_unix(sudo:session): session closed for user u",
            "pam_systemd(su:session): Cannot create session",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
