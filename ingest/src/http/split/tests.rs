//! Tests of splitting: a table, and properties against naive splitting.

use model::event::{Event, Limits};
use proptest::prelude::*;

use super::{TooMany, line_number, split_json, split_lines};

fn limits() -> Limits {
    Limits { bytes_max: 64, depth_max: 4, fields_max: 16 }
}

/// Good pieces as they are, bad ones as `!reason:text`, separated by `|`.
fn shown(body: &[u8], limits: &Limits) -> String {
    let pieces = split_json(body, limits, 1000).unwrap();
    let show = |piece: &super::Piece| {
        let text = String::from_utf8_lossy(&body[piece.range.clone()]).into_owned();
        piece.problem.as_ref().map_or(text.clone(), |problem| format!("!{}:{text}", problem.reason()))
    };
    pieces.iter().map(show).collect::<Vec<_>>().join("|")
}

#[track_caller]
fn check(body: &str, expected: &str) {
    assert_eq!(shown(body.as_bytes(), &limits()), expected, "{body}");
}

#[test]
fn every_form_of_json_is_split() {
    check("", "");
    check(" \r\n\t ", "");
    check(r#"{"a":1}"#, r#"{"a":1}"#);
    check("\u{feff}{\"a\":1}", r#"{"a":1}"#);
    check("{\"a\":1}\n{\"b\":2}\n", r#"{"a":1}|{"b":2}"#);
    check("{\"a\":1}\r\n\r\n {\"b\":2}", r#"{"a":1}|{"b":2}"#);
    check(r#"{"a":1}{"b":2} {"c":3}"#, r#"{"a":1}|{"b":2}|{"c":3}"#);
    check("[]", "");
    check(" [ {\"a\":1} ,\n{\"b\":[2]}\t] ", r#"{"a":1}|{"b":[2]}"#);
    check("[{\"a\":1}]\n{\"b\":2}\n[{\"c\":3}]", r#"{"a":1}|{"b":2}|{"c":3}"#);
    check("{\n \"a\": 1\n}\n{\n \"b\": 2\n}\n", "{\n \"a\": 1\n}|{\n \"b\": 2\n}");
}

#[test]
fn a_bad_line_leaves_its_neighbours_alone() {
    check("{\"a\":1}\nbroken line\n{\"c\":3}", r#"{"a":1}|!malformed_json:broken line|{"c":3}"#);
    check("{\"a\":1\n{\"b\":2}\n", r#"!malformed_json:{"a":1|{"b":2}"#);
    check("{\"a\":\"1\n{\"b\":2}\n", r#"!malformed_json:{"a":"1|{"b":2}"#);
    check(
        "5\n{\"b\":2}\nnull true\n\"x\"",
        r#"!not_an_object:5|{"b":2}|!not_an_object:null true|!not_an_object:"x""#,
    );
    check("{\"a\":1}{\"b\"", r#"{"a":1}|!malformed_json:{"b""#);
    check("{\"a\":1}\n[{\"x\":1},oops]\n{\"b\":2}", r#"{"a":1}|!malformed_json:[{"x":1},oops]|{"b":2}"#);
}

#[test]
fn an_array_keeps_its_good_elements_and_stands_or_falls_by_its_syntax() {
    check(r#"[{"a":1},5,[{"x":1}],{"b":2}]"#, r#"{"a":1}|!not_an_object:5|!not_an_object:[{"x":1}]|{"b":2}"#);
    check(r#"[{"a":1},{"b":},{"c":3}]"#, r#"!malformed_json:[{"a":1},{"b":},{"c":3}]"#);
    check(r#"[{"a":1},]"#, r#"!malformed_json:[{"a":1},]"#);
    check(r#"[{"a":1} {"b":2}]"#, r#"!malformed_json:[{"a":1} {"b":2}]"#);
    check("[{\"a\":1}\n", r#"!malformed_json:[{"a":1}"#);
    check("[", "!malformed_json:[");
}

#[test]
fn no_inner_line_of_a_broken_document_becomes_an_event() {
    let body = "{\n \"list\": [\n {\"x\":1}\n ]\n \"b\": 2\n}\n";
    check(body, &format!("!malformed_json:{}", body.trim_end()));
}

#[test]
fn events_over_a_limit_are_known_in_their_whole_extent() {
    check(r#"{"a":[[[[1]]]]}{"b":2}"#, r#"!too_deep:{"a":[[[[1]]]]}|{"b":2}"#);
    check(r#"[{"a":[[[["]"]]]]},{"b":2}]"#, r#"!too_deep:{"a":[[[["]"]]]]}|{"b":2}"#);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(64));
    check(&format!("{long}\n{{\"b\":2}}"), &format!("!too_large:{long}|{{\"b\":2}}"));
    let wide = format!("{{{}}}", (0..17).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
    let limits = Limits { bytes_max: 1000, ..limits() };
    assert_eq!(shown(format!("{wide}{{}}").as_bytes(), &limits), format!("!too_many_fields:{wide}|{{}}"));
}

#[test]
fn depth_without_end_costs_one_pass() {
    for opening in ["[", "{\"a\":", "[{\"a\":"] {
        let body = opening.repeat(20_000);
        let pieces = split_json(body.as_bytes(), &limits(), 10).unwrap();
        assert_eq!(pieces.len(), 1, "{opening}");
        let lines = format!("{opening}\n").repeat(20_000);
        assert!(split_json(lines.as_bytes(), &limits(), 30_000).unwrap().iter().all(|p| p.problem.is_some()));
    }
}

#[test]
fn the_number_of_events_is_bounded() {
    assert_eq!(split_json(b"{}{}{}", &limits(), 2), Err(TooMany));
    assert_eq!(split_json(b"[{},{},{}]", &limits(), 2), Err(TooMany));
    assert_eq!(split_lines(b"a\nb\nc", &limits(), 2), Err(TooMany));
}

#[test]
fn lines_of_text_are_split() {
    let body = [&b"<13>a\r\n\n \t\nb\xEF\n"[..], &[b'y'; 65], b"\nlast"].concat();
    let pieces = split_lines(&body, &limits(), 10).unwrap();
    let texts: Vec<_> = pieces.iter().map(|p| (&body[p.range.clone()], p.problem.is_some())).collect();
    assert_eq!(texts[0], (&b"<13>a"[..], false));
    assert_eq!(texts[1], (&b"b\xEF"[..], false));
    assert!(texts[2].1);
    assert_eq!(texts[3], (&b"last"[..], false));
    assert_eq!(texts.len(), 4);
}

#[test]
fn lines_are_counted_from_one() {
    assert_eq!(line_number(b"a\nb\nc", 0), 1);
    assert_eq!(line_number(b"a\nb\nc", 2), 2);
    assert_eq!(line_number(b"a\nb\nc", 99), 3);
}

fn an_object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(serde_json::Value::from),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
    ];
    let inner = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[\\[\\]{}\",a-c]{0,3}", inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

proptest! {
    /// However they are put together, the same events come out, byte for byte, and each parses.
    #[test]
    fn any_split_gives_the_same_events(objects in prop::collection::vec(an_object(), 1..8),
                                       separators in prop::collection::vec("[ \\n\\t\\r]{0,2}", 8),
                                       pretty in any::<bool>()) {
        let texts: Vec<String> = objects.iter()
            .map(|o| if pretty { serde_json::to_string_pretty(o).unwrap() } else { o.to_string() }).collect();
        let concatenated: String = texts.iter().zip(&separators).flat_map(|(t, s)| [t.as_str(), s.as_str()]).collect();
        let array = format!("[{}]", texts.iter().zip(&separators)
            .map(|(t, s)| format!("{s}{t}{s}")).collect::<Vec<_>>().join(","));
        for body in [texts.join("\n"), concatenated, array] {
            let pieces = split_json(body.as_bytes(), &Limits::default(), 1000).unwrap();
            let got: Vec<&str> = pieces.iter().map(|p| body.get(p.range.clone()).unwrap()).collect();
            prop_assert!(pieces.iter().all(|p| p.problem.is_none()));
            prop_assert_eq!(&got, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    /// Nothing of the body is lost, pieces are in order, and what is called good parses as an event.
    #[test]
    fn hostile_bytes_are_covered_and_good_pieces_parse(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(prop::sample::select(&b"{}[]\",:\\\n 1ae\x00\xFF"[..]), 0..200),
        ]
    ) {
        let pieces = split_json(&body, &limits(), 1000).unwrap();
        let mut covered_to = super::start(&body);
        for piece in &pieces {
            prop_assert!(piece.range.start >= covered_to && piece.range.end >= piece.range.start);
            // Blanks that JSON does not know (form feed) are a problem without bytes.
            prop_assert!(!piece.range.is_empty() || piece.problem.is_some());
            let between = &body[covered_to..piece.range.start];
            prop_assert!(between.iter().all(|b| b" \t\r\n\x0C,[]".contains(b)), "{between:?} was lost");
            covered_to = piece.range.end;
            if piece.problem.is_none() {
                prop_assert!(Event::new().parse(&body[piece.range.clone()], &limits()).is_ok());
            }
        }
        // As between pieces: of an empty array nothing is a piece.
        prop_assert!(body[covered_to..].iter().all(|b| b" \t\r\n\x0C,[]".contains(b)));
    }
}
