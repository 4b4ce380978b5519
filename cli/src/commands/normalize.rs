//! `mozdef normalize`: log lines on standard input to normal form, without a server.
//!
//! In: JSON objects or syslog lines. Out: one JSON line for each; what cannot
//! be normalised is told on standard error, with its line, and makes the exit
//! code 1. Never: the log, the index, or a configuration's listeners.

use std::io::{BufRead, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::time::{Clock, Timestamp};
use normalize::offline::{Input, Offline, Result as Normalized};

use crate::arguments::{Format, Normalize};
use crate::configuration;

/// Runs the command.
pub(crate) fn run(config_file: Option<&Path>, options: Normalize) -> anyhow::Result<ExitCode> {
    let mut config = configuration::load(config_file)?.config.normalize;
    if let Some(hostname) = options.hostname {
        config.hostname = hostname;
    }
    let fixed = match &options.now {
        None => None,
        Some(text) => match Timestamp::parse_rfc3339(text) {
            None => bail!("--now {text} is no time such as 2026-01-31T12:00:00Z"),
            now => now,
        },
    };
    if options.plugins.is_some() {
        config.plugins.folder = options.plugins;
    }
    let mut offline = Offline::new(&config, options.plugin.as_deref())?;
    for (name, error) in offline.refused() {
        tell(&format!("plugin {name} is left out: {error}"));
    }
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut failures = 0_u64;
    let mut format = options.format;
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
            break;
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.trim_ascii().is_empty() {
            continue;
        }
        if format == Format::Auto {
            format = if text.trim_ascii_start().starts_with(b"{") { Format::Json } else { Format::Syslog };
        }
        let kind = if format == Format::Syslog { Input::Syslog } else { Input::Json };
        let now = fixed.unwrap_or_else(|| Clock::System.now());
        match offline.normalize(kind, text, now) {
            Normalized::Event(json) => {
                output
                    .write_all(json)
                    .and_then(|()| output.write_all(b"\n"))
                    .context("cannot write the result")?;
            }
            Normalized::Dropped(plugin) => tell(&format!("line {number}: dropped by {plugin}")),
            Normalized::Dead(reason) => {
                failures += 1;
                tell(&format!("line {number}: {reason}"));
            }
        }
    }
    output.flush().context("cannot write the result")?;
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[allow(clippy::print_stderr, reason = "standard output carries the events alone")]
fn tell(text: &str) {
    eprintln!("mozdef: {}", crate::output::printable(text));
}
