//! OpenSSH daemon lines become logins: who, how, from where, and whether it was let in.
//!
//! In: events of the process `sshd`. Out: `details.{authstatus, authmethod, username,
//! sourceipaddress, sourceport, …}`. Never: changes to lines that it does not know.
//!
//! Beyond MozDef's plugin: IPv6, `Failed …`, attempts that PAM or the limit of
//! tries ended, users of closed connections, and `message repeated N times`.

use model::event::Event;

use super::address::is_address;
use super::details::Fields;
use super::pam::{self, PamEvent};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const PARSE_SSHD: Builtin =
    Builtin { name: "parse_sshd", registration: &["sshd", "sshd-session"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !matches!(event.member_str("processname"), Some("sshd" | "sshd-session")) {
        return Ok(Outcome::Unchanged);
    }
    let Some(line) = event.member_str("summary").map(|line| line.trim().to_owned()) else {
        return Ok(Outcome::Unchanged);
    };
    let Some(fields) = parse(&line).filter(|fields| !fields.is_empty()) else {
        return Ok(Outcome::Unchanged);
    };
    fields.write_to(event)?;
    Ok(Outcome::Changed)
}

/// Reads a line of sshd. `None` when it says nothing about a login.
fn parse(line: &str) -> Option<Fields<'_>> {
    let (first, rest) = line.split_once(' ')?;
    match first {
        "Accepted" => accepted(first, rest),
        "Failed" => failed(first, rest),
        "Postponed" => postponed(rest),
        "Starting" => starting_session(rest),
        "Invalid" => invalid_user(rest),
        "Received" => received_disconnect(rest),
        "error:" => too_many_attempts(rest),
        "message" => repeated(rest),
        "Connection" | "Disconnected" | "Disconnecting" => closed(rest),
        "input_userauth_request:" => {
            let user = rest.strip_prefix("invalid user ")?;
            Some(Fields::new().text("username", user.strip_suffix(" [preauth]").unwrap_or(user)))
        }
        _ => pam_line(line),
    }
}

/// `<what> [<user>] from <address> port <port> <rest>`, split at the last place that reads so:
/// a user name may hold anything, also `from 10.0.0.1 port 22`.
struct Peer<'l> {
    before: &'l str,
    address: &'l str,
    port: &'l str,
    after: &'l str,
}

fn peer(line: &str) -> Option<Peer<'_>> {
    line.rmatch_indices(" port ").find_map(|(at, separator)| {
        let (before, address) = line.get(..at)?.rsplit_once(' ')?;
        let tail = line.get(at + separator.len()..)?;
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let (port, after) = tail.split_at_checked(digits)?;
        (digits > 0 && is_address(address)).then_some(Peer { before, address, port, after })
    })
}

/// `publickey for <user> from`, as it stands before an address.
fn method_and_user<'l>(peer: &Peer<'l>) -> Option<(&'l str, &'l str)> {
    let (method, user) = peer.before.strip_suffix(" from")?.split_once(" for ")?;
    Some((method, user.strip_prefix("invalid user ").unwrap_or(user)))
}

fn accepted<'l>(status: &'l str, rest: &'l str) -> Option<Fields<'l>> {
    let peer = peer(rest)?;
    let (method, user) = method_and_user(&peer)?;
    // ` ssh2: RSA SHA256:…`
    let fingerprint = peer.after.split_once(": ").and_then(|(_, key)| key.split_whitespace().nth(1));
    let fields = Fields::new().text("authstatus", status).text("authmethod", method).text("username", user);
    Some(
        fields
            .text("sourceipaddress", peer.address)
            .text("sourceport", peer.port)
            .or_null("rsakeyfingerprint", fingerprint),
    )
}

fn failed<'l>(status: &'l str, rest: &'l str) -> Option<Fields<'l>> {
    let peer = peer(rest)?;
    let (method, user) = method_and_user(&peer)?;
    let fields = Fields::new().text("authstatus", status).text("authmethod", method).text("username", user);
    Some(fields.text("sourceipaddress", peer.address).text("sourceport", peer.port))
}

