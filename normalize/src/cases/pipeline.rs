//! From the body of a message to the stored document, and single plugins.

use model::config::NormalizeConfig;
use serde_json::{Value, json};

use super::compare::compare;
use super::dispatch::metadata;
use super::{Outcome, body, hostname, now, text, wanted};
use crate::builtin;
use crate::chain::tally::Tally;
use crate::normalizer::{Alone, Format, Normalized, Normalizer, Raw, Sender};
use crate::plugin::Metadata;
use crate::start::Settings;

/// The original's plugins and what wakes them: what is not built yet is told by this table.
const ORIGINAL: [(&str, &[&str]); 35] = [
    ("ttl_auditd", &["auditd", "command"]),
    ("dropMessage", &["ELB-HealthChecker/1.0"]),
    ("auditdFixup", &["auditd", "audisp-json"]),
    ("zoom_fixup", &["zoom_host"]),
    ("customDocType", &["customendpoint"]),
    ("guardDuty", &["guardduty"]),
    ("lower_keys", &["cloudtrail", "suricata", "guardduty"]),
    ("parse_su", &["su"]),
    ("suricataFixup", &["suricata"]),
    ("squidFixup", &["squid"]),
    ("nagioshostname", &["nagios_hostname"]),
    ("broFixup", &["bro"]),
    ("rt_flow", &["rt_flow"]),
    ("stackdriver", &["pubsub"]),
    ("googleFixup", &["google"]),
    ("observium", &["observium"]),
    ("mozilla_location", &["network", "netflow"]),
    ("triage_bot", &["triagebot"]),
    ("remove_dots", &["cloudtrail"]),
    ("sshdFindIP", &["sshd", "fail2ban"]),
    ("netflowFixup", &["netflow"]),
    ("parse_sshd", &["sshd"]),
    ("ldap_fixup", &["LDAP-Humanizer", "ldap"]),
    ("snmptt", &["snmptt"]),
    ("cloudtrail", &["cloudtrail"]),
    ("filterlog", &["filterlog"]),
    ("github_webhooks", &["githubeventsqs"]),
    ("stackdriver_syslog", &["stackdriver"]),
    ("stackdriver_audit", &["stackdriver"]),
    (
        "ipFixup",
        &["sourceipaddress", "destinationipaddress", "src", "dst", "srcip", "dstip", "http_x_forwarded_for"],
    ),
    ("stackdriver_gceactivity", &["stackdriver"]),
    ("large_strings", &["githubeventsqs"]),
    ("geoip", &["sourceipaddress", "destinationipaddress"]),
    ("complianceitems", &["complianceitems"]),
    ("vulnerability", &["vulnerability"]),
];

fn is_built(name: &str) -> bool {
    builtin::ALL.iter().any(|plugin| plugin.name == name)
}

fn normalizer(case: &Value) -> Result<Normalizer, Outcome> {
    let (hostname, sites) = (hostname(case).to_owned(), super::sites());
    let config = NormalizeConfig { hostname, sites, ..NormalizeConfig::default() };
    match Settings::from_config(&config) {
        Ok(settings) => Ok(Normalizer::new(settings)),
        Err(error) => Err(Outcome::Failed(error.to_string())),
    }
}

/// A message's body; stored is one document, or none: dead or dropped.
pub(super) fn run(case: &Value, listed: Option<&Value>) -> Outcome {
    stored(&body(case.get("input")), Format::Json, case, listed)
}

/// A message of one of the workers for other sources than HTTP and AMQP, by file.
pub(super) fn run_worker(file: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    match file {
        "sns_sqs" => stored(&body(case.get("input_sqs_body")), Format::Sns, case, listed),
        "pubsub" => stored(&body(case.get("input")), Format::PubSub, case, listed),
        _ => Outcome::NotYetSupported(format!("there is no input {file}")),
    }
}

