//! The names of modifiers.
//!
//! In: a name. Out: the modifier. Never: a name in another case, or two
//! modifiers of one name.

use crate::sigma::ast::{DatePart, Op};

/// A modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
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
pub(super) const NAMES: [(&str, Modifier); 33] = [
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
pub(super) const MORE_NAMES: [(&str, Modifier); 3] =
    [("neq", Modifier::Neq), ("phrase", Modifier::Phrase), ("words", Modifier::Words)];

pub(super) fn modifier(name: &str) -> Option<Modifier> {
    NAMES.iter().chain(&MORE_NAMES).find(|(known, _)| *known == name).map(|(_, m)| *m)
}
