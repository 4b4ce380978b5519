//! Recorded cases of the original's workers for AWS, on the real path: a queue, the bridge, raw records, the normaliser.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::intake::Intake;
use model::config::{Config, NormalizeConfig};
use model::headers;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use normalize::worker::NormalizerWorker;
use serde_json::{Value, json};
use stream::local::{self, LocalOptions};
use stream::log::FetchLimits;
use stream::record::Record;
use stream::worker::Worker;
use tests::aws::{Aws, entry};
use tests::process::eventually;
use tests::servers::needs;

/// The queue as the recorded workers called it: it becomes a tag.
const QUEUE: &str = "test-exchange";

#[derive(Clone)]
struct Case {
    file: &'static str,
    name: String,
    input: Value,
    expected: Value,
}

fn rows(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Cases of a file, with the right value where the recorded one is a defect; without those whose event was lost.
fn cases(shared: &Path, file: &'static str, input: &str) -> anyhow::Result<Vec<Case>> {
    let listed = rows(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deviations/keymapping.jsonl")))?;
    let found = rows(&shared.join("cases/mozdef").join(file))?.into_iter().map(|case| {
        let name = case["name"].as_str().unwrap_or_default().to_owned();
        let row = listed.iter().find(|row| row["file"] == file && row["name"] == case["name"]);
        let stored = case.pointer("/stored/0/document");
        let mut expected = row.map_or(&case["expected"], |row| &row["expected"]).clone();
        if let Some(stored) = stored {
            expected = stored.clone();
        }
        for pointer in case["volatile"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            expected.as_object_mut().map(|object| object.shift_remove(pointer.trim_start_matches('/')));
        }
        Case { file, name, input: case[input].clone(), expected }
    });
    Ok(found.filter(|case| !case.expected.is_null()).collect())
}

/// Whether everything expected is there.
fn contains(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            expected.iter().all(|(key, expected)| got.get(key).is_some_and(|got| contains(got, expected)))
        }
        (Value::Array(got), Value::Array(expected)) => {
            got.len() == expected.len()
                && got.iter().zip(expected).all(|(got, expected)| contains(got, expected))
        }
        (Value::Number(got), Value::Number(expected)) => got.as_f64() == expected.as_f64(),
        _ => got == expected,
    }
}

fn normalizer() -> NormalizerWorker {
    let all = normalize::builtin::ALL.iter().map(|plugin| plugin.name.to_owned()).collect();
    let config = NormalizeConfig {
        hostname: "mozdef.test".to_owned(),
        disabled_plugins: all,
        ..NormalizeConfig::default()
    };
    NormalizerWorker::new(&config, "log").unwrap()
}

