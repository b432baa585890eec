//! A small set of short byte strings: one buffer, searched by one byte of hash per member.
//!
//! ```text
//!   tags   h(aaa) h(bb) h(cccc)     one memchr finds the few candidates
//!   ends   3      5     9           where each member stops in bytes
//!   bytes  aaabbcccc
//! ```
//!
//! Invariants: the three run in step; members are distinct. At most [`PACKED_LEN`]
//! members of at most [`PACKED_ELEMENT_BYTES`] bytes: the caller sees to it.

use crate::limits::{PACKED_ELEMENT_BYTES, PACKED_LEN};
use std::hash::BuildHasher;
use std::ops::Range;

/// Short members side by side.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    ends: Vec<u16>,
    tags: Vec<u8>,
}

impl Packed {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u16>() + self.tags.capacity()
    }

    /// Where `member` is.
    pub fn find(&self, member: &[u8]) -> Option<usize> {
        memchr::memchr_iter(tag(member), &self.tags).find(|&at| self.get(at) == member)
    }

    /// The member at `at`, which must be below [`Packed::len`].
    pub fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.range(at)]
    }

    /// Adds a member that is not in yet, at the end.
    pub fn push(&mut self, member: &[u8]) {
        debug_assert!(member.len() <= PACKED_ELEMENT_BYTES);
        debug_assert!(self.len() < PACKED_LEN);
        self.bytes.extend_from_slice(member);
        self.ends.push(self.bytes.len() as u16);
        self.tags.push(tag(member));
    }

    /// Removes the member at `at`; the last one takes its place.
    pub fn swap_remove(&mut self, at: usize) {
        let last = self.len() - 1;
        let (gone, moved) = (self.range(at), self.range(last));
        if at < last {
            let mut copy = [0; PACKED_ELEMENT_BYTES];
            let copy = &mut copy[..moved.len()];
            copy.copy_from_slice(&self.bytes[moved.clone()]);
            self.bytes.copy_within(gone.end..moved.start, gone.start + copy.len());
            self.bytes[gone.start..gone.start + copy.len()].copy_from_slice(copy);
            let delta = (copy.len() as u16).wrapping_sub(gone.len() as u16);
            for end in &mut self.ends[at..last] {
                *end = end.wrapping_add(delta);
            }
        }
        self.bytes.truncate(self.bytes.len() - gone.len());
        self.ends.pop();
        self.tags.swap_remove(at);
        self.shrink();
    }

    fn range(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { usize::from(self.ends[at - 1]) };
        start..usize::from(self.ends[at])
    }

    fn shrink(&mut self) {
        if self.len() < self.tags.capacity() / 4 {
            self.bytes.shrink_to(self.bytes.len() * 2);
            self.ends.shrink_to(self.ends.len() * 2);
            self.tags.shrink_to(self.tags.len() * 2);
        }
    }
}

/// One byte of hash. The seed may be known: no more than [`PACKED_LEN`] can collide.
fn tag(member: &[u8]) -> u8 {
    foldhash::fast::FixedState::with_seed(0).hash_one(member) as u8
}
