//! What the tests of the plugins share: one helper that knows the API, so that cases are data.

use std::path::PathBuf;

use model::config::SitesConfig;
use model::event::Event;
use model::time::Timestamp;

use crate::geoip_database::GeoDatabase;
use crate::plugin::{Builtin, Context, Metadata, Outcome};

/// When the tests receive their events.
pub(crate) const NOW: &str = "2020-03-04T05:06:07+00:00";

/// Runs one plugin on an event; it must not fail.
#[track_caller]
pub(crate) fn run_with(plugin: &Builtin, event: &str, geoip: Option<&GeoDatabase>) -> Event {
    run(plugin, event, geoip).1
}

/// What the plugin says about an event.
#[track_caller]
pub(crate) fn outcome_of(plugin: &Builtin, event: &str) -> Outcome {
    run(plugin, event, None).0
}

/// Where the plugin sends an event.
#[track_caller]
pub(crate) fn metadata_of(plugin: &Builtin, event: &str) -> Metadata {
    run(plugin, event, None).2
}

#[track_caller]
fn run(plugin: &Builtin, event: &str, geoip: Option<&GeoDatabase>) -> (Outcome, Event, Metadata) {
    let mut event = Event::from_json(event).unwrap_or_else(|error| panic!("{error} in {event}"));
    let now = Timestamp::parse_rfc3339(NOW).unwrap();
    let sites = SitesConfig { datacenters: vec!["dc1".to_owned()], offices: vec!["of1".to_owned()] };
    let metadata = Metadata::default();
    let mut context = Context { now, hostname: "mozdef.test", geoip, sites: &sites, metadata };
    let outcome =
        (plugin.run)(&mut event, &mut context).unwrap_or_else(|error| panic!("{}: {error}", plugin.name));
    (outcome, event, context.metadata)
}

/// An event and what the plugin makes of it; order of members aside.
#[track_caller]
pub(crate) fn check(plugin: &Builtin, event: &str, expected: &str) {
    let (outcome, out, _) = run(plugin, event, None);
    let value = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{error} in {text}"))
    };
    assert_eq!(value(&out.to_json()), value(expected), "{event}");
    assert_eq!(outcome, Outcome::Changed, "{event}");
}

/// An event that the plugin leaves alone, and says so.
#[track_caller]
pub(crate) fn check_unchanged(plugin: &Builtin, event: &str) {
    let (outcome, out, _) = run(plugin, event, None);
    assert_eq!(outcome, Outcome::Unchanged, "{event}");
    assert_eq!(out.to_json(), Event::from_json(event).unwrap().to_json(), "{event}");
}

/// A folder of the recorded data; `None`, said aloud, when it is absent.
pub(crate) fn recorded_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: recorded data absent: {}", folder.display());
    None
}

/// MaxMind's test database.
pub(crate) fn geo_database() -> Option<GeoDatabase> {
    let folder = recorded_data("mmdb")?;
    Some(GeoDatabase::open(&folder.join("GeoLite2-City-Test.mmdb")).unwrap())
}
