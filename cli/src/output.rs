//! What the commands print: tables, counts, colours and JSON.
//!
//! In: results. Out: text on standard output. Never: colours where the reader
//! is no terminal, or control characters that came in log data.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::OwoColorize;

/// `1 mistake`, `2 mistakes`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Prints a line; ends the process quietly when the reader has gone (`mozdef search … | head`).
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a value as JSON on one line.
pub(crate) fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// A table with a head; fits the terminal.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    table.trim_fmt()
}

/// Log data on a terminal: control characters (and so escape sequences) become visible dots, length is bounded.
pub(crate) fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    let mut out: String =
        text.chars().take(CHARACTERS_MAX).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// A severity in its colour.
pub(crate) fn severity(word: &str) -> String {
    let word = printable(word);
    match word.as_str() {
        _ if !colours() => word,
        "CRITICAL" | "ERROR" => word.red().to_string(),
        "WARNING" => word.yellow().to_string(),
        "NOTICE" => word.cyan().to_string(),
        _ => word,
    }
}

/// Text made prominent.
pub(crate) fn strong(text: &str) -> String {
    if colours() { text.bold().to_string() } else { text.to_owned() }
}

/// A terminal, and nobody asked for plain text (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{counted, printable};

    #[test]
    fn escape_sequences_in_log_data_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\n"), "a·[31mb··");
        assert_eq!(printable(&"x".repeat(500)).chars().count(), 401);
    }

    #[test]
    fn counts_are_plural_but_for_one() {
        assert_eq!((counted(1, "file"), counted(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }
}
