//! Seeded randomness for the model tests of the collections.

/// A generator whose seed is printed, so that a failure can be run again with
/// `DSE_TEST_SEED=<seed>`.
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Seeded from `DSE_TEST_SEED`, or afresh.
    pub(crate) fn new(test: &str) -> Random {
        let given = std::env::var("DSE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().unwrap_or(1));
        println!("{test}: DSE_TEST_SEED={seed}");
        Random { state: seed }
    }

    /// The generator of a known seed.
    pub(crate) fn at(seed: u64) -> Random {
        Random { state: seed }
    }

    /// 64 random bits (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Up to `len_max` random bytes.
    pub(crate) fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = self.below(len_max + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }
}
