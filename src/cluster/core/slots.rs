//! Which shard and which group a hash slot belongs to.
//!
//! ```text
//!   slot  0 ... 31 | 32 ... 63 | ... | 224 ... 255 | 256 ...
//!   shard     0    |     1     | ... |      7      |  8
//!   group     0                                    |  1
//! ```
//!
//! Invariant: fixed for the life of the data. A group moves as a whole, and a shard never leaves
//! its group.

use crate::limits::{CLUSTER_GROUPS, HASH_SLOTS, SHARDS};
use crate::util::crc16::hash_slot;
use std::ops::Range;

const SLOTS_PER_SHARD: u16 = (HASH_SLOTS / SHARDS) as u16;
const SLOTS_PER_GROUP: u16 = (HASH_SLOTS / CLUSTER_GROUPS) as u16;

/// The shard of a hash slot, below [`SHARDS`].
pub const fn shard_of(hash_slot: u16) -> u16 {
    hash_slot / SLOTS_PER_SHARD
}

/// The data group of a hash slot, below [`CLUSTER_GROUPS`].
pub const fn group_of(hash_slot: u16) -> u16 {
    hash_slot / SLOTS_PER_GROUP
}

/// The data group that holds `key`.
pub fn group_of_key(key: &[u8]) -> u16 {
    group_of(hash_slot(key))
}

/// The hash slots of a data group.
pub const fn slots_of(group: u16) -> Range<u16> {
    group * SLOTS_PER_GROUP..(group + 1) * SLOTS_PER_GROUP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_group_and_eight_shards_share_it() {
        let mut shards = vec![Vec::new(); CLUSTER_GROUPS];
        for slot in 0..HASH_SLOTS as u16 {
            let group = group_of(slot);
            assert!(slots_of(group).contains(&slot), "slot {slot}");
            assert_eq!(shard_of(slot), slot >> 5);
            assert_eq!(group, slot >> 8);
            shards[usize::from(group)].push(shard_of(slot));
        }
        for held in &mut shards {
            held.dedup();
            assert_eq!(held.len(), SHARDS / CLUSTER_GROUPS);
        }
    }

    #[test]
    fn keys_with_one_tag_share_a_group() {
        assert_eq!(group_of_key(b"{user:7}.name"), group_of_key(b"{user:7}.mail"));
        assert_eq!(group_of_key(b"123456789"), 0x31c3 >> 8);
    }
}
