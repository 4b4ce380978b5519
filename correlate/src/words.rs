//! Words of a text, as the index's standard analyser cuts them: runs of
//! letters, digits and `_`; a dot, apostrophe or colon between letters and a
//! dot or comma between digits do not cut.
//!
//! In: text. Out: its words, folded. Never: allocation in [`has_phrase`].

use crate::fold::fold_char;

/// The folded words of a text.
pub fn fold(text: &str) -> Vec<String> {
    Words::new(text).map(|word| word.chars().map(fold_char).collect()).collect()
}

/// Whether these folded words stand in a folded text, one after the other.
pub fn has_phrase(text: &str, phrase: &[String]) -> bool {
    let Some((first, rest)) = phrase.split_first() else { return false };
    let mut words = Words::new(text);
    while let Some(word) = words.next() {
        if word == first {
            let mut ahead = words.clone();
            if rest.iter().all(|wanted| ahead.next() == Some(wanted.as_str())) {
                return true;
            }
        }
    }
    false
}

/// The words of a text, in order.
#[derive(Clone)]
struct Words<'t> {
    rest: &'t str,
}

impl<'t> Words<'t> {
    fn new(text: &'t str) -> Words<'t> {
        Words { rest: text }
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a mark between two characters belongs to the word.
fn joins(before: char, mark: char, after: char) -> bool {
    match mark {
        '.' | '\'' | '\u{2019}' => {
            (before.is_alphabetic() && after.is_alphabetic()) || (before.is_numeric() && after.is_numeric())
        }
        ':' | '\u{b7}' => before.is_alphabetic() && after.is_alphabetic(),
        ',' | ';' => before.is_numeric() && after.is_numeric(),
        _ => false,
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let start = self.rest.find(in_word)?;
        let (_, from) = self.rest.split_at(start);
        let mut end = from.len();
        let mut before = None;
        let mut chars = from.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if in_word(c) {
                before = Some(c);
                continue;
            }
            let after = chars.peek().map(|(_, c)| *c);
            let joined = matches!((before, after), (Some(b), Some(a)) if joins(b, c, a));
            if !joined {
                end = at;
                break;
            }
        }
        let (word, rest) = from.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::{fold, has_phrase};

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(fold(text), expected, "{text}");
    }

    #[test]
    fn words_are_cut_as_the_index_cuts_them() {
        check(
            "Failed password for root from 10.0.0.7 port 22",
            &["failed", "password", "for", "root", "from", "10.0.0.7", "port", "22"],
        );
        check(
            "sshd[12]: user@example.com, it's 1,000",
            &["sshd", "12", "user", "example.com", "it's", "1,000"],
        );
        check("keyboard-interactive/pam", &["keyboard", "interactive", "pam"]);
        check("end. Next", &["end", "next"]);
        check("ÄRGER über", &["ärger", "über"]);
        check(" -- ", &[]);
    }

    #[test]
    fn phrases_need_their_words_side_by_side() {
        let phrase = fold("login invalid");
        assert!(has_phrase("x login, invalid y", &phrase));
        assert!(!has_phrase("login was invalid", &phrase));
        assert!(!has_phrase("loginx invalid", &phrase));
        assert!(has_phrase("login login invalid", &phrase));
    }
}
