//! A [`Mapping`] as a body: for `GET /index/_mapping` and for the file that keeps it.
//!
//! In: the mapping. Out: JSON that [`Mapping::read`] reads back to the same mapping.

use serde_json::{Map, Value, json};

use super::{Dynamic, Mapping, Node, Object};

impl Mapping {
    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        if let Some(meta) = &self.meta {
            out.insert("_meta".into(), meta.clone());
        }
        if !self.templates.is_empty() {
            let templates = self.templates.iter().map(|t| json!({t.name.as_str(): t.body})).collect();
            out.insert("dynamic_templates".into(), Value::Array(templates));
        }
        if let Some(on) = self.date_detection {
            out.insert("date_detection".into(), json!(on));
        }
        if let Some(on) = self.numeric_detection {
            out.insert("numeric_detection".into(), json!(on));
        }
        write_object(&self.root, &mut out);
        Value::Object(out)
    }
}

fn write_object(object: &Object, out: &mut Map<String, Value>) {
    if let Some(dynamic) = object.dynamic {
        let word = match dynamic {
            Dynamic::Add => "true",
            Dynamic::Ignore => "false",
            Dynamic::Strict => "strict",
        };
        out.insert("dynamic".into(), json!(word));
    }
    if object.disabled {
        out.insert("enabled".into(), json!(false));
    }
    if object.children.is_empty() {
        return;
    }
    let mut names: Vec<&String> = object.children.keys().collect();
    names.sort();
    let mut properties = Map::new();
    for name in names {
        let body = match object.children.get(name) {
            Some(Node::Leaf(leaf)) => leaf.params.clone(),
            Some(Node::Object(child)) => {
                let mut body = Map::new();
                write_object(child, &mut body);
                if !body.contains_key("properties") {
                    body.insert("type".into(), json!("object"));
                }
                body
            }
            None => continue,
        };
        properties.insert(name.clone(), Value::Object(body));
    }
    out.insert("properties".into(), Value::Object(properties));
}
