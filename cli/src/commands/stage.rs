//! `mozdef gateway|normalizer|correlator|sink`: one stage in this process, over Kafka, until Ctrl-C or SIGTERM.

use std::process::ExitCode;

use model::time::Clock;

use super::up::addresses;
use crate::arguments::OneStage;
use crate::configuration::Loaded;
use crate::process::{Process, stopped};
use crate::stages::Stage;
use crate::{logging, output};

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, stage: Stage, options: OneStage) -> anyhow::Result<ExitCode> {
    logging::start("info", options.log_json);
    let stop = stopped()?;
    let process = Process::alone(&loaded.config, Clock::System, stage).await?;
    if let Some(file) = &loaded.file {
        tracing::info!(config = %file.display(), stage = stage.name(), "configuration");
    }
    addresses(&process);
    process.run(stop, || output::line("ready")).await?;
    Ok(ExitCode::SUCCESS)
}
