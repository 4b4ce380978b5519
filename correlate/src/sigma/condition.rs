//! Conditions over search identifiers: `and`, `or`, `not`, brackets, and
//! `1 of`, `any of`, `all of` with `them` or a pattern.
//!
//! In: the text of a condition. Out: an [`Ast`] over identifiers, or one
//! error with its column. Never: recursion deeper than [`DEPTH_MAX`].

/// Deepest nesting of brackets and `not`.
pub const DEPTH_MAX: usize = 64;

/// A condition as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ast {
    /// A search identifier.
    Name(String, usize),
    /// `1 of`, `any of` (false) or `all of` (true) the identifiers that fit; `None` is `them`.
    Of {
        /// Whether all must hold.
        all: bool,
        /// `selection_*`; `None` for `them`.
        pattern: Option<String>,
        /// Column of the first word, from 0.
        at: usize,
    },
    /// Negation.
    Not(Box<Ast>),
    /// All must hold.
    And(Vec<Ast>),
    /// One must hold.
    Or(Vec<Ast>),
}

/// Why a condition cannot be read, and at which character of it (from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// Character, from 0.
    pub at: usize,
    /// What is wrong.
    pub kind: Problem,
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing where an identifier should be.
    #[error("{found} stands where a search identifier is expected")]
    Expected {
        /// The word, or `the end`.
        found: String,
    },
    /// Something behind a whole condition.
    #[error("\"{0}\" is not expected here: join identifiers by \"and\" or \"or\"")]
    Trailing(String),
    /// An open bracket.
    #[error("a bracket \"(\" is not closed")]
    Unclosed,
    /// `2 of` and the like.
    #[error("\"{0} of\" is not part of Sigma: use \"1 of\" or \"all of\"")]
    Quantity(String),
    /// `| count() by` and the like.
    #[error(
        "the pipe aggregation is no longer part of Sigma: write a correlation rule (event_count, value_count)"
    )]
    Aggregation,
    /// `near`.
    #[error("\"near\" is no longer part of Sigma: write a correlation rule (temporal)")]
    Near,
    /// Nested too deep.
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
}

/// Reads a condition.
pub fn parse(text: &str) -> Result<Ast, ConditionError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, length: text.chars().count() };
    let ast = parser.or(0)?;
    match parser.peek() {
        None => Ok(ast),
        Some(token) => Err(ConditionError { at: token.at, kind: Problem::Trailing(token.word.clone()) }),
    }
}

struct Token {
    word: String,
    at: usize,
}

