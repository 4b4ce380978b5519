//! Hostile rules and events: expressions that are slow elsewhere, fields of a
//! megabyte, lists of a hundred thousand values, one bad rule among good ones.

use std::time::{Duration, Instant};

use model::event::{Event, Limits};

use crate::load::{Loaded, Role, SourceFile, files};
use crate::ruleset::Scratch;

/// Far more than any of this takes; what is not linear takes hours.
const PATIENCE: Duration = Duration::from_secs(20);

fn load(text: &str) -> Loaded {
    files(&[SourceFile { name: "f".into(), role: Role::Rules, text: text.into() }], Vec::new())
}

fn rule(title: &str, selection: &str) -> String {
    format!(
        "title: {title}\nlogsource: {{product: mozdef}}\ndetection: {{a: {selection}, condition: a}}\n---\n"
    )
}

/// Titles of the rules that match an event with this field.
#[track_caller]
fn titles(loaded: &Loaded, field: &str) -> Vec<String> {
    let json = serde_json::json!({"f": field, "details": {"other": 1}}).to_string();
    let mut event = Event::new();
    event.parse(json.as_bytes(), &Limits::MAX).unwrap();
    let (mut hits, start) = (Vec::new(), Instant::now());
    loaded.set.evaluate(&event, &mut Scratch::default(), &mut hits);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    hits.iter().map(|hit| loaded.set.detections[*hit].info.title.clone()).collect()
}

#[test]
fn expressions_that_explode_elsewhere_are_linear() {
    let shapes = ["(a+)+$", "(a|aa)+$", "(a|a?)+b$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){12}$", "(x+x+)+y"];
    for (at, shape) in shapes.iter().enumerate() {
        let loaded = load(&rule(&format!("r{at}"), &format!("{{f|re: '{shape}'}}")));
        assert!(loaded.report.errors.is_empty(), "{shape}: {:?}", loaded.report.errors);
        let text = "a".repeat(1 << 20) + "!";
        assert!(titles(&loaded, &text).is_empty(), "{shape}");
    }
}

#[test]
fn wildcards_are_linear_too() {
    let loaded = load(&rule("globs", "{f: '*a*a*a*a*a*a*a*a*a*b*c?d'}"));
    assert!(titles(&loaded, &"a".repeat(1 << 20)).is_empty());
    assert_eq!(titles(&loaded, &("a".repeat(1 << 20) + "bcxd")), ["globs"]);
}

#[test]
fn a_field_of_a_megabyte_is_searched_to_its_end() {
    let selections = [
        "{f|contains: nEEdle}",
        "{f|endswith: needle}",
        "{f|startswith: Ärger}",
        "{f|re: 'need.e$'}",
        "{f|contains|all: [ärger, needle]}",
        "['needle']",
        "{f|phrase: 'hay needle'}",
    ];
    let text: String = selections.iter().enumerate().map(|(at, s)| rule(&format!("r{at}"), s)).collect();
    let loaded = load(&text);
    assert!(loaded.report.errors.is_empty(), "{:?}", loaded.report.errors);
    let field = format!("ärger {}needle", "hay ".repeat(1 << 18));
    assert_eq!(titles(&loaded, &field).len(), selections.len());
    assert!(titles(&loaded, &"hay ".repeat(1 << 18)).is_empty());
}

#[test]
fn a_list_of_a_hundred_thousand_values_is_one_look_up() {
    let values: Vec<String> = (0..100_000).map(|n| format!("bad{n}.example")).collect();
    for (modifier, hit, miss) in [
        ("", "BAD99999.example", "bad100000.example"),
        ("|endswith", "x.bad4242.example", "bad4242.example.x"),
        ("|contains", "http://bad7.example/x", "http://bad7x.example"),
    ] {
        let loaded = load(&rule("list", &format!("{{f{modifier}: [{}]}}", values.join(", "))));
        assert_eq!((loaded.report.errors.len(), loaded.set.len()), (0, 1), "{modifier}");
        assert_eq!(titles(&loaded, hit), ["list"], "{modifier}");
        assert!(titles(&loaded, miss).is_empty(), "{modifier}");
    }
}

#[test]
fn one_bad_rule_stops_only_itself() {
    for bad in ["(?=x)", "(?<!x)y", "(a)\\\\1", "((((((a{99}){99}){99}){99}){99}){99})", "[", "a{5,2}"] {
        let text =
            rule("first", "{f: x}") + &rule("bad", &format!("{{f|re: \"{bad}\"}}")) + &rule("last", "{f: x}");
        let loaded = load(&text);
        assert_eq!(loaded.report.errors.len(), 1, "{bad}: {:?}", loaded.report.errors);
        assert_eq!(loaded.report.errors[0].code.as_str(), "S012", "{bad}");
        assert_eq!(loaded.report.errors[0].place.line, 7, "{bad}");
        assert_eq!(titles(&loaded, "x"), ["first", "last"], "{bad}");
    }
}

#[test]
fn quoted_scalars_are_text_and_null_is_not() {
    let loaded = load(
        &[
            rule("quoted null", "{f: 'null'}"),
            rule("no value", "{f: null}"),
            rule("quoted true", "{f: 'true'}"),
            rule("quoted number", "{f: '007'}"),
            rule("tilde", "{f: '~'}"),
        ]
        .concat(),
    );
    assert!(loaded.report.errors.is_empty(), "{:?}", loaded.report.errors);
    assert_eq!(titles(&loaded, "null"), ["quoted null"]);
    assert_eq!(titles(&loaded, "true"), ["quoted true"]);
    assert_eq!(titles(&loaded, "007"), ["quoted number"]);
    assert_eq!(titles(&loaded, "7"), [""; 0]);
    assert_eq!(titles(&loaded, "~"), ["tilde"]);
}
