//! Whatever bytes come in, there is an event in normal form, a drop or a
//! reason; never a panic, and never JSON that its readers would refuse.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use model::config::NormalizeConfig;
use model::event::{Event, Limits};
use model::time::Timestamp;
use normalize::chain::tally::Tally;
use normalize::normalizer::{Format, Normalized, Normalizer, Raw, Sender};
use normalize::start::Settings;
use proptest::prelude::*;

fn normalizer() -> Normalizer {
    Normalizer::new(Settings::from_config(&NormalizeConfig::default()).unwrap())
}

/// Whether there was an event; the JSON of it is read back, and has what every event has.
fn check(normalizer: &mut Normalizer, value: &[u8], format: Format, custom_endpoint: bool) -> bool {
    let received = Timestamp::from_millis(1_764_072_000_000);
    let raw = Raw {
        value,
        format,
        received,
        endpoint: Some("events"),
        custom_endpoint,
        queue: None,
        item: 0,
        headers: None,
        sender: Sender::default(),
        digest: None,
    };
    match normalizer.normalize(raw, &mut Tally::default()) {
        Normalized::Event { json, .. } => {
            let mut event = Event::new();
            let flags = event.parse(json, &Limits::default().for_normal_form()).unwrap();
            assert_eq!((flags.duplicate_keys, flags.lone_surrogates), (0, 0), "{event:?}");
            for field in ["receivedtimestamp", "utctimestamp", "summary", "details", "tags", "mozdef"] {
                assert!(event.member(field).is_some(), "{field} is missing: {event:?}");
            }
            true
        }
        Normalized::Dropped { .. } => false,
        Normalized::Dead { detail, .. } => {
            assert!(!detail.is_empty());
            false
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn collected_hostile_documents() {
    let root = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let (mut taken, mut count) = (0, 0);
    let mut normalizer = normalizer();
    for folder in ["data/json-hostile", "data/hostile-events"].map(|name| root.join(name)) {
        if !folder.is_dir() {
            println!("SKIPPED: recorded data absent at {}; set MOZDEF_SHARED", folder.display());
            return;
        }
        for path in files(&folder) {
            let bytes = std::fs::read(&path).unwrap();
            for value in std::iter::once(&bytes[..]).chain(bytes.split(|b| *b == b'\n')) {
                taken += usize::from(check(&mut normalizer, value, Format::Json, false));
                check(&mut normalizer, value, Format::Json, true);
                check(&mut normalizer, value, Format::Syslog, false);
                count += 1;
            }
        }
    }
    println!("{count} inputs, {taken} of them are objects");
    assert!(taken > 0 && count > 300, "{taken} of {count}");
}

/// Objects with the names that mean something, and values of every kind.
fn document() -> impl Strategy<Value = String> {
    let key = "(@?[tT]imestamp|date|tags|TAGS|details|fields|details\\.x_int|fields\\.y_float|summary|payload|type|source|facility|mozdef|program|processname|customendpoint|endpoint|eventversion|eventname|src|sourceipaddress|a\\.b|ä|)";
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[1-9][0-9]{0,25}(\\.[0-9]{1,3})?(e[0-9]{1,3})?",
        "\"(sshd|cloudtrail|suricata|bro|squid|su|sudo|Oct 27 14:01:12|2017-05-25T07:14:15Z|10\\.1|::1|[a-zäß ,:\\[\\]=]{0,9})\"",
    ];
    let value = scalar.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((key, inner), 0..4).prop_map(|members| object(&members)),
        ]
    });
    prop::collection::vec((key, value), 0..8).prop_map(|members| object(&members))
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn objects_of_names_that_mean_something(json in document(), custom: bool) {
        check(&mut normalizer(), json.as_bytes(), Format::Json, custom);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&mut normalizer(), &bytes, Format::Json, false);
        check(&mut normalizer(), &bytes, Format::Syslog, false);
    }
}
