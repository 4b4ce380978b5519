//! Patterns over terms: wildcards, Lucene's regular expressions, and `*` in names.
//!
//! In: the pattern's text. Out: [`Pattern`], anchored at both ends, linear in time, bounded in memory.
//! Never: back-tracking.

use regex::{Regex, RegexBuilder};

/// Longest pattern, as OpenSearch's `index.max_regex_length`.
pub(crate) const LENGTH_MAX: usize = 1000;
/// Most memory of a compiled pattern, in bytes.
const SIZE_MAX: usize = 4 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Every match begins with these characters.
    prefix: String,
}

impl Pattern {
    /// `*` is any text, `?` one character, `\` takes the meaning from the next.
    pub(crate) fn wildcard(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        let (mut source, mut prefix, mut open) = (String::new(), String::new(), true);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' => {
                    source.push_str(".*");
                    open = false;
                    continue;
                }
                '?' => {
                    source.push('.');
                    open = false;
                    continue;
                }
                '\\' => chars.next().unwrap_or('\\'),
                other => other,
            };
            if open {
                prefix.push(literal);
            }
            push_literal(&mut source, literal);
        }
        Pattern::compile(text, &source, prefix, ignore_case)
    }

    /// Lucene's regular expressions. The error names the operator that is not supported.
    pub(crate) fn regex(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        let source = lucene_to_rust(text)?;
        Pattern::compile(text, &source, literal_prefix(text), ignore_case)
    }

    /// Exactly this text, whatever its case.
    pub(crate) fn literal(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        Pattern::compile(text, &regex::escape(text), text.to_owned(), ignore_case)
    }

    /// Texts that begin so, whatever their case.
    pub(crate) fn literal_prefix(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        Pattern::compile(text, &format!("{}.*", regex::escape(text)), text.to_owned(), ignore_case)
    }

    fn compile(text: &str, source: &str, prefix: String, ignore_case: bool) -> Result<Pattern, String> {
        if text.chars().count() > LENGTH_MAX {
            return Err(format!("the pattern has more than {LENGTH_MAX} characters"));
        }
        let regex = RegexBuilder::new(&format!("^(?:{source})$"))
            .dot_matches_new_line(true)
            .case_insensitive(ignore_case)
            .size_limit(SIZE_MAX)
            .dfa_size_limit(SIZE_MAX)
            .build()
            .map_err(|error| {
                format!("invalid or too large pattern [{}]: {error}", crate::json::cut(text, 100))
            })?;
        Ok(Pattern { regex, prefix: if ignore_case { String::new() } else { prefix } })
    }

    /// The whole text fits.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Every text that fits begins so.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
}

fn push_literal(source: &mut String, c: char) {
    let mut buffer = [0; 4];
    source.push_str(&regex::escape(c.encode_utf8(&mut buffer)));
}

/// Characters before the first operator. A literal that an operator may take back is left out.
fn literal_prefix(text: &str) -> String {
    if text.contains('|') {
        return String::new();
    }
    let mut prefix = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let literal = match c {
            '\\' => match chars.next() {
                Some(next) if !next.is_alphanumeric() => next,
                _ => break,
            },
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '#' | '@' | '&' | '<' | '>'
            | '~' => {
                break;
            }
            other => other,
        };
        if matches!(chars.peek(), Some('*' | '?' | '{')) {
            break;
        }
        prefix.push(literal);
    }
    prefix
}

