//! Lucene's query syntax, as `query_string` and `?q=` take it.
//!
//! In: `category:bruteforce AND (hostname:/web.*/ OR "exact words") -severity:INFO`. Out: a [`Query`], or an
//! error that says where the text breaks off. Clauses combine as in Lucene's classic parser, words in a row without
//! an operator go to a field together. Fuzzy terms (`~`) are refused.

use jiff::tz::TimeZone;

use super::ast::{Bool, Fields, Limit, Query, Range, Test};
use super::lexer::{Lexer, Token, has_wildcard, unescape};
use crate::error::ApiError;
use crate::json::cut;
use crate::patterns::Pattern;

/// Deepest nesting of brackets.
const DEPTH_MAX: usize = 30;
/// Most clauses of the whole text.
const CLAUSES_MAX: usize = 1024;

/// What a text is read with.
#[derive(Clone, Debug)]
pub(crate) struct Syntax {
    /// Fields of clauses that name none.
    pub(crate) names: Vec<(String, f32)>,
    /// Words without an operator must all match.
    pub(crate) all: bool,
    /// Fields to whose type a clause does not fit match nothing.
    pub(crate) lenient: bool,
    pub(crate) leading_wildcard: bool,
    pub(crate) slop: u32,
    pub(crate) zone: TimeZone,
}

/// Reads a text.
pub(crate) fn parse(text: &str, syntax: &Syntax) -> Result<Query, ApiError> {
    let broken = |reason: String| {
        ApiError::new(
            400,
            "query_shard_exception",
            format!("Failed to parse query [{}]: {reason}", cut(text, 200)),
        )
    };
    let tokens = Lexer::new(text).all().map_err(broken)?;
    if tokens.is_empty() {
        return Ok(Query::None);
    }
    let mut parser = Parser { tokens: &tokens, at: 0, syntax, clauses: 0 };
    let query = parser.query(&Target::Default, 0).map_err(broken)?;
    match parser.peek(0) {
        None => Ok(query),
        Some(token) => Err(broken(format!("{} is not expected here", token.describe()))),
    }
}

/// Where a clause looks.
#[derive(Clone, Debug)]
enum Target {
    Default,
    Field(String),
}

struct Parser<'p> {
    tokens: &'p [Token],
    at: usize,
    syntax: &'p Syntax,
    clauses: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    None,
    Plus,
    Minus,
}

/// A clause and how it takes part.
struct Clause {
    query: Query,
    required: bool,
    prohibited: bool,
}

