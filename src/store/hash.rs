//! Where a key belongs: hash slot, shard, and position in hash order.

use crate::util::crc16;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::hash::Hasher;

/// A key with its hashes; made once per request by [`Store::key`](super::Store::key).
#[derive(Clone, Copy, Debug, Default)]
pub struct Key<'a> {
    /// The key's bytes.
    pub bytes: &'a [u8],
    /// Position in hash order: the low five bits of the hash slot, then the keyed hash.
    pub hash: u64,
    /// Redis' hash slot.
    pub hash_slot: u16,
}

impl Key<'_> {
    /// The shard the key lives in.
    #[inline]
    pub fn shard(&self) -> u16 {
        self.hash_slot >> 5
    }
}

/// Bits of the hash slot that order the keys of a shard: `hash_slot & 31`.
const SLOT_BITS: u32 = 5;

/// The keyed hash of a store. Without its seed nobody can choose keys that collide.
pub struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
    /// The bits of the keyed hash that tests let through, to force collisions.
    #[cfg(test)]
    pub mask: u64,
}

impl KeyHasher {
    /// The hash that belongs to `seed`, the same in every process.
    pub fn new(seed: u64) -> KeyHasher {
        // Mixed, so that a small seed (0 above all) is as good as another.
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        KeyHasher {
            seed: mixed,
            shared: SharedSeed::from_u64(seed),
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    /// Hashes a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        let hash_slot = crc16::hash_slot(bytes);
        Key { bytes, hash: self.order(hash_slot, bytes), hash_slot }
    }

    #[inline]
    fn order(&self, hash_slot: u16, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(bytes);
        let keyed = hasher.finish();
        #[cfg(test)]
        let keyed = keyed & self.mask;
        u64::from(hash_slot) << (64 - SLOT_BITS) | keyed >> SLOT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_leads_and_the_keyed_hash_follows() {
        let hasher = KeyHasher::new(7);
        let key = hasher.key(b"{tag}one");
        assert_eq!(key.hash_slot, crc16::hash_slot(b"tag"));
        assert_eq!(key.hash >> 59, u64::from(key.hash_slot & 31));
        assert_eq!(key.shard(), key.hash_slot / 32);
        assert_ne!(key.hash, hasher.key(b"{tag}two").hash);
        assert_eq!(key.hash, KeyHasher::new(7).key(b"{tag}one").hash, "the seed decides");
        assert_ne!(key.hash, KeyHasher::new(8).key(b"{tag}one").hash);
    }

    /// Keys that differ in a digit must not clump: not in the bits that choose a bucket, nor in
    /// those of the tag.
    #[test]
    fn similar_keys_spread() {
        for seed in 0..8 {
            let hasher = KeyHasher::new(seed);
            let keys: Vec<String> = (0..50).map(|n| format!("cnt{n}")).collect();
            let hashes: Vec<u64> = keys.iter().map(|key| hasher.key(key.as_bytes()).hash).collect();
            for shift in [53, 47, 40, 0] {
                let mut buckets = [0; 64];
                for hash in &hashes {
                    buckets[(hash >> shift) as usize % 64] += 1;
                }
                // 50 balls in 64 boxes: 6 in one is a matter of 1 in 3000.
                assert!(buckets.iter().all(|count| *count <= 7), "seed {seed} shift {shift}");
            }
        }
    }
}
