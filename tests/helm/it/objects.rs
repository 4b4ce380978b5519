//! Objects: what one names is there, selectors choose what they should, and what is off is away.

use std::collections::{BTreeMap, BTreeSet};

use chart::manifest::{Manifest, Object};
use chart::tools;
use serde_json::{Value as Json, json};

use crate::{SETS, STAGES};

/// Objects outside the chart that a value set names.
const EXISTING: &[(&str, &[&str])] = &[
    ("ConfigMap", &["team-rules", "more-rules"]),
    (
        "Secret",
        &[
            "mozdef-kafka-tls",
            "mozdef-kafka",
            "mozdef-opensearch",
            "registry-login",
            "kafka-ca",
            "kafka-user",
            "events-tls",
        ],
    ),
    ("ServiceAccount", &["mozdef", "default"]),
    ("PersistentVolumeClaim", &["geoip"]),
];

fn each_set(check: impl Fn(&str, &Manifest)) {
    if !tools::ready().unwrap() {
        return;
    }
    for set in SETS {
        check(set, &Manifest::render(set, &[]).unwrap());
    }
}

#[test]
fn a_set_has_the_kinds_that_it_asks_for() {
    let expected = |set: &str| -> &[(&str, usize)] {
        match set {
            "default" => &[
                ("ConfigMap", 2),
                ("Deployment", 4),
                ("Job", 1),
                ("NetworkPolicy", 3),
                ("PodDisruptionBudget", 4),
                ("Service", 1),
                ("ServiceAccount", 1),
            ],
            "minimal" => {
                &[("ConfigMap", 1), ("Deployment", 4), ("Job", 1), ("Service", 1), ("ServiceAccount", 1)]
            }
            "production" => &[
                ("ConfigMap", 3),
                ("Deployment", 4),
                ("HorizontalPodAutoscaler", 3),
                ("Ingress", 1),
                ("Job", 1),
                ("NetworkPolicy", 3),
                ("PodDisruptionBudget", 4),
                ("PrometheusRule", 1),
                ("Service", 2),
                ("ServiceMonitor", 1),
            ],
            "keda" => &[
                ("ConfigMap", 1),
                ("Deployment", 4),
                ("Job", 1),
                ("NetworkPolicy", 3),
                ("PodDisruptionBudget", 4),
                ("ScaledObject", 4),
                ("Service", 2),
                ("ServiceAccount", 1),
                ("ServiceMonitor", 1),
                ("TriggerAuthentication", 1),
            ],
            _ => &[("ConfigMap", 1)],
        }
    };
    each_set(|set, manifest| {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for object in &manifest.objects {
            *kinds.entry(object.kind()).or_default() += 1;
            assert!(names.insert(object.to_string()), "{set}: {object} is there twice");
            assert_eq!(object.text("/metadata/namespace"), "siem", "{set}: {object}");
            let labels = object.at("/metadata/labels");
            assert_eq!(labels["app.kubernetes.io/instance"], "try", "{set}: {object}");
        }
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected(set), "{set}");
    });
}

#[test]
fn what_an_object_names_is_there() {
    each_set(|set, manifest| {
        let is_there = |kind: &str, name: &str| {
            let is_existing = EXISTING.iter().any(|(other, names)| *other == kind && names.contains(&name));
            assert!(manifest.find(kind, name).is_some() || is_existing, "{set}: there is no {kind} {name}");
        };
        for workload in manifest.workloads() {
            is_there("ServiceAccount", workload.text("/spec/template/spec/serviceAccountName"));
            let mut named = Vec::new();
            references(workload.at("/spec/template/spec"), &mut named);
            named.iter().for_each(|(kind, name)| is_there(kind, name));
        }
        for scaler in manifest.of("HorizontalPodAutoscaler").chain(manifest.of("ScaledObject")) {
            is_there("Deployment", scaler.text("/spec/scaleTargetRef/name"));
            let deployment = manifest.find("Deployment", scaler.text("/spec/scaleTargetRef/name")).unwrap();
            assert!(
                deployment.at("/spec/replicas").is_null(),
                "{set}: {deployment} and its scaler would fight"
            );
            for trigger in scaler.list("/spec/triggers").iter().filter(|trigger| trigger["type"] == "kafka") {
                is_there("TriggerAuthentication", trigger["authenticationRef"]["name"].as_str().unwrap());
            }
        }
        for ingress in manifest.of("Ingress") {
            is_there("Service", ingress.text("/spec/rules/0/http/paths/0/backend/service/name"));
            is_there("Secret", ingress.text("/spec/tls/0/secretName"));
        }
    });
}

