//! Findings about rule files: where, which kind, and what to do.
//!
//! In: what the front end, the compiler and the tests of a file object to.
//! Out: [`Finding`], one line each as `file:line:column: code message`.
//! Never: a finding without a place, and never only the first one of a file.

use std::fmt;
use std::sync::Arc;

/// A place in a file; both count from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Place {
    /// The first character of a file.
    pub const START: Place = Place { line: 1, column: 1 };
}

/// Whether a finding keeps the rule out of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Wrong: the rule (or the file) is not loaded.
    Error,
    /// Odd: the rule is loaded as it stands, or, for [`Code::Placeholder`], knowingly left out.
    Warning,
}

/// What is wrong. The text of a code is stable: scripts and suppressions rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The file or folder cannot be read.
    Unreadable,
    /// Not YAML.
    Syntax,
    /// A value of another type was expected.
    WrongType,
    /// A key that the block does not have.
    UnknownKey,
    /// A key twice in one map.
    DuplicateKey,
    /// A key is missing.
    MissingKey,
    /// A top-level key of nobody's; custom keys are allowed, so only a warning.
    CustomKey,
    /// Neither a detection nor a correlation.
    NotARule,
    /// An `action` of a rule collection that does not exist.
    UnknownAction,
    /// A modifier that does not exist.
    UnknownModifier,
    /// A modifier that does not fit the value or the other modifiers.
    ModifierMisfit,
    /// A regular expression that is refused.
    Regex,
    /// Not a network range.
    Cidr,
    /// Not a number.
    Number,
    /// A placeholder without values: the rule is not loaded.
    Placeholder,
    /// A condition that cannot be read.
    Condition,
    /// A condition names a search identifier that is not there.
    UnknownIdentifier,
    /// A search identifier that no condition uses.
    UnusedIdentifier,
    /// Part of the language, but not built yet.
    NotYet,
    /// A log source without category, product or service.
    LogSource,
    /// A correlation refers to a rule that is not there.
    UnknownRule,
    /// A time span that cannot be read.
    TimeSpan,
    /// A correlation condition that cannot be read.
    CorrelationCondition,
    /// Two rules with one id or name.
    DuplicateRule,
    /// A template that does not compile.
    Template,
    /// A word out of a closed list was expected.
    NotAllowed,
    /// `null` in a list of values; Sigma says that it stands alone.
    NullInList,
    /// The old pipe aggregation in a condition.
    Aggregation,
    /// A test in the file failed.
    TestFailed,
    /// More than a limit allows.
    Limit,
    /// A plain scalar that YAML 1.1 reads as another value than its text.
    PlainScalar,
    /// An empty map, list or value where something is needed.
    Empty,
    /// A field map or log source file that contradicts itself.
    Mapping,
    /// A field that no event of the rule's log source has.
    UnknownField,
    /// A filter that names a rule which is not there.
    FilterWithoutRule,
    /// A log source that no definition gives to any event.
    NoSource,
}

impl Code {
    /// Every code, in order of its text.
    pub const ALL: [Code; 36] = [
        Code::Unreadable,
        Code::Syntax,
        Code::WrongType,
        Code::UnknownKey,
        Code::DuplicateKey,
        Code::MissingKey,
        Code::CustomKey,
        Code::NotARule,
        Code::UnknownAction,
        Code::UnknownModifier,
        Code::ModifierMisfit,
        Code::Regex,
        Code::Cidr,
        Code::Number,
        Code::Placeholder,
        Code::Condition,
        Code::UnknownIdentifier,
        Code::UnusedIdentifier,
        Code::NotYet,
        Code::LogSource,
        Code::UnknownRule,
        Code::TimeSpan,
        Code::CorrelationCondition,
        Code::DuplicateRule,
        Code::Template,
        Code::NotAllowed,
        Code::NullInList,
        Code::Aggregation,
        Code::TestFailed,
        Code::Limit,
        Code::PlainScalar,
        Code::Empty,
        Code::Mapping,
        Code::UnknownField,
        Code::FilterWithoutRule,
        Code::NoSource,
    ];