fn stored(value: &str, format: Format, case: &Value, listed: Option<&Value>) -> Outcome {
    let mut normalizer = match normalizer(case) {
        Ok(normalizer) => normalizer,
        Err(outcome) => return outcome,
    };
    let raw = Raw {
        value: value.as_bytes(),
        format,
        received: now(case),
        endpoint: None,
        custom_endpoint: false,
        queue: queue(case, format),
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    let got = match normalizer.normalize(raw, &mut Tally::default()) {
        Normalized::Event { json, metadata: chosen } => {
            let document: Value = serde_json::from_slice(json).unwrap_or_default();
            let chosen = metadata(chosen);
            json!([{ "index": chosen.get("index"), "id": chosen.get("id"), "document": document }])
        }
        Normalized::Dropped { .. } | Normalized::Dead { .. } => json!([]),
    };
    let stored = wanted(case, listed, "stored");
    if let Some(name) = missing(stored, value) {
        return Outcome::NotYetSupported(format!("plugin {name}"));
    }
    compare(&as_decided(got), &as_decided(without_bulk(stored.clone())), case)
}

/// Where the message came from: as the case says, else the subscription that the recorder had.
fn queue(case: &Value, format: Format) -> Option<&str> {
    let said = case.get("options").and_then(|options| text(options, "taskexchange"));
    said.or((format == Format::PubSub).then_some("projects/p/subscriptions/s"))
}

/// A plugin that the case needs and that is not built: by the recorded list, or by the words of what was dropped.
fn missing(stored: &Value, body: &str) -> Option<String> {
    let names = stored.pointer("/0/document/mozdef/plugins").and_then(Value::as_array).into_iter().flatten();
    if let Some(name) = names.filter_map(Value::as_str).find(|name| !is_built(name)) {
        return Some(name.to_owned());
    }
    let event =
        model::event::Event::from_json(body).ok().filter(|_| stored.as_array().is_none_or(Vec::is_empty))?;
    let words = crate::chain::keys_and_values(&event);
    let wakes = |registered: &[&str]| registered.iter().any(|word| words.contains(&word.to_lowercase()));
    let found = ORIGINAL.iter().find(|(name, registered)| !is_built(name) && wakes(registered))?;
    Some(found.0.to_owned())
}

/// How the original's own buffer was used is none of our concern.
fn without_bulk(mut stored: Value) -> Value {
    for document in stored.as_array_mut().into_iter().flatten() {
        if let Some(document) = document.as_object_mut() {
            document.shift_remove("bulk");
        }
    }
    stored
}

/// Lists of plugins as they were decided: equal priorities by name, `parse_su` only where it is woken, and without
/// the plugins that the original did not have.
fn as_decided(mut stored: Value) -> Value {
    for document in stored.as_array_mut().into_iter().flatten() {
        let Some(Value::Array(names)) = document.pointer_mut("/document/mozdef/plugins") else { continue };
        names.retain(|name| name != "parse_su" && ORIGINAL.iter().any(|(known, _)| name == known));
        let priority = |name: &Value| {
            let built = builtin::ALL.iter().find(|plugin| name == plugin.name);
            (built.map_or(0, |plugin| plugin.priority), name.as_str().unwrap_or_default().to_owned())
        };
        names.sort_by_key(priority);
    }
    stored
}

/// One plugin, called whatever its registration.
pub(super) fn run_plugin(name: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    let name = text(case, "plugin").unwrap_or(name);
    if !is_built(name) {
        return Outcome::NotYetSupported(format!("plugin {name}"));
    }
    // Some of the original's own tests gave a plugin another host name than the worker's.
    let mut case = case.clone();
    let named = wanted(&case, listed, "expected").get("mozdefhostname").cloned();
    let volatile = case.get("volatile").and_then(Value::as_array).into_iter().flatten();
    let is_volatile = volatile.into_iter().any(|pointer| pointer == "/mozdefhostname");
    if let (Some(named), false, Some(case)) = (named, is_volatile, case.as_object_mut()) {
        case.insert("mozdefhostname".to_owned(), named);
    }
    let case = &case;
    let mut normalizer = match normalizer(case) {
        Ok(normalizer) => normalizer,
        Err(outcome) => return outcome,
    };
    let given = case.get("metadata_in");
    let of = |field| given.and_then(|given| text(given, field)).map(str::to_owned);
    let metadata_in = Metadata { index: of("index").filter(|index| index != "events"), id: of("id") };
    let input = body(case.get("input"));
    let (document, chosen) = match normalizer.run_plugin(name, input.as_bytes(), metadata_in, now(case)) {
        Alone::Event(json, chosen) => (serde_json::from_str(&json).unwrap_or_default(), Some(chosen)),
        Alone::Dropped => (Value::Null, None),
        Alone::Failed(cause) | Alone::Unreadable(cause) => return Outcome::Failed(cause),
        Alone::UnknownPlugin => return Outcome::NotYetSupported(format!("plugin {name}")),
    };
    match compare(&document, wanted(case, listed, "expected"), case) {
        Outcome::Passed => {}
        other => return other,
    }
    match (chosen, wanted(case, listed, "metadata_out")) {
        (Some(chosen), Value::Object(recorded)) => {
            let recorded: serde_json::Map<_, _> = recorded
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            compare(&metadata(&chosen), &Value::Object(recorded), case)
        }
        _ => Outcome::Passed,
    }
}
