//! Regular expressions of rules, which are PCRE's, for an engine of linear
//! time: what means something else there is rewritten, what it cannot do is
//! refused by name.
//!
//! In: the text of a `re` value and its flags. Out: a compiled [`Regex`].
//! Never: a pattern that takes more than [`SIZE_MAX`] bytes.

use regex::{Regex, RegexBuilder};

/// Most memory of one compiled expression, in bytes.
pub const SIZE_MAX: usize = 10 << 20;

/// The flags `i`, `m` and `s` of the `re` modifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// Letters of either case.
    pub ignore_case: bool,
    /// `^` and `$` at lines.
    pub multi_line: bool,
    /// `.` takes the newline too.
    pub dot_all: bool,
}

/// Compiles an expression, or says why not.
pub fn compile(pattern: &str, flags: Flags) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    RegexBuilder::new(&translated)
        .case_insensitive(flags.ignore_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .size_limit(SIZE_MAX)
        .dfa_size_limit(2 << 20)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("the regular expression takes more than {limit} bytes: shorten its repetitions")
            }
            regex::Error::Syntax(text) => {
                // The engine draws a multi-line picture; its last line says what is wrong.
                let last = text.lines().last().unwrap_or_default();
                format!("the regular expression is refused: {}", last.trim_start_matches("error: "))
            }
            other => format!("the regular expression is refused: {other}"),
        })
}

/// Rewrites what the two dialects read differently. In PCRE `\<` is a plain `<`, a `[` inside a class is itself,
/// `&&`, `--` and `~~` in a class are characters, and a `{` that begins no repetition is itself.
fn translate(pattern: &str) -> Result<String, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let next = chars.get(i + 1).copied();
        match c {
            '\\' => i += escape(next, &mut out)?,
            '[' => i += class(&chars, i, &mut out)?,
            '(' if next == Some('?') => {
                refuse_groups(&chars, i)?;
                out.push(c);
                i += 1;
            }
            '{' if repetition(&chars, i).is_none() => {
                out.push_str("\\{");
                i += 1;
            }
            '*' | '+' | '?' | '}' if next == Some('+') && c != '}' => {
                return Err(format!("possessive quantifier \"{c}+\" is not supported: drop the \"+\""));
            }
            _ => {
                out.push(c);
                i += 1;
            }
        }
    }
    Ok(out)
}

/// Writes an escape outside of a class; the result is how many characters it took.
fn escape(next: Option<char>, out: &mut String) -> Result<usize, String> {
    match next {
        None => {
            Err("the regular expression ends with a backslash: write \"\\\\\" for a backslash".to_owned())
        }
        Some(c @ '1'..='9') => {
            Err(format!("back reference \"\\{c}\" is not supported: it is not linear in time"))
        }
        Some('Z') => {
            out.push_str("\\z");
            Ok(2)
        }
        Some('h') => {
            out.push_str("[\\t ]");
            Ok(2)
        }
        Some('e') => {
            out.push_str("\\x1b");
            Ok(2)
        }
        Some(c) if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
            Ok(2)
        }
        Some(c) => {
            literal(c, out);
            Ok(2)
        }
    }
}

/// A character that stands for itself.
fn literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

