//! The recorded cases of SigmaHQ: each event fits the rule that it was recorded for, in every shape in which tools
//! send it, and not when it comes from another source.

use std::path::{Path, PathBuf};

use normalize::offline::Input;
use serde_json::{Value, json};

use super::{Way, archive, load};

/// A recorded case: the rule, how often it must match where that is said, and its events.
struct Case {
    rule: String,
    wanted: Option<usize>,
    events: Vec<Value>,
    lines: Vec<String>,
}

fn cases(folder: &Path) -> Vec<Case> {
    let mut folders = vec![folder.to_owned()];
    let mut cases = Vec::new();
    while let Some(folder) = folders.pop() {
        let paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("json" | "raw") => cases.push(case(&path)),
                _ => {}
            }
        }
    }
    cases.sort_by(|a, b| a.rule.cmp(&b.rule));
    cases
}

fn case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    let info = std::fs::read_to_string(path.with_file_name("info.yml")).unwrap();
    let count = |line: &str| line.trim().strip_prefix("match_count:").map(|n| n.trim().parse().unwrap());
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let documents = || serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    Case {
        rule: path.file_stem().unwrap().to_string_lossy().into_owned(),
        wanted: info.lines().find_map(count),
        events: if is_json { documents().map(|value| value.unwrap()).collect() } else { Vec::new() },
        lines: if is_json { Vec::new() } else { text.lines().map(str::to_owned).collect() },
    }
}

/// What tools make of an event that evtx_dump wrote.
fn shapes(event: &Value) -> [(&'static str, Value); 4] {
    let system = &event["Event"]["System"];
    let data = event["Event"]["EventData"].as_object().cloned().unwrap_or_default();
    let provider = &system["Provider"]["#attributes"]["Name"];
    let time = &system["TimeCreated"]["#attributes"]["SystemTime"];
    let winlog = json!({
        "@timestamp": time, "message": "as rendered", "host": {"name": system["Computer"]}, "ecs": {"version": "8"},
        "event": {"code": "x", "kind": "event"}, "log": {"level": "information"}, "user": {"name": "somebody"},
        "winlog": {
            "channel": system["Channel"], "event_id": system["EventID"].to_string(), "provider_name": provider,
            "computer_name": system["Computer"], "event_data": data,
        },
    });
    let mut nxlog = json!({
        "EventTime": time, "Hostname": system["Computer"], "EventID": system["EventID"], "SourceName": provider,
        "Channel": system["Channel"], "Message": "as rendered", "SourceModuleType": "im_msvistalog",
    });
    nxlog.as_object_mut().unwrap().extend(data.clone());
    let element = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        json!({"@Name": name, "#text": text})
    };
    let payload = json!({"EventData": {"Data": data.iter().map(element).collect::<Vec<_>>()}});
    let ecmd = json!({
        "Channel": system["Channel"], "EventId": system["EventID"], "Provider": provider, "Computer": system["Computer"],
        "TimeCreated": time, "MapDescription": "what it is", "Payload": payload.to_string(), "ProcessId": 4,
    });
    [("evtx_dump", event.clone()), ("winlogbeat", winlog), ("nxlog", nxlog), ("EvtxECmd", ecmd)]
}

#[test]
fn each_case_fits_its_rule_in_every_shape() {
    let Some((sigma, folder)) = archive() else { return };
    let loaded = load(folder.path());
    let mut way = Way::new(&loaded.set);
    let mut failed = Vec::new();
    let cases = cases(&sigma.join("regression"));
    for case in &cases {
        let rule = loaded.set.detections.iter().position(|detection| detection.info.id == case.rule);
        let rule = rule.unwrap_or_else(|| panic!("{} is not loaded", case.rule));
        let mut counts = [0; 4];
        for event in &case.events {
            for (count, (_, shaped)) in counts.iter_mut().zip(shapes(event)) {
                *count += usize::from(way.hits(Input::Json, shaped.to_string().as_bytes()).contains(&rule));
            }
        }
        for line in &case.lines {
            counts = counts
                .map(|count| count + usize::from(way.hits(Input::Syslog, line.as_bytes()).contains(&rule)));
        }
        // Some cases count one match although each of their events fits the rule by its very words.
        let all = case.events.len() + case.lines.len();
        let right = |wanted: usize| counts == [wanted; 4] || counts == [all; 4];
        let is_right = case.wanted.map_or(counts[0] > 0 && counts == [counts[0]; 4], right);
        if !is_right {
            failed.push(format!("{}: {counts:?} of {all}, wanted {:?}", case.rule, case.wanted));
        }
    }
    println!("{} cases", cases.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(cases.len() >= 102);
}

/// The same data from another channel is another source: no rule of a category or service may fire on it.
#[test]
fn no_rule_fires_on_the_events_of_another_source() {
    let Some((sigma, folder)) = archive() else { return };
    let loaded = load(folder.path());
    let mut way = Way::new(&loaded.set);
    let mut tried = 0;
    for case in cases(&sigma.join("regression")) {
        for mut event in case.events {
            for channel in ["Microsoft-Windows-Kernel-Process/Analytic", "Setup"] {
                event["Event"]["System"]["Channel"] = channel.into();
                for (tool, shaped) in shapes(&event) {
                    let raw = shaped.to_string();
                    let hits = way.hits(Input::Json, raw.as_bytes()).to_vec();
                    let titles =
                        hits.iter().map(|hit| &loaded.set.detections[*hit].info.title).collect::<Vec<_>>();
                    assert!(titles.is_empty(), "{tool}: {titles:?} on {raw}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 800, "{tried}");
}
