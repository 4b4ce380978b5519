//! Why a plugin gave no verdict.
//!
//! In: errors of wasmtime. Out: a closed cause, for metrics, and words for people. Never: what a plugin said of
//! itself without a bound.

use wasmtime::Trap;

/// Longest description of a failure, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What went wrong in a call; the label of `mozdef_plugin_calls_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It took longer than its deadline.
    Timeout,
    /// It wanted more memory than its limit.
    Memory,
    /// It ended itself, or did what is not allowed.
    Trap,
    /// What it gave is no answer: too large, not UTF-8, not JSON, or not one verdict for each event.
    Output,
    /// No instance could be made.
    Start,
}

impl Cause {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Timeout => "timeout",
            Cause::Memory => "memory",
            Cause::Trap => "trap",
            Cause::Output => "output",
            Cause::Start => "start",
        }
    }
}

/// Why an event has no verdict of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The call went wrong.
    #[error("{text}")]
    Call {
        /// What kind of failure.
        cause: Cause,
        /// More about it.
        text: String,
    },
    /// The plugin says that it cannot deal with the event.
    #[error("{0}")]
    Said(String),
    /// It failed too often and is not asked any more.
    #[error("it is quarantined after repeated failures")]
    Quarantined,
}

impl Failure {
    /// From what wasmtime says of a call. `refused`: whether memory was asked for that there is not.
    pub(crate) fn of_call(error: &wasmtime::Error, refused: bool, deadline_ms: u128) -> Failure {
        let (cause, text) = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => (Cause::Timeout, format!("it took longer than {deadline_ms} ms")),
            Some(_) if refused => (Cause::Memory, "it wanted more memory than its limit".to_owned()),
            Some(trap) => (Cause::Trap, trap.to_string()),
            // Not a trap of its code: lifting what it gave has failed, or it called what is not there.
            None if refused => (Cause::Memory, "it wanted more memory than its limit".to_owned()),
            None => {
                let text = format!("{error:#}");
                let cause = if is_about_output(&text) { Cause::Output } else { Cause::Trap };
                (cause, text)
            }
        };
        Failure::Call { cause, text: bounded(&text) }
    }
}

/// Wasmtime has words, not types, for what it cannot lift.
fn is_about_output(text: &str) -> bool {
    ["utf", "discriminant", "fuel", "out of bounds", "pointer not aligned", "allocat"]
        .iter()
        .any(|word| text.contains(word))
}

/// A text of bounded length.
pub(crate) fn bounded(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
