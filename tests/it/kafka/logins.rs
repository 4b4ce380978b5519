//! Every way to log in to the brokers, live: what is sent through goes all the way; a wrong password is told.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::time::Clock;
use serde_json::{Value, json};
use tests::load::{Load, Rate};
use tests::process::within;
use tests::random::seed;
use tests::servers::{Kafka, KafkaOptions, needs};
use tests::site::{Member, Role, Site};

use super::{nothing_lost_or_doubled, turn};

/// Serves tokens of the user `mozdef` without a signature (the broker of the tests takes these). Its address.
async fn token_endpoint() -> anyhow::Result<String> {
    let token = async || {
        let now = Clock::System.now().millis() / 1000;
        let claims = json!({"sub": "mozdef", "iat": now, "exp": now + 3600});
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
        json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/token", listener.local_addr()?);
    let serving = axum::serve(listener, axum::Router::new().route("/token", post(token))).into_future();
    tokio::spawn(serving);
    Ok(address)
}

/// Name, listener, keys of `log.kafka`.
type Login = (&'static str, String, String);

async fn logins(kafka: &Kafka, password: &Path) -> anyhow::Result<Vec<Login>> {
    let file = password.display();
    let tls = format!("tls: {{ ca_file: {} }}", kafka.said("ca"));
    let sasl = |mechanism: &str| {
        format!("sasl: {{ mechanism: {mechanism}, username: mozdef, password_file: \"{file}\" }}")
    };
    let certificate = format!(
        "tls: {{ ca_file: {}, certificate_file: {}, key_file: {} }}",
        kafka.said("ca"),
        kafka.said("certificate"),
        kafka.said("key")
    );
    let token = format!(
        "sasl: {{ mechanism: oauthbearer, client_id: mozdef, client_secret_file: \"{file}\", token_endpoint: \"{}\" }}",
        token_endpoint().await?
    );
    let listener = |name: &str| kafka.said(name).to_owned();
    Ok(vec![
        ("SCRAM-SHA-512 over TLS", listener("scram_tls"), format!("{tls}\n{}", sasl("scram_sha_512"))),
        ("SCRAM-SHA-256", listener("scram"), sasl("scram_sha_256")),
        ("TLS with a certificate of ours", listener("tls"), certificate),
        ("OAUTHBEARER", listener("oauth"), token),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_carries_events_through_and_a_wrong_one_is_told() -> anyhow::Result<()> {
    if needs("kafka").is_none() {
        return Ok(());
    }
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}");
    let folder = tempfile::tempdir()?;
    let kafka = Kafka::start(folder.path(), KafkaOptions { secure: true, acl: false }).await?;
    let password = folder.path().join("password");
    std::fs::write(&password, "broker secret")?;
    for (name, listener, keys) in logins(&kafka, &password).await? {
        println!("{name}");
        let site = Site::new(&listener, 2, &keys, "").await?;
        let mut members = site.start_all(1).await?;
        let load = Load::start(&site.gateways, Rate::STEADY, seed);
        within(Duration::from_secs(30), "some events", || async {
            let count = load.look(|ledger| ledger.acked.len());
            ensure!(count >= 500, "{count} events");
            Ok(())
        })
        .await?;
        nothing_lost_or_doubled(&site, &load.end().await?).await?;
        ensure!(members.iter_mut().all(|member| member.process().is_running()), "a stage has ended");
        if name == "SCRAM-SHA-256" {
            drop(members);
            std::fs::write(&password, "wrong")?;
            let gateway = Member::spawn(&site, Role::Gateway, "wrong").await?;
            within(Duration::from_secs(30), "a wrong password is told", || async {
                let (status, body) = gateway.admin("/readyz").await?;
                ensure!(
                    status == 503 && body.contains("log.kafka.sasl") && !body.contains("wrong"),
                    "{status} {body}"
                );
                Ok(())
            })
            .await?;
            std::fs::write(&password, "broker secret")?;
        }
    }
    Ok(())
}
