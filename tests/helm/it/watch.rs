//! Dashboard and alert rules: on metrics that exist, with a remedy, tested by promtool.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chart::manifest::Manifest;
use chart::{project, query, tools};
use serde_json::Value as Json;

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap()
}

fn rules() -> Vec<Json> {
    let file: Json = serde_saphyr::from_str(&read("helm/mozdef/files/rules.yaml")).unwrap();
    file["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn dashboard() -> Json {
    serde_json::from_str(&read("helm/mozdef/files/dashboard.json")).unwrap()
}

/// Panels with a query, also those inside rows.
fn panels(dashboard: &Json) -> Vec<&Json> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn promtool_takes_the_rules_and_every_alert_has_a_test() {
    if !tools::ready().unwrap() {
        return;
    }
    let file = project("helm/mozdef/files/rules.yaml").display().to_string();
    let said = tools::run("promtool", &["check", "rules", &file], "").unwrap();
    assert!(said.is_good, "{}{}", said.out, said.err);
    let tests = project("tests/helm/alerts_test.yaml").display().to_string();
    let said = tools::run("promtool", &["test", "rules", &tests], "").unwrap();
    assert!(said.is_good, "{}{}", said.out, said.err);

    let tests: Json = serde_saphyr::from_str(&read("tests/helm/alerts_test.yaml")).unwrap();
    let mut fires = BTreeSet::new();
    let mut rests = BTreeSet::new();
    for test in tests["tests"].as_array().unwrap() {
        let (name, what) = test["name"].as_str().unwrap().split_once(' ').unwrap();
        let case = &test["promql_expr_test"][0];
        assert!(case["expr"].as_str().unwrap().contains(&format!("alertname=\"{name}\"")), "{name}");
        let is_fired = !case["exp_samples"].as_array().unwrap().is_empty();
        assert_eq!(what, if is_fired { "fires" } else { "rests" }, "{name}");
        if is_fired {
            fires.insert(name.to_owned())
        } else {
            rests.insert(name.to_owned())
        };
    }
    let all: BTreeSet<String> =
        rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(fires, all, "each alert is seen to fire");
    assert_eq!(rests, all, "each alert is seen not to fire");
    println!("{} alert rules, tested", all.len());
}

#[test]
fn every_alert_names_metrics_that_exist_and_says_what_to_do() {
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let found = query::mistakes(rule["expr"].as_str().unwrap());
        assert!(found.is_empty(), "{name}: {found:?}");
        assert!(rule["for"].is_string(), "{name} fires at once");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let (summary, description) = (&rule["annotations"]["summary"], &rule["annotations"]["description"]);
        assert!(summary.as_str().unwrap().len() > 20, "{name} has no summary");
        let description = description.as_str().unwrap();
        assert!(description.contains("Remedy: "), "{name}: no remedy in: {description}");
    }
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let dashboard = dashboard();
    let mut count = 0;
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(
            !panel["description"].as_str().unwrap_or_default().is_empty(),
            "{title} does not say what it shows"
        );
        for target in panel["targets"].as_array().unwrap() {
            let found = query::mistakes(target["expr"].as_str().unwrap());
            assert!(found.is_empty(), "{title}: {found:?}");
            count += 1;
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let found = query::mistakes(query.trim_start_matches("label_values"));
        assert!(found.is_empty(), "variable {}: {found:?}", variable["name"]);
    }
    println!("{} panels, {count} queries", panels(&dashboard).len());
    assert!(count >= 15);
}

/// Outcomes have no table: those that a query asks for must stand in the source of some stage.
#[test]
fn every_outcome_that_is_asked_for_is_counted_somewhere() {
    let dashboard = dashboard();
    let targets = panels(&dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let queries: Vec<String> =
        queries.chain(rules().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned())).collect();
    let asked: BTreeSet<&str> = queries
        .iter()
        .flat_map(|query| query.split("outcome").skip(1))
        .filter_map(|rest| rest.strip_prefix('=').or_else(|| rest.strip_prefix("!="))?.split('"').nth(1))
        .collect();
    let mut sources = String::new();
    for room in ["stream/src", "normalize/src", "correlate/src", "sink/src"] {
        read_sources(&project(room), &mut sources);
    }
    assert!(asked.len() >= 4, "{asked:?}");
    for outcome in asked {
        assert!(sources.contains(&format!("\"{outcome}\"")), "no stage counts the outcome `{outcome}`");
    }
}

/// KEDA asks the brokers for the lag of these groups on these topics.
#[test]
fn the_groups_and_topics_of_the_scalers_are_those_of_the_stages() {
    let mut sources = String::new();
    for room in ["normalize/src", "correlate/src", "sink/src", "cli/src"] {
        read_sources(&project(room), &mut sources);
    }
    let stages = read("helm/mozdef/templates/_stage.tpl");
    let rows: Vec<(&str, &str)> = stages
        .lines()
        .filter_map(|line| line.strip_prefix("- {group: ")?.strip_suffix('}')?.split_once(", topic: "))
        .collect();
    assert_eq!(rows.len(), 5);
    for (group, topic) in rows {
        assert!(sources.contains(&format!("\"{group}\"")), "no stage has the group {group}");
        assert!(model::topic::Topic::from_name(topic).is_some(), "there is no topic {topic}");
    }
}

fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// As rules, so that the parser of Prometheus judges them.
#[test]
fn promtool_takes_every_query_of_the_dashboard() {
    if !tools::ready().unwrap() {
        return;
    }
    let dashboard = dashboard();
    let mut rules = Vec::new();
    for target in panels(&dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let query =
            target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$__range", "1h");
        rules.push(serde_json::json!({"record": format!("panel:{}", rules.len()), "expr": query}));
    }
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, file.to_string()).unwrap();
    let said = tools::run("promtool", &["check", "rules", &path.display().to_string()], "").unwrap();
    assert!(said.is_good, "{}{}", said.out, said.err);
}

#[test]
fn panels_do_not_overlap_and_have_ids() {
    let dashboard = dashboard();
    let mut taken: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is beyond the edge");
        for cell in (side("x")..side("x") + side("w"))
            .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
        {
            let other = taken.insert(cell, title.to_owned());
            assert!(other.is_none(), "{title} lies over {other:?}");
        }
    }
}

#[test]
fn the_chart_carries_rules_and_dashboard_unchanged() {
    if !tools::ready().unwrap() {
        return;
    }
    let manifest = Manifest::render("production", &[]).unwrap();
    let file: Json = serde_saphyr::from_str(&read("helm/mozdef/files/rules.yaml")).unwrap();
    assert_eq!(*manifest.of("PrometheusRule").next().unwrap().at("/spec"), file);
    let map = manifest.find("ConfigMap", "siem-dashboard").unwrap();
    let held: Json = serde_json::from_str(map.text("/data/mozdef.json")).unwrap();
    assert_eq!(held, dashboard());
    assert_eq!(map.text("/metadata/labels/grafana_dashboard"), "1");
}
