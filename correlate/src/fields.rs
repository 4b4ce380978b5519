//! Where the fields that rules name are found in the normal form.
//!
//! In: the text of `fields/*.yaml` files. Out: for a rule's log source and a
//! field, the paths to look at, in order. Never: a field without a path.
//!
//! ```yaml
//! logsource: { product: aws, service: cloudtrail }
//! fields:
//!   eventSource: [details.eventsource, hostname]   # tried in this order, before the field's own name
//! prefixes: [details.event.EventData]              # further places for every field
//! last:
//!   EventType: category                            # tried when it is nowhere else
//! emits: [Image, CommandLine]                      # all fields that events of this log source have, for `rules check`
//! ```
//!
//! A field is looked for: by the map of the most specific log source that
//! has it; as itself; in `details` (exact, first key in lower case, all in
//! lower case); under the prefixes; by the maps' `last`. Dots part keys, or
//! belong to one key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::FixedState;

use crate::finding::{Code, Findings};
use crate::sigma::document::{self, LogSource};
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{self, Kind, Node};

/// Keys of a path, from the root.
pub type Keys = Vec<String>;

/// Most keys of a path.
const DEPTH_MAX: usize = 32;

/// The map of one log source.
#[derive(Clone, Debug)]
struct FieldMap {
    logsource: LogSource,
    fields: HashMap<String, Vec<Keys>, FixedState>,
    prefixes: Vec<Keys>,
    last: HashMap<String, Vec<Keys>, FixedState>,
    /// All fields of the log source; empty where that is not known.
    emits: Vec<String>,
}

/// All maps.
#[derive(Clone, Debug, Default)]
pub struct FieldMaps {
    maps: Vec<FieldMap>,
}

const KEYS: [&str; 5] = ["logsource", "fields", "prefixes", "last", "emits"];

impl FieldMaps {
    /// Adds the maps of a file. Of two maps for one log source the later is asked first.
    pub fn add(&mut self, text: &str, findings: &mut Findings) {
        for document in yaml::parse(text, findings) {
            if !matches!(document.kind, Kind::Null) {
                self.maps.extend(map(&document, findings));
            }
        }
        // Stable: the most specific first, and of equals the latest file first.
        let mut maps: Vec<(usize, FieldMap)> =
            std::mem::take(&mut self.maps).into_iter().enumerate().collect();
        maps.sort_by_key(|(order, map)| {
            (std::cmp::Reverse(specificity(&map.logsource)), std::cmp::Reverse(*order))
        });
        self.maps = maps.into_iter().map(|(_, map)| map).collect();
    }

    /// Whether it is known that no event of a log source has a field: a map for its category lists all fields, and
    /// neither it nor a wider one has this one.
    pub fn is_never_there(&self, logsource: &LogSource, field: &str) -> bool {
        let maps: Vec<&FieldMap> = self.maps.iter().filter(|m| applies(&m.logsource, logsource)).collect();
        let is_listed = |map: &&FieldMap| map.logsource.category.is_some() && !map.emits.is_empty();
        let has = |map: &&FieldMap| {
            map.emits.iter().any(|one| one == field)
                || map.fields.contains_key(field)
                || map.last.contains_key(field)
        };
        logsource.category.is_some() && maps.iter().any(is_listed) && !maps.iter().any(has)
    }

    /// The paths of a field for rules of a log source, in order, without repetition.
    pub fn paths(&self, logsource: &LogSource, field: &str) -> Vec<Keys> {
        let maps: Vec<&FieldMap> = self.maps.iter().filter(|m| applies(&m.logsource, logsource)).collect();
        let mut paths: Vec<Keys> = Vec::new();
        if let Some(mapped) = maps.iter().find_map(|m| m.fields.get(field)) {
            paths.extend(mapped.iter().cloned());
        }
        let plain = keys(field);
        paths.push(plain.clone());
        let lower: Keys = plain.iter().map(|k| k.to_lowercase()).collect();
        let in_details = plain.first().is_some_and(|k| k == "details");
        if !in_details {
            let mut first_lower = plain.clone();
            if let (Some(first), Some(folded)) = (first_lower.first_mut(), lower.first()) {
                first.clone_from(folded);
            }
            paths.extend(
                [plain.clone(), first_lower, lower.clone()].into_iter().map(|k| below(&details(), k)),
            );
            if plain.len() > 1 {
                // Keys that hold their dots, as flat shippers write them.
                paths.push(vec![field.to_owned()]);
                paths.push(vec!["details".to_owned(), field.to_owned()]);
                paths.push(vec!["details".to_owned(), field.to_lowercase()]);
            }
        }
        for prefix in maps.iter().flat_map(|m| &m.prefixes) {
            paths.push(below(prefix, plain.clone()));
            paths.push(below(prefix, lower.clone()));
        }
        if let Some(mapped) = maps.iter().find_map(|m| m.last.get(field)) {
            paths.extend(mapped.iter().cloned());
        }
        let mut seen = std::collections::HashSet::new();
        paths.retain(|p| seen.insert(p.clone()));
        paths
    }
}

