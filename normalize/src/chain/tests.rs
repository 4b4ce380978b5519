//! Order, dispatch on the event as changed so far, and plugins that fail.

use model::event::Event;
use model::time::Timestamp;

use super::tally::Tally;
use super::{Chain, Verdict};
use crate::plugin::{Context, Metadata, Outcome, Plugin, PluginError};

struct Made {
    name: &'static str,
    words: &'static [&'static str],
    priority: i32,
    run: fn(&mut Event, &mut Context<'_>) -> Result<Outcome, PluginError>,
}

impl Plugin for Made {
    fn name(&self) -> &str {
        self.name
    }
    fn registration(&self) -> Vec<&str> {
        self.words.to_vec()
    }
    fn priority(&self) -> i32 {
        self.priority
    }
    fn run(&self, event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
        (self.run)(event, context)
    }
}

fn made(
    name: &'static str,
    words: &'static [&'static str],
    priority: i32,
    run: fn(&mut Event, &mut Context<'_>) -> Result<Outcome, PluginError>,
) -> Box<dyn Plugin> {
    Box::new(Made { name, words, priority, run })
}

fn nothing(_: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    Ok(Outcome::Unchanged)
}

/// The remarks of those that failed, and the metadata.
#[track_caller]
fn check(plugins: Vec<Box<dyn Plugin>>, input: &str, expected: &str) -> (Vec<String>, Metadata) {
    let mut chain = Chain::new(plugins);
    let mut remarks = Vec::new();
    chain.begin();
    loop {
        let mut event = Event::from_json(input).unwrap();
        let sites = model::config::SitesConfig::default();
        let mut context = Context {
            now: Timestamp::EPOCH,
            hostname: "h",
            geoip: None,
            sites: &sites,
            metadata: Metadata::default(),
        };
        let got = match chain.run(&mut event, &mut context, &mut Tally::default()).unwrap() {
            Verdict::Kept => event.to_json(),
            Verdict::Dropped { number } => {
                format!("dropped by {}", chain.names().nth(number).unwrap_or_default())
            }
            Verdict::Waiting { number } => panic!("nobody waits for plugin {number}"),
            Verdict::Failed { remark } => {
                remarks.push(remark);
                continue;
            }
        };
        assert_eq!(got, expected);
        return (remarks, context.metadata);
    }
}

#[test]
fn priority_then_name_decides_the_order() {
    let plugins = vec![
        made("b", &["s"], 5, nothing),
        made("z", &["s"], 1, nothing),
        made("a", &["S"], 5, nothing),
        made("unwanted", &["t"], 0, nothing),
    ];
    check(plugins, r#"{"summary":"s"}"#, r#"{"summary":"s","mozdef":{"plugins":["z","a","b"]}}"#);
}

#[test]
fn dispatch_follows_what_earlier_plugins_wrote_and_removed() {
    let plugins = vec![
        made("first", &["s"], 1, |event, _| {
            event.set_member("added", "new")?;
            event.set_member("gone", "other")?;
            Ok(Outcome::Changed)
        }),
        made("wakes", &["new"], 2, nothing),
        made("sleeps", &["old"], 3, nothing),
        made("earlier", &["new"], 0, nothing),
    ];
    check(
        plugins,
        r#"{"x":"s","gone":"old"}"#,
        r#"{"x":"s","gone":"other","added":"new","mozdef":{"plugins":["first","wakes"]}}"#,
    );
}

#[test]
fn a_plugin_that_fails_or_panics_leaves_nothing_behind() {
    let plugins = vec![
        made("fails", &["s"], 1, |event, context| {
            event.set_member("x", "half")?;
            context.metadata.index = Some("half".to_owned());
            Err(PluginError::Input("details are missing".to_owned()))
        }),
        made("panics", &["s"], 2, |event, _| {
            event.set_member("x", "half")?;
            panic!("a bug in a plugin")
        }),
        made("works", &["s"], 3, |event, context| {
            event.set_member("y", "whole")?;
            context.metadata.id = Some("7".to_owned());
            Ok(Outcome::Changed)
        }),
    ];
    let (remarks, metadata) =
        check(plugins, r#"{"x":"s"}"#, r#"{"x":"s","y":"whole","mozdef":{"plugins":["works"]}}"#);
    assert_eq!(remarks, ["plugin fails: details are missing", "plugin panics: it panicked"]);
    assert_eq!(metadata, Metadata { index: None, id: Some("7".to_owned()) });
}

#[test]
fn a_drop_ends_the_chain_and_a_mozdef_of_its_own_hides_the_names() {
    let drop = vec![
        made("drop", &["s"], 1, |_, _| Ok(Outcome::Dropped)),
        made("never", &["s"], 2, |_, _| panic!("must not run")),
    ];
    check(drop, r#"{"x":"s"}"#, "dropped by drop");
    check(
        vec![made("p", &["s"], 1, nothing)],
        r#"{"x":"s","mozdef":{"x":1}}"#,
        r#"{"x":"s","mozdef":{"x":1}}"#,
    );
}
