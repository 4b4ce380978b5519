//! The parser against serde_json: on what serde_json writes, and on mutated
//! inputs. Where they may disagree, and nowhere else:
//!
//! - lone surrogates: taken as U+FFFD, serde_json refuses them;
//! - numbers beyond a float (`1e999`): taken, serde_json refuses them;
//! - a byte order mark at the start: ignored, serde_json refuses it;
//! - duplicate keys: both are kept, serde_json keeps the last;
//! - depth, fields and size beyond the limits: refused, serde_json has only its own depth.
//!
//! `MOZDEF_FUZZ_CASES` sets the number of mutated inputs, `MOZDEF_FUZZ_SEED` the seed.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use serde_json::Value as Json;

use super::hostile;
use crate::event::{Event, Flags, Limits, Object, ParseError, Value, scan_value};

/// Whether a borrowed value is what serde_json read from the same input.
fn same(value: Value<'_>, json: &Json) -> bool {
    match (value, json) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => a == *b,
        // The text is the input's own; serde_json reads it to the same number.
        (Value::Number(text), Json::Number(_)) => {
            serde_json::from_str::<Json>(text).is_ok_and(|n| n == *json)
        }
        (Value::String(a), Json::String(b)) => a == b,
        (Value::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Json::Object(b)) => same_object(a, b),
        _ => false,
    }
}

fn same_object(object: Object<'_>, json: &serde_json::Map<String, Json>) -> bool {
    object.iter().all(|(key, _)| json.contains_key(key))
        && json.iter().all(|(key, b)| object.get(key).is_some_and(|a| same(a, b)))
        && object.len() >= json.len()
}

/// What happened, for the count at the end of a run.
#[derive(Debug, Default)]
struct Tally {
    both_take: u32,
    both_refuse: u32,
    only_we_take: u32,
    only_we_refuse: u32,
}

fn compare(event: &mut Event, input: &[u8], limits: Limits, tally: &mut Tally) {
    let shown = || String::from_utf8_lossy(input).into_owned();
    let ours = event.parse(input, &limits);
    let theirs = serde_json::from_slice::<Json>(input);
    match (&ours, &theirs) {
        (Ok(flags), Ok(Json::Object(map))) => {
            tally.both_take += 1;
            assert!(same_object(event.root(), map), "different values: {}", shown());
            check_output(event, *flags, &limits, &theirs, &shown());
        }
        (Ok(flags), Err(error)) => {
            tally.only_we_take += 1;
            let text = error.to_string();
            let allowed = flags.lone_surrogates > 0
                || text.starts_with("number out of range")
                || input.starts_with(b"\xef\xbb\xbf");
            assert!(allowed, "serde_json refuses with {error}, we take: {}", shown());
            check_output(event, *flags, &limits, &theirs, &shown());
        }
        (Err(ParseError::NotAnObject), Ok(json)) => assert!(!json.is_object(), "not an object? {}", shown()),
        (Err(error), Ok(_)) => {
            tally.only_we_refuse += 1;
            let limit = matches!(
                error,
                ParseError::TooDeep { .. } | ParseError::TooManyFields { .. } | ParseError::TooLarge { .. }
            );
            assert!(limit, "we refuse with {error}: {}", shown());
        }
        (Err(_), Err(_)) => tally.both_refuse += 1,
        (Ok(_), Ok(other)) => panic!("we take an object where serde_json has {other}: {}", shown()),
    }
    check_scan(input, &limits, &ours, &shown());
}

/// What was taken is written no longer than it came, and reads back as the same under the same limits.
fn check_output(
    event: &Event,
    flags: Flags,
    limits: &Limits,
    theirs: &serde_json::Result<Json>,
    shown: &str,
) {
    let json = event.to_json();
    assert!(json.len() <= event.bytes, "{} bytes, {} counted: {shown}", json.len(), event.bytes);
    let mut again = Event::new();
    let expected = Flags { lone_surrogates: 0, ..flags };
    assert_eq!(again.parse(json.as_bytes(), limits), Ok(expected), "{shown}");
    assert_eq!(again.to_json(), json, "{shown}");
    if let Ok(theirs) = theirs {
        assert_eq!(serde_json::from_str::<Json>(&json).ok().as_ref(), Some(theirs), "{shown}");
    }
}