/// Translates Lucene's syntax. `~`, `&`, `<n-m>` have no counterpart and are refused.
fn lucene_to_rust(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '.' | '*' | '+' | '?' | '(' | ')' | '|' | '{' | '}' => out.push(c),
            '\\' => match chars.next() {
                Some(class @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => out.push_str(ascii_class(class)),
                Some(literal) => push_literal(&mut out, literal),
                None => return Err("the pattern ends with a backslash".to_owned()),
            },
            '[' => copy_class(&mut chars, &mut out)?,
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some(literal) => push_literal(&mut out, literal),
                    None => return Err("a quoted part of the pattern has no end".to_owned()),
                }
            },
            '@' => out.push_str(".*"),
            '#' => out.push_str(r"[^\s\S]"),
            '~' | '&' | '<' | '>' => {
                return Err(format!(
                    "the regular-expression operator [{c}] is not supported by the embedded index"
                ));
            }
            literal => push_literal(&mut out, literal),
        }
        // Lucene has no lazy and no possessive quantifier: a second one applies to the first.
        if matches!(c, '*' | '+' | '?' | '}') && matches!(chars.peek(), Some('*' | '+' | '?')) {
            return Err("two quantifiers in a row are not supported by the embedded index".to_owned());
        }
    }
    Ok(out)
}

fn ascii_class(letter: char) -> &'static str {
    match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[ \t\n\r]",
        'S' => r"[^ \t\n\r]",
        'w' => "[A-Za-z0-9_]",
        _ => "[^A-Za-z0-9_]",
    }
}

fn copy_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        match chars.next() {
            Some(']') if !empty => break,
            Some('-') => out.push('-'),
            Some('\\') => match chars.next() {
                Some(literal) => push_class_literal(out, literal),
                None => return Err("a character class of the pattern has no end".to_owned()),
            },
            Some(literal) => push_class_literal(out, literal),
            None => return Err("a character class of the pattern has no end".to_owned()),
        }
        empty = false;
    }
    out.push(']');
    Ok(())
}

fn push_class_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// `*` is any text; everything else stands for itself. For names of fields and indices.
pub(crate) fn star_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Pattern, star_matches};

    #[track_caller]
    fn check(pattern: &Result<Pattern, String>, prefix: &str, hits: &[&str], misses: &[&str]) {
        let pattern = pattern.as_ref().unwrap();
        assert_eq!(pattern.prefix(), prefix);
        for hit in hits {
            assert!(pattern.matches(hit), "{hit}");
        }
        for miss in misses {
            assert!(!pattern.matches(miss), "{miss}");
        }
    }

    #[test]
    fn wildcards_match_whole_texts() {
        check(&Pattern::wildcard("te*", false), "te", &["te", "test", "te\nx"], &["ate", "Te"]);
        check(&Pattern::wildcard("*1.0", false), "", &["192.168.1.0"], &["192.168.1x0"]);
        check(&Pattern::wildcard(r"a\*?", false), "a*", &["a*b"], &["aab", "a*"]);
        check(&Pattern::wildcard("TE*", true), "", &["test"], &["ate"]);
    }

    #[test]
    fn lucene_syntax_is_translated() {
        check(&Pattern::regex(r".*\.(exe|sh)", false), "", &["a.exe", ".sh"], &["exe", "a.exe.b"]);
        check(&Pattern::regex("ab?c", false), "a", &["ac", "abc"], &["abbc"]);
        check(&Pattern::regex("^a$", false), "^a$", &["^a$"], &["a"]);
        check(&Pattern::regex("[^a-c]+\"x.y\"@", false), "", &["zx.yq"], &["ax.y", "zxxy"]);
        check(&Pattern::regex(r"\d{2,3}", false), "", &["12", "123"], &["1", "1234"]);
        check(&Pattern::regex("a[]]b", false), "a", &["a]b"], &["ab"]);
        for bad in ["~a", "a&b", "<1-9>", "[a", "\"a", "a\\", "(a", "a**"] {
            assert!(Pattern::regex(bad, false).is_err(), "{bad}");
        }
        assert!(Pattern::regex("((a{1,200}){1,200}){1,200}", false).is_err());
    }

    #[test]
    fn stars_match_names() {
        for (pattern, text, expected) in [
            ("events-*", "events-20200101", true),
            ("events-*", "events", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abcX", false),
            ("events", "events", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(star_matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
