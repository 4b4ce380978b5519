//! The command line: every subcommand and option, with the help that teaches them.
//!
//! In: arguments. Out: [`Arguments`]. Never: defaults that the configuration owns.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A defence platform: takes security events from any log shipper, normalises, stores and searches them, and
/// raises alerts.
#[derive(Debug, Parser)]
#[command(
    name = "mozdef",
    version,
    about = "MozDef takes security events from any log shipper, normalises and searches them, and raises alerts.",
    after_help = "First steps:\n  \
        mozdef demo                       see it work: sample attacks, live, on one machine\n  \
        mozdef up                         run everything on this machine, in ./mozdef-data\n  \
        mozdef send /var/log/auth.log     send a log file to it\n  \
        mozdef search 'failed password'   find events\n  \
        mozdef alerts --follow            watch alerts as they are raised\n\n\
        On Kafka and OpenSearch (log.kafka and sink.url in the configuration):\n  \
        mozdef topics apply               make the topics\n  \
        mozdef gateway                    one stage a process: gateway, normalizer, correlator, sink;\n  \
                                          other inputs: syslog, amqp, sqs, papertrail, pubsub, kafka\n  \
        mozdef topics status              sizes, and how far each stage is\n\n\
        Configuration: --config, $MOZDEF_CONFIG, ./mozdef.yaml, /etc/mozdef/mozdef.yaml, else defaults."
)]
pub(crate) struct Arguments {
    /// Configuration file (YAML).
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every stage in this process: on the local log and the embedded index, or on Kafka and OpenSearch.
    Up(Up),
    /// Run only the gateway: takes events over HTTP into Kafka.
    Gateway(OneStage),
    /// Run only the bridge from RabbitMQ: takes events from the queues of `ingest.amqp` into Kafka.
    Amqp(OneStage),
    /// Run only the bridge from AWS: takes events from the queues of `ingest.sqs` into Kafka.
    Sqs(OneStage),
    /// Run only the syslog listeners of `ingest.syslog`. Needs Kafka.
    Syslog(OneStage),
    /// Run only the puller of Papertrail's events (`ingest.papertrail`). Needs Kafka.
    Papertrail(OneStage),
    /// Run only the puller of Google Cloud Pub/Sub's messages (`ingest.pubsub`). Needs Kafka.
    #[command(name = "pubsub")]
    PubSub(OneStage),
    /// Run only the sources of `ingest.kafka`: topics of other programs into MozDef's. Needs Kafka as the log.
    Kafka(OneStage),
    /// Run only the normalizer: raw events to MozDef's form. Needs Kafka.
    Normalizer(OneStage),
    /// Run only the correlator: events to alerts. Needs Kafka.
    Correlator(OneStage),
    /// Run only the sink: events and alerts to OpenSearch. Needs Kafka.
    Sink(OneStage),
    /// Start on a fresh folder, play sample attacks and show what happens.
    Demo(Demo),
    /// Send log files to a gateway or a queue and wait until they are safe.
    Send(Send),
    /// Search events (Lucene syntax).
    Search(Search),
    /// List alerts, newest first, or follow them as they are raised.
    Alerts(Alerts),
    /// Show what could not be processed, and why.
    #[command(subcommand)]
    Dlq(Dlq),
    /// Show what came in as an event, byte for byte.
    #[command(subcommand)]
    Raw(Raw),
    /// Make the topics on Kafka as the configuration says, or show how they are.
    #[command(subcommand)]
    Topics(Topics),
    /// Turn log lines on standard input into normal form, without a server.
    Normalize(Normalize),
    /// Make, build, test and push WebAssembly plugins, without a server.
    #[command(subcommand)]
    Plugin(crate::commands::plugin::Plugin),
    /// Check, test and run rules, without a server.
    #[command(subcommand)]
    Rules(Rules),
    /// Check the configuration, or print its schema.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Options of `mozdef up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Data folder; overrides `log.data`.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder of WebAssembly plugins, watched; overrides `normalize.plugins.folder`.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Logs as JSON lines instead of text.
    #[arg(long)]
    pub log_json: bool,
}

