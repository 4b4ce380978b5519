//! Value modifiers: `field|mod|mod: values` becomes a tree of tests.
//!
//! In: a key and its values, with places. Out: an [`Expr`], or findings.
//! Never: an unknown modifier let through.

use base64::Engine;
use ipnet::IpNet;

use crate::finding::{Code, Findings, Place, suggestion};
use crate::sigma::ast::{Check, DatePart, Expr, How, Number, Op, Test};
use crate::sigma::pattern::{Part, Pattern};
use crate::sigma::pcre::{self, Flags};
use crate::sigma::yaml::{Kind, Node};
use crate::words;

/// Most texts that the dashes of one value may become.
const WINDASH_MAX: usize = 3125;

/// The characters that begin an option on Windows.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// A modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modifier {
    Contains,
    StartsWith,
    EndsWith,
    All,
    Re,
    IgnoreCase,
    MultiLine,
    DotAll,
    Cidr,
    Base64,
    Base64Offset,
    Utf16,
    Utf16Le,
    Utf16Be,
    WinDash,
    Exists,
    Compare(Op),
    Date(DatePart),
    FieldRef,
    Cased,
    Expand,
    Neq,
    Phrase,
    Words,
}

/// Names of modifiers, as rules write them.
const NAMES: [(&str, Modifier); 33] = [
    ("contains", Modifier::Contains),
    ("startswith", Modifier::StartsWith),
    ("endswith", Modifier::EndsWith),
    ("all", Modifier::All),
    ("re", Modifier::Re),
    ("i", Modifier::IgnoreCase),
    ("ignorecase", Modifier::IgnoreCase),
    ("m", Modifier::MultiLine),
    ("multiline", Modifier::MultiLine),
    ("s", Modifier::DotAll),
    ("dotall", Modifier::DotAll),
    ("cidr", Modifier::Cidr),
    ("base64", Modifier::Base64),
    ("base64offset", Modifier::Base64Offset),
    ("utf16", Modifier::Utf16),
    ("utf16le", Modifier::Utf16Le),
    ("wide", Modifier::Utf16Le),
    ("utf16be", Modifier::Utf16Be),
    ("windash", Modifier::WinDash),
    ("exists", Modifier::Exists),
    ("lt", Modifier::Compare(Op::Lt)),
    ("lte", Modifier::Compare(Op::Lte)),
    ("gt", Modifier::Compare(Op::Gt)),
    ("gte", Modifier::Compare(Op::Gte)),
    ("minute", Modifier::Date(DatePart::Minute)),
    ("hour", Modifier::Date(DatePart::Hour)),
    ("day", Modifier::Date(DatePart::Day)),
    ("week", Modifier::Date(DatePart::Week)),
    ("month", Modifier::Date(DatePart::Month)),
    ("year", Modifier::Date(DatePart::Year)),
    ("fieldref", Modifier::FieldRef),
    ("cased", Modifier::Cased),
    ("expand", Modifier::Expand),
];

/// Names that came later or are ours.
const MORE_NAMES: [(&str, Modifier); 3] =
    [("neq", Modifier::Neq), ("phrase", Modifier::Phrase), ("words", Modifier::Words)];

fn modifier(name: &str) -> Option<Modifier> {
    NAMES.iter().chain(&MORE_NAMES).find(|(known, _)| *known == name).map(|(_, m)| *m)
}

/// Reads `field|mod|mod` and its values.
pub fn item(key: &str, place: Place, value: &Node, findings: &mut Findings) -> Option<Expr> {
    let mut parts = key.split('|');
    let field = parts.next().unwrap_or_default();
    let mut chain = Vec::new();
    let before = findings.errors();
    for name in parts {
        match modifier(name) {
            Some(m) => chain.push(m),
            None => {
                let known = NAMES.iter().chain(&MORE_NAMES).map(|(known, _)| *known);
                let hint = suggestion(name, known);
                findings.add(
                    place,
                    Code::UnknownModifier,
                    format!("unknown modifier \"{name}\" in \"{key}\"{hint}"),
                );
            }
        }
    }
    let values: Vec<&Node> = match &value.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    if values.is_empty() {
        findings.add(
            place,
            Code::Empty,
            format!("\"{key}\" has an empty list of values: nothing could match"),
        );
    }
    if findings.errors() > before {
        return None;
    }
    let item = Item { field: (!field.is_empty()).then(|| field.to_owned()), key, chain, place };
    let expr = item.read(&values, matches!(value.kind, Kind::List(_)), findings);
    if findings.errors() > before { None } else { expr }
}

