//! `mozdef up`: every stage in this process, until Ctrl-C or SIGTERM.

use std::process::ExitCode;

use model::time::Clock;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Up;
use crate::configuration::Loaded;
use crate::{logging, output, up};

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Up) -> anyhow::Result<ExitCode> {
    logging::start("info", options.log_json);
    let mut config = loaded.config;
    if let Some(data) = options.data {
        config.log.data = data;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let running = up::start(&config, Clock::System).await?;
    if let Some(file) = &loaded.file {
        tracing::info!(config = %file.display(), "configuration");
    }
    output::line(&format!("gateway  http://{}/events", running.gateway));
    output::line(&format!("index    {}", running.index));
    output::line(&format!("admin    http://{}/metrics", running.admin));
    output::line(&format!("data     {}", config.log.data.display()));
    output::line("ready");
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = tokio::signal::ctrl_c() => tracing::info!("Ctrl-C"),
        }
    };
    running.wait(stop).await?;
    Ok(ExitCode::SUCCESS)
}
