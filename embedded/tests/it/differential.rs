//! Random documents and queries: the index finds what a loop over the documents finds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::World;

/// A document: each field has some values, or none.
#[derive(Clone, Debug)]
struct Document {
    id: u8,
    host: Vec<&'static str>,
    number: Vec<i64>,
    float: Option<f64>,
    at: Option<i64>,
    ip: Option<[u8; 4]>,
    ok: Option<bool>,
    words: Vec<&'static str>,
}

const HOSTS: &[&str] = &["a", "ab", "b", "bc", "C", "", "zz"];
const WORDS: &[&str] = &["red", "green", "blue", "Red", "x.y"];
const START: i64 = 1_583_280_000_000;

fn document() -> impl Strategy<Value = Document> {
    (
        0..24_u8,
        prop::collection::vec(prop::sample::select(HOSTS), 0..3),
        prop::collection::vec(-5..15_i64, 0..3),
        prop::option::of((-8..8_i32).prop_map(|n| f64::from(n) / 2.0)),
        prop::option::of((0..20_i64).prop_map(|n| START + n * 600_000)),
        prop::option::of((0..3_u8, 0..4_u8).prop_map(|(a, b)| [10, 0, a, b])),
        prop::option::of(any::<bool>()),
        prop::collection::vec(prop::sample::select(WORDS), 0..4),
    )
        .prop_map(|(id, host, number, float, at, ip, ok, words)| Document {
            id,
            host,
            number,
            float,
            at,
            ip,
            ok,
            words,
        })
}

impl Document {
    fn to_json(&self) -> Value {
        let mut out = json!({"host": self.host, "number": self.number});
        let ip = self.ip.map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}"));
        for (name, value) in
            [("float", json!(self.float)), ("at", json!(self.at)), ("ip", json!(ip)), ("ok", json!(self.ok))]
        {
            out[name] = value;
        }
        if !self.words.is_empty() {
            out["words"] = json!(self.words.join(" "));
        }
        out
    }

    fn tokens(&self) -> Vec<String> {
        self.words.iter().map(|w| w.to_lowercase()).collect()
    }
}

