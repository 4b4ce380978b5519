//! Which plugins an event wakes: one pass over its keys and strings against a
//! table of all registrations, whatever the number of plugins.
//!
//! In: an event. Out: a set of plugin numbers. Never: a part of a string; a
//! registration equals the whole, whatever the case. (ASCII words equal ASCII
//! text alone: the Kelvin sign is no `k`.)

use std::collections::HashMap;

use model::event::{Event, Value, Visit};

/// Words below this length, in bytes, are told apart by length and a sketch of three letters.
const SHAPES: usize = 64;

/// A set of plugin numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    fn clear(&mut self, count: usize) {
        self.0.clear();
        self.0.resize(count.div_ceil(64), 0);
    }

    /// Whether it was not there yet.
    fn add(&mut self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        match self.0.get_mut(number / 64) {
            Some(block) if *block & bit == 0 => {
                *block |= bit;
                true
            }
            _ => false,
        }
    }

    /// Those that are at least `from`; how many were not there yet.
    fn add_all(&mut self, numbers: &[u16], from: usize) -> usize {
        numbers
            .iter()
            .map(|number| usize::from(*number))
            .filter(|number| *number >= from && self.add(*number))
            .count()
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

/// The registrations of all plugins.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// ASCII words by length, below [`SHAPES`].
    short: Vec<Group>,
    /// The others, lower-cased.
    odd: HashMap<Box<str>, Vec<u16>, foldhash::fast::RandomState>,
    /// Length of the longest of the others; 0 where there is none.
    odd_longest: usize,
    /// Plugins that every event wakes.
    always: Vec<u16>,
    /// One more than the highest plugin number.
    count: usize,
}

/// The words of one length.
#[derive(Clone, Debug, Default)]
struct Group {
    /// The sketches of all of them.
    sketches: u64,
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
struct Word {
    sketch: u64,
    text: Box<str>,
    plugins: Vec<u16>,
}

impl Words {
    /// Registers the words of the plugin of this number.
    pub(super) fn register(&mut self, number: u16, words: &[&str]) {
        self.count = self.count.max(usize::from(number) + 1);
        self.short.resize(SHAPES, Group::default());
        for word in words {
            match self.short.get_mut(word.len()) {
                Some(group) if word.is_ascii() => group.add(word, number),
                _ => {
                    self.odd_longest = self.odd_longest.max(word.len());
                    add_once(self.odd.entry(word.to_lowercase().into_boxed_str()).or_default(), number);
                }
            }
        }
    }

    /// Registers a plugin for every event.
    pub(super) fn register_always(&mut self, number: u16) {
        self.count = self.count.max(usize::from(number) + 1);
        self.always.push(number);
    }

    /// The plugins from this number on that a key or a string of the event names.
    pub(super) fn find(&self, event: &Event, from: usize, found: &mut Numbers) {
        found.clear(self.count);
        let mut missing = self.count.saturating_sub(from);
        missing -= found.add_all(&self.always, from);
        event.visit(&mut |visit| match visit {
            Visit::Key(text) | Visit::Leaf(Value::String(text)) if missing > 0 => {
                let sketch = sketch(text);
                if let Some(group) = self.short.get(text.len()).filter(|group| group.sketches & sketch != 0) {
                    missing -= group.look_up(text, sketch, from, found);
                }
                // Lower-casing may change the length of what is not ASCII, at most threefold.
                if self.odd_longest > 0 && text.len() <= self.odd_longest.saturating_mul(3) {
                    let plugins = self.odd.get(text.to_lowercase().as_str());
                    missing -= plugins.map_or(0, |plugins| found.add_all(plugins, from));
                }
            }
            Visit::Key(_) | Visit::Leaf(_) => {}
        });
    }
}

impl Group {
    fn add(&mut self, word: &str, number: u16) {
        let sketch = sketch(word);
        self.sketches |= sketch;
        match self.words.iter_mut().find(|known| known.text.eq_ignore_ascii_case(word)) {
            Some(known) => add_once(&mut known.plugins, number),
            None => self.words.push(Word { sketch, text: word.into(), plugins: vec![number] }),
        }
    }

    /// Adds the plugins of a text; how many of them are new.
    fn look_up(&self, text: &str, sketch: u64, from: usize, found: &mut Numbers) -> usize {
        let equal = |word: &&Word| word.sketch == sketch && word.text.eq_ignore_ascii_case(text);
        self.words.iter().find(equal).map_or(0, |word| found.add_all(&word.plugins, from))
    }
}

fn add_once(numbers: &mut Vec<u16>, number: u16) {
    if !numbers.contains(&number) {
        numbers.push(number);
    }
}

/// One of 64 bits for the first, middle and last letter, whatever their case.
#[inline]
fn sketch(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let letter = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default() & 31);
    let (first, middle, last) =
        (letter(bytes.first()), letter(bytes.get(bytes.len() / 2)), letter(bytes.last()));
    1 << ((first + 7 * middle + 19 * last) & 63)
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
        set.find(&Event::from_json(json).unwrap(), 0, &mut numbers);
        let mut list = Vec::new();
        while let Some(number) = numbers.next(list.last().map_or(0, |last| *last + 1)) {
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

    #[test]
    fn only_plugins_from_a_number_on_are_looked_for() {
        let mut set = Words::default();
        for (number, word) in ["a", "b", "b", "c"].iter().enumerate() {
            set.register(number as u16, &[word]);
        }
        let mut numbers = Numbers::default();
        set.find(&Event::from_json(r#"{"a":"b","c":"b"}"#).unwrap(), 2, &mut numbers);
        assert_eq!((numbers.next(0), numbers.next(3), numbers.next(4)), (Some(2), Some(3), None));
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
