//! Wrong values: refused, with a message that names the key.

use chart::manifest::Manifest;
use chart::tools;

/// Value set, `--set` (or `--set-json`) argument, words of the refusal.
const WRONG: &[(&str, &str, &[&str])] = &[
    // The schema.
    ("default", "gatway.replicas=2", &["additional properties 'gatway' not allowed"]),
    ("default", "gateway.replica=2", &["/gateway", "'replica' not allowed"]),
    ("default", "gateway.replicas=-1", &["/gateway/replicas", "minimum"]),
    ("default", "gateway.replicas=two", &["/gateway/replicas", "got string, want integer"]),
    ("default", "image.tag=latest", &["/image/tag"]),
    ("default", "image.pullPolicy=Sometimes", &["/image/pullPolicy", "'IfNotPresent'"]),
    ("default", "image.digest=sha256:12", &["/image/digest", "pattern"]),
    ("default", "config.log.kafka.brokers=[]", &["/config/log/kafka/brokers", "minItems"]),
    ("default", "config.log.kafka.brokers=[\"kafka\"]", &["/config/log/kafka/brokers/0", "pattern"]),
    ("default", "config.log.kafka.compression=snappy", &["/config/log/kafka/compression"]),
    ("default", "config.log.kafka.instance=a", &["/config/log/kafka", "'instance' not allowed"]),
    (
        "default",
        "config.log.kafka.sasl.password_env=P",
        &["/config/log/kafka/sasl", "'password_env' not allowed"],
    ),
    ("default", "config.log.kafka.topics.partitions=0", &["/config/log/kafka/topics/partitions", "minimum"]),
    (
        "default",
        "config.log.kafka.topics.by_topic.rwa.partitions=6",
        &["/config/log/kafka/topics/by_topic", "'rwa' not allowed"],
    ),
    ("default", "config.log.data=/data", &["/config/log", "'data' not allowed"]),
    ("default", "config.admin.listen=0.0.0.0:1", &["/config", "'admin' not allowed"]),
    ("default", "config.ingest.http.tokens.web=secret", &["/config/ingest/http/tokens/web", "pattern"]),
    ("default", "config.ingest.http.body_bytes_max=12", &["body_bytes_max", "minimum"]),
    ("default", "config.sink.url=opensearch:9200", &["/config/sink/url", "pattern"]),
    ("default", "config.sink.bulk_documents_max=0", &["bulk_documents_max", "minimum"]),
    ("default", "common.autoscaling.type=vpa", &["/common/autoscaling/type", "'keda'"]),
    ("default", "common.terminationGracePeriodSeconds=5", &["terminationGracePeriodSeconds", "minimum"]),
    ("default", "sink.logs=xml", &["/sink/logs", "'text'"]),
    ("default", "common.resources.limits.memory=lots", &["memory", "pattern"]),
    ("default", "service.type=ExternalName", &["/service/type"]),
    ("default", "service.port=70000", &["/service/port", "maximum"]),
    ("default", "networkPolicy.metricsFrom=[]", &["/networkPolicy/metricsFrom", "minItems"]),
    ("default", "metrics.serviceMonitor.interval=often", &["/metrics/serviceMonitor/interval"]),
    ("default", "ingress.hosts=[\"Events Example\"]", &["/ingress/hosts/0", "pattern"]),
    // Relations.
    ("default", "config.ingest.http.auth=token", &["config.ingest.http.tokens is empty", "auth: none"]),
    ("default", "ingress.enabled=true", &["would let the whole world send"]),
    ("production", "gateway.enabled=false", &["no gateway runs here"]),
    ("production", "ingress.hosts=[]", &["ingress.hosts is empty"]),
    ("production", "secrets.kafkaSasl.name=", &["needs a password", "secrets.kafkaSasl.name"]),
    ("default", "secrets.kafkaSasl.name=kafka", &["secrets.kafkaSasl.name is set", "mechanism"]),
    ("production", "secrets.kafkaTls.key=", &["a certificate needs its key"]),
    (
        "production",
        "secrets.openSearch.name=",
        &["config.sink.user and secrets.openSearch.name need each other"],
    ),
    (
        "production",
        "gateway.preStopSeconds=50",
        &["gateway.terminationGracePeriodSeconds is 60", "more than 60"],
    ),
    ("production", "sink.autoscaling.max=2", &["sink.autoscaling.min is 3, more than max, which is 2"]),
    ("production", "correlator.replicas=13", &["correlator: 13 instances", "only 12 partitions"]),
    (
        "keda",
        "normalizer.autoscaling.max=25",
        &["normalizer: 25 instances", "only 24 partitions", "autoscaling.max"],
    ),
];

#[test]
fn wrong_values_are_refused_with_a_readable_message() {
    if !tools::ready().unwrap() {
        return;
    }
    for (set, argument, words) in WRONG {
        let flag = if argument.contains("=[") { "--set-json" } else { "--set" };
        let Err(refusal) = Manifest::render(set, &[flag, argument]) else {
            panic!("{set} with {argument} is rendered");
        };
        let refusal = refusal.to_string();
        for word in *words {
            assert!(refusal.contains(word), "{set} with {argument}: no `{word}` in\n{refusal}");
        }
    }
    println!("{} wrong values refused", WRONG.len());
}

/// The same arguments with sound values pass: it is the value that is refused.
#[test]
fn sound_values_are_taken() {
    if !tools::ready().unwrap() {
        return;
    }
    for (set, argument) in [
        ("default", "gateway.replicas=0"),
        ("default", "image.tag=1.2.3"),
        ("default", "config.log.kafka.compression=lz4"),
        ("default", "config.log.kafka.topics.by_topic.dead.retention_hours=900"),
        ("default", "common.autoscaling.type=hpa"),
        ("production", "gateway.preStopSeconds=49"),
        ("production", "correlator.replicas=12"),
        ("keda", "normalizer.autoscaling.max=24"),
        ("keda", "gateway.autoscaling.max=100"),
    ] {
        if let Err(refusal) = Manifest::render(set, &["--set", argument]) {
            panic!("{set} with {argument}: {refusal}");
        }
    }
}
