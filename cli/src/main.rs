//! `mozdef`: one binary, whose subcommands are the stages and the tools.
//!
//! In: the command line. Out: an exit code: 0 done, 1 failed, 2 wrong usage.
//! Never: panics on what a user typed or a file holds.

#![forbid(unsafe_code)]

mod admin;
mod arguments;
mod client;
mod commands;
mod configuration;
mod logging;
mod output;
mod process;
mod questions;
mod readiness;
mod samples;
mod stages;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::stages::Stage;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "the one place where a command reports its failure")]
fn complain(error: &anyhow::Error) {
    eprintln!("mozdef: {error:#}");
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config_file = arguments.config.as_deref();
    // Commands without a server need neither a configuration nor a runtime.
    match arguments.command {
        Command::Config(command) => return commands::config::run(config_file, command),
        Command::Rules(command) => return commands::rules::run(config_file, command),
        Command::Normalize(options) => return commands::normalize::run(config_file, options),
        Command::Plugin(command) => return commands::plugin::run(config_file, command),
        Command::Up(_)
        | Command::Gateway(_)
        | Command::Amqp(_)
        | Command::Sqs(_)
        | Command::Syslog(_)
        | Command::Papertrail(_)
        | Command::PubSub(_)
        | Command::Kafka(_)
        | Command::Normalizer(_)
        | Command::Correlator(_)
        | Command::Sink(_)
        | Command::Demo(_)
        | Command::Send(_)
        | Command::Search(_)
        | Command::Alerts(_)
        | Command::Dlq(_)
        | Command::Raw(_)
        | Command::Topics(_) => {}
    }
    let config = configuration::load(config_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Up(options) => commands::up::run(config, options).await,
            Command::Gateway(options) => commands::stage::run(config, Stage::Gateway, options).await,
            Command::Amqp(options) => commands::stage::run(config, Stage::Amqp, options).await,
            Command::Sqs(options) => commands::stage::run(config, Stage::Sqs, options).await,
            Command::Syslog(options) => commands::stage::run(config, Stage::Syslog, options).await,
            Command::Papertrail(options) => commands::stage::run(config, Stage::Papertrail, options).await,
            Command::PubSub(options) => commands::stage::run(config, Stage::PubSub, options).await,
            Command::Kafka(options) => commands::stage::run(config, Stage::Kafka, options).await,
            Command::Normalizer(options) => commands::stage::run(config, Stage::Normalizer, options).await,
            Command::Correlator(options) => commands::stage::run(config, Stage::Correlator, options).await,
            Command::Sink(options) => commands::stage::run(config, Stage::Sink, options).await,
            Command::Demo(options) => commands::demo::run(config, options).await,
            Command::Send(options) => commands::send::run(config, options).await,
            Command::Search(options) => commands::search::run(config, options).await,
            Command::Alerts(options) => commands::alerts::run(config, options).await,
            Command::Dlq(command) => commands::dlq::run(config, command).await,
            Command::Raw(command) => commands::raw::run(config, command).await,
            Command::Topics(command) => commands::topics::run(config, command).await,
            Command::Config(_) | Command::Rules(_) | Command::Normalize(_) | Command::Plugin(_) => {
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // A blocked thread (a full disk, say) must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}
