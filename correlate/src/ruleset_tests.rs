//! What a set of rules says of itself: references, generations, digests, and
//! the findings of wrong files.

use expect_test::{Expect, expect};

use crate::load::{self, Loaded, Role, SourceFile};

fn load(text: &str) -> Loaded {
    load::files(&[SourceFile { name: "f".into(), role: Role::Rules, text: text.into() }], Vec::new())
}

#[track_caller]
fn findings(text: &str, expected: Expect) {
    let report = load(text).report;
    let lines: Vec<String> = report.errors.iter().chain(&report.warnings).map(|f| format!("{f}\n")).collect();
    expected.assert_eq(&lines.concat());
}

const BASE: &str = "title: base\nid: 1\nname: base\nlogsource: {product: mozdef}\n\
    detection: {a: {x: 1}, condition: a}\n---\n";

fn correlation(more: &str) -> String {
    format!(
        "{BASE}title: c\nname: c\ncorrelation: {{type: event_count, rules: [base], timespan: 1m, {more}}}\n"
    )
}

#[test]
fn correlations_refer_by_name_or_id_and_quiet_what_they_count() {
    let loaded = load(&correlation("group-by: [y], condition: {gte: 2}"));
    let set = &loaded.set;
    assert_eq!((set.detections.len(), set.correlations.len()), (1, 1));
    assert!(!set.detections[0].alerts);
    assert_eq!(set.fed_by(0), [0]);
    assert_eq!(set.fed_by(7), [0; 0]);
    let c = &set.correlations[0];
    assert_eq!((c.members.as_slice(), c.timespan_ms), (&[0][..], 60_000));
    assert!(
        load(&correlation("group-by: [y], condition: {gte: 2}, generate: true")).set.detections[0].alerts
    );
    let by_id = correlation("condition: {gte: 2}").replace("[base]", "['1']");
    assert_eq!(load(&by_id).set.correlations[0].members, [0]);
}

#[test]
fn aliases_name_other_fields_for_each_rule() {
    let other = BASE.replace("base", "other").replace("id: 1", "id: 2");
    let text = other
        + &correlation(
            "group-by: [ip, z], condition: {gte: 2}, aliases: {ip: {base: from.ip, other: to.ip}}",
        )
        .replace("rules: [base]", "rules: [base, other]");
    let set = load(&text).set;
    let shown = |member: usize| -> Vec<String> {
        set.group_by(0, member)
            .iter()
            .map(|f| format!("{}={}", f.name, f.paths[0].keys().collect::<Vec<_>>().join("/")))
            .collect()
    };
    assert_eq!(set.detections[0].info.title, "other");
    assert_eq!(shown(0), ["ip=to/ip", "z=z"]);
    assert_eq!(shown(1), ["ip=from/ip", "z=z"]);
}

#[test]
fn a_generation_is_the_matching_and_nothing_else() {
    let generations = |text: &str| {
        let set = load(text).set;
        (set.detections[0].info.generation.clone(), set.correlations[0].info.generation.clone(), set.digest)
    };
    let text = correlation("group-by: [y], condition: {gte: 2}");
    let first = generations(&text);
    assert_eq!(first, generations(&text));
    assert_eq!((first.0.len(), first.1.len(), first.2.len()), (32, 32, 32));
    // Presentation changes the set's digest alone.
    let titled = generations(&text.replace("title: base", "title: other\nlevel: high"));
    assert_eq!((&titled.0, &titled.1), (&first.0, &first.1));
    assert_ne!(titled.2, first.2);
    // The same meaning in other words is the same generation.
    assert_eq!(generations(&text.replace("{x: 1}", "{x: '1'}")).0, first.0);
    // What decides a match changes the rule's and, through it, the correlation's.
    let changed = generations(&text.replace("{x: 1}", "{x: 2}"));
    assert_ne!(changed.0, first.0);
    assert_ne!(changed.1, first.1);
    let other_count = generations(&text.replace("gte: 2", "gte: 3"));
    assert_eq!(other_count.0, first.0);
    assert_ne!(other_count.1, first.1);
    assert_ne!(generations(&text.replace("timespan: 1m", "timespan: 2m")).1, first.1);
    assert_ne!(generations(&text.replace("group-by: [y]", "group-by: [z]")).1, first.1);
}