/// The scan takes what the parser takes.
fn check_scan(input: &[u8], limits: &Limits, parsed: &Result<Flags, ParseError>, shown: &str) {
    let scanned = scan_value(input, 0, limits);
    match parsed {
        Ok(_) | Err(ParseError::NotAnObject) => {
            let end = scanned.ok().flatten().map(|range| range.end);
            let rest = end.map(|end| scan_value(input, end, limits));
            assert!(matches!(rest, Some(Ok(None))), "scan ends at {end:?}, then {rest:?}: {shown}");
        }
        Err(ParseError::Empty) => assert_eq!(scanned, Ok(None), "{shown}"),
        // A value may end well before what spoils the whole input.
        Err(_) => {
            let whole =
                matches!(&scanned, Ok(Some(range)) if scan_value(input, range.end, limits) == Ok(None));
            let too_large_with_space = input.len() > limits.bytes_max;
            assert!(!whole || too_large_with_space, "scan takes what parse refuses with {parsed:?}: {shown}");
        }
    }
}

/// xorshift64*: seeded, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() >> 33) as usize % end }
    }
}

const SEEDS: &[&str] = &[
    r#"{"a":1,"b":[true,false,null,-0.5e-7,{"c":"d\n\u00e4\ud83d\ude00"}],"a":"\ud83d\ude00"}"#,
    r#"{"lone":"x\ud800","\udc00":1e999}"#,
    r#"{"eventTime":"2026-01-02T03:04:05Z","userIdentity":{"arn":"arn:aws:iam::1:user/x","n":18446744073709551616},"tags":[]}"#,
    " {\n \"k\" : [ 1 , 2.5 , 1E+400 ] ,\t\"ä漢\" : { } }\r\n",
    r#"{"a":{"a":{"a":[[[[{"b":{"c":[0,-1]}}]]]]}},"":"\"\\\/\b\f\n\r\t\u0000"}"#,
    r#"[{"x":1},"\u005c",0]"#,
    "\u{feff}{\"bom\":true}",
];

/// Pieces that a grammar cares about.
const PIECES: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "\\udc00", "\\n", "0", "-", "+", ".", "e",
    "E9", "1e999", "true", "null", "fals", " ", "\n", "\u{b}", "\u{1f}", "ä", "{\"a\":", "[[", "\"a\":1,",
    "\"a\"", "\u{feff}", "/", "'", "\0",
];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    // Half of them from the first few, which are objects and have everything in them.
    let from = if random.below(2) == 0 { SEEDS.len() } else { seeds.len() };
    let mut input = seeds[random.below(from)].clone();
    let changes = 1 << random.below(4);
    for _ in 0..random.below(changes + 1) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(12)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 | 3 => drop(input.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            4 => drop(input.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
            5 => drop(input.drain(at..end)),
            6 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let cut = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[cut..]);
            }
        }
    }
    input
}

#[test]
fn mutated_inputs_are_read_as_serde_json_reads_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("MOZDEF_FUZZ_CASES").unwrap_or(200_000);
    let seed = number("MOZDEF_FUZZ_SEED").unwrap_or(0x6d6f_7a64_6566);
    let mut seeds: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let recorded = hostile::files().into_iter().map(|(_, input)| input).filter(|input| input.len() < 1000);
    seeds.extend(recorded.map(|input| [b"{\"k\":", &input[..], b"}"].concat()));
    let mut random = Random(seed | 1);
    let mut event = Event::new();
    let mut tally = Tally::default();
    let wide = Limits { bytes_max: 4000, depth_max: 40, fields_max: 100 };
    let tight = Limits { bytes_max: 120, depth_max: 8, fields_max: 6 };
    for case in 0..cases {
        let input = mutate(&mut random, &seeds);
        compare(&mut event, &input, if case % 4 == 0 { tight } else { wide }, &mut tally);
    }
    println!("{cases} cases of seed {seed}: {tally:?}");
    // A run in which nothing is taken, or nothing refused, tests nothing.
    let Tally { both_take, both_refuse, only_we_take, only_we_refuse } = tally;
    assert!(
        [both_take, both_refuse, only_we_take, only_we_refuse].iter().all(|n| u64::from(*n) > cases / 1000)
    );
}

/// Any value that serde_json can write, floats included.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// Compact and pretty: the same text comes back.
    #[test]
    fn what_serde_json_writes_comes_back_byte_for_byte(members in prop::collection::vec((".{0,5}", json()), 0..40)) {
        let value: Json = members.into_iter().collect();
        let compact = serde_json::to_string(&value).unwrap();
        let mut event = Event::new();
        for text in [compact.clone(), serde_json::to_string_pretty(&value).unwrap()] {
            assert_eq!(event.parse(text.as_bytes(), &Limits::default()), Ok(Flags::default()));
            assert_eq!(event.to_json(), compact);
            assert_eq!(scan_value(text.as_bytes(), 0, &Limits::default()), Ok(Some(0..text.len())));
        }
    }
}
