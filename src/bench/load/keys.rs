//! Which number goes into a request next.

use super::zipf::Zipf;
use crate::util::rng::SplitMix64;

/// How numbers are chosen.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Always 0: one key.
    One,
    /// Each number below the bound equally likely.
    Uniform(u64),
    /// Low numbers more often.
    Zipf(Zipf),
    /// One after the other: 0, 1, 2 and so on.
    InOrder,
}

impl Keys {
    /// The choice among `space` numbers; 0 stands for a single key.
    pub fn new(space: u64, zipf: Option<f64>) -> Keys {
        match zipf {
            _ if space == 0 => Keys::One,
            Some(exponent) => Keys::Zipf(Zipf::new(space, exponent)),
            None => Keys::Uniform(space),
        }
    }
}

/// The numbers of one thread.
#[derive(Clone, Debug)]
pub struct Numbers {
    keys: Keys,
    /// What else the thread leaves to chance.
    pub rng: SplitMix64,
    next: u64,
    step: u64,
}

impl Numbers {
    /// The numbers of thread `index` of `threads`.
    pub fn new(keys: Keys, seed: u64, index: usize, threads: usize) -> Numbers {
        let rng = SplitMix64::new(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Numbers { keys, rng, next: index as u64, step: threads as u64 }
    }

    /// The next one.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        match &self.keys {
            Keys::One => 0,
            Keys::Uniform(bound) => self.rng.below(*bound),
            Keys::Zipf(zipf) => zipf.sample(&mut self.rng),
            Keys::InOrder => {
                let number = self.next;
                self.next += self.step;
                number
            }
        }
    }
}
