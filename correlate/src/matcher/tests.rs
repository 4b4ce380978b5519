//! The meaning of detections, by examples and against the plain oracle: the
//! index, the loop over all rules and the oracle must agree on each.

use std::cell::RefCell;

use model::event::Event;
use proptest::prelude::*;

use crate::fields::FieldMaps;
use crate::finding::Findings;
use crate::logsource::LogSources;
use crate::matcher::naive::Naive;
use crate::ruleset::{RuleSet, Scratch};
use crate::sigma::document::{Body, Document};

const SOURCES: &str = "- {name: aws, when: {source: cloudtrail}, product: aws, service: cloudtrail}\n\
    - {name: set, when: {kind: [set, both]}, product: windows, category: registry_set}\n\
    - {name: event, when: {kind: both}, product: windows, category: registry_event}\n";

const FIELDS: &str = "logsource: {product: aws}\nfields: {Mapped: details.renamed}\n";

struct Judge {
    documents: Vec<Document>,
    sources: LogSources,
    fields: FieldMaps,
    set: RuleSet,
    scratch: Scratch,
}

impl Judge {
    fn new(rules: &str) -> Judge {
        let mut findings = Findings::new("rules".into());
        let (mut sources, mut fields) = (LogSources::default(), FieldMaps::default());
        sources.add(SOURCES, &mut findings);
        fields.add(FIELDS, &mut findings);
        let documents = crate::sigma::parse(rules, &mut findings);
        let errors = findings.errors();
        let mut found = findings.into_vec();
        assert_eq!(errors, 0, "{rules}\n{found:#?}");
        found.clear();
        let set = RuleSet::compile(documents.clone(), &sources, &fields, &mut found);
        assert!(found.is_empty(), "{found:#?}");
        Judge { documents, sources, fields, set, scratch: Scratch::default() }
    }

    /// Titles of the rules that match, after the three ways agreed.
    fn titles(&mut self, json: &str) -> Vec<String> {
        let event = Event::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        let (mut hits, mut looped) = (Vec::new(), Vec::new());
        self.set.evaluate(&event, &mut self.scratch, &mut hits);
        self.set.evaluate_all(&event, &mut self.scratch, &mut looped);
        assert_eq!(hits, looped, "index and loop differ on {json}");
        let (sources, fields) = (&self.sources, &self.fields);
        let naive = Naive { sources, fields, expressions: RefCell::default(), opened: RefCell::default() };
        let labels = naive.labels(&event);
        let plain = |d: &Document| match &d.body {
            Body::Detection { logsource, expr } => naive.holds(logsource, expr, &event, &labels),
            Body::Correlation(_) | Body::Filter(_) => false,
        };
        let plainly: Vec<usize> = (0..self.documents.len()).filter(|p| plain(&self.documents[*p])).collect();
        assert_eq!(hits, plainly, "index and oracle differ on {json}");
        hits.iter().map(|h| self.set.detections[*h].info.title.clone()).collect()
    }
}

fn rule(logsource: &str, detection: &str) -> String {
    format!("title: t\nlogsource: {logsource}\ndetection:\n{detection}\n")
}

#[track_caller]
fn check(selection: &str, json: &str, expected: bool) {
    let text = rule("{product: mozdef}", &format!("  a: {selection}\n  condition: a"));
    assert_eq!(!Judge::new(&text).titles(json).is_empty(), expected, "{selection} on {json}");
}