fn refuse_groups(chars: &[char], at: usize) -> Result<(), String> {
    let rest: String = chars.iter().skip(at + 2).take(2).collect();
    match rest.as_bytes() {
        [b'=' | b'!', ..] => {
            Err("look-ahead is not supported: it is not linear in time; use a second condition".to_owned())
        }
        [b'<', b'=' | b'!', ..] => {
            Err("look-behind is not supported: it is not linear in time; use a second condition".to_owned())
        }
        [b'>', ..] => Err("atomic group \"(?>\" is not supported: use \"(?:\"".to_owned()),
        _ => Ok(()),
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}` at a place.
fn repetition(chars: &[char], at: usize) -> Option<usize> {
    let mut length = 1;
    let digits = |from: usize| chars.iter().skip(from).take_while(|c| c.is_ascii_digit()).count();
    let first = digits(at + 1);
    if first == 0 {
        return None;
    }
    length += first;
    if chars.get(at + length) == Some(&',') {
        length += 1;
        length += digits(at + length);
    }
    (chars.get(at + length) == Some(&'}')).then_some(length + 1)
}

/// Writes a bracket class; the result is how many characters it took.
fn class(chars: &[char], at: usize, out: &mut String) -> Result<usize, String> {
    let mut i = at + 1;
    out.push('[');
    if chars.get(i) == Some(&'^') {
        out.push('^');
        i += 1;
    }
    let first = i;
    loop {
        let next = chars.get(i + 1).copied();
        match chars.get(i) {
            None => return Err("a character class \"[\" is not closed".to_owned()),
            Some(']') if i > first => {
                out.push(']');
                return Ok(i + 1 - at);
            }
            Some('[') if next == Some(':') => {
                let end = chars.iter().skip(i).position(|c| *c == ']').map(|n| i + n);
                let Some(end) = end else { return Err("a character class \"[:\" is not closed".to_owned()) };
                out.extend(chars.get(i..=end).unwrap_or_default());
                i = end + 1;
            }
            Some('\\') => match next {
                Some(c) if c.is_ascii_alphanumeric() => {
                    out.push_str(match c {
                        'b' => "\\x08",
                        'h' => "\\t ",
                        'e' => "\\x1b",
                        _ => "",
                    });
                    if !matches!(c, 'b' | 'h' | 'e') {
                        out.push('\\');
                        out.push(c);
                    }
                    i += 2;
                }
                Some(c) => {
                    literal(c, out);
                    i += 2;
                }
                None => return Err("the regular expression ends with a backslash".to_owned()),
            },
            Some('-') if next == Some('-') && i > first => {
                // A range that ends at the dash, such as `[+--]`.
                out.push_str("-\\-");
                i += 2;
            }
            Some(c @ ('[' | '&' | '~' | ']')) => {
                out.push('\\');
                out.push(*c);
                i += 1;
            }
            Some('-') if next == Some('-') => {
                out.push_str("\\-");
                i += 1;
            }
            Some(c) => {
                out.push(*c);
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flags, compile};

    #[track_caller]
    fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
        let regex = compile(pattern, Flags::default()).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in hits {
            assert!(regex.is_match(text), "{pattern} should match {text:?}");
        }
        for text in misses {
            assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
        }
    }

    #[track_caller]
    fn refused(pattern: &str, why: &str) {
        let error = compile(pattern, Flags::default()).unwrap_err();
        assert!(error.contains(why), "{pattern}: {error}");
    }

    #[test]
    fn unanchored_and_by_case() {
        check("b+", &["abc"], &["ABC"]);
        check("^a$", &["a"], &["a\nb", "ba"]);
        check("(?i)AbC", &["xABCx"], &[]);
    }

    #[test]
    fn what_the_dialects_read_differently() {
        check(r"\<a\>", &["<a>"], &["a"]);
        check("[[a]", &["[", "a"], &["b"]);
        check("[a&&b]", &["&", "a", "b"], &["c"]);
        check("[+--]", &["+", ",", "-"], &["."]);
        check("[--x]", &["-", "x"], &["y"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[^]]x", &["ax"], &["]x"]);
        check("a{b", &["a{b"], &["ab"]);
        check("a{,2}", &["a{,2}"], &["aa"]);
        check("a{2,}$", &["aa"], &["a"]);
        check(r"\ \#\%", &[" #%"], &[]);
        check(r"[\w.-]+\h", &["a-b. "], &["a-b."]);
        check("[[:digit:]x]", &["7", "x"], &[":"]);
        check(r"[\]\[]", &["]", "["], &["\\"]);
    }

    #[test]
    fn what_is_not_linear_is_refused_by_name() {
        refused("(?=a)", "look-ahead");
        refused("(?<!a)b", "look-behind");
        refused(r"(a)\1", "back reference");
        refused("(?>a)", "atomic");
        refused("a*+", "possessive");
        refused("(a{1000}){1000}", "bytes");
        refused("(", "unclosed group");
        refused("[a", "not closed");
        refused("\\", "backslash");
    }

    #[test]
    fn an_evil_expression_takes_linear_time() {
        check("^(a+)+$", &["aaaa"], &[&("a".repeat(50_000) + "!")]);
    }
}