/// Options of `mozdef gateway`, `normalizer`, `correlator` and `sink`.
#[derive(Debug, Args)]
pub(crate) struct OneStage {
    /// Logs as JSON lines instead of text.
    #[arg(long)]
    pub log_json: bool,
}

/// Options of `mozdef demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Data folder; a temporary one by default. Must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Check the numbers and end, instead of staying up until Ctrl-C.
    #[arg(long)]
    pub check: bool,
}

/// How the lines of a file are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON objects: one a line, one after another, or in an array.
    Json,
    /// Syslog lines (RFC 3164, RFC 5424, or without a priority).
    Syslog,
    /// By the first character of the file: `{` or `[` is JSON.
    Auto,
}

/// Options of `mozdef send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Files to send; `-` is standard input; `.gz` and `.zst` are decompressed.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Gateway address; by default that of the configuration. Or a queue that a bridge takes from:
    /// `amqp(s)://[USER@]HOST[:PORT][/VHOST][?exchange=E&queue=Q&routing_key=K]` (password in $MOZDEF_PASSWORD),
    /// `sqs://HOST/ACCOUNT/QUEUE[?region=R&endpoint=URL]` (credentials as AWS's own tools find them).
    /// Or a topic: `kafka://[USER@]HOST:PORT[,HOST:PORT]/TOPIC[?tls=true&ca_file=FILE&mechanism=M]` (password in
    /// $MOZDEF_PASSWORD; without a host that of `log.kafka`, without a topic that of raw events).
    /// Or a syslog listener: `syslog://HOST:PORT`, `syslog+tls://`, `syslog+udp://` (PEM files in $MOZDEF_TLS_CA,
    /// $MOZDEF_TLS_CERTIFICATE and $MOZDEF_TLS_KEY).
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// How lines are read.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Mark as history: indexed, but no part in live rules.
    #[arg(long)]
    pub backfill: bool,
    /// Move all times so that the newest is now (for samples and tests).
    #[arg(long, conflicts_with = "backfill")]
    pub move_to_now: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mozdef search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Lucene query, such as `details.username:root AND failed`; `*` finds everything.
    pub query: String,
    /// Not before: ISO time, or as far back as `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Not after: ISO time, or as far back as `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Most events to show.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub size: u32,
    /// Print `{"total": N, "hits": […]}`.
    #[arg(long)]
    pub json: bool,
    /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
    /// the topics and the index themselves.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
}

/// Options of `mozdef alerts`.
#[derive(Debug, Args)]
pub(crate) struct Alerts {
    /// Go on showing alerts as they are raised or revised.
    #[arg(long)]
    pub follow: bool,
    /// Most alerts to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub size: u32,
    /// Print JSON: an array, or one alert a line with --follow.
    #[arg(long)]
    pub json: bool,
    /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
    /// the topics and the index themselves.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
}

