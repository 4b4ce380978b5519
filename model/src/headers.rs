//! Names of record headers: one list for all stages, so that what one writes
//! another can read. Values are UTF-8 text unless said otherwise.

/// When the gateway or bridge took the record: milliseconds since 1970, decimal.
pub const RECEIVED: &str = "received";
/// Which input took it: `http`, `syslog`, `bulk`, …
pub const INPUT: &str = "input";
/// Who sent it: token name, or `anonymous`.
pub const PRINCIPAL: &str = "principal";
/// MozDef's endpoint name (`events`, `cef`, or the app of `/custom/<app>`); merged into the event.
pub const ENDPOINT: &str = "endpoint";
/// `true` when the endpoint is a custom one: key mapping is skipped.
pub const CUSTOM_ENDPOINT: &str = "customendpoint";
/// Media type of the value: `application/json` (default) or `text/x-syslog`.
pub const CONTENT_TYPE: &str = "content-type";
/// Queue, subscription or account that brought the record; a tag of the event, where the original tagged it.
pub const QUEUE: &str = "queue";
/// Exchange that a message of AMQP was sent to.
pub const AMQP_EXCHANGE: &str = "amqp-exchange";
/// Routing key of a message of AMQP.
pub const AMQP_ROUTING_KEY: &str = "amqp-routing-key";
/// Content encoding of a message of AMQP.
pub const AMQP_CONTENT_ENCODING: &str = "amqp-content-encoding";
/// Type that a message of AMQP names.
pub const AMQP_TYPE: &str = "amqp-type";
/// Application that a message of AMQP names.
pub const AMQP_APP_ID: &str = "amqp-app-id";
/// User of a message of AMQP, as the broker has checked it.
pub const AMQP_USER_ID: &str = "amqp-user-id";
/// Correlation id of a message of AMQP.
pub const AMQP_CORRELATION_ID: &str = "amqp-correlation-id";
/// Time that a message of AMQP names: seconds since 1970, decimal.
pub const AMQP_TIMESTAMP: &str = "amqp-timestamp";
/// `1` where the broker has delivered a message of AMQP before.
pub const AMQP_REDELIVERED: &str = "amqp-redelivered";
/// Id of a message of SQS.
pub const SQS_MESSAGE_ID: &str = "sqs-message-id";
/// When a message of SQS was sent: milliseconds since 1970, decimal.
pub const SQS_SENT: &str = "sqs-sent";
/// Group of a message of a FIFO queue of SQS.
pub const SQS_GROUP: &str = "sqs-group";
/// Bucket of the object that a record is from.
pub const S3_BUCKET: &str = "s3-bucket";
/// Key of the object that a record is from.
pub const S3_KEY: &str = "s3-key";
/// Version, or else sum, of the object that a record is from.
pub const S3_VERSION: &str = "s3-version";
/// Begins the names of the sender's own attributes of a message of SQS.
pub const SQS_ATTRIBUTE_PREFIX: &str = "sqs-attribute-";
/// Begins the names of the sender's own headers of a message of AMQP.
pub const AMQP_HEADER_PREFIX: &str = "amqp-header-";
/// [`CONTENT_TYPE`] of lines of syslog.
pub const MEDIA_SYSLOG: &str = "text/x-syslog";
/// Address of the sender.
pub const PEER: &str = "peer";
/// The client's own id of the record or batch, where it gave one.
pub const CLIENT_ID: &str = "client-id";
/// Number of the record within the client's batch, decimal.
pub const ITEM: &str = "item";
/// Minutes east of Greenwich of the event's times without a zone, decimal, where the input knows.
pub const ZONE_MINUTES: &str = "zone-minutes";
/// `1` for history that is loaded: indexed, but no part in live rules.
pub const BACKFILL: &str = "backfill";
/// The event's id (hex), where it differs from the key or the key is another thing.
pub const EVENT_ID: &str = "event-id";
/// Where the record came from: `topic/partition/offset[/item]`.
pub const ORIGIN: &str = "origin";
/// Topic of another program that the record was read from.
pub const KAFKA_TOPIC: &str = "kafka-topic";
/// Its partition there, decimal.
pub const KAFKA_PARTITION: &str = "kafka-partition";
/// Its offset there, decimal.
pub const KAFKA_OFFSET: &str = "kafka-offset";
/// Its time there: milliseconds since 1970, decimal.
pub const KAFKA_TIME: &str = "kafka-time";
/// Its key there.
pub const KAFKA_KEY: &str = "kafka-key";
/// Begins the names of headers that it had there.
pub const KAFKA_HEADER_PREFIX: &str = "kafka-header-";
/// Where producers put the schema's number or identifier that is not in the value (Confluent's dual format); bytes.
pub const VALUE_SCHEMA_ID: &str = "__value_schema_id";
/// What kind of record this is where a topic carries several: see the `KIND_` constants.
pub const KIND: &str = "kind";
/// Index (alias) a plugin chose for the event, where it is not `events`.
pub const INDEX: &str = "index";
/// Document id a plugin chose for the event.
pub const DOCUMENT_ID: &str = "document-id";
/// Stage that gave the record up (dead letters).
pub const STAGE: &str = "stage";
/// Why it was given up (dead letters, late events).
pub const REASON: &str = "reason";
/// More about the reason, for people.
pub const DETAIL: &str = "detail";
/// Version of MozDef that gave it up.
pub const VERSION: &str = "version";
/// Revision of an alert, decimal.
pub const REVISION: &str = "revision";
/// Rule id of a late event.
pub const RULE: &str = "rule";

