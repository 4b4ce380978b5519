//! Topics and groups: what each partition holds, and how far each group is.

use model::topic::Topic;
use serde_json::{Value, json};
use stream::log::SharedLog;

use super::Failure;
use crate::stages::GROUPS;

/// `{topics: [{topic, partitions: [{partition, start, end}]}], groups: [{group, topic, partitions: [{partition, committed, lag}]}]}`.
pub(super) async fn status(log: &SharedLog) -> Result<Value, Failure> {
    let mut topics = Vec::new();
    for topic in Topic::ALL {
        let mut partitions = Vec::new();
        for partition in 0..log.partitions(topic) {
            let extent = log.extent(topic, partition).await.map_err(Failure::unavailable)?;
            partitions.push(json!({"partition": partition, "start": extent.start, "end": extent.stable}));
        }
        topics.push(json!({"topic": topic.name(), "partitions": partitions}));
    }
    let mut groups = Vec::new();
    for (group, topic) in GROUPS {
        let mut partitions = Vec::new();
        for partition in 0..log.partitions(topic) {
            let committed = log.committed(group, topic, partition).await.map_err(Failure::unavailable)?;
            let stable = log.extent(topic, partition).await.map_err(Failure::unavailable)?.stable;
            let lag = stable.saturating_sub(committed);
            partitions.push(json!({"partition": partition, "committed": committed, "lag": lag}));
        }
        groups.push(json!({"group": group, "topic": topic.name(), "partitions": partitions}));
    }
    Ok(json!({"topics": topics, "groups": groups}))
}
