//! Native plugins on events that no sender means: any of their keys with any kind of value.
//!
//! In: generated events. Out: a failure when a plugin panics, fails, or says that it did
//! nothing and wrote. (A refused write is a failure too: these events are small.)

use model::event::Event;
use model::time::Timestamp;
use normalize::builtin::ALL;
use normalize::plugin::{Context, Metadata, Outcome};
use proptest::prelude::*;

/// Top-level members that plugins read.
const MEMBERS: &[&str] = &[
    "summary",
    "processname",
    "source",
    "category",
    "type",
    "hostname",
    "customendpoint",
    "MESSAGE",
    "message",
    "SOURCE",
    "HOST_FROM",
    "host_from",
    "event_type",
    "tags",
    "eventsource",
    "severity",
    "errors",
    "utctimestamp",
    "endpoint",
    "version",
    "asset",
    "vuln",
    "zone",
    "sourcename",
    "description",
];

/// Members of `details` that plugins read.
const DETAILS: &[&str] = &[
    "sourceipaddress",
    "destinationipaddress",
    "src",
    "dst",
    "srcip",
    "dstip",
    "http_x_forwarded_for",
    "cluster_client_ip",
    "program",
    "eventversion",
    "eventsource",
    "eventname",
    "awsregion",
    "eventVersion",
    "eventSource",
    "eventName",
    "awsRegion",
    "detail",
    "eventtime",
    "requestparameters",
    "responseelements",
    "additionaleventdata",
    "event_type",
    "flow_id",
    "src_ip",
    "dest_ip",
    "src_port",
    "flow",
    "http",
    "alert",
    "payload",
    "smtp",
    "email",
    "stats",
    "stream",
    "_path",
    "_write_ts",
    "ts",
    "uid",
    "id.orig_h",
    "id_resp_p",
    "tx_hosts",
    "rx_hosts",
    "conn_state",
    "service",
    "sub",
    "actions",
    "note",
    "uri",
    "times.created",
    "version.major",
    "certificate.serial",
    "system",
    "logname",
    "kind",
    "etag",
    "nagios_hostname",
    "http_user_agent",
    "tls",
    "actor",
    "command",
    "parentprocess",
    "duser",
    "suser",
    "dhost",
    "gid",
    "auid",
    "cmdline",
    "message",
    "event",
    "body",
    "head_commit",
    "repository",
    "sender",
    "object",
    "operator",
    "participant",
    "logName",
    "protoPayload",
    "jsonPayload",
    "textPayload",
    "timestamp",
    "finding",
    "resource",
    "instanceDetails",
    "networkInterfaces",
    "action",
    "actionType",
    "category",
    "title",
    "target",
    "policy",
    "check",
    "test",
    "hostname",
];

/// Texts that steer plugins into their branches.
const TEXTS: &[&str] = &[
    "",
    " ",
    "sshd",
    "su",
    "sudo",
    "squid",
    "bro",
    "proxy",
    "suricata",
    "cloudtrail",
    "eve-log",
    "alert",
    "access",
    "conn",
    "notice",
    "x509",
    "smb_files",
    "bro_notice",
    "bro_software",
    "Notice::ACTION_LOG",
    "10.0.0.1",
    "10.1",
    "::1",
    "10.0.0.1, ::1",
    "8.8.8.8/33",
    "-",
    "ä",
    "[",
    "{}",
    "{\"ts\":1}",
    "[1,2]",
    "2020-01-01T00:00:00Z",
    "1e400",
    "Accepted password for u from 10.0.0.1 port 22 ssh2",
    "Failed none for invalid user  from ::1 port 1 ssh2",
    "message repeated 2 times: [ Failed password for u from 10.0.0.1 port 2 ssh2]",
    "pam_unix(su:session): session opened for user a by b(uid=0)",
    "pam_unix(sudo:auth): authentication failure; user= ruser=",
    "Invalid user",
    "a : TTY=x ; COMMAND=",
    "FAILED SU (to a) b on c",
    "1548043032.187 412 10.0.0.1 5 - - TCP_DENIED 403 158 453 GET http://é/ http - text/html",
    "1 1 a b/c 1 CONNECT [ - d/e -",
    "auditd",
    "guardduty",
    "UnauthorizedAccess:EC2/SSHBruteForce",
    "githubeventsqs",
    "push",
    "pubsub",
    "stackdriver",
    "projects/p/logs/syslog",
    "activity",
    "gceactivity",
    "syslog",
    "zoom",
    "vulnerability",
    "complianceitems",
    "h.private.dc1.mozilla.com",
    "listThings",
    "0",
];

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        4 => proptest::sample::select(TEXTS).prop_map(serde_json::Value::from),
        1 => "\\PC{0,12}".prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => any::<f64>().prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            object(DETAILS, inner, 4).prop_map(serde_json::Value::from),
        ]
    })
}

fn object(
    keys: &'static [&'static str],
    value: impl Strategy<Value = serde_json::Value>,
    most: usize,
) -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    proptest::collection::vec((proptest::sample::select(keys).prop_map(str::to_owned), value), 0..most)
        .prop_map(|members| members.into_iter().collect())
}

fn event() -> impl Strategy<Value = serde_json::Value> {
    let details =
        prop_oneof![9 => object(DETAILS, value(), 12).prop_map(serde_json::Value::from), 1 => value()];
    (object(MEMBERS, value(), 8), proptest::option::weighted(0.9, details)).prop_map(
        |(mut members, details)| {
            if let Some(details) = details {
                members.insert("details".to_owned(), details);
            }
            members.into()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plugin_panics_or_lies(event in event()) {
        let before = Event::from_json(&event.to_string()).unwrap();
        for plugin in ALL {
            let mut after = before.clone();
            let metadata = Metadata::default();
            let (now, sites) = (Timestamp::EPOCH, model::config::SitesConfig::default());
            let mut context = Context { now, hostname: "mozdef.test", geoip: None, sites: &sites, metadata };
            match (plugin.run)(&mut after, &mut context) {
                Ok(Outcome::Unchanged) => prop_assert_eq!(after.to_json(), before.to_json(), "{}", plugin.name),
                Ok(Outcome::Changed | Outcome::Dropped) => {}
                // `details` may be no object; then nothing can be written into it.
                Err(error) => prop_assert!(before.member("details").is_some_and(|details| details.as_object().is_none())
                    || error.to_string().contains("not an object"), "{}: {error}", plugin.name),
            }
            prop_assert!(Event::from_json(&after.to_json()).is_ok(), "{}", plugin.name);
        }
    }
}
