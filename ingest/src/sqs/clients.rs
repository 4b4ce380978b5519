//! Clients of SQS and S3: credentials by AWS's own chain, roles, addresses of one's own.
//!
//! In: one entry of `ingest.sqs`. Out: clients. Never: a credential in the configuration or a log.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use model::config::SqsConfig;

/// Attempts of one request: what still fails then is tried again by us, later.
const ATTEMPTS: u32 = 3;
/// Longest time until a connection stands, and until an answer begins (a long poll waits up to 20 s).
const CONNECT_MAX: Duration = Duration::from_secs(5);
const READ_MAX: Duration = Duration::from_secs(30);

/// A client of SQS, and the configuration for one of S3, which only some queues need.
pub(super) async fn sqs(config: &SqsConfig) -> aws_sdk_sqs::Client {
    let shared = shared(config, config.endpoint.as_deref()).await;
    let shared = with_role(config, shared, config.queue_role_arn.as_deref()).await;
    aws_sdk_sqs::Client::new(&shared)
}

/// A client of S3.
pub(super) async fn s3(config: &SqsConfig) -> aws_sdk_s3::Client {
    let endpoint = config.s3_endpoint.as_deref().or(config.endpoint.as_deref());
    let shared = shared(config, endpoint).await;
    let shared = with_role(config, shared, config.role_arn.as_deref()).await;
    // Servers other than AWS's own seldom have a name for each bucket.
    let own = aws_sdk_s3::config::Builder::from(&shared).force_path_style(endpoint.is_some());
    aws_sdk_s3::Client::from_conf(own.build())
}

async fn shared(config: &SqsConfig, endpoint: Option<&str>) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_MAX).read_timeout(READ_MAX).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts);
    if let Some(region) = region(config) {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// The configured region, else the one in the queue's URL, else what AWS's own chain finds.
fn region(config: &SqsConfig) -> Option<String> {
    if config.region.is_some() {
        return config.region.clone();
    }
    let host = config.queue.strip_prefix("https://")?.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split('.').next()?;
    host.contains(".amazonaws.com").then(|| region.to_owned())
}

async fn with_role(config: &SqsConfig, shared: SdkConfig, role: Option<&str>) -> SdkConfig {
    let Some(role) = role else { return shared };
    // S3's own address is not the one of STS.
    let mut sts = shared.clone().into_builder();
    sts.set_endpoint_url(config.endpoint.clone());
    let sts = sts.build();
    let mut provider =
        AssumeRoleProvider::builder(role).session_name(&config.role_session_name).configure(&sts);
    if let Some(id) = &config.external_id {
        provider = provider.external_id(id);
    }
    let provider = provider.build().await;
    let credentials = aws_sdk_sqs::config::SharedCredentialsProvider::new(provider);
    shared.into_builder().credentials_provider(credentials).build()
}

#[cfg(test)]
mod tests {
    use model::config::SqsConfig;

    use super::region;

    #[test]
    fn a_queue_s_url_names_its_region() {
        let of = |queue: &str, region_key: Option<&str>| {
            let config = SqsConfig {
                queue: queue.to_owned(),
                region: region_key.map(str::to_owned),
                ..SqsConfig::default()
            };
            region(&config)
        };
        let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/q";
        assert_eq!(of(url, None).as_deref(), Some("eu-central-1"));
        assert_eq!(of(url, Some("us-east-1")).as_deref(), Some("us-east-1"));
        assert_eq!(of("https://sqs.example.org/1/q", None), None);
        assert_eq!(of("q", None), None);
    }
}
