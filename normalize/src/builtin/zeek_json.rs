//! Lines of Zeek's JSON logs, posted by any shipper, get the names that MozDef gave to
//! those which came through syslog-ng. MozDef itself did not know them.
//!
//! In: `details` with `id.orig_h` (or `id_orig_h`), or `_path` and a stamp. Out: category
//! `bro`, as MozDef's searches and alerts expect, source = the log's name, type `nsm`,
//! times by `ts`, and the details of `zeek`. Never: anything for lines that `broFixup`
//! has opened.

use model::event::{EditError, Event, New, Path, Value};

use super::details::{detail, detail_path, detail_str, details};
use super::{epoch, zeek};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const ZEEK_JSON: Builtin = Builtin {
    name: "zeek_json",
    registration: &["id.orig_h", "id_orig_h", "_path", "tx_hosts", "zeek"],
    priority: 5,
    run,
};

/// Longest name of a log.
const LOG_BYTES_MAX: usize = 64;

/// The log of a line that does not name it, by a key that only that log has.
const BY_KEY: [(&str, &str); 25] = [
    ("conn_state", "conn"),
    ("trans_id", "dns"),
    ("call_id", "sip"),
    ("mailfrom", "smtp"),
    ("helo", "smtp"),
    ("status_code", "http"),
    ("user_agent", "http"),
    ("tx_hosts", "files"),
    ("mime_type", "files"),
    ("resumed", "ssl"),
    ("server_name", "ssl"),
    ("auth_attempts", "ssh"),
    ("kex_alg", "ssh"),
    ("note", "notice"),
    ("security_protocol", "rdp"),
    ("get_requests", "snmp"),
    ("request_type", "kerberos"),
    ("named_pipe", "dce_rpc"),
    ("share_type", "smb_mapping"),
    ("domainname", "ntlm"),
    ("tunnel_type", "tunnel"),
    ("reply_code", "ftp"),
    ("client", "ssh"),
    ("server", "ssh"),
    ("notice", "weird"),
];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("type") == Some("nsm") || !is_line(event) {
        return Ok(Outcome::Unchanged);
    }
    let log = log_of(event).map(str::to_owned);
    let log = log.as_deref().unwrap_or("unknown");
    take_back(event, log)?;
    if let Some(at) = zeek::written(event) {
        epoch::set_times(event, at)?;
    }
    zeek::name_ends(event)?;
    let had_summary = event.member_str("summary").is_some();
    if !zeek::describe(event, log)? && !had_summary {
        let summary = other_summary(event, log);
        event.set_member("summary", &summary)?;
    }
    for (key, value) in [("category", "bro"), ("source", log), ("type", "nsm"), ("eventsource", "nsm")] {
        event.set_member(key, value)?;
    }
    if event.member("severity").is_none() {
        event.set_member("severity", "INFO")?;
    }
    if let (None, Some(system)) =
        (event.member("hostname"), detail_str(event, "system").or_else(|| detail_str(event, "_system_name")))
    {
        let system = system.to_owned();
        event.set_member("hostname", &system)?;
    }
    Ok(Outcome::Changed)
}

fn is_line(event: &Event) -> bool {
    let Some(details) = details(event) else { return false };
    let has = |key| details.get(key).is_some();
    let stamped = has("ts") || has("_write_ts");
    let by_collector = || has("stream") && details.get("proc").and_then(Value::as_str) == Some("zeek");
    (stamped && (has("_path") || by_collector()))
        || ((has("id.orig_h") || has("id_orig_h")) && (has("uid") || stamped))
        || (has("tx_hosts") && has("rx_hosts"))
}

/// What the line calls itself, else what its keys tell.
fn log_of(event: &Event) -> Option<&str> {
    let named = detail_str(event, "_path").or_else(|| detail_str(event, "stream"));
    let plain = |name: &&str| !name.is_empty() && name.len() <= LOG_BYTES_MAX;
    named
        .filter(plain)
        .or_else(|| BY_KEY.iter().find(|(key, _)| detail(event, key).is_some()).map(|(_, log)| *log))
}

/// Key mapping reads some of Zeek's field names as those of an event: what belongs to the line goes back to it.
fn take_back(event: &mut Event, log: &str) -> Result<(), EditError> {
    let moves: &[(&str, &str)] = match log {
        "http" | "software" | "known_hosts" | "known_services" | "known_certs" => &[("hostname", "host")],
        "ntlm" => &[("hostname", "hostname")],
        "files" => &[("source", "filesource")],
        "smb_files" | "smb_mapping" | "smtp" => &[("eventsource", "path")],
        "weird" => &[("source", "source")],
        _ => &[],
    };
    for &(member, key) in moves {
        let to = detail_path(key);
        if event.get(&to).is_none() && event.rename(&Path::from_keys([member]), &to)? {
            reopen_list(event, &to)?;
        }
    }
    Ok(())
}

