//! YAML with places: each key and value knows its line and column, and a
//! quoted scalar stays apart from a plain one, because in a rule `'4484'` is
//! text and `'_'` is not null.
//!
//! In: the text of a file. Out: one [`Node`] per document. Never: YAML 1.1's
//! guesses (`yes`, `0x17`, `017` keep their text), and never more than
//! [`NODES_MAX`] nodes, aliases counted out.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::finding::{Code, Findings, Place};

/// Most nodes of one file, each alias counted with all that it stands for.
pub const NODES_MAX: usize = 500_000;

/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// A value and where it starts.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its first character.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// Kinds of values.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing, `~` or a plain `null`.
    Null,
    /// A scalar without quotes: its text decides what it is.
    Plain(String),
    /// A quoted or block scalar: always text.
    Quoted(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in order.
    Map(Vec<Entry>),
}

/// A member of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key starts.
    pub place: Place,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The text of any scalar but null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(text) | Kind::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// A plain `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match &self.kind {
            Kind::Plain(text) => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// For messages: `a list`, `"text"` and so on.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Plain(text) | Kind::Quoted(text) => {
                let short: String = text.chars().take(40).collect();
                if short.len() < text.len() { format!("\"{short}…\"") } else { format!("\"{short}\"") }
            }
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }
}

/// Reads every document of a file. After a syntax error the next document is tried.
pub fn parse(text: &str, findings: &mut Findings) -> Vec<Node> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::default();
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => {
                if !builder.take(event, place(&span.start), findings) {
                    break;
                }
            }
            Some(Err(error)) => {
                findings.add(place(error.marker()), Code::Syntax, format!("not YAML: {}", error.info()));
                builder.abandon();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    builder.documents
}

fn place(mark: &Marker) -> Place {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: narrow(mark.line()), column: narrow(mark.col().saturating_add(1)) }
}

/// An open collection.
enum Open {
    List { place: Place, anchor: usize, items: Vec<Node> },
    Map { place: Place, anchor: usize, entries: Vec<Entry>, key: Option<(String, Place)> },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl Builder {
    /// False when the file is too large to go on.
    fn take(&mut self, event: Event<'_>, place: Place, findings: &mut Findings) -> bool {
        match event {
            Event::DocumentStart(..) => self.abandon(),
            Event::Scalar(text, style, anchor, tag) => {
                let forced = tag.is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                let kind = scalar(text.into_owned(), style == ScalarStyle::Plain && !forced);
                self.put(Node { place, kind }, anchor, 1, findings);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open::List { place, anchor, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map { place, anchor, entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(findings),
            Event::Alias(id) => {
                let (node, size) =
                    self.anchors.get(&id).cloned().unwrap_or((Node { place, kind: Kind::Null }, 1));
                self.put(Node { place, kind: node.kind }, 0, size, findings);
            }
            _ => {}
        }
        if self.nodes > NODES_MAX {
            findings.add(place, Code::Limit, format!("more than {NODES_MAX} values in one file: split it"));
            self.abandon();
            return false;
        }
        true
    }

    fn abandon(&mut self) {
        self.open.clear();
        self.anchors.clear();
    }

    fn close(&mut self, findings: &mut Findings) {
        match self.open.pop() {
            Some(Open::List { place, anchor, items }) => {
                self.put(Node { place, kind: Kind::List(items) }, anchor, 1, findings);
            }
            Some(Open::Map { place, anchor, entries, .. }) => {
                self.put(Node { place, kind: Kind::Map(entries) }, anchor, 1, findings);
            }
            None => {}
        }
    }

    /// Puts a finished value where it belongs: the document, the open list, or as key or value of the open map.
    fn put(&mut self, node: Node, anchor: usize, size: usize, findings: &mut Findings) {
        self.nodes = self.nodes.saturating_add(size);
        if anchor != 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
            self.nodes = self.nodes.saturating_add(size);
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some((key_text(&node, findings), node.place)),
                Some((name, place)) => {
                    if entries.iter().any(|e| e.key == name) && name != "<<" {
                        findings.add(
                            place,
                            Code::DuplicateKey,
                            format!("the key \"{name}\" stands twice in one map"),
                        );
                    }
                    entries.push(Entry { key: name, place, value: node });
                }
            },
        }
    }
}

/// A null key is the empty key; a collection as a key is an error.
fn key_text(node: &Node, findings: &mut Findings) -> String {
    match &node.kind {
        Kind::Plain(text) | Kind::Quoted(text) => text.clone(),
        Kind::Null => String::new(),
        Kind::List(_) | Kind::Map(_) => {
            findings.add(
                node.place,
                Code::WrongType,
                format!("a key must be a word, not {}", node.describe()),
            );
            String::new()
        }
    }
}

fn scalar(text: String, plain: bool) -> Kind {
    if !plain {
        return Kind::Quoted(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        _ => Kind::Plain(text),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::List(items) => items.iter().map(count).sum::<usize>(),
        Kind::Map(entries) => entries.iter().map(|e| 1 + count(&e.value)).sum::<usize>(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Node, parse};
    use crate::finding::Findings;

    fn read(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut findings = Findings::new("f".into());
        let documents = parse(text, &mut findings);
        (documents, findings.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn quoted_and_plain_scalars_stay_apart() {
        let (documents, findings) =
            read("a: '4484'\nb: 4484\nc: '_'\nd: null\ne: ''\nf:\ng: 'null'\nh: ~\ni: !!str null\n");
        assert!(findings.is_empty(), "{findings:?}");
        let kinds: Vec<String> =
            documents[0].entries().unwrap().iter().map(|e| format!("{:?}", e.value.kind)).collect();
        assert_eq!(
            kinds,
            [
                "Quoted(\"4484\")",
                "Plain(\"4484\")",
                "Quoted(\"_\")",
                "Null",
                "Quoted(\"\")",
                "Null",
                "Quoted(\"null\")",
                "Null",
                "Quoted(\"null\")"
            ]
        );
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let (documents, _) = read("a:\n  b:\n    - x\n    - 'y'\n");
        let b = &documents[0].get("a").unwrap().entries().unwrap()[0];
        assert_eq!((b.place.line, b.place.column), (2, 3));
        let Kind::List(items) = &b.value.kind else { panic!("a list was expected") };
        assert_eq!((items[1].place.line, items[1].place.column), (4, 7));
    }

    #[test]
    fn a_broken_document_leaves_the_next_one_readable() {
        let (documents, findings) = read("a: [1\n---\nb: 2\n");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(documents.last().unwrap().get("b").is_some());
    }

    #[test]
    fn a_key_twice_is_found_with_its_place() {
        let (_, findings) = read("a: 1\nb: 2\na: 3\n");
        assert_eq!(findings, ["f:3:1: S005 the key \"a\" stands twice in one map"]);
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let before = format!("*a{}", i - 1);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![before; 10].join(",")));
        }
        let (_, findings) = read(&text);
        assert!(findings.iter().any(|f| f.contains("S030")), "{findings:?}");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let (_, findings) = read(&"[".repeat(10_000));
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
}