/// Lists of paths, each once, by position. Thousands of rules name the same few hundred fields.
#[derive(Debug)]
pub(crate) struct PathLists<'m> {
    maps: &'m FieldMaps,
    inner: RefCell<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    of_field: HashMap<LogSource, HashMap<String, u32, FixedState>, FixedState>,
    of_list: HashMap<Rc<Vec<Keys>>, u32, FixedState>,
    lists: Vec<(Rc<Vec<Keys>>, blake3::Hash)>,
}

impl<'m> PathLists<'m> {
    pub(crate) fn new(maps: &'m FieldMaps) -> PathLists<'m> {
        PathLists { maps, inner: RefCell::default() }
    }

    /// The position of the list of a field.
    pub(crate) fn position(&self, logsource: &LogSource, field: &str) -> u32 {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        if let Some(known) = inner.of_field.get(logsource).and_then(|of| of.get(field)) {
            return *known;
        }
        let list = Rc::new(self.maps.paths(logsource, field));
        let next = u32::try_from(inner.lists.len()).unwrap_or(u32::MAX);
        let position = *inner.of_list.entry(Rc::clone(&list)).or_insert(next);
        if position == next {
            let digest = digest(&list);
            inner.lists.push((list, digest));
        }
        inner.of_field.entry(logsource.clone()).or_default().insert(field.to_owned(), position);
        position
    }

    /// The list at a position.
    pub(crate) fn list(&self, position: u32) -> Rc<Vec<Keys>> {
        let inner = self.inner.borrow();
        inner.lists.get(position as usize).map(|(list, _)| Rc::clone(list)).unwrap_or_default()
    }

    /// The digest of the list of a field.
    pub(crate) fn digest(&self, logsource: &LogSource, field: &str) -> Option<blake3::Hash> {
        let position = self.position(logsource, field);
        self.inner.borrow().lists.get(position as usize).map(|(_, digest)| *digest)
    }
}

/// Over lengths and keys.
fn digest(list: &[Keys]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for path in list {
        hasher.update(&(path.len() as u64).to_be_bytes());
        for key in path {
            hasher.update(&(key.len() as u64).to_be_bytes());
            hasher.update(key.as_bytes());
        }
    }
    hasher.finalize()
}

fn details() -> Keys {
    vec!["details".to_owned()]
}

fn keys(dotted: &str) -> Keys {
    dotted.splitn(DEPTH_MAX, '.').map(str::to_owned).collect()
}

fn below(prefix: &Keys, keys: Keys) -> Keys {
    prefix.iter().cloned().chain(keys).collect()
}

fn specificity(logsource: &LogSource) -> usize {
    [&logsource.category, &logsource.product, &logsource.service].iter().filter(|p| p.is_some()).count()
}

/// Whether each part that the map names is the rule's.
fn applies(map: &LogSource, rule: &LogSource) -> bool {
    let fits = |map: &Option<String>, rule: &Option<String>| map.is_none() || map == rule;
    fits(&map.category, &rule.category)
        && fits(&map.product, &rule.product)
        && fits(&map.service, &rule.service)
}

fn map(node: &Node, findings: &mut Findings) -> Option<FieldMap> {
    let before = findings.errors();
    if !read::keys(node, &Known { block: "field map", keys: &KEYS, later: &[] }, findings) {
        return None;
    }
    let logsource = document::logsource(node, findings);
    let prefixes = read::texts(node, "prefixes", findings).iter().map(|p| keys(p)).collect();
    let emits = read::texts(node, "emits", findings);
    let fields = block(node, "fields", findings);
    let last = block(node, "last", findings);
    (findings.errors() == before).then_some(FieldMap { logsource: logsource?, fields, prefixes, last, emits })
}

/// Fields and their paths.
fn block(node: &Node, key: &str, findings: &mut Findings) -> HashMap<String, Vec<Keys>, FixedState> {
    let mut fields: HashMap<String, Vec<Keys>, FixedState> = HashMap::default();
    let Some(block) = node.get(key) else { return fields };
    let Some(entries) = block.entries() else {
        findings.add(block.place, Code::WrongType, format!("\"{key}\" is a map, not {}", block.describe()));
        return fields;
    };
    for entry in entries {
        let paths: Vec<Keys> = read::texts(block, &entry.key, findings).iter().map(|p| keys(p)).collect();
        if paths.is_empty() || paths.iter().flatten().any(String::is_empty) {
            let message = format!("\"{}\" needs paths such as details.user", entry.key);
            findings.add(entry.place, Code::Mapping, message);
        }
        fields.insert(entry.key.clone(), paths);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::FieldMaps;
    use crate::finding::Findings;
    use crate::sigma::document::LogSource;

    const MAPS: &str = "logsource: {product: windows}\nfields: {Image: details.image2}\nprefixes: [details.event.EventData]\nlast: {EventType: category}\n\
        ---\nlogsource: {product: windows, category: process_creation}\nfields: {Image: [details.a, details.b]}\n";

    #[track_caller]
    fn check(product: &str, category: Option<&str>, field: &str, expected: &str) {
        let mut findings = Findings::new("f".into());
        let mut maps = FieldMaps::default();
        maps.add(MAPS, &mut findings);
        assert_eq!(findings.into_vec(), []);
        let logsource =
            LogSource { product: Some(product.into()), category: category.map(Into::into), service: None };
        let paths: Vec<String> = maps.paths(&logsource, field).iter().map(|p| p.join("/")).collect();
        assert_eq!(paths.join(" "), expected);
    }

    #[test]
    fn the_most_specific_map_is_asked_first() {
        check(
            "windows",
            Some("process_creation"),
            "Image",
            "details/a details/b Image details/Image details/image details/event/EventData/Image details/event/EventData/image",
        );
        check(
            "windows",
            None,
            "Image",
            "details/image2 Image details/Image details/image details/event/EventData/Image details/event/EventData/image",
        );
        check("linux", None, "exe", "exe details/exe");
        check("linux", None, "EventType", "EventType details/EventType details/eventtype");
        check(
            "windows",
            None,
            "EventType",
            "EventType details/EventType details/eventtype details/event/EventData/EventType details/event/EventData/eventtype category",
        );
    }

    #[test]
    fn fields_that_no_event_has_are_known() {
        let text = "logsource: {product: windows}\nemits: [EventID]\nfields: {Mapped: details.m}\n---\n\
            logsource: {product: windows, category: image_load}\nemits: [Image, ImageLoaded]\n";
        let mut findings = Findings::new("f".into());
        let mut maps = FieldMaps::default();
        maps.add(text, &mut findings);
        assert_eq!(findings.into_vec(), []);
        let never = |product: &str, category: Option<&str>, field: &str| {
            let (product, category) = (Some(product.into()), category.map(Into::into));
            maps.is_never_there(&LogSource { product, category, service: None }, field)
        };
        assert!(never("windows", Some("image_load"), "CommandLine"));
        for field in ["Image", "EventID", "Mapped"] {
            assert!(!never("windows", Some("image_load"), field), "{field}");
        }
        assert!(!never("windows", Some("other"), "CommandLine") && !never("windows", None, "CommandLine"));
        assert!(!never("linux", Some("image_load"), "CommandLine"));
    }

    #[test]
    fn our_own_paths_are_themselves() {
        check("mozdef", None, "details.sourceipaddress", "details/sourceipaddress");
        check("mozdef", None, "summary", "summary details/summary");
    }

    #[test]
    fn dots_part_keys_or_belong_to_one() {
        check(
            "aws",
            None,
            "userIdentity.userName",
            "userIdentity/userName details/userIdentity/userName details/useridentity/userName details/useridentity/username \
             userIdentity.userName details/userIdentity.userName details/useridentity.username",
        );
    }
}
