//! Bridges from queues, over real servers.

mod amqp;
mod aws;
mod ledger;
mod recorded;

use anyhow::ensure;
use serde_json::Value;
use tests::index::Index;

/// The fields that these tests look at.
const FIELDS: &[&str] = &["summary", "category", "source", "tags", "type", "details.ledger", "details.probe"];

/// The summaries in the index, sorted, when there are so many.
async fn summaries(index: &Index, count: usize) -> anyhow::Result<Vec<String>> {
    let events = index.documents("events*", "receivedtimestamp", FIELDS).await?;
    ensure!(events.len() == count, "{} events, {count} expected: {events:?}", events.len());
    let mut found: Vec<String> = events.iter().map(|event| text(event, "/_source/summary")).collect();
    found.sort_unstable();
    Ok(found)
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