/// `mozdef raw`.
#[derive(Debug, Subcommand)]
pub(crate) enum Raw {
    /// Show the original of one event: where it lies, its headers, its bytes.
    Get {
        /// The event's id, `_id` in `mozdef search --json`.
        id: String,
        /// Print JSON, with the bytes as base64.
        #[arg(long, conflicts_with = "bytes")]
        json: bool,
        /// Print the bytes alone, exactly as they came in.
        #[arg(long)]
        bytes: bool,
        /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
        /// the topics and the index themselves.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
}

/// `mozdef dlq`.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List the newest dead letters.
    List {
        /// Most letters to show.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        size: u32,
        /// Print `{"total": N, "letters": […]}`.
        #[arg(long)]
        json: bool,
        /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
        /// the topics and the index themselves.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
    /// Show one dead letter whole: headers and original bytes.
    Show {
        /// Its event id.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
        /// the topics and the index themselves.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
}

/// `mozdef topics`.
#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Show what `apply` would change, and what is refused (exit code 2). Changes nothing.
    Plan {
        /// Print `{"changes": […], "refused": […]}`.
        #[arg(long)]
        json: bool,
    },
    /// Create missing topics, add partitions, change settings; never shrinks or deletes. May be run again at any time.
    Apply {
        /// Print `{"changes": […], "refused": […], "done": …}`.
        #[arg(long)]
        json: bool,
    },
    /// Show topics, their size and state, and the lag of every group.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
        /// the cluster itself.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
}

/// Options of `mozdef normalize`.
#[derive(Debug, Args)]
pub(crate) struct Normalize {
    /// How lines are read; JSON is one object a line.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Take this as the time of receipt (RFC 3339) instead of the clock's.
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// Name written to `mozdefhostname`.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Run only this plugin, on events that are in normal form already.
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Folder of WebAssembly plugins that run as well; overrides `normalize.plugins.folder`.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
}

/// `mozdef rules`.
#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Read rule files and report every mistake with its place.
    Check {
        /// Files or folders; the shipped rules when none is given.
        paths: Vec<PathBuf>,
        /// Print `{"files": N, "rules": N, "errors": […]}`.
        #[arg(long)]
        json: bool,
    },
    /// Run the tests inside rule files.
    Test {
        /// Files or folders; the shipped rules when none is given.
        paths: Vec<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Judge events in normal form on standard input by their own times; print alerts as JSON lines.
    Run {
        /// Files or folders; the shipped rules when none is given.
        paths: Vec<PathBuf>,
    },
    /// Show why a rule matches an event or does not: a tree of what held and what did not.
    Explain(Explain),
    /// List rules with their levels and log sources.
    List {
        /// Files or folders; the shipped rules when none is given.
        paths: Vec<PathBuf>,
        /// Count each rule's alerts among the newest 10,000; asks the index.
        #[arg(long)]
        hits: bool,
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
        /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
        /// the index itself.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
    /// Look through rules of others: what loads, has all its fields, and has a log source here.
    #[command(subcommand)]
    Import(Import),
    /// Print a layer for the ATT&CK Navigator: techniques by the number of rules.
    Coverage {
        /// Files or folders; the shipped rules when none is given.
        paths: Vec<PathBuf>,
    },
    /// Run rules over indexed events of a time range; print alerts by rule and day.
    Backtest(Backtest),
}

/// Options of `mozdef rules explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The rule's id, name or title.
    pub rule: String,
    /// File with one event in normal form; standard input when none is given.
    pub event: Option<PathBuf>,
    /// Files or folders of rules; those of the configuration by default.
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// The event is as it came: normalise it first.
    #[arg(long)]
    pub raw: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `mozdef rules import`.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// A folder of Sigma rules, such as SigmaHQ's `rules/`.
    Sigma {
        /// The folder.
        folder: PathBuf,
        /// Copy the files whose rules are all ready into this folder.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Print `{"ready": N, "fields_missing": N, "no_source": N, "sources": …, "not_loaded": […]}`.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `mozdef rules backtest`.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// Files or folders of rules; those of the configuration by default.
    pub rules: Vec<PathBuf>,
    /// Not before this time: 2026-01-31T12:00:00Z, 2026-01-31, or 7d for a time ago.
    #[arg(long, value_name = "TIME", default_value = "1d")]
    pub from: String,
    /// Not after this time; the same, or now.
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub to: String,
    /// Only events that match this Lucene query.
    #[arg(long, value_name = "QUERY", default_value = "*")]
    pub query: String,
    /// Most events that are judged at once.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub most: usize,
    /// Print `{"events": N, "alerts": […], "by_rule": …}`.
    #[arg(long)]
    pub json: bool,
    /// Ask the running process with this admin address; by default that of the configuration, or with Kafka
    /// the index itself.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
}

/// `mozdef config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and report every mistake with its line.
    Check {
        /// The file; by default the one that the other commands would use.
        file: Option<PathBuf>,
        /// Print `{"file": …, "errors": […]}`.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration file.
    Schema,
}
