//! Mapping bodies of OpenSearch become a [`Mapping`].
//!
//! In: `{"properties": …, "dynamic_templates": …}`. Out: the mapping, or an error that names the key.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::dynamic::DynamicTemplate;
use super::{Dynamic, Leaf, Mapping, Node, Object};
use crate::error::ApiError;
use crate::json;

impl Mapping {
    /// Reads a mapping body; the limits are checked where it is used.
    pub(crate) fn read(body: &Value) -> Result<Mapping, ApiError> {
        let mut mapping = Mapping::default();
        let mut object_keys = Map::new();
        for (key, value) in json::object(body, "mappings")? {
            match key.as_str() {
                "dynamic_templates" => {
                    for item in json::array(value, key)? {
                        let (name, body) = json::only_entry(json::object(item, key)?, key)?;
                        mapping.templates.push(DynamicTemplate::read(name, body)?);
                    }
                }
                "date_detection" => mapping.date_detection = Some(json::boolean(value, key)?),
                "numeric_detection" => mapping.numeric_detection = Some(json::boolean(value, key)?),
                "_meta" => mapping.meta = Some(value.clone()),
                "_source" => {
                    let source = json::object(value, key)?;
                    if source.iter().any(|(k, v)| k != "enabled" || v != &Value::Bool(true)) {
                        return Err(ApiError::unsupported("mapping parameter [_source] other than enabled"));
                    }
                }
                "dynamic" | "properties" | "enabled" => {
                    object_keys.insert(key.clone(), value.clone());
                }
                other => {
                    return Err(ApiError::unsupported(format!("mapping parameter [{other}]")));
                }
            }
        }
        mapping.root = object("", &object_keys)?;
        mapping.indexed(usize::MAX)
    }
}

/// A field or an object at a path.
pub(super) fn node(path: &str, body: &Value) -> Result<Node, ApiError> {
    let params = json::object(body, path)?;
    match params.get("type").and_then(Value::as_str) {
        Some("object") | None => Ok(Node::Object(object(path, params)?)),
        Some(_) => Ok(Node::Leaf(Arc::new(Leaf::read(path, params)?))),
    }
}

fn object(path: &str, params: &Map<String, Value>) -> Result<Object, ApiError> {
    let mut made = Object::default();
    for (key, value) in params {
        match key.as_str() {
            "type" => {}
            "dynamic" => made.dynamic = Some(dynamic(value)?),
            "enabled" => made.disabled = !json::boolean(value, key)?,
            "properties" => {
                for (name, body) in json::object(value, key)? {
                    place(&mut made, path, name, body)?;
                }
            }
            other => {
                return Err(ApiError::unsupported(format!("parameter [{other}] of object [{path}]")));
            }
        }
    }
    Ok(made)
}

/// A property; a dotted name stands for objects.
fn place(parent: &mut Object, path: &str, name: &str, body: &Value) -> Result<(), ApiError> {
    let mut object = parent;
    let mut full = path.to_owned();
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(ApiError::illegal(format!("field name [{name}] has an empty part")));
        }
        if !full.is_empty() {
            full.push('.');
        }
        full.push_str(part);
        if parts.peek().is_none() {
            object.children.insert(part.to_owned(), node(&full, body)?);
            return Ok(());
        }
        let child = object.children.entry(part.to_owned()).or_insert_with(|| Node::Object(Object::default()));
        match child {
            Node::Object(child) => object = child,
            Node::Leaf(leaf) => return Err(super::changed(&leaf.name, leaf.kind.name(), "object")),
        }
    }
    Ok(())
}

fn dynamic(value: &Value) -> Result<Dynamic, ApiError> {
    match value {
        Value::Bool(true) => Ok(Dynamic::Add),
        Value::Bool(false) => Ok(Dynamic::Ignore),
        Value::String(text) if text == "true" => Ok(Dynamic::Add),
        Value::String(text) if text == "false" => Ok(Dynamic::Ignore),
        Value::String(text) if text == "strict" => Ok(Dynamic::Strict),
        other => Err(ApiError::unsupported(format!("[dynamic] of {}", json::preview(other)))),
    }
}
