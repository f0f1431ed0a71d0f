//! Keyed, counter-based randomness: the only source of random numbers in the crate.
//!
//! A [`Key`] is a value, not a generator. Children are derived by name or index, so
//! the number drawn for (seed, purpose, step, layer, element) depends on those alone:
//! not on threads, not on what was drawn before, not on where a run was interrupted.
//! There is no state to save.
//!
//! Bulk draws (weights, generated data) come from a ChaCha8 stream started at a key.
//! Element-wise draws (dropout) come from [`Key::lanes`] and [`bits`], a stateless
//! 32-bit hash that vectorises.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    a: u64,
    b: u64,
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection on 64 bits.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key {
    pub const fn new(seed: u64) -> Self {
        Self { a: mix(seed.wrapping_add(GOLDEN)), b: mix(!seed) }
    }

    const fn absorb(self, word: u64, domain: u64) -> Self {
        let a = mix(self.a.wrapping_add(word).wrapping_add(GOLDEN)) ^ self.b;
        let b = mix(self.b.rotate_left(23) ^ word.wrapping_mul(GOLDEN) ^ domain).wrapping_add(a);
        Self { a: mix(a), b }
    }

    /// The child for a purpose, e.g. `"dropout"`.
    pub fn named(self, purpose: &str) -> Self {
        purpose.bytes().fold(self.absorb(purpose.len() as u64, 1), |k, c| k.absorb(c as u64, 2))
    }

    /// The child for a counter: a step, a layer, an example.
    pub const fn index(self, i: u64) -> Self {
        self.absorb(i, 3)
    }

    /// A ChaCha8 generator that starts here.
    pub fn stream(self) -> ChaCha8Rng {
        let mut seed = [0u8; 32];
        for (i, chunk) in seed.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.absorb(i as u64, 4).a.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }

    /// Two 32-bit words that key [`bits`].
    pub const fn lanes(self) -> (u32, u32) {
        (self.a as u32, (self.b >> 32) as u32)
    }

    /// 64 bits that identify the key.
    pub const fn bits64(self) -> u64 {
        self.a ^ self.b.rotate_left(32)
    }
}

/// 32 hashed bits for element `i` under `lanes`: two keyed rounds of the `lowbias32`
/// finaliser (C. Wellons, "Prospecting for hash functions", 2018). Four multiplications,
/// no state, no branches, so loops over `i` vectorise.
#[inline(always)]
pub const fn bits(lanes: (u32, u32), i: u32) -> u32 {
    const fn round(mut x: u32) -> u32 {
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }
    round(round(i ^ lanes.0).wrapping_add(lanes.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn children_differ_and_repeat() {
        let key = Key::new(7);
        let draw = |k: Key| k.stream().next_u64();
        assert_eq!(draw(key.named("dropout").index(3)), draw(key.named("dropout").index(3)));
        let mut seen = std::collections::HashSet::new();
        for name in ["dropout", "init", "order", "", "a", "aa"] {
            for i in 0..1000 {
                assert!(seen.insert(draw(key.named(name).index(i))), "{name} {i}");
            }
        }
        assert!(seen.insert(draw(Key::new(8).named("dropout").index(3))));
    }

    /// Each output bit is fair, alone and jointly with the same bit of the next element
    /// and of the next key. 5 sigma of 2^20 fair coins is 2,560.
    #[test]
    fn hashed_bits_are_fair_and_uncorrelated() {
        const N: u32 = 1 << 20;
        let (k0, k1) = (Key::new(1).lanes(), Key::new(2).lanes());
        for bit in 0..32 {
            let (mut ones, mut serial, mut across) = (0i64, 0i64, 0i64);
            for i in 0..N {
                let x = bits(k0, i);
                ones += (x >> bit & 1) as i64;
                serial += ((x ^ bits(k0, i + 1)) >> bit & 1) as i64;
                across += ((x ^ bits(k1, i)) >> bit & 1) as i64;
            }
            for (what, count) in [("ones", ones), ("serial", serial), ("across", across)] {
                let off = (count - (N / 2) as i64).abs();
                assert!(off < 2560, "bit {bit}: {what} off by {off}");
            }
        }
    }
}
