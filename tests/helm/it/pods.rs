//! Pods: restricted, probed, drained, spread, with the right files and variables.

use std::collections::BTreeSet;

use chart::manifest::{Manifest, Object};
use chart::tools;
use serde_json::{Value as Json, json};

use crate::{SETS, STAGES};

/// Every workload of every set.
fn each_workload(check: impl Fn(&str, &Manifest, &Object)) {
    if !tools::ready().unwrap() {
        return;
    }
    let mut count = 0;
    for set in SETS {
        let manifest = Manifest::render(set, &[]).unwrap();
        for workload in manifest.workloads() {
            check(set, &manifest, workload);
            count += 1;
        }
    }
    assert_eq!(count, 20, "four sets with four stages and a job");
}

#[test]
fn every_pod_is_restricted() {
    each_workload(|set, _, workload| {
        let place = format!("{set}: {workload}");
        let pod = |key: &str| workload.at(&format!("/spec/template/spec/{key}")).clone();
        assert_eq!(workload.list("/spec/template/spec/containers").len(), 1, "{place}");
        assert_eq!(pod("automountServiceAccountToken"), false, "{place}");
        assert_eq!(pod("enableServiceLinks"), false, "{place}");
        assert_eq!(pod("securityContext/runAsNonRoot"), true, "{place}");
        assert!(pod("securityContext/runAsUser").as_u64().unwrap() > 0, "{place}");
        assert_eq!(pod("securityContext/seccompProfile/type"), "RuntimeDefault", "{place}");
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod(key).is_null(), "{place}: {key}");
        }
        let container = workload.container();
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(*container.at("/securityContext"), expected, "{place}");
        for key in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"] {
            assert!(!container.text(key).is_empty(), "{place}: {key}");
        }
        let mut volumes = workload.list("/spec/template/spec/volumes").iter();
        assert!(volumes.all(|volume| volume.get("hostPath").is_none()), "{place}");
        assert!(!container.text("/image").ends_with(":latest"), "{place}");
    });
}

#[test]
fn every_mount_has_its_volume_and_tmp_is_writable() {
    each_workload(|set, _, workload| {
        let names = |list: &[Json]| list.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        let volumes: BTreeSet<String> = names(workload.list("/spec/template/spec/volumes"));
        let container = workload.container();
        let mounts: BTreeSet<String> = names(container.list("/volumeMounts"));
        // The job has no use for what the values add for the stages.
        assert_eq!(mounts, volumes, "{set}: {workload}");
        let tmp = workload.list("/spec/template/spec/volumes").iter().find(|v| v["name"] == "tmp").unwrap();
        assert!(tmp["emptyDir"]["sizeLimit"].is_string(), "{set}: {workload}");
        let paths: Vec<_> =
            container.list("/volumeMounts").iter().map(|m| m["mountPath"].as_str().unwrap()).collect();
        assert!(paths.contains(&"/tmp") && paths.contains(&"/etc/mozdef/mozdef.yaml"), "{set}: {paths:?}");
        assert_eq!(variable(&container, "MOZDEF_CONFIG")["value"], "/etc/mozdef/mozdef.yaml");
    });
}

fn variable(container: &Object, name: &str) -> Json {
    let found: Vec<_> = container.list("/env").iter().filter(|variable| variable["name"] == name).collect();
    assert!(found.len() <= 1, "{name} is given twice");
    found.first().map_or(Json::Null, |variable| (*variable).clone())
}

