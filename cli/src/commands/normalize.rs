//! `mozdef normalize`: log lines on standard input to normal form, without a server.
//!
//! In: JSON objects, each on a line or over several, or syslog lines. Out: one JSON line for each; what cannot
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
    let mut pieces = Pieces::new(std::io::stdin().lock());
    while let Some((number, text)) = pieces.next(&mut format).context("cannot read standard input")? {
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

/// Most bytes of one object over several lines.
const OBJECT_BYTES_MAX: usize = 16 << 20;

/// What is normalised at once: a line, or the lines of one JSON object.
struct Pieces<R> {
    input: R,
    piece: Vec<u8>,
    /// A line that was read and belongs to the next piece.
    ahead: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Pieces<R> {
    fn new(input: R) -> Pieces<R> {
        Pieces { input, piece: Vec::new(), ahead: Vec::new(), number: 0 }
    }

    /// The next piece with the number of its first line. An object that breaks off ends where another one begins.
    fn next(&mut self, format: &mut Format) -> std::io::Result<Option<(u64, &[u8])>> {
        self.piece.clear();
        let mut first = 0;
        let mut open = Open::default();
        while self.read()? {
            let starts = self.ahead.starts_with(b"{");
            if first > 0 && (starts || self.piece.len() > OBJECT_BYTES_MAX) {
                break;
            }
            self.number += 1;
            if first == 0 && self.ahead.trim_ascii().is_empty() {
                self.ahead.clear();
                continue;
            }
            if *format == Format::Auto {
                let is_json = self.ahead.trim_ascii_start().starts_with(b"{");
                *format = if is_json { Format::Json } else { Format::Syslog };
            }
            first = if first == 0 { self.number } else { first };
            open.take(&self.ahead);
            self.piece.append(&mut self.ahead);
            if *format == Format::Syslog || !open.is_open() {
                break;
            }
        }
        let text = self.piece.strip_suffix(b"\n").unwrap_or(&self.piece);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        Ok((first > 0).then_some((first, text)))
    }

    /// A line lies ahead; false at the end.
    fn read(&mut self) -> std::io::Result<bool> {
        Ok(!self.ahead.is_empty() || self.input.read_until(b'\n', &mut self.ahead)? > 0)
    }
}

/// Which braces and quotes of JSON are open.
#[derive(Default)]
struct Open {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Open {
    fn take(&mut self, line: &[u8]) {
        for byte in line {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' if self.is_text => self.is_escaped = true,
                b'"' => self.is_text = !self.is_text,
                b'{' | b'[' if !self.is_text => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if !self.is_text => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// No text goes over the end of a line.
    fn is_open(&self) -> bool {
        self.depth > 0 && !self.is_text
    }
}

#[allow(clippy::print_stderr, reason = "standard output carries the events alone")]
fn tell(text: &str) {
    eprintln!("mozdef: {}", crate::output::printable(text));
}

#[cfg(test)]
mod tests {
    use super::Pieces;
    use crate::arguments::Format;

    #[track_caller]
    fn check(input: &str, expected: &[(u64, &str)]) {
        let mut pieces = Pieces::new(input.as_bytes());
        let mut format = Format::Auto;
        let mut got = Vec::new();
        while let Some((number, text)) = pieces.next(&mut format).unwrap() {
            got.push((number, std::str::from_utf8(text).unwrap().to_owned()));
        }
        let expected: Vec<(u64, String)> =
            expected.iter().map(|(n, text)| (*n, (*text).to_owned())).collect();
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn objects_stand_on_a_line_or_over_several() {
        check("{\"a\":1}\r\n\n{\"b\":2}", &[(1, "{\"a\":1}"), (3, "{\"b\":2}")]);
        check("{\n \"a\": \"}\\\"{\"\n}\n{\n}\n", &[(1, "{\n \"a\": \"}\\\"{\"\n}"), (4, "{\n}")]);
        check("{\"a\":\n{\"b\":2}\n{\"c\":", &[(1, "{\"a\":"), (2, "{\"b\":2}"), (3, "{\"c\":")]);
        check("{\"a\":\"x\n{\"b\":2}\n", &[(1, "{\"a\":\"x"), (2, "{\"b\":2}")]);
        check("<13>a {\n<13>b\n", &[(1, "<13>a {"), (2, "<13>b")]);
    }
}