struct Item<'k> {
    field: Option<String>,
    key: &'k str,
    chain: Vec<Modifier>,
    place: Place,
}

impl Item<'_> {
    fn has(&self, wanted: Modifier) -> bool {
        self.chain.contains(&wanted)
    }

    fn read(&self, values: &[&Node], listed: bool, findings: &mut Findings) -> Option<Expr> {
        if !self.fits_together(findings) {
            return None;
        }
        let mut texts: Vec<Pattern> = Vec::new();
        let mut exprs: Vec<Expr> = Vec::new();
        let all = self.has(Modifier::All);
        for value in values {
            if listed && matches!(value.kind, Kind::Null) {
                let message =
                    format!("null in the list of \"{}\": Sigma says that null stands alone", self.key);
                findings.add(value.place, Code::NullInList, message);
            }
            match self.one(value, findings) {
                // The texts of a list without `all` are one test: a set or an automaton, not a chain.
                Some(Check::Text { patterns, .. }) if !all => texts.extend(patterns),
                Some(check) => exprs.push(self.test(check)),
                None => {}
            }
        }
        if !texts.is_empty() {
            exprs.insert(0, self.test(Check::Text { patterns: texts, cased: self.has(Modifier::Cased) }));
        }
        let joined = match (exprs.len(), all) {
            (0, _) => return None,
            (1, _) => exprs.swap_remove(0),
            (_, true) => Expr::All(exprs),
            (_, false) => Expr::Any(exprs),
        };
        Some(if self.has(Modifier::Neq) { Expr::Not(Box::new(joined)) } else { joined })
    }

    fn test(&self, check: Check) -> Expr {
        Expr::Test(Test { field: self.field.clone(), check })
    }

    fn misfit(&self, place: Place, why: &str, findings: &mut Findings) {
        findings.add(place, Code::ModifierMisfit, format!("\"{}\": {why}", self.key));
    }

    /// At most one modifier says what kind of test it is; the others must go with it.
    fn fits_together(&self, findings: &mut Findings) -> bool {
        let before = findings.errors();
        let kinds = self.chain.iter().filter(|m| {
            matches!(
                m,
                Modifier::Re
                    | Modifier::Cidr
                    | Modifier::Exists
                    | Modifier::Compare(_)
                    | Modifier::FieldRef
                    | Modifier::Phrase
                    | Modifier::Words
            )
        });
        if kinds.count() > 1 {
            self.misfit(self.place, "these modifiers exclude each other", findings);
        }
        let flags = [Modifier::IgnoreCase, Modifier::MultiLine, Modifier::DotAll];
        if !self.has(Modifier::Re) && flags.iter().any(|f| self.has(*f)) {
            self.misfit(self.place, "the flags i, m and s belong behind \"re\"", findings);
        }
        if self.field.is_none() {
            let needs_field = |m: &&Modifier| {
                matches!(m, Modifier::Exists | Modifier::FieldRef | Modifier::Compare(_) | Modifier::Date(_))
            };
            if self.chain.iter().any(|m| needs_field(&m)) {
                self.misfit(self.place, "this modifier needs a field", findings);
            }
        }
        findings.errors() == before
    }

    /// The test of one value.
    fn one(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        if let Kind::List(_) | Kind::Map(_) = value.kind {
            let message =
                format!("\"{}\" takes a value or a list of values, not {}", self.key, value.describe());
            findings.add(value.place, Code::WrongType, message);
            return None;
        }
        if self.has(Modifier::Exists) {
            return self.exists(value, findings);
        }
        let Some(text) = value.text() else { return self.null(value, findings) };
        if let Kind::Plain(plain) = &value.kind {
            warn_plain(plain, value.place, findings);
        }
        let plain;
        let mut text = text;
        if self.has(Modifier::Expand) {
            if self.placeholder(text, value.place, findings) {
                return None;
            }
            plain = text.replace("\\%", "%");
            text = &plain;
        }
        for m in &self.chain {
            match m {
                Modifier::Re => return self.regex(text, value.place, findings),
                Modifier::Cidr => return self.cidr(text, value.place, findings),
                Modifier::Date(part) => return self.date(*part, text, value.place, findings),
                Modifier::FieldRef => return self.field_ref(text, value.place, findings),
                Modifier::Phrase | Modifier::Words => {
                    return self.text_words(*m, text, value.place, findings);
                }
                Modifier::Compare(op) if !self.chain.iter().any(|m| matches!(m, Modifier::Date(_))) => {
                    return self.compare(*op, text, value.place, findings);
                }
                _ => {}
            }
        }
        self.patterns(text, value.place, findings)
            .map(|patterns| Check::Text { patterns, cased: self.has(Modifier::Cased) })
    }

    fn null(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        if self.field.is_none() {
            self.misfit(value.place, "null is no keyword", findings);
            return None;
        }
        if self.chain.iter().any(|m| !matches!(m, Modifier::Neq | Modifier::All | Modifier::Cased)) {
            self.misfit(value.place, "null takes no modifier", findings);
            return None;
        }
        Some(Check::Null)
    }

    fn exists(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        let word = value.text().map(str::to_ascii_lowercase);
        let yes = value.boolean().or(match word.as_deref() {
            Some("true" | "yes") => Some(true),
            Some("false" | "no") => Some(false),
            _ => None,
        });
        if yes.is_none() {
            let why = format!("\"exists\" takes true or false, not {}", value.describe());
            self.misfit(value.place, &why, findings);
        }
        yes.map(Check::Exists)
    }

    /// Whether the value has a placeholder; none has values yet, so its rule is left out, by name.
    fn placeholder(&self, text: &str, place: Place, findings: &mut Findings) -> bool {
        let mut parts = text.replace("\\%", "\u{0}").split('%').map(str::to_owned).collect::<Vec<_>>();
        // A name stands between two percent signs.
        parts.pop();
        let names: Vec<String> = parts.into_iter().skip(1).step_by(2).collect();
        if !names.is_empty() {
            let message =
                format!("the placeholder %{}% has no values: the rule is not loaded", names.join("%, %"));
            findings.add(place, Code::Placeholder, message);
        }
        !names.is_empty()
    }

    fn regex(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let known = |m: &&Modifier| {
            matches!(
                m,
                Modifier::Re
                    | Modifier::IgnoreCase
                    | Modifier::MultiLine
                    | Modifier::DotAll
                    | Modifier::All
                    | Modifier::Neq
                    | Modifier::Contains
                    | Modifier::Expand
            )
        };
        if !self.chain.iter().all(|m| known(&m)) {
            self.misfit(place, "a regular expression takes only i, m, s, all and neq", findings);
            return None;
        }
        let flags = Flags {
            ignore_case: self.has(Modifier::IgnoreCase),
            multi_line: self.has(Modifier::MultiLine),
            dot_all: self.has(Modifier::DotAll),
        };
        match pcre::compile(text, flags) {
            Ok(_) => Some(Check::Regex { pattern: text.to_owned(), flags }),
            Err(why) => {
                findings.add(place, Code::Regex, format!("\"{}\": {why}", self.key));
                None
            }
        }
    }

    fn cidr(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let net =
            text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        if net.is_none() {
            let message = format!("\"{text}\" is no network range: write it as 10.0.0.0/8 or 2001:db8::/32");
            findings.add(place, Code::Cidr, message);
        }
        net.map(|n| Check::Cidr(vec![n.trunc()]))
    }

    fn compare(&self, op: Op, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let number = Number::parse(text);
        if number.is_none() {
            findings.add(
                place,
                Code::Number,
                format!("\"{}\" compares with a number, not \"{text}\"", self.key),
            );
        }
        number.map(|number| Check::Compare { op, number })
    }

    fn date(&self, part: DatePart, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let op = self.chain.iter().find_map(|m| match m {
            Modifier::Compare(op) => Some(*op),
            _ => None,
        });
        let number = text.parse::<u32>().ok();
        if number.is_none() {
            findings.add(
                place,
                Code::Number,
                format!("\"{}\" compares with a number, not \"{text}\"", self.key),
            );
        }
        number.map(|number| Check::Date { part, op: op.unwrap_or(Op::Eq), number })
    }

    fn field_ref(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let mut how = How::Equals;
        for m in &self.chain {
            how = match m {
                Modifier::StartsWith => How::Starts,
                Modifier::EndsWith => How::Ends,
                Modifier::Contains => How::Contains,
                Modifier::FieldRef | Modifier::Neq | Modifier::All | Modifier::Cased => how,
                _ => {
                    self.misfit(
                        place,
                        "\"fieldref\" takes startswith, endswith, contains, cased and neq",
                        findings,
                    );
                    return None;
                }
            };
        }
        if text.is_empty() {
            self.misfit(place, "\"fieldref\" needs the name of a field", findings);
            return None;
        }
        Some(Check::Field { other: text.to_owned(), how, cased: self.has(Modifier::Cased) })
    }

    fn text_words(&self, m: Modifier, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let found: Vec<String> = words::fold(text);
        if found.is_empty() {
            self.misfit(place, &format!("\"{text}\" has no word in it"), findings);
            return None;
        }
        Some(Check::Phrase(match m {
            Modifier::Phrase => vec![found],
            _ => found.into_iter().map(|w| vec![w]).collect(),
        }))
    }

    /// Applies the transformations in their order.
    fn patterns(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Vec<Pattern>> {
        let mut values = vec![Value::Pattern(Pattern::parse(text))];
        for m in &self.chain {
            let mut next = Vec::with_capacity(values.len());
            for value in values {
                match transform(*m, value) {
                    Ok(more) => next.extend(more),
                    Err(why) => {
                        let code =
                            if why.starts_with("more than") { Code::Limit } else { Code::ModifierMisfit };
                        findings.add(place, code, format!("\"{}\": {why}", self.key));
                        return None;
                    }
                }
            }
            values = next;
        }
        let mut patterns = Vec::with_capacity(values.len());
        for value in values {
            match value.into_pattern() {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => {
                    self.misfit(place, &why, findings);
                    return None;
                }
            }
        }
        if self.field.is_none() {
            // A keyword is looked for anywhere in the message.
            patterns = patterns.into_iter().map(Pattern::contained).collect();
        }
        Some(patterns)
    }
}

