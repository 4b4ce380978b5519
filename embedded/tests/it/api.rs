//! Documents, indices, templates, aliases: what OpenSearch's clients rely on.

use serde_json::{Value, json};

use crate::harness::World;

#[test]
fn the_root_says_opensearch() {
    let world = World::new();
    let reply = world.ok("GET /", "");
    assert_eq!(reply["version"]["distribution"], "opensearch");
    assert!(reply["version"]["number"].as_str().unwrap().starts_with("2."));
    assert_eq!(world.ok("GET /_cluster/health", "")["status"], "green");
    assert_eq!(world.call("HEAD /", "").0, 200);
}

#[test]
fn bulk_answers_item_by_item() {
    let world = World::mozdef();
    let body = [
        r#"{"create":{"_index":"events-1","_id":"a"}}"#,
        r#"{"summary":"one"}"#,
        r#"{"create":{"_index":"events-1","_id":"a"}}"#,
        r#"{"summary":"two"}"#,
        r#"{"index":{"_index":"events-1","_id":"b"}}"#,
        r#"{"details":{"sourceipaddress":"nonsense"}}"#,
        r#"{"index":{"_index":"Bad","_id":"c"}}"#,
        "{}",
        r#"{"delete":{"_index":"events-1","_id":"zzz"}}"#,
        r#"{"update":{"_index":"events-1","_id":"a"}}"#,
        r#"{"doc":{"note":"x"}}"#,
        r#"{"index":{"_index":"events-1"}}"#,
        r#"{"summary":"without id"}"#,
        r#"{"index":{"_index":"events-1","_id":"d"}}"#,
        r#"{"broken""#,
        r#"{"index":{"_index":"events-1","_id":"e"}}"#,
        r#"{"a":1,"a":2}"#,
        "",
    ]
    .join("\n");
    let reply = world.ok("POST /_bulk?refresh=wait_for", &body);
    assert_eq!(reply["errors"], true);
    let items = reply["items"].as_array().unwrap();
    let statuses: Vec<u64> = items
        .iter()
        .map(|item| item.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 409, 400, 400, 404, 200, 201, 400, 400]);
    assert_eq!(items[0]["create"]["_version"], 1);
    assert_eq!(items[0]["create"]["result"], "created");
    assert_eq!(items[1]["create"]["error"]["type"], "version_conflict_engine_exception");
    assert_eq!(items[2]["index"]["error"]["type"], "mapper_parsing_exception");
    assert!(
        items[2]["index"]["error"]["reason"]
            .as_str()
            .unwrap()
            .contains("field [details.sourceipaddress] of type [ip]")
    );
    assert_eq!(items[3]["index"]["error"]["type"], "invalid_index_name_exception");
    assert_eq!(items[5]["update"]["_version"], 2);
    assert_eq!(world.ok("GET /events-1/_source/a", ""), json!({"summary": "one", "note": "x"}));
    assert_eq!(world.ok("GET /events-1/_count", "")["count"], 2);
}

#[test]
fn external_versions_only_grow() {
    let world = World::new();
    let put = |version: u64, kind: &str| {
        world.call(&format!("PUT /alerts-1/_doc/a?version={version}&version_type={kind}"), "{}").0
    };
    assert_eq!(put(5, "external"), 201);
    assert_eq!(put(5, "external"), 409);
    assert_eq!(put(5, "external_gte"), 200);
    assert_eq!(put(4, "external_gte"), 409);
    world.ok("POST /_refresh", "");
    assert_eq!(put(5, "external"), 409);
    assert_eq!(put(7, "external"), 200);
    assert_eq!(world.ok("GET /alerts-1/_doc/a", "")["_version"], 7);
    let world = world.reopen();
    assert_eq!(world.call("PUT /alerts-1/_doc/a?version=7&version_type=external", "{}").0, 409);
    let reply = world.ok("GET /alerts-1/_doc/a", "");
    let condition = format!("if_seq_no={}&if_primary_term=1", reply["_seq_no"]);
    assert_eq!(world.call(&format!("PUT /alerts-1/_doc/a?{condition}"), "{}").0, 200);
    assert_eq!(world.call(&format!("PUT /alerts-1/_doc/a?{condition}"), "{}").0, 409);
}

