//! Numbers from a seed, the same on every machine.

use model::time::Clock;

/// Numbers from a seed (Steele et al., "Fast splittable pseudorandom number generators").
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// One of several.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let index = self.below(all.len().max(1) as u64);
        all.get(usize::try_from(index).unwrap_or(0)).copied()
    }
}

/// The seed of `MOZDEF_SEED`, or a new one.
///
/// # Errors
/// The variable is no number.
pub fn seed() -> anyhow::Result<u64> {
    match std::env::var("MOZDEF_SEED") {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(Clock::System.now().micros().unsigned_abs()),
    }
}
