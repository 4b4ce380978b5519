//! The configuration as a tree in which every value knows its place.
//!
//! In: YAML text, or a configuration made by code. Out: [`Tree`]. Never:
//! types; `schema.rs` compares.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::{Location, Spanned};

use super::error::Place;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) place: Option<Place>,
    pub(super) node: Node,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Null, a bool, a number or a string.
    Scalar(Json),
    List(Vec<Tree>),
    /// In the text's order.
    Map(Vec<Member>),
}

/// A key of a map, where it stands, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) place: Option<Place>,
    pub(super) value: Tree,
}

impl Tree {
    pub(super) fn of_json(json: &Json) -> Tree {
        let node = match json {
            Json::Array(elements) => Node::List(elements.iter().map(Tree::of_json).collect()),
            Json::Object(members) => Node::Map(
                members
                    .iter()
                    .map(|(key, value)| Member { key: key.clone(), place: None, value: Tree::of_json(value) })
                    .collect(),
            ),
            scalar => Node::Scalar(scalar.clone()),
        };
        Tree { place: None, node }
    }

    /// JSON without members that are null: a key without a value stands for its default.
    pub(super) fn to_json(&self) -> Json {
        match &self.node {
            Node::Scalar(scalar) => scalar.clone(),
            Node::List(elements) => elements.iter().map(Tree::to_json).collect(),
            Node::Map(members) => {
                let present = members.iter().filter(|member| !member.value.is_null());
                present.map(|member| (member.key.clone(), member.value.to_json())).collect()
            }
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.node == Node::Scalar(Json::Null)
    }

    /// Where a key stands, or the nearest key around it that is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        let Node::Map(members) = &self.node else { return None };
        for member in members {
            if member.key == key {
                return member.place;
            }
            if let Some(rest) = key.strip_prefix(&member.key).and_then(|rest| rest.strip_prefix('.')) {
                return member.value.place_of(rest).or(member.place);
            }
            if key.strip_prefix(&member.key).is_some_and(|rest| rest.starts_with('[')) {
                return member.place;
            }
        }
        None
    }
}

pub(super) fn place(location: Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Tree { place: place(spanned.referenced), node: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Json::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Json::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = members.next_key::<Spanned<String>>()? {
            let value = members.next_value()?;
            map.push(Member { place: place(key.referenced), key: key.value, value });
        }
        Ok(Node::Map(map))
    }
}
