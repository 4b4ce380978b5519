//! Each shape in, the one form out.

use model::event::{Event, Path};

use super::WINDOWS_EVENT;
use crate::builtin::testing::{check_unchanged, run_with};
use crate::plugin::{Context, Metadata};

/// Runs the plugin and compares some paths; `!` stands for absent.
#[track_caller]
fn check(details: &str, expected: &[(&str, &str)]) -> Event {
    check_event(&format!(r#"{{"details":{details}}}"#), expected)
}

#[track_caller]
fn check_event(event: &str, expected: &[(&str, &str)]) -> Event {
    let out = run_with(&WINDOWS_EVENT, event, None);
    for (path, value) in expected {
        let got = out.get(&Path::new(path)).map_or_else(|| "!".to_owned(), |found| found.to_json());
        assert_eq!(got, *value, "{path} of {}", out.to_json());
    }
    out
}

const SYSTEM: &str = r##""System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Sysmon","Guid":"G"}},
    "EventID":{"#attributes":{"Qualifiers":""},"#text":1},"Level":4,"Version":5,
    "TimeCreated":{"#attributes":{"SystemTime":"2025-10-24T23:36:29.111126Z"}},"EventRecordID":9,"Correlation":null,
    "Execution":{"#attributes":{"ProcessID":3308,"ThreadID":4008}},"Channel":"Microsoft-Windows-Sysmon/Operational",
    "Computer":"pc.example","Security":{"#attributes":{"UserID":"S-1-5-18"}}}"##;

#[test]
fn evtx_dump() {
    let data = r#""EventData":{"Image":"C:\\a.exe","CommandLine":"a.exe /x","Version":"10","ProcessId":7,
        "Hashes":"MD5=AB,IMPHASH=CD","Threat Name":"t"}"#;
    check(
        &format!(r##"{{"event":{{"#attributes":{{"xmlns":"x"}},{SYSTEM},{data}}},"other":1}}"##),
        &[
            ("details.event", "!"),
            ("details.other", "1"),
            ("details.channel", r#""Microsoft-Windows-Sysmon/Operational""#),
            ("details.eventid", "1"),
            ("details.provider_name", r#""Microsoft-Windows-Sysmon""#),
            ("details.security_userid", r#""S-1-5-18""#),
            ("details.image", r#""C:\\a.exe""#),
            ("details.version", r#""10""#),
            ("details.system_version", "5"),
            ("details.threatname", r#""t""#),
            ("details.imphash", r#""CD""#),
            ("hostname", r#""pc.example""#),
            ("utctimestamp", r#""2025-10-24T23:36:29.111126+00:00""#),
            ("processname", r#""Microsoft-Windows-Sysmon""#),
            ("processid", r#""3308""#),
            ("severity", r#""INFO""#),
            ("category", r#""windows""#),
            ("summary", r#""Microsoft-Windows-Sysmon 1: a.exe /x""#),
        ],
    );
}

#[test]
fn elements_with_and_without_names() {
    let named = r##""EventData":{"Data":[{"@Name":"Image","#text":"i"},{"#attributes":{"Name":"User"},"#text":"u"},
        {"Name":"Empty"},"plain",{"#text":["x","y"]}],"Binary":null}"##;
    check(
        &format!(r#"{{"event":{{{SYSTEM},{named}}}}}"#),
        &[
            ("details.image", r#""i""#),
            ("details.user", r#""u""#),
            ("details.empty", "null"),
            ("details.data", r#"["plain","x","y"]"#),
            ("details.binary", "null"),
        ],
    );
}

#[test]
fn user_data_of_any_nesting() {
    let data = r##""UserData":{"Operation_ClientFailure":{"#attributes":{"xmlns":"x"},"Operation":"Start IWbemServices",
        "Inner":{"PossibleCause":{"#attributes":{"a":"b"},"#text":"c"}},"List":[1,2]}}"##;
    check(
        &format!(r#"{{"event":{{{SYSTEM},{data}}}}}"#),
        &[
            ("details.operation", r#""Start IWbemServices""#),
            ("details.possiblecause", r#""c""#),
            ("details.list", "[1,2]"),
            ("details.xmlns", "!"),
        ],
    );
}

#[test]
fn attributes_beside_their_elements() {
    let event = r#"{"event":{"System":{"Provider_attributes":{"Name":"P"},"EventID":"4624",
        "TimeCreated_attributes":{"SystemTime":"2025-01-02T03:04:05Z"},"Channel":"Security","Computer":"c"},
        "EventData":{"TargetUserName":"bob","IpAddress":"192.0.2.1"}}}"#;
    check(
        event,
        &[
            ("details.provider_name", r#""P""#),
            ("details.eventid", "4624"),
            ("utctimestamp", r#""2025-01-02T03:04:05+00:00""#),
            ("details.sourceipaddress", r#""192.0.2.1""#),
            ("summary", r#""P 4624: bob""#),
        ],
    );
}

#[test]
fn winlogbeat() {
    let event = r#"{"hostname":"{\"name\":\"x\"}","summary":"Process Create:","timestamp":"2025-01-01T00:00:00+00:00",
        "details":{"user":{"name":"ecs"},"event":{"code":"1"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational",
        "event_id":"1","provider_name":"P","computer_name":"pc","record_id":8,"process":{"pid":5,"thread":{"id":6}},
        "user":{"identifier":"S-1-5-18","name":"SYSTEM"},"api":"wineventlog","event_data":{"User":"D\\u","Image":"i"}}}}"#;
    check_event(
        event,
        &[
            ("details.user", r#""D\\u""#),
            ("details.ecs.user.name", r#""ecs""#),
            ("details.event.code", r#""1""#),
            ("details.eventid", "1"),
            ("details.winlog", "!"),
            ("details.winlog_user_name", r#""SYSTEM""#),
            ("details.execution_processid", "5"),
            ("hostname", r#""pc""#),
            ("summary", r#""Process Create:""#),
            ("timestamp", r#""2025-01-01T00:00:00+00:00""#),
        ],
    );
}

#[test]
fn winlogbeat_of_old() {
    check(
        r#"{"event_id":4688,"log_name":"Security","source_name":"S","computer_name":"pc","event_data":{"NewProcessName":"n",
        "ParentProcessName":"p","SubjectUserName":"u","SubjectDomainName":"D","TargetUserName":"-",
        "MandatoryLabel":"S-1-16-12288"}}"#,
        &[
            ("details.channel", r#""Security""#),
            ("details.image", r#""n""#),
            ("details.parentimage", r#""p""#),
            ("details.user", r#""D\\u""#),
            ("details.integritylevel", r#""High""#),
            ("hostname", r#""pc""#),
        ],
    );
}

#[test]
fn evtx_ecmd() {
    let payload = r##"{\"EventData\":{\"Data\":[{\"@Name\":\"Image\",\"#text\":\"i\"}]}}"##;
    let event = format!(
        r#"{{"summary":"{payload}","details":{{"channel":"Microsoft-Windows-Sysmon/Operational","eventid":1,
        "provider":"P","computer":"pc","timecreated":"2025-01-02T03:04:05.0000000+00:00","mapdescription":"Process creation"}}}}"#
    );
    check_event(
        &event,
        &[
            ("details.image", r#""i""#),
            ("details.provider_name", r#""P""#),
            ("summary", r#""Process creation""#),
            ("hostname", r#""pc""#),
            ("utctimestamp", r#""2025-01-02T03:04:05+00:00""#),
        ],
    );
    let broken = event.replace("}]}}", "}]}");
    check_event(&broken, &[("details.image", "!"), ("details.provider_name", r#""P""#)]);
}

#[test]
fn nxlog() {
    check_event(
        r#"{"hostname":"pc","processname":"Microsoft-Windows-Sysmon","category":"INFO","processid":"44","severity":"INFO",
        "summary":"Registry object added or deleted:\r\nEventType: DeleteValue\r\nx","details":{"channel":
        "Microsoft-Windows-Sysmon/Operational","eventid":"12","targetobject":"HKLM\\x","message":"DWORD (0x1)",
        "timecreated":"2020-10-18 10:56:18.799"}}"#,
        &[
            ("details.eventid", "12"),
            ("details.eventtype", r#""DeleteValue""#),
            ("details.details", r#""DWORD (0x1)""#),
            ("details.processid", r#""44""#),
            ("details.provider_name", r#""Microsoft-Windows-Sysmon""#),
            ("details.computer", r#""pc""#),
            ("category", r#""INFO""#),
            ("utctimestamp", r#""2020-10-18T10:56:18.799000+00:00""#),
        ],
    );
}

#[test]
fn the_audit_of_the_registry_and_of_connections() {
    check(
        r#"{"channel":"Security","eventid":4657,"objectname":"\\REGISTRY\\MACHINE\\SOFTWARE\\X","objectvaluename":"V",
        "operationtype":"%%1905","newvalue":"2","newvaluetype":"%%1876","processname":"C:\\r.exe"}"#,
        &[
            ("details.targetobject", r#""HKLM\\SOFTWARE\\X\\V""#),
            ("details.details", r#""DWORD (0x00000002)""#),
            ("details.eventtype", r#""SetValue""#),
            ("details.image", r#""C:\\r.exe""#),
        ],
    );
    check(
        r#"{"channel":"Security","eventid":5156,"application":"\\device\\a.exe","direction":"%%14593",
        "sourceaddress":"192.0.2.1","destaddress":"192.0.2.2","destport":"443"}"#,
        &[
            ("details.image", r#""\\device\\a.exe""#),
            ("details.initiated", r#""true""#),
            ("details.destinationip", r#""192.0.2.2""#),
            ("details.destinationipaddress", r#""192.0.2.2""#),
            ("details.destinationport", r#""443""#),
        ],
    );
}

#[test]
fn events_of_others_stay_as_they_are() {
    for event in [
        r#"{}"#,
        r#"{"details":{"channel":"general"}}"#,
        r#"{"details":{"channel":"general","eventid":"join"}}"#,
        r#"{"details":{"event":{"System":"x"}}}"#,
        r##"{"details":{"event":{"System":{"EventID":{"#attributes":{}}}}}}"##,
        r#"{"details":{"winlog":{"x":1}}}"#,
        r#"{"details":{"event_id":3,"event_data":"x"}}"#,
    ] {
        check_unchanged(&WINDOWS_EVENT, event);
    }
}

/// Anything may stand where names, texts and attributes are expected.
#[test]
fn hostile_values_do_not_break_it() {
    let odd = [
        r#"null"#,
        "1",
        "[]",
        "{}",
        r#""""#,
        r#"[{"a":[[1]]}]"#,
        r##"{"#text":{"#text":[]}}"##,
        r#"{"":1," ":2}"#,
    ];
    let sites = crate::cases::sites();
    for one in odd {
        for two in odd {
            let events = [
                format!(
                    r#"{{"event":{{"System":{{"EventID":1,"Provider":{one},"x_attributes":{two}}},"EventData":{one},"UserData":{two}}}}}"#
                ),
                format!(
                    r#"{{"event":{{"System":{{"EventID":1}},"EventData":{{"Data":{one},"Data ":{two}}}}}}}"#
                ),
                format!(
                    r#"{{"winlog":{{"event_id":{one},"user":{two},"event_data":{one},"process":{two}}}}}"#
                ),
                format!(
                    r#"{{"channel":{one},"eventid":1,"hashes":{two},"payload":{one},"ipaddress":{two}}}"#
                ),
            ];
            for event in events {
                let mut event =
                    Event::from_json(&format!(r#"{{"hostname":{one},"details":{event}}}"#)).unwrap();
                let mut context = Context {
                    now: model::time::Timestamp::EPOCH,
                    hostname: "h",
                    geoip: None,
                    sites: &sites,
                    metadata: Metadata::default(),
                };
                assert!((WINDOWS_EVENT.run)(&mut event, &mut context).is_ok(), "{}", event.to_json());
            }
        }
    }
}
