//! SQS, SNS and S3: what each kind of queue takes, what is dead, and that a message is gone when it is done.

use std::io::Write;

use anyhow::ensure;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tests::aws::{Aws, entry};
use tests::process::eventually;
use tests::server::Server;
use tests::servers::needs;

use super::{FIELDS, summaries, text};

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn name(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

async fn is_empty(aws: &Aws, queue: &str) -> anyhow::Result<()> {
    let left = aws.waiting(queue).await?;
    ensure!(left == 0, "{left} messages stay in {queue}");
    Ok(())
}

/// Reasons of all dead letters, sorted, when there are so many.
async fn reasons(server: &Server, count: u64) -> anyhow::Result<Vec<String>> {
    let (dead, letters) = server.dead().await?;
    ensure!(dead == count, "{dead} dead, {count} expected: {letters:?}");
    let mut found: Vec<String> = letters.iter().map(|letter| text(letter, "/reason")).collect();
    found.sort_unstable();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_events_of_sns_and_of_findings() -> anyhow::Result<()> {
    let Some(address) = needs("aws") else { return Ok(()) };
    let (aws, folder) = (Aws::at(&address), tempfile::tempdir()?);
    let events = aws.queue(&name("events")).await?;
    let ordered = aws.queue(&format!("{}.fifo", name("ordered"))).await?;
    let notes = aws.queue(&name("notes")).await?;
    let findings = aws.queue(&name("findings")).await?;
    let topic = aws.topic(&name("topic"), &notes).await?;
    aws.send(&events, r#"{"summary": "plain", "tags": ["a"]}"#).await?;
    aws.send(&events, "eyJzdW1tYXJ5IjogImVuY29kZWQifQ==").await?;
    aws.send(&events, r#"[{"summary": "first"}, {"summary": "second"}]"#).await?;
    aws.send(&events, "neither JSON nor base64").await?;
    for number in 0..3 {
        let body = json!({"summary": format!("ordered {number}")}).to_string();
        let message = json!({"QueueUrl": ordered, "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": format!("{number}")});
        aws.sqs("SendMessage", &message).await?;
    }
    aws.publish(&topic, r#"{"payload": "by sns", "Other": 1}"#).await?;
    aws.publish(&topic, "text by sns").await?;
    let probes = json!({"category": "Recon:EC2/PortProbe", "summary": "probed", "details": {"finding": {"action": {
        "actionType": "PORT_PROBE", "portProbeAction": {"portProbeDetails": [{"n": 1}, {"n": 2}]}}}}});
    aws.send(&findings, &json!({"Type": "Notification", "Message": probes.to_string()}).to_string()).await?;
    aws.send(&findings, r#"{"Message": "{}"}"#).await?;
    let config = format!(
        "  sqs:\n    a: {}\n    b: {}\n    c: {}\n    d: {}\n",
        entry(&aws, &events, "events", ""),
        entry(&aws, &ordered, "events", ""),
        // By its name.
        entry(&aws, &name("notes"), "sns", ""),
        entry(&aws, &findings, "guardduty", ""),
    );
    let server = start(&folder, &config).await?;
    let found = eventually("events are in the index", || summaries(&server.index, 11)).await?;
    let expected = [
        "by sns",
        "encoded",
        "first",
        "ordered 0",
        "ordered 1",
        "ordered 2",
        "plain",
        "probed",
        "probed",
        "second",
        "text by sns",
    ];
    ensure!(found == expected, "{found:?}");
    let all = server.index.documents("events*", "receivedtimestamp", FIELDS).await?;
    let tags = |summary: &str| {
        let event = all.iter().find(|event| text(event, "/_source/summary") == summary);
        event.and_then(|event| event.pointer("/_source/tags")).cloned().unwrap_or(Value::Null)
    };
    ensure!(tags("plain") == json!(["a", name("events")]), "{:?}", tags("plain"));
    ensure!(tags("by sns") == json!([name("notes")]), "{:?}", tags("by sns"));
    let dead = eventually("bad messages are dead", || reasons(&server, 2)).await?;
    ensure!(dead == ["malformed_json", "unexpected_message"], "{dead:?}");
    for queue in [&events, &ordered, &notes, &findings] {
        eventually("messages are deleted", || is_empty(&aws, queue)).await?;
    }
    Ok(())
}

/// A document of CloudTrail with one record for each number.
fn trail(numbers: std::ops::Range<usize>) -> String {
    let record = |number: usize| {
        json!({"eventTime": "2026-01-02T03:04:05Z", "eventSource": "s3.amazonaws.com", "eventName": format!("Get{number}"),
            "sourceIPAddress": "192.0.2.1", "eventType": "AwsApiCall"})
    };
    json!({"Records": numbers.map(record).collect::<Vec<_>>()}).to_string()
}

/// Good objects, and bad ones of each kind.
async fn put_trails(aws: &Aws, bucket: &str) -> anyhow::Result<()> {
    aws.object(bucket, "AWSLogs/1/CloudTrail/a.json.gz", gzip(&trail(0..3))).await?;
    aws.object(bucket, "not-gz", b"this is no gzip".to_vec()).await?;
    aws.object(bucket, "null.gz", gzip(r#"{"Records": null}"#)).await?;
    let whole = gzip(&trail(3..900));
    aws.object(bucket, "cut.gz", whole.get(..whole.len() / 2).unwrap_or_default().to_vec()).await?;
    aws.object(bucket, "bomb.gz", gzip(&" ".repeat(40 << 20))).await?;
    aws.object(bucket, "last.gz", gzip(&trail(1000..1001))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_notifications_name() -> anyhow::Result<()> {
    let Some(address) = needs("aws") else { return Ok(()) };
    let (aws, folder) = (Aws::at(&address), tempfile::tempdir()?);
    let (trails, lines, bucket) =
        (aws.queue(&name("trails")).await?, aws.queue(&name("lines")).await?, name("bucket"));
    aws.bucket(&bucket).await?;
    put_trails(&aws, &bucket).await?;
    let told = |keys: &[&str]| {
        let message = json!({"s3Bucket": bucket, "s3ObjectKey": keys}).to_string();
        json!({"Type": "Notification", "Message": message}).to_string()
    };
    for key in ["AWSLogs/1/CloudTrail/a.json.gz", "not-gz", "null.gz", "cut.gz", "bomb.gz", "never-was"] {
        aws.send(&trails, &told(&[key])).await?;
    }
    // Told of again, by another message: the same events.
    aws.send(&trails, &told(&["AWSLogs/1/CloudTrail/a.json.gz", "last.gz"])).await?;
    aws.send(&trails, r#"{"Type": "Notification", "Message": "CloudTrail validation message."}"#).await?;
    aws.send(&trails, r#"{"Type": "Notification", "Message": "no json"}"#).await?;
    aws.send(&trails, r#"{"Records": null}"#).await?;
    // S3 itself tells of these; its first message is a test.
    aws.tell(&bucket, &lines).await?;
    aws.object(
        &bucket,
        "logs/a%20b%2Bc.jsonl",
        b"{\"summary\": \"line one\"}\n\nno json\n{\"summary\": \"line two\"}".to_vec(),
    )
    .await?;
    let config = format!(
        "  sqs:\n    a: {}\n    b: {}\n",
        entry(&aws, &trails, "cloudtrail", ", plain_mib_max: 16"),
        entry(&aws, &lines, "lines", ""),
    );
    let server = start(&folder, &config).await?;
    let found = eventually("events are in the index", || async {
        let all = server.index.documents("events*", "receivedtimestamp", FIELDS).await?;
        let found: Vec<String> = all.iter().map(|event| text(event, "/_source/summary")).collect();
        for wanted in [
            "performed Get0 ",
            "performed Get1 ",
            "performed Get2 ",
            "performed Get1000 ",
            "line one",
            "line two",
        ] {
            let count = found.iter().filter(|summary| format!("{summary} ").contains(wanted)).count();
            ensure!(count == 1, "{wanted}: {count} times in {} events", found.len());
        }
        Ok(all)
    })
    .await?;
    let first = found.iter().find(|event| text(event, "/_source/summary").contains("Get0 ")).unwrap();
    ensure!(text(first, "/_source/type") == "cloudtrail", "{first}");
    // Seven messages that are none, and a line; what came before the cut is in the index too.
    let dead = eventually("bad objects are dead", || reasons(&server, 8)).await?;
    let expected = [
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "too_large",
        "unexpected_message",
        "unreachable",
    ];
    ensure!(dead == expected, "{dead:?}");
    for queue in [&trails, &lines] {
        eventually("messages are deleted", || is_empty(&aws, queue)).await?;
    }
    Ok(())
}

async fn start(folder: &tempfile::TempDir, config: &str) -> anyhow::Result<Server> {
    Server::start_in(folder.path(), config, &tests::aws::CREDENTIALS).await
}