fn postponed(rest: &str) -> Option<Fields<'_>> {
    let (method, user) = method_and_user(&peer(rest)?)?;
    Some(Fields::new().text("username", user).text("authmethod", method))
}

/// `session: shell on pts/0 for <user> from …`
fn starting_session(rest: &str) -> Option<Fields<'_>> {
    let peer = peer(rest.strip_prefix("session: ")?)?;
    let (what, user) = peer.before.strip_suffix(" from")?.split_once(" for ")?;
    let kind = what.split_whitespace().next()?;
    let device = what.split_once(" on ").map(|(_, device)| device);
    let fields = Fields::new().text("sessiontype", kind).or_null("device", device).text("username", user);
    Some(fields.text("sourceipaddress", peer.address).text("sourceport", peer.port))
}

/// `user <user> from <address>[ port <port>]`
fn invalid_user(rest: &str) -> Option<Fields<'_>> {
    let rest = rest.strip_prefix("user ")?;
    if let Some(peer) = peer(rest) {
        // An empty name leaves ` from`, and a line cut by trimming leaves `from`.
        let user = peer.before.strip_suffix("from")?.trim_end();
        return Some(
            Fields::new()
                .text("username", user)
                .text("sourceipaddress", peer.address)
                .text("sourceport", peer.port),
        );
    }
    let (user, address) = rest.rsplit_once(" from ")?;
    let address = address.split_whitespace().next()?;
    is_address(address).then(|| Fields::new().text("username", user).text("sourceipaddress", address))
}

/// `disconnect from <address>: <code>: …`, or since OpenSSH 7.2 `disconnect from <address> port <port>:<code>: …`.
/// MozDef reads the code of the older form as the port.
fn received_disconnect(rest: &str) -> Option<Fields<'_>> {
    let rest = rest.strip_prefix("disconnect from ")?;
    let (address, tail) = rest.split_once(' ')?;
    let (address, port) = match tail.strip_prefix("port ") {
        Some(port) => (address, port),
        None => (address.strip_suffix(':')?, tail),
    };
    let port = port.split(':').next()?;
    let numeric = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    (numeric && is_address(address))
        .then(|| Fields::new().text("sourceipaddress", address).text("sourceport", port))
}

/// `maximum authentication attempts exceeded for [invalid user ]<user> from …`
fn too_many_attempts(rest: &str) -> Option<Fields<'_>> {
    let peer = peer(rest)?;
    let user =
        peer.before.strip_suffix(" from")?.strip_prefix("maximum authentication attempts exceeded for ")?;
    let user = user.strip_prefix("invalid user ").unwrap_or(user);
    Some(
        Fields::new()
            .text("username", user)
            .text("sourceipaddress", peer.address)
            .text("sourceport", peer.port),
    )
}

/// `repeated <n> times: [ <line>]`, which rsyslog writes.
fn repeated(rest: &str) -> Option<Fields<'_>> {
    let (times, line) = rest.strip_prefix("repeated ")?.split_once(" times: [")?;
    let line = line.trim_start().strip_suffix(']')?;
    if line.starts_with("message ") || !times.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(parse(line)?.text("repeated", times))
}

/// `closed by invalid user <user> <address> port …`: only where a user is named.
fn closed(rest: &str) -> Option<Fields<'_>> {
    let peer = peer(rest)?;
    let named = [" invalid user ", " authenticating user ", " user "]
        .iter()
        .find_map(|word| peer.before.split_once(word));
    let leading = || {
        ["invalid user ", "authenticating user ", "user "]
            .iter()
            .find_map(|word| peer.before.strip_prefix(word))
    };
    let user = named.map(|(_, user)| user).or_else(leading)?;
    Some(
        Fields::new()
            .text("username", user)
            .text("sourceipaddress", peer.address)
            .text("sourceport", peer.port),
    )
}

