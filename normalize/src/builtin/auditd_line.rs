//! auditd_line: lines of the Linux audit daemon, from its file or through syslog, as fields.
//!
//! In: events of `audit` or `audispd` whose summary is such a line. Out: every field of the line under `details`, its
//! name as written; `details.type` is the record's type; `category` `auditd`. Never: a guess: text in hexadecimal is
//! read only where the daemon writes it so, in fields that hold text.

use model::event::Event;

use super::details::is_program;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table. It runs before `auditdFixup`.
pub(super) const AUDITD_LINE: Builtin =
    Builtin { name: "auditd_line", registration: &["audit", "audispd", "audisp-syslog"], priority: 1, run };

/// Most fields of a line.
const FIELDS_MAX: usize = 256;

/// Fields whose text is in hexadecimal when it is not quoted.
const TEXTS: [&str; 8] = ["exe", "comm", "name", "cwd", "proctitle", "cmd", "acct", "key"];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !is_program(event, &["audit", "audispd", "audisp-syslog"]) {
        return Ok(Outcome::Unchanged);
    }
    let Some(line) = event.member_str("summary").map(str::to_owned) else { return Ok(Outcome::Unchanged) };
    let Some(fields) = parse(&line) else { return Ok(Outcome::Unchanged) };
    for (name, value) in &fields {
        event.set_in("details", name, value)?;
    }
    event.set_member("category", "auditd")?;
    Ok(Outcome::Changed)
}

/// `type=EXECVE msg=audit(1364481363.243:24287): argc=2 a0="cat" a1="/etc/shadow"`, perhaps after `node=host`.
fn parse(line: &str) -> Option<Vec<(&str, String)>> {
    let (front, rest) = line.split_once("type=")?;
    let is_node = front.starts_with("node=") && front.ends_with(' ');
    if !front.is_empty() && !is_node {
        return None;
    }
    let (kind, rest) = rest.split_once(" msg=audit(").filter(|(kind, _)| !kind.is_empty())?;
    let (_, rest) = rest.split_once("):")?;
    if kind.contains(char::is_whitespace) {
        return None;
    }
    let mut fields = vec![("type", kind.to_owned())];
    take_fields(rest, kind, &mut fields);
    Some(fields)
}

/// Fields of one level. What stands in single quotes has fields of its own.
fn take_fields<'l>(text: &'l str, kind: &str, fields: &mut Vec<(&'l str, String)>) {
    let mut rest = text;
    while fields.len() < FIELDS_MAX {
        // Enriched records part the names that they add from the others by a control character.
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        let Some((name, after)) = rest.split_once('=') else { return };
        let name = name.rsplit(char::is_whitespace).next().unwrap_or(name);
        let quoted = |quote: char| after.strip_prefix(quote).and_then(|inner| inner.split_once(quote));
        if let Some((inner, after)) = quoted('\'') {
            take_fields(inner, kind, fields);
            rest = after;
        } else if let Some((value, after)) = quoted('"') {
            fields.push((name, value.to_owned()));
            rest = after;
        } else {
            let end = after.find(|c: char| c.is_whitespace() || c.is_control()).unwrap_or(after.len());
            let (value, after) = after.split_at_checked(end).unwrap_or((after, ""));
            fields.push((name, plain(name, kind, value)));
            rest = after;
        }
    }
}

/// Text in hexadecimal as text: arguments of programs, names and commands that have spaces or odd letters.
fn plain(name: &str, kind: &str, value: &str) -> String {
    let is_argument = || {
        kind == "EXECVE"
            && name.strip_prefix('a').is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
    };
    if !TEXTS.contains(&name) && !is_argument() {
        return value.to_owned();
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex =
        !value.is_empty() && value.len().is_multiple_of(2) && value.bytes().all(|c| c.is_ascii_hexdigit());
    let bytes = is_hex.then(|| value.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>()).flatten();
    match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes).replace('\0', " "),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{AUDITD_LINE, parse};
    use crate::builtin::testing::{check, check_unchanged};

    #[track_caller]
    fn fields(line: &str, expected: &str) {
        let shown = parse(line).map(|fields| {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
        });
        assert_eq!(shown.as_deref(), Some(expected).filter(|expected| !expected.is_empty()), "{line}");
    }

    #[test]
    fn lines_become_fields() {
        fields(
            r#"type=EXECVE msg=audit(1364481363.243:24287): argc=3 a0="cat" a1=2F746D702F6120622F a2=-n"#,
            "type=EXECVE|argc=3|a0=cat|a1=/tmp/a b/|a2=-n",
        );
        fields(
            r#"node=web1 type=SYSCALL msg=audit(1.2:3): arch=c000003e a0=7fff exe="/bin/cat" key=(null)"#,
            "type=SYSCALL|arch=c000003e|a0=7fff|exe=/bin/cat|key=(null)",
        );
        fields(
            "type=USER_AUTH msg=audit(1.2:3): pid=7 msg='op=PAM:accounting acct=\"root\" res=failed'\u{1d}UID=\"root\"",
            "type=USER_AUTH|pid=7|op=PAM:accounting|acct=root|res=failed|UID=root",
        );
        fields("type=PROCTITLE msg=audit(1.2:3): proctitle=6361740061", "type=PROCTITLE|proctitle=cat a");
        fields("type=NOMSG msg=audit(1.2:3):", "type=NOMSG");
        fields("type= msg=audit(1.2:3): a=b", "");
        fields("kernel: type=1400 msg=audit(1.2:3): a=b", "");
        fields("type=A b msg=audit(1.2:3): a=b", "");
        fields("no line of it", "");
    }

    #[test]
    fn only_its_own_programs_are_read() {
        check(
            &AUDITD_LINE,
            r#"{"category":"syslog","summary":"type=PATH msg=audit(1.2:3): name=\"/etc/shadow\"","details":{"program":"audit"}}"#,
            r#"{"category":"auditd","summary":"type=PATH msg=audit(1.2:3): name=\"/etc/shadow\"",
                "details":{"program":"audit","type":"PATH","name":"/etc/shadow"}}"#,
        );
        check_unchanged(
            &AUDITD_LINE,
            r#"{"summary":"type=PATH msg=audit(1.2:3): a=b","details":{"program":"x"}}"#,
        );
        check_unchanged(&AUDITD_LINE, r#"{"summary":"audit daemon started","processname":"audispd"}"#);
        check_unchanged(&AUDITD_LINE, r#"{"processname":"audit"}"#);
    }
}
