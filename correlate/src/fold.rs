//! Letters without case: Sigma compares texts so unless told otherwise.
//!
//! In: text. Out: folded text; two texts are equal without case when their
//! folded texts are equal. Never: a letter outside of ASCII that becomes one
//! inside (the Kelvin sign stays, so that what an ASCII automaton rules out
//! is out).

/// The folded form of one character.
pub fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => c,
    }
}

/// The folded form of a text.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Appends the folded form of a text.
pub fn fold_into(text: &str, out: &mut String) {
    if text.is_ascii() {
        let from = out.len();
        out.push_str(text);
        if let Some(added) = out.get_mut(from..) {
            added.make_ascii_lowercase();
        }
    } else {
        out.extend(text.chars().map(fold_char));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fold, fold_char};

    #[test]
    fn letters_lose_their_case_and_nothing_becomes_ascii() {
        assert_eq!(fold("AbC ÄÖ Ünï ΣΑΣ"), "abc äö ünï σασ");
        assert_eq!(fold("\u{212a}elvin \u{17f} İ"), "\u{212a}elvin \u{17f} İ");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(c in any::<char>()) {
            prop_assert_eq!(fold_char(fold_char(c)), fold_char(c));
        }
    }
}
