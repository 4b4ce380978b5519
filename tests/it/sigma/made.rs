//! For each Windows rule of the archive an event that fits it, made out of the rule's own words in evtx_dump's shape:
//! its fields can come from an event of its source.
//!
//! In: the rules, and the shipped log sources. Out: which rules no such event reaches. Never: a rule passed over in
//! silence: those whose words are expressions are counted.

use std::collections::BTreeMap;

use correlate::finding::Findings;
use correlate::load::{Role, SourceFile};
use correlate::logsource::LogSources;
use correlate::sigma::ast::{Check, Expr, How, Number, Op, Test};
use correlate::sigma::document::{Body, Document, LogSource};
use correlate::sigma::pattern::{Part, Pattern};
use normalize::offline::Input;
use serde_json::{Map, Value, json};

use super::{Way, archive, load};

/// What a field must be.
#[derive(Clone, Debug, Default)]
struct Wanted {
    equals: Option<String>,
    starts: String,
    contains: Vec<String>,
    ends: String,
}

impl Wanted {
    fn text(&self) -> String {
        let words = self.contains.join(" ");
        self.equals.clone().unwrap_or_else(|| format!("{}{words}{}", self.starts, self.ends))
    }

    /// Takes a pattern too. False when it contradicts what is there.
    fn take(&mut self, pattern: &Pattern) -> bool {
        let text: String = pattern
            .parts()
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::One => "x",
                Part::Star => "",
            })
            .collect();
        let open = |part: Option<&Part>| matches!(part, Some(Part::Star));
        let (before, after) = (open(pattern.parts().first()), open(pattern.parts().last()));
        if let Some(known) = &self.equals {
            let (known, text) = (known.to_lowercase(), text.to_lowercase());
            return match (before, after) {
                (false, false) => known == text,
                (false, true) => known.starts_with(&text),
                (true, false) => known.ends_with(&text),
                (true, true) => known.contains(&text),
            };
        }
        match (before, after) {
            (false, false) => {
                let fits = text.starts_with(&self.starts)
                    && text.ends_with(&self.ends)
                    && self.contains.iter().all(|word| text.to_lowercase().contains(&word.to_lowercase()));
                self.equals = Some(text);
                fits
            }
            (false, true) if self.starts.starts_with(&text) => true,
            (false, true) if text.starts_with(&self.starts) => {
                self.starts = text;
                true
            }
            (true, false) if self.ends.ends_with(&text) => true,
            (true, false) if text.ends_with(&self.ends) => {
                self.ends = text;
                true
            }
            (true, true) => {
                self.contains.push(text);
                true
            }
            _ => false,
        }
    }
}

type Fields = BTreeMap<String, Wanted>;

/// Adds what makes the tree hold. False when that cannot be told from its words.
fn want(expr: &Expr, fields: &mut Fields) -> bool {
    match expr {
        Expr::All(all) => all.iter().all(|one| want(one, fields)),
        Expr::Any(all) => all.iter().any(|one| {
            let mut tried = fields.clone();
            let fits = want(one, &mut tried);
            if fits {
                *fields = tried;
            }
            fits
        }),
        Expr::Not(_) => true,
        Expr::Test(test) => want_test(test, fields),
    }
}

fn equal(fields: &mut Fields, name: &str, text: String) -> bool {
    fields.entry(name.to_owned()).or_default().take(&Pattern::literal(&text))
}

fn want_test(test: &Test, fields: &mut Fields) -> bool {
    let name = test.field.clone().unwrap_or_else(|| "Data".to_owned());
    match &test.check {
        Check::Text { patterns, .. } => patterns.iter().any(|pattern| {
            let mut wanted = fields.get(&name).cloned().unwrap_or_default();
            let fits = wanted.take(pattern);
            if fits {
                fields.insert(name.clone(), wanted);
            }
            fits
        }),
        Check::Compare { op, number: Number::Int(n) } => match op {
            Op::Gt => equal(fields, &name, (n + 1).to_string()),
            Op::Lt => equal(fields, &name, (n - 1).to_string()),
            Op::Gte | Op::Lte | Op::Eq => equal(fields, &name, n.to_string()),
        },
        Check::Exists(true) => equal(fields, &name, "there".to_owned()),
        Check::Exists(false) | Check::Null => !fields.contains_key(&name),
        Check::Cidr(nets) => equal(fields, &name, nets[0].addr().to_string()),
        Check::Field { other, how: How::Equals, .. } => {
            let text = fields.get(&name).map_or_else(|| "same".to_owned(), Wanted::text);
            equal(fields, &name, text.clone()) && equal(fields, other, text)
        }
        _ => false,
    }
}