/// Kinds and names of ConfigMaps, Secrets and claims that a pod needs.
fn references(value: &Json, named: &mut Vec<(&'static str, String)>) {
    let Json::Object(members) = value else {
        value.as_array().into_iter().flatten().for_each(|element| references(element, named));
        return;
    };
    for (key, inner) in members {
        let mut add = |kind, name: &Json| named.extend(name.as_str().map(|name| (kind, name.to_owned())));
        match key.as_str() {
            "configMap" | "configMapKeyRef" | "configMapRef" => add("ConfigMap", &inner["name"]),
            "secret" => add("Secret", &inner["secretName"]),
            "secretKeyRef" | "secretRef" => add("Secret", &inner["name"]),
            "persistentVolumeClaim" => add("PersistentVolumeClaim", &inner["claimName"]),
            "imagePullSecrets" => {
                inner.as_array().into_iter().flatten().for_each(|one| add("Secret", &one["name"]))
            }
            _ => references(inner, named),
        }
    }
}

#[test]
fn selectors_choose_the_pods_of_one_stage_and_ports_exist() {
    each_set(|set, manifest| {
        let chosen = |selector: &Json| -> Vec<&Object> {
            let labels = |workload: &&Object| {
                Object::labels_match(workload.at("/spec/template/metadata/labels"), selector)
            };
            manifest.workloads().filter(labels).collect()
        };
        for deployment in manifest.of("Deployment") {
            let own = chosen(deployment.at("/spec/selector/matchLabels"));
            assert_eq!(own.len(), 1, "{set}: {deployment}");
            assert_eq!(own[0].name(), deployment.name());
        }
        for budget in manifest.of("PodDisruptionBudget") {
            let own = chosen(budget.at("/spec/selector/matchLabels"));
            assert_eq!(own.iter().map(|o| o.name()).collect::<Vec<_>>(), [budget.name()], "{set}");
        }
        for service in manifest.of("Service") {
            let own = chosen(service.at("/spec/selector"));
            let wanted = if service.name().ends_with("-metrics") { STAGES.len() } else { 1 };
            let own: Vec<_> = own.into_iter().filter(|workload| workload.kind() == "Deployment").collect();
            assert_eq!(own.len(), wanted, "{set}: {service}");
            for workload in own {
                let has_port = |port: &Json| {
                    workload
                        .container()
                        .list("/ports")
                        .iter()
                        .any(|other| other["name"] == port["targetPort"])
                };
                assert!(service.list("/spec/ports").iter().all(has_port), "{set}: {service}");
            }
        }
        for monitor in manifest.of("ServiceMonitor") {
            let selector = monitor.at("/spec/selector/matchLabels");
            let services: Vec<_> = manifest
                .of("Service")
                .filter(|s| Object::labels_match(s.at("/metadata/labels"), selector))
                .collect();
            assert_eq!(services.len(), 1, "{set}: the monitor chooses one service");
            assert_eq!(
                *services[0].at("/spec/publishNotReadyAddresses"),
                true,
                "{set}: who is not ready is watched"
            );
            assert_eq!(services[0].at("/spec/ports/0/name"), monitor.at("/spec/endpoints/0/port"), "{set}");
        }
    });
}

#[test]
fn network_policies_close_everything_and_open_what_is_needed() {
    each_set(|set, manifest| {
        let policies: Vec<_> = manifest.of("NetworkPolicy").collect();
        if policies.is_empty() {
            return;
        }
        for workload in manifest.workloads() {
            let labels = workload.at("/spec/template/metadata/labels");
            let holds = |policy: &&&Object, way: &str| {
                Object::labels_match(labels, policy.at("/spec/podSelector/matchLabels"))
                    && policy.list("/spec/policyTypes").iter().any(|other| other == way)
            };
            for way in ["Ingress", "Egress"] {
                assert!(policies.iter().any(|p| holds(&p, way)), "{set}: {workload} is open to {way}");
            }
            let out: BTreeSet<u64> = policies
                .iter()
                .filter(|p| holds(p, "Egress"))
                .flat_map(|p| p.list("/spec/egress"))
                .flat_map(|rule| rule["ports"].as_array().unwrap())
                .map(|port| port["port"].as_u64().unwrap())
                .collect();
            let mut wanted = BTreeSet::from([53]);
            wanted.extend(match set {
                "production" => vec![9094, 9095],
                "keda" => vec![9093],
                _ => vec![9092],
            });
            if workload.container().text("/name") == "sink" {
                wanted.insert(if set == "production" { 443 } else { 9200 });
            }
            assert_eq!(out, wanted, "{set}: {workload}");
        }
    });
}

#[test]
fn no_scaler_goes_beyond_the_partitions() {
    each_set(|set, manifest| {
        for scaler in manifest.of("HorizontalPodAutoscaler").chain(manifest.of("ScaledObject")) {
            let most = scaler.number("/spec/maxReplicas") + scaler.number("/spec/maxReplicaCount");
            let partitions = if set == "production" { 12 } else { 24 };
            assert!(most <= partitions || scaler.name().ends_with("-gateway"), "{set}: {scaler}: {most}");
        }
        if set == "keda" {
            let triggers = |stage: &str| {
                let scaler = manifest.find("ScaledObject", &format!("try-siem-{stage}")).unwrap();
                let group = |trigger: &Json| {
                    let text = |key: &str| trigger["metadata"][key].as_str().unwrap_or_default().to_owned();
                    (text("consumerGroup"), text("topic"), text("lagThreshold"))
                };
                scaler.list("/spec/triggers").iter().map(group).collect::<Vec<_>>()
            };
            let row = |group: &str, topic: &str| (group.to_owned(), topic.to_owned(), "1000000".to_owned());
            assert_eq!(triggers("normalizer"), [row("siem-mozdef-normalizer", "siem-raw")]);
            assert_eq!(
                triggers("correlator"),
                [row("siem-mozdef-match", "siem-events"), row("siem-mozdef-window", "siem-matches")]
            );
            assert_eq!(
                triggers("sink"),
                [row("siem-mozdef-event-sink", "siem-events"), row("siem-mozdef-alert-sink", "siem-alerts")]
            );
            assert_eq!(triggers("gateway").len(), 1);
        }
    });
}

#[test]
fn topics_are_made_before_anything_needs_them() {
    each_set(|set, manifest| {
        let Some(job) = manifest.of("Job").next() else {
            assert_eq!(set, "off");
            return;
        };
        assert_eq!(*job.container().at("/args"), json!(["topics", "apply"]), "{set}");
        // What is refused is refused again; what is out of reach may come.
        assert_eq!(*job.at("/spec/podFailurePolicy/rules/0/onExitCodes/values"), json!([2]), "{set}");
        assert_eq!(job.text("/spec/template/spec/restartPolicy"), "Never", "{set}");
        let hook = |object: &Object| object.text("/metadata/annotations/helm.sh~1hook").to_owned();
        let weight = |object: &Object| -> i32 {
            object.text("/metadata/annotations/helm.sh~1hook-weight").parse().unwrap()
        };
        let config =
            manifest.find("ConfigMap", job.text("/spec/template/spec/volumes/0/configMap/name")).unwrap();
        if matches!(set, "minimal" | "keda") {
            // Beside the stages: a Job cannot be changed, so a changed one has another name.
            assert_eq!((hook(job), hook(config)), (String::new(), String::new()), "{set}");
            let other =
                Manifest::render(set, &["--set", "config.log.kafka.topics.retention_hours=5"]).unwrap();
            assert_ne!(other.of("Job").next().unwrap().name(), job.name(), "{set}");
            let same = Manifest::render(set, &["--set", "service.port=99"]).unwrap();
            assert_eq!(same.of("Job").next().unwrap().name(), job.name(), "{set}");
        } else {
            // A hook runs before everything else, so all that it names comes with it.
            assert_eq!(
                (hook(job).as_str(), hook(config).as_str()),
                ("pre-install,pre-upgrade", "pre-install,pre-upgrade")
            );
            assert!(weight(config) < weight(job), "{set}");
            assert_eq!(job.text("/spec/template/spec/serviceAccountName"), "default", "{set}");
        }
    });
}
