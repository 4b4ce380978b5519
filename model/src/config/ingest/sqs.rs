//! Queues of Amazon SQS, and the objects of S3 that their messages name.
//!
//! In: the text of one entry of `ingest.sqs`. Out: [`SqsConfig`], and what is wrong with it. Never: a credential; they
//! come by AWS's own chain.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EventLimits;

/// One queue. Credentials come by AWS's own chain: environment, profile, web identity, container, instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SqsConfig {
    /// The queue: its URL, or its name in the account of the credentials.
    pub queue: String,
    /// What its messages are.
    pub takes: SqsTakes,
    /// Region; by AWS's own chain when absent.
    pub region: Option<String>,
    /// Address of SQS instead of AWS's own, and of S3 and STS where they have none of their own here.
    pub endpoint: Option<String>,
    /// Address of S3 instead of AWS's own.
    pub s3_endpoint: Option<String>,
    /// Role that is assumed for the queue.
    pub queue_role_arn: Option<String>,
    /// Role that is assumed to read objects.
    pub role_arn: Option<String>,
    /// Id that the roles' owners ask for.
    pub external_id: Option<String>,
    /// Name of the sessions of the roles.
    pub role_session_name: String,
    /// Receivers at work at once, each with up to ten messages.
    #[schemars(range(min = 1, max = 64))]
    pub receivers: u32,
    /// Longest wait of one request for messages, in seconds.
    #[schemars(range(min = 1, max = 20))]
    pub wait_seconds: u32,
    /// Time for which a message that is worked on is hidden from others, in seconds; it is extended while the work goes on.
    #[schemars(range(min = 2, max = 43200))]
    pub visibility_seconds: u32,
    /// Most deliveries of a message that cannot be taken (an object that may not be read, for example); then it is dead.
    #[schemars(range(min = 1, max = 1000))]
    pub deliveries_max: u32,
    /// Largest object, in MiB as it is stored.
    #[schemars(range(min = 1, max = 1048576))]
    pub object_mib_max: u32,
    /// Largest object, in MiB after decompression.
    #[schemars(range(min = 1, max = 1048576))]
    pub plain_mib_max: u32,
    /// Most events of one object.
    #[schemars(range(min = 1, max = 100000000))]
    pub object_events_max: u32,
    /// Name under which events are known to come from here, part of their ids; the queue's name when empty.
    pub principal: String,
    /// Limits of one event.
    pub event: EventLimits,
}

impl Default for SqsConfig {
    fn default() -> Self {
        SqsConfig {
            queue: String::new(),
            takes: SqsTakes::Events,
            region: None,
            endpoint: None,
            s3_endpoint: None,
            queue_role_arn: None,
            role_arn: None,
            external_id: None,
            role_session_name: "MozDef-CloudTrail-Reader".to_owned(),
            receivers: 2,
            wait_seconds: 20,
            visibility_seconds: 120,
            deliveries_max: 20,
            object_mib_max: 1024,
            plain_mib_max: 16_384,
            object_events_max: 10_000_000,
            principal: String::new(),
            event: EventLimits::default(),
        }
    }
}

impl SqsConfig {
    /// The queue's name: the end of its URL.
    pub fn queue_name(&self) -> &str {
        self.queue.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The name under which events come from here.
    pub fn principal(&self) -> &str {
        if self.principal.is_empty() { self.queue_name() } else { &self.principal }
    }

    /// What is wrong with the values: key below the entry (empty for the entry itself), what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        let mut add =
            |key: &str, what: String, remedy: &str| found.push((key.to_owned(), what, remedy.to_owned()));
        let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
        let is_name = |text: &str| {
            let stem = text.strip_suffix(".fifo").unwrap_or(text);
            (1..=80).contains(&text.len())
                && stem.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        if !is_name(self.queue_name()) || (self.queue.contains('/') && !is_url(&self.queue)) {
            let what = format!("`{}` is neither the URL nor the name of a queue", self.queue);
            add("queue", what, "write it as in `https://sqs.eu-central-1.amazonaws.com/123456789012/events`");
        }
        for (key, endpoint) in [("endpoint", &self.endpoint), ("s3_endpoint", &self.s3_endpoint)] {
            if let Some(endpoint) =
                endpoint.as_ref().filter(|endpoint| !is_url(endpoint) || endpoint.contains('@'))
            {
                let what = format!("`{}` is no address", endpoint.rsplit('@').next().unwrap_or_default());
                add(key, what, "write it as in `https://sqs.example.org`, without user and password");
            }
        }
        for (key, role) in [("queue_role_arn", &self.queue_role_arn), ("role_arn", &self.role_arn)] {
            if let Some(role) = role.as_ref().filter(|role| !role.starts_with("arn:")) {
                add(
                    key,
                    format!("`{role}` is no ARN"),
                    "write it as in `arn:aws:iam::123456789012:role/reader`",
                );
            }
        }
        if self.principal.len() > 255 || self.principal.chars().any(char::is_control) {
            add(
                "principal",
                format!("`{}` cannot be a name", self.principal),
                "use at most 255 bytes of text",
            );
        }
        found
    }
}

/// What the messages of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SqsTakes {
    /// Events: JSON objects, arrays or lines of them, or base64 of it.
    Events,
    /// Notifications of SNS whose message is an event or text.
    Sns,
    /// Notifications, by CloudTrail or S3, of objects with CloudTrail's records.
    Cloudtrail,
    /// Findings of GuardDuty, by SNS or EventBridge.
    Guardduty,
    /// Notifications, by S3, of objects with a JSON object a line.
    Lines,
}
