//! Google Cloud Pub/Sub's REST API for one subscription, and the token service: leases, redelivery, tokens that expire.
//!
//! In: messages, requests of a subscriber. Out: messages that are not acknowledged, again after their deadline. Never: a
//! message to whoever has no valid token.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::time::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::random::Random;

/// The subscription.
pub const SUBSCRIPTION: &str = "projects/p/subscriptions/s";
/// The service account.
pub const EMAIL: &str = "mozdef@p.iam.gserviceaccount.com";
/// Longest wait of a pull for messages.
const PULL_WAIT: Duration = Duration::from_millis(300);

/// The service. It ends with the test's runtime.
#[derive(Clone)]
pub struct PubSub {
    /// Its address.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    messages: BTreeMap<u64, Message>,
    next: u64,
    leases: u64,
    deadline: Duration,
    random: Random,
    faults: bool,
    /// Public key of the account; whoever has no token it signed for gets nothing. `None`: an emulator.
    account: Option<std::path::PathBuf>,
    tokens: u64,
    /// Requests that the newest token is still good for.
    uses: u64,
    answered: BTreeMap<u16, u32>,
}

struct Message {
    data: String,
    acknowledged: bool,
    /// The last lease, and when it ends.
    lease: Option<(String, Instant)>,
    deliveries: u32,
}

/// Writes a key file of the service account into a folder; gives its path.
///
/// # Errors
/// openssl does not make a key.
pub fn write_key(folder: &Path, token_uri: &str) -> anyhow::Result<std::path::PathBuf> {
    let openssl = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output();
        let output = output.context("openssl cannot be run")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.pem"])?;
    openssl(&["pkey", "-in", "account.pem", "-pubout", "-out", "account.pub"])?;
    let key = std::fs::read_to_string(folder.join("account.pem"))?;
    let file = folder.join("account.json");
    let content = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": key,
        "client_email": EMAIL, "token_uri": token_uri,
    });
    std::fs::write(&file, content.to_string())?;
    Ok(file)
}

impl PubSub {
    /// Starts one. With `faults` a part of the requests fails, and tokens expire. With the folder of [`write_key`] only
    /// that account is let in.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(seed: u64, faults: bool, account: Option<&Path>) -> anyhow::Result<PubSub> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Shared {
            messages: BTreeMap::new(),
            next: 1,
            leases: 0,
            deadline: Duration::from_secs(2),
            random: Random::new(seed),
            faults,
            account: account.map(|folder| folder.join("account.pub")),
            tokens: 0,
            uses: 0,
            answered: BTreeMap::new(),
        };
        let pubsub = PubSub { url, shared: Arc::new(Mutex::new(shared)) };
        let router = Router::new().fallback(answer).with_state(pubsub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(pubsub)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account that is let in, once its key was written.
    pub fn let_in(&self, folder: &Path) {
        self.lock().account = Some(folder.join("account.pub"));
    }

    /// Publishes a message; gives its number, which is its id.
    pub fn publish(&self, data: &[u8]) -> u64 {
        let mut shared = self.lock();
        let number = shared.next;
        shared.next += 1;
        let data = STANDARD.encode(data);
        shared.messages.insert(number, Message { data, acknowledged: false, lease: None, deliveries: 0 });
        number
    }

    /// How many messages are not acknowledged.
    pub fn outstanding(&self) -> usize {
        self.lock().messages.values().filter(|message| !message.acknowledged).count()
    }

    /// How many were delivered more than once.
    pub fn redelivered(&self) -> usize {
        self.lock().messages.values().filter(|message| message.deliveries > 1).count()
    }

    /// How many tokens it has given.
    pub fn tokens(&self) -> u64 {
        self.lock().tokens
    }

    /// How often it has answered with a status.
    pub fn answered(&self, status: u16) -> u32 {
        self.lock().answered.get(&status).copied().unwrap_or_default()
    }
}

async fn answer(State(pubsub): State<PubSub>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    let response = if path == "/token" {
        token(&mut pubsub.lock(), &pubsub.url, &body)
    } else {
        let refused = refuse(&mut pubsub.lock(), &headers);
        match (refused, path.strip_prefix(&format!("/v1/{SUBSCRIPTION}:"))) {
            (Some(refused), _) => refused,
            (None, None) => error(StatusCode::NOT_FOUND, "Resource not found (resource=s)."),
            (None, Some(verb)) => subscriber(&pubsub, verb, &body).await,
        }
    };
    *pubsub.lock().answered.entry(response.status().as_u16()).or_default() += 1;
    response
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": { "code": status.as_u16(), "message": message } });
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

fn refuse(shared: &mut Shared, headers: &HeaderMap) -> Option<Response> {
    if shared.account.is_some() {
        let token = format!("Bearer ya29.{}", shared.tokens);
        let shown = headers.get("authorization").is_some_and(|value| value.as_bytes() == token.as_bytes());
        if !shown || shared.uses == 0 {
            return Some(error(StatusCode::UNAUTHORIZED, "Request had invalid authentication credentials."));
        }
        shared.uses -= 1;
    }
    match if shared.faults { shared.random.below(100) } else { 100 } {
        0..=5 => Some(error(StatusCode::SERVICE_UNAVAILABLE, "The service is currently unavailable.")),
        6..=8 => Some(error(StatusCode::TOO_MANY_REQUESTS, "Quota exceeded.")),
        _ => None,
    }
}

/// RFC 7523: a signed assertion for a token.
fn token(shared: &mut Shared, url: &str, body: &[u8]) -> Response {
    let body = String::from_utf8_lossy(body).into_owned();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let checked = body.strip_prefix(grant).context("another grant").and_then(|assertion| {
        let public = shared.account.clone().context("an emulator gives no tokens")?;
        check_assertion(assertion, &public, &format!("{url}/token"))
    });
    if let Err(why) = checked {
        let body = json!({ "error": "invalid_grant", "error_description": why.to_string() });
        return (StatusCode::BAD_REQUEST, body.to_string()).into_response();
    }
    shared.tokens += 1;
    // With faults a token is taken back long before its time.
    shared.uses = if shared.faults { 5 + shared.random.below(60) } else { u64::MAX };
    let token = format!("ya29.{}", shared.tokens);
    json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }).to_string().into_response()
}