/// A plain scalar that older YAML reads as something else than its text.
fn warn_plain(text: &str, place: Place, findings: &mut Findings) {
    let digits = text.trim_start_matches(['-', '+']);
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if digits.starts_with("0x") || digits.starts_with("0o") || octal {
        let message = format!("{text} without quotes is read differently by other tools: quote it");
        findings.add(place, Code::PlainScalar, message);
    }
}

/// A value on its way through the transformations.
enum Value {
    Pattern(Pattern),
    Bytes(Vec<u8>),
}

impl Value {
    fn into_pattern(self) -> Result<Pattern, String> {
        match self {
            Value::Pattern(pattern) => Ok(pattern),
            Value::Bytes(bytes) => String::from_utf8(bytes)
                .map(|text| Pattern::literal(&text))
                .map_err(|_| "UTF-16 of this text is no text: add \"base64offset|contains\"".to_owned()),
        }
    }

    fn into_bytes(self, what: &str) -> Result<Vec<u8>, String> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Pattern(pattern) => match pattern.as_literal() {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(format!(
                    "a wildcard cannot be encoded by \"{what}\": escape it or put \"contains\" last"
                )),
            },
        }
    }
}

fn transform(m: Modifier, value: Value) -> Result<Vec<Value>, String> {
    let one = |pattern: Pattern| Ok(vec![Value::Pattern(pattern)]);
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    match m {
        Modifier::Contains => one(value.into_pattern()?.contained()),
        Modifier::StartsWith => one(value.into_pattern()?.at_start()),
        Modifier::EndsWith => one(value.into_pattern()?.at_end()),
        Modifier::Base64 => one(Pattern::literal(&base64(&value.into_bytes("base64")?))),
        Modifier::Base64Offset => Ok(offsets(&value.into_bytes("base64offset")?)),
        Modifier::Utf16Le => wide(value, u16::to_le_bytes, &[]),
        Modifier::Utf16Be => wide(value, u16::to_be_bytes, &[]),
        Modifier::Utf16 => wide(value, u16::to_le_bytes, &[0xff, 0xfe]),
        Modifier::WinDash => {
            windash(&value.into_pattern()?).map(|all| all.into_iter().map(Value::Pattern).collect())
        }
        _ => Ok(vec![value]),
    }
}

