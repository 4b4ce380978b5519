//! Lines of every kind, and that no line makes the reader panic.

use model::time::Timestamp;
use proptest::prelude::*;

use super::{Message, Shape, parse};
use crate::dates::Reference;

fn reference() -> Reference {
    Reference::utc(Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").unwrap())
}

/// `shape|time|host|program|pid|severity word|text`, absent ones as `-`.
#[track_caller]
fn check(line: &str, expected: &str) {
    let message = parse(line, reference());
    assert_eq!(show(&message), expected, "{line}");
}

fn show(message: &Message<'_>) -> String {
    let time = message.time.map(|time| time.to_string());
    let shape = match message.shape {
        Shape::Rfc5424 => "5424",
        Shape::NearRfc5424 => "near",
        Shape::Rfc3164 => "3164",
        Shape::Text => "text",
    };
    let time = time.as_deref().map_or("-", |time| time.strip_suffix("+00:00").unwrap_or(time));
    let or = |field: Option<&str>| field.unwrap_or("-").to_owned();
    [
        shape.to_owned(),
        time.to_owned(),
        or(message.hostname),
        or(message.program),
        or(message.process_id),
        or(message.severity_word),
        message.text.to_owned(),
    ]
    .join("|")
}

#[test]
fn log_files() {
    check(
        "Mar 27 13:06:56 ip-10 sshd[1291]: Server listening on :: port 22.",
        "3164|2026-03-27T13:06:56|ip-10|sshd|1291|-|Server listening on :: port 22.",
    );
    check(
        "Dec  1 13:06:56 h sudo:  root : TTY=pts/6",
        "3164|2025-12-01T13:06:56|h|sudo|-|-| root : TTY=pts/6",
    );
    check(
        "Mar 27 13:06:56 h last message repeated 2 times",
        "3164|2026-03-27T13:06:56|h|-|-|-|last message repeated 2 times",
    );
    check(
        "Mar 11 09:39:39: --- last message repeated 5 times ---",
        "3164|2026-03-11T09:39:39|-|-|-|-|--- last message repeated 5 times ---",
    );
    check(
        "Mar 24 14:26:01 --- last message repeated 2 times ---",
        "3164|2026-03-24T14:26:01|-|-|-|-|--- last message repeated 2 times ---",
    );
    check(
        "Jan 22 07:54:32 h Job `cron.daily' terminated",
        "3164|2026-01-22T07:54:32|h|-|-|-|Job `cron.daily' terminated",
    );
    check(
        "Dec 17 08:04:45 RT_FLOW: RT_FLOW_SESSION_CREATE: session",
        "3164|2025-12-17T08:04:45|-|RT_FLOW|-|-|RT_FLOW_SESSION_CREATE: session",
    );
    check(
        "Mar 11 19:26:45 osx socketfilterfw[1985] <Info>: launchd Allow",
        "3164|2026-03-11T19:26:45|osx|socketfilterfw|1985|INFO|launchd Allow",
    );
    check(
        "Sep 13 00:58:45 mac com.apple.xpc.launchd[1] (com.apple.x[5]): text",
        "3164|2026-09-13T00:58:45|mac|com.apple.xpc.launchd|1|-|(com.apple.x[5]): text",
    );
    check(
        "2016-10-25T12:37:23.297265-07:00 ERR kernel: [ 316.5] ath",
        "3164|2016-10-25T19:37:23.297265|-|kernel|-|ERR|[ 316.5] ath",
    );
    check(
        "2020-05-31T00:00:45.698463+00:00 localhost rsyslogd:  [origin x=\"y\"] z",
        "3164|2020-05-31T00:00:45.698463|localhost|rsyslogd|-|-| [origin x=\"y\"] z",
    );
    check("2012-07-02 10:22:40,672:DEBUG:foo bar", "3164|2012-07-02T10:22:40.672000|-|-|-|DEBUG|foo bar");
    check(
        "août 19 11:08:37 nlaptop symphorien[4961]: test",
        "3164|2026-08-19T11:08:37|nlaptop|symphorien|4961|-|test",
    );
    check("User defined maximum: 108", "text|-|-|-|-|-|User defined maximum: 108");
    check("", "text|-|-|-|-|-|");
}

#[test]
fn priorities_and_what_devices_send() {
    check(
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
        "3164|2026-10-11T22:14:15|mymachine|su|-|-|'su root' failed",
    );
    check(
        "<134> Aug  3 09:05:07 h cron[4242]: (root) CMD",
        "3164|2026-08-03T09:05:07|h|cron|4242|-|(root) CMD",
    );
    check(
        "<111> Aug  3 09:05:07 /usr/sbin/cron[4242]: (root) CMD",
        "3164|2026-08-03T09:05:07|-|/usr/sbin/cron|4242|-|(root) CMD",
    );
    check(
        "<187>Aug 3 09:05:07 2025 h stm[4133]: <399803> x",
        "3164|2025-08-03T09:05:07|h|stm|4133|-|<399803> x",
    );
    check(
        "<111>:Aug  3 09:05:07 UTC: %ASA-6-302015: Built",
        "3164|2026-08-03T09:05:07|-|%ASA-6-302015|-|-|Built",
    );
    check(
        "<134>22191: h1: 022546: Aug  3 09:05:07.123 CDT: %PARSER-5-CFG: User:x",
        "3164|2026-08-03T14:05:07.123000|h1|%PARSER-5-CFG|-|-|User:x",
    );
    check("<134>h1: *Aug  3 09:05:07: %SYSMGR-3-S: The", "3164|2026-08-03T09:05:07|h1|%SYSMGR-3-S|-|-|The");
    check(
        "<134>: 2026 Aug  3 09:05:07 EET: %DAEMON-3-SYSTEM_MSG: ftp",
        "3164|2026-08-03T07:05:07|-|%DAEMON-3-SYSTEM_MSG|-|-|ftp",
    );
    check(
        "<134>Aug  3 09:05:07 h notice tmsh[16322]: 01420002",
        "3164|2026-08-03T09:05:07|h|tmsh|16322|-|01420002",
    );
    check(
        "<134>Aug  3 09:05:07 [10.0.0.143] Zscaler: The",
        "3164|2026-08-03T09:05:07|10.0.0.143|Zscaler|-|-|The",
    );
    check("<12>Aug  3 09:05:07 [289]: AAA Message", "3164|2026-08-03T09:05:07|-|-|289|-|AAA Message");
    check(
        "<134> 1785747907.123 h flows src=1.1.1.186",
        "3164|2026-08-03T09:05:07.123000|h|-|-|-|flows src=1.1.1.186",
    );
    check("<6> CEF:0|A10|vThunder", "3164|-|-|-|-|-|CEF:0|A10|vThunder");
    check("<86>apache2: pam_succeed_if(httpd:auth): x", "3164|-|-|apache2|-|-|pam_succeed_if(httpd:auth): x");
    check("<134>00:01:01: %SYSMGR-STANDBY-3-SHUT: The", "3164|-|-|%SYSMGR-STANDBY-3-SHUT|-|-|The");
    check("<134>42: r1: 1d02h: %SYS-5-CONFIG_I: By x", "3164|-|r1|%SYS-5-CONFIG_I|-|-|By x");
    check(
        "type=PATH msg=audit(1785747907.123:42): name=\"/etc/shadow\"",
        "3164|2026-08-03T09:05:07.123000|-|audit|-|-|type=PATH msg=audit(1785747907.123:42): name=\"/etc/shadow\"",
    );
    check("type=X msg=audit(): y", "text|-|-|-|-|-|type=X msg=audit(): y");
    check(
        "192.0.2.1 42: Aug  3 09:05:07.123: %PARSER-5-CFG: User:x",
        "3164|2026-08-03T09:05:07.123000|192.0.2.1|%PARSER-5-CFG|-|-|User:x",
    );
    check("<134>at 50% load: %a", "3164|-|-|-|-|-|at 50% load: %a");
    check("\n<13>Aug  3 09:05:07 h x: y", "3164|2026-08-03T09:05:07|h|x|-|-|y");
    check("<134>1 Aug  3 09:05:07 h log: ION", "3164|2026-08-03T09:05:07|h|log|-|-|ION");
    check("<999>Aug  3 09:05:07 h x: y", "3164|2026-08-03T09:05:07|h|x|-|-|y");
    check("\u{feff}<13>Aug  3 09:05:07 h x: y\r\n\0", "3164|2026-08-03T09:05:07|h|x|-|-|y");
    check("37 <13>Aug  3 09:05:07 h x: y", "3164|2026-08-03T09:05:07|h|x|-|-|y");
}

#[test]
fn rfc_5424_to_the_letter_and_nearly() {
    check(
        "<165>1 2003-10-11T22:14:15.003Z mymachine evntslog - ID47 [ex@1 iut=\"3\"] \u{feff}An application",
        "5424|2003-10-11T22:14:15.003000|mymachine|evntslog|-|-|An application",
    );
    check("<1>1 - - - - - -", "5424|-|-|-|-|-|");
    check(
        "<34>2 2003-10-11T22:14:15.003Z m su 77 ID47 - BOM'su root' failed",
        "5424|2003-10-11T22:14:15.003000|m|su|77|-|BOM'su root' failed",
    );
    check(
        "<134>1 2026-08-03T09:05:07.123456 h CheckPoint 26203 - [sc4s@2620 action=\"Accept\"]",
        "near|2026-08-03T09:05:07.123456|h|CheckPoint|26203|-|",
    );
    check(
        "<144>1 2026-08-03T09:05:07.123456+00:00Z h sshd 4242 - - - Generic",
        "near|2026-08-03T09:05:07.123456|h|sshd|4242|-|- Generic",
    );
    check(
        "<134>1 1785747907.123123 h security_event ids_alerted - - x",
        "near|2026-08-03T09:05:07.123123|h|security_event|ids_alerted|-|x",
    );
    check(
        "<134> 2026-08-03T09:05:07.123456Z h EPOEvents - EventFwd [agent@3401 tenantId=\"1\"] <x/>",
        "near|2026-08-03T09:05:07.123456|h|EPOEvents|-|-|<x/>",
    );
    check(
        "<134> 2026-08-03T09:05:07.123456Z h RPRM 107463 Jserver - DEBUG|||x",
        "near|2026-08-03T09:05:07.123456|h|RPRM|107463|-|DEBUG|||x",
    );
    check(
        "<134> 2026-08-03T09:05:07.123456Z prog: %AGENT-6-INIT: Agent",
        "3164|2026-08-03T09:05:07.123456|-|prog|-|-|%AGENT-6-INIT: Agent",
    );
}

#[test]
fn structured_data_keeps_every_octet() {
    let line = r#"<165>1 2003-10-11T22:14:15.003Z h a - - [x@1 a="\"q\" \\ \] \n" a="2" b=""][y]"#;
    let message = parse(line, reference());
    let x = &message.elements[0];
    let values: Vec<(&str, &str)> = x.parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    assert_eq!((x.id, values), ("x@1", vec![("a", r#""q" \ ] \n"#), ("a", "2"), ("b", "")]));
    assert_eq!((message.elements[1].id, message.elements.len()), ("y", 2));
}

proptest! {
    #[test]
    fn no_line_panics_and_no_text_is_made_up(line in "(<[0-9]{1,3}>)?[ 1]{0,2}(Aug  3 09:05:07|2026-08-03T09:05:07Z|-|[0-9]{10}\\.[0-9]{3})?( ?[\\PC]{0,8}){0,6}(\\[\\PC{0,12}\\])?\\PC{0,20}") {
        let message = parse(&line, reference());
        prop_assert!(line.contains(message.text));
        for part in [message.hostname, message.program, message.process_id, message.message_id].into_iter().flatten() {
            prop_assert!(line.contains(part) && !part.is_empty());
        }
    }

    #[test]
    fn any_text_is_read(line in "\\PC*") {
        let message = parse(&line, reference());
        prop_assert!(message.shape == Shape::Text || line.contains('<') || message.time.is_some());
    }
}
