//! Finds the position of an item by the hash of its key, and grows without a stop.
//!
//! ```text
//!  hash:  | high bits: which segment ............ | low 24 bits: place in the segment |
//!
//!  directory (2^depth)      segments: small open-addressing tables
//!   00 ──────────────────▶  [ (24 bits, position) ... ]  depth 1: all hashes 0...
//!   01 ──────────────────┘
//!   10 ──────────────────▶  [ ... ]                      depth 2: all hashes 10...
//!   11 ──────────────────▶  [ ... ]                      depth 2: all hashes 11...
//! ```
//!
//! A full segment is split in two by its next hash bit; the others are not touched, so no
//! insertion pays for more than [`INDEX_SEGMENT_LEN`] entries, however many there are. A slot
//! holds the position and 24 bits of the hash: a probe that fails is nearly always known to
//! fail without a look at the item, and a segment grows without one.
//!
//! Invariant: each entry lies in the segment that the first `depth` bits of its hash select.
//! The hash is keyed at random per index; nothing that depends on it can be observed.
//! Segments are not merged: one that has emptied holds no table, only its few words.

use crate::limits::INDEX_SEGMENT_LEN;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Positions by key. Keys themselves lie with the items: each method is given `key_of`, which
/// answers for a position the key of the item there.
#[derive(Debug)]
pub struct Index {
    hasher: RandomState,
    depth: u32,
    directory: Vec<u32>,
    segments: Vec<Segment>,
    table_bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    depth: u32,
    table: HashTable<Slot>,
}

/// 24 low bits of the hash, then 40 bits of position: more items than any machine could hold.
#[derive(Clone, Copy, Debug)]
struct Slot(u64);

/// A directory of more bits than this does not grow; its segments do, as plain tables.
const DEPTH_MAX: u32 = 24;

impl Default for Index {
    fn default() -> Index {
        Index {
            hasher: RandomState::default(),
            depth: 0,
            directory: vec![0],
            segments: vec![Segment::default()],
            table_bytes: 0,
        }
    }
}

impl Index {
    /// The position of the item whose key is `key`.
    #[inline]
    pub fn find<'a>(&self, key: &[u8], key_of: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let wanted = Slot::new(hash, 0);
        self.segments[self.segment_of(hash)]
            .table
            .find(wanted.table_hash(), |slot| {
                slot.same_hash(wanted) && key_of(slot.position()) == key
            })
            .map(|slot| slot.position())
    }

    /// Takes note that the item with `key`, which is not in yet, lies at `position`.
    pub fn insert<'a>(&mut self, key: &[u8], position: usize, key_of: impl Fn(usize) -> &'a [u8]) {
        let hash = self.hasher.hash_one(key);
        let mut segment = self.segment_of(hash);
        while self.segments[segment].table.len() >= INDEX_SEGMENT_LEN && self.split(hash, &key_of) {
            segment = self.segment_of(hash);
        }
        let slot = Slot::new(hash, position);
        self.change(segment, |table| {
            table.insert_unique(slot.table_hash(), slot, |slot| slot.table_hash());
        });
    }

    /// Forgets the item with `key` at `position`.
    pub fn remove(&mut self, key: &[u8], position: usize) {
        let hash = self.hasher.hash_one(key);
        let wanted = Slot::new(hash, position);
        let segment = self.segment_of(hash);
        self.change(segment, |table| {
            if let Ok(entry) = table.find_entry(wanted.table_hash(), |slot| slot.0 == wanted.0) {
                entry.remove();
            }
            if table.is_empty() || table.len() < table.capacity() / 8 {
                table.shrink_to(table.len() * 2, |slot| slot.table_hash());
            }
        });
    }

    /// Takes note that the item with `key` moved.
    pub fn relocate(&mut self, key: &[u8], from: usize, to: usize) {
        let hash = self.hasher.hash_one(key);
        let wanted = Slot::new(hash, from);
        let segment = self.segment_of(hash);
        let table = &mut self.segments[segment].table;
        if let Some(slot) = table.find_mut(wanted.table_hash(), |slot| slot.0 == wanted.0) {
            *slot = Slot::new(hash, to);
        }
    }

    /// Bytes of the directory, the segments and their tables.
    pub fn heap_bytes(&self) -> usize {
        self.table_bytes
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.directory[prefix(hash, self.depth)] as usize
    }

    /// Splits the segment of `hash`; false when the directory may not grow for it.
    fn split<'a>(&mut self, hash: u64, key_of: &impl Fn(usize) -> &'a [u8]) -> bool {
        let low = self.segment_of(hash);
        let depth = self.segments[low].depth;
        if depth == DEPTH_MAX {
            return false;
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment; 2]).collect();
            self.depth += 1;
        }
        let mut upper = Segment { depth: depth + 1, table: HashTable::new() };
        let hasher = &self.hasher;
        let is_upper =
            |slot: &mut Slot| prefix(hasher.hash_one(key_of(slot.position())), depth + 1) & 1 == 1;
        let lower = &mut self.segments[low];
        let bytes_before = lower.table.allocation_size();
        for slot in lower.table.extract_if(is_upper) {
            upper.table.insert_unique(slot.table_hash(), slot, |slot| slot.table_hash());
        }
        lower.table.shrink_to_fit(|slot| slot.table_hash());
        lower.depth = depth + 1;
        self.table_bytes += lower.table.allocation_size() + upper.table.allocation_size();
        self.table_bytes -= bytes_before;

        let high = self.segments.len() as u32;
        self.segments.push(upper);
        let shared = self.depth - depth; // bits of the directory that the old segment ignored
        let first = prefix(hash, depth) << shared;
        self.directory[first + (1 << (shared - 1))..first + (1 << shared)].fill(high);
        true
    }

    /// Changes one segment's table and keeps count of its bytes.
    fn change(&mut self, segment: usize, change: impl FnOnce(&mut HashTable<Slot>)) {
        let table = &mut self.segments[segment].table;
        let bytes_before = table.allocation_size();
        change(table);
        self.table_bytes = self.table_bytes + table.allocation_size() - bytes_before;
    }
}