fn wide(value: Value, bytes_of: fn(u16) -> [u8; 2], mark: &[u8]) -> Result<Vec<Value>, String> {
    let bytes = value.into_bytes("utf16")?;
    let text = String::from_utf8(bytes).map_err(|_| "the text is encoded twice".to_owned())?;
    let mut out = mark.to_vec();
    out.extend(text.encode_utf16().flat_map(bytes_of));
    Ok(vec![Value::Bytes(out)])
}

/// What of the encoded text stays the same wherever the value begins: shifts by zero, one and two bytes.
fn offsets(bytes: &[u8]) -> Vec<Value> {
    const SKIP: [usize; 3] = [0, 2, 3];
    const DROP: [usize; 3] = [0, 3, 2];
    (0..3_usize)
        .map(|shift| {
            let mut shifted = vec![b' '; shift];
            shifted.extend_from_slice(bytes);
            let encoded = base64::engine::general_purpose::STANDARD.encode(&shifted);
            let skip = SKIP.get(shift).copied().unwrap_or(0);
            let drop = DROP.get(shifted.len() % 3).copied().unwrap_or(0);
            let kept = encoded.len().saturating_sub(skip + drop);
            let text: String = encoded.chars().skip(skip).take(kept).collect();
            Value::Pattern(Pattern::literal(&text))
        })
        .collect()
}