/// Of Splunk's raw lines: host that the sender named.
pub const HEC_HOST: &str = "hec-host";
/// Of Splunk's raw lines: source that the sender named.
pub const HEC_SOURCE: &str = "hec-source";
/// Of Splunk's raw lines: source type that the sender named.
pub const HEC_SOURCE_TYPE: &str = "hec-sourcetype";
/// Of Splunk's raw lines: index that the sender named.
pub const HEC_INDEX: &str = "hec-index";
/// Of Splunk's raw lines: time that the sender named, in seconds since 1970.
pub const HEC_TIME: &str = "hec-time";
/// Resource that an OTLP log record belongs to, in the encoding of the record.
pub const OTLP_RESOURCE: &str = "otlp-resource";
/// Instrumentation scope that an OTLP log record belongs to, in the encoding of the record.
pub const OTLP_SCOPE: &str = "otlp-scope";
/// Kind of event of a webhook of GitHub.
pub const GITHUB_EVENT: &str = "github-event";
/// Index that a client of Elasticsearch named.
pub const BULK_INDEX: &str = "bulk-index";

/// [`INPUT`]: an event of Splunk's collector, in its envelope.
pub const INPUT_HEC: &str = "hec";
/// [`INPUT`]: a raw line of Splunk's collector.
pub const INPUT_HEC_RAW: &str = "hec-raw";
/// [`INPUT`]: a log record of OTLP.
pub const INPUT_OTLP: &str = "otlp";
/// [`INPUT`]: a webhook of GitHub.
pub const INPUT_GITHUB: &str = "github";
/// [`KIND`]: a dead letter that only tells where events are.
pub const KIND_NOTIFICATION: &str = "notification";
/// When Pub/Sub took the message, RFC 3339.
pub const PUBSUB_PUBLISH_TIME: &str = "pubsub-publish-time";
/// The message's ordering key in Pub/Sub.
pub const PUBSUB_ORDERING_KEY: &str = "pubsub-ordering-key";
/// What the names of headers begin with that hold attributes of a Pub/Sub message.
pub const PUBSUB_ATTRIBUTE_PREFIX: &str = "pubsub-attribute-";

/// [`INPUT`]: a message of AMQP.
pub const INPUT_AMQP: &str = "amqp";
/// [`INPUT`]: a message of SQS.
pub const INPUT_SQS: &str = "sqs";
/// [`INPUT`]: a message of SNS, by SQS.
pub const INPUT_SNS: &str = "sns";
/// [`INPUT`]: a record of CloudTrail.
pub const INPUT_CLOUDTRAIL: &str = "cloudtrail";
/// [`INPUT`]: an event of a finding of GuardDuty.
pub const INPUT_GUARD_DUTY: &str = "guardduty";
/// [`INPUT`]: a line of an object in a bucket.
pub const INPUT_S3: &str = "s3";
/// [`INPUT`]: a message of a syslog listener.
pub const INPUT_SYSLOG: &str = "syslog";
/// [`INPUT`]: an event of Papertrail's search API.
pub const INPUT_PAPERTRAIL: &str = "papertrail";
/// [`INPUT`]: a record of a topic of another program.
pub const INPUT_KAFKA: &str = "kafka";
/// [`INPUT`]: the data of a message of Google Cloud Pub/Sub.
pub const INPUT_PUBSUB: &str = "pubsub";

/// [`KIND`]: nothing received before `RECEIVED` is still to come in this partition.
pub const KIND_HEARTBEAT: &str = "heartbeat";
/// [`KIND`]: how far a puller has come, in `mozdef.control`.
pub const KIND_PROGRESS: &str = "progress";
/// [`KIND`]: a map of watermarks in `mozdef.matches`.
pub const KIND_WATERMARK: &str = "watermark";

/// Every name.
pub const ALL: &[&str] = &[
    RECEIVED,
    INPUT,
    PRINCIPAL,
    ENDPOINT,
    CUSTOM_ENDPOINT,
    CONTENT_TYPE,
    KAFKA_TOPIC,
    KAFKA_PARTITION,
    KAFKA_OFFSET,
    KAFKA_TIME,
    KAFKA_KEY,
    VALUE_SCHEMA_ID,
    QUEUE,
    AMQP_EXCHANGE,
    AMQP_ROUTING_KEY,
    AMQP_CONTENT_ENCODING,
    AMQP_TYPE,
    AMQP_APP_ID,
    AMQP_USER_ID,
    AMQP_CORRELATION_ID,
    AMQP_TIMESTAMP,
    AMQP_REDELIVERED,
    SQS_MESSAGE_ID,
    SQS_SENT,
    SQS_GROUP,
    S3_BUCKET,
    S3_KEY,
    S3_VERSION,
    PEER,
    CLIENT_ID,
    ITEM,
    ZONE_MINUTES,
    PUBSUB_PUBLISH_TIME,
    PUBSUB_ORDERING_KEY,
    BACKFILL,
    HEC_HOST,
    HEC_SOURCE,
    HEC_SOURCE_TYPE,
    HEC_INDEX,
    HEC_TIME,
    OTLP_RESOURCE,
    OTLP_SCOPE,
    GITHUB_EVENT,
    BULK_INDEX,
    EVENT_ID,
    ORIGIN,
    KIND,
    INDEX,
    DOCUMENT_ID,
    STAGE,
    REASON,
    DETAIL,
    VERSION,
    REVISION,
    RULE,
];
