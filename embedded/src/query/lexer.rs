//! Tokens of Lucene's query syntax.
//!
//! In: the text. Out: [`Token`]s; words keep their backslashes until [`unescape`], because an escaped star is
//! no wildcard.

use super::ast::Limit;

/// Longest text in bytes.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Regex(String),
    Range {
        lower: Option<Limit>,
        upper: Option<Limit>,
    },
    Open,
    Close,
    Colon,
    Plus,
    Minus,
    Not,
    And,
    Or,
    /// What follows `^`.
    Boost(String),
    /// What follows `~`.
    Fuzzy(String),
}

impl Token {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Word(text) => format!("[{text}]"),
            Token::Quoted(text) => format!("[\"{text}\"]"),
            Token::Regex(text) => format!("[/{text}/]"),
            Token::Range { .. } => "a range".to_owned(),
            Token::Open => "[(]".to_owned(),
            Token::Close => "[)]".to_owned(),
            Token::Colon => "[:]".to_owned(),
            Token::Plus => "[+]".to_owned(),
            Token::Minus => "[-]".to_owned(),
            Token::Not => "[NOT]".to_owned(),
            Token::And => "[AND]".to_owned(),
            Token::Or => "[OR]".to_owned(),
            Token::Boost(text) => format!("[^{text}]"),
            Token::Fuzzy(text) => format!("[~{text}]"),
        }
    }
}

/// Cuts a text into tokens.
pub(super) struct Lexer<'t> {
    text: &'t str,
    chars: std::iter::Peekable<std::str::CharIndices<'t>>,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, chars: text.char_indices().peekable() }
    }

    /// All tokens, or what is wrong.
    pub(super) fn all(mut self) -> Result<Vec<Token>, String> {
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(format!("the text has more than {TEXT_BYTES_MAX} bytes"));
        }
        let mut tokens = Vec::new();
        while let Some((_, c)) = self.chars.peek().copied() {
            if is_space(c) {
                self.chars.next();
                continue;
            }
            tokens.push(self.token(c)?);
        }
        Ok(tokens)
    }

    fn token(&mut self, c: char) -> Result<Token, String> {
        let single = match c {
            '(' => Token::Open,
            ')' => Token::Close,
            ':' => Token::Colon,
            '+' => Token::Plus,
            '-' => Token::Minus,
            '!' => Token::Not,
            '"' => return self.delimited('"').map(Token::Quoted),
            '/' => return self.delimited('/').map(|text| Token::Regex(text.replace("\\/", "/"))),
            '[' | '{' => return self.range(),
            ']' | '}' => return Err(format!("[{c}] closes nothing")),
            '^' => {
                self.chars.next();
                return Ok(Token::Boost(self.number()));
            }
            '~' => {
                self.chars.next();
                return Ok(Token::Fuzzy(self.number()));
            }
            _ => return self.word(),
        };
        self.chars.next();
        Ok(single)
    }

    fn number(&mut self) -> String {
        let mut out = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| !is_space(*c) && *c != ')') {
            out.push(c);
        }
        out
    }

    /// Text up to the same character again; backslashes stay.
    fn delimited(&mut self, end: char) -> Result<String, String> {
        self.chars.next();
        let mut out = String::new();
        while let Some((_, c)) = self.chars.next() {
            if c == end {
                return Ok(out);
            }
            out.push(c);
            if c == '\\'
                && let Some((_, next)) = self.chars.next()
            {
                out.push(next);
            }
        }
        Err(format!("[{end}] is not closed"))
    }

    fn word(&mut self) -> Result<Token, String> {
        let mut out = String::new();
        while let Some((_, c)) = self.chars.peek().copied() {
            match c {
                '\\' => {
                    self.chars.next();
                    let (_, next) = self.chars.next().ok_or("the text ends with a backslash")?;
                    out.extend(['\\', next]);
                    continue;
                }
                '(' | ')' | ':' | '^' | '[' | ']' | '"' | '{' | '}' | '~' | '!' | '/' => break,
                c if is_space(c) => break,
                _ => out.push(c),
            }
            self.chars.next();
        }
        Ok(match out.as_str() {
            "AND" | "&&" => Token::And,
            "OR" | "||" => Token::Or,
            "NOT" => Token::Not,
            _ => Token::Word(out),
        })
    }

    fn range(&mut self) -> Result<Token, String> {
        let lower_inclusive = matches!(self.chars.next(), Some((_, '[')));
        let lower = self.range_part()?;
        if self.range_part()? != (false, "TO".to_owned()) {
            return Err("a range needs [a TO b]".to_owned());
        }
        let upper = self.range_part()?;
        self.skip_space();
        let upper_inclusive = match self.chars.next() {
            Some((_, ']')) => true,
            Some((_, '}')) => false,
            _ => return Err("a range is not closed".to_owned()),
        };
        let limit = |(quoted, text): (bool, String), inclusive| {
            (quoted || text != "*").then(|| Limit { value: unescape(&text), inclusive })
        };
        Ok(Token::Range { lower: limit(lower, lower_inclusive), upper: limit(upper, upper_inclusive) })
    }

    /// One part of a range, and whether it was quoted.
    fn range_part(&mut self) -> Result<(bool, String), String> {
        self.skip_space();
        if self.chars.peek().is_some_and(|(_, c)| *c == '"') {
            return Ok((true, self.delimited('"')?));
        }
        let mut out = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| !is_space(*c) && *c != ']' && *c != '}') {
            out.push(c);
        }
        if out.is_empty() { Err("a range breaks off".to_owned()) } else { Ok((false, out)) }
    }

    fn skip_space(&mut self) {
        while self.chars.next_if(|(_, c)| is_space(*c)).is_some() {}
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{3000}')
}

/// The word has a star or question mark that was not escaped.
pub(super) fn has_wildcard(word: &str) -> bool {
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '*' | '?' => return true,
            _ => {}
        }
    }
    false
}

/// Takes the backslashes out.
pub(super) fn unescape(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}
