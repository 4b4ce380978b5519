//! Sigma's rules over events as they come: raw bytes, normalizer, log sources, field maps, detection.
//!
//! In: the recorded rule archive and its events. Out: counts, printed. Never: an event put into the form that a rule
//! expects by the test itself.

mod made;
mod recorded;

use std::path::{Path, PathBuf};
use std::process::Command;

use correlate::load::{self, Loaded};
use correlate::ruleset::{RuleSet, Scratch};
use model::config::NormalizeConfig;
use model::event::Event;
use model::time::Timestamp;
use normalize::offline::{Input, Offline, Result as Normalized};

/// The recorded Sigma folder and the rule archive, unpacked; `None`, said aloud, when absent.
fn archive() -> Option<(PathBuf, tempfile::TempDir)> {
    let sigma = tests::data::folder()?.join("sigma");
    let folder = tempfile::tempdir().unwrap();
    let packed = sigma.join("sigma-rules.tar.gz");
    let done = Command::new("tar").arg("xzf").arg(packed).arg("-C").arg(folder.path()).status().unwrap();
    assert!(done.success());
    Some((sigma, folder))
}

fn load(folder: &Path) -> Loaded {
    load::paths(&["rules", "rules-emerging-threats", "rules-threat-hunting"].map(|part| folder.join(part)))
}

/// The way of an event, from its bytes to the rules that it fits.
struct Way<'r> {
    normalizer: Offline,
    rules: &'r RuleSet,
    scratch: Scratch,
    hits: Vec<usize>,
}

impl<'r> Way<'r> {
    fn new(rules: &'r RuleSet) -> Way<'r> {
        let config = NormalizeConfig { hostname: "mozdef.test".to_owned(), ..NormalizeConfig::default() };
        let normalizer = Offline::new(&config, None).unwrap();
        Way { normalizer, rules, scratch: Scratch::default(), hits: Vec::new() }
    }

    /// Positions of the rules that fit.
    fn hits(&mut self, input: Input, raw: &[u8]) -> &[usize] {
        let now = Timestamp::parse_rfc3339("2026-03-01T00:00:00Z").unwrap();
        let event = match self.normalizer.normalize(input, raw, now) {
            Normalized::Event(json) => Event::from_json(std::str::from_utf8(json).unwrap()).unwrap(),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(raw)),
        };
        self.rules.evaluate(&event, &mut self.scratch, &mut self.hits);
        &self.hits
    }

    fn normal_form(&mut self, raw: &[u8]) -> String {
        match self.normalizer.normalize(Input::Json, raw, Timestamp::EPOCH) {
            Normalized::Event(json) => String::from_utf8_lossy(json).into_owned(),
            other => format!("{other:?}"),
        }
    }
}
