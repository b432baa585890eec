//! A set of shards to be locked together.

use crate::limits::SHARDS;

const WORDS: usize = SHARDS / 64;

/// A set of shards to be locked together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSet {
    words: [u64; WORDS],
}

impl ShardSet {
    /// No shard.
    pub fn new() -> ShardSet {
        ShardSet::default()
    }

    /// Every shard.
    pub fn all() -> ShardSet {
        ShardSet { words: [u64::MAX; WORDS] }
    }

    /// Adds one.
    pub fn insert(&mut self, shard: u16) {
        self.words[usize::from(shard) >> 6] |= 1 << (shard & 63);
    }

    /// True when `shard` is in the set.
    pub fn contains(&self, shard: u16) -> bool {
        self.words[usize::from(shard) >> 6] & (1 << (shard & 63)) != 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let bits = std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)));
            let bits = bits.take_while(|&rest| rest != 0);
            bits.map(move |rest| (index as u32 * 64 + rest.trailing_zeros()) as u16)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_in_order() {
        let mut set = ShardSet::new();
        assert!(set.is_empty());
        for shard in [511, 0, 64, 63, 64] {
            set.insert(shard);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 511]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(63) && !set.contains(62));
        assert_eq!(ShardSet::all().iter().count(), SHARDS);
        assert_eq!(ShardSet::all().len(), SHARDS);
    }
}
