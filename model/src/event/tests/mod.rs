//! Reads, edits and output of the event, by tables.

mod differential;
mod edits;
mod hostile;

use super::{EditError, Event, Flags, Limits, New, ParseError, Path, Visit, scan_value};

fn event(json: &str) -> Event {
    Event::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[track_caller]
fn check_parse(json: &str, expected: Result<&str, ParseError>) {
    let got = Event::from_json(json).map(|e| e.to_json());
    assert_eq!(got, expected.map(str::to_owned), "{json}");
}

fn syntax(at: usize, what: &'static str) -> Result<&'static str, ParseError> {
    Err(ParseError::Syntax { at, what })
}

#[test]
fn objects_are_taken_and_written_compactly() {
    check_parse("{}", Ok("{}"));
    check_parse(" \n{ \"a\" : [ ] ,\"b\":{ } }\t", Ok(r#"{"a":[],"b":{}}"#));
    check_parse(
        r#"{"a":[1,-0,1.50,2E+3,18446744073709551617,1e400]}"#,
        Ok(r#"{"a":[1,-0,1.50,2E+3,18446744073709551617,1e400]}"#),
    );
    check_parse(r#"{"":"","a\"b":"\u0041\n\/","ä":"\ud83d\ude00"}"#, Ok(r#"{"":"","a\"b":"A\n/","ä":"😀"}"#));
    check_parse(r#"{"a":1,"b":true,"a":{"c":null}}"#, Ok(r#"{"a":1,"b":true,"a":{"c":null}}"#));
    check_parse("\u{feff}{\"a\":1}", Ok(r#"{"a":1}"#));
}

#[test]
fn what_is_no_event_is_refused_with_its_place() {
    check_parse("", Err(ParseError::Empty));
    check_parse(" \r\n", Err(ParseError::Empty));
    check_parse("\u{feff}", Err(ParseError::Empty));
    check_parse("[{}]", Err(ParseError::NotAnObject));
    check_parse("\"a\"", Err(ParseError::NotAnObject));
    check_parse("12", Err(ParseError::NotAnObject));
    check_parse("[1", syntax(2, "unexpected end"));
    check_parse("{\"a\":1}x", syntax(7, "unexpected character after the value"));
    check_parse("{\"a\":1}{}", syntax(7, "unexpected character after the value"));
    check_parse("{\"a\":01}", syntax(6, "unexpected character after a value"));
    check_parse("{\"a\":-}", syntax(6, "expected a digit"));
    check_parse("{\"a\":1.}", syntax(7, "expected a digit"));
    check_parse("{\"a\":nul}", syntax(5, "expected a value"));
    check_parse("{\"a\":1,}", syntax(7, "expected a key in quotes"));
    check_parse("{\"a\" 1}", syntax(5, "expected `:`"));
    check_parse("{\"a\":[1}", syntax(7, "expected `,` or `]`"));
    check_parse("{\"a\":\"x", syntax(7, "unterminated string"));
    check_parse("{\"a\":\"\n\"}", syntax(6, "control character in a string"));
    assert_eq!(
        Event::new().parse(b"{\"a\":\"\xff\"}", &Limits::default()),
        Err(ParseError::InvalidUtf8 { at: 6 })
    );
}

#[test]
fn oddities_are_counted() {
    let mut e = Event::new();
    let flags = e.parse(br#"{"a":1,"a":2,"b":{"c":"\ud800","c":0,"c":1},"\ud801":1}"#, &Limits::default());
    assert_eq!(flags, Ok(Flags { duplicate_keys: 3, lone_surrogates: 2 }));
    assert_eq!(e.member("a").and_then(|v| v.as_i64()), Some(2));
    let mut many: String = (0..200).map(|n| format!("\"k{}\":{n},", n % 150)).collect();
    many = format!("{{{}\"z\":0}}", many);
    assert_eq!(e.parse(many.as_bytes(), &Limits::default()).map(|f| f.duplicate_keys), Ok(50));
    assert_eq!(e.member("k7").and_then(|v| v.as_i64()), Some(157));
}

#[test]
fn limits_hold_for_input_and_a_hundred_thousand_levels_are_no_crash() {
    let limits = Limits { bytes_max: 64, depth_max: 3, fields_max: 4 };
    let parse = |json: &str| Event::new().parse(json.as_bytes(), &limits).map(|_| ());
    assert_eq!(parse(r#"{"a":{"b":{"c":1}}}"#), Ok(()));
    assert_eq!(parse(r#"{"a":[[{}]]}"#), Ok(()));
    assert_eq!(parse(r#"{"a":[[[1]]]}"#), Err(ParseError::TooDeep { at: 8, limit: 3 }));
    assert_eq!(parse(r#"{"a":1,"b":{"a":1,"c":2}}"#), Ok(()));
    assert_eq!(
        parse(r#"{"a":1,"a":{"a":1,"c":2},"d":0}"#),
        Err(ParseError::TooManyFields { at: 25, limit: 4 })
    );
    assert_eq!(parse(&format!("{{\"a\":\"{}\"}}", "x".repeat(56))), Ok(()));
    assert_eq!(
        parse(&format!("{{\"a\":\"{}\"}}", "x".repeat(57))),
        Err(ParseError::TooLarge { bytes: 65, limit: 64 })
    );
    for opening in ["[", "{\"a\":", "[{\"\":"] {
        for limits in
            [Limits::default(), Limits { bytes_max: 1 << 30, depth_max: usize::MAX, fields_max: usize::MAX }]
        {
            let deep = opening.repeat(100_000);
            for input in [deep.clone(), format!("{{\"a\":{deep}")] {
                let parsed = Event::new().parse(input.as_bytes(), &limits);
                assert!(matches!(parsed, Err(ParseError::TooDeep { .. })), "{opening}: {parsed:?}");
                let scanned = scan_value(input.as_bytes(), 0, &limits);
                assert!(matches!(scanned, Err(ParseError::TooDeep { .. })), "{opening}: {scanned:?}");
            }
        }
    }
}

#[test]
fn the_deepest_allowed_document_can_be_written_visited_copied_and_edited() {
    let limits = Limits { bytes_max: 1 << 20, depth_max: usize::MAX, fields_max: usize::MAX };
    let depth = super::limits::DEPTH_HARD_MAX;
    let json = format!("{}1{}", "{\"A\":".repeat(depth), "}".repeat(depth));
    let mut e = Event::new();
    assert_eq!(e.parse(json.as_bytes(), &limits), Ok(Flags::default()));
    assert_eq!(e.to_json(), json);
    e.lower_keys();
    assert_eq!(e.to_json(), json.to_lowercase());
    assert_eq!(e.copy(&Path::new("a"), &Path::new("b")), Ok(true));
    assert_eq!(e.copy(&Path::new("a"), &Path::new("b.b")), Err(EditError::TooDeep));
    let path = Path::from_keys(std::iter::repeat_n("a", depth));
    assert_eq!(e.set(&path, 2), Ok(()));
    let mut keys = 0;
    e.visit(&mut |v| keys += usize::from(matches!(v, Visit::Key(_))));
    assert_eq!(keys, 2 * depth);
}

#[test]
fn views_read() {
    let e = event(
        r#"{"a":{"b":{"c.d":7}},"n":-9223372036854775808,"u":18446744073709551615,"f":0.1,"big":1e999,"s":"x","t":true,"z":null,"l":[1,"2",[]]}"#,
    );
    let get = |p: &str| e.get(&Path::new(p));
    assert_eq!(e.get(&Path::from_keys(["a", "b", "c.d"])).and_then(|v| v.as_i64()), Some(7));
    assert!(get("a.b.c.d").is_none() && get("a.x").is_none() && get("s.x").is_none() && get("").is_none());
    assert_eq!(get("n").and_then(|v| v.as_i64()), Some(i64::MIN));
    assert_eq!(get("u").map(|v| (v.as_i64(), v.as_u64())), Some((None, Some(u64::MAX))));
    assert_eq!(get("f").and_then(|v| v.as_f64()), Some(0.1));
    assert_eq!(get("big").and_then(|v| v.as_f64()), None);
    assert_eq!((e.str(&Path::new("s")), e.member_str("s"), e.member_str("t")), (Some("x"), Some("x"), None));
    assert_eq!(e.member("t").and_then(|v| v.as_bool()), Some(true));
    assert_eq!(e.member("z").map(|v| v.is_null()), Some(true));
    let list = e.member("l").and_then(|v| v.as_array()).unwrap();
    assert_eq!(list.iter().map(|v| v.to_json()).collect::<Vec<_>>(), ["1", "\"2\"", "[]"]);
    assert_eq!(list.get(1).and_then(|v| v.as_str()), Some("2"));
    assert_eq!(e.root().iter().map(|(k, _)| k).collect::<String>(), "anufbigstzl");
    assert_eq!(e.get(&Path::from_keys([])).map(|v| v.to_json()), Some(e.to_json()));
}

#[test]
fn visits_come_in_document_order() {
    let mut seen = String::new();
    event(r#"{"a":{"b":[1,{"c":"d"}]},"e":{},"f":[]}"#).visit(&mut |v| match v {
        Visit::Key(key) => seen += &format!("{key}: "),
        Visit::Leaf(leaf) => seen += &format!("{}, ", leaf.to_json()),
    });
    assert_eq!(seen, r#"a: b: 1, c: "d", e: {}, f: [], "#);
}

/// Applies an edit; checks the outcome and the document, which must parse again.
#[track_caller]
fn check_edit<R: PartialEq + std::fmt::Debug>(
    before: &str,
    edit: impl FnOnce(&mut Event) -> R,
    result: R,
    after: &str,
) {
    let mut e = event(before);
    assert_eq!(edit(&mut e), result, "{before}");
    assert_eq!(e.to_json(), after, "{before}");
    assert_eq!(event(after).to_json(), after);
}

fn p(dotted: &str) -> Path {
    Path::new(dotted)
}

#[test]
fn set_makes_replaces_and_refuses() {
    check_edit("{}", |e| e.set(&p("a.b.c"), "x\"y"), Ok(()), r#"{"a":{"b":{"c":"x\"y"}}}"#);
    check_edit(r#"{"a":1,"b":2}"#, |e| e.set(&p("a"), New::EmptyArray), Ok(()), r#"{"a":[],"b":2}"#);
    check_edit(r#"{"a":1,"b":2,"a":3}"#, |e| e.set(&p("a"), 4), Ok(()), r#"{"b":2,"a":4}"#);
    check_edit(r#"{"a":1}"#, |e| e.set(&p("a.b"), 4), Err(EditError::NotAnObject), r#"{"a":1}"#);
    check_edit(r#"{"a":1}"#, |e| e.set(&Path::from_keys([]), 4), Err(EditError::NotAnObject), r#"{"a":1}"#);
    check_edit("{}", |e| e.set_in("d", "k", true), Ok(()), r#"{"d":{"k":true}}"#);
    check_edit(r#"{"d":{"k":0}}"#, |e| e.set_in("d", "", -5_i64), Ok(()), r#"{"d":{"k":0,"":-5}}"#);
    check_edit("{}", |e| e.set_member("f", f64::NAN), Ok(()), r#"{"f":null}"#);
    check_edit("{}", |e| e.set_member("f", 1e300), Ok(()), r#"{"f":1e300}"#);
    check_edit("{}", |e| e.set_member("k\n", u64::MAX), Ok(()), r#"{"k\n":18446744073709551615}"#);
    let other = event(r#"{"x":{"y":[1.50,"\t",{"z":null,"z":0}],"":"ä"}}"#);
    let value = other.member("x").unwrap();
    check_edit(
        "{}",
        |e| e.set_member("v", value),
        Ok(()),
        r#"{"v":{"y":[1.50,"\t",{"z":null,"z":0}],"":"ä"}}"#,
    );
}

#[test]
fn push_appends_makes_and_wraps() {
    check_edit("{}", |e| e.push(&p("a.tags"), "x"), Ok(()), r#"{"a":{"tags":["x"]}}"#);
    check_edit(r#"{"tags":["a"]}"#, |e| e.push(&p("tags"), "b"), Ok(()), r#"{"tags":["a","b"]}"#);
    check_edit(r#"{"tags":"a","b":1}"#, |e| e.push(&p("tags"), "b"), Ok(()), r#"{"tags":["a","b"],"b":1}"#);
    check_edit(r#"{"tags":{"k":[]}}"#, |e| e.push(&p("tags"), 1), Ok(()), r#"{"tags":[{"k":[]},1]}"#);
    check_edit(r#"{"t":[1],"t":[2]}"#, |e| e.push(&p("t"), 3), Ok(()), r#"{"t":[2,3]}"#);
    check_edit(r#"{"a":"x"}"#, |e| e.push(&p("a.b"), 3), Err(EditError::NotAnObject), r#"{"a":"x"}"#);
}

#[test]
fn copies_renames_and_removes() {
    check_edit(
        r#"{"a":{"b":[1]}}"#,
        |e| e.copy(&p("a.b"), &p("c.d")),
        Ok(true),
        r#"{"a":{"b":[1]},"c":{"d":[1]}}"#,
    );
    check_edit(r#"{"a":{"b":1}}"#, |e| e.copy(&p("a"), &p("a.c")), Ok(true), r#"{"a":{"b":1,"c":{"b":1}}}"#);
    check_edit(r#"{"a":{"b":1}}"#, |e| e.copy(&p("a.b"), &p("a")), Ok(true), r#"{"a":1}"#);
    check_edit(r#"{"a":1}"#, |e| e.copy(&p("x"), &p("y")), Ok(false), r#"{"a":1}"#);
    check_edit(
        r#"{"a":1,"b":2,"c":3}"#,
        |e| e.rename(&p("a"), &p("d.e")),
        Ok(true),
        r#"{"b":2,"c":3,"d":{"e":1}}"#,
    );
    check_edit(r#"{"a":1,"b":2}"#, |e| e.rename(&p("a"), &p("b")), Ok(true), r#"{"b":1}"#);
    check_edit(r#"{"a":1,"a":2}"#, |e| e.rename(&p("a"), &p("b")), Ok(true), r#"{"b":2}"#);
    check_edit(r#"{"a":1}"#, |e| e.rename(&p("a"), &p("a.b.c")), Ok(true), r#"{"a":{"b":{"c":1}}}"#);
    check_edit(
        r#"{"a":{"b":{"c":[7]},"d":0}}"#,
        |e| e.rename(&p("a.b"), &p("a")),
        Ok(true),
        r#"{"a":{"c":[7]}}"#,
    );
    check_edit(
        r#"{"a":1,"b":2}"#,
        |e| e.rename(&p("a"), &p("b.c")),
        Err(EditError::NotAnObject),
        r#"{"a":1,"b":2}"#,
    );
    check_edit(r#"{"a":1}"#, |e| e.rename(&p("a"), &p("a")), Ok(true), r#"{"a":1}"#);
    check_edit(r#"{"a":1,"b":{"c":1},"a":2}"#, |e| e.remove(&p("a")), true, r#"{"b":{"c":1}}"#);
    check_edit(r#"{"b":{"c":1}}"#, |e| e.remove(&p("b.c")), true, r#"{"b":{}}"#);
    check_edit(r#"{"b":1}"#, |e| e.remove(&p("b.c")), false, r#"{"b":1}"#);
}

#[test]
fn keys_are_rewritten_at_every_depth_and_twins_go() {
    check_edit(
        r#"{"A":1,"b":{"Cd":[{"X":1}],"É":0},"a":2,"c":1,"c":2}"#,
        Event::lower_keys,
        (),
        r#"{"b":{"cd":[{"x":1}],"é":0},"a":2,"c":2}"#,
    );
    check_edit(
        r#"{"a":1,"b":[{"a":2,"c":3}]}"#,
        |e| e.map_keys(|k| (k != "b").then(|| "x\ty".to_owned())),
        (),
        r#"{"x\ty":1,"b":[{"x\ty":3}]}"#,
    );
    check_edit(r#"{"a":1,"b":{"c":1,"c":2},"a":3}"#, Event::drop_duplicates, 2, r#"{"b":{"c":2},"a":3}"#);
    let copied_then_lowered = |e: &mut Event| {
        e.copy(&p("o"), &p("q")).unwrap();
        e.lower_keys();
    };
    check_edit(r#"{"o":{"X":1,"x":2}}"#, copied_then_lowered, (), r#"{"o":{"x":2},"q":{"x":2}}"#);
    let many: String = (0..50).map(|n| format!("\"K{n}\":1,\"k{n}\":2,")).collect();
    let mut e = event(&format!("{{{}}}", many.trim_end_matches(',')));
    e.lower_keys();
    assert_eq!(e.root().len(), 50);
    assert!(e.root().iter().all(|(k, v)| k.starts_with('k') && v.as_i64() == Some(2)));
}

#[test]
fn edits_keep_to_the_limits_exactly() {
    let limits = Limits { bytes_max: 40, depth_max: 3, fields_max: 3 };
    let mut e = Event::new();
    e.parse(br#"{ "a" : {"\u0062":1} }"#, &limits).unwrap();
    assert_eq!(e.set(&p("a.c.d.e"), 1), Err(EditError::TooDeep));
    assert_eq!(e.set(&p("x.y"), 1), Err(EditError::TooManyFields));
    assert_eq!(e.set(&p("x"), "12345678901234567890"), Ok(()));
    assert_eq!(e.set(&p("x"), "123456789012345678901"), Err(EditError::TooLarge));
    assert_eq!(e.push(&p("a.b"), 1), Err(EditError::TooLarge));
    assert_eq!(e.rename(&p("x"), &p("a.c")), Ok(true));
    assert_eq!(e.to_json(), r#"{"a":{"b":1,"c":"12345678901234567890"}}"#);
    assert_eq!(e.rename(&p("a"), &p("z.z")), Err(EditError::TooManyFields));
    e.set_limits(&limits.for_normal_form());
    assert_eq!(e.rename(&p("a"), &p("z.z")), Ok(true));
}

#[test]
fn memory_is_kept_from_event_to_event_and_given_back_after_giants() {
    let json = br#"{"a":"\n\u0041","b":[{"c":1,"d":2.5}],"e":{"f":null}}"#;
    let mut e = Event::new();
    let round = |e: &mut Event| {
        e.parse(json, &Limits::default()).unwrap();
        e.set_in("details", "x", "some text").unwrap();
        e.push(&p("tags"), "t").unwrap();
        e.lower_keys();
        (e.text.capacity(), e.nodes.capacity(), e.pending.capacity(), e.frames.capacity())
    };
    round(&mut e);
    let warm = round(&mut e);
    assert!((0..100).all(|_| round(&mut e) == warm));
    let giant = format!("{{\"a\":[{}0]}}", "1,".repeat(500_000));
    e.parse(giant.as_bytes(), &Limits { bytes_max: 2 << 20, ..Limits::default() }).unwrap();
    round(&mut e);
    round(&mut e);
    assert!(
        e.text.capacity() <= 256 << 10 && e.nodes.capacity() <= 8 << 10 && e.pending.capacity() <= 8 << 10
    );
}

#[test]
fn values_are_scanned_one_after_another() {
    let input = b"\xef\xbb\xbf{\"a\":1} [2]\n\"x\"3 true{}null \n";
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(range) = scan_value(input, at, &Limits::default()).unwrap() {
        found.push(std::str::from_utf8(&input[range.clone()]).unwrap());
        at = range.end;
    }
    assert_eq!(found, ["{\"a\":1}", "[2]", "\"x\"", "3", "true", "{}", "null"]);
    let scan = |input: &[u8], limits| scan_value(input, 0, &limits);
    assert_eq!(scan(b"{}\xff", Limits::default()), Ok(Some(0..2)));
    assert_eq!(scan(b" {\"\xff\":1}", Limits::default()), Err(ParseError::InvalidUtf8 { at: 3 }));
    assert_eq!(scan(b"{\xff:1}", Limits::default()), Err(ParseError::InvalidUtf8 { at: 1 }));
    assert_eq!(
        scan(b"01", Limits::default()),
        Err(ParseError::Syntax { at: 1, what: "unexpected character after a value" })
    );
    let small = Limits { bytes_max: 7, ..Limits::default() };
    assert_eq!(scan(b"  {\"a\":1}   ", small), Ok(Some(2..9)));
    assert_eq!(scan(b"{\"a\":12}", small), Err(ParseError::TooLarge { bytes: 8, limit: 7 }));
    assert_eq!(scan_value(b"", 9, &small), Ok(None));
}
