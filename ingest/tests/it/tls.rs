//! The gateway over TLS.

use model::config::{HttpConfig, TlsConfig};
use model::topic::Topic;
use reqwest::{Certificate, Client, Identity};

use crate::authority::{Authority, Pair};
use crate::gateway::Gateway;

fn client(authority: &Authority, own: Option<&Pair>) -> Client {
    let root = Certificate::from_pem(&std::fs::read(authority.certificate()).unwrap()).unwrap();
    let mut builder = Client::builder().no_proxy().tls_certs_only([root]);
    if let Some(pair) = own {
        let pem = [std::fs::read(&pair.certificate).unwrap(), std::fs::read(&pair.key).unwrap()].concat();
        builder = builder.identity(Identity::from_pem(&pem).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn a_certificate_opens_the_gateway_and_names_the_sender() {
    let authority = Authority::new();
    let server = authority.issue("server", "", &["127.0.0.1"], 1);
    let tls = TlsConfig {
        certificate_file: server.certificate,
        key_file: server.key,
        client_ca_file: Some(authority.certificate()),
        ..TlsConfig::default()
    };
    let gateway = Gateway::start(HttpConfig { tls: Some(tls), ..HttpConfig::default() }).await;
    let url = format!("https://{}/events", gateway.address);
    let own = authority.issue("web", "web-7", &[], 2);
    let answer = client(&authority, Some(&own)).post(&url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(records[0].headers.get_str("principal"), Some("web-7"));
    assert!(client(&authority, None).post(&url).body("{}").send().await.is_err());
    let plain = gateway.http.post(format!("http://{}/events", gateway.address)).body("{}").send().await;
    assert!(plain.is_err() && gateway.log.take(Topic::Raw).is_empty());
}
