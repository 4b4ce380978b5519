//! Modifiers: a line of a rule, and the tree that it becomes.

use super::item;
use crate::finding::{Findings, Place};
use crate::sigma::yaml;

/// Reads `KEY: VALUE` and shows the tree, or the findings.
#[track_caller]
fn check(line: &str, expected: &str) {
    let mut findings = Findings::new("f".into());
    let documents = yaml::parse(line, &mut findings);
    let entry = &documents[0].entries().unwrap()[0];
    let expr = item(&entry.key, Place::START, &entry.value, &mut findings);
    let mut got = String::new();
    if let Some(expr) = expr {
        expr.write_canonical(&mut got);
    }
    for finding in findings.into_vec() {
        got.push_str(&format!("[{} {}]", finding.code, finding.message));
    }
    assert_eq!(got, expected, "{line}");
}

#[test]
fn text_modifiers() {
    check("A: b", " 1:A text 1:b");
    check("A|contains: [b, 'c*d']", " 1:A text 3:*b* 5:*c*d*");
    check("A|contains|all: [b, c]", "all( 1:A text 3:*b*, 1:A text 3:*c*)");
    check("A|endswith|cased: x", " 1:A cased 2:*x");
    check("A|startswith: x*", " 1:A text 2:x*");
    check("'|all': [a, b]", "all(* text 3:*a*,* text 3:*b*)");
    check(
        "A: [x, null]",
        "any( 1:A text 1:x, 1:A null)[S027 null in the list of \"A\": Sigma says that null stands alone]",
    );
    check("A: null", " 1:A null");
    check("A: ''", " 1:A text 0:");
    check("A|neq: [x, y]", "not( 1:A text 1:x 1:y)");
}

#[test]
fn encodings() {
    check("A|base64: foobar", " 1:A text 8:Zm9vYmFy");
    check("A|base64offset|contains: foobar", " 1:A text 10:*Zm9vYmFy* 9:*Zvb2Jhc* 9:*mb29iYX*");
    check("A|wide|base64offset|contains: ab", " 1:A text 7:*YQBiA* 6:*EAYg* 7:*hAGIA*");
    check("A|utf16|base64: c", " 1:A text 8://5jAA==");
    check("A|utf16be|base64: c", " 1:A text 4:AGM=");
    check(
        "A|base64: a*",
        "[S011 \"A|base64\": a wildcard cannot be encoded by \"base64\": escape it or put \"contains\" last]",
    );
}

#[test]
fn windash_takes_option_dashes_only() {
    check("A|windash: '-x'", " 1:A text 2:-x 2:/x 4:–x 4:—x 4:―x");
    check("A|windash: 'a-b'", " 1:A text 3:a-b");
    check("A|windash: '--x'", " 1:A text 3:--x 3:-/x 5:-–x 5:-—x 5:-―x");
    check(
        "A|windash: '-a -b -c -d -e -f'",
        "[S030 \"A|windash\": more than 3125 ways to write the dashes: split the value]",
    );
}

#[test]
fn other_kinds() {
    check("A|re|i: 'x+'", " 1:A re truefalsefalse 2:x+");
    check("A|cidr: [10.1.2.3/8, '2001:db8::/32']", "any( 1:A cidr 10:10.0.0.0/8, 1:A cidr 13:2001:db8::/32)");
    check("A|gte: 10", " 1:A gte Int(10)");
    check("A|exists: false", " 1:A exists false");
    check("A|fieldref|startswith: B", " 1:A field Starts false 1:B");
    check("A|fieldref|neq: B", "not( 1:A field Equals false 1:B)");
    check("A|hour|gte: 18", " 1:A hour gte 18");
    check("A|phrase: 'Failed  Password'", " 1:A phrase 15:failed password");
    check("A|words: 'login invalid'", " 1:A phrase 5:login 7:invalid");
    check(
        "A: 0x17",
        " 1:A text 4:0x17[S031 0x17 without quotes is read differently by other tools: quote it]",
    );
}

#[test]
fn wrong_ones_are_named() {
    check(
        "A|contians: x",
        "[S010 unknown modifier \"contians\" in \"A|contians\" (did you mean \"contains\"?)]",
    );
    check("A|i: x", "[S011 \"A|i\": the flags i, m and s belong behind \"re\"]");
    check("A|re|cidr: x", "[S011 \"A|re|cidr\": these modifiers exclude each other]");
    check("A|cidr: x", "[S013 \"x\" is no network range: write it as 10.0.0.0/8 or 2001:db8::/32]");
    check("A|lt: x", "[S014 \"A|lt\" compares with a number, not \"x\"]");
    check("A|exists: maybe", "[S011 \"A|exists\": \"exists\" takes true or false, not \"maybe\"]");
    check("A: []", "[S032 \"A\" has an empty list of values: nothing could match]");
    check("A: {b: c}", "[S003 \"A\" takes a value or a list of values, not a map]");
    check("A|expand: '%servers%'", "[S015 the placeholder %servers% has no values: the rule is not loaded]");
    check("A|expand: '100\\%'", " 1:A text 4:100%");
    check(
        "A|re: '(?=x)'",
        "[S012 \"A|re\": look-ahead is not supported: it is not linear in time; use a second condition]",
    );
    check("A|contains: null", "[S011 \"A|contains\": null takes no modifier]");
}