fn pam_line(line: &str) -> Option<Fields<'_>> {
    let pam = pam::parse(line).filter(|pam| pam.service == "sshd")?;
    match pam.event {
        PamEvent::Session { user, .. } => Some(Fields::new().text("username", user)),
        PamEvent::Failure { host, user, .. } => Some(
            Fields::new()
                .some("username", user)
                .some("sourceipaddress", host.filter(|host| is_address(host))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, &str)]) {
        let fields = parse(line).unwrap_or_else(|| panic!("not read: {line}"));
        for (name, value) in expected {
            assert_eq!(fields.get(name), Some(*value), "{name} of {line}");
        }
    }

    #[track_caller]
    fn login(line: &str, status: &str, method: &str, user: &str, address: &str, port: &str) {
        check(
            line,
            &[
                ("authstatus", status),
                ("authmethod", method),
                ("username", user),
                ("sourceipaddress", address),
                ("sourceport", port),
            ],
        );
    }

    #[test]
    fn logins() {
        login(
            "Failed password for root from 10.0.0.7 port 22 ssh2",
            "Failed",
            "password",
            "root",
            "10.0.0.7",
            "22",
        );
        login(
            "Failed none for invalid user  from 10.0.0.7 port 1 ssh2",
            "Failed",
            "none",
            "",
            "10.0.0.7",
            "1",
        );
        login(
            "Accepted keyboard-interactive/pam for u@d from 2001:db8::1 port 65535 ssh2",
            "Accepted",
            "keyboard-interactive/pam",
            "u@d",
            "2001:db8::1",
            "65535",
        );
        login(
            "Failed password for invalid user a b from 10.0.0.7 port 22 ssh2 from 192.0.2.1 port 40000 ssh2",
            "Failed",
            "password",
            "a b from 10.0.0.7 port 22 ssh2",
            "192.0.2.1",
            "40000",
        );
        check(
            "Accepted publickey for u from 10.0.0.1 port 2 ssh2: ED25519 SHA256:abc/+d",
            &[("rsakeyfingerprint", "SHA256:abc/+d")],
        );
        assert_eq!(
            parse("Accepted password for u from 10.0.0.1 port 2 ssh2").unwrap().get("rsakeyfingerprint"),
            None
        );
    }

    #[test]
    fn attempts_and_ends() {
        check(
            "Invalid user admin from 10.0.0.7 port 5",
            &[("username", "admin"), ("sourceipaddress", "10.0.0.7"), ("sourceport", "5")],
        );
        check("Invalid user  from 10.0.0.7 port 5", &[("username", ""), ("sourceipaddress", "10.0.0.7")]);
        check(
            "Invalid user a from b from 10.0.0.7",
            &[("username", "a from b"), ("sourceipaddress", "10.0.0.7")],
        );
        check(
            "Received disconnect from 10.0.0.7 port 50622:11: Bye Bye [preauth]",
            &[("sourceipaddress", "10.0.0.7"), ("sourceport", "50622")],
        );
        check(
            "Connection closed by invalid user x 10.0.0.7 port 5 [preauth]",
            &[("username", "x"), ("sourceport", "5")],
        );
        check(
            "Disconnected from user root 10.0.0.7 port 5",
            &[("username", "root"), ("sourceipaddress", "10.0.0.7")],
        );
        check(
            "Disconnecting invalid user x 10.0.0.7 port 5: Too many authentication failures [preauth]",
            &[("username", "x")],
        );
        check(
            "error: maximum authentication attempts exceeded for invalid user x from 10.0.0.7 port 5 ssh2 [preauth]",
            &[("username", "x")],
        );
        check(
            "message repeated 3 times: [ Failed password for root from 10.0.0.7 port 5 ssh2]",
            &[("authstatus", "Failed"), ("repeated", "3")],
        );
        check(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.7  user=root",
            &[("username", "root"), ("sourceipaddress", "10.0.0.7")],
        );
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            " ",
            "Accepted",
            "Accepted password for root from UNKNOWN port 65535 ssh2",
            "Failed password for root",
            "Connection closed by 10.0.0.7 port 5 [preauth]",
            "Connection from 10.0.0.1 port 9071 on 10.0.0.2 port 22",
            "Received disconnect from host: 11: x",
            "Received disconnect from 10.0.0.1",
            "message repeated 2 times: [ message repeated 2 times: [ x]]",
            "Did not receive identification string from 10.0.0.1",
            "Server listening on :: port 22.",
            "pam_unix(sudo:session): session closed for user u",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
