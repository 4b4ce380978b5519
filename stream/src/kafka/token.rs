//! Tokens for SASL OAUTHBEARER: the client-credentials grant of OAuth 2.
//!
//! In: the configuration. Out: a token with its end. Never: the secret or the
//! token in a log line. (librdkafka's own OIDC client needs curl, which is not linked.)

use std::path::PathBuf;

use model::config::{KafkaConfig, KafkaSasl, SaslMechanism};
use rdkafka::client::OAuthToken;

/// Where tokens come from.
pub(super) struct TokenSource {
    endpoint: String,
    client_id: String,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    scope: Option<String>,
}

impl TokenSource {
    /// The source of a configuration that asks for tokens.
    pub(super) fn of(config: &KafkaConfig) -> Option<TokenSource> {
        let sasl: &KafkaSasl =
            config.sasl.as_ref().filter(|sasl| sasl.mechanism == SaslMechanism::Oauthbearer)?;
        Some(TokenSource {
            endpoint: sasl.token_endpoint.clone().unwrap_or_default(),
            client_id: sasl.client_id.clone(),
            secret_file: sasl.client_secret_file.clone(),
            secret_env: sasl.client_secret_env.clone(),
            scope: sasl.scope.clone(),
        })
    }

    /// Asks for a token; blocks.
    pub(super) fn fetch(&self) -> Result<OAuthToken, String> {
        Err(format!("not yet: {} {}", self.endpoint, self.client_id))
    }
}
