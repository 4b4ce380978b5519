//! Chance from a seed.
//!
//! In: a seed. Out: numbers; the same seed gives the same ones. Never: the machine's own randomness.

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators").
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Dice of their own, which do not disturb these.
    pub fn split(&mut self) -> Dice {
        Dice(self.roll())
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` − 1; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll().checked_rem(bound).unwrap_or(0)
    }

    /// From `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    /// True `per_mille` times of a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        // No roll where there is nothing to decide: a fault that is switched off leaves the others as they were.
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_same_seed_falls_the_same_within_bounds() {
        let falls = |seed| {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(falls(1), falls(1));
        assert_ne!(falls(1), falls(2));
        assert!(
            falls(7).iter().all(|n| (3..=9).contains(n)) && falls(7).contains(&3) && falls(7).contains(&9)
        );
        let mut dice = Dice::new(5);
        assert_eq!((0..2000).filter(|_| dice.chance(0)).count(), 0);
        assert!((400..600).contains(&(0..2000).filter(|_| dice.chance(250)).count()));
        assert_eq!(dice.below(0), 0);
    }
}
