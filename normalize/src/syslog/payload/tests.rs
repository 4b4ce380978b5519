//! CEF, LEEF and JSON: what is found, and that nothing makes the readers panic.

use std::cell::RefCell;

use model::config::NormalizeConfig;
use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::offline::{Input, Offline, Result};

fn normalize(line: &[u8]) -> Value {
    thread_local! {
        static OFFLINE: RefCell<Offline> = {
            let config = NormalizeConfig { hostname: "mozdef".to_owned(), ..Default::default() };
            RefCell::new(Offline::new(&config, None).unwrap())
        };
    }
    let now = Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").unwrap();
    OFFLINE.with_borrow_mut(|offline| match offline.normalize(Input::Syslog, line, now) {
        Result::Event(json) => serde_json::from_slice(json).unwrap(),
        other => panic!("{other:?}"),
    })
}

/// Every member that is expected is there; `null` means that it is not.
#[track_caller]
fn check(line: &str, expected: Value) {
    let got = normalize(line.as_bytes());
    for (pointer, value) in flat("", &expected) {
        assert_eq!(got.pointer(&pointer).unwrap_or(&Value::Null), &value, "{pointer} of {line}\n{got:#}");
    }
}

fn flat(path: &str, value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| flat(&format!("{path}/{}", key.replace('/', "~1")), value))
            .collect(),
        other => vec![(path.to_owned(), other.clone())],
    }
}

#[test]
fn cef_with_its_header() {
    check(
        "<134>Aug  3 09:05:07 fw1 CEF:0|security|threatmanager|1.0|100|trojan stopped|10|src=10.0.0.192 spt=1232 dst=2.1.2.2 msg=all\\=well act=blocked fname=",
        json!({
            "hostname": "fw1", "severity": "CRITICAL", "summary": "trojan stopped: all=well", "category": "syslog",
            "utctimestamp": "2026-08-03T09:05:07+00:00", "facility": "local0",
            "details": {"devicevendor": "security", "deviceproduct": "threatmanager", "deviceversion": "1.0",
                "signatureid": "100", "name": "trojan stopped", "severity": "10", "sourceipaddress": "10.0.0.192",
                "destinationipaddress": "2.1.2.2", "sourceport": "1232", "act": "blocked", "fname": null},
        }),
    );
    check(
        "CEF:0|a\\|b|c\\\\|1|2|n|Low|",
        json!({"severity": "INFO", "summary": "n", "details": {"devicevendor": "a|b", "deviceproduct": "c\\"}}),
    );
    check("CEF:0|v|p|1|2|no extension", json!({"summary": "no extension", "severity": "UNKNOWN"}));
    check(
        "CEF:0|v|p|1",
        json!({"summary": "CEF:0|v|p|1", "mozdef": {"errors": ["syslog: the header of CEF breaks off, kept as text"]}}),
    );
    check("nothing of CEF: here|", json!({"summary": "nothing of CEF: here|", "mozdef": {"errors": null}}));
}

#[test]
fn cef_values() {
    check(
        "CEF:0|v|p|1|2|n|3|moo=this =has = equals\\= url=http://h/?a=b&c=d  cmd=run --user=x ad.f[0]=z msg=one\\ntwo",
        json!({"details": {"moo": "this =has = equals=", "url": "http://h/?a=b&c=d", "cmd": "run --user=x", "ad.f[0]": "z", "msg": "one\ntwo"}}),
    );
    check(
        "CEF:0|v|p|1|2|n|3|filePath=C:\\new\\run.exe other=a\\\\b odd=\\x",
        json!({"details": {"filepath": "C:\\new\\run.exe", "other": "a\\b", "odd": "\\x"}}),
    );
    check("CEF:0|v|p|1|2|n|3|no pairs at all", json!({"details": {"unparsed": "no pairs at all"}}));
    check(
        "CEF:0|v|p|1|2|n|7|cs1Label=Affected User Name cs1=root cn1Label=Request-Id cn1=7 cs2Label=Empty cs2= cs3Label=cs1 cs3=no",
        json!({"severity": "ERROR", "details": {"cs1": "root", "cs1label": "Affected User Name", "affected_user_name": "root", "request_id": "7", "empty": null, "cs3": "no"}}),
    );
    check(
        "CEF:0|v|p|1|2|n|5|sourceAddress=1.2.3.4 destinationPort=53",
        json!({"severity": "WARNING", "details": {"sourceipaddress": "1.2.3.4", "dpt": "53", "destinationport": "53"}}),
    );
}

