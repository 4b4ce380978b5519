//! Distinct counts: a set of hashes while it is small, then HyperLogLog.
//!
//! In: 64-bit hashes. Out: how many different ones there were: exact up to [`EXACT_MAX`], then within about 1 %.

/// Distinct hashes that are held one by one.
const EXACT_MAX: usize = 4096;
/// Bits that choose a register: 2^14 registers, standard error 0.81 %.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;

/// A set of hashes, or an estimate of one.
#[derive(Clone, Debug)]
pub(crate) enum Sketch {
    Exact(foldhash::HashSet<u64>),
    Registers(Vec<u8>),
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch::Exact(foldhash::HashSet::default())
    }
}

impl Sketch {
    /// Adds a hash.
    pub(crate) fn add(&mut self, hash: u64) {
        match self {
            Sketch::Exact(set) => {
                set.insert(hash);
                if set.len() > EXACT_MAX {
                    let mut registers = vec![0; REGISTERS];
                    for hash in set.iter() {
                        raise(&mut registers, *hash);
                    }
                    *self = Sketch::Registers(registers);
                }
            }
            Sketch::Registers(registers) => raise(registers, hash),
        }
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: Sketch) {
        match other {
            Sketch::Exact(set) => set.into_iter().for_each(|hash| self.add(hash)),
            Sketch::Registers(theirs) => {
                if let Sketch::Exact(set) = self {
                    let mut registers = vec![0; REGISTERS];
                    for hash in set.iter() {
                        raise(&mut registers, *hash);
                    }
                    *self = Sketch::Registers(registers);
                }
                if let Sketch::Registers(ours) = self {
                    for (our, their) in ours.iter_mut().zip(theirs) {
                        *our = (*our).max(their);
                    }
                }
            }
        }
    }

    /// How many different hashes.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Sketch::Exact(set) => set.len() as u64,
            Sketch::Registers(registers) => estimate(registers),
        }
    }
}

fn raise(registers: &mut [u8], hash: u64) {
    let rank = (hash << PRECISION).leading_zeros().min(64 - PRECISION) + 1;
    if let Some(register) = registers.get_mut((hash >> (64 - PRECISION)) as usize) {
        *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
    }
}

fn estimate(registers: &[u8]) -> u64 {
    let count = registers.len() as f64;
    let sum: f64 = registers.iter().map(|r| 0.5_f64.powi(i32::from(*r))).sum();
    let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
    let empty = registers.iter().filter(|r| **r == 0).count();
    let corrected = if raw <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { raw };
    corrected.round() as u64
}

/// A well-mixed hash of a value, the same in every process (xxHash's finisher over FNV-1a).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0x1656_67b1_9e37_79f9);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::{Sketch, hash};

    fn of(range: std::ops::Range<u64>) -> Sketch {
        let mut sketch = Sketch::default();
        range.for_each(|n| sketch.add(hash(format!("value{n}").as_bytes())));
        sketch
    }

    #[test]
    fn small_counts_are_exact_and_large_ones_close() {
        assert_eq!(of(0..4000).count(), 4000);
        for size in [10_000_u64, 50_000, 300_000] {
            let error = of(0..size).count().abs_diff(size) as f64 / size as f64;
            assert!(error < 0.03, "{size}: {error}");
        }
    }

    #[test]
    fn merging_is_like_adding() {
        for (a, b) in
            [(0..100, 50..200), (0..100, 50..20_000), (0..20_000, 10_000..30_000), (0..20_000, 0..10)]
        {
            let end = a.end.max(b.end);
            let mut merged = of(a);
            merged.merge(of(b));
            assert_eq!(merged.count(), of(0..end).count());
        }
    }
}
