//! `mozdef up`: every stage in this process, until Ctrl-C or SIGTERM.

use std::process::ExitCode;

use model::time::Clock;

use crate::arguments::Up;
use crate::configuration::Loaded;
use crate::process::{Process, stopped};
use crate::{logging, output};

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, options: Up) -> anyhow::Result<ExitCode> {
    logging::start("info", options.log_json);
    let mut config = loaded.config;
    if let Some(data) = options.data {
        config.log.data = data;
    }
    if options.plugins.is_some() {
        config.normalize.plugins.folder = options.plugins;
    }
    let stop = stopped()?;
    let process = Process::whole(&config, Clock::System).await?;
    if let Some(file) = &loaded.file {
        tracing::info!(config = %file.display(), "configuration");
    }
    addresses(&process);
    output::line(&format!("data     {}", config.log.data.display()));
    process.run(stop, || output::line("ready")).await?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each address of a process.
pub(crate) fn addresses(process: &Process) {
    if let Some(gateway) = process.gateway {
        output::line(&format!("gateway  http://{gateway}/events"));
    }
    for (name, address) in &process.syslog {
        output::line(&format!("syslog-{name} {address}"));
    }
    if let Some(index) = &process.index {
        output::line(&format!("index    {index}"));
    }
    output::line(&format!("admin    http://{}/metrics", process.admin));
}
