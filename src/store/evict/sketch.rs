//! How often keys were in use, those that are gone included: a count-min sketch of 4-bit counters.
//!
//! ```text
//!   block    128 counters in 8 words: one cache line; a key's counters all lie in one block
//!   counter  the smallest of a key's four is its count; a use raises those that are smallest
//! ```
//!
//! All counters are halved now and then, so that what was popular once is forgotten. It belongs
//! to one shard and is changed under its lock: no atomics.

const BLOCK_WORDS: usize = 8;
const COUNTERS_PER_BLOCK: u64 = 128;
const COUNTERS_PER_KEY: u64 = 4;
const ROWS: u32 = 4;
const COUNT_MAX: u64 = 15;
/// What is left of all counters of a word when each is halved.
const HALVED: u64 = 0x7777_7777_7777_7777;

type Block = [u64; BLOCK_WORDS];

/// Counts of use of a shard's keys.
#[derive(Debug)]
pub struct Sketch {
    /// A power of two of them.
    blocks: Vec<Block>,
    additions: u64,
    /// Additions for every two counters after which all are halved.
    patience: u64,
    /// About the average of the counts that were asked for last, in 1024ths.
    average: u64,
}

impl Sketch {
    /// The smallest sketch, all counts 0. After `patience` uses for every two counters all are
    /// halved.
    pub fn new(patience: u64) -> Sketch {
        Sketch { blocks: vec![[0; BLOCK_WORDS]], additions: 0, patience, average: 1024 }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice())
    }

    /// Doubles it until it is large enough for `keys` keys; counts stay.
    pub fn fit(&mut self, keys: u64) {
        while self.counters() < keys * COUNTERS_PER_KEY {
            self.blocks.extend_from_within(..);
        }
    }

    /// How often a key was in use beside the others: 0 for half of their average at most, 2 for
    /// twice as often at least, 1 for all between.
    ///
    /// So coarse because the counts of a loop over more keys than there is room for only tell who
    /// had its turn already: those who had not must not go for that.
    pub fn class(&mut self, fingerprint: u32) -> u8 {
        let count = u64::from(self.count(fingerprint)) << 10;
        let average = self.average;
        self.average = average - average / 64 + count / 64;
        if 2 * count <= average { 0 } else { 1 + u8::from(count >= 2 * average) }
    }

    /// How often a key was in use, 0 to 15.
    fn count(&self, fingerprint: u32) -> u8 {
        let (block, spots) = self.spots(fingerprint);
        let counts = spots.map(|spot| read(&self.blocks[block], spot));
        counts.into_iter().min().unwrap_or(0) as u8
    }

    /// Counts a use.
    pub fn add(&mut self, fingerprint: u32) {
        let (block, spots) = self.spots(fingerprint);
        let words = &mut self.blocks[block];
        let smallest = spots.map(|spot| read(words, spot)).into_iter().min().unwrap_or(0);
        if smallest == COUNT_MAX {
            return;
        }
        for (word, shift) in spots {
            if read(words, (word, shift)) == smallest {
                words[word] += 1 << shift;
            }
        }
        self.additions += 1;
        if self.additions >= self.counters() / 2 * self.patience {
            self.additions = 0;
            self.average /= 2;
            self.blocks.iter_mut().flatten().for_each(|word| *word = *word >> 1 & HALVED);
        }
    }

    fn counters(&self) -> u64 {
        self.blocks.len() as u64 * COUNTERS_PER_BLOCK
    }

    /// The block of a key and its counters there: word and shift.
    fn spots(&self, fingerprint: u32) -> (usize, [(usize, u32); ROWS as usize]) {
        let mixed = mix(fingerprint);
        let block = (mixed >> 32) as usize & (self.blocks.len() - 1);
        // Each row has two words of the block for itself, so no counter is named twice.
        let spots = std::array::from_fn(|row| {
            let bits = (mixed >> (5 * row)) as u32;
            (2 * row + (bits & 1) as usize, (bits >> 1 & 15) * 4)
        });
        (block, spots)
    }
}

fn read(block: &Block, (word, shift): (usize, u32)) -> u64 {
    block[word] >> shift & COUNT_MAX
}

/// Spreads the bits of a fingerprint over a word.
fn mix(fingerprint: u32) -> u64 {
    let mixed = (u64::from(fingerprint) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_often_is_counted_higher() {
        let mut sketch = Sketch::new(100);
        sketch.fit(1000);
        for fingerprint in 0..1000 {
            for _ in 0..=(fingerprint % 10) {
                sketch.add(fingerprint);
            }
        }
        let off = (0..1000).filter(|f| u32::from(sketch.count(*f)) != f % 10 + 1).count();
        assert!(off < 100, "{off} of 1000 are counted too high");
        assert!((0..1000).all(|f| u32::from(sketch.count(f)) > f % 10), "never too low");
    }

    #[test]
    fn counts_stay_when_it_grows_and_halve_when_it_ages() {
        let mut sketch = Sketch::new(1000);
        for _ in 0..9 {
            sketch.add(7);
        }
        sketch.fit(10_000);
        assert_eq!(sketch.count(7), 9);
        assert!(sketch.bytes() >= 10_000 * 2);
        let counters = sketch.counters();
        let others = (0..counters).map(|other| 1_000_000 + other as u32);
        sketch.patience = 2;
        others.for_each(|other| sketch.add(other));
        assert!((4..=5).contains(&sketch.count(7)), "{}", sketch.count(7));
    }

    #[test]
    fn counts_are_judged_beside_the_average() {
        let mut sketch = Sketch::new(1000);
        sketch.fit(4000);
        // Of twenty keys one is used often and one hardly.
        let uses = |fingerprint: u32| match fingerprint % 20 {
            0 => 14,
            10 => 1,
            _ => 4,
        };
        for fingerprint in 0..1000 {
            (0..uses(fingerprint)).for_each(|_| sketch.add(fingerprint));
        }
        (0..1000).for_each(|fingerprint| _ = sketch.class(fingerprint));
        for (wanted, class) in [(14, 2), (1, 0), (4, 1)] {
            let of = (0..1000).map(|fingerprint| (fingerprint, sketch.class(fingerprint)));
            let of: Vec<_> = of.filter(|(fingerprint, _)| uses(*fingerprint) == wanted).collect();
            let right = of.iter().filter(|(_, found)| *found == class).count();
            assert!(right * 5 > of.len() * 4, "{right} of {} are of class {class}", of.len());
        }
    }

    #[test]
    fn a_count_ends_at_fifteen() {
        let mut sketch = Sketch::new(1000);
        (0..100).for_each(|_| sketch.add(3));
        assert_eq!(sketch.count(3), 15);
    }
}