fn normalized(worker: &mut NormalizerWorker, record: &Record) -> Value {
    let mut out = Vec::new();
    worker.process(0, std::slice::from_ref(record), Timestamp::EPOCH, &mut out);
    serde_json::from_slice(&out[0].value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cases_of_aws_workers_pass_through_their_queues() -> anyhow::Result<()> {
    let (Some(address), Some(shared)) = (needs("aws"), tests::data::folder()) else { return Ok(()) };
    let (aws, folder) = (Aws::at(&address), tempfile::tempdir()?);
    // Three queues of one name are three queues in three regions; here they are told apart by another end.
    let queue = |kind: &str| format!("{QUEUE}-{kind}-{}", std::process::id());
    let (plain, notes, trails) =
        (aws.queue(&queue("sqs")).await?, aws.queue(&queue("sns")).await?, aws.queue(&queue("trail")).await?);
    let bucket = queue("bucket");
    aws.bucket(&bucket).await?;

    let mut expected: BTreeMap<(String, String), Case> = BTreeMap::new();
    for (file, input, url) in
        [("keymapping/sqs.jsonl", "input", &plain), ("workers/sns_sqs.jsonl", "input_sqs_body", &notes)]
    {
        for case in cases(&shared, file, input)? {
            expected.insert((aws.send(url, &case.input.to_string()).await?, "-".to_owned()), case);
        }
    }
    let trail = cases(&shared, "keymapping/cloudtrail_worker.jsonl", "input")?;
    let records: Vec<&Value> = trail.iter().map(|case| &case.input).collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json!({ "Records": records }).to_string().as_bytes())?;
    aws.object(&bucket, "a.json.gz", gzip.finish()?).await?;
    let message = json!({"s3Bucket": bucket, "s3ObjectKey": ["a.json.gz"]}).to_string();
    aws.send(&trails, &json!({"Type": "Notification", "Message": message}).to_string()).await?;
    for (number, case) in trail.into_iter().enumerate() {
        expected.insert(("trail".to_owned(), number.to_string()), case);
    }
    ensure!(expected.len() > 55, "only {} cases", expected.len());

    let found = through_the_bridge(&aws, folder.path(), [&plain, &notes, &trails], expected.len()).await?;
    let mut worker = normalizer();
    for record in &found {
        let header = |name| record.headers.get_str(name).unwrap_or("-").to_owned();
        let id =
            if header(headers::S3_BUCKET) == "-" { header(headers::CLIENT_ID) } else { "trail".to_owned() };
        let case = expected.remove(&(id, header(headers::ITEM))).with_context(|| format!("{record:?}"))?;
        let queue = header(headers::QUEUE);
        let wanted = with_queue(case.expected.clone(), case.file, &queue);
        let got = normalized(&mut worker, record);
        ensure!(contains(&got, &wanted), "{}: {}: got {got}, wanted {wanted}", case.file, case.name);
    }
    ensure!(expected.is_empty(), "{} cases did not come through", expected.len());
    Ok(())
}

/// The queue's name stands where the recorded one was; the worker of plain SQS appended it before the mapping that was
/// recorded.
fn with_queue(mut expected: Value, file: &str, queue: &str) -> Value {
    let tags = match expected.get("tags").cloned() {
        Some(Value::Array(tags)) if file.starts_with("keymapping/sqs") => [tags, vec![json!(queue)]].concat(),
        Some(tag @ Value::String(_)) => vec![tag, json!(queue)],
        _ => vec![json!(queue)],
    };
    expected["tags"] = Value::Array(tags);
    expected
}

/// Raw records, when there are so many.
async fn through_the_bridge(
    aws: &Aws,
    folder: &Path,
    queues: [&String; 3],
    count: usize,
) -> anyhow::Result<Vec<Record>> {
    let now = Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").context("a time")?;
    let clock = Clock::manual(now);
    let options = LocalOptions {
        folder: folder.to_owned(),
        partitions: 1,
        retention_hours: 1_000_000,
        retention_mib: 256,
        min_free_mib: 0,
        clock: clock.clone(),
    };
    let log = local::open(options).await?.0;
    let [plain, notes, trails] = queues;
    let yaml = format!(
        "ingest:\n  sqs:\n    a: {}\n    b: {}\n    c: {}\n",
        entry(aws, plain, "events", ""),
        entry(aws, notes, "sns", ""),
        entry(aws, trails, "cloudtrail", "")
    );
    let config = Config::from_yaml(&yaml).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let (trigger, shutdown) = stream::shutdown::channel();
    let intake = Intake::new(log.clone(), clock, "sqs");
    let running = tokio::spawn(ingest::sqs::run(config.ingest.sqs, intake, shutdown));
    let limits = FetchLimits { records_max: 1000, bytes_max: 16 << 20 };
    let log = Arc::new(log);
    let found = eventually("all cases are raw records", || {
        let log = log.clone();
        async move {
            let records = log.fetch(Topic::Raw, 0, 0, limits).await?.records;
            ensure!(records.len() >= count, "{} of {count}", records.len());
            Ok(records)
        }
    })
    .await?;
    trigger.fire();
    running.await??;
    Ok(found)
}
