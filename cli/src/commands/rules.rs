//! `mozdef rules check|test|run`, without a server.
//!
//! In: rule files and folders; for `run`, events in normal form on standard
//! input. Out: findings with their places, test results, or alerts as JSON
//! lines. Never: live rules; events are judged by their own times.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::config::Config;
use serde_json::json;

use crate::arguments::Rules;
use crate::{configuration, output};

/// Runs the command.
pub fn run(config_file: Option<&Path>, command: Rules) -> anyhow::Result<ExitCode> {
    let config = configuration::load(config_file)?.config;
    match command {
        Rules::Check { paths, json } => check(&sources(paths, &config), json),
        Rules::Test { paths, json } => test(&sources(paths, &config), json),
        Rules::Run { paths } => run_rules(&sources(paths, &config), &config),
    }
}

/// What was named, else what the configuration names; empty means the shipped rules.
fn sources(paths: Vec<PathBuf>, config: &Config) -> Vec<PathBuf> {
    if paths.is_empty() { config.correlate.rules.clone() } else { paths }
}
