//! A set of any size: members in a dense array, found by hash.
//!
//! Invariant: `boxed_bytes` is the sum over the members that do not lie inline.

use crate::store::objects::blob::Blob;
use crate::store::objects::dense::{Dense, Frozen, Keyed};

/// Bytes of a member that fit beside the tag and the length.
const INLINE_MAX: usize = 22;

/// One member of a large set: most are short and need no allocation of their own.
#[derive(Clone, Debug)]
pub struct Slot(Place);

#[derive(Clone, Debug)]
enum Place {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Boxed(Blob),
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    fn new(member: &[u8]) -> Slot {
        if member.len() > INLINE_MAX {
            return Slot(Place::Boxed(member.into()));
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..member.len()].copy_from_slice(member);
        Slot(Place::Inline { len: member.len() as u8, bytes })
    }

    /// The member.
    pub fn bytes(&self) -> &[u8] {
        self.key()
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Place::Inline { .. } => 0,
            Place::Boxed(bytes) => bytes.heap_bytes(),
        }
    }
}

impl Keyed for Slot {
    #[inline]
    fn key(&self) -> &[u8] {
        match &self.0 {
            Place::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Place::Boxed(bytes) => bytes,
        }
    }
}

/// A set of any size.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    members: Dense<Slot>,
    boxed_bytes: usize,
}

impl Table {
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.members.heap_bytes() + self.boxed_bytes
    }

    /// Where `member` is.
    #[inline]
    pub fn find(&self, member: &[u8]) -> Option<usize> {
        self.members.find(member)
    }

    /// The member at `at`; nothing beyond the end.
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        self.members.get(at).map_or(&[], Slot::key)
    }

    /// Adds `member` at the end; false when it was in.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if self.find(member).is_some() {
            return false;
        }
        let slot = Slot::new(member);
        self.boxed_bytes += slot.heap_bytes();
        self.members.push(slot);
        true
    }

    /// Removes the member at `at`; the last one takes its place.
    pub fn swap_remove(&mut self, at: usize) {
        if let Some(slot) = self.members.swap_remove(at) {
            self.boxed_bytes -= slot.heap_bytes();
        }
    }

    /// The members as they are now, in the dense order.
    pub fn freeze(&mut self) -> Frozen<Slot> {
        self.members.freeze()
    }

    /// The heap bytes, with those of the members counted anew.
    #[cfg(test)]
    pub fn count_heap_bytes(&self) -> usize {
        self.members.heap_bytes() + self.members.iter().map(Slot::heap_bytes).sum::<usize>()
    }
}
