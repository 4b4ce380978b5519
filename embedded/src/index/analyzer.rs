//! The standard analyzer: words by Unicode's rules (UAX 29), lower-cased.
//!
//! In: text. Out: tokens with positions. `a.b` and `A_B` are one word each, as in Lucene. Never: stop
//! words, stems.

use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_segmentation::{UnicodeSegmentation, UnicodeWordIndices};

/// The name under which it is registered.
pub(crate) const NAME: &str = "standard";

/// Longest token in bytes; Lucene cuts longer words into pieces of 255 characters.
const TOKEN_CHARS_MAX: usize = 255;

/// The analyzer, to be registered with each index.
pub(crate) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::from(Standard::default())
}

/// All tokens of a text.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut standard = Standard::default();
    let mut stream = standard.token_stream(text);
    while stream.advance() {
        out.push(stream.token().text.clone());
    }
    out
}

#[derive(Clone, Default)]
struct Standard {
    token: Token,
}

struct Words<'a> {
    words: UnicodeWordIndices<'a>,
    /// What is left of a word that is too long.
    rest: &'a str,
    rest_at: usize,
    token: &'a mut Token,
}

impl Tokenizer for Standard {
    type TokenStream<'a> = Words<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Words<'a> {
        self.token.reset();
        Words { words: text.unicode_word_indices(), rest: "", rest_at: 0, token: &mut self.token }
    }
}

impl TokenStream for Words<'_> {
    fn advance(&mut self) -> bool {
        if self.rest.is_empty() {
            let Some((at, word)) = self.words.next() else { return false };
            (self.rest_at, self.rest) = (at, word);
        }
        let end = self.rest.char_indices().nth(TOKEN_CHARS_MAX).map_or(self.rest.len(), |(at, _)| at);
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = self.rest_at;
        self.token.offset_to = self.rest_at.saturating_add(word.len());
        self.token.text.clear();
        if word.is_ascii() {
            self.token.text.push_str(word);
            self.token.text.make_ascii_lowercase();
        } else {
            self.token.text.extend(word.chars().flat_map(char::to_lowercase));
        }
        self.rest_at = self.token.offset_to;
        self.rest = rest;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text), expected, "{text}");
    }

    #[test]
    fn words_are_cut_as_lucene_cuts_them() {
        check("Test run", &["test", "run"]);
        check("/test/abc", &["test", "abc"]);
        check("test.mozilla.domain", &["test.mozilla.domain"]);
        check("LDaP_InVaLID_CREDeNTiALS", &["ldap_invalid_credentials"]);
        check("from 10.0.0.7 port 22 ssh2", &["from", "10.0.0.7", "port", "22", "ssh2"]);
        check("1.2.3.4:80", &["1.2.3.4", "80"]);
        check("Ünïcode ÄB's -- …", &["ünïcode", "äb's"]);
        check(".exe.test", &["exe.test"]);
        check("", &[]);
    }

    #[test]
    fn long_words_are_cut() {
        let found = tokens(&"a".repeat(600));
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [255, 255, 90]);
    }
}