/// All ways to write the dashes (or slashes) that begin an option: before a word and not behind one.
fn windash(pattern: &Pattern) -> Result<Vec<Pattern>, String> {
    let mut ways: Vec<Vec<Part>> = vec![Vec::new()];
    for part in pattern.parts() {
        let pieces = match part {
            Part::Text(text) => option_dashes(text),
            Part::Star | Part::One => {
                ways.iter_mut().for_each(|w| w.push(part.clone()));
                continue;
            }
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => ways.iter_mut().for_each(|w| w.push(Part::Text(text.clone()))),
                Piece::Dash => {
                    if ways.len() * DASHES.len() > WINDASH_MAX {
                        return Err(format!(
                            "more than {WINDASH_MAX} ways to write the dashes: split the value"
                        ));
                    }
                    ways = ways
                        .into_iter()
                        .flat_map(|w| {
                            DASHES.iter().map(move |dash| {
                                let mut way = w.clone();
                                way.push(Part::Text(dash.to_string()));
                                way
                            })
                        })
                        .collect();
                }
            }
        }
    }
    Ok(ways.into_iter().map(Pattern::from_parts).collect())
}

enum Piece {
    Text(String),
    Dash,
}

fn option_dashes(text: &str) -> Vec<Piece> {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut plain = String::new();
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| chars.get(i)).copied();
        let after = chars.get(i + 1).copied();
        if DASHES.contains(c) && !word(before) && word(after) {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Dash);
        } else {
            plain.push(*c);
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

#[cfg(test)]
mod tests {
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
        check(
            "A|cidr: [10.1.2.3/8, '2001:db8::/32']",
            "any( 1:A cidr 10:10.0.0.0/8, 1:A cidr 13:2001:db8::/32)",
        );
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
        check(
            "A|expand: '%servers%'",
            "[S015 the placeholder %servers% has no values: the rule is not loaded]",
        );
        check("A|expand: '100\\%'", " 1:A text 4:100%");
        check(
            "A|re: '(?=x)'",
            "[S012 \"A|re\": look-ahead is not supported: it is not linear in time; use a second condition]",
        );
        check("A|contains: null", "[S011 \"A|contains\": null takes no modifier]");
    }
}
