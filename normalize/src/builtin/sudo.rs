//! sudo: who ran what as whom, or was refused. MozDef had no such plugin.
//!
//! In: lines of the program `sudo`. Out: `details.{username, originuser, destinationuser,
//! tty, pwd, command, status, reason, success}`; `username` and `originuser` are who asked,
//! `destinationuser` whom he wanted to be. `status` is `allowed`, `denied` (not in sudoers,
//! command not allowed), `failed` (passwords), `authentication failure`, `opened` or
//! `closed`. Never: changes to lines that it does not know.

use model::event::Event;

use super::details::{Fields, line_of};
use super::pam::{self, PamEvent};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SUDO: Builtin = Builtin { name: "sudo", registration: &["sudo"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let line = line_of(event, &["sudo"]);
    let Some((fields, success)) = line.as_deref().and_then(parse) else { return Ok(Outcome::Unchanged) };
    fields.write_with_success(event, success)?;
    Ok(Outcome::Changed)
}

/// The fields of a line, and whether sudo did what was asked where the line says so.
fn parse(line: &str) -> Option<(Fields<'_>, Option<bool>)> {
    let Some(pam) = pam::parse(line) else { return command(line) };
    if pam.service != "sudo" && !pam.service.starts_with("sudo-") {
        return None;
    }
    match pam.event {
        PamEvent::Session { status, user, by, uid } => {
            let fields =
                Fields::new().some("username", by).some("originuser", by).text("destinationuser", user);
            Some((fields.some("uid", uid).text("status", status), None))
        }
        PamEvent::Failure { by, uid, tty, user, .. } => {
            let who = by.or(user);
            let fields =
                Fields::new().some("username", who).some("originuser", who).some("uid", uid).some("tty", tty);
            Some((fields.text("status", "authentication failure"), Some(false)))
        }
    }
}

/// `<user> : [<reason> ; ]TTY=… ; PWD=… ; USER=… ; COMMAND=…`; the command is the rest of the line, whatever is in it.
fn command(line: &str) -> Option<(Fields<'_>, Option<bool>)> {
    let (who, rest) = line.split_once(" : ")?;
    let (head, command) = match rest.split_once("COMMAND=") {
        Some((head, command)) => (head, Some(command)),
        None => (rest, None),
    };
    let mut fields = Fields::new().text("username", who.trim()).text("originuser", who.trim());
    let mut reason = None;
    let mut known = 0;
    for (index, part) in head.split(" ; ").enumerate() {
        let part = part.trim_end_matches([' ', ';']);
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let name = match key {
            "TTY" => "tty",
            "PWD" => "pwd",
            "USER" => "destinationuser",
            "GROUP" => "destinationgroup",
            // HOST, TSID, ENV, CHROOT and what later versions add.
            _ if index > 0 || key.bytes().all(|c| c.is_ascii_uppercase()) => continue,
            _ => {
                reason = Some(part);
                continue;
            }
        };
        known += 1;
        fields = fields.text(name, value);
    }
    if known == 0 || who.trim().contains(' ') {
        return None;
    }
    let status = match reason {
        None => "allowed",
        Some(reason) if reason.contains("password") && !reason.contains("required") => "failed",
        Some(_) => "denied",
    };
    let fields = fields.some("command", command).text("status", status).some("reason", reason);
    Some((fields, Some(reason.is_none())))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(line: &str, success: Option<bool>, expected: &[(&str, &str)]) {
        let (fields, succeeded) = parse(line).unwrap_or_else(|| panic!("not read: {line}"));
        assert_eq!(succeeded, success, "{line}");
        for (name, value) in expected {
            assert_eq!(fields.get(name), Some(*value), "{name} of {line}");
        }
    }

    #[test]
    fn commands() {
        check(
            "alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh -c a ; b=1 : c",
            Some(true),
            &[
                ("username", "alice"),
                ("originuser", "alice"),
                ("destinationuser", "root"),
                ("tty", "pts/0"),
                ("pwd", "/home/alice"),
                ("command", "/bin/sh -c a ; b=1 : c"),
                ("status", "allowed"),
            ],
        );
        check(
            "alice : HOST=h ; TTY=unknown ; PWD=/ ; USER=bob ; GROUP=g ; TSID=00001 ; ENV=A=1 ; COMMAND=list",
            Some(true),
            &[("tty", "unknown"), ("destinationuser", "bob"), ("destinationgroup", "g"), ("command", "list")],
        );
    }

    #[test]
    fn refusals() {
        check(
            "alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            Some(false),
            &[("status", "failed"), ("reason", "3 incorrect password attempts"), ("command", "/bin/ls")],
        );
        check(
            "alice : 1 incorrect password attempt ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            Some(false),
            &[("status", "failed")],
        );
        check(
            "alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            Some(false),
            &[("status", "denied"), ("username", "alice")],
        );
        check(
            "alice : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            Some(false),
            &[("status", "denied")],
        );
        check(
            "alice : a password is required ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            Some(false),
            &[("status", "denied")],
        );
    }

    #[test]
    fn pam_lines() {
        check(
            "pam_unix(sudo:auth): authentication failure; logname=alice uid=1000 euid=0 tty=/dev/pts/0 ruser=alice rhost=  user=alice",
            Some(false),
            &[
                ("username", "alice"),
                ("originuser", "alice"),
                ("uid", "1000"),
                ("tty", "/dev/pts/0"),
                ("status", "authentication failure"),
            ],
        );
        check(
            "pam_unix(sudo:session): session opened for user root by alice(uid=1000)",
            None,
            &[("originuser", "alice"), ("destinationuser", "root"), ("uid", "1000"), ("status", "opened")],
        );
        check(
            "pam_unix(sudo:session): session opened for user root(uid=0) by (uid=1000)",
            None,
            &[("destinationuser", "root"), ("uid", "1000")],
        );
        check(
            "pam_unix(sudo:session): session closed for user root",
            None,
            &[("destinationuser", "root"), ("status", "closed")],
        );
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            " : ",
            "alice : ",
            "alice : hello",
            "error: a : TTY=x",
            "alice : (command continued) x",
            "pam_unix(su:session): session closed for user u",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
