//! Aggregations and their shapes.

use serde_json::{Value, json};

use crate::harness::World;

fn events() -> World {
    let world = World::new();
    world.ok(
        "PUT /_index_template/x",
        r#"{"index_patterns": ["e-*"], "template": {"mappings": {"properties": {
        "host": {"type": "keyword"}, "ip": {"type": "ip"}, "at": {"type": "date"}, "n": {"type": "long"},
        "f": {"type": "double"}, "ok": {"type": "boolean"}, "text": {"type": "text"}}}}}"#,
    );
    world.put("e-1", &[
        ("1", r#"{"host": "a", "ip": "10.0.0.1", "at": "2020-01-31T23:00:00Z", "n": 1, "f": 1.5, "ok": true}"#),
        ("2", r#"{"host": ["a", "b", "a"], "ip": "10.0.0.2", "at": "2020-02-01T01:00:00Z", "n": 5, "f": 2.5, "ok": false}"#),
    ]);
    world.put(
        "e-2",
        &[
            (
                "3",
                r#"{"host": "c", "ip": "10.0.0.1", "at": "2020-02-03T01:30:00Z", "n": [10, 20], "ok": true}"#,
            ),
            ("4", r#"{"n": -3, "f": -0.5}"#),
        ],
    );
    world
}

#[track_caller]
fn check(world: &World, aggregation: Value, expected: Value) {
    let body = json!({"size": 0, "aggs": {"x": aggregation}});
    let reply = world.ok("POST /e-*/_search", &body.to_string());
    assert_eq!(reply["aggregations"]["x"], expected, "{aggregation}");
}

#[test]
fn terms_count_documents_once() {
    let world = events();
    let bucket = |key: Value, count: u64| json!({"key": key, "doc_count": count});
    let terms = |others: u64, buckets: Value| json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": buckets});
    check(
        &world,
        json!({"terms": {"field": "host"}}),
        terms(0, json!([bucket(json!("a"), 2), bucket(json!("b"), 1), bucket(json!("c"), 1)])),
    );
    check(&world, json!({"terms": {"field": "host", "size": 1}}), terms(2, json!([bucket(json!("a"), 2)])));
    check(
        &world,
        json!({"terms": {"field": "host", "order": {"_key": "desc"}, "missing": "none", "size": 2}}),
        terms(3, json!([bucket(json!("none"), 1), bucket(json!("c"), 1)])),
    );
    check(
        &world,
        json!({"terms": {"field": "host", "include": "[ab]", "exclude": ["b"]}}),
        terms(0, json!([bucket(json!("a"), 2)])),
    );
    check(
        &world,
        json!({"terms": {"field": "ip", "min_doc_count": 2}}),
        terms(0, json!([bucket(json!("10.0.0.1"), 2)])),
    );
    check(
        &world,
        json!({"terms": {"field": "ok"}}),
        terms(
            0,
            json!([
        {"key": 1, "key_as_string": "true", "doc_count": 2}, {"key": 0, "key_as_string": "false", "doc_count": 1}]),
        ),
    );
    check(
        &world,
        json!({"terms": {"field": "n", "size": 2, "order": {"_key": "asc"}}}),
        terms(3, json!([bucket(json!(-3), 1), bucket(json!(1), 1)])),
    );
    check(
        &world,
        json!({"terms": {"field": "f", "order": {"_key": "asc"}, "size": 1}}),
        terms(2, json!([bucket(json!(-0.5), 1)])),
    );
    check(&world, json!({"terms": {"field": "gone"}}), terms(0, json!([])));
    check(
        &world,
        json!({"terms": {"field": "host", "order": {"m": "desc"}, "size": 1}, "aggs": {"m": {"max": {"field": "n"}}}}),
        terms(3, json!([{"key": "c", "doc_count": 1, "m": {"value": 20.0}}])),
    );
}

#[test]
fn histograms_fill_their_gaps() {
    let world = events();
    check(
        &world,
        json!({"date_histogram": {"field": "at", "calendar_interval": "month"}}),
        json!({"buckets": [
        {"key_as_string": "2020-01-01T00:00:00.000Z", "key": 1_577_836_800_000_i64, "doc_count": 1},
        {"key_as_string": "2020-02-01T00:00:00.000Z", "key": 1_580_515_200_000_i64, "doc_count": 2}]}),
    );
    check(
        &world,
        json!({"date_histogram": {"field": "at", "fixed_interval": "1d", "format": "yyyy-MM-dd", "min_doc_count": 1,
        "time_zone": "+02:00", "keyed": true}}),
        json!({"buckets": {
        "2020-02-01": {"key_as_string": "2020-02-01", "key": 1_580_508_000_000_i64, "doc_count": 2},
        "2020-02-03": {"key_as_string": "2020-02-03", "key": 1_580_680_800_000_i64, "doc_count": 1}}}),
    );
    let reply = world.ok("POST /e-*/_search", &json!({"size": 0, "aggs": {"x": {"date_histogram": {"field": "at", "calendar_interval": "day",
        "extended_bounds": {"min": "2020-01-30", "max": "2020-02-04"}}, "aggs": {"s": {"sum": {"field": "n"}}}}}}).to_string());
    let buckets = reply["aggregations"]["x"]["buckets"].as_array().unwrap();
    let counts: Vec<u64> = buckets.iter().map(|b| b["doc_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 1, 1, 0, 1, 0]);
    assert_eq!((&buckets[0]["s"], &buckets[4]["s"]), (&json!({"value": 0.0}), &json!({"value": 30.0})));
    check(
        &world,
        json!({"histogram": {"field": "n", "interval": 10}}),
        json!({"buckets": [
        {"key": -10.0, "doc_count": 1}, {"key": 0.0, "doc_count": 2}, {"key": 10.0, "doc_count": 1}, {"key": 20.0, "doc_count": 1}]}),
    );
    let error = world.refused(
        "POST /e-*/_search",
        &json!({"aggs": {"x": {"date_histogram": {"field": "at", "fixed_interval": "1ms"}}}}).to_string(),
        503,
    );
    assert!(error.contains("too many buckets"), "{error}");
}

#[test]
fn stated_buckets_are_always_there() {
    let world = events();
    check(
        &world,
        json!({"range": {"field": "n", "ranges": [{"to": 1}, {"from": 1, "to": 6, "key": "mid"}, {"from": 10.5}]}}),
        json!({"buckets": [
        {"key": "*-1.0", "to": 1.0, "doc_count": 1}, {"key": "mid", "from": 1.0, "to": 6.0, "doc_count": 2}, {"key": "10.5-*", "from": 10.5, "doc_count": 1}]}),
    );
    check(
        &world,
        json!({"date_range": {"field": "at", "keyed": true, "ranges": [{"to": "2020-02-01", "key": "early"}, {"from": "now", "key": "late"}]}}),
        json!({"buckets": {
        "early": {"to": 1_580_515_200_000.0, "to_as_string": "2020-02-01T00:00:00.000Z", "doc_count": 1},
        "late": {"from": 1_583_298_367_000.0, "from_as_string": "2020-03-04T05:06:07.000Z", "doc_count": 0}}}),
    );
    check(
        &world,
        json!({"filter": {"term": {"host": "a"}}, "aggs": {"m": {"avg": {"field": "n"}}}}),
        json!({"doc_count": 2, "m": {"value": 3.0}}),
    );
    check(
        &world,
        json!({"filters": {"other_bucket": true, "filters": {"a": {"term": {"host": "a"}}, "z": {"term": {"host": "z"}}}}}),
        json!({"buckets": {
        "a": {"doc_count": 2}, "z": {"doc_count": 0}, "_other_": {"doc_count": 2}}}),
    );
    check(&world, json!({"missing": {"field": "host"}}), json!({"doc_count": 1}));
}

#[test]
fn numbers_are_computed_over_values() {
    let world = events();
    check(
        &world,
        json!({"stats": {"field": "n"}}),
        json!({"count": 5, "min": -3.0, "max": 20.0, "avg": 6.6, "sum": 33.0}),
    );
    check(
        &world,
        json!({"min": {"field": "at"}}),
        json!({"value": 1_580_511_600_000.0, "value_as_string": "2020-01-31T23:00:00.000Z"}),
    );
    check(&world, json!({"avg": {"field": "f", "missing": 0.5}}), json!({"value": 1.0}));
    check(&world, json!({"value_count": {"field": "host"}}), json!({"value": 4}));
    check(&world, json!({"value_count": {"field": "n"}}), json!({"value": 5}));
    check(&world, json!({"cardinality": {"field": "host"}}), json!({"value": 3}));
    check(&world, json!({"cardinality": {"field": "ip", "missing": "10.0.0.9"}}), json!({"value": 3}));
    check(&world, json!({"max": {"field": "gone"}}), json!({"value": null}));
    check(
        &world,
        json!({"stats": {"field": "gone"}}),
        json!({"count": 0, "min": null, "max": null, "avg": null, "sum": 0.0}),
    );
    for (aggregation, words) in [
        (
            json!({"avg": {"field": "host"}}),
            "Field [host] of type [keyword] is not supported for aggregation [avg]",
        ),
        (json!({"terms": {"field": "text"}}), "Text fields are not optimised"),
        (
            json!({"date_histogram": {"field": "n", "fixed_interval": "1d"}}),
            "is not supported for aggregation [date_histogram]",
        ),
    ] {
        let reason =
            world.refused("POST /e-*/_search", &json!({"aggs": {"x": aggregation}}).to_string(), 400);
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn levels_nest() {
    let world = events();
    let body = json!({"size": 0, "aggs": {"h": {"terms": {"field": "host"}, "meta": {"k": 1}, "aggs": {
        "m": {"date_histogram": {"field": "at", "calendar_interval": "month", "min_doc_count": 1},
            "aggs": {"u": {"cardinality": {"field": "ip"}}, "o": {"terms": {"field": "ok"}}}}}}}});
    let reply = world.ok("POST /e-*/_search", &body.to_string());
    let host = &reply["aggregations"]["h"];
    assert_eq!(host["meta"], json!({"k": 1}));
    assert_eq!(
        host["buckets"][0]["m"]["buckets"][0],
        json!({
        "key_as_string": "2020-01-01T00:00:00.000Z", "key": 1_577_836_800_000_i64, "doc_count": 1, "u": {"value": 1},
        "o": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": [{"key": 1, "key_as_string": "true", "doc_count": 1}]}})
    );
    assert_eq!(host["buckets"][0]["m"]["buckets"][1]["o"]["buckets"][0]["key_as_string"], "false");
}
