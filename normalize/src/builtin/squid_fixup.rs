//! squidFixup: lines of a Squid proxy become connections and requests.
//!
//! In: `customendpoint` events of category `proxy` whose `MESSAGE` is a line of MozDef's
//! own log format, or of Squid's native one; and syslog lines of the program `squid` in
//! the native one. Out: `details` with both ends, the request and its sizes. Never: a
//! failure on other lines; they stay in `summary`.

use std::net::Ipv4Addr;

use model::event::{EditError, Event, New};
use model::time::Timestamp;

use super::details::is_program;
use super::envelope::{self, Header};
use super::epoch;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SQUID_FIXUP: Builtin =
    Builtin { name: "squidFixup", registration: &["squid"], priority: 5, run };

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if envelope::is_custom(event, "proxy") {
        from_envelope(event, context)?;
        return Ok(Outcome::Changed);
    }
    if !is_program(event, &["squid"]) || event.member_str("type") == Some("squid") {
        return Ok(Outcome::Unchanged);
    }
    let Some(line) = event.member_str("summary").map(str::to_owned) else { return Ok(Outcome::Unchanged) };
    let Some(access) = native(&line) else { return Ok(Outcome::Unchanged) };
    access.write_to(event)?;
    for (key, value) in
        [("type", "squid"), ("category", "proxy"), ("source", "access"), ("eventsource", "squid")]
    {
        event.set_member(key, value)?;
    }
    Ok(Outcome::Changed)
}

fn from_envelope(event: &mut Event, context: &Context<'_>) -> Result<(), EditError> {
    let member = |key| event.member_str(key).map(str::to_owned);
    let (line, host) = (member("MESSAGE"), member("HOST_FROM"));
    let source = member("source").unwrap_or_else(|| "unknown".to_owned());
    let header = Header { kind: "squid", category: "proxy", eventsource: "squid", source: &source };
    envelope::rebuild(event, &["customendpoint"], &header, context)?;
    event.set_member("details", New::EmptyObject)?;
    if let Some(host) = host {
        event.set_member("hostname", &host)?;
    }
    let Some(line) = line else { return Ok(()) };
    event.set_member("summary", &line)?;
    match parse(&line) {
        Some(access) if source == "access" => access.write_to(event),
        _ => Ok(()),
    }
}

/// One request through the proxy.
#[derive(Debug, PartialEq)]
struct Access<'l> {
    started: Timestamp,
    duration_millis: f64,
    source: &'l str,
    source_port: Option<i64>,
    destination: Ipv4Addr,
    destination_port: i64,
    action: &'l str,
    status: &'l str,
    request_bytes: Option<i64>,
    response_bytes: i64,
    method: &'l str,
    url: &'l str,
    user: Option<&'l str>,
    proto: &'l str,
    host: &'l str,
    mime: &'l str,
}

fn parse(line: &str) -> Option<Access<'_>> {
    mozdef_format(line).or_else(|| native(line))
}

/// The words of a line; `None` when there are fewer. Some formats append more; those are not read.
fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut words = line.split_ascii_whitespace();
    let mut found = [""; N];
    for place in &mut found {
        *place = words.next()?;
    }
    Some(found)
}

/// `time ms source port destination port action status bytes bytes method url proto host mime`
fn mozdef_format(line: &str) -> Option<Access<'_>> {
    let [
        time,
        millis,
        source,
        source_port,
        destination,
        port,
        action,
        status,
        request,
        response,
        method,
        url,
        proto,
        host,
        mime,
    ] = words(line)?;
    if source_port != "-" && source_port.parse::<u16>().is_err() {
        return None;
    }
    let (url_host, url_port) = host_and_port(method, url);
    let denied = action.starts_with("TCP_DENIED");
    Some(Access {
        started: started(time, millis)?,
        duration_millis: millis.parse().ok().filter(|millis: &f64| millis.is_finite())?,
        source,
        source_port: Some(number(source_port)),
        destination: destination.parse().unwrap_or(Ipv4Addr::UNSPECIFIED),
        destination_port: if denied { url_port } else { number(port) },
        action,
        status,
        request_bytes: Some(number(request)),
        response_bytes: number(response),
        method,
        url,
        user: None,
        proto: if proto == "-" && method == "CONNECT" { "ssl" } else { proto },
        host: if denied { url_host } else { host },
        mime,
    })
}

/// `time ms source action/status bytes method url user hierarchy/peer mime`
fn native(line: &str) -> Option<Access<'_>> {
    let [time, millis, source, result, bytes, method, url, user, hierarchy, mime] = words(line)?;
    let (action, status) = result.split_once('/')?;
    let (_, peer) = hierarchy.split_once('/')?;
    let (host, port) = host_and_port(method, url);
    Some(Access {
        started: started(time, millis)?,
        duration_millis: millis.parse().ok().filter(|millis: &f64| millis.is_finite())?,
        source,
        source_port: None,
        destination: peer.parse().unwrap_or(Ipv4Addr::UNSPECIFIED),
        destination_port: port,
        action,
        status,
        request_bytes: None,
        response_bytes: number(bytes),
        method,
        url,
        user: Some(user).filter(|user| *user != "-"),
        proto: if method == "CONNECT" {
            "ssl"
        } else {
            url.split_once("://").map_or("-", |(scheme, _)| scheme)
        },
        host,
        mime,
    })
}

