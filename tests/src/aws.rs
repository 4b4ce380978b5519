//! What tests do at AWS's stand-in: queues, topics, buckets. Plain requests; nothing checks their signatures.
//!
//! In: the address of `tests/servers/aws`. Out: queues and objects there. Never: an account of AWS.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// The account that moto's server has.
pub const ACCOUNT: &str = "123456789012";

/// The stand-in.
#[derive(Clone)]
pub struct Aws {
    /// Its address.
    pub url: String,
    http: reqwest::Client,
}

impl Aws {
    /// At an address.
    pub fn at(url: &str) -> Aws {
        Aws { url: url.to_owned(), http: reqwest::Client::new() }
    }

    fn signed(&self, request: reqwest::RequestBuilder, service: &str) -> reqwest::RequestBuilder {
        let scope = format!("test/20260101/us-east-1/{service}/aws4_request");
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        request.header("authorization", signature).header("x-amz-date", "20260101T000000Z")
    }

    /// A request to SQS.
    ///
    /// # Errors
    /// It is refused.
    pub async fn sqs(&self, action: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(&self.url).header("x-amz-target", format!("AmazonSQS.{action}"));
        let request = request.header("content-type", "application/x-amz-json-1.0").body(body.to_string());
        let response = self.signed(request, "sqs").send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "SQS {action}: {status} {text}");
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// Makes a queue; gives its URL.
    ///
    /// # Errors
    /// It is refused.
    pub async fn queue(&self, name: &str) -> anyhow::Result<String> {
        let attributes = if name.ends_with(".fifo") { json!({"FifoQueue": "true"}) } else { json!({}) };
        let made = self.sqs("CreateQueue", &json!({"QueueName": name, "Attributes": attributes})).await?;
        Ok(made.get("QueueUrl").and_then(Value::as_str).context("no QueueUrl")?.to_owned())
    }

    /// Sends one message; gives its id.
    ///
    /// # Errors
    /// It is refused.
    pub async fn send(&self, queue: &str, body: &str) -> anyhow::Result<String> {
        let sent = self.sqs("SendMessage", &json!({"QueueUrl": queue, "MessageBody": body})).await?;
        Ok(sent.get("MessageId").and_then(Value::as_str).context("no MessageId")?.to_owned())
    }

    /// Messages of a queue: visible and hidden.
    ///
    /// # Errors
    /// No answer.
    pub async fn waiting(&self, queue: &str) -> anyhow::Result<u64> {
        let wanted = json!({"QueueUrl": queue, "AttributeNames": ["All"]});
        let got = self.sqs("GetQueueAttributes", &wanted).await?;
        let count = |name: &str| got.pointer(&format!("/Attributes/{name}"))?.as_str()?.parse::<u64>().ok();
        let hidden = count("ApproximateNumberOfMessagesNotVisible").context("no count")?;
        Ok(count("ApproximateNumberOfMessages").context("no count")? + hidden)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// It is refused.
    pub async fn bucket(&self, name: &str) -> anyhow::Result<()> {
        self.put(&format!("/{name}"), Vec::new()).await
    }

    /// Puts an object.
    ///
    /// # Errors
    /// It is refused.
    pub async fn object(&self, bucket: &str, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
        self.put(&format!("/{bucket}/{key}"), body).await
    }

    /// Has a bucket tell a queue of its new objects.
    ///
    /// # Errors
    /// It is refused.
    pub async fn tell(&self, bucket: &str, queue: &str) -> anyhow::Result<()> {
        let arn = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", queue.rsplit('/').next().unwrap_or_default());
        let body = format!(
            "<NotificationConfiguration><QueueConfiguration><Id>q</Id><Queue>{arn}</Queue>\
             <Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
        );
        self.put(&format!("/{bucket}?notification"), body.into_bytes()).await
    }

    async fn put(&self, path: &str, body: Vec<u8>) -> anyhow::Result<()> {
        let request = self.http.put(format!("{}{path}", self.url)).body(body);
        let response = self.signed(request, "s3").send().await?;
        let status = response.status();
        ensure!(status.is_success(), "S3 PUT {path}: {status} {}", response.text().await?);
        Ok(())
    }

    /// Makes a topic of SNS that a queue listens to; gives its ARN.
    ///
    /// # Errors
    /// It is refused.
    pub async fn topic(&self, name: &str, queue: &str) -> anyhow::Result<String> {
        let made = self.sns(&[("Action", "CreateTopic"), ("Name", name)]).await?;
        let start = made.find("<TopicArn>").context("no TopicArn")? + "<TopicArn>".len();
        let arn =
            made.get(start..).and_then(|rest| rest.split('<').next()).context("no TopicArn")?.to_owned();
        let queue =
            format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", queue.rsplit('/').next().unwrap_or_default());
        self.sns(&[("Action", "Subscribe"), ("TopicArn", &arn), ("Protocol", "sqs"), ("Endpoint", &queue)])
            .await?;
        Ok(arn)
    }

    /// Publishes to a topic.
    ///
    /// # Errors
    /// It is refused.
    pub async fn publish(&self, topic: &str, message: &str) -> anyhow::Result<()> {
        self.sns(&[("Action", "Publish"), ("TopicArn", topic), ("Message", message)]).await.map(drop)
    }

    async fn sns(&self, parameters: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Version", "2010-03-31").extend_pairs(parameters);
        let request = self.http.post(&self.url).header("content-type", "application/x-www-form-urlencoded");
        let response = self.signed(request.body(form.finish()), "sns").send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "SNS: {status} {text}");
        Ok(text)
    }
}

/// The configuration's entry of a queue at a stand-in, as one line of YAML. `more` begins with a comma.
pub fn entry(aws: &Aws, queue: &str, takes: &str, more: &str) -> String {
    let fast = "visibility_seconds: 2, wait_seconds: 1";
    format!("{{queue: '{queue}', takes: {takes}, region: us-east-1, endpoint: '{}', {fast}{more}}}", aws.url)
}

/// What AWS's chain of credentials finds.
pub const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