impl<'p> Parser<'p> {
    fn peek(&self, ahead: usize) -> Option<&'p Token> {
        self.tokens.get(self.at.saturating_add(ahead))
    }

    fn next(&mut self) -> Option<&'p Token> {
        let token = self.tokens.get(self.at);
        self.at = self.at.saturating_add(1);
        token
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek(0) == Some(wanted);
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    fn query(&mut self, target: &Target, depth: usize) -> Result<Query, String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let mut clauses: Vec<Clause> = Vec::new();
        while !matches!(self.peek(0), None | Some(Token::Close)) {
            let conjunction = match self.peek(0) {
                Some(Token::And | Token::Or) if clauses.is_empty() => {
                    return Err("an operator has nothing before it".to_owned());
                }
                Some(token @ (Token::And | Token::Or)) => {
                    self.at = self.at.saturating_add(1);
                    Some(token.clone())
                }
                _ => None,
            };
            let words = if conjunction.is_none() { self.words_in_a_row() } else { None };
            if let Some(text) = words {
                let query = self.leaf(target, self.match_words(text));
                self.add(&mut clauses, None, Sign::None, query)?;
                continue;
            }
            let sign = match self.peek(0) {
                Some(Token::Plus) => Sign::Plus,
                Some(Token::Minus | Token::Not) => Sign::Minus,
                _ => Sign::None,
            };
            if sign != Sign::None {
                self.at = self.at.saturating_add(1);
            }
            let query = self.clause(target, depth)?;
            self.add(&mut clauses, conjunction.as_ref(), sign, query)?;
        }
        if clauses.is_empty() {
            return Err("there is nothing between the brackets".to_owned());
        }
        Ok(combine(clauses))
    }

    /// How Lucene's classic parser reads AND, OR and the signs.
    fn add(
        &mut self,
        clauses: &mut Vec<Clause>,
        conjunction: Option<&Token>,
        sign: Sign,
        query: Query,
    ) -> Result<(), String> {
        self.clauses = self.clauses.saturating_add(1);
        if self.clauses > CLAUSES_MAX {
            return Err(format!("more than {CLAUSES_MAX} clauses"));
        }
        if let Some(last) = clauses.last_mut() {
            match conjunction {
                Some(Token::And) if !last.prohibited => last.required = true,
                Some(Token::Or) if self.syntax.all && !last.prohibited => last.required = false,
                _ => {}
            }
        }
        let prohibited = sign == Sign::Minus;
        let required = if self.syntax.all {
            !prohibited && conjunction != Some(&Token::Or)
        } else {
            sign == Sign::Plus || (conjunction == Some(&Token::And) && !prohibited)
        };
        clauses.push(Clause { query, required, prohibited });
        Ok(())
    }

    /// Two or more bare words without anything between them are one text.
    fn words_in_a_row(&mut self) -> Option<String> {
        let mut count: usize = 0;
        while let Some(Token::Word(word)) = self.peek(count) {
            let ends_badly = matches!(
                self.peek(count.saturating_add(1)),
                Some(Token::Colon | Token::Fuzzy(_) | Token::Boost(_) | Token::And | Token::Or)
            );
            if has_wildcard(word) || ends_badly {
                break;
            }
            count = count.saturating_add(1);
        }
        if count < 2 {
            return None;
        }
        let words = self.tokens.get(self.at..self.at.saturating_add(count))?;
        self.at = self.at.saturating_add(count);
        let texts: Vec<String> = words
            .iter()
            .filter_map(|token| match token {
                Token::Word(word) => Some(unescape(word)),
                _ => None,
            })
            .collect();
        Some(texts.join(" "))
    }

    fn clause(&mut self, target: &Target, depth: usize) -> Result<Query, String> {
        let own;
        let mut target = target;
        if let (Some(Token::Word(name)), Some(Token::Colon)) = (self.peek(0), self.peek(1)) {
            own = Target::Field(unescape(name));
            target = &own;
            self.at = self.at.saturating_add(2);
        }
        let query = match self.next() {
            Some(Token::Open) => {
                let inner = self.query(target, depth.saturating_add(1))?;
                if !self.take(&Token::Close) {
                    return Err("a bracket is not closed".to_owned());
                }
                inner
            }
            Some(Token::Quoted(text)) => {
                let slop = match self.peek(0) {
                    Some(Token::Fuzzy(slop)) => {
                        self.at = self.at.saturating_add(1);
                        slop.parse::<f32>()
                            .ok()
                            .filter(|s| (0.0..=1000.0).contains(s))
                            .ok_or("bad slop after ~")? as u32
                    }
                    _ => self.syntax.slop,
                };
                self.leaf(target, Test::Phrase { text: unescape(text), slop })
            }
            Some(Token::Regex(text)) => self.leaf(target, Test::Regexp(Pattern::regex(text, false)?)),
            Some(Token::Range { lower, upper }) => self.range(target, lower.clone(), upper.clone()),
            Some(Token::Word(word)) => {
                if matches!(self.peek(0), Some(Token::Fuzzy(_))) {
                    return Err("fuzzy terms (~) are not supported by the embedded index".to_owned());
                }
                self.word(target, word)?
            }
            Some(other) => return Err(format!("{} is not expected here", other.describe())),
            None => return Err("the text breaks off after an operator".to_owned()),
        };
        if let Some(Token::Boost(factor)) = self.peek(0) {
            self.at = self.at.saturating_add(1);
            let factor: f32 = factor
                .parse()
                .ok()
                .filter(|f: &f32| f.is_finite() && *f >= 0.0)
                .ok_or("bad number after ^")?;
            return Ok(Query::Boost(Box::new(query), factor));
        }
        Ok(query)
    }

    fn word(&self, target: &Target, word: &str) -> Result<Query, String> {
        if let Target::Field(name) = target {
            if name == "_exists_" {
                return Ok(Fields::one(&unescape(word), Test::Exists));
            }
            if name == "*" && word == "*" {
                return Ok(Query::All);
            }
            if word == "*" {
                return Ok(self.leaf(target, Test::Exists));
            }
            if let Some(query) = self.one_sided(target, word) {
                return Ok(query);
            }
        } else if word == "*" {
            return Ok(Query::All);
        }
        if !has_wildcard(word) {
            return Ok(self.leaf(target, self.match_words(unescape(word))));
        }
        if word.starts_with(['*', '?']) && !self.syntax.leading_wildcard {
            return Err("'*' or '?' not allowed as first character".to_owned());
        }
        if let Some(start) = word.strip_suffix('*')
            && !has_wildcard(start)
            && !start.ends_with('\\')
        {
            let test = Test::Prefix { value: unescape(start), ignore_case: false, normalize: true };
            return Ok(self.leaf(target, test));
        }
        let test = Test::Wildcard { pattern: word.to_owned(), ignore_case: false, normalize: true };
        Ok(self.leaf(target, test))
    }

    /// `field:>=10` and its kin.
    fn one_sided(&self, target: &Target, word: &str) -> Option<Query> {
        let limit = |text: &str, inclusive| Some(Limit { value: unescape(text), inclusive });
        if let Some(rest) = word.strip_prefix(">=") {
            return Some(self.range(target, limit(rest, true), None));
        }
        if let Some(rest) = word.strip_prefix("<=") {
            return Some(self.range(target, None, limit(rest, true)));
        }
        if let Some(rest) = word.strip_prefix('>') {
            return Some(self.range(target, limit(rest, false), None));
        }
        let rest = word.strip_prefix('<')?;
        Some(self.range(target, None, limit(rest, false)))
    }

    fn range(&self, target: &Target, lower: Option<Limit>, upper: Option<Limit>) -> Query {
        let range = Range { lower, upper, format: None, zone: self.syntax.zone.clone() };
        self.leaf(target, Test::Range(range))
    }

    fn match_words(&self, text: String) -> Test {
        Test::Match { text, all: self.syntax.all, minimum: None, empty_matches_all: false }
    }

    fn leaf(&self, target: &Target, test: Test) -> Query {
        let (names, lenient) = match target {
            Target::Default => (self.syntax.names.clone(), self.syntax.lenient),
            Target::Field(name) => (vec![(name.clone(), 1.0)], self.syntax.lenient),
        };
        Query::Fields(Fields { names, test, lenient })
    }
}

