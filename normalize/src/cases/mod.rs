//! Runs recorded cases of the original, one at a time: what it gave for an
//! input, against what this room gives.
//!
//! In: one case as JSON, and the listed right value where the recorded one is
//! a defect. Out: passed, failed with the difference, or not yet supported.
//! Never: files; whoever calls reads them.

mod compare;
mod dispatch;
mod functions;
mod pipeline;

use model::config::SitesConfig;
use model::time::Timestamp;
use serde_json::Value;

/// A folder of recorded cases that this room runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Key mapping of each worker, by file.
    KeyMapping,
    /// Required fields.
    Schema,
    /// Helpers: times, keys, lists.
    Util,
    /// Which plugins run, in which order.
    Dispatch,
    /// From the body of a message to the stored document.
    Pipeline,
    /// The same for the workers of other sources than HTTP and AMQP, by file.
    Workers,
    /// Single plugins, by file.
    Normalise,
}

/// What a case says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As recorded, or as listed.
    Passed,
    /// It needs what is not built yet.
    NotYetSupported(String),
    /// The difference.
    Failed(String),
}

impl Area {
    /// Every area.
    pub const ALL: [Area; 7] = [
        Area::KeyMapping,
        Area::Schema,
        Area::Util,
        Area::Dispatch,
        Area::Pipeline,
        Area::Workers,
        Area::Normalise,
    ];

    /// The folder's name.
    pub const fn folder(self) -> &'static str {
        match self {
            Area::KeyMapping => "keymapping",
            Area::Schema => "schema",
            Area::Util => "util",
            Area::Dispatch => "dispatch",
            Area::Pipeline => "pipeline",
            Area::Workers => "workers",
            Area::Normalise => "normalise",
        }
    }

    /// The area of a folder's name.
    pub fn from_folder(name: &str) -> Option<Area> {
        Area::ALL.into_iter().find(|area| area.folder() == name)
    }
}

/// Sites as the configuration names them that the original came with.
pub fn sites() -> SitesConfig {
    let codes = |codes: [&str; 3]| codes.map(str::to_owned).to_vec();
    SitesConfig { datacenters: codes(["abc1", "abc2", "abc3"]), offices: codes(["chicago1", "ny1", "sfo1"]) }
}

/// Runs one case of `<area>/<file>.jsonl`. `listed`: its row of the deviations, where it has one.
pub fn run(area: Area, file: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    match area {
        Area::KeyMapping => functions::key_mapping(file, case, listed),
        Area::Schema => functions::schema(case, listed),
        Area::Util => functions::util(file, case, listed),
        Area::Dispatch => dispatch::run(file, case),
        Area::Pipeline => pipeline::run(case, listed),
        Area::Workers => pipeline::run_worker(file, case, listed),
        Area::Normalise => pipeline::run_plugin(file, case, listed),
    }
}

/// Whether a deviation's row is the row of this case: file and name, and input where several cases have one name.
pub fn is_row_of(row: &Value, area: Area, file: &str, case: &Value) -> bool {
    let path = format!("{}/{file}.jsonl", area.folder());
    let same_input = row.get("input").is_none_or(|input| Some(input) == case.get("input"));
    text(row, "file") == Some(path.as_str()) && row.get("name") == case.get("name") && same_input
}

/// What the case wants: the listed value, the recorder's own correction, or what was recorded.
fn wanted<'c>(case: &'c Value, listed: Option<&'c Value>, field: &str) -> &'c Value {
    static NULL: Value = Value::Null;
    let listed = listed.and_then(|row| row.get(field));
    let intended = case.get("intended").and_then(|intended| intended.get(field));
    listed.or(intended).or_else(|| case.get(field)).unwrap_or(&NULL)
}

fn text<'c>(value: &'c Value, field: &str) -> Option<&'c str> {
    value.get(field).and_then(Value::as_str)
}

/// The case's clock.
fn now(case: &Value) -> Timestamp {
    text(case, "now").and_then(Timestamp::parse_rfc3339).unwrap_or(Timestamp::EPOCH)
}

fn hostname(case: &Value) -> &str {
    text(case, "mozdefhostname").unwrap_or("mozdef.test")
}

/// The bytes of an input: text as it is, anything else as JSON.
fn body(input: Option<&Value>) -> String {
    match input {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