fn check_assertion(assertion: &str, public: &Path, audience: &str) -> anyhow::Result<()> {
    let (signed, signature) = assertion.rsplit_once('.').context("no signature")?;
    let (header, claims) = signed.split_once('.').context("no claims")?;
    let part =
        |text: &str| -> anyhow::Result<Value> { Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text)?)?) };
    let (header, claims) = (part(header)?, part(claims)?);
    let is = |value: &Value, key: &str, wanted: &str| value.get(key).and_then(Value::as_str) == Some(wanted);
    ensure!(is(&header, "alg", "RS256") && is(&header, "kid", "k1"), "header {header}");
    ensure!(is(&claims, "iss", EMAIL) && is(&claims, "aud", audience), "claims {claims}");
    ensure!(is(&claims, "scope", "https://www.googleapis.com/auth/pubsub"), "claims {claims}");
    let now = Clock::System.now().millis() / 1000;
    let time = |key: &str| claims.get(key).and_then(Value::as_i64).unwrap_or_default();
    ensure!((time("iat") - now).abs() < 60 && time("exp") - time("iat") <= 3600, "claims {claims}");
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("signed"), signed)?;
    std::fs::write(folder.path().join("signature"), URL_SAFE_NO_PAD.decode(signature)?)?;
    let verified = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(public)
        .args(["-signature", "signature", "signed"])
        .current_dir(folder.path())
        .output()?;
    ensure!(verified.status.success(), "the signature is not that of the account");
    Ok(())
}

async fn subscriber(pubsub: &PubSub, verb: &str, body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return error(StatusCode::BAD_REQUEST, "Invalid JSON payload received.");
    };
    let ids = request.get("ackIds").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<String> = ids.filter_map(Value::as_str).map(str::to_owned).collect();
    match verb {
        "pull" => {
            let Some(most) = request.get("maxMessages").and_then(Value::as_u64).filter(|most| *most > 0)
            else {
                return error(StatusCode::BAD_REQUEST, "You have passed an invalid argument (maxMessages).");
            };
            let until = Instant::now() + PULL_WAIT;
            loop {
                let messages = pubsub.lock().lease(most);
                if !messages.is_empty() || Instant::now() >= until {
                    let answer = match messages.is_empty() {
                        true => json!({}),
                        false => json!({ "receivedMessages": messages }),
                    };
                    return ([("content-type", "application/json")], answer.to_string()).into_response();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        "acknowledge" => {
            let mut shared = pubsub.lock();
            shared.each(&ids, |message, _| message.acknowledged = true);
            // The answer may get lost, after the work was done.
            let lost = shared.faults && shared.random.below(20) == 0;
            if lost { error(StatusCode::GATEWAY_TIMEOUT, "Deadline exceeded.") } else { "{}".into_response() }
        }
        "modifyAckDeadline" => {
            let seconds = request.get("ackDeadlineSeconds").and_then(Value::as_u64).unwrap_or_default();
            if seconds > 600 {
                return error(StatusCode::BAD_REQUEST, "The ack deadline must be at most 600 seconds.");
            }
            let until = Instant::now() + Duration::from_secs(seconds);
            pubsub.lock().each(&ids, |message, id| message.lease = Some((id.to_owned(), until)));
            "{}".into_response()
        }
        _ => error(StatusCode::NOT_FOUND, "Method not found."),
    }
}

impl Shared {
    /// Messages that are nobody's now.
    fn lease(&mut self, most: u64) -> Vec<Value> {
        let now = Instant::now();
        let mut given = Vec::new();
        for (number, message) in &mut self.messages {
            let free = message.lease.as_ref().is_none_or(|(_, until)| *until <= now);
            if message.acknowledged || !free {
                continue;
            }
            if given.len() as u64 >= most {
                break;
            }
            self.leases += 1;
            message.deliveries += 1;
            let id = format!("ack-{number}-{}", self.leases);
            message.lease = Some((id.clone(), now + self.deadline));
            given.push(json!({
                "ackId": id, "deliveryAttempt": message.deliveries,
                "message": { "data": message.data, "messageId": number.to_string(), "publishTime": "2026-11-25T00:00:00.1Z" },
            }));
        }
        given
    }

    /// Messages whose lease is this one still.
    fn each(&mut self, ids: &[String], mut change: impl FnMut(&mut Message, &str)) {
        let now = Instant::now();
        for id in ids {
            let number = id.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
            if let Some(message) = self.messages.get_mut(&number) {
                let ours = message.lease.as_ref().is_some_and(|(known, until)| known == id && *until > now);
                if ours {
                    change(message, id);
                }
            }
        }
    }
}