fn combine(mut clauses: Vec<Clause>) -> Query {
    if clauses.len() == 1
        && clauses.first().is_some_and(|c| !c.prohibited)
        && let Some(only) = clauses.pop()
    {
        return only.query;
    }
    let mut made = Bool::default();
    for clause in clauses {
        let list = match (clause.required, clause.prohibited) {
            (_, true) => &mut made.must_not,
            (true, false) => &mut made.must,
            (false, false) => &mut made.should,
        };
        list.push(clause.query);
    }
    Query::Bool(made)
}

#[cfg(test)]
mod tests {
    use super::{Bool, Fields, Query, Syntax, Test, parse};

    /// A query as one line.
    fn show(query: &Query) -> String {
        let list = |queries: &[Query]| queries.iter().map(show).collect::<Vec<_>>().join(" ");
        match query {
            Query::All => "ALL".into(),
            Query::None => "NONE".into(),
            Query::Boost(inner, factor) => format!("{}^{factor}", show(inner)),
            Query::Bool(Bool { must, should, must_not, .. }) => {
                let mut parts = Vec::new();
                for (sign, queries) in [("+", must), ("|", should), ("-", must_not)] {
                    if !queries.is_empty() {
                        parts.push(format!("{sign}[{}]", list(queries)));
                    }
                }
                format!("({})", parts.join(""))
            }
            Query::Fields(Fields { names, test, .. }) => {
                let names: Vec<&str> = names.iter().map(|(n, _)| n.as_str()).collect();
                let test = match test {
                    Test::Match { text, .. } => text.clone(),
                    Test::Phrase { text, slop } => format!("\"{text}\"~{slop}"),
                    Test::Prefix { value, .. } => format!("{value}…"),
                    Test::Wildcard { pattern, .. } => format!("w/{pattern}/"),
                    Test::Regexp(pattern) => format!("r/{}/", pattern.prefix()),
                    Test::Exists => "EXISTS".into(),
                    Test::Range(range) => {
                        let end = |l: &Option<super::Limit>| {
                            l.as_ref().map_or("*".to_owned(), |l| {
                                format!("{}{}", if l.inclusive { "=" } else { "!" }, l.value)
                            })
                        };
                        format!("[{} {}]", end(&range.lower), end(&range.upper))
                    }
                    other => format!("{other:?}"),
                };
                format!("{}:{test}", names.join(","))
            }
            other => format!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = parse(text, &Syntax::default()).map_or_else(|e| e.reason, |q| show(&q));
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn clauses_combine_as_in_lucene() {
        check("a", "*:a");
        check("summary: test conf", "(|[summary:test *:conf])");
        check("a b c", "*:a b c");
        check("a b AND c", "(+[*:b *:c]|[*:a])");
        check("a AND b OR c", "(+[*:a *:b]|[*:c])");
        check("a OR b", "(|[*:a *:b])");
        check("a AND NOT b", "(+[*:a]-[*:b])");
        check("+a -b c", "(+[*:a]|[*:c]-[*:b])");
        check("NOT a", "(-[*:a])");
        check("!a && b", "(+[*:b]-[*:a])");
        check("f:(a OR b) AND g:c", "(+[(|[f:a f:b]) g:c])");
        check("f:(a b)^2", "f:a b^2");
    }

    #[test]
    fn terms_have_their_kinds() {
        check("f:\"x y\"~3", "f:\"x y\"~3");
        check("f:/ab.*\\/c/", "f:r/ab/");
        check("f:ab*", "f:ab…");
        check("f:a*b", "f:w/a*b/");
        check("f:*", "f:EXISTS");
        check("*:*", "ALL");
        check("*", "ALL");
        check("_exists_:f.g", "f.g:EXISTS");
        check("f:a\\:b\\*", "f:a:b*");
        check("details.\\*:x", "details.*:x");
        check("f:[10.1.1.0 TO 10.1.1.255]", "f:[=10.1.1.0 =10.1.1.255]");
        check("f:{1 TO *]", "f:[!1 *]");
        check("f:[\"a b\" TO \"c\"}", "f:[=a b !c]");
        check("f:>=10", "f:[=10 *]");
        check("f:(>1 AND <=9)", "(+[f:[!1 *] f:[* =9]])");
        check("now-1h", "*:now-1h");
    }

    #[test]
    fn broken_texts_say_so() {
        for text in [
            "(a", "a)", "\"a", "f:", "AND a", "a AND", "f:[1 TO", "f:[1 2]", "/a", "a~", "a^x", "()", "+",
            "f:/[/", "a:b:c",
        ] {
            let error = parse(text, &Syntax::default()).unwrap_err();
            assert!(error.reason.starts_with("Failed to parse query ["), "{text}: {}", error.reason);
        }
        assert!(parse(&"(".repeat(100_000), &Syntax::default()).is_err());
        check("", "NONE");
    }
}
