//! Tokens for SASL OAUTHBEARER: the client-credentials grant of OAuth 2.
//! (librdkafka's own OIDC client needs curl, which is not linked.)
//!
//! In: the configuration. Out: a token with its end. Never: the secret or the
//! token in an error or a log line.

use std::path::PathBuf;
use std::time::Duration;

use model::config::{KafkaConfig, SaslMechanism};
use model::time::Clock;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use crate::secret::{self, SecretError};

/// Longest wait for a token.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Life of a token that does not say how long it lives, in seconds.
const LIFE_S: i64 = 300;

/// Where tokens come from.
pub(super) struct TokenSource {
    endpoint: String,
    client_id: String,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    scope: Option<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("no token from {endpoint}: {cause}")]
    Request { endpoint: String, cause: String },
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<i64>,
}

impl TokenSource {
    /// The source of a configuration that asks for tokens.
    pub(super) fn of(config: &KafkaConfig) -> Option<TokenSource> {
        let sasl = config.sasl.as_ref().filter(|sasl| sasl.mechanism == SaslMechanism::Oauthbearer)?;
        Some(TokenSource {
            endpoint: sasl.token_endpoint.clone().unwrap_or_default(),
            client_id: sasl.client_id.clone(),
            secret_file: sasl.client_secret_file.clone(),
            secret_env: sasl.client_secret_env.clone(),
            scope: sasl.scope.clone(),
        })
    }

    /// Asks for a token; blocks.
    pub(super) fn fetch(&self) -> Result<OAuthToken, TokenError> {
        // The secret is read anew each time, so that it can be changed without a restart.
        let secret =
            secret::needed("the client's secret", self.secret_file.as_deref(), self.secret_env.as_deref())?;
        let failed = |cause: String| TokenError::Request { endpoint: self.endpoint.clone(), cause };
        // A thread of its own, as librdkafka's callbacks may run where a runtime is already.
        let answer = std::thread::scope(|scope| scope.spawn(|| self.ask(&secret)).join());
        let answer = answer.map_err(|_| failed("the request has panicked".to_owned()))?.map_err(failed)?;
        let life = answer.expires_in.unwrap_or(LIFE_S).clamp(1, 7 * 86_400);
        let end = Clock::System.now().plus_millis(life.saturating_mul(1000));
        let (token, principal_name) = (answer.access_token, self.client_id.clone());
        Ok(OAuthToken { token, principal_name, lifetime_ms: end.millis() })
    }

    fn ask(&self, secret: &str) -> Result<Answer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let text = |error: reqwest::Error| error.without_url().to_string();
            let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(text)?;
            let mut body = "grant_type=client_credentials".to_owned();
            if let Some(scope) = &self.scope {
                body.push_str("&scope=");
                body.extend(url::form_urlencoded::byte_serialize(scope.as_bytes()));
            }
            let request = client
                .post(&self.endpoint)
                .basic_auth(&self.client_id, Some(secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .header("accept", "application/json")
                .body(body);
            let mut response = request.send().await.map_err(text)?;
            if !response.status().is_success() {
                return Err(format!("it answers {}", response.status()));
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(text)? {
                if bytes.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                    return Err("its answer is too long".to_owned());
                }
                bytes.extend_from_slice(&chunk);
            }
            // The parser's own words may hold what it read.
            serde_json::from_slice(&bytes).map_err(|_| "its answer is no token".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use model::time::Clock;

    use super::TokenSource;

    /// Answers one request; gives the request back.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("grant_type=client_credentials&scope=a+b") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0);
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (endpoint, serving)
    }

    fn source(endpoint: String, file: &std::path::Path) -> TokenSource {
        std::fs::write(file, "s3cret\n").unwrap();
        let (client_id, scope) = ("shipper".to_owned(), Some("a b".to_owned()));
        TokenSource { endpoint, client_id, secret_file: Some(file.to_owned()), secret_env: None, scope }
    }

    #[test]
    fn a_token_is_asked_for_with_the_clients_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, serving) = server(
            "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n{\"access_token\":\"abc.def\",\"expires_in\":60}",
        );
        let token = source(endpoint, &folder.path().join("secret")).fetch().unwrap();
        let request = serving.join().unwrap().to_lowercase();
        // shipper:s3cret
        assert!(request.contains("authorization: basic c2hpchblcjpzm2nyzxq="), "{request}");
        assert_eq!((token.token.as_str(), token.principal_name.as_str()), ("abc.def", "shipper"));
        let left = token.lifetime_ms - Clock::System.now().millis();
        assert!(left > 50_000 && left <= 60_000, "{left}");
    }

    #[test]
    fn what_is_refused_is_told_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, serving) = server("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
        let error =
            source(endpoint.clone(), &folder.path().join("secret")).fetch().err().unwrap().to_string();
        serving.join().unwrap();
        assert_eq!(error, format!("no token from {endpoint}: it answers 401 Unauthorized"));
    }
}
