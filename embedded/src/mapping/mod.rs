//! The mapping of one index: which fields there are, of which type, and how new ones get theirs.
//!
//! In: mapping bodies of OpenSearch, new paths of documents. Out: [`Mapping`], a value that is replaced
//! as a whole when it grows. Never: a field that changes its type.

mod dynamic;
mod leaf;
mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use dynamic::{Discovered, JsonType};
pub(crate) use leaf::{Kind, Leaf};

use crate::error::ApiError;
use dynamic::DynamicTemplate;

/// Deepest object nesting that a mapping takes, as OpenSearch's `index.mapping.depth.limit`.
const DEPTH_MAX: usize = 20;

/// All fields of one index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    root: Object,
    templates: Vec<DynamicTemplate>,
    /// `None` is OpenSearch's default: on.
    date_detection: Option<bool>,
    numeric_detection: Option<bool>,
    meta: Option<serde_json::Value>,
    leaves: BTreeMap<String, Arc<Leaf>>,
    count: usize,
}

/// What happens to a field that the mapping does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dynamic {
    /// It is added.
    Add,
    /// It is kept in the source only.
    Ignore,
    /// The document is refused.
    Strict,
}

/// An object of the mapping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    dynamic: Option<Dynamic>,
    /// `false`: the whole object is kept in the source only.
    disabled: bool,
    children: foldhash::HashMap<String, Node>,
}

/// A child of an object.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Object(Object),
    Leaf(Arc<Leaf>),
}

impl Object {
    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        self.children.get(key)
    }

    /// Kept in the source only.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// What happens to unknown children; `inherited` is the parent's.
    pub(crate) fn dynamic(&self, inherited: Dynamic) -> Dynamic {
        self.dynamic.unwrap_or(inherited)
    }
}

impl Mapping {
    /// The top-level object.
    pub(crate) fn root(&self) -> &Object {
        &self.root
    }

    /// The field of this full name, multi-fields included.
    pub(crate) fn leaf(&self, name: &str) -> Option<&Arc<Leaf>> {
        self.leaves.get(name)
    }

    /// Fields below an object, such as `details`.
    pub(crate) fn leaves_below<'m>(&'m self, object: &str) -> impl Iterator<Item = &'m Arc<Leaf>> + use<'m> {
        let prefix = format!("{object}.");
        let end = format!("{object}/");
        self.leaves.range(prefix..end).map(|(_, leaf)| leaf)
    }

    /// Fields whose names match a pattern with `*`.
    pub(crate) fn leaves_like<'m>(&'m self, pattern: &'m str) -> impl Iterator<Item = &'m Arc<Leaf>> {
        self.leaves.values().filter(move |leaf| crate::patterns::star_matches(pattern, &leaf.name))
    }

    /// Count of fields and objects, as `index.mapping.total_fields.limit` counts them.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.count
    }

    /// The mapping with another one merged in, as `PUT /index/_mapping` does.
    pub(crate) fn merged(&self, other: &Mapping, fields_max: usize) -> Result<Mapping, ApiError> {
        let mut merged = self.clone();
        merge_object(&mut merged.root, &other.root, "")?;
        for template in &other.templates {
            match merged.templates.iter_mut().find(|t| t.name == template.name) {
                Some(same) => *same = template.clone(),
                None => merged.templates.push(template.clone()),
            }
        }
        merged.date_detection = other.date_detection.or(merged.date_detection);
        merged.numeric_detection = other.numeric_detection.or(merged.numeric_detection);
        merged.meta = other.meta.clone().or(merged.meta);
        merged.indexed(fields_max)
    }

    /// The mapping with paths that a document brought.
    pub(crate) fn with_discovered(
        &self,
        found: &[Discovered],
        fields_max: usize,
    ) -> Result<Mapping, ApiError> {
        let mut grown = self.clone();
        for discovered in found {
            let body = dynamic::body_for(self, discovered)?;
            insert(&mut grown.root, &discovered.path, body)?;
        }
        grown.indexed(fields_max)
    }

    /// Rebuilds the flat list and checks the limits.
    fn indexed(mut self, fields_max: usize) -> Result<Mapping, ApiError> {
        self.leaves.clear();
        self.count = 0;
        collect(&self.root, "", 1, &mut self.leaves, &mut self.count)?;
        if self.count > fields_max {
            return Err(ApiError::illegal(format!("Limit of total fields [{fields_max}] has been exceeded")));
        }
        Ok(self)
    }
}

fn collect(
    object: &Object,
    path: &str,
    depth: usize,
    leaves: &mut BTreeMap<String, Arc<Leaf>>,
    count: &mut usize,
) -> Result<(), ApiError> {
    if depth > DEPTH_MAX {
        return Err(ApiError::illegal(format!(
            "Limit of mapping depth [{DEPTH_MAX}] has been exceeded due to object field [{path}]"
        )));
    }
    for (key, node) in &object.children {
        *count += 1;
        match node {
            Node::Object(child) => {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(child, &path, depth + 1, leaves, count)?;
            }
            Node::Leaf(leaf) => {
                leaves.insert(leaf.name.clone(), leaf.clone());
                for sub in &leaf.subs {
                    *count += 1;
                    leaves.insert(sub.name.clone(), sub.clone());
                }
            }
        }
    }
    Ok(())
}