#[test]
fn values_are_texts_without_case() {
    check("{a: '4484'}", r#"{"a": 4484}"#, true);
    check("{a: 4484}", r#"{"a": "4484"}"#, true);
    check("{a: '0x17'}", r#"{"a": "0X17"}"#, true);
    check("{a: 1}", r#"{"a": 1.0}"#, false);
    check("{a: true}", r#"{"a": "TRUE"}"#, true);
    check("{a: 'true'}", r#"{"a": true}"#, true);
    check("{a: ÄRGER}", r#"{"a": "ärger"}"#, true);
    check("{a: kelvin}", r#"{"a": "\u212aelvin"}"#, false);
    check("{a|cased: Abc}", r#"{"a": "Abc"}"#, true);
    check("{a|cased: Abc}", r#"{"a": "abc"}"#, false);
    check("{a|contains|cased: B}", r#"{"a": "abc"}"#, false);
}

#[test]
fn absent_null_and_empty_are_three_things() {
    check("{a: '_'}", "{}", false);
    check("{a: null}", "{}", true);
    check("{a: null}", r#"{"a": null}"#, true);
    check("{a: null}", r#"{"a": []}"#, true);
    check("{a: null}", r#"{"a": ""}"#, false);
    check("{a: null}", r#"{"a": {}}"#, false);
    check("{a: ''}", r#"{"a": ""}"#, true);
    check("{a: ''}", r#"{"a": null}"#, false);
    check("{a: ''}", "{}", false);
    check("{a: 'null'}", r#"{"a": null}"#, false);
    check("{a: '*'}", r#"{"a": ""}"#, true);
    check("{a: '*'}", r#"{"a": null}"#, false);
    check("{a|exists: true}", r#"{"a": null}"#, true);
    check("{a|exists: false}", r#"{"b": 1}"#, true);
    check("{a|exists: true}", r#"{"a": {}}"#, true);
    check("{a|neq: x}", "{}", true);
    check("{a|neq: [x, y]}", r#"{"a": "Y"}"#, false);
}

#[test]
fn a_list_passes_when_an_element_does() {
    check("{a: x}", r#"{"a": ["y", "X"]}"#, true);
    check("{a|contains|all: [x, y]}", r#"{"a": ["x", "y"]}"#, true);
    check("{a: null}", r#"{"a": [1, null]}"#, true);
    check("{a.b: x}", r#"{"a": [{"b": "y"}, {"b": "x"}]}"#, true);
    check("{a: 2}", r#"{"a": [[1], [2]]}"#, true);
}

#[test]
fn objects_are_looked_into_as_text() {
    check("{a|contains: evil}", r#"{"a": {"b": ["x", {"c": "Evil"}]}}"#, true);
    check("{a|re: '\"b\":1'}", r#"{"a": {"b": 1}}"#, true);
    check("{a: '*'}", r#"{"a": {}}"#, true);
}

#[test]
fn wrapped_values_are_read_as_what_they_wrap() {
    check("{a.b: no}", r#"{"a": {"raw_value": "{\"b\": \"No\"}"}}"#, true);
    check("{a: '2012-10-17'}", r#"{"a": {"raw_value": "\"2012-10-17\""}}"#, true);
    check("{a.b.c|exists: true}", r#"{"a": {"raw_value": "[{\"b\": {\"c\": 1}}]"}}"#, true);
    check("{a: null}", r#"{"a": {"raw_value": "null"}}"#, true);
    check("{a.raw_value|contains: no}", r#"{"a": {"raw_value": "{\"b\": \"No\"}"}}"#, true);
    check("{a|contains: raw_value}", r#"{"a": {"raw_value": "{\"b\": \"No\"}"}}"#, false);
    check("{a|contains: raw_value}", r#"{"a": {"raw_value": "no JSON"}}"#, true);
    check("{a|contains: raw_value}", r#"{"a": {"raw_value": "{\"raw_value\": \"1\"}"}}"#, true);
    check("{a.b: 1}", r#"{"a": [{"raw_value": "{\"b\": 1}"}]}"#, false);
}

#[test]
fn wildcards_and_escapes() {
    check(r"{a: 'C:\*\cmd.exe'}", r#"{"a": "C:\\*\\cmd.exe"}"#, false);
    check(r"{a: 'C:\\*\cmd.exe'}", r#"{"a": "c:\\x\\y\\CMD.EXE"}"#, true);
    check(r"{a: 'what\?'}", r#"{"a": "what?"}"#, true);
    check(r"{a: 'what\?'}", r#"{"a": "whats"}"#, false);
    check("{a: 'wha?'}", r#"{"a": "whaß"}"#, true);
    check("{a|contains: 'b*d'}", "{\"a\": \"abc\\ncde\"}", true);
}

#[test]
fn networks_numbers_dates_and_other_fields() {
    check("{a|cidr: 10.0.0.0/8}", r#"{"a": "10.200.1.1"}"#, true);
    check("{a|cidr: 10.0.0.0/8}", r#"{"a": "::ffff:10.1.1.1"}"#, true);
    check("{a|cidr: '2001:db8::/32'}", r#"{"a": "2001:DB8:0::1"}"#, true);
    check("{a|cidr: 10.0.0.0/8}", r#"{"a": "host"}"#, false);
    check("{a|gte: 10}", r#"{"a": "10"}"#, true);
    check("{a|gt: 10}", r#"{"a": 10.5}"#, true);
    check("{a|lt: 18446744073709551616}", r#"{"a": 18446744073709551615}"#, true);
    check("{a|lt: 5}", r#"{"a": "x"}"#, false);
    check("{a|hour|gte: 18}", r#"{"a": "2026-11-25T19:00:00Z"}"#, true);
    check("{a|fieldref: b}", r#"{"a": "X", "b": ["y", "x"]}"#, true);
    check("{a|fieldref|endswith: b}", r#"{"a": "user.exe", "b": ".EXE"}"#, true);
    check("{a|fieldref: b}", r#"{"a": null, "b": null}"#, false);
    check("{a|fieldref|neq: b}", r#"{"a": "x", "b": "y"}"#, true);
}

#[test]
fn keywords_look_everywhere_but_in_our_own_books() {
    check("[evil, 'b*d']", r#"{"details": {"x": ["an Evil thing"]}}"#, true);
    check("['b*d']", r#"{"n": "abcde"}"#, true);
    check("{'|all': [one, two]}", r#"{"a": "one", "b": "two"}"#, true);
    check("{'|all': [one, two]}", r#"{"a": "one"}"#, false);
    check("[42]", r#"{"a": 1423}"#, true);
    check("{'|re': '^x'}", r#"{"a": "yx", "b": {"c": "xy"}}"#, true);
    check("[parse_su]", r#"{"mozdef": {"plugins": ["parse_su"]}}"#, false);
    check("evil", r#"{"a": "evil"}"#, true);
}

#[test]
fn words_and_phrases_of_analysed_text() {
    check("{a|phrase: failed password}", r#"{"a": "Failed  password for root"}"#, true);
    check("{a|phrase: failed pass}", r#"{"a": "Failed password"}"#, false);
    check("{a|words: 'login invalid'}", r#"{"a": "an INVALID user"}"#, true);
    check("{a|words: 'login invalid'}", r#"{"a": "invalidated"}"#, false);
}

#[test]
fn fields_are_found_in_details_and_with_their_spaces_stripped() {
    check("{CommandLine: x}", r#"{"details": {"commandline": "x"}}"#, true);
    check("{CommandLine: x}", r#"{"CommandLine": "y", "details": {"commandline": "x"}}"#, false);
    check("{userIdentity.userName: x}", r#"{"details": {"useridentity": {"userName": "x"}}}"#, true);
    check("{id.orig_h: x}", r#"{"details": {"id.orig_h": "x"}}"#, true);
    check("{SourceName: x}", r#"{"details": {"Source Name": "x"}}"#, true);
}

#[test]
fn rules_of_another_log_source_do_not_fire() {
    let rules = [
        ("aws", "{product: aws}"),
        ("cloudtrail", "{product: aws, service: cloudtrail}"),
        ("database", "{category: database}"),
        ("set", "{category: registry_set, product: windows}"),
        ("event", "{category: registry_event, product: windows}"),
        ("every", "{product: mozdef}"),
        ("named", "{product: mozdef, service: cloudtrail}"),
    ]
    .map(|(title, logsource)| {
        rule(logsource, "  a: {x: 1}\n  condition: a").replace("title: t", &format!("title: {title}"))
    })
    .join("---\n");
    let mut judge = Judge::new(&rules);
    assert_eq!(judge.titles(r#"{"source": "cloudtrail", "x": 1}"#), ["aws", "cloudtrail", "every", "named"]);
    assert_eq!(judge.titles(r#"{"kind": "set", "x": 1}"#), ["set", "every"]);
    assert_eq!(judge.titles(r#"{"kind": "both", "x": 1}"#), ["set", "event", "every"]);
    assert_eq!(judge.titles(r#"{"x": 1}"#), ["every"]);
    assert_eq!(judge.titles(r#"{"kind": "set"}"#), [""; 0]);
}

#[test]
fn field_maps_go_by_the_log_source_of_the_rule() {
    let text = rule("{product: aws}", "  a: {Mapped: x}\n  condition: a");
    let mut judge = Judge::new(&text);
    assert_eq!(judge.titles(r#"{"source": "cloudtrail", "details": {"renamed": "x"}}"#), ["t"]);
    assert_eq!(judge.titles(r#"{"source": "cloudtrail", "details": {"mapped": "x"}}"#), ["t"]);
    assert_eq!(judge.titles(r#"{"details": {"renamed": "x"}}"#), [""; 0]);
}

#[test]
fn a_scratch_may_serve_another_set() {
    let mut scratch = Scratch::default();
    let mut hits = Vec::new();
    let event = Event::from_json(r#"{"a": "x"}"#).unwrap();
    for (wanted, count) in [("x", 1), ("y", 0), ("x", 1)] {
        let judge = Judge::new(&rule("{product: mozdef}", &format!("  a: {{a: {wanted}}}\n  condition: a")));
        judge.set.evaluate(&event, &mut scratch, &mut hits);
        assert_eq!(hits.len(), count);
    }
}

#[test]
fn a_megabyte_in_a_field_and_a_long_list_of_values() {
    let values: Vec<String> = (0..20_000).map(|i| format!("value-{i}")).collect();
    for modifier in ["", "|contains", "|startswith", "|endswith"] {
        let list = values.join(", ");
        let text = rule("{product: mozdef}", &format!("  a: {{a{modifier}: [{list}]}}\n  condition: a"));
        let mut judge = Judge::new(&text);
        assert_eq!(judge.titles(r#"{"a": "VALUE-19999"}"#), ["t"], "{modifier}");
        let mut scratch = Scratch::default();
        let mut hits = Vec::new();
        let event = Event::from_json(&format!(r#"{{"a": "{}"}}"#, "va".repeat(300_000))).unwrap();
        judge.set.evaluate(&event, &mut scratch, &mut hits);
        assert!(hits.is_empty(), "{modifier}");
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[abA*?]{1,3}", Just("12".to_owned()), Just("x y".to_owned()), Just("Ä*".to_owned())]
}

fn item() -> impl Strategy<Value = String> {
    let field = prop_oneof!["[ab]", Just("c.d".to_owned()), Just("E".to_owned())];
    let modifier = prop_oneof![
        Just(""),
        Just("|contains"),
        Just("|startswith"),
        Just("|endswith"),
        Just("|contains|all"),
        Just("|cased"),
        Just("|neq"),
        Just("|contains|windash"),
        Just("|phrase"),
        Just("|words"),
        Just("|fieldref"),
    ];
    let values = proptest::collection::vec(value(), 1..4);
    let with_values = (field, modifier, values).prop_map(|(field, modifier, values)| {
        let list: Vec<String> = values.iter().map(|v| format!("'{v}'")).collect();
        let words = modifier == "|phrase" || modifier == "|words";
        let list = if words { "'x', 'a b'".to_owned() } else { list.join(", ") };
        format!("{field}{modifier}: [{list}]")
    });
    let others = prop_oneof![
        Just("a: null".to_owned()),
        Just("b|exists: true".to_owned()),
        Just("E|exists: false".to_owned()),
        Just("c.d|gte: 12".to_owned()),
        Just("a|re: 'a.?b'".to_owned()),
        Just("a|cidr: 10.0.0.0/8".to_owned()),
        Just("'|all': [a, '12']".to_owned()),
    ];
    prop_oneof![4 => with_values, 2 => others]
}

fn selection() -> impl Strategy<Value = String> {
    let map = proptest::collection::vec(item(), 1..3).prop_map(|mut items| {
        items.sort();
        items.dedup_by_key(|i| i.split(':').next().unwrap_or_default().to_owned());
        format!("{{{}}}", items.join(", "))
    });
    let keywords = proptest::collection::vec(value(), 1..3)
        .prop_map(|v| format!("[{}]", v.iter().map(|v| format!("'{v}'")).collect::<Vec<_>>().join(", ")));
    prop_oneof![5 => map, 1 => keywords]
}

fn detection() -> impl Strategy<Value = String> {
    let condition = prop_oneof![
        Just("a"),
        Just("a and b"),
        Just("a or b"),
        Just("a and not b"),
        Just("not a"),
        Just("1 of *"),
        Just("all of them"),
        Just("not (a or b)"),
        Just("(a or b) and not c"),
        Just("a or not c"),
    ];
    (selection(), selection(), selection(), condition)
        .prop_map(|(a, b, c, condition)| format!("  a: {a}\n  b: {b}\n  c: {c}\n  condition: {condition}"))
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (10_i64..14).prop_map(Into::into),
        "[abAB ]{0,4}".prop_map(Into::into),
        Just("10.1.2.3".into()),
        Just("-a".into()),
        Just("äx".into()),
        Just(serde_json::json!({"raw_value": r#"{"d": "ab", "a": ["12", null]}"#})),
        Just(serde_json::json!({"raw_value": "\"ab\""})),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(prop_oneof!["[abd]", Just("a b".to_owned())], inner, 0..3)
                .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_rules_on_any_events_are_judged_as_plainly(
        detections in proptest::collection::vec(detection(), 1..6),
        events in proptest::collection::vec(
            proptest::collection::hash_map(
                prop_oneof!["[abcdeE]", Just("details".to_owned()), Just("c.d".to_owned()), Just("c d".to_owned())],
                json(), 0..5),
            1..6),
    ) {
        let rules: Vec<String> = detections
            .iter()
            .enumerate()
            .map(|(i, d)| rule("{product: mozdef}", d).replace("title: t", &format!("title: t{i}")))
            .collect();
        let mut judge = Judge::new(&rules.join("---\n"));
        for event in events {
            let event: serde_json::Map<String, serde_json::Value> = event.into_iter().collect();
            judge.titles(&serde_json::Value::from(event).to_string());
        }
    }
}