/// Fields that exclusions look at: they must be there, since some exclude what lacks them.
fn looked_at(expr: &Expr, inside: bool, names: &mut Vec<String>) {
    match expr {
        Expr::All(all) | Expr::Any(all) => all.iter().for_each(|one| looked_at(one, inside, names)),
        Expr::Not(inner) => looked_at(inner, true, names),
        Expr::Test(Test { field: Some(field), check }) if inside && !matches!(check, Check::Exists(_)) => {
            names.push(field.clone());
        }
        Expr::Test(_) => {}
    }
}

/// Names of the system part.
const SYSTEM: [&str; 6] = ["EventID", "Channel", "Provider_Name", "Computer", "Level", "Security_UserID"];

fn event(fields: &Fields) -> Value {
    let text = |name: &str| fields.get(name).map(Wanted::text);
    let id = text("EventID").and_then(|id| id.parse::<u32>().ok()).unwrap_or(1);
    let data: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| !SYSTEM.contains(&name.as_str()))
        .map(|(name, wanted)| (name.clone(), wanted.text().into()))
        .collect();
    json!({"Event": {
        "System": {
            "Provider": {"#attributes": {"Name": text("Provider_Name").unwrap_or_else(|| "Provider".to_owned())}},
            "EventID": id, "Level": text("Level").unwrap_or_else(|| "4".to_owned()),
            "TimeCreated": {"#attributes": {"SystemTime": "2026-02-28T12:00:00Z"}},
            "Channel": text("Channel").unwrap_or_default(),
            "Computer": text("Computer").unwrap_or_else(|| "host.example".to_owned()),
            "Security": {"#attributes": {"UserID": text("Security_UserID").unwrap_or_default()}},
        },
        "EventData": data,
    }})
}

/// The fields of an event of the rule's source; the definitions are tried in their order.
fn fields(logsource: &LogSource, expr: &Expr, sources: &LogSources) -> Option<Fields> {
    let gives = |wanted: &Option<String>, given: &[String]| wanted.as_ref().is_none_or(|w| given.contains(w));
    let fitting = sources.definitions.iter().filter(|definition| {
        definition.products.iter().any(|product| product == "windows")
            && gives(&logsource.service, &definition.services)
            && gives(&logsource.category, &definition.categories)
    });
    fitting.into_iter().find_map(|definition| {
        let mut fields = Fields::new();
        let fits = want(expr, &mut fields) && want(&definition.when, &mut fields);
        fits.then_some(fields)
    })
}

fn is_windows(document: &Document) -> Option<(&LogSource, &Expr)> {
    match &document.body {
        Body::Detection { logsource, expr } if logsource.product.as_deref() == Some("windows") => {
            Some((logsource, expr))
        }
        _ => None,
    }
}

fn documents(folder: &std::path::Path) -> Vec<Document> {
    let mut folders =
        ["rules", "rules-emerging-threats", "rules-threat-hunting"].map(|part| folder.join(part)).to_vec();
    let mut documents = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut findings = Findings::new(path.to_string_lossy().into());
                let text = std::fs::read_to_string(&path).unwrap();
                documents.extend(correlate::sigma::parse(&text, &mut findings));
            }
        }
    }
    documents
}

#[test]
fn every_windows_rule_is_reached_by_an_event_of_its_source() {
    let Some((_, folder)) = archive() else { return };
    let loaded = load(folder.path());
    let mut sources = LogSources::default();
    for SourceFile { name, text, .. } in correlate::shipped::files(|role| role == Role::LogSources) {
        sources.add(&text, &mut Findings::new(name));
    }
    let positions: BTreeMap<&str, usize> =
        loaded.set.detections.iter().enumerate().map(|(at, one)| (one.info.id.as_str(), at)).collect();
    let mut way = Way::new(&loaded.set);
    let (mut reached, mut unmade, mut missed) = (0, 0, Vec::new());
    for document in &documents(folder.path()) {
        let Some((logsource, expr)) = is_windows(document) else { continue };
        let Some(mut fields) = fields(logsource, expr, &sources) else {
            unmade += 1;
            continue;
        };
        let mut names = Vec::new();
        looked_at(expr, false, &mut names);
        for name in names {
            fields
                .entry(name)
                .or_insert_with(|| Wanted { equals: Some("made-up".to_owned()), ..Wanted::default() });
        }
        let raw = event(&fields).to_string();
        if way.hits(Input::Json, raw.as_bytes()).contains(&positions[document.rule_id()]) {
            reached += 1;
        } else {
            missed.push(format!(
                "{} ({:?})\n    {raw}\n    {}",
                document.title,
                logsource,
                way.normal_form(raw.as_bytes())
            ));
        }
    }
    println!(
        "{reached} rules reached, {} missed, {unmade} whose event cannot be made of words",
        missed.len()
    );
    missed.iter().take(40).for_each(|one| println!("{one}"));
    assert!(reached > 2_700 && missed.len() * 100 < reached, "{reached} reached, {} missed", missed.len());
}
