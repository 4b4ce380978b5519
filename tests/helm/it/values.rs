//! Value sets: linted, rendered, judged by Kubernetes' types; the configuration is one that MozDef takes.

use std::collections::BTreeSet;

use chart::manifest::Manifest;
use chart::{project, schema, tools};
use serde_json::{Map, Value as Json};

use crate::SETS;

#[test]
fn every_set_passes_lint_and_the_types_of_kubernetes() {
    if !tools::ready().unwrap() {
        return;
    }
    for set in SETS {
        let chart = project("helm/mozdef").display().to_string();
        let file = project(&format!("tests/helm/values/{set}.yaml")).display().to_string();
        let lint = tools::run("helm", &["lint", "--strict", &chart, "-f", &file], "").unwrap();
        assert!(lint.is_good, "{set}: {}{}", lint.out, lint.err);
        let manifest = Manifest::render(set, &[]).unwrap();
        let kinds = tools::run("kinds", &[], &manifest.text).unwrap();
        assert!(kinds.is_good, "{set}: {}{}", kinds.out, kinds.err);
        assert_eq!(kinds.out.trim(), format!("{} objects are right", manifest.objects.len()), "{set}");
        println!("{set}: {} objects", manifest.objects.len());
    }
}

#[test]
fn the_types_of_kubernetes_refuse_what_is_wrong() {
    if !tools::ready().unwrap() {
        return;
    }
    let text = Manifest::render("production", &[]).unwrap().text;
    for (right, wrong, finding) in [
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:", "unknown field"),
        ("maxReplicas: 12", "maxReplicas: many", "cannot unmarshal string"),
        ("type: RuntimeDefault", "type: Unconfined", "not restricted: seccompProfile"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "not restricted: runAsNonRoot"),
        ("kind: ServiceMonitor", "kind: ServiceMoniter", "no kind \"ServiceMoniter\""),
        ("  name: siem-gateway\n", "  name: Siem_gateway\n", "name: a lowercase RFC 1123"),
    ] {
        assert!(text.contains(right), "{right}");
        let kinds = tools::run("kinds", &[], &text.replace(right, wrong)).unwrap();
        assert!(!kinds.is_good && kinds.out.contains(finding), "{wrong}: {}", kinds.out);
    }
}

#[test]
fn mozdef_takes_every_rendered_configuration() {
    if !tools::ready().unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for set in SETS {
        let manifest = Manifest::render(set, &[]).unwrap();
        let configs: BTreeSet<&str> = manifest
            .of("ConfigMap")
            .map(|map| map.text("/data/mozdef.yaml"))
            .filter(|text| !text.is_empty())
            .collect();
        assert_eq!(configs.len(), 1, "{set}: the job and the stages have one configuration");
        for text in configs {
            let file = folder.path().join(format!("{set}.yaml"));
            std::fs::write(&file, text).unwrap();
            let file = file.display().to_string();
            let said =
                tools::run_program(&tools::mozdef().unwrap(), &["config", "check", &file], "").unwrap();
            assert!(said.is_good, "{set}: {}{}\n{text}", said.out, said.err);
        }
    }
}

#[test]
fn every_command_of_a_pod_is_one_of_the_binary() {
    if !tools::ready().unwrap() {
        return;
    }
    for set in SETS {
        for workload in Manifest::render(set, &[]).unwrap().workloads() {
            let container = workload.container();
            let mut arguments: Vec<&str> =
                container.list("/args").iter().map(|argument| argument.as_str().unwrap()).collect();
            arguments.push("--help");
            let said = tools::run_program(&tools::mozdef().unwrap(), &arguments, "").unwrap();
            assert!(said.is_good, "{set}: {workload}: mozdef {arguments:?}: {}", said.err);
        }
    }
}

#[test]
fn values_arrive_in_the_configuration_as_they_are() {
    if !tools::ready().unwrap() {
        return;
    }
    let manifest = Manifest::render("production", &["--set", "config.correlate.revise_ms=3600000"]).unwrap();
    let config = model::config::Config::from_yaml(
        manifest.find("ConfigMap", "siem").expect("the ConfigMap").text("/data/mozdef.yaml"),
    )
    .unwrap();
    let kafka = config.log.kafka.unwrap();
    let (tls, sasl) = (kafka.tls.unwrap(), kafka.sasl.unwrap());
    assert_eq!((kafka.prefix.as_str(), kafka.brokers.len(), kafka.topics.partitions), ("blue.", 3, 12));
    assert_eq!(kafka.topics.by_topic["dead"].retention_hours, Some(720));
    assert_eq!(tls.ca_file.unwrap(), std::path::Path::new("/etc/mozdef/kafka-tls/ca.crt"));
    assert_eq!(tls.key_file.unwrap(), std::path::Path::new("/etc/mozdef/kafka-tls/tls.key"));
    assert_eq!(sasl.password_env.as_deref(), Some("MOZDEF_KAFKA_PASSWORD"));
    assert_eq!((config.ingest.http.body_bytes_max, config.correlate.revise_ms), (33_554_432, 3_600_000));
    assert_eq!(config.correlate.rules.len(), 2);
    assert_eq!(config.ingest.http.listen.port(), 8080);
    assert_eq!(config.admin.listen.port(), 9600);
}

/// `UPDATE=1 cargo test -p chart` writes what the configuration has become.
#[test]
fn the_schema_of_config_is_that_of_the_configuration() {
    let file = project("helm/mozdef/values.schema.json");
    let mut schema: Json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let wanted = schema::definitions().unwrap();
    let held = schema["$defs"].as_object_mut().unwrap();
    // Definitions of the chart itself begin with a small letter.
    let is_config = |name: &str| name.starts_with(char::is_uppercase);
    let is_same = held.keys().filter(|name| is_config(name)).count() == wanted.len()
        && wanted.iter().all(|(name, definition)| held.get(name) == Some(definition));
    if is_same {
        return;
    }
    assert!(
        std::env::var_os("UPDATE").is_some(),
        "the configuration has changed: run `UPDATE=1 cargo test -p chart`, then look at values.yaml"
    );
    held.retain(|name, _| !is_config(name));
    held.extend(wanted);
    std::fs::write(file, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let schema: Json =
        serde_json::from_str(&std::fs::read_to_string(project("helm/mozdef/values.schema.json")).unwrap())
            .unwrap();
    let values: Json =
        serde_saphyr::from_str(&std::fs::read_to_string(project("helm/mozdef/values.yaml")).unwrap())
            .unwrap();
    // `global` is helm's; `config` has defaults of its own; a stage is described by `common`.
    let skipped = ["global", "config", "gateway", "normalizer", "correlator", "sink"];
    compare(&schema, &schema, &values, "", &skipped);
}

fn compare(root: &Json, schema: &Json, values: &Json, path: &str, skipped: &[&str]) {
    let schema = match schema.get("$ref").and_then(Json::as_str) {
        Some(link) => root.pointer(link.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
    if properties.is_empty() {
        return;
    }
    assert_eq!(schema["additionalProperties"], false, "{path} takes unknown keys");
    for (key, inner) in properties.iter().filter(|(key, _)| !skipped.contains(&key.as_str())) {
        let is_amounts = path.ends_with(".requests") || path.ends_with(".limits");
        let value = values.get(key);
        assert!(value.is_some() || is_amounts || path.contains(".resources"), "{path}.{key} has no default");
        if let Some(value) = value {
            compare(root, inner, value, &format!("{path}.{key}"), &[]);
        }
    }
}