#[test]
fn dates_of_cef() {
    let at = |text: &str| json!({"utctimestamp": text, "timestamp": text});
    check("<6>Aug  3 09:05:07 h CEF:0|v|p|1|2|n|3|rt=1785747907123", at("2026-08-03T09:05:07.123000+00:00"));
    check(
        "<6>Aug  3 09:05:07 h CEF:0|v|p|1|2|n|3|rt=Aug 03 2026 10:00:00 EST end=1",
        at("2026-08-03T15:00:00+00:00"),
    );
    check("<6>Aug  3 09:05:07 h CEF:0|v|p|1|2|n|3|end=Aug 04 2026 10:00:00", at("2026-08-03T09:05:07+00:00"));
    check(
        "<6>CEF:0|v|p|1|2|n|3|end=Aug 04 2026 10:00:00 start=Aug 03 2026 10:00:00",
        at("2026-08-04T10:00:00+00:00"),
    );
    check(
        "CEF:0|v|p|1|2|n|3|rt=tomorrow deviceCustomDate1=Aug 04 2026 10:00:00 deviceCustomDate1Label=seen",
        json!({"utctimestamp": "2026-11-25T00:00:00+00:00", "details": {"rt": "tomorrow", "devicecustomdate1": "2026-08-04T10:00:00+00:00"}}),
    );
}

#[test]
fn where_cef_stands_in_the_line() {
    check(
        "Aug  3 09:05:07 esa: CEF:0|Cisco|ESA|1|2|n|3|",
        json!({"hostname": "esa", "processname": "UNKNOWN"}),
    );
    check(
        "<111>1 2026-08-03T09:05:07.123456Z vault CEF:0|Cyber-Ark|Vault|9|7|Logon|5|act=\"Logon\" suser=P",
        json!({"hostname": "vault", "details": {"suser": "P"}}),
    );
    check(
        "<111>cef[24366]: CEF:0|f|hx|5|i|n|0|dvchost=h9",
        json!({"hostname": "h9", "processname": "cef", "processid": "24366"}),
    );
    check(
        "<134>Aug  3 09:05:07 h OPSWATPC CEF:0|O|M|4|c|n|2|a=b",
        json!({"hostname": "h", "processname": "OPSWATPC"}),
    );
    check(
        "<134>Aug  3 09:05:07 h vectra_cef -: CEF:0|V|X|4|c|n|2|a=b",
        json!({"hostname": "h", "processname": "vectra_cef"}),
    );
    check(
        "<134>Aug  3 09:05:07 h CEF: 0|Trend Micro|Agent|4|c|n|2|a=b",
        json!({"hostname": "h", "summary": "n"}),
    );
    check("date host CEF:0|V|X|4|c|n|2|a=b", json!({"summary": "n", "details": {"prefix": "date host"}}));
    check(
        "<13>1 2026-08-03T09:05:07Z h app 1 - [x@1 a=\"b\"] CEF:0|V|X|4|c|n|2|a=b",
        json!({"processname": "app", "details": {"a": "b", "structureddata": {"x@1": {"a": "b"}}}}),
    );
}

#[test]
fn leef_and_its_delimiters() {
    let fields = json!({"hostname": "h", "severity": "WARNING", "details": {"devicevendor": "Vendor", "eventid": "EventID", "sourceipaddress": "192.0.2.0", "cat": "anomaly", "sourceport": "81", "usrname": "joe", "username": "joe"}});
    let body = |delimiter: &str| {
        ["src=192.0.2.0", "sev=5", "cat=anomaly", "srcPort=81", "usrName=joe"].join(delimiter)
    };
    for (head, delimiter) in [
        ("1.0|Vendor|Product|V|EventID|", "\t"),
        ("1.0|Vendor|Product|V|EventID|", "#011"),
        ("1.0|Vendor|Product|V|EventID|", "|"),
        ("2.0|Vendor|Product|V|EventID|^|", "^"),
        ("2.0|Vendor|Product|V|EventID|0x5E|", "^"),
        ("2.0|Vendor|Product|V|EventID|x5E|", "^"),
        ("2.0|Vendor|Product|V|EventID||", "\t"),
        ("2.0|Vendor|Product|V|EventID|", "\t"),
        ("2.0|Vendor|Product|V|EventID|x09|", "\t"),
        ("1.0|Vendor|Product|V|EventID|", " "),
    ] {
        check(&format!("<134>Aug  3 09:05:07 h LEEF:{head}{}", body(delimiter)), fields.clone());
    }
    check(
        "LEEF:1.0|V|P",
        json!({"summary": "LEEF:1.0|V|P", "mozdef": {"errors": ["syslog: the header of LEEF breaks off, kept as text"]}}),
    );
}