/// A copy's allocations are its own: what they take is counted anew.
impl Clone for Index {
    fn clone(&self) -> Index {
        let segments = self.segments.clone();
        Index {
            hasher: self.hasher.clone(),
            depth: self.depth,
            directory: self.directory.clone(),
            table_bytes: segments.iter().map(|segment| segment.table.allocation_size()).sum(),
            segments,
        }
    }
}

impl Slot {
    const POSITION_BITS: u32 = 40;

    #[inline]
    fn new(hash: u64, position: usize) -> Slot {
        debug_assert!(position < 1 << Slot::POSITION_BITS);
        Slot(hash << Slot::POSITION_BITS | position as u64)
    }

    #[inline]
    fn position(self) -> usize {
        (self.0 & ((1 << Slot::POSITION_BITS) - 1)) as usize
    }

    #[inline]
    fn same_hash(self, other: Slot) -> bool {
        (self.0 ^ other.0) >> Slot::POSITION_BITS == 0
    }

    /// The table takes the bucket from the low bits and a tag from the seven highest; a segment
    /// needs ten bits for its buckets, so the two do not overlap in the 24.
    #[inline]
    fn table_hash(self) -> u64 {
        let fragment = self.0 >> Slot::POSITION_BITS;
        fragment | fragment >> 17 << 57
    }
}

/// The first `bits` bits of `hash`.
#[inline]
fn prefix(hash: u64, bits: u32) -> usize {
    (hash.checked_shr(64 - bits).unwrap_or(0)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Vec<Box<[u8]>> {
        (0..count).map(|i| format!("key:{i}").into_bytes().into()).collect()
    }

    fn check(index: &Index) {
        let tables: usize = index.segments.iter().map(|s| s.table.allocation_size()).sum();
        let words = index.directory.capacity() * 4;
        let segments = index.segments.capacity() * size_of::<Segment>();
        assert_eq!(index.heap_bytes(), tables + words + segments);
        assert_eq!(index.directory.len(), 1 << index.depth);
        for (place, &segment) in index.directory.iter().enumerate() {
            // All places that share a segment are those that agree in the segment's bits.
            let shared = index.depth - index.segments[segment as usize].depth;
            let first = place >> shared << shared;
            assert!(index.directory[first..first + (1 << shared)].iter().all(|&s| s == segment));
        }
    }

    #[test]
    fn finds_every_key_across_splits_and_none_after_removal() {
        let keys = keys(50_000);
        let key_of = |position: usize| &keys[position][..];
        let mut index = Index::default();
        for (position, key) in keys.iter().enumerate() {
            assert_eq!(index.find(key, key_of), None);
            index.insert(key, position, key_of);
        }
        check(&index);
        assert!(index.depth >= 5);
        for (position, key) in keys.iter().enumerate() {
            assert_eq!(index.find(key, key_of), Some(position));
        }
        let copy = index.clone();
        check(&copy);
        let full_bytes = index.heap_bytes();
        for (position, key) in keys.iter().enumerate() {
            index.remove(key, position);
            assert_eq!(index.find(key, key_of), None);
        }
        check(&index);
        assert!(index.heap_bytes() < full_bytes / 10, "tables are given back");
        assert_eq!(copy.find(&keys[77], key_of), Some(77));
    }

    #[test]
    fn segments_stay_small() {
        let keys = keys(200_000);
        let mut index = Index::default();
        for (position, key) in keys.iter().enumerate() {
            index.insert(key, position, |position| &keys[position][..]);
        }
        assert!(index.segments.iter().all(|s| s.table.len() <= INDEX_SEGMENT_LEN));
        assert!(index.heap_bytes() < 24 * keys.len(), "{} bytes", index.heap_bytes());
    }

    #[test]
    fn follows_a_move() {
        let keys = keys(2);
        let mut index = Index::default();
        index.insert(b"moved", 9, |_| &[]);
        index.relocate(b"moved", 9, 1);
        assert_eq!(index.find(b"moved", |p| if p == 1 { b"moved" } else { &[] }), Some(1));
        index.relocate(b"absent", 5, 6);
        index.remove(&keys[0], 0);
        check(&index);
    }
}
