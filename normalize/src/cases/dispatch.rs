//! Which plugins run: made ones with behaviours told in words, and the
//! shipped ones' registrations and priorities.

use model::event::{Event, Path};
use serde_json::{Value, json};

use super::compare::compare;
use super::functions::as_value;
use super::{Outcome, body, text};
use crate::builtin;
use crate::chain::tally::Tally;
use crate::chain::{Chain, Verdict};
use crate::plugin::{self, Context, Metadata, Plugin, PluginError};

pub(super) fn run(file: &str, case: &Value) -> Outcome {
    if file == "shipped_plugin_order" || case.get("order").is_some() { shipped(case) } else { made(case) }
}

/// A plugin as a case tells it.
struct Told {
    name: String,
    registration: Vec<String>,
    priority: i32,
    behaviour: Behaviour,
}

enum Behaviour {
    Append { word: String, set: Option<(String, String)> },
    Drop,
    Metadata { index: String, id: String },
}

impl Told {
    fn read(told: &Value) -> Result<Told, String> {
        let name = text(told, "name").unwrap_or_default().to_owned();
        let words = told.get("registration").and_then(Value::as_array).into_iter().flatten();
        let behaviour = text(told, "behaviour").unwrap_or_default();
        Ok(Told {
            registration: words.filter_map(Value::as_str).map(str::to_owned).collect(),
            priority: told
                .get("priority")
                .and_then(Value::as_i64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(100),
            behaviour: behaviour_of(&name, behaviour).ok_or_else(|| behaviour.to_owned())?,
            name,
        })
    }
}

fn behaviour_of(name: &str, words: &str) -> Option<Behaviour> {
    if words == "return None" {
        return Some(Behaviour::Drop);
    }
    if words == "append own name to trace" {
        return Some(Behaviour::Append { word: name.to_owned(), set: None });
    }
    if let Some(rest) = words.strip_prefix("set metadata index=") {
        let (index, id) = rest.split_once(",id=")?;
        return Some(Behaviour::Metadata { index: index.to_owned(), id: id.to_owned() });
    }
    let (word, set) = words.strip_prefix("append ")?.split_once(" to trace and set ")?;
    let (key, value) = set.split_once('=')?;
    Some(Behaviour::Append { word: word.to_owned(), set: Some((key.to_owned(), value.to_owned())) })
}

impl Plugin for Told {
    fn name(&self) -> &str {
        &self.name
    }

    fn registration(&self) -> Vec<&str> {
        self.registration.iter().map(String::as_str).collect()
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn run(&self, event: &mut Event, context: &mut Context<'_>) -> Result<plugin::Outcome, PluginError> {
        match &self.behaviour {
            Behaviour::Drop => return Ok(plugin::Outcome::Dropped),
            Behaviour::Metadata { index, id } => {
                context.metadata = Metadata { index: Some(index.clone()), id: Some(id.clone()) };
            }
            Behaviour::Append { word, set } => {
                if event.member("trace").is_none() {
                    event.set_member("trace", model::event::New::EmptyArray)?;
                }
                event.push(&Path::new("trace"), word)?;
                if let Some((key, value)) = set {
                    event.set_member(key, value)?;
                }
            }
        }
        Ok(plugin::Outcome::Changed)
    }
}

fn made(case: &Value) -> Outcome {
    let mut plugins: Vec<Box<dyn Plugin>> = Vec::new();
    for told in case.get("plugins").and_then(Value::as_array).into_iter().flatten() {
        match Told::read(told) {
            Ok(plugin) => plugins.push(Box::new(plugin)),
            Err(behaviour) => return Outcome::NotYetSupported(format!("behaviour {behaviour}")),
        }
    }
    let mut event = match Event::from_json(&body(case.get("input"))) {
        Ok(event) => event,
        Err(error) => return Outcome::Failed(format!("input: {error}")),
    };
    let sites = super::sites();
    let mut context = Context {
        now: super::now(case),
        hostname: super::hostname(case),
        geoip: None,
        sites: &sites,
        metadata: Metadata::default(),
    };
    let verdict = Chain::new(plugins).run(&mut event, &mut context, &mut Tally::default());
    let document = match verdict {
        Ok(Verdict::Kept) => as_value(&event),
        Ok(Verdict::Dropped { .. }) => Value::Null,
        Ok(Verdict::Waiting { .. }) => return Outcome::NotYetSupported("plugins that are asked".to_owned()),
        Ok(Verdict::Failed { remark }) => return Outcome::Failed(remark),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let got = json!({ "expected": document, "metadata_out": metadata(&context.metadata) });
    let wanted = json!({ "expected": case.get("expected"), "metadata_out": case.get("metadata_out") });
    compare(&got, &wanted, case)
}

/// Metadata as the recorder wrote it.
pub(super) fn metadata(metadata: &Metadata) -> Value {
    json!({ "index": metadata.index.as_deref().unwrap_or("events"), "id": metadata.id })
}

/// Priority and registration of each shipped plugin that is built. `parse_su` was registered to `sshd` by mistake.
fn shipped(case: &Value) -> Outcome {
    let mut missing = Vec::new();
    for row in case.get("order").and_then(Value::as_array).into_iter().flatten() {
        let name = text(row, "plugin").unwrap_or_default();
        let Some(built) = builtin::ALL.iter().find(|built| built.name == name) else {
            missing.push(name);
            continue;
        };
        let words = if name == "parse_su" {
            json!(["su"])
        } else {
            row.get("registration").cloned().unwrap_or_default()
        };
        let first = words.as_array().into_iter().flatten().filter_map(Value::as_str);
        let registered = first.into_iter().all(|word| built.registration.contains(&word));
        if !registered || row.get("priority") != Some(&json!(built.priority)) {
            let (words, priority) = (built.registration, built.priority);
            return Outcome::Failed(format!(
                "{name} has registration {words:?} and priority {priority}, not {row}"
            ));
        }
    }
    if missing.is_empty() { Outcome::Passed } else { Outcome::NotYetSupported(missing.join(", ")) }
}