    /// `S001` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Unreadable => "S001",
            Code::Syntax => "S002",
            Code::WrongType => "S003",
            Code::UnknownKey => "S004",
            Code::DuplicateKey => "S005",
            Code::MissingKey => "S006",
            Code::CustomKey => "S007",
            Code::NotARule => "S008",
            Code::UnknownAction => "S009",
            Code::UnknownModifier => "S010",
            Code::ModifierMisfit => "S011",
            Code::Regex => "S012",
            Code::Cidr => "S013",
            Code::Number => "S014",
            Code::Placeholder => "S015",
            Code::Condition => "S016",
            Code::UnknownIdentifier => "S017",
            Code::UnusedIdentifier => "S018",
            Code::NotYet => "S019",
            Code::LogSource => "S020",
            Code::UnknownRule => "S021",
            Code::TimeSpan => "S022",
            Code::CorrelationCondition => "S023",
            Code::DuplicateRule => "S024",
            Code::Template => "S025",
            Code::NotAllowed => "S026",
            Code::NullInList => "S027",
            Code::Aggregation => "S028",
            Code::TestFailed => "S029",
            Code::Limit => "S030",
            Code::PlainScalar => "S031",
            Code::Empty => "S032",
            Code::Mapping => "S033",
            Code::UnknownField => "S034",
            Code::FilterWithoutRule => "S035",
            Code::NoSource => "S036",
        }
    }

    /// Whether such a finding keeps the rule out.
    pub const fn weight(self) -> Weight {
        match self {
            Code::CustomKey
            | Code::Placeholder
            | Code::UnusedIdentifier
            | Code::NullInList
            | Code::PlainScalar
            | Code::UnknownField
            | Code::FilterWithoutRule
            | Code::NoSource => Weight::Warning,
            _ => Weight::Error,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One objection to one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path as it was given.
    pub file: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// What kind.
    pub code: Code,
    /// What, with the value and the remedy; lowercase, one line.
    pub message: String,
}

impl Finding {
    /// Whether it keeps the rule out.
    pub fn is_error(&self) -> bool {
        self.code.weight() == Weight::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} {}", self.file, self.place.line, self.place.column, self.code, self.message)
    }
}

/// The findings of one file, as they are made.
#[derive(Debug)]
pub struct Findings {
    file: Arc<str>,
    list: Vec<Finding>,
}

/// More findings than this of one file are not kept; nobody reads them.
const FINDINGS_MAX: usize = 200;

impl Findings {
    /// None yet.
    pub fn new(file: Arc<str>) -> Findings {
        Findings { file, list: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, place: Place, code: Code, message: impl Into<String>) {
        if self.list.len() < FINDINGS_MAX {
            let message = message.into().replace('\n', " ");
            self.list.push(Finding { file: Arc::clone(&self.file), place, code, message });
        }
    }

    /// The file's name.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// How many errors there are; comparing two counts tells whether a part was sound.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|f| f.is_error()).count()
    }

    /// All of them, in order of place.
    pub fn into_vec(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|f| (f.place, f.code));
        self.list
    }
}

/// ` (did you mean "x"?)`, where a known word is close enough to `word`; else nothing.
pub fn suggestion<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    let allowed = if word.chars().count() <= 4 { 1 } else { 2 };
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean \"{candidate}\"?)"))
}

/// Edits (insert, delete, replace, swap of neighbours) between two words; words over 64 characters are far apart.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX - 1);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let replaced = at(&above, j) + usize::from(ca != cb);
            let mut best = replaced.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    at(&above, b.len())
}

#[cfg(test)]
mod tests {
    use super::{Code, suggestion};

    #[test]
    fn codes_are_distinct_and_in_order() {
        let texts: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
        let mut sorted = texts.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(texts, sorted);
    }

    #[test]
    fn close_words_are_suggested() {
        assert_eq!(suggestion("contians", ["contains", "cidr"]), " (did you mean \"contains\"?)");
        assert_eq!(suggestion("xyz", ["contains", "cidr"]), "");
        assert_eq!(suggestion("timespam", ["timespan", "type"]), " (did you mean \"timespan\"?)");
    }
}
