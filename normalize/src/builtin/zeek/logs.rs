//! The table of Zeek's logs: what each line gets where it lacks it, and its summary.
//!
//! In: nothing. Out: 28 rows. Never: code; what needs code is in `shapes`.

use model::event::{EditError, Event};

use super::shapes;

/// One log.
pub(super) struct Log {
    /// Its name, as in `_path`.
    pub(super) name: &'static str,
    /// What is moved before the defaults.
    pub(super) reshape: fn(&mut Event) -> Result<(), EditError>,
    /// What a line without these keys gets.
    pub(super) defaults: &'static [(&'static str, Fill)],
    /// The template of the summary.
    pub(super) summary: &'static str,
}

/// What is filled in.
#[derive(Clone, Copy)]
pub(super) enum Fill {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
    /// The value of another key.
    CopyOf(&'static str),
}

use Fill::{CopyOf, Number, Text};

/// A log that needs no reshaping.
const fn plain(name: &'static str, defaults: &'static [(&'static str, Fill)], summary: &'static str) -> Log {
    Log { name, reshape: shapes::none, defaults, summary }
}

/// Every known log.
pub(super) const LOGS: &[Log] = &[
    Log {
        name: "conn",
        reshape: shapes::conn,
        defaults: &[("originipbytes", Number(0)), ("responseipbytes", Number(0)), ("history", Text(""))],
        summary: "{sourceipaddress}:{sourceport} -> {destinationipaddress}:{destinationport} {history} {originipbytes} bytes / {responseipbytes} bytes",
    },
    plain(
        "dns",
        &[("qtype_name", Text("unknown")), ("query", Text("")), ("rcode_name", Text(""))],
        "DNS {qtype_name} type query {ends}",
    ),
    Log {
        name: "http",
        reshape: shapes::http,
        defaults: &[("method", Text("")), ("host", Text("")), ("uri", Text("")), ("status_code", Text(""))],
        summary: "HTTP {method} {ends}",
    },
    plain("ssl", &[("server_name", CopyOf("destinationipaddress"))], "SSL: {ends}"),
    Log {
        name: "files",
        reshape: shapes::files,
        defaults: &[
            ("mime_type", Text("unknown")),
            ("filename", Text("unknown")),
            ("md5", Text("None")),
            ("filesource", Text("None")),
        ],
        summary: "{sourceipaddress} downloaded (MD5) {md5} MIME {mime_type} ({seen_bytes} bytes) from {destinationipaddress} via {filesource}",
    },
    plain("ssh", &[], "SSH: {ends}[ success {auth_success}]"),
    Log {
        name: "notice",
        reshape: shapes::notice,
        defaults: &[],
        summary: "{note} source {sourceipv6address|sourceipv4address} destination {destinationipv6address|destinationipv4address} port {p}",
    },
    Log { name: "x509", reshape: shapes::x509, defaults: &[], summary: "X509 certificate seen" },
    plain(
        "dhcp",
        &[("assigned_addr", Text("0.0.0.0")), ("mac", Text("000000000000"))],
        "{assigned_addr} assigned to {mac}",
    ),
    plain("ftp", &[("command", Text("")), ("user", Text(""))], "FTP: {ends}"),
    plain("pe", &[("os", Text("")), ("subsystem", Text(""))], "PE file: {os} {subsystem}"),
    Log { name: "smtp", reshape: shapes::smtp, defaults: &[], summary: "SMTP: {ends}" },
    plain("tunnel", &[("tunnel_type", Text("")), ("action", Text(""))], "{ends} {tunnel_type} {action}"),
    Log {
        name: "intel",
        reshape: shapes::intel,
        defaults: &[("seenwhere", Text("unknown")), ("seenindicatortype", Text("unknown"))],
        summary: "Bro intel match of {seenindicatortype} in {seenwhere}",
    },
    plain("known_certs", &[("serial", Text("0"))], "Certificate X509 seen from: {host}:{port_num}"),
    plain("known_devices", &[("mac", Text("")), ("dhcp_host_name", Text(""))], "New host: {mac}"),
    plain("known_hosts", &[("host", Text(""))], "New host: {host}"),
    Log {
        name: "known_services",
        reshape: shapes::known_services,
        defaults: &[("host", Text("unknown")), ("port_num", Text("0")), ("port_proto", Text(""))],
        summary: "New service: {service} on host {host}:{port_num} / {port_proto}",
    },
    plain("rdp", &[("cookie", Text("unknown"))], "RDP: {ends}"),
    plain(
        "sip",
        &[("status_msg", Text("unknown")), ("uri", Text("unknown")), ("method", Text("unknown"))],
        "SIP: {ends} method {method} status {status_msg}",
    ),
    Log {
        name: "software",
        reshape: shapes::software,
        defaults: &[
            ("name", Text("unparsed")),
            ("software_type", Text("unknown")),
            ("host", Text("unknown")),
        ],
        summary: "Found {software_type} software on {host}",
    },
    plain(
        "socks",
        &[("version", Text("0")), ("status", Text("unknown"))],
        "SOCKSv{version}: {ends} status {status}",
    ),
    plain("dce_rpc", &[("endpoint", Text("unknown")), ("operation", Text("unknown"))], "DCERPC: {ends}"),
    plain(
        "kerberos",
        &[("client", Text("unknown")), ("request_type", Text("unknown")), ("error_msg", Text(""))],
        "{ends} request {request_type} success {success}",
    ),
    Log {
        name: "ntlm",
        reshape: shapes::ntlm,
        defaults: &[("status", Text("unknown"))],
        summary: "NTLM: {ends} success {success} status {status}",
    },
    Log {
        name: "smb_files",
        reshape: shapes::smb_files,
        defaults: &[("path", Text("")), ("name", Text("")), ("action", Text(""))],
        summary: "SMB file: {ends} {action}",
    },
    plain("smb_mapping", &[("share_type", Text("")), ("path", Text(""))], "SMB mapping: {ends} {share_type}"),
    Log {
        name: "snmp",
        reshape: shapes::snmp,
        defaults: &[
            ("version", Text("Unknown")),
            ("get_bulk_requests", Number(0)),
            ("get_requests", Number(0)),
            ("set_requests", Number(0)),
            ("get_responses", Number(0)),
        ],
        summary: "SNMPv{version}: {ends} ({getreqestssum} get / {set_requests} set requests {get_responses} get responses)",
    },
];
