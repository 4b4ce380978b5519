//! Plugins in Rust: one source, natively and as WebAssembly, by the same cases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::config::{NormalizeConfig, PluginsConfig};
use mozdef_plugin::Plugin;
use normalize::case_file::{self, Judge, Judgement};
use plugins::tables::NoTables;
use plugins::{Cache, Loaded, Loader};
use serde_json::Value;
use tests::data;

#[allow(unreachable_pub, reason = "a crate of its own elsewhere")]
#[path = "../../../wasm-plugins/examples/rust/cloudtrail_changes/src/lib.rs"]
mod cloudtrail_changes;
#[allow(unreachable_pub, reason = "a crate of its own elsewhere")]
#[path = "../../../wasm-plugins/examples/rust/vpn_login/src/lib.rs"]
mod vpn_login;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-plugins/examples/rust").join(name)
}

fn config(name: &str) -> PluginsConfig {
    let mut config = PluginsConfig { deadline_ms: 2_000, ..PluginsConfig::default() };
    config.settings.entry(name.to_owned()).or_default().insert("other".to_owned(), "x".to_owned());
    config
}

fn load(name: &str) -> Option<Arc<Loaded>> {
    let component = match plugins::build::rust(&project(name)) {
        Ok(component) => component,
        Err(error) if error.is_about_tools() => {
            data::skipped(&format!("Rust plugins are not tested as WebAssembly: {error}"));
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(component.len() < 300_000, "{name} has {} bytes", component.len());
    let outline = plugins::inspect::outline(&component).unwrap();
    assert_eq!(outline.not_offered().count(), 0);
    assert!(outline.imports.iter().all(|import| !import.starts_with("wasi:")), "{:?}", outline.imports);
    let loader = Loader::new(config(name), Cache::default(), Arc::new(NoTables), None);
    Some(Arc::new(loader.load(name, &component, None).unwrap()))
}

fn check<P: Plugin>() {
    let text = std::fs::read_to_string(project(P::NAME).join("cases.jsonl")).unwrap();
    let cases = case_file::read(&text).unwrap();
    assert!(cases.len() >= 3);
    for case in &cases {
        let document = mozdef_plugin::run::<P>(&case.input).document();
        let got = document.map_or(Value::Null, |document| serde_json::from_str(&document).unwrap());
        assert_eq!(got, case.expected, "{}, native: {}", P::NAME, case.name);
    }
    let Some(plugin) = load(P::NAME) else { return };
    assert_eq!(plugin.description.priority, P::PRIORITY);
    let mut judge = Judge::guest(plugin, &NormalizeConfig::default()).unwrap();
    for case in &cases {
        assert_eq!(judge.judge(case), Judgement::Passed, "{}, WebAssembly: {}", P::NAME, case.name);
    }
}

#[test]
fn one_source_does_the_same_on_both_sides() {
    check::<vpn_login::VpnLogin>();
    check::<cloudtrail_changes::CloudTrailChanges>();
}
