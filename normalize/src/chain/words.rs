//! Which plugins an event wakes: one pass over its keys and strings against a
//! hash table of all registrations, whatever the number of plugins.
//!
//! In: an event. Out: a set of plugin numbers. Never: a part of a string; a
//! registration equals the whole, whatever the case. (ASCII words equal ASCII
//! text alone: the Kelvin sign is no `k`.)

use std::collections::HashMap;

use model::event::{Event, Value, Visit};

/// Words below this length, in bytes, are sorted out by length, first and last letter before they are hashed.
const SHAPES: usize = 64;

/// A set of plugin numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    fn clear(&mut self, count: usize) {
        self.0.clear();
        self.0.resize(count.div_ceil(64), 0);
    }

    fn add(&mut self, number: usize) {
        if let Some(block) = self.0.get_mut(number / 64) {
            *block |= 1 << (number % 64);
        }
    }

    /// The lowest number in the set that is at least `from`.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let first = self.0.get(from / 64)? & (u64::MAX << (from % 64));
        if first != 0 {
            return Some(from / 64 * 64 + first.trailing_zeros() as usize);
        }
        let later = self.0.iter().enumerate().skip(from / 64 + 1).find(|(_, block)| **block != 0)?;
        Some(later.0 * 64 + later.1.trailing_zeros() as usize)
    }
}

/// The first and last letters that words of one length have, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    first: u32,
    last: u32,
}

/// The registrations of all plugins.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Lower-cased word to plugin numbers.
    plugins: HashMap<Box<str>, Vec<u16>, foldhash::fast::RandomState>,
    /// By length.
    shapes: Vec<Shape>,
    /// Longest word that the shapes do not tell of, because it is long or not ASCII; 0 where there is none.
    odd_longest: usize,
    count: usize,
    lower: String,
}

impl Words {
    /// Registers the words of the plugin of this number.
    pub(super) fn register(&mut self, number: u16, words: &[&str]) {
        self.count = self.count.max(usize::from(number) + 1);
        self.shapes.resize(SHAPES, Shape::default());
        for word in words {
            let word = word.to_lowercase();
            match self.shapes.get_mut(word.len()) {
                Some(shape) if word.is_ascii() => {
                    shape.first |= letter(word.as_bytes().first());
                    shape.last |= letter(word.as_bytes().last());
                }
                _ => self.odd_longest = self.odd_longest.max(word.len()),
            }
            let numbers = self.plugins.entry(word.into_boxed_str()).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }

    /// The plugins that a key or a string of the event names.
    pub(super) fn find(&mut self, event: &Event, found: &mut Numbers) {
        found.clear(self.count);
        event.visit(&mut |visit| match visit {
            Visit::Key(text) | Visit::Leaf(Value::String(text)) => self.look_up(text, found),
            Visit::Leaf(_) => {}
        });
    }

    #[inline]
    fn look_up(&mut self, text: &str, found: &mut Numbers) {
        if let Some(shape) = self.shapes.get(text.len()) {
            let bytes = text.as_bytes();
            if shape.first & letter(bytes.first()) != 0 && shape.last & letter(bytes.last()) != 0 {
                return self.look_up_possible(text, found);
            }
        }
        // Lower-casing may change the length of what is not ASCII, at most threefold.
        if self.odd_longest > 0 && text.len() <= self.odd_longest.saturating_mul(3) {
            self.look_up_possible(text, found);
        }
    }

    fn look_up_possible(&mut self, text: &str, found: &mut Numbers) {
        self.lower.clear();
        if text.is_ascii() {
            self.lower.push_str(text);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.extend(text.chars().flat_map(char::to_lowercase));
        }
        for number in self.plugins.get(self.lower.as_str()).into_iter().flatten() {
            found.add(usize::from(*number));
        }
    }
}

/// One bit for a letter, whatever its case.
#[inline]
fn letter(byte: Option<&u8>) -> u32 {
    1 << (byte.copied().unwrap_or_default() & 31)
}

/// Every key, and every value that is no object or array, in document order; text lower-cased: what registrations
/// are compared with. The original's helper `dict2list`.
pub fn keys_and_values(event: &Event) -> Vec<String> {
    let mut list = Vec::new();
    event.visit(&mut |visit| match visit {
        Visit::Key(text) | Visit::Leaf(Value::String(text)) => list.push(text.to_lowercase()),
        Visit::Leaf(Value::Array(_) | Value::Object(_)) => {}
        Visit::Leaf(value) => list.push(value.to_json()),
    });
    list
}

#[cfg(test)]
mod tests {
    use model::event::Event;
    use proptest::prelude::*;

    use super::{Numbers, Words, keys_and_values};

    fn found(words: &[&str], json: &str) -> Vec<usize> {
        let mut set = Words::default();
        for (number, word) in words.iter().enumerate() {
            set.register(number as u16, &[word]);
        }
        let mut numbers = Numbers::default();
        set.find(&Event::from_json(json).unwrap(), &mut numbers);
        let mut list = Vec::new();
        while let Some(number) = numbers.next(list.last().map_or(0, |last| last + 1)) {
            list.push(number);
        }
        list
    }

    #[test]
    fn whole_keys_and_strings_at_any_depth_whatever_the_case() {
        let json = r#"{"A":[{"b":["X",{"c":"Deep"}]}],"n":5,"ÄÖ":"straße","bytes":"jöe"}"#;
        assert_eq!(
            found(&["a", "DEEP", "dee", "x", "5", "äö", "STRASSE", "Jöe", "c", "*"], json),
            [0, 1, 3, 5, 7, 8]
        );
        let long = "w".repeat(90);
        assert_eq!(found(&[&long, "y"], &format!(r#"{{"k":"{}"}}"#, long.to_uppercase())), [0]);
        let many: Vec<String> = (0..200).map(|n| format!("word{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(found(&many, r#"{"Word7":"word199","x":["WORD64"]}"#), [7, 64, 199]);
    }

    proptest! {
        #[test]
        fn as_a_loop_over_all_finds_it(words in proptest::collection::vec("\\PC{1,4}", 1..6), texts in proptest::collection::vec("\\PC{0,5}", 0..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut event = Event::new();
            for text in texts.iter().map(String::as_str).chain(words.first().copied()) {
                event.set_in("details", text, text.to_uppercase().as_str()).unwrap();
            }
            prop_assume!(!event.to_json().contains('\u{212a}'));
            let all = keys_and_values(&event);
            let expected: Vec<usize> = (0..words.len()).filter(|&n| all.contains(&words[n].to_lowercase())).collect();
            prop_assert_eq!(found(&words, &event.to_json()), expected);
        }
    }
}