#[test]
fn every_finding_of_a_file_is_told_with_its_place() {
    findings(
        r"title: first
id: 1
colour: red
level: hihg
logsource:
  product: mozdef
  servce: sshd
detection:
  sel:
    a|contians: x
    b|re: '(?=x)'
    c|cidr: 10.0.0
  unused: {d: 1}
  condition: sel and not fliter
mozdef:
  severity: LOUD
  summary: '{{ count '
  suppress: {for: 1h}
  summry: x
---
title: second
id: 2
correlation:
  type: value_count
  rules: [nobody]
  timespan: 1m
---
title: third
correlation: {type: event_count, rules: [nobody], timespan: 1x, condition: {gte: 1, lte: 0}}
---
title: fourth
correlation: {type: event_count, rules: [nobody], timespan: 1m, condition: {gte: 1}}
---
title: fifth
description: no rule
---
- a
- list
",
        expect![[r#"
            f:4:8: S026 "level" is one of informational, low, medium, high, critical, not "hihg" (did you mean "high"?)
            f:7:3: S004 "logsource" has no key "servce" (did you mean "service"?)
            f:10:5: S010 unknown modifier "contians" in "a|contians" (did you mean "contains"?)
            f:11:11: S012 "b|re": look-ahead is not supported: it is not linear in time; use a second condition
            f:12:13: S013 "10.0.0" is no network range: write it as 10.0.0.0/8 or 2001:db8::/32
            f:14:26: S017 the condition names "fliter", which "detection" does not have
            f:16:13: S026 "severity" is one of INFO, NOTICE, WARNING, ERROR, CRITICAL, not "LOUD"
            f:17:12: S025 summary template, line 1: unexpected end of input, expected end of variable block
            f:18:3: S019 not supported yet: mozdef.suppress
            f:19:3: S004 "mozdef" has no key "summry" (did you mean "summary"?)
            f:24:3: S006 "condition" is missing from "correlation"
            f:29:61: S022 "1x" is no time span: write a number and s, m, h or d, such as 90m, up to 366d
            f:29:76: S023 no count of events fulfils this condition
            f:32:42: S021 no rule with the id or name "nobody" is loaded
            f:34:1: S008 neither "detection" nor "correlation": this is no rule
            f:37:1: S008 a rule is a map of keys, not a list
            f:3:1: S007 the top-level key "colour" is not known and has no effect
            f:13:3: S018 the search identifier "unused" is not used by the condition
        "#]],
    );
}

#[test]
fn collections_share_what_is_global() {
    let text = "action: global\ntitle: t\nlogsource: {product: mozdef}\n---\nid: 1\ndetection: {a: {x: 1}, condition: a}\n\
        ---\nid: 2\ndetection: {a: {x: 2}, condition: a}\n---\naction: repeat\nid: 3\nlevel: high\n---\naction: once\n";
    let loaded = load(text);
    let ids: Vec<&str> = loaded.set.detections.iter().map(|d| d.info.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let errors: Vec<String> = loaded.report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["f:15:9: S009 unknown action \"once\": use global, reset or repeat"]);
}

#[test]
fn a_rule_with_a_placeholder_is_left_out_by_name() {
    findings(
        "title: t\nlogsource: {product: mozdef}\ndetection: {a: {x|expand: '%admins%'}, condition: a}\n",
        expect![[r#"
            f:3:27: S015 the placeholder %admins% has no values: the rule is not loaded
        "#]],
    );
    let loaded =
        load("title: t\nlogsource: {product: mozdef}\ndetection: {a: {x|expand: '%a%'}, condition: a}\n");
    assert_eq!((loaded.report.rules, loaded.report.errors.len()), (0, 0));
}