/// The log has the end of the request; `-` and other words count as 0.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

fn started(time: &str, millis: &str) -> Option<Timestamp> {
    let end = epoch::micros(time)?;
    let duration = epoch::micros(millis)?.checked_div(1000)?;
    Some(Timestamp::from_micros(end.checked_sub(duration)?))
}

/// Host and port of a URL, or of `host:port` as CONNECT has it; without a port the scheme's.
fn host_and_port<'l>(method: &str, url: &'l str) -> (&'l str, i64) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default = if scheme == "https" || method == "CONNECT" { 443 } else { 80 };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => {
            (host, port.parse().unwrap_or(default))
        }
        _ => (authority, default),
    }
}

impl Access<'_> {
    fn write_to(&self, event: &mut Event) -> Result<(), EditError> {
        epoch::set_times(event, self.started)?;
        let destination = self.destination.to_string();
        let fields: [(&str, Option<New<'_>>); 15] = [
            ("duration", Some(New::F64(self.duration_millis / 1000.0))),
            ("sourceipaddress", Some(New::Str(self.source))),
            ("sourceport", self.source_port.map(New::I64)),
            ("destinationipaddress", Some(New::Str(&destination))),
            ("destinationport", Some(New::I64(self.destination_port))),
            ("proxyaction", Some(New::Str(self.action))),
            ("status", Some(New::Str(self.status))),
            ("requestsize", self.request_bytes.map(New::I64)),
            ("responsesize", Some(New::I64(self.response_bytes))),
            ("method", Some(New::Str(self.method))),
            ("destination", Some(New::Str(self.url))),
            ("username", self.user.map(New::Str)),
            ("proto", Some(New::Str(self.proto))),
            ("host", Some(New::Str(self.host))),
            ("mimetype", Some(New::Str(self.mime))),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                event.set_in("details", name, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SQUID_FIXUP, host_and_port, parse};
    use crate::builtin::testing::{check, check_unchanged, recorded_data};

    #[test]
    fn hosts_and_ports_of_urls() {
        for (method, url, host, port) in [
            ("GET", "http://test.com/", "test.com", 80),
            ("GET", "https://test.com:444/a:b@c", "test.com", 444),
            ("GET", "https://u:p@test.com?x=1:2", "test.com", 443),
            ("CONNECT", "test.com", "test.com", 443),
            ("CONNECT", "[2001:db8::1]:8443", "[2001:db8::1]", 8443),
            ("GET", "http://h:99999999999999999999/", "h", 80),
            ("GET", "", "", 80),
        ] {
            assert_eq!(host_and_port(method, url), (host, port), "{url}");
        }
    }

    #[test]
    fn lines_of_the_native_format_are_read() {
        let Some(folder) = recorded_data("web") else { return };
        let text = std::fs::read_to_string(folder.join("squid-logstash-patterns-core.log")).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines.len() >= 4);
        for line in lines {
            let access = parse(line).unwrap_or_else(|| panic!("not read: {line}"));
            assert!(
                access.action.starts_with("TCP_") && !access.host.is_empty() && access.started.millis() > 0,
                "{line}"
            );
        }
    }

    #[test]
    fn a_syslog_line_of_squid_is_read() {
        check(
            &SQUID_FIXUP,
            r#"{"processname":"squid","summary":"1525344856.899  16867 10.170.72.111 TCP_TUNNEL/200 6256 CONNECT a.example.com:8443 bob HIER_DIRECT/53.140.206.134 -"}"#,
            r#"{"processname":"squid","summary":"1525344856.899  16867 10.170.72.111 TCP_TUNNEL/200 6256 CONNECT a.example.com:8443 bob HIER_DIRECT/53.140.206.134 -",
                "type":"squid","category":"proxy","source":"access","eventsource":"squid","utctimestamp":"2018-05-03T10:54:00.032000+00:00","timestamp":"2018-05-03T10:54:00.032000+00:00",
                "details":{"duration":16.867,"sourceipaddress":"10.170.72.111","destinationipaddress":"53.140.206.134","destinationport":8443,"proxyaction":"TCP_TUNNEL","status":"200",
                "responsesize":6256,"method":"CONNECT","destination":"a.example.com:8443","username":"bob","proto":"ssl","host":"a.example.com","mimetype":"-"}}"#,
        );
    }

    #[test]
    fn tags_stay_and_odd_lines_stay_in_the_summary() {
        check(
            &SQUID_FIXUP,
            r#"{"customendpoint":"","category":"proxy","source":"access","tags":["t"],"MESSAGE":"x y z","HOST":"h"}"#,
            r#"{"customendpoint":"","category":"proxy","source":"access","tags":["t"],"summary":"x y z","details":{},"type":"squid","eventsource":"squid",
                "severity":"INFO","mozdefhostname":"mozdef.test","receivedtimestamp":"2020-03-04T05:06:07+00:00"}"#,
        );
        for event in [
            r#"{"processname":"squid","summary":"Starting Squid Cache version 3.5"}"#,
            r#"{"processname":"squid"}"#,
            r#"{"a":"squid"}"#,
        ] {
            check_unchanged(&SQUID_FIXUP, event);
        }
        for line in [
            "",
            "nan 1 a b/c 1 G u - d/e -",
            "1 inf a b/c 1 G u - d/e -",
            "1e400 1 a b/c 1 G u - d/e -",
            "1 1 a b 1 G u - d -",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