#[test]
fn dates_of_leef() {
    let line = |pairs: &str| format!("<13>1 2026-01-18T11:00:00Z h LEEF:2.0|V|P|1|E|^|{pairs}");
    let at = |text: &str| json!({"utctimestamp": text, "timestamp": text});
    check(&line("devTime=1785747907.123"), at("2026-08-03T09:05:07.123000+00:00"));
    check(
        &line("devTime=03/04/2026 10:00:00^devTimeFormat=dd/MM/yyyy HH:mm:ss"),
        at("2026-04-03T10:00:00+00:00"),
    );
    check(
        &line("devTime=Aug  3 09:05:07.000 EST^devTimeFormat=MMM dd yyyy HH:mm:ss.SSS z"),
        at("2026-08-03T14:05:07+00:00"),
    );
    check(&line("devTime=never^devTimeFormat=^sev=9"), at("2026-01-18T11:00:00+00:00"));
}

#[test]
fn json_after_the_header() {
    check(
        r#"<134>Aug  3 09:05:07 h app[7]: @cee: {"msg":"login","user":"joe","time":"x","severity":"crit"}"#,
        json!({"hostname": "h", "processname": "app", "processid": "7", "summary": "login", "severity": "CRIT",
            "utctimestamp": "2026-08-03T09:05:07+00:00", "category": "syslog", "source": "syslog",
            "details": {"user": "joe", "msg": "login", "program": "app"}}),
    );
    check(
        r#"<134>1 2026-08-03T09:05:07Z h app - - [x@1 a="b"] {"summary":"s","timestamp":"2026-08-03T10:00:00Z","hostname":"other","category":"auth","details":{"a":1}}"#,
        json!({"hostname": "other", "summary": "s", "category": "auth", "utctimestamp": "2026-08-03T10:00:00+00:00",
            "timestamp": "2026-08-03T10:00:00+00:00", "severity": "INFO", "details": {"a": 1, "structureddata": {"x@1": {"a": "b"}}}}),
    );
    check(
        r#"{"message":"alone","host":"h"}"#,
        json!({"summary": "alone", "hostname": "h", "category": "syslog"}),
    );
    check(
        r#"<13>Aug  3 09:05:07 h @cee:{"message":"m"}"#,
        json!({"hostname": "h", "summary": "m", "processname": "UNKNOWN"}),
    );
    check(
        "<13>Aug  3 09:05:07 h app: {not json}",
        json!({"summary": "{not json}", "mozdef": {"errors": null}}),
    );
    let got = normalize(b"<13>Aug  3 09:05:07 h app: @cee: {\"a\":");
    assert_eq!(got["summary"], "@cee: {\"a\":");
    assert!(
        got["mozdef"]["errors"][0].as_str().unwrap().starts_with("syslog: the JSON after @cee:"),
        "{got}"
    );
}

#[test]
fn odd_priorities_bytes_and_repetitions() {
    check(
        "<999>Aug  3 09:05:07 h x[1]: y",
        json!({"hostname": "h", "processname": "x", "summary": "y", "severity": "UNKNOWN", "facility": null,
            "mozdef": {"errors": ["syslog: 999 is no priority, which is 0 to 191"]}}),
    );
    check(
        "Mar 27 13:06:56 h last message repeated 2 times",
        json!({"hostname": "h", "details": {"repeated": 2}}),
    );
    check(
        "<30>Mar 27 13:06:56 h sshd[1]: message repeated 5 times: [ Failed password]",
        json!({"details": {"repeated": 5}}),
    );
    let got = normalize(b"<13>Aug  3 09:05:07 h app: Gr\xfc\xdfe");
    assert_eq!(
        (&got["summary"], &got["mozdef"]["errors"][0]),
        (&json!("Grüße"), &json!("syslog: bytes that are not UTF-8 were read as Latin-1"))
    );
}

/// Runs as many as `MOZDEF_FUZZ_CASES` says.
fn cases() -> ProptestConfig {
    let cases = std::env::var("MOZDEF_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(100_000))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_payload_panics(line in "(<[0-9]{1,4}>)?(1 )?(Aug  3 09:05:07 |2026-08-03T09:05:07Z )?(h )?(a: )?(@cee:|CEF: ?0|LEEF:[12].0)(\\|[^|]{0,6}){0,8}( ?(cs1Label|cs1|rt|devTime|devTimeFormat|src|\\PC)=\\PC{0,6}[\t^\\\\=]?){0,8}\\PC{0,8}") {
        let got = normalize(line.as_bytes());
        prop_assert!(got.get("summary").is_some());
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        prop_assume!(!bytes.trim_ascii().is_empty());
        prop_assert!(normalize(&bytes).get("utctimestamp").is_some());
    }
}
