//! Pullers over the real binary: Papertrail and Pub/Sub, with their errors, and kill -9 at random points.

mod cases;
mod kills;
mod mishaps;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use model::time::Clock;
use model::topic::Topic;
use serde_json::Value;
use stream::log::FetchLimits;
use tests::index::Index;

/// The section of a configuration for a fake Papertrail; the token lies in the folder.
fn papertrail_section(folder: &Path, url: &str, more: &str) -> anyhow::Result<String> {
    let token = folder.join("papertrail-token");
    std::fs::write(&token, format!("{}\n", tests::fakes::papertrail::TOKEN))?;
    Ok(format!(
        "  papertrail:\n    acme: {{ token_file: {}, url: \"{url}\", interval_s: 1, {more} }}\n",
        token.display()
    ))
}

/// The section of a configuration for a fake Pub/Sub.
fn pubsub_section(credentials: &str, url: &str) -> String {
    format!(
        "  pubsub:\n    logs: {{ subscription: {}, {credentials}, url: \"{url}\", page: 50, ack_deadline_s: 10 }}\n",
        tests::fakes::pubsub::SUBSCRIPTION
    )
}

/// How often each number of `details.<field>` is indexed.
async fn indexed(index: &Index, field: &str) -> anyhow::Result<BTreeMap<u64, u32>> {
    let path = format!("details.{field}");
    let mut found = BTreeMap::new();
    for document in index.documents("events*", &path, &[path.as_str()]).await? {
        let text = document.pointer(&format!("/_source/details/{field}")).and_then(Value::as_str);
        let number = text.and_then(|text| text.parse().ok());
        *found.entry(number.with_context(|| format!("{document} has no {path}"))?).or_default() += 1;
    }
    Ok(found)
}

/// Each of the numbers is indexed once, and nothing else is.
async fn each_once(index: &Index, field: &str, expected: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let found = indexed(index, field).await?;
    let expected: BTreeMap<u64, u32> = expected.map(|number| (number, 1)).collect();
    let differences: Vec<_> =
        expected.keys().filter(|number| found.get(*number) != expected.get(*number)).collect();
    let more: Vec<_> = found.iter().filter(|entry| expected.get(entry.0) != Some(entry.1)).collect();
    ensure!(
        differences.is_empty() && more.is_empty(),
        "{} of {} are not there once, such as {:?}; too many: {:?}",
        differences.len(),
        expected.len(),
        differences.first(),
        more.iter().take(3).collect::<Vec<_>>()
    );
    Ok(())
}

/// How often each client's id is in `mozdef.raw` of a local log whose process has ended.
async fn raw_ids(folder: &Path) -> anyhow::Result<BTreeMap<String, u32>> {
    let options = stream::local::LocalOptions {
        folder: folder.join("data/log"),
        partitions: 2,
        retention_hours: 72,
        retention_mib: 4096,
        min_free_mib: 0,
        clock: Clock::System,
    };
    let (log, _local) = stream::local::open(options).await?;
    let mut ids = BTreeMap::new();
    for partition in 0..log.partitions(Topic::Raw) {
        let mut at = 0;
        loop {
            let limits = FetchLimits { records_max: 5000, bytes_max: 16 << 20 };
            let fetched = log.fetch(Topic::Raw, partition, at, limits).await?;
            if fetched.records.is_empty() {
                break;
            }
            at = fetched.next;
            for record in fetched.records {
                let id = record.headers.get_str(model::headers::CLIENT_ID).unwrap_or_default().to_owned();
                *ids.entry(id).or_default() += 1;
            }
        }
    }
    Ok(ids)
}
