//! What helm renders, as objects that can be asked.
//!
//! In: a value set. Out: [`Manifest`]. Never: text that is compared as text.

use std::fmt;

use anyhow::{Context, ensure};
use serde_json::Value as Json;

use crate::{project, tools};

/// The release's name in all tests.
pub const RELEASE: &str = "try";

/// Everything that one value set renders.
pub struct Manifest {
    /// As helm wrote it.
    pub text: String,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// One Kubernetes object.
#[derive(Clone, Debug)]
pub struct Object(Json);

impl Manifest {
    /// Renders the chart with a value set of `tests/helm/values/` and more arguments.
    ///
    /// # Errors
    /// Helm refuses; the error is what it said.
    pub fn render(values: &str, more: &[&str]) -> anyhow::Result<Manifest> {
        let chart = project("helm/mozdef").display().to_string();
        let file = project(&format!("tests/helm/values/{values}.yaml")).display().to_string();
        let mut arguments =
            vec!["template", RELEASE, chart.as_str(), "--namespace", "siem", "-f", file.as_str()];
        arguments.extend(more);
        let said = tools::run("helm", &arguments, "")?;
        ensure!(said.is_good, "{}", said.err);
        Manifest::parse(said.out)
    }

    fn parse(text: String) -> anyhow::Result<Manifest> {
        let documents: Vec<Json> = serde_saphyr::from_multiple(&text).context("helm's output")?;
        let objects = documents.into_iter().filter(|document| !document.is_null()).map(Object).collect();
        Ok(Manifest { text, objects })
    }

    /// The objects of a kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.kind() == kind)
    }

    /// One object.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.kind() == kind && object.name() == name)
    }

    /// What makes pods.
    pub fn workloads(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(|object| !object.at("/spec/template/spec/containers").is_null())
    }
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// A value by JSON pointer; null where there is none.
    pub fn at(&self, pointer: &str) -> &Json {
        self.0.pointer(pointer).unwrap_or(&Json::Null)
    }

    /// A text by JSON pointer; empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// A list by JSON pointer; empty where there is none.
    pub fn list(&self, pointer: &str) -> &[Json] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// A number by JSON pointer; 0 where there is none.
    pub fn number(&self, pointer: &str) -> u64 {
        self.at(pointer).as_u64().unwrap_or_default()
    }

    /// The only container of its pods.
    pub fn container(&self) -> Object {
        Object(self.at("/spec/template/spec/containers/0").clone())
    }

    /// Whether a selector of labels chooses these labels.
    pub fn labels_match(labels: &Json, selector: &Json) -> bool {
        let wanted = selector.as_object();
        wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}
