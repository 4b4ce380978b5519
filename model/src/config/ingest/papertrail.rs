//! Papertrail's search API.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mistake;

/// An account of Papertrail whose events are fetched. Its name in the configuration becomes a tag of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PapertrailConfig {
    /// File that holds the API token, on its first line.
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds the API token, when there is no file.
    pub token_env: Option<String>,
    /// Search; every event when empty.
    pub query: String,
    /// Time between two searches once everything was fetched, in seconds.
    #[schemars(range(min = 1, max = 86400))]
    pub interval_s: u64,
    /// How far back the first search of all begins, in seconds. Later ones begin where the last one ended, also after a
    /// restart.
    #[schemars(range(max = 31536000))]
    pub start_before_s: u64,
    /// How far back every search looks again, in seconds, for events that Papertrail's index showed late.
    #[schemars(range(max = 3600))]
    pub overlap_s: u64,
    /// Events of one answer.
    #[schemars(range(min = 1, max = 10000))]
    pub page: u32,
    /// Address of the API.
    pub url: String,
}

impl Default for PapertrailConfig {
    fn default() -> Self {
        PapertrailConfig {
            token_file: None,
            token_env: None,
            query: String::new(),
            interval_s: 30,
            start_before_s: 300,
            overlap_s: 60,
            page: 1000,
            url: "https://papertrailapp.com/api/v1".to_owned(),
        }
    }
}

impl PapertrailConfig {
    /// What is wrong with the values: key, what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        match (&self.token_file, &self.token_env) {
            (None, None) => found.push((
                "token_file".to_owned(),
                "no API token".to_owned(),
                "name a file, or an environment variable in `token_env`".to_owned(),
            )),
            (Some(_), Some(_)) => found.push((
                "token_env".to_owned(),
                "there is a `token_file` too".to_owned(),
                "keep one of them".to_owned(),
            )),
            _ => {}
        }
        if !super::is_http(&self.url) {
            found.push((
                "url".to_owned(),
                format!("{:?} is no http address", self.url),
                "begin with https://".to_owned(),
            ));
        }
        found
    }
}