#[test]
fn every_stage_is_a_command_with_probes_and_a_name() {
    each_workload(|set, _, workload| {
        if workload.kind() != "Deployment" {
            return;
        }
        let container = workload.container();
        let stage = container.text("/name");
        assert!(STAGES.contains(&stage), "{stage}");
        let is_text = set == "minimal";
        let arguments = if is_text { json!([stage]) } else { json!([stage, "--log-json"]) };
        assert_eq!(*container.at("/args"), arguments, "{set}");
        assert_eq!(
            variable(&container, "MOZDEF_INSTANCE")["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.name",
            "{set}: {stage}"
        );
        let ports: Vec<_> =
            container.list("/ports").iter().map(|p| p["containerPort"].as_u64().unwrap()).collect();
        assert_eq!(ports, if stage == "gateway" { vec![8080, 9600] } else { vec![9600] });
        for (probe, path) in [("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")] {
            let get = container.at(&format!("/{probe}Probe/httpGet"));
            assert_eq!(*get, json!({"path": path, "port": "admin"}), "{set}: {stage}: {probe}");
        }
        // A broker that is away must make nobody restart.
        assert_ne!(container.text("/livenessProbe/httpGet/path"), "/readyz");
    });
}

#[test]
fn a_stage_has_time_to_drain_and_the_gateway_leaves_the_proxies_first() {
    each_workload(|set, _, workload| {
        if workload.kind() != "Deployment" {
            return;
        }
        let container = workload.container();
        let pause = container.number("/lifecycle/preStop/sleep/seconds");
        let grace = workload.number("/spec/template/spec/terminationGracePeriodSeconds");
        assert!(grace > pause + 10, "{set}: {workload}: {grace}");
        let is_gateway = container.text("/name") == "gateway";
        assert_eq!(pause > 0, is_gateway, "{set}: {workload}");
        let (surge, away) = if is_gateway { (1, 0) } else { (0, 1) };
        let update = workload.at("/spec/strategy/rollingUpdate");
        assert_eq!(*update, json!({"maxSurge": surge, "maxUnavailable": away}), "{set}: {workload}");
    });
}

#[test]
fn passwords_come_from_secrets_and_go_where_they_are_needed() {
    each_workload(|set, _, workload| {
        let container = workload.container();
        for variable in container.list("/env") {
            let name = variable["name"].as_str().unwrap();
            assert!(!name.contains("PASSWORD") || variable["value"].is_null(), "{set}: {name}");
        }
        let kafka = &variable(&container, "MOZDEF_KAFKA_PASSWORD")["valueFrom"]["secretKeyRef"];
        let index = &variable(&container, "MOZDEF_OPENSEARCH_PASSWORD")["valueFrom"]["secretKeyRef"];
        match set {
            "production" => assert_eq!(*kafka, json!({"name": "mozdef-kafka", "key": "password"})),
            "keda" => assert_eq!(*kafka, json!({"name": "kafka-user", "key": "pass"})),
            _ => assert!(kafka.is_null()),
        }
        let is_sink = container.text("/name") == "sink";
        assert_eq!(!index.is_null(), is_sink && set == "production", "{set}: {workload}");
    });
}

#[test]
fn a_changed_configuration_starts_new_pods_and_nothing_else_does() {
    if !tools::ready().unwrap() {
        return;
    }
    let sums = |more: &[&str]| -> Vec<String> {
        let manifest = Manifest::render("default", more).unwrap();
        manifest.of("Deployment").map(|d| d.at("/spec/template").to_string()).collect()
    };
    let before = sums(&[]);
    assert_eq!(before, sums(&["--set", "service.port=80"]));
    let after = sums(&["--set", "config.sink.shards=2"]);
    assert!(before.len() == 4 && before.iter().zip(&after).all(|(a, b)| a != b));
}

/// Also where the stage's own value is false, zero or empty.
#[test]
fn a_stage_s_own_values_win_over_the_common_ones() {
    if !tools::ready().unwrap() {
        return;
    }
    let own = "gateway.enabled=false,normalizer.replicas=0,correlator.spread=false";
    let more = [
        "--set",
        own,
        "--set",
        "common.tolerations[0].key=dedicated",
        "--set",
        "sink.podDisruptionBudget.enabled=false",
    ];
    let manifest = Manifest::render("default", &more).unwrap();
    let deployment = |stage: &str| manifest.find("Deployment", &format!("try-mozdef-{stage}"));
    assert!(deployment("gateway").is_none() && manifest.of("Service").next().is_none());
    assert_eq!(deployment("normalizer").unwrap().number("/spec/replicas"), 0);
    assert_eq!(deployment("sink").unwrap().number("/spec/replicas"), 2);
    let spread =
        |stage: &str| deployment(stage).unwrap().list("/spec/template/spec/topologySpreadConstraints").len();
    assert_eq!((spread("correlator"), spread("sink")), (0, 2));
    assert_eq!(deployment("correlator").unwrap().list("/spec/template/spec/tolerations").len(), 1);
    let budgets: Vec<_> = manifest.of("PodDisruptionBudget").map(Object::name).collect();
    assert_eq!(budgets, ["try-mozdef-normalizer", "try-mozdef-correlator"]);
}

#[test]
fn where_pods_go_is_by_values() {
    if !tools::ready().unwrap() {
        return;
    }
    let manifest = Manifest::render("production", &[]).unwrap();
    for deployment in manifest.of("Deployment") {
        let pod = |key: &str| deployment.at(&format!("/spec/template/spec/{key}"));
        assert_eq!(*pod("priorityClassName"), "security");
        assert_eq!(*pod("nodeSelector"), json!({"pool": "siem"}));
        assert_eq!(pod("tolerations/0/value"), "siem");
        assert_eq!(*pod("imagePullSecrets"), json!([{"name": "registry-login"}]));
        let keys: Vec<_> = deployment
            .list("/spec/template/spec/topologySpreadConstraints")
            .iter()
            .map(|spread| spread["topologyKey"].as_str().unwrap())
            .collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
        assert_eq!(*deployment.at("/spec/template/metadata/labels/team"), "blue");
        assert!(
            deployment.container().text("/image").starts_with("registry.example.org/security/mozdef@sha256:")
        );
    }
    let correlator = manifest.find("Deployment", "siem-correlator").unwrap();
    assert_eq!(correlator.number("/spec/replicas"), 4);
    assert_eq!(variable(&correlator.container(), "RUST_LOG")["value"], "info");
    let mounts = correlator.container();
    let rules =
        mounts.list("/volumeMounts").iter().filter(|m| m["mountPath"].as_str().unwrap().contains("/rules/"));
    assert_eq!(rules.count(), 2);
}
