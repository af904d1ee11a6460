//! The one source of chance in a run: everything follows from its seed.

/// SplitMix64: small, fast, good enough to spread faults.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`; `low` if the range is empty.
    pub const fn range(&mut self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.bits() % (high - low) }
    }

    /// An index below `len`; zero for an empty one.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.range(0, len as u64)).unwrap_or(0)
    }

    /// True `per_mille` times out of a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.bits() % 1000 < per_mille
    }

    /// A random 128-bit identity.
    pub fn id(&mut self) -> u128 {
        u128::from(self.bits()) << 64 | u128::from(self.bits())
    }

    /// One of the two nodes.
    pub const fn node(&mut self) -> usize {
        (self.bits() & 1) as usize
    }

    /// A generator of its own, so that one part's use of chance does not shift another's.
    pub const fn fork(&mut self) -> Self {
        Self::new(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let first: Vec<u64> = (0..100).map(|_| a.bits()).collect();
        assert_eq!(first, (0..100).map(|_| b.bits()).collect::<Vec<_>>());
        assert_ne!(first, (0..100).map(|_| c.bits()).collect::<Vec<_>>());
    }

    #[test]
    fn a_range_holds_its_bounds_and_an_empty_one_its_start() {
        let mut r = Rng::new(1);
        assert!((0..1000).all(|_| (5..9).contains(&r.range(5, 9))));
        assert_eq!(r.range(4, 4), 4);
        assert_eq!(r.index(0), 0);
    }
}
