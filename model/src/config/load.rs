//! Reads the configuration's text.
//!
//! In: YAML. Out: a valid [`Config`], or every mistake with line and column.
//! Never: several documents, anchors that multiply, more than 1 MiB.

use serde_saphyr::MergeKeyPolicy;

use super::Config;
use super::error::{ConfigError, Problem};
use super::schema;
use super::tree::{Tree, place};

/// Largest text, in bytes.
const BYTES_MAX: usize = 1 << 20;

impl Config {
    /// Reads one YAML document and checks it (see [`Config::check`]); an empty one gives the defaults, and so does a
    /// key without a value.
    ///
    /// # Errors
    /// Everything that is wrong, with its place; only the first mistake where the text is not YAML.
    pub fn from_yaml(text: &str) -> Result<Config, Vec<ConfigError>> {
        let tree = parse(text).map_err(|error| vec![error])?;
        let deviations = schema::deviations(&tree);
        if !deviations.is_empty() {
            return Err(deviations);
        }
        let config: Config = match &tree {
            empty if empty.is_null() => Config::default(),
            // What the schema allows and serde does not would be a defect of the schema, but is told all the same.
            tree => serde_json::from_value(tree.to_json()).map_err(|error| {
                vec![ConfigError {
                    place: None,
                    key: String::new(),
                    problem: Problem::Syntax { message: error.to_string() },
                }]
            })?,
        };
        let mut errors = config.check();
        for error in &mut errors {
            error.place = tree.place_of(&error.key);
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

fn parse(text: &str) -> Result<Tree, ConfigError> {
    if text.len() > BYTES_MAX {
        let problem = Problem::TooLarge { bytes: text.len(), limit: BYTES_MAX };
        return Err(ConfigError { place: None, key: String::new(), problem });
    }
    let options = serde_saphyr::options! {
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_nodes: 20_000,
            max_events: 50_000,
            max_aliases: 64,
            max_anchors: 64,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 2_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 64,
        },
    };
    serde_saphyr::from_str_with_options::<Tree>(text, options).map_err(|error| {
        let place = error.location().and_then(place);
        ConfigError { place, key: String::new(), problem: Problem::Syntax { message: message(&error) } }
    })
}

/// What the parser says, without the place, which is told in our own form.
fn message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::MultipleDocuments { .. } => {
            return "a second document begins here; a configuration is one".to_owned();
        }
        Error::MergeKeyNotAllowed { .. } => return "merge keys (`<<`) are not supported".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            return format!("the key `{key}` stands here again");
        }
        _ => {}
    }
    let text = error.without_snippet().to_string();
    match text.split_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}