#[test]
fn documents_are_read_in_real_time() {
    let world = World::new();
    world.ok("PUT /x/_doc/1", r#"{"a": {"b": 1.50, "c": 2}}"#);
    let reply = world.ok("GET /x/_doc/1?_source_includes=a.b", "");
    assert_eq!(reply["_source"].to_string(), r#"{"a":{"b":1.5}}"#);
    assert_eq!(world.call("HEAD /x/_doc/1", "").0, 200);
    assert_eq!(world.call("GET /x/_doc/2", ""), (404, json!({"_index": "x", "_id": "2", "found": false})));
    assert_eq!(world.call("PUT /x/_create/1", "{}").0, 409);
    assert_eq!(world.ok("DELETE /x/_doc/1", "")["result"], "deleted");
    assert_eq!(world.call("GET /x/_doc/1", "").0, 404);
    assert_eq!(world.call("DELETE /x/_doc/1", "").0, 404);
    assert_eq!(world.ok("PUT /x/_doc/1", "{}")["_version"], 4);
    let mget =
        world.ok("POST /_mget", r#"{"docs": [{"_index": "x", "_id": "1"}, {"_index": "gone", "_id": "1"}]}"#);
    assert_eq!(mget["docs"][0]["found"], true);
    assert_eq!(mget["docs"][1]["error"]["type"], "index_not_found_exception");
    let auto = world.ok("POST /x/_doc", r#"{"n": 1}"#);
    assert_eq!(auto["_id"].as_str().unwrap().len(), 20);
}

#[test]
fn updates_lie_over_what_is_there() {
    let world = World::new();
    assert_eq!(world.call("POST /x/_update/1", r#"{"doc": {"a": 1}}"#).0, 404);
    assert_eq!(
        world.ok("POST /x/_update/1", r#"{"doc": {"a": 1}, "doc_as_upsert": true}"#)["result"],
        "created"
    );
    world.ok("POST /x/_refresh", "");
    assert_eq!(world.ok("POST /x/_update/1", r#"{"doc": {"b": {"c": 2}}}"#)["result"], "updated");
    assert_eq!(world.ok("POST /x/_update/1", r#"{"doc": {"b": {"c": 2}}}"#)["result"], "noop");
    assert_eq!(world.ok("GET /x/_source/1", ""), json!({"a": 1, "b": {"c": 2}}));
    world.refused("POST /x/_update/1", r#"{"script": "ctx"}"#, 400);
}

#[test]
fn templates_make_indices_and_survive() {
    let world = World::mozdef();
    world.ok("PUT /_template/old", r#"{"index_patterns": ["old-*"], "mappings": {"properties": {"n": {"type": "long"}}}, "aliases": {"olds": {}}}"#);
    world.ok("PUT /events-1/_doc/1", r#"{"details": {"sourceipaddress": "10.0.0.1", "port": 22}}"#);
    world.ok("PUT /old-1/_doc/1", r#"{"n": 5}"#);
    let world = world.reopen();
    let mapping = world.ok("GET /events-1/_mapping", "");
    assert_eq!(
        mapping["events-1"]["mappings"]["properties"]["details"]["properties"]["port"]["type"],
        "keyword"
    );
    assert_eq!(world.ok("GET /old-1", "")["old-1"]["aliases"], json!({"olds": {}}));
    assert_eq!(world.ok("GET /_template/old", "")["old"]["order"], 0);
    assert_eq!(world.call("GET /_template/none", "").0, 404);
    assert_eq!(world.ok("GET /_index_template/mozdef", "")["index_templates"][0]["name"], "mozdef");
    world.refused("PUT /_index_template/other", r#"{"index_patterns": ["events-2*"], "template": {}}"#, 400);
    world.ok("DELETE /_index_template/mozdef", "");
    assert_eq!(world.call("HEAD /_index_template/mozdef", "").0, 404);
    world.refused("PUT /_component_template/x", "{}", 400);
}

#[test]
fn mappings_only_grow() {
    let world = World::new();
    world.ok("PUT /x", r#"{"mappings": {"properties": {"a": {"type": "keyword"}}}, "settings": {"index": {"mapping": {"total_fields": {"limit": 3}}}}}"#);
    world.ok("PUT /x/_mapping", r#"{"properties": {"b": {"type": "ip"}}}"#);
    let reason = world.refused("PUT /x/_mapping", r#"{"properties": {"a": {"type": "long"}}}"#, 400);
    assert_eq!(reason, "mapper [a] cannot be changed from type [keyword] to [long]");
    world.ok("PUT /x/_doc/1", r#"{"c": true}"#);
    let reason = world.refused("PUT /x/_doc/2", r#"{"d": true}"#, 400);
    assert_eq!(reason, "Limit of total fields [3] has been exceeded");
    assert_eq!(
        world.ok("GET /x/_settings", "")["x"]["settings"]["index"]["mapping"]["total_fields"]["limit"],
        "3"
    );
    assert_eq!(world.refused("PUT /x", "{}", 400), "index [x] already exists");
}

#[test]
fn fields_without_a_template_follow_opensearch() {
    let world = World::new();
    world.put(
        "x",
        &[("1", r#"{"t": "Some Words", "n": 5, "f": 1.5, "b": true, "d": "2020-01-02", "v": "2020"}"#)],
    );
    let properties = world.ok("GET /x/_mapping", "")["x"]["mappings"]["properties"].clone();
    let kinds: Vec<&str> =
        ["t", "n", "f", "b", "d", "v"].iter().map(|f| properties[f]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "long", "float", "boolean", "date", "text"]);
    assert_eq!(world.ids("POST /x/_search", r#"{"query": {"term": {"t.keyword": "Some Words"}}}"#), ["1"]);
    assert_eq!(world.ids("POST /x/_search", r#"{"query": {"match": {"t": "words"}}}"#), ["1"]);
    world.refused("PUT /x/_doc/2", r#"{"n": "abc"}"#, 400);
    world.refused("PUT /x/_doc/2", r#"{"t": {"a": 1}}"#, 400);
}

#[test]
fn aliases_change_all_at_once() {
    let world = World::new();
    for name in ["e-1", "e-2"] {
        world.put(name, &[(name, "{}")]);
    }
    world.ok("POST /_aliases", r#"{"actions": [{"add": {"index": "e-1", "alias": "events"}}]}"#);
    world.ok(
        "POST /_aliases",
        r#"{"actions": [
        {"remove": {"index": "e-1", "alias": "events"}}, {"add": {"index": "e-2", "alias": "events"}},
        {"add": {"index": "e-1", "alias": "events-previous"}}]}"#,
    );
    assert_eq!(world.ids("GET /events/_search", ""), ["e-2"]);
    assert_eq!(world.ids("GET /events,events-previous/_search", "").len(), 2);
    // One bad action: nothing of the request is done.
    let reason = world.refused(
        "POST /_aliases",
        r#"{"actions": [
        {"remove": {"index": "e-2", "alias": "events"}}, {"add": {"index": "gone", "alias": "events"}}]}"#,
        404,
    );
    assert_eq!(reason, "no such index [gone]");
    let world = world.reopen();
    assert_eq!(world.ok("GET /_alias/events", ""), json!({"e-2": {"aliases": {"events": {}}}}));
    assert_eq!(world.call("GET /_alias/none", "").0, 404);
    world.ok("PUT /events/_doc/new", "{}");
    assert_eq!(world.ok("GET /e-2/_doc/new", "")["found"], true);
    world.refused(
        "POST /_aliases",
        r#"{"actions": [{"add": {"index": "e-1", "alias": "a", "filter": {}}}]}"#,
        400,
    );
    world.refused("DELETE /events", "", 400);
    world.ok("DELETE /e-*", "");
    assert_eq!(world.refused("GET /e-1/_search", "", 404), "no such index [e-1]");
    assert_eq!(world.ids("GET /e-1/_search?ignore_unavailable=true", ""), Vec::<String>::new());
}

#[test]
fn tables_are_for_people_and_programs() {
    let world = World::new();
    world.put("x", &[("1", "{}"), ("2", "{}")]);
    world.ok("POST /_aliases", r#"{"actions": [{"add": {"index": "x", "alias": "y"}}]}"#);
    let rows = world.ok("GET /_cat/indices?format=json", "");
    assert_eq!((&rows[0]["index"], &rows[0]["docs.count"]), (&json!("x"), &json!("2")));
    let Value::String(text) = world.ok("GET /_cat/indices?v&h=index,docs.count", "") else {
        panic!("no text")
    };
    assert_eq!(text, "index docs.count\nx     2\n");
    assert_eq!(world.ok("GET /_cat/aliases?format=json", "")[0]["alias"], "y");
    assert_eq!(world.ok("GET /_cat/count?format=json", "")[0]["count"], "2");
    assert_eq!(world.ok("GET /_cat/health?format=json", "")[0]["status"], "green");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let world = World::new();
    world.put("x", &[("1", "{}")]);
    for (line, body, words) in [
        ("POST /_reindex", "{}", "_reindex"),
        ("POST /x/_delete_by_query", "{}", "_delete_by_query"),
        ("PUT /_ingest/pipeline/p", "{}", "_ingest"),
        ("GET /x/_search?scroll=1m", "", "[scroll]"),
        ("GET /x/_search?foo=1", "", "unrecognized parameter: [foo]"),
        ("POST /x/_search", r#"{"query": {"geo_distance": {}}}"#, "[geo_distance]"),
        ("POST /x/_search", r#"{"aggs": {"a": {"percentiles": {}}}}"#, "[percentiles]"),
        ("POST /x/_doc?pipeline=p", "{}", "unrecognized parameter: [pipeline]"),
        ("PUT /y", r#"{"mappings": {"properties": {"a": {"type": "nested"}}}}"#, "[nested]"),
        ("POST /x/_search", "[]", "START_OBJECT"),
        ("POST /x/_search", "{", "not valid JSON"),
    ] {
        let reason = world.refused(line, body, 400);
        assert!(reason.contains(words), "{line}: {reason}");
    }
    world.refused("PATCH /x/_doc/1", "{}", 405);
    world.refused("POST /x/_mget", "{}", 400);
}

#[test]
fn hostile_documents_are_refused_one_by_one() {
    let world = World::mozdef();
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let wide: String = (0..30_000).map(|n| format!("\"f{n}\":1,")).collect();
    let bodies = [
        deep,
        format!("{{{wide}\"z\":1}}"),
        "{\"a\":\"\u{0}\"}".to_owned(),
        "{\"\":1}".to_owned(),
        "[]".to_owned(),
        "{\"a\":1e999}".to_owned(),
    ];
    for body in &bodies {
        let (status, reply) = world.call("PUT /events-1/_doc/1", body);
        assert!(status == 400 || status == 201 || status == 200, "{status} {reply}");
    }
    // A value that is too long to be a term is kept and named.
    let long = "x".repeat(70_000);
    world.put("events-1", &[("long", &format!("{{\"note\": \"{long}\"}}"))]);
    let reply = world.ok("POST /events-1/_search", r#"{"query": {"ids": {"values": ["long"]}}}"#);
    assert_eq!(reply["hits"]["hits"][0]["_ignored"], json!(["note"]));
    assert_eq!(reply["hits"]["hits"][0]["_source"]["note"].as_str().unwrap().len(), 70_000);
    assert_eq!(
        world.ids("POST /events-1/_search", r#"{"query": {"exists": {"field": "note"}}}"#),
        Vec::<String>::new()
    );
    // Odd names of fields work like others.
    world.put("events-1", &[("odd", r#"{"details": {"a b\\c\u0001": "v", "ä.ö": "w"}}"#)]);
    assert_eq!(
        world.ids("POST /events-1/_search", r#"{"query": {"term": {"details.a b\\c\u0001": "v"}}}"#),
        ["odd"]
    );
    assert_eq!(
        world.ids(
            "POST /events-1/_search",
            r#"{"query": {"term": {"details.ä.ö": "w"}}, "sort": "details.a b\\c\u0001"}"#
        ),
        ["odd"]
    );
}
