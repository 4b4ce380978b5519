//! `mozdef rules explain`: why a rule matches an event or does not.
//!
//! In: a rule by id, name or title; one event, in normal form or as it came.
//! Out: a tree of what held and what did not. Never: windows; of a correlation
//! each rule that it names is explained.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use correlate::explain;
use model::config::Config;
use model::event::{Event, Limits};
use model::time::Clock;
use normalize::offline::{Input, Offline, Result as Normalized};
use serde_json::Value;

use super::parsed;
use crate::arguments::Explain;
use crate::output;

/// Runs the command. It fails where the rule does not match.
pub(super) fn run(config: &Config, options: &Explain) -> anyhow::Result<ExitCode> {
    let text = read(options)?;
    let event = event(&text, options.raw, config)?;
    let parsed = parsed(options.rules.clone(), config);
    let explanations = explain::rule(&parsed, &options.rule, &event);
    if explanations.is_empty() {
        bail!("there is no rule with the id, name or title {:?}; see `mozdef rules list`", options.rule);
    }
    if options.json {
        output::json(&Value::from(
            explanations.iter().map(explain::Explanation::to_json).collect::<Vec<_>>(),
        ));
    } else {
        let lines = explanations.iter().flat_map(explain::Explanation::lines);
        lines.for_each(|line| output::line(&output::printable(&line)));
    }
    Ok(super::exit_code(explanations.iter().any(|one| one.holds)))
}

fn read(options: &Explain) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    match &options.event {
        Some(path) => {
            text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        None => {
            std::io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
        }
    }
    Ok(text)
}

fn event(text: &[u8], is_raw: bool, config: &Config) -> anyhow::Result<Event> {
    let mut event = Event::new();
    if !is_raw {
        event.parse(text, &Limits::default()).context("the event is no JSON object")?;
        return Ok(event);
    }
    let input = if text.trim_ascii_start().starts_with(b"{") { Input::Json } else { Input::Syslog };
    let mut normalizer = Offline::new(&config.normalize, None)?;
    match normalizer.normalize(input, text.trim_ascii(), Clock::System.now()) {
        Normalized::Event(json) => {
            event.parse(json, &Limits::default()).context("the normal form is no JSON object")?;
        }
        Normalized::Dropped(plugin) => bail!("the plugin {plugin} drops this event"),
        Normalized::Dead(cause) => bail!("the event cannot be normalised: {cause}"),
    }
    Ok(event)
}