fn tokens(text: &str) -> Result<Vec<Token>, ConditionError> {
    let mut list: Vec<Token> = Vec::new();
    let mut joined = false;
    for (at, c) in text.chars().enumerate() {
        match c {
            '|' => return Err(ConditionError { at, kind: Problem::Aggregation }),
            '(' | ')' => {
                list.push(Token { word: c.to_string(), at });
                joined = false;
            }
            c if c.is_whitespace() => joined = false,
            c => match list.last_mut() {
                Some(last) if joined => last.word.push(c),
                _ => {
                    list.push(Token { word: c.to_string(), at });
                    joined = true;
                }
            },
        }
    }
    Ok(list)
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    length: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    /// Keywords are read in either case, as the first tools did.
    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.word.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Ast, ConditionError> {
        let first = self.and(depth)?;
        let mut all = vec![first];
        while self.takes("or") {
            all.push(self.and(depth)?);
        }
        Ok(single_or(all, Ast::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Ast, ConditionError> {
        let mut all = vec![self.not(depth)?];
        while self.takes("and") {
            all.push(self.not(depth)?);
        }
        Ok(single_or(all, Ast::And))
    }

    fn not(&mut self, depth: usize) -> Result<Ast, ConditionError> {
        let at = self.peek().map_or(self.length, |t| t.at);
        if depth > DEPTH_MAX {
            return Err(ConditionError { at, kind: Problem::TooDeep });
        }
        if self.takes("not") {
            return Ok(Ast::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.takes("(") {
            let inner = self.or(depth + 1)?;
            return if self.takes(")") {
                Ok(inner)
            } else {
                Err(ConditionError { at, kind: Problem::Unclosed })
            };
        }
        self.name()
    }

    fn name(&mut self) -> Result<Ast, ConditionError> {
        let Some(token) = self.tokens.get(self.next) else {
            return Err(ConditionError {
                at: self.length,
                kind: Problem::Expected { found: "the end".to_owned() },
            });
        };
        let (word, at) = (token.word.clone(), token.at);
        let lower = word.to_ascii_lowercase();
        if matches!(lower.as_str(), "and" | "or" | ")" | "of") {
            return Err(ConditionError { at, kind: Problem::Expected { found: format!("\"{word}\"") } });
        }
        self.next += 1;
        let of = self.peek().is_some_and(|t| t.word.eq_ignore_ascii_case("of"));
        if !of {
            return match (lower.as_str(), self.peek()) {
                ("near", Some(_)) => Err(ConditionError { at, kind: Problem::Near }),
                _ => Ok(Ast::Name(word, at)),
            };
        }
        self.next += 1;
        let all = match lower.as_str() {
            "1" | "any" => false,
            "all" => true,
            _ => return Err(ConditionError { at, kind: Problem::Quantity(word) }),
        };
        let Some(target) = self.tokens.get(self.next).filter(|t| !matches!(t.word.as_str(), "(" | ")"))
        else {
            let kind = Problem::Expected { found: "nothing".to_owned() };
            return Err(ConditionError { at: self.length, kind });
        };
        self.next += 1;
        let pattern = (!target.word.eq_ignore_ascii_case("them")).then(|| target.word.clone());
        Ok(Ast::Of { all, pattern, at })
    }
}

fn single_or(mut all: Vec<Ast>, join: fn(Vec<Ast>) -> Ast) -> Ast {
    if all.len() == 1 { all.swap_remove(0) } else { join(all) }
}

/// Whether an identifier fits a pattern in which `*` is any run of characters.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut pieces: Vec<&str> = pieces.collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Ast, fits, parse};

    fn show(ast: &Ast) -> String {
        let join = |all: &[Ast], word: &str| {
            format!("({})", all.iter().map(show).collect::<Vec<_>>().join(&format!(" {word} ")))
        };
        match ast {
            Ast::Name(name, _) => name.clone(),
            Ast::Of { all, pattern, .. } => {
                format!("{}:{}", if *all { "all" } else { "any" }, pattern.as_deref().unwrap_or("them"))
            }
            Ast::Not(inner) => format!("!{}", show(inner)),
            Ast::And(all) => join(all, "&"),
            Ast::Or(all) => join(all, "|"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match parse(text) {
            Ok(ast) => show(&ast),
            Err(error) => format!("{}: {}", error.at, error.kind),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn precedence_is_or_and_not() {
        check("a or b and not c", "(a | (b & !c))");
        check("(a or b) and c", "((a | b) & c)");
        check("not a and b", "(!a & b)");
        check("not (a or not not b)", "!(a | !!b)");
        check("1 of selection_* and not 1 of filter_*", "(any:selection_* & !any:filter_*)");
        check("all of them", "all:them");
        check("any of them", "any:them");
        check("A AND NOT b", "(A & !b)");
        check("(a)or(b)", "(a | b)");
    }

    #[test]
    fn errors_name_the_character() {
        check("a and", "5: the end stands where a search identifier is expected");
        check("a b", "2: \"b\" is not expected here: join identifiers by \"and\" or \"or\"");
        check("(a or b", "0: a bracket \"(\" is not closed");
        check("2 of them", "0: \"2 of\" is not part of Sigma: use \"1 of\" or \"all of\"");
        check(
            "a | count() by b > 5",
            "2: the pipe aggregation is no longer part of Sigma: write a correlation rule (event_count, value_count)",
        );
        check("and a", "0: \"and\" stands where a search identifier is expected");
        check("", "0: the end stands where a search identifier is expected");
        check(&"(".repeat(500), "65: nested deeper than 64");
    }

    #[test]
    fn patterns_of_identifiers() {
        assert!(
            fits("selection_*", "selection_a") && fits("*", "x") && fits("a*b*c", "a1b2c") && fits("a", "a")
        );
        assert!(
            !fits("selection_*", "filter")
                && !fits("a*b", "abc")
                && !fits("a", "ab")
                && !fits("ab*ba", "aba")
        );
    }
}
