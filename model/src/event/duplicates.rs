//! Duplicate keys of one object, found in linear time however many there are.
//!
//! In: the children of an object. Out: those with a later twin. Never: a
//! decision; parsing counts them, edits drop them.

use std::hash::BuildHasher;

use super::node::{Node, small};

/// Up to this many children are compared one by one, behind a small filter; more go through a hash table.
const FEW: usize = 32;

/// Working memory of the search.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Open addressing; 0 is free, else the child's index + 1.
    table: Vec<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Seen {
    /// How many of these keys have a later twin.
    #[inline]
    pub(super) fn count(&mut self, text: &str, children: &[Node]) -> u32 {
        let mut count = 0;
        self.shadowed(text, children, |_| count += 1);
        count
    }

    /// Calls `hit` with the index of each child that has a later twin, from the last to the first.
    #[inline]
    pub(super) fn shadowed(&mut self, text: &str, children: &[Node], hit: impl FnMut(usize)) {
        if children.len() <= FEW {
            few(text, children, hit);
        } else {
            self.many(text, children, hit);
        }
    }

    fn many(&mut self, text: &str, children: &[Node], mut hit: impl FnMut(usize)) {
        let size = (children.len() * 2).next_power_of_two();
        self.table.clear();
        self.table.resize(size, 0);
        for (index, child) in children.iter().enumerate().rev() {
            let key = key_of(text, child);
            let mut place = self.hasher.hash_one(key) as usize & (size - 1);
            // The table is at most half full, so a free place comes.
            while let Some(slot) = self.table.get_mut(place) {
                if *slot == 0 {
                    *slot = small(index + 1);
                    break;
                }
                if children.get(*slot as usize - 1).is_some_and(|other| key_of(text, other) == key) {
                    hit(index);
                    break;
                }
                place = (place + 1) & (size - 1);
            }
        }
    }

    /// Gives back memory that a giant needed.
    pub(super) fn shrink(&mut self) {
        self.table = Vec::new();
    }
}

/// The filter: a key whose bit is not set yet is new, and nothing needs comparing.
#[inline]
fn few(text: &str, children: &[Node], mut hit: impl FnMut(usize)) {
    let mut filter = 0_u128;
    for (index, child) in children.iter().enumerate().rev() {
        let key = key_of(text, child);
        let bit = 1_u128 << (sketch(key) & 127);
        if filter & bit != 0 {
            let later = children.get(index + 1..).unwrap_or_default();
            if later.iter().any(|other| key_of(text, other) == key) {
                hit(index);
            }
        }
        filter |= bit;
    }
}

#[inline]
fn sketch(key: &[u8]) -> u32 {
    let first = key.first().map_or(0, |&b| u32::from(b));
    let middle = key.get(key.len() / 2).map_or(0, |&b| u32::from(b));
    let last = key.last().map_or(0, |&b| u32::from(b));
    small(key.len())
        .wrapping_mul(37)
        .wrapping_add(first * 5)
        .wrapping_add(middle * 17)
        .wrapping_add(last * 59)
}

fn key_of<'t>(text: &'t str, node: &Node) -> &'t [u8] {
    text.as_bytes().get(node.key.range()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use crate::event::node::{Node, Span};

    /// `few` and `many` against a plain loop over all pairs.
    #[test]
    fn every_way_of_search_finds_the_same() {
        let mut seen = Seen::default();
        let mut state = 9_u32;
        for count in [0, 1, 2, 5, 31, 32, 33, 64, 300] {
            let mut text = String::new();
            let mut children = Vec::new();
            for _ in 0..count {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let start = text.len();
                text.push_str(&format!("k{}", (state >> 16) % (count * 2)));
                children.push(Node { key: Span::new(start, text.len()), ..Node::NULL });
            }
            let key = |node: &Node| text.get(node.key.range()).unwrap();
            let expected: Vec<usize> = (0..children.len())
                .rev()
                .filter(|&i| children[i + 1..].iter().any(|later| key(later) == key(&children[i])))
                .collect();
            let mut got = Vec::new();
            seen.shadowed(&text, &children, |i| got.push(i));
            assert_eq!(got, expected, "{count} keys");
            assert_eq!(seen.count(&text, &children) as usize, expected.len(), "{count} keys");
        }
    }
}
