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

/// The component of a project; none where the tools cannot be had.
fn component(project: &Path, features: &[String]) -> Option<Vec<u8>> {
    match plugins::build::rust(project, features) {
        Ok(component) => Some(component),
        Err(error) if error.is_about_tools() => {
            // The target comes from the toolchain's own server, which not every machine reaches.
            println!("SKIPPED: Rust plugins are not tested as WebAssembly: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn load(name: &str) -> Option<Arc<Loaded>> {
    let component = component(&project(name), &[])?;
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

/// Built-ins that are compiled both ways.
const BUILTINS: [&str; 7] =
    ["large_strings", "netflowFixup", "observium", "parse_sshd", "parse_su", "rt_flow", "snmptt"];

/// Events for a built-in: recorded ones, where they are, and those of the example in Python of its name.
fn inputs(name: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = root.join(format!("wasm-plugins/examples/python/{name}.cases.jsonl"));
    let recorded = data::folder().map(|folder| folder.join(format!("cases/mozdef/normalise/{name}.jsonl")));
    let files = [Some(example), recorded].into_iter().flatten();
    let text: String = files.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let mut inputs: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["input"].to_string()).collect();
    inputs.push(r#"{"summary":"pam_unix(su:session): session opened for user u by (uid=0)","details":{"program":"su"}}"#.to_owned());
    inputs.push(
        r#"{"summary":"Accepted publickey for joe from 192.0.2.7 port 26476 ssh2","processname":"sshd"}"#
            .to_owned(),
    );
    inputs.push(r#"{"summary":7,"details":[],"tags":null}"#.to_owned());
    inputs
}

#[test]
fn built_ins_do_the_same_as_webassembly() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/builtins");
    let (mut compared, mut changed) = (0, 0);
    for name in BUILTINS {
        let Some(component) = component(&guests, &[name.to_owned()]) else { return };
        let loader = Loader::new(config(name), Cache::default(), Arc::new(NoTables), None);
        let guest = Arc::new(loader.load(name, &component, None).unwrap());
        let mut guest = Judge::guest(guest, &NormalizeConfig::default()).unwrap();
        let mut native = Judge::native(name, &NormalizeConfig::default()).unwrap();
        for input in inputs(name) {
            let now = model::time::Timestamp::EPOCH;
            let made = |judge: &mut Judge| judge.run(&input, normalize::plugin::Metadata::default(), now);
            let (native, guest) = (made(&mut native), made(&mut guest));
            match (&native, &guest) {
                (Ok(native), Ok(guest)) => assert_eq!(guest, native, "{name}: {input}"),
                (native, guest) => assert_eq!(guest.is_err(), native.is_err(), "{name}: {input}"),
            }
            compared += 1;
            changed += usize::from(native.is_ok_and(|made| made.is_some_and(|(json, _)| json != input)));
        }
    }
    println!("{compared} events through {} built-ins, {changed} of them changed", BUILTINS.len());
    assert!(changed >= 7, "{changed}");
}

#[test]
fn one_source_does_the_same_on_both_sides() {
    check::<vpn_login::VpnLogin>();
    check::<cloudtrail_changes::CloudTrailChanges>();
}
