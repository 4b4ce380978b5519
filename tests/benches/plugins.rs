//! WebAssembly plugins, on one core: what crossing the border costs, J1 with every event through a plugin in Rust (J1w),
//! and a plugin in Python. In events per CPU second.
//!
//! In: lines of this file. Out: one line of text each. Never: a log or disk.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and stops where it cannot measure"
)]

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use model::config::{NormalizeConfig, PluginsConfig};
use model::time::Timestamp;
use normalize::chain::tally::Tally;
use normalize::normalizer::{Format, Normalized, Normalizer, Raw, Sender};
use normalize::start::Settings;
use plugins::contract::Item;
use plugins::set::Set;
use plugins::tables::NoTables;
use plugins::{Cache, Instance, Loaded, Loader, Watched};
use tests::guests::{Guest, UNCHANGED};

/// A record of CloudTrail as its S3 objects hold it, 700 bytes.
const RECORD: &str = concat!(
    r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDAJQABLZS4A3QDU576Q","#,
    r#""arn":"arn:aws:iam::123456789012:user/alice","accountId":"123456789012","accessKeyId":"AKIAIOSFODNN7EXAMPLE","#,
    r#""userName":"alice"},"eventTime":"2026-11-24T11:59:58Z","eventSource":"ec2.amazonaws.com","#,
    r#""eventName":"DescribeInstances","awsRegion":"us-west-2","sourceIPAddress":"198.51.100.7","#,
    r#""userAgent":"aws-cli/2.13.5 Python/3.11.4 Linux/6.2.0","requestParameters":{"instancesSet":{},"filterSet":{}},"#,
    r#""responseElements":null,"requestID":"fdcdd2c8-0f1c-4c2a-9d64-0e3d8a1b2c3d","#,
    r#""eventID":"4e2f7a8c-1b2d-4c3e-8f9a-0b1c2d3e4f5a","readOnly":true,"eventType":"AwsApiCall","#,
    r#""source":"cloudtrail"}"#
);

/// Nanoseconds that this thread has spent on a core.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("its first number is nanoseconds")
}

/// Median of five runs; `work` does so many events.
fn measure(name: &str, events: usize, mut work: impl FnMut()) {
    let mut run = |rounds: usize| {
        let start = cpu_ns();
        (0..rounds).for_each(|_| work());
        (rounds * events) as f64 * 1e9 / (cpu_ns() - start) as f64
    };
    // The kernel counts CPU time by the tick, so each run takes a few hundred of them.
    let (start, mut rounds) = (std::time::Instant::now(), 0);
    while start.elapsed() < std::time::Duration::from_millis(300) {
        run(1);
        rounds += 1;
    }
    let mut rates: Vec<f64> = (0..5).map(|_| run(rounds)).collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(2).copied().unwrap_or_default();
    println!("{name:<52} {rate:>10.0} events/CPU s {:>9.3} µs", 1e6 / rate);
}

fn config() -> PluginsConfig {
    PluginsConfig { deadline_ms: 60_000, batch_max: 1024, ..PluginsConfig::default() }
}

fn load(name: &str, component: &[u8]) -> Arc<Loaded> {
    let cache = Cache::of(&PluginsConfig::default());
    let loader = Loader::new(config(), cache, Arc::new(NoTables), None);
    Arc::new(loader.load(name, component, None).expect("a plugin"))
}

fn border(name: &str, plugin: &Arc<Loaded>, document: &str) {
    for size in [1, 16, 128, 1024] {
        let items = vec![Item { document, received_ms: 0, index: None, id: None }; size];
        let mut instance = Instance::new(plugin.clone());
        measure(&format!("{name}, batches of {size}"), size, || {
            assert!(instance.process(&items).iter().all(Result::is_ok));
        });
    }
}

fn normalizer(guests: Option<Arc<Loaded>>) -> Normalizer {
    let mut settings = Settings::from_config(&NormalizeConfig::default()).expect("the defaults are valid");
    let set = guests.map(|plugin| Set { generation: 1, plugins: vec![plugin] });
    settings.guests = set.map(|set| Arc::new(Watched::kept_by(Arc::new(ArcSwap::from_pointee(set)))));
    Normalizer::new(settings)
}

fn whole(name: &str, guests: Option<Arc<Loaded>>, word: &str) {
    let mut normalizer = normalizer(guests);
    let received = Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").expect("a time");
    let raw = Raw {
        value: RECORD.as_bytes(),
        format: Format::Json,
        received,
        endpoint: Some("events"),
        custom_endpoint: false,
        queue: None,
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    let raws = vec![raw; 256];
    let mut tally = Tally::default();
    measure(name, raws.len(), || {
        normalizer.normalize_all(&raws, &mut tally, &mut |_, normalized, _| match normalized {
            Normalized::Event { json, .. } => {
                assert!(json.windows(word.len()).any(|at| at == word.as_bytes()))
            }
            other => panic!("{other:?}"),
        });
    });
}

fn main() {
    let nothing = load("nothing", &Guest::new("nothing", UNCHANGED).component());
    border("border alone (a guest that does nothing)", &nothing, RECORD);
    whole("J1 CloudTrail, all built-ins", None, "\"summary\"");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-plugins/examples");
    match plugins::build::rust(&examples.join("rust/cloudtrail_changes"), &[]) {
        Ok(component) => {
            let plugin = load("cloudtrail_changes", &component);
            whole("J1w the same, each through a plugin in Rust", Some(plugin), "\"changes\":false");
        }
        Err(error) => println!("SKIPPED: no plugin in Rust: {error}"),
    }
    let cache = Cache::user_folder().expect("a cache folder");
    match plugins::build::python(&examples.join("python/observium.py"), "1", &cache) {
        Ok(component) => {
            let alert = r#"{"summary":"ALERT: [sw1] [port] [Ethernet1/1 uplink] Port down","processname":"Observium","details":{}}"#;
            border("a plugin in Python that changes the event", &load("observium", &component), alert);
        }
        Err(error) => println!("SKIPPED: no plugin in Python: {error}"),
    }
}
