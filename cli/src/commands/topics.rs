//! `mozdef topics plan|apply|status`: the topics on Kafka, made and changed as the configuration says.
//!
//! In: the configuration's `log.kafka`. Out: what is to be done, that it was done, or how things are. Exit code 2: something is
//! refused, and nothing was changed. Never: a topic that shrinks or goes away.

use std::process::ExitCode;

use model::config::KafkaConfig;
use model::topic::Topic;
use serde_json::{Value, json};
use stream::kafka::topics::{Actual, Change, Cluster, Plan, TopicAdmin, desired, plan};

use crate::arguments::Topics;
use crate::client::Asker;
use crate::configuration::Loaded;
use crate::output;
use crate::questions::Question;

/// Exit code where something is refused.
const REFUSED: u8 = 2;

/// Runs the command.
pub(crate) async fn run(loaded: Loaded, command: Topics) -> anyhow::Result<ExitCode> {
    match (command, &loaded.config.log.kafka) {
        (Topics::Status { json, admin }, None) => local_status(&loaded, json, admin).await,
        (Topics::Status { json, admin: Some(admin) }, Some(_)) => {
            local_status(&loaded, json, Some(admin)).await
        }
        (Topics::Status { json, admin: None }, Some(kafka)) => kafka_status(&loaded, kafka, json).await,
        (Topics::Plan { json } | Topics::Apply { json }, None) => {
            if json {
                output::json(&json!({"changes": [], "refused": []}));
            } else {
                output::line(
                    "nothing to do: the local log makes its topics itself (log.kafka is not configured)",
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        (Topics::Plan { json }, Some(kafka)) => {
            let cluster = TopicAdmin::new(kafka)?.cluster().await?;
            let plan = plan(kafka, &cluster);
            show(kafka, &plan, json, false);
            Ok(code(&plan))
        }
        (Topics::Apply { json }, Some(kafka)) => apply(kafka, json).await,
    }
}

fn code(plan: &Plan) -> ExitCode {
    if plan.refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

async fn apply(kafka: &KafkaConfig, as_json: bool) -> anyhow::Result<ExitCode> {
    let admin = TopicAdmin::new(kafka)?;
    let cluster = admin.cluster().await?;
    let plan = plan(kafka, &cluster);
    if !plan.refusals.is_empty() || plan.changes.is_empty() {
        show(kafka, &plan, as_json, false);
        return Ok(code(&plan));
    }
    let mut told = |topic: Topic, what: &str| {
        if !as_json {
            output::line(&format!("{:24} {what}", kafka.topic_name(topic)));
        }
    };
    admin.apply(&plan, &cluster, &mut told).await?;
    show(kafka, &plan, as_json, true);
    Ok(ExitCode::SUCCESS)
}

/// The plan as a table, or as `{changes, refused, done}`.
fn show(kafka: &KafkaConfig, plan: &Plan, as_json: bool, is_done: bool) {
    let rows: Vec<[String; 4]> = plan.changes.iter().map(|change| row(kafka, change)).collect();
    if as_json {
        let changes: Vec<Value> = rows
            .iter()
            .map(|[topic, what, from, to]| json!({"topic": topic, "change": what, "from": from, "to": to}))
            .collect();
        let refused: Vec<Value> = plan
            .refusals
            .iter()
            .map(|refusal| {
                let topic = kafka.topic_name(refusal.topic);
                json!({"topic": topic, "what": refusal.what, "remedy": refusal.remedy})
            })
            .collect();
        output::json(&json!({"changes": changes, "refused": refused, "done": is_done}));
        return;
    }
    let count = output::counted(rows.len(), "change");
    if is_done {
        output::line(&format!("{count} made, and seen on the cluster"));
        return;
    }
    if !rows.is_empty() {
        output::line(&output::table(
            &["TOPIC", "CHANGE", "FROM", "TO"],
            rows.into_iter().map(Vec::from).collect(),
        ));
    }
    for refusal in &plan.refusals {
        let topic = kafka.topic_name(refusal.topic);
        output::line(&format!("refused: {topic}: {}; {}", refusal.what, refusal.remedy));
    }
    output::line(&match (plan.changes.is_empty(), plan.refusals.is_empty()) {
        (true, true) => "nothing to do: the topics are as configured".to_owned(),
        (false, true) => format!("{count}; `mozdef topics apply` makes them"),
        (_, false) => format!("{} refused: `mozdef topics apply` changes nothing", plan.refusals.len()),
    });
}

fn row(kafka: &KafkaConfig, (topic, change): &(Topic, Change)) -> [String; 4] {
    let name = kafka.topic_name(*topic);
    match change {
        Change::Create => {
            let desired = desired(kafka, *topic);
            let cleanup = desired.settings.get("cleanup.policy").cloned().unwrap_or_default();
            let to = format!("{} partitions × {}, {cleanup}", desired.partitions, desired.replication);
            [name, "create".to_owned(), "-".to_owned(), to]
        }
        Change::Grow { from, to } => [name, "partitions".to_owned(), from.to_string(), to.to_string()],
        Change::Set { key, from, to } => {
            [name, (*key).to_owned(), from.clone().unwrap_or_else(|| "-".to_owned()), to.clone()]
        }
    }
}

/// The running process knows its own log.
async fn local_status(loaded: &Loaded, as_json: bool, admin: Option<String>) -> anyhow::Result<ExitCode> {
    let status = Asker::running(admin, &loaded.config)?.ask(&Question::Topics).await?;
    if as_json {
        output::json(&status);
    } else {
        tables(&status, None);
    }
    Ok(ExitCode::SUCCESS)
}

async fn kafka_status(loaded: &Loaded, kafka: &KafkaConfig, as_json: bool) -> anyhow::Result<ExitCode> {
    let cluster = TopicAdmin::new(kafka)?.cluster().await?;
    let missing: Vec<String> = Topic::ALL
        .into_iter()
        .filter(|topic| !cluster.topics.contains_key(topic))
        .map(|topic| kafka.topic_name(topic))
        .collect();
    // Offsets are asked for only where all topics are there: the log does not open before.
    let mut status = match missing.as_slice() {
        [] => Asker::of_log(None, &loaded.config).await?.ask(&Question::Topics).await?,
        _ => json!({"topics": [], "groups": []}),
    };
    if as_json {
        if let Some(fields) = status.as_object_mut() {
            fields.insert("missing".to_owned(), json!(missing));
            fields.insert("brokers".to_owned(), json!(cluster.brokers));
            let health =
                |(topic, actual): (&Topic, &Actual)| (topic.name().to_owned(), json!(health(actual)));
            fields.insert("health".to_owned(), Value::Object(cluster.topics.iter().map(health).collect()));
        }
        output::json(&status);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("{} at {}", output::counted(cluster.brokers, "broker"), kafka.brokers.join(",")));
    tables(&status, Some(&cluster));
    if !missing.is_empty() {
        output::line(&format!("missing: {}; run `mozdef topics apply`", missing.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// In words, whether every partition is led and has all its copies.
fn health(actual: &Actual) -> String {
    let led = actual.partitions.iter().filter(|partition| partition.leader.is_some()).count();
    let whole = actual.partitions.iter().filter(|partition| partition.in_sync >= partition.replicas).count();
    let all = actual.partitions.len();
    match (all - led, all - whole) {
        (0, 0) => "all led and in sync".to_owned(),
        (0, behind) => format!("{behind} of {all} partitions have copies that are behind"),
        (dark, _) => format!("{dark} of {all} partitions have no leader"),
    }
}

/// Topics with their size, and the groups' lag by partition.
fn tables(status: &Value, cluster: Option<&Cluster>) {
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut rows = Vec::new();
    for topic in list(status, "topics") {
        let partitions = list(&topic, "partitions");
        let records: u64 =
            partitions.iter().map(|p| number(p, "end").saturating_sub(number(p, "start"))).sum();
        let ranges: Vec<String> =
            partitions.iter().map(|p| format!("{}..{}", number(p, "start"), number(p, "end"))).collect();
        let actual = cluster.zip(Topic::from_name(&text(&topic, "topic")));
        let state = actual.and_then(|(cluster, topic)| cluster.topics.get(&topic)).map(health);
        let mut row =
            vec![text(&topic, "topic"), partitions.len().to_string(), records.to_string(), ranges.join(" ")];
        row.extend(state);
        rows.push(row);
    }
    if !rows.is_empty() {
        let mut head = vec!["TOPIC", "PARTITIONS", "RECORDS", "OFFSETS"];
        head.extend(cluster.map(|_| "STATE"));
        output::line(&output::table(&head, rows));
        output::line("");
    }
    let mut rows = Vec::new();
    for group in list(status, "groups") {
        let partitions = list(&group, "partitions");
        let lag: u64 = partitions.iter().map(|partition| number(partition, "lag")).sum();
        let each: Vec<String> =
            partitions.iter().map(|p| format!("{}:{}", number(p, "partition"), number(p, "lag"))).collect();
        rows.push(vec![text(&group, "group"), text(&group, "topic"), lag.to_string(), each.join(" ")]);
    }
    if !rows.is_empty() {
        output::line(&output::table(&["GROUP", "TOPIC", "LAG", "PARTITION:LAG"], rows));
    }
}
