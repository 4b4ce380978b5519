//! Lines of PAM's `pam_unix`, which sshd, su and sudo share.
//!
//! In: one line. Out: who, whom, from where. Never: more than one pass.

/// `pam_unix(<service>:<kind>): <text>`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PamLine<'l> {
    /// `sshd`, `su`, `su-l`, `sudo`…
    pub(super) service: &'l str,
    /// What happened.
    pub(super) event: PamEvent<'l>,
}

/// What PAM tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PamEvent<'l> {
    /// `session opened for user <user> by [<by>](uid=<uid>)` or `session closed for user <user>`.
    Session {
        /// `opened` or `closed`.
        status: &'l str,
        /// Whose session it is.
        user: &'l str,
        /// Who asked for it.
        by: Option<&'l str>,
        /// The number of who asked for it.
        uid: Option<&'l str>,
    },
    /// `authentication failure; logname=… uid=… euid=… tty=… ruser=… rhost=… user=…`.
    Failure {
        /// Who asked: `ruser`, else `logname`.
        by: Option<&'l str>,
        /// The number of who asked.
        uid: Option<&'l str>,
        /// The terminal.
        tty: Option<&'l str>,
        /// The remote host, a name or an address.
        host: Option<&'l str>,
        /// Who was to be authenticated.
        user: Option<&'l str>,
    },
}

/// Reads a `pam_unix` line; `None` for everything else.
pub(super) fn parse(line: &str) -> Option<PamLine<'_>> {
    let (service, rest) = line.strip_prefix("pam_unix(")?.split_once(':')?;
    let (kind, text) = rest.split_once("): ")?;
    let event = match kind {
        "session" => session(text)?,
        "auth" => failure(text.strip_prefix("authentication failure; ")?),
        _ => return None,
    };
    Some(PamLine { service, event })
}

fn session(text: &str) -> Option<PamEvent<'_>> {
    let (status, rest) = text.strip_prefix("session ")?.split_once(" for user ")?;
    if !matches!(status, "opened" | "closed") {
        return None;
    }
    let mut words = rest.split_whitespace();
    // Newer versions write `root(uid=0)`.
    let user = words.next()?.split('(').next()?;
    let mut by = None;
    let mut uid = None;
    if words.next() == Some("by") {
        let (name, number) = words.next()?.split_once("(uid=")?;
        by = Some(name).filter(|name| !name.is_empty());
        uid = number.strip_suffix(')');
    }
    Some(PamEvent::Session { status, user, by, uid })
}

fn failure(text: &str) -> PamEvent<'_> {
    let value = |key: &str| {
        let found = text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.filter(|value| !value.is_empty())
    };
    PamEvent::Failure {
        by: value("ruser").or_else(|| value("logname")),
        uid: value("uid"),
        tty: value("tty"),
        host: value("rhost"),
        user: value("user"),
    }
}

#[cfg(test)]
mod tests {
    use super::{PamEvent, PamLine, parse};

    #[test]
    fn sessions() {
        let opened = |service, user, by, uid| {
            Some(PamLine { service, event: PamEvent::Session { status: "opened", user, by, uid } })
        };
        assert_eq!(
            parse("pam_unix(su:session): session opened for user root by alice(uid=1000)"),
            opened("su", "root", Some("alice"), Some("1000"))
        );
        assert_eq!(
            parse("pam_unix(su-l:session): session opened for user root(uid=0) by (uid=0)"),
            opened("su-l", "root", None, Some("0"))
        );
        let closed = PamEvent::Session { status: "closed", user: "u", by: None, uid: None };
        assert_eq!(
            parse("pam_unix(sshd:session): session closed for user u"),
            Some(PamLine { service: "sshd", event: closed })
        );
    }

    #[test]
    fn failures() {
        let line = "pam_unix(sudo:auth): authentication failure; logname=alice uid=1000 euid=0 tty=/dev/pts/0 ruser= rhost=  user=root";
        let event = PamEvent::Failure {
            by: Some("alice"),
            uid: Some("1000"),
            tty: Some("/dev/pts/0"),
            host: None,
            user: Some("root"),
        };
        assert_eq!(parse(line), Some(PamLine { service: "sudo", event }));
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            "pam_unix(",
            "pam_unix(sshd:auth): check pass; user unknown",
            "pam_unix(sshd:session): session lost for user x",
            "pam_unix(sshd:session): session opened for user ",
            "pam_unix(su:session): session opened for user a by b",
            "pam_systemd(su:session): x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
