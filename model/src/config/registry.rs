//! A schema registry: where it is, and the login.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ingest::Mistake;

/// A schema registry that speaks Confluent's API. Records in its wire format (Avro, Protobuf, JSON) are read by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Addresses, tried in order, such as `https://registry.example.org:8081`.
    pub urls: Vec<String>,
    /// Name for basic authentication; none when absent.
    pub user: Option<String>,
    /// File with the password of `user`.
    pub password_file: Option<PathBuf>,
    /// Environment variable with the password of `user`.
    pub password_env: Option<String>,
    /// File with a bearer token; in the place of `user`.
    pub token_file: Option<PathBuf>,
    /// Environment variable with a bearer token.
    pub token_env: Option<String>,
    /// Authorities that are trusted, in PEM form; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Longest time of one request, in milliseconds.
    #[schemars(range(min = 100, max = 60000))]
    pub timeout_ms: u64,
    /// Subject, such as `mozdef.events-value`, under which the schema (JSON Schema) of the normal form is registered;
    /// events then bear its number, in Confluent's wire format. Plain JSON when empty.
    pub events_subject: String,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        RegistryConfig {
            urls: Vec::new(),
            user: None,
            password_file: None,
            password_env: None,
            token_file: None,
            token_env: None,
            ca_file: None,
            timeout_ms: 5000,
            events_subject: String::new(),
        }
    }
}

impl RegistryConfig {
    /// What is wrong with the values: key below `normalize.registry`, what, remedy.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add = |key: &str, what: &str, remedy: &str| {
            found.push((key.to_owned(), what.to_owned(), remedy.to_owned()));
        };
        if self.urls.is_empty() {
            add("urls", "no address is named", "give one, such as http://127.0.0.1:8081");
        }
        for (index, url) in self.urls.iter().enumerate() {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                add(
                    &format!("urls[{index}]"),
                    "this is no address of a registry",
                    "begin it with http:// or https://",
                );
            }
        }
        let (has_password, has_token) = (
            self.password_file.is_some() || self.password_env.is_some(),
            self.token_file.is_some() || self.token_env.is_some(),
        );
        if self.user.is_none() && has_password {
            add("user", "there is a password, and no name", "give the name, or leave the password out");
        }
        if self.user.is_some() && has_token {
            add("user", "there are a name and a token", "log in by one of them");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::RegistryConfig;

    #[test]
    fn what_cannot_be_meant_is_named_by_its_key() {
        let keys = |config: &RegistryConfig| -> Vec<String> {
            config.mistakes().into_iter().map(|(key, ..)| key).collect()
        };
        let named = RegistryConfig { urls: vec!["http://a:1".to_owned()], ..RegistryConfig::default() };
        assert!(keys(&named).is_empty());
        assert_eq!(keys(&RegistryConfig::default()), ["urls"]);
        let odd = RegistryConfig {
            urls: vec!["http://a:1".to_owned(), "b:2".to_owned()],
            password_env: Some("P".to_owned()),
            ..RegistryConfig::default()
        };
        assert_eq!(keys(&odd), ["urls[1]", "user"]);
        let both = RegistryConfig { user: Some("u".to_owned()), token_env: Some("T".to_owned()), ..named };
        assert_eq!(keys(&both), ["user"]);
    }
}