/// A query, in a form that a loop can answer.
#[derive(Clone, Debug)]
enum Query {
    All,
    HostIs(&'static str),
    HostIn(Vec<&'static str>),
    HostPrefix(&'static str),
    HostLike(&'static str, &'static str),
    HostRange(Option<(&'static str, bool)>, Option<(&'static str, bool)>),
    NumberIs(i64),
    NumberRange(Option<(i64, bool)>, Option<(i64, bool)>),
    FloatRange(Option<(i32, bool)>, Option<(i32, bool)>),
    AtRange(Option<(i64, bool)>, Option<(i64, bool)>),
    IpNet(u8, u8),
    Ok(bool),
    Exists(&'static str),
    Word(Vec<&'static str>, bool),
    Phrase(&'static str, &'static str),
    Bool {
        must: Vec<Query>,
        filter: Vec<Query>,
        should: Vec<Query>,
        must_not: Vec<Query>,
        minimum: Option<usize>,
    },
}

fn ends<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = (Option<(T, bool)>, Option<(T, bool)>)> {
    let end = prop::option::of((value, any::<bool>()));
    (end.clone(), end)
}

fn leaf() -> impl Strategy<Value = Query> {
    prop_oneof![
        Just(Query::All),
        prop::sample::select(HOSTS).prop_map(Query::HostIs),
        prop::collection::vec(prop::sample::select(HOSTS), 0..3).prop_map(Query::HostIn),
        prop::sample::select(&["a", "b", "", "q"][..]).prop_map(Query::HostPrefix),
        prop::sample::select(&[("*b*", "b"), ("?b", "?b"), ("*", ""), ("*c", "$c")][..])
            .prop_map(|(p, m)| Query::HostLike(p, m)),
        ends(prop::sample::select(HOSTS)).prop_map(|(l, u)| Query::HostRange(l, u)),
        (-6..16_i64).prop_map(Query::NumberIs),
        ends(-6..16_i64).prop_map(|(l, u)| Query::NumberRange(l, u)),
        ends(-5..5_i32).prop_map(|(l, u)| Query::FloatRange(l, u)),
        ends((0..40_i64).prop_map(|n| START - 600_000 + n * 300_000)).prop_map(|(l, u)| Query::AtRange(l, u)),
        (0..4_u8, prop::sample::select(&[24_u8, 30, 32][..])).prop_map(|(a, bits)| Query::IpNet(a, bits)),
        any::<bool>().prop_map(Query::Ok),
        prop::sample::select(&["host", "number", "float", "at", "ip", "ok", "words", "none"][..])
            .prop_map(Query::Exists),
        (prop::collection::vec(prop::sample::select(WORDS), 1..3), any::<bool>())
            .prop_map(|(w, a)| Query::Word(w, a)),
        (prop::sample::select(WORDS), prop::sample::select(WORDS)).prop_map(|(a, b)| Query::Phrase(a, b)),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        let list = |inner: BoxedStrategy<Query>| prop::collection::vec(inner, 0..3);
        let inner = inner.boxed();
        (
            list(inner.clone()),
            list(inner.clone()),
            list(inner.clone()),
            list(inner),
            prop::option::of(0..3_usize),
        )
            .prop_map(|(must, filter, should, must_not, minimum)| Query::Bool {
                must,
                filter,
                should,
                must_not,
                minimum,
            })
    })
}

fn range_json<T: Into<Value> + Clone>(
    field: &str,
    lower: &Option<(T, bool)>,
    upper: &Option<(T, bool)>,
) -> Value {
    let mut limits = json!({});
    if let Some((value, inclusive)) = lower {
        limits[if *inclusive { "gte" } else { "gt" }] = value.clone().into();
    }
    if let Some((value, inclusive)) = upper {
        limits[if *inclusive { "lte" } else { "lt" }] = value.clone().into();
    }
    json!({"range": {field: limits}})
}

fn within<T: PartialOrd>(value: &T, lower: &Option<(T, bool)>, upper: &Option<(T, bool)>) -> bool {
    let above = lower.as_ref().is_none_or(|(l, inclusive)| value > l || (*inclusive && value == l));
    let below = upper.as_ref().is_none_or(|(u, inclusive)| value < u || (*inclusive && value == u));
    above && below
}

impl Query {
    fn to_json(&self) -> Value {
        let list = |queries: &[Query]| queries.iter().map(Query::to_json).collect::<Vec<_>>();
        match self {
            Query::All => json!({"match_all": {}}),
            Query::HostIs(host) => json!({"term": {"host": host}}),
            Query::HostIn(hosts) => json!({"terms": {"host": hosts}}),
            Query::HostPrefix(prefix) => json!({"prefix": {"host": prefix}}),
            Query::HostLike(pattern, _) => json!({"wildcard": {"host": pattern}}),
            Query::HostRange(lower, upper) => range_json("host", lower, upper),
            Query::NumberIs(number) => json!({"term": {"number": number}}),
            Query::NumberRange(lower, upper) => range_json("number", lower, upper),
            Query::FloatRange(lower, upper) => range_json("float", lower, upper),
            Query::AtRange(lower, upper) => range_json("at", lower, upper),
            Query::IpNet(a, bits) => json!({"term": {"ip": format!("10.0.{a}.0/{bits}")}}),
            Query::Ok(ok) => json!({"term": {"ok": ok}}),
            Query::Exists(field) => json!({"exists": {"field": field}}),
            Query::Word(words, all) => {
                json!({"match": {"words": {"query": words.join(" "), "operator": if *all { "and" } else { "or" }}}})
            }
            Query::Phrase(a, b) => json!({"match_phrase": {"words": format!("{a} {b}")}}),
            Query::Bool { must, filter, should, must_not, minimum } => {
                let mut inner = json!({"must": list(must), "filter": list(filter), "should": list(should), "must_not": list(must_not)});
                if let Some(minimum) = minimum {
                    inner["minimum_should_match"] = json!(minimum);
                }
                json!({"bool": inner})
            }
        }
    }

    fn matches(&self, d: &Document) -> bool {
        match self {
            Query::All => true,
            Query::HostIs(host) => d.host.contains(host),
            Query::HostIn(hosts) => hosts.iter().any(|h| d.host.contains(h)),
            Query::HostPrefix(prefix) => d.host.iter().any(|h| h.starts_with(prefix)),
            Query::HostLike(_, meaning) => d.host.iter().any(|h| match *meaning {
                "?b" => h.chars().count() == 2 && h.ends_with('b'),
                "$c" => h.ends_with('c'),
                part => h.contains(part),
            }),
            Query::HostRange(lower, upper) => d.host.iter().any(|h| within(h, lower, upper)),
            Query::NumberIs(number) => d.number.contains(number),
            Query::NumberRange(lower, upper) => d.number.iter().any(|n| within(n, lower, upper)),
            Query::FloatRange(lower, upper) => {
                let wide = |end: &Option<(i32, bool)>| end.map(|(n, i)| (f64::from(n), i));
                d.float.is_some_and(|f| within(&f, &wide(lower), &wide(upper)))
            }
            Query::AtRange(lower, upper) => d.at.is_some_and(|at| within(&at, lower, upper)),
            Query::IpNet(a, bits) => d.ip.is_some_and(|[_, _, x, y]| {
                x == *a
                    && match bits {
                        24 => true,
                        30 => y < 4,
                        _ => y == 0,
                    }
            }),
            Query::Ok(ok) => d.ok == Some(*ok),
            Query::Exists(field) => match *field {
                "host" => !d.host.is_empty(),
                "number" => !d.number.is_empty(),
                "float" => d.float.is_some(),
                "at" => d.at.is_some(),
                "ip" => d.ip.is_some(),
                "ok" => d.ok.is_some(),
                "words" => !d.words.is_empty(),
                _ => false,
            },
            Query::Word(words, all) => {
                let tokens = d.tokens();
                let mut hits = words.iter().map(|w| tokens.contains(&w.to_lowercase()));
                if *all { hits.all(|h| h) } else { hits.any(|h| h) }
            }
            Query::Phrase(a, b) => {
                let wanted = [a.to_lowercase(), b.to_lowercase()];
                d.tokens().windows(2).any(|pair| pair == wanted)
            }
            Query::Bool { must, filter, should, must_not, minimum } => {
                let hits = should.iter().filter(|q| q.matches(d)).count();
                let optional_only = must.is_empty() && filter.is_empty();
                let minimum = match minimum {
                    _ if optional_only && should.is_empty() => 0,
                    minimum => minimum.unwrap_or(0).max(usize::from(optional_only)),
                };
                must.iter().chain(filter).all(|q| q.matches(d))
                    && !must_not.iter().any(|q| q.matches(d))
                    && hits >= minimum
            }
        }
    }
}

fn world() -> World {
    let world = World::new();
    world.ok("PUT /x", r#"{"mappings": {"properties": {"host": {"type": "keyword"}, "number": {"type": "long"}, "float": {"type": "double"},
        "at": {"type": "date"}, "ip": {"type": "ip"}, "ok": {"type": "boolean"}, "words": {"type": "text"}}}}"#);
    world
}

/// Puts documents in, some over others, with commits and deletions between; the result is what must be there.
fn fill(world: &World, documents: &[Document], deleted: &[u8]) -> BTreeMap<u8, Document> {
    let mut held = BTreeMap::new();
    for (position, document) in documents.iter().enumerate() {
        world.ok(&format!("PUT /x/_doc/{}", document.id), &document.to_json().to_string());
        held.insert(document.id, document.clone());
        if position % 7 == 6 {
            world.ok("POST /x/_refresh", "");
        }
    }
    for id in deleted {
        let expected = if held.remove(id).is_some() { 200 } else { 404 };
        assert_eq!(world.call(&format!("DELETE /x/_doc/{id}"), "").0, expected);
    }
    world.ok("POST /x/_refresh", "");
    held
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_loop_finds(
        documents in prop::collection::vec(document(), 1..30),
        deleted in prop::collection::vec(0..24_u8, 0..4),
        queries in prop::collection::vec(query(), 30),
    ) {
        let world = world();
        let held = fill(&world, &documents, &deleted);
        for query in &queries {
            let expected: BTreeSet<String> =
                held.values().filter(|d| query.matches(d)).map(|d| d.id.to_string()).collect();
            let json = query.to_json();
            // Scored and not scored take different ways.
            for body in [json!({"size": 100, "query": json}), json!({"size": 100, "query": json, "sort": "_doc"})] {
                let found: BTreeSet<String> = world.ids("POST /x/_search", &body.to_string()).into_iter().collect();
                prop_assert_eq!(&found, &expected, "{}", body);
            }
            let count = world.ok("POST /x/_count", &json!({"query": json}).to_string())["count"].as_u64();
            prop_assert_eq!(count, Some(expected.len() as u64), "{}", json);
        }
    }

    #[test]
    fn aggregations_count_what_a_loop_counts(
        documents in prop::collection::vec(document(), 1..30),
        deleted in prop::collection::vec(0..24_u8, 0..4),
    ) {
        let world = world();
        let held = fill(&world, &documents, &deleted);
        let body = json!({"size": 0, "aggs": {
            "host": {"terms": {"field": "host", "size": 100}, "aggs": {"sum": {"sum": {"field": "number"}}}},
            "at": {"date_histogram": {"field": "at", "fixed_interval": "1h", "min_doc_count": 1}},
            "stats": {"stats": {"field": "float"}},
            "distinct": {"cardinality": {"field": "number"}},
        }});
        let reply = world.ok("POST /x/_search", &body.to_string());
        let found = &reply["aggregations"];
        let mut hosts: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
        let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
        for d in held.values() {
            for host in d.host.iter().collect::<BTreeSet<_>>() {
                let entry = hosts.entry(host).or_default();
                entry.0 += 1;
                entry.1 += d.number.iter().sum::<i64>();
            }
            if let Some(at) = d.at {
                *hours.entry(at.div_euclid(3_600_000) * 3_600_000).or_default() += 1;
            }
        }
        let mut expected: Vec<_> = hosts.into_iter().collect();
        expected.sort_by_key(|(host, (count, _))| (std::cmp::Reverse(*count), *host));
        let shown: Vec<_> = found["host"]["buckets"].as_array().unwrap().iter()
            .map(|b| (b["key"].as_str().unwrap(), (b["doc_count"].as_u64().unwrap(), b["sum"]["value"].as_f64().unwrap() as i64)))
            .collect();
        prop_assert_eq!(shown, expected);
        let shown: Vec<_> = found["at"]["buckets"].as_array().unwrap().iter()
            .map(|b| (b["key"].as_i64().unwrap(), b["doc_count"].as_u64().unwrap()))
            .collect();
        prop_assert_eq!(shown, hours.into_iter().collect::<Vec<_>>());
        let floats: Vec<f64> = held.values().filter_map(|d| d.float).collect();
        prop_assert_eq!(found["stats"]["count"].as_u64(), Some(floats.len() as u64));
        prop_assert_eq!(found["stats"]["sum"].as_f64(), Some(floats.iter().sum()));
        prop_assert_eq!(found["stats"]["min"].as_f64(), floats.iter().copied().reduce(f64::min));
        let numbers: BTreeSet<i64> = held.values().flat_map(|d| d.number.iter().copied()).collect();
        prop_assert_eq!(found["distinct"]["value"].as_u64(), Some(numbers.len() as u64));
    }
}
