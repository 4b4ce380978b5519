//! Clients that others wrote: the official ones of Elasticsearch, OpenSearch and OpenTelemetry, and one of Splunk's.
//!
//! They come from a registry; where it does not answer, the test says so and fails, unless `ALLOW_SKIP=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use model::config::{Auth, HttpConfig};
use model::topic::Topic;

use crate::gateway::Gateway;

/// The Python that has the clients, if the registry answers.
fn python() -> Option<String> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/setup/shippers");
    let output = Command::new(setup).stderr(Stdio::inherit()).output().unwrap();
    if output.status.code() == Some(75) {
        println!("SKIPPED (registry): the clients of others");
        assert!(std::env::var("ALLOW_SKIP").is_ok_and(|skip| skip == "1"), "the registry does not answer");
        return None;
    }
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Runs one client; the text by which each of its fifty events is known.
async fn send(gateway: &Gateway, python: &str, client: &'static str) -> BTreeSet<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients.py");
    let mut command = Command::new(python);
    command.arg(script).args([client, &gateway.address.to_string(), "secret"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{client}: {told}");
    println!("{client}: {}", String::from_utf8_lossy(&output.stdout).trim());
    let raw = gateway.log.take(Topic::Raw);
    assert!(gateway.log.take(Topic::Dead).is_empty(), "{client}");
    assert!(raw.iter().all(|record| record.headers.get_str("principal") == Some("web")), "{client}");
    let known = |value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        let digits = text.split("event ").nth(1).unwrap_or_default().chars();
        digits.take_while(char::is_ascii_digit).collect::<String>()
    };
    raw.iter().map(|record| known(&record.value)).collect()
}

#[tokio::test]
async fn clients_of_others_send_all_their_events() {
    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let Some(python) = python() else { return };
    let tokens = BTreeMap::from([("web".to_owned(), DIGEST.to_owned())]);
    let gateway = Gateway::start(HttpConfig { auth: Auth::Token, tokens, ..HttpConfig::default() }).await;
    let expected: BTreeSet<String> = (0..50).map(|number: u32| number.to_string()).collect();
    for client in ["elasticsearch", "opensearch", "opentelemetry", "splunk"] {
        assert_eq!(send(&gateway, &python, client).await, expected, "{client}");
    }
}
