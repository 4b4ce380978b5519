//! Queries, order, pages.

use serde_json::json;

use crate::harness::World;

fn events() -> World {
    let world = World::mozdef();
    world.put("events-1", &[
        ("a", r#"{"summary": "Failed password for root", "utctimestamp": "2020-03-04T05:00:00+00:00", "hostname": "web1", "tags": ["ssh", "x"], "details": {"sourceipaddress": "10.0.0.1", "port": 22, "success": false}}"#),
        ("b", r#"{"summary": "Accepted password for bob", "utctimestamp": "2020-03-04T04:30:00.500+00:00", "hostname": "web2", "tags": ["ssh"], "details": {"sourceipaddress": "10.0.1.9", "port": 2222, "success": true}}"#),
    ]);
    world.put("events-2", &[
        ("c", r#"{"summary": "password changed", "utctimestamp": "2020-03-03T23:59:59.999+00:00", "hostname": "db1", "tags": [], "details": {"sourceipaddress": "2001:db8::1", "note": "Some Note"}}"#),
        ("d", r#"{"summary": "nothing", "hostname": "WEB3", "note": "", "details": {"port": 9}}"#),
    ]);
    world
}

#[track_caller]
fn check(world: &World, query: &str, expected: &[&str]) {
    let body = format!(r#"{{"query": {query}, "sort": "hostname"}}"#);
    let mut found = world.ids("POST /events-*/_search", &body);
    found.sort();
    assert_eq!(found, expected, "{query}");
}

#[test]
fn queries_find_what_they_say() {
    let world = events();
    for (query, expected) in [
        (r#"{"match_all": {}}"#, &["a", "b", "c", "d"] as &[&str]),
        (r#"{"match_none": {}}"#, &[]),
        (r#"{"term": {"hostname": "web1"}}"#, &["a"]),
        (r#"{"term": {"hostname": {"value": "web3", "case_insensitive": true}}}"#, &["d"]),
        (r#"{"term": {"details.port": 22}}"#, &["a"]),
        (r#"{"terms": {"hostname": ["web1", "db1", "x"]}}"#, &["a", "c"]),
        (r#"{"term": {"tags": "x"}}"#, &["a"]),
        (r#"{"term": {"note": ""}}"#, &["d"]),
        (r#"{"match": {"summary": "ROOT nobody"}}"#, &["a"]),
        (r#"{"match": {"summary": {"query": "password for", "operator": "and"}}}"#, &["a", "b"]),
        (
            r#"{"match": {"summary": {"query": "failed password bob", "minimum_should_match": 2}}}"#,
            &["a", "b"],
        ),
        (r#"{"match_phrase": {"summary": "password for"}}"#, &["a", "b"]),
        (r#"{"match_phrase": {"summary": {"query": "failed for", "slop": 1}}}"#, &["a"]),
        (r#"{"multi_match": {"query": "web1", "fields": ["summary", "host*"]}}"#, &["a"]),
        (r#"{"prefix": {"hostname": "web"}}"#, &["a", "b"]),
        (r#"{"wildcard": {"hostname": {"value": "*EB?", "case_insensitive": true}}}"#, &["a", "b", "d"]),
        (r#"{"regexp": {"hostname": "(web|db)[0-1]"}}"#, &["a", "c"]),
        (r#"{"exists": {"field": "details.note"}}"#, &["c"]),
        (r#"{"exists": {"field": "details"}}"#, &["a", "b", "c", "d"]),
        (r#"{"exists": {"field": "tags"}}"#, &["a", "b"]),
        (r#"{"exists": {"field": "summary"}}"#, &["a", "b", "c", "d"]),
        (r#"{"exists": {"field": "gone"}}"#, &[]),
        (r#"{"ids": {"values": ["a", "d", "z"]}}"#, &["a", "d"]),
        (r#"{"term": {"_id": "a"}}"#, &["a"]),
        (r#"{"term": {"_index": "events-2"}}"#, &["c", "d"]),
        (r#"{"constant_score": {"filter": {"term": {"hostname": "db1"}}}}"#, &["c"]),
        (
            r#"{"dis_max": {"queries": [{"term": {"hostname": "db1"}}, {"match": {"summary": "root"}}]}}"#,
            &["a", "c"],
        ),
    ] {
        check(&world, query, expected);
    }
}

#[test]
fn ranges_know_their_types() {
    let world = events();
    for (query, expected) in [
        (r#"{"range": {"utctimestamp": {"gte": "now-1h"}}}"#, &["a", "b"] as &[&str]),
        (r#"{"range": {"utctimestamp": {"gte": "now/d"}}}"#, &["a", "b"]),
        (r#"{"range": {"utctimestamp": {"lt": "now/d"}}}"#, &["c"]),
        (r#"{"range": {"utctimestamp": {"lte": "2020-03-03"}}}"#, &["c"]),
        (r#"{"range": {"utctimestamp": {"gt": "2020-03-03"}}}"#, &["a", "b"]),
        (
            r#"{"range": {"utctimestamp": {"gt": "2020-03-04T04:30:00.500Z", "lte": "2020-03-04T05:00"}}}"#,
            &["a"],
        ),
        (r#"{"range": {"utctimestamp": {"gte": 1583294400000, "format": "epoch_millis"}}}"#, &["a", "b"]),
        (
            r#"{"range": {"utctimestamp": {"gte": "2020-03-04", "time_zone": "+05:00", "lt": "2020-03-04T05:00:00Z"}}}"#,
            &["b", "c"],
        ),
        (r#"{"term": {"utctimestamp": "2020-03-04"}}"#, &["a", "b"]),
        (r#"{"range": {"details.sourceipaddress": {"gte": "10.0.0.0", "lt": "10.0.1.0"}}}"#, &["a"]),
        (r#"{"term": {"details.sourceipaddress": "10.0.0.0/16"}}"#, &["a", "b"]),
        (r#"{"term": {"details.sourceipaddress": "2001:db8::/32"}}"#, &["c"]),
        (r#"{"terms": {"details.sourceipaddress": ["10.0.1.9", "2001:db8::/64"]}}"#, &["b", "c"]),
        (r#"{"range": {"hostname": {"gt": "db1", "lte": "web1"}}}"#, &["a"]),
        (r#"{"range": {"details.port": {"gte": "22", "lt": "3"}}}"#, &["a", "b"]),
        (r#"{"range": {"details.port": {"gte": "5", "lt": "3"}}}"#, &[]),
        (r#"{"range": {"hostname": {}}}"#, &["a", "b", "c", "d"]),
        (r#"{"term": {"details.success": true}}"#, &["b"]),
        (r#"{"term": {"details.success": "false"}}"#, &["a"]),
    ] {
        check(&world, query, expected);
    }
    let refused =
        |query: &str| world.refused("POST /events-1/_search", &format!(r#"{{"query": {query}}}"#), 400);
    assert!(
        refused(r#"{"range": {"utctimestamp": {"gte": "yesterday"}}}"#)
            .contains("failed to parse date field [yesterday]")
    );
    assert!(refused(r#"{"term": {"details.sourceipaddress": "abc"}}"#).contains("not an IP string literal"));
    assert!(refused(r#"{"prefix": {"utctimestamp": "2020"}}"#).contains("Can only use prefix queries"));
    assert!(
        refused(r#"{"term": {"details.success": "maybe"}}"#).contains("Can't parse boolean value [maybe]")
    );
}

#[test]
fn clauses_combine_as_in_opensearch() {
    let world = events();
    let web = r#"{"prefix": {"hostname": "web"}}"#;
    let root = r#"{"match": {"summary": "root"}}"#;
    let bob = r#"{"match": {"summary": "bob"}}"#;
    for (query, expected) in [
        (format!(r#"{{"bool": {{"must": [{web}], "should": [{root}]}}}}"#), &["a", "b"] as &[&str]),
        (
            format!(r#"{{"bool": {{"filter": [{web}], "should": [{root}], "minimum_should_match": 1}}}}"#),
            &["a"],
        ),
        (format!(r#"{{"bool": {{"should": [{root}, {bob}]}}}}"#), &["a", "b"]),
        (format!(r#"{{"bool": {{"should": [{root}, {bob}], "minimum_should_match": 2}}}}"#), &[]),
        (format!(r#"{{"bool": {{"should": [{root}, {web}], "minimum_should_match": "100%"}}}}"#), &["a"]),
        (format!(r#"{{"bool": {{"must_not": [{web}]}}}}"#), &["c", "d"]),
        (format!(r#"{{"bool": {{"must_not": [{root}, {bob}], "must": {web}}}}}"#), &[]),
        (format!(r#"{{"bool": {{"should": [{root}], "minimum_should_match": 0}}}}"#), &["a"]),
        (r#"{"bool": {}}"#.to_owned(), &["a", "b", "c", "d"]),
        (r#"{"bool": {"must_not": {"match_phrase": {"summary": "password for"}}}}"#.to_owned(), &["c", "d"]),
    ] {
        check(&world, &query, expected);
    }
}

#[test]
fn lucene_syntax_searches() {
    let world = events();
    for (text, expected) in [
        ("summary:password AND hostname:web*", &["a", "b"] as &[&str]),
        ("password -hostname:web1", &["b", "c"]),
        ("web1", &["a"]),
        ("web1 OR db1", &["a", "c"]),
        ("\"password for\"", &["a", "b"]),
        ("summary:(root OR bob) AND NOT tags:x", &["b"]),
        ("hostname:/web[0-9]/", &["a", "b"]),
        ("details.sourceipaddress:[10.0.0.0 TO 10.0.0.255]", &["a"]),
        ("details.sourceipaddress:\"10.0.0.0/16\"", &["a", "b"]),
        ("10.0.1.9", &["b"]),
        ("details.\\*:22", &["a"]),
        ("_exists_:details.note", &["c"]),
        ("details.note:\"Some Note\"", &["c"]),
        ("utctimestamp:[now-1h TO *]", &["a", "b"]),
        ("utctimestamp:<2020-03-04", &["c"]),
        ("details.success:true", &["b"]),
        ("summary:PASS*", &["a", "b", "c"]),
        ("gone:x", &[]),
        ("*", &["a", "b", "c", "d"]),
        ("NOT password", &["d"]),
        ("details.port:(22 2222)", &[]),
        ("details.port:(22 OR 2222)", &["a", "b"]),
    ] {
        check(&world, &json!({"query_string": {"query": text}}).to_string(), expected);
        let line = format!(
            "GET /events-*/_search?q={}",
            text.replace('%', "%25").replace('+', "%2B").replace('&', "%26").replace('#', "%23")
        );
        let mut found = world.ids(&line, "");
        found.sort();
        assert_eq!(found, expected, "{line}");
    }
    assert_eq!(world.ids("GET /events-1/_search?q=root+web1&default_operator=AND", "").len(), 0);
    assert_eq!(world.ids("GET /events-1/_search?q=summary:root+AND+hostname:web1", ""), ["a"]);
    assert_eq!(world.ids("GET /events-1/_search?q=web1&df=hostname", ""), ["a"]);
    world.refused("GET /events-1/_search?q=(a", "", 400);
}

#[test]
fn hits_come_in_order_and_in_pages() {
    let world = World::mozdef();
    for index in 0..3 {
        let documents: Vec<(String, String)> = (0..40)
            .map(|n| {
                let number = (n * 7 + index * 13) % 50;
                let host =
                    if n % 10 == 0 { String::new() } else { format!(r#""hostname": "h{:02}","#, number % 9) };
                let time = format!("2020-03-04T05:{:02}:00Z", number);
                (format!("{index}-{n:02}"), format!(r#"{{{host} "utctimestamp": "{time}", "n": {number}}}"#))
            })
            .collect();
        let documents: Vec<(&str, &str)> = documents.iter().map(|(i, s)| (i.as_str(), s.as_str())).collect();
        world.put(&format!("events-{index}"), &documents);
    }
    for sort in [
        json!(["hostname", {"utctimestamp": "desc"}]),
        json!([{"hostname": {"order": "desc", "missing": "_first"}}, "utctimestamp"]),
        json!([{"utctimestamp": {"order": "asc"}}, {"hostname": {"missing": "_first"}}]),
        json!(["_doc"]),
    ] {
        let all = world.ok("POST /events-*/_search", &json!({"size": 1000, "sort": sort}).to_string());
        let hits = all["hits"]["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 120);
        let whole: Vec<&str> = hits.iter().map(|h| h["_id"].as_str().unwrap()).collect();
        // The same by `from`.
        let mut pages = Vec::new();
        for from in (0..120).step_by(7) {
            pages.extend(
                world.ids(
                    "POST /events-*/_search",
                    &json!({"size": 7, "from": from, "sort": sort}).to_string(),
                ),
            );
        }
        assert_eq!(pages, whole, "{sort}");
        // The same by `search_after` in a point in time.
        let point = world.ok("POST /events-*/_search/point_in_time?keep_alive=1m", "")["pit_id"].clone();
        world.put("events-0", &[("later", r#"{"hostname": "h00"}"#)]);
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let mut body = json!({"size": 11, "sort": sort, "pit": {"id": point, "keep_alive": "1m"}});
            if let Some(after) = after.take() {
                body["search_after"] = after;
            }
            let reply = world.ok("POST /_search", &body.to_string());
            let hits = reply["hits"]["hits"].as_array().unwrap();
            let Some(last) = hits.last() else { break };
            after = Some(last["sort"].clone());
            pages.extend(hits.iter().map(|h| h["_id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(pages, whole, "{sort}");
        let closed = world.ok("DELETE /_search/point_in_time", &json!({"pit_id": [point]}).to_string());
        assert_eq!(closed["pits"][0]["successful"], true);
        assert_eq!(world.call("POST /_search", &json!({"pit": {"id": point}}).to_string()).0, 404);
        world.ok("DELETE /events-0/_doc/later?refresh", "");
    }
    world.refused("POST /events-0/_search", r#"{"sort": "gone"}"#, 400);
    world.ok("POST /events-0/_search", r#"{"sort": {"gone": {"unmapped_type": "long"}}}"#);
    assert!(
        world
            .refused("POST /events-0/_search", r#"{"from": 9999, "size": 2}"#, 400)
            .contains("Result window")
    );
}

#[test]
fn scores_order_and_totals_are_said() {
    let world = World::new();
    world.put(
        "x",
        &[
            ("1", r#"{"t": "red red red"}"#),
            ("2", r#"{"t": "red green blue yellow"}"#),
            ("3", r#"{"t": "green"}"#),
        ],
    );
    let reply = world.ok("POST /x/_search", r#"{"query": {"match": {"t": "red"}}}"#);
    assert_eq!(reply["hits"]["hits"][0]["_id"], "1");
    assert!(
        reply["hits"]["hits"][0]["_score"].as_f64().unwrap()
            > reply["hits"]["hits"][1]["_score"].as_f64().unwrap()
    );
    assert_eq!(reply["hits"]["max_score"], reply["hits"]["hits"][0]["_score"]);
    let reply = world.ok(
        "POST /x/_search",
        r#"{"query": {"bool": {"filter": {"match": {"t": "red"}}}}, "track_total_hits": 1}"#,
    );
    assert_eq!(reply["hits"]["total"], json!({"value": 1, "relation": "gte"}));
    assert_eq!(reply["hits"]["hits"][0]["_score"], 0.0);
    let reply = world.ok("POST /x/_search?rest_total_hits_as_int=true&size=0", "");
    assert_eq!(reply["hits"]["total"], 3);
    let reply = world.ok(
        "POST /x/_search",
        r#"{"track_total_hits": false, "sort": "t.keyword", "size": 1, "_source": false, "version": true}"#,
    );
    assert_eq!(
        reply["hits"],
        json!({"max_score": null, "hits": [{"_index": "x", "_id": "3", "_version": 1, "_score": null, "sort": ["green"]}]})
    );
    let lines = "{\"index\": \"x\"}\n{\"size\": 0}\n{\"index\": \"gone\"}\n{}\n";
    let reply = world.ok("POST /_msearch", lines);
    assert_eq!(
        (&reply["responses"][0]["status"], &reply["responses"][1]["status"]),
        (&json!(200), &json!(404))
    );
}
