//! J1: parse, key mapping, the chain with all built-ins, JSON out; on one
//! core, in events per CPU second. Also what each part of it takes.
//!
//! In: lines of this file. Out: one line of text each. Never: a log or disk.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and stops where it cannot measure"
)]

use model::config::NormalizeConfig;
use model::event::Event;
use model::time::Timestamp;
use normalize::chain::tally::Tally;
use normalize::normalizer::{Format, Normalized, Normalizer, Raw, Sender};
use normalize::plugin::{Context, Outcome, Plugin, PluginError};
use normalize::start::Settings;

/// A record of CloudTrail as its S3 objects hold it, 700 bytes.
const RECORD: &str = concat!(
    r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDAJQABLZS4A3QDU576Q","#,
    r#""arn":"arn:aws:iam::123456789012:user/alice","accountId":"123456789012","accessKeyId":"AKIAIOSFODNN7EXAMPLE","#,
    r#""userName":"alice"},"eventTime":"2026-11-24T11:59:58Z","eventSource":"ec2.amazonaws.com","#,
    r#""eventName":"DescribeInstances","awsRegion":"us-west-2","sourceIPAddress":"198.51.100.7","#,
    r#""userAgent":"aws-cli/2.13.5 Python/3.11.4 Linux/6.2.0","requestParameters":{"instancesSet":{},"filterSet":{}},"#,
    r#""responseElements":null,"requestID":"fdcdd2c8-0f1c-4c2a-9d64-0e3d8a1b2c3d","#,
    r#""eventID":"4e2f7a8c-1b2d-4c3e-8f9a-0b1c2d3e4f5a","readOnly":true,"eventType":"AwsApiCall","#,
    r#""recipientAccountId":"123456789012"}"#
);

/// A login as a log file has it.
const LINE: &str = "Nov 24 11:59:58 bastion sshd[1291]: Accepted publickey for joe from 198.51.100.7 port 26476 ssh2: RSA SHA256:x";

/// A login as a shipper sends it.
const SHIPPED: &str = concat!(
    r#"{"category":"syslog","hostname":"bastion","processname":"sshd","processid":"1291","severity":"INFO","#,
    r#""timestamp":"2026-11-24T11:59:58Z","tags":["auth"],"details":{"program":"sshd"},"#,
    r#""summary":"Failed password for invalid user admin from 198.51.100.7 port 42532 ssh2"}"#
);

/// Nanoseconds that this thread has spent on a core.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("its first number is nanoseconds")
}

/// Which plugins take part.
#[derive(Clone, Copy, PartialEq)]
enum Plugins {
    None,
    BuiltIn,
    /// The built-ins and 200 that no event wakes.
    Many,
}

/// A plugin with words that no event has.
struct Silent(String);

impl Plugin for Silent {
    fn name(&self) -> &str {
        &self.0
    }

    fn registration(&self) -> Vec<&str> {
        vec![&self.0]
    }

    fn priority(&self) -> i32 {
        10
    }

    fn run(&self, _: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
        Ok(Outcome::Unchanged)
    }
}

fn normalizer(plugins: Plugins) -> Normalizer {
    let mut settings = Settings::from_config(&NormalizeConfig::default()).expect("the defaults are valid");
    match plugins {
        Plugins::None => settings.plugins.clear(),
        Plugins::BuiltIn => {}
        Plugins::Many => {
            let words =
                ["vendor", "product", "appliance", "firewall", "identity", "endpoint-agent", "dns", "mail"];
            for number in 0..25 {
                let plugins =
                    words.iter().map(|word| Box::new(Silent(format!("{word}{number}"))) as Box<dyn Plugin>);
                settings.plugins.extend(plugins);
            }
        }
    }
    Normalizer::new(settings)
}

/// Median of five runs of about a second each.
fn measure(name: &str, value: &str, format: Format, plugins: Plugins) {
    let mut normalizer = normalizer(plugins);
    let mut tally = Tally::default();
    let received = Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").expect("a time");
    let raw = Raw {
        value: value.as_bytes(),
        format,
        received,
        endpoint: Some("events"),
        custom_endpoint: false,
        queue: None,
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    let mut run = |count: u32| {
        let start = cpu_ns();
        let mut bytes = 0;
        for _ in 0..count {
            match normalizer.normalize(std::hint::black_box(raw), &mut tally) {
                Normalized::Event { json, .. } => bytes += json.len(),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(bytes > 0);
        f64::from(count) * 1e9 / (cpu_ns() - start) as f64
    };
    run(20_000);
    let mut rates: Vec<f64> = (0..5).map(|_| run(100_000)).collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(2).copied().unwrap_or_default();
    let megabytes = rate * value.len() as f64 / 1e6;
    println!("{name:<44} {:>4} B {rate:>9.0} events/CPU s {megabytes:>6.1} MB/s", value.len());
}

fn main() {
    measure("J1 CloudTrail, all built-ins", RECORD, Format::Json, Plugins::BuiltIn);
    measure("   the same without plugins", RECORD, Format::Json, Plugins::None);
    measure("   the same with 200 more that stay asleep", RECORD, Format::Json, Plugins::Many);
    measure("   sshd from a shipper, all built-ins", SHIPPED, Format::Json, Plugins::BuiltIn);
    measure("   sshd as a syslog line, all built-ins", LINE, Format::Syslog, Plugins::BuiltIn);
    measure("   the same without plugins", LINE, Format::Syslog, Plugins::None);
}