fn merge_object(into: &mut Object, from: &Object, path: &str) -> Result<(), ApiError> {
    into.dynamic = from.dynamic.or(into.dynamic);
    into.disabled |= from.disabled;
    for (key, node) in &from.children {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.children.get_mut(key), node) {
            (None, _) => {
                into.children.insert(key.clone(), node.clone());
            }
            (Some(Node::Object(old)), Node::Object(new)) => merge_object(old, new, &name)?,
            (Some(Node::Leaf(old)), Node::Leaf(new)) => *old = Arc::new(old.merged(new)?),
            (Some(Node::Object(_)), Node::Leaf(new)) => {
                return Err(changed(&name, "object", new.kind.name()));
            }
            (Some(Node::Leaf(old)), Node::Object(_)) => {
                return Err(changed(&name, old.kind.name(), "object"));
            }
        }
    }
    Ok(())
}

fn changed(name: &str, old: &str, new: &str) -> ApiError {
    ApiError::illegal(format!("mapper [{name}] cannot be changed from type [{old}] to [{new}]"))
}

/// Puts a new field at its place; objects on the way are made.
fn insert(
    root: &mut Object,
    path: &[String],
    body: serde_json::Map<String, serde_json::Value>,
) -> Result<(), ApiError> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    let mut object = root;
    for key in parents {
        let node = object.children.entry(key.clone()).or_insert_with(|| Node::Object(Object::default()));
        match node {
            Node::Object(child) => object = child,
            Node::Leaf(leaf) => return Err(changed(&leaf.name, leaf.kind.name(), "object")),
        }
    }
    if !object.children.contains_key(last) {
        let node = read::node(&path.join("."), &serde_json::Value::Object(body))?;
        object.children.insert(last.clone(), node);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Discovered, JsonType, Mapping};
    use serde_json::json;

    fn mozdef() -> Mapping {
        Mapping::read(&json!({
            "date_detection": false,
            "dynamic_templates": [
                {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}},
                {"longs": {"match_mapping_type": "long", "mapping": {"type": "keyword"}}}
            ],
            "properties": {
                "summary": {"type": "text"},
                "utctimestamp": {"type": "date", "format": "date_optional_time"},
                "details": {"properties": {"sourceipaddress": {"type": "ip"}, "success": {"type": "boolean"}}}
            }
        }))
        .unwrap()
    }

    fn found(path: &str, json_type: JsonType) -> Discovered {
        Discovered { path: path.split('.').map(str::to_owned).collect(), json_type, text: String::new() }
    }

    #[test]
    fn new_fields_get_their_type_from_the_templates() {
        let grown = mozdef()
            .with_discovered(
                &[found("details.port", JsonType::Long), found("details.flag", JsonType::Boolean)],
                1000,
            )
            .unwrap();
        assert_eq!(grown.leaf("details.port").unwrap().kind.name(), "keyword");
        assert_eq!(grown.leaf("details.flag").unwrap().kind.name(), "boolean");
        assert_eq!(grown.leaf("details.sourceipaddress").unwrap().kind.name(), "ip");
        assert_eq!(grown.leaves_below("details").count(), 4);
        assert_eq!(grown.count(), 7);
    }

    #[test]
    fn the_limits_hold() {
        let error = mozdef().with_discovered(&[found("a.b", JsonType::String)], 6).unwrap_err();
        assert_eq!(error.reason, "Limit of total fields [6] has been exceeded");
        let deep = vec!["x"; 30].join(".");
        let error = mozdef().with_discovered(&[found(&deep, JsonType::String)], 1000).unwrap_err();
        let path = vec!["x"; 20].join(".");
        assert_eq!(
            error.reason,
            format!("Limit of mapping depth [20] has been exceeded due to object field [{path}]")
        );
    }

    #[test]
    fn a_type_never_changes() {
        let other = Mapping::read(&json!({"properties": {"summary": {"type": "keyword"}}})).unwrap();
        let error = mozdef().merged(&other, 1000).unwrap_err();
        assert_eq!(error.reason, "mapper [summary] cannot be changed from type [text] to [keyword]");
        let other = Mapping::read(&json!({"properties": {"new": {"type": "long"}}})).unwrap();
        assert!(mozdef().merged(&other, 1000).unwrap().leaf("new").is_some());
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let grown = mozdef().with_discovered(&[found("note", JsonType::String)], 1000).unwrap();
        let again = Mapping::read(&grown.to_json()).unwrap();
        assert_eq!(again.to_json(), grown.to_json());
        assert_eq!(again.count(), grown.count());
    }
}
