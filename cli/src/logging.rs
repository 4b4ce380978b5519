//! Structured logs on standard error.
//!
//! In: `$MOZDEF_LOG` (such as `info,stream=debug`; default `info`). Out: text
//! or JSON lines. Never: secrets, or whole events above debug level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; later calls change nothing.
pub(crate) fn start(default: &str, json: bool) {
    let filter = std::env::var("MOZDEF_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(format!("{default},tantivy=warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).with_target(true).try_init()
    };
    // A second start (tests) finds a subscriber already set: that one stays.
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