/// Key mapping makes text of a list; mail has a list of relays in `path`.
fn reopen_list(event: &mut Event, path: &Path) -> Result<(), EditError> {
    let Some(text) = event.str(path).filter(|text| text.starts_with('[')) else { return Ok(()) };
    let mut list = Event::new();
    if list.parse(format!("{{\"v\":{text}}}").as_bytes(), &event.limits()).is_err() {
        return Ok(());
    }
    match list.member("v") {
        Some(value) => event.set(path, New::Value(value)),
        None => Ok(()),
    }
}

/// For logs that MozDef did not describe.
fn other_summary(event: &Event, log: &str) -> String {
    let text =
        |key| detail(event, key).map(|value| value.as_str().map_or_else(|| value.to_json(), str::to_owned));
    let mut summary = format!("zeek {log}");
    if let Some(name) = text("name") {
        summary.push(' ');
        summary.push_str(&name);
    }
    if let (Some(source), Some(destination)) = (text("sourceipaddress"), text("destinationipaddress")) {
        let port = text("destinationport").unwrap_or_default();
        summary.push_str(&format!(": {source} -> {destination}:{port}"));
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::ZEEK_JSON;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn a_named_line_is_recognised() {
        check(
            &ZEEK_JSON,
            r#"{"hostname":"www.example.com","tags":[],"details":{"_path":"http","ts":"2018-03-24T17:15:20.5Z","uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":4,"id.resp_h":"10.0.0.2","id.resp_p":80,
                "method":"GET","uri":"/","status_code":200}}"#,
            r#"{"tags":[],"details":{"_path":"http","ts":"2018-03-24T17:15:20.5Z","uid":"C1","sourceipaddress":"10.0.0.1","sourceport":4,"destinationipaddress":"10.0.0.2","destinationport":80,
                "method":"GET","uri":"/","status_code":200,"host":"www.example.com"},"summary":"HTTP GET 10.0.0.1 -> 10.0.0.2:80","category":"bro","source":"http","type":"nsm","eventsource":"nsm",
                "severity":"INFO","utctimestamp":"2018-03-24T17:15:20.500000+00:00","timestamp":"2018-03-24T17:15:20.500000+00:00"}"#,
        );
    }

    #[test]
    fn a_line_without_name_is_known_by_its_keys() {
        check(
            &ZEEK_JSON,
            r#"{"details":{"ts":1588205199.82437,"uid":"C1","system":"s","id_orig_h":"10.0.0.1","id_orig_p":3,"id_resp_h":"10.0.0.2","id_resp_p":1,"conn_state":"OTH"}}"#,
            r#"{"details":{"ts":1588205199.82437,"uid":"C1","system":"s","sourceipaddress":"10.0.0.1","sourceport":3,"destinationipaddress":"10.0.0.2","destinationport":1,"conn_state":"OTH",
                "originipbytes":0,"responseipbytes":0,"history":""},"summary":"10.0.0.1:3 -> 10.0.0.2:1  0 bytes / 0 bytes","category":"bro","source":"conn","type":"nsm","eventsource":"nsm",
                "severity":"INFO","hostname":"s","utctimestamp":"2020-04-30T00:06:39.824370+00:00","timestamp":"2020-04-30T00:06:39.824370+00:00"}"#,
        );
    }

    #[test]
    fn logs_that_mozdef_did_not_know_keep_what_they_say() {
        check(
            &ZEEK_JSON,
            r#"{"source":"TCP","details":{"_path":"weird","ts":0,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","id.resp_p":80,"name":"odd"}}"#,
            r#"{"source":"weird","details":{"_path":"weird","ts":0,"sourceipaddress":"10.0.0.1","destinationipaddress":"10.0.0.2","destinationport":80,"name":"odd","source":"TCP"},
                "summary":"zeek weird odd: 10.0.0.1 -> 10.0.0.2:80","category":"bro","type":"nsm","eventsource":"nsm","severity":"INFO",
                "utctimestamp":"1970-01-01T00:00:00+00:00","timestamp":"1970-01-01T00:00:00+00:00"}"#,
        );
        check(
            &ZEEK_JSON,
            r#"{"summary":"m","severity":"NOTICE","details":{"_path":"syslog","ts":"x"}}"#,
            r#"{"summary":"m","severity":"NOTICE","details":{"_path":"syslog","ts":"x"},"category":"bro","source":"syslog","type":"nsm","eventsource":"nsm"}"#,
        );
        check(
            &ZEEK_JSON,
            r#"{"eventsource":"[\"10.0.0.1\",\"10.0.0.2\"]","details":{"_path":"smtp","ts":0}}"#,
            r#"{"details":{"_path":"smtp","ts":0,"path":["10.0.0.1","10.0.0.2"]},"summary":"SMTP: unknown -> unknown:unknown","category":"bro","source":"smtp","type":"nsm","eventsource":"nsm",
                "severity":"INFO","utctimestamp":"1970-01-01T00:00:00+00:00","timestamp":"1970-01-01T00:00:00+00:00"}"#,
        );
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"details":{"_path":"x"}}"#,
            r#"{"details":{"id.orig_h":"10.0.0.1"}}"#,
            r#"{"type":"nsm","details":{"_path":"x","ts":0}}"#,
        ] {
            check_unchanged(&ZEEK_JSON, event);
        }
    }
}
