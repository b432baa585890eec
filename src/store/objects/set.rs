//! Sets.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use indexmap::IndexSet;

/// Distinct byte strings in an order of their own.
#[derive(Clone, Debug, Default)]
pub struct Set {
    members: IndexSet<Box<[u8]>, foldhash::fast::RandomState>,
    heap_bytes: usize,
}

/// One member; derefs to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a>(&'a [u8]);

impl Deref for Member<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Set {
        Set::default()
    }

    /// Members held.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The name OBJECT ENCODING shows, under `set-max-intset-entries`.
    pub fn encoding(&self, _intset_entries_max: usize) -> &'static str {
        "hashtable"
    }

    /// Adds `member`; false when it was in already.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        !self.contains(member) && self.members.insert(member.into())
    }

    /// Removes `member`; false when it was not in. The last member takes its index.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.members.swap_remove(member)
    }

    /// True when `member` is in.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    /// The member at `index` of the dense order: what a random draw below `len()` picks.
    pub fn get_index(&self, index: usize) -> Option<Member<'_>> {
        self.members.get_index(index).map(|bytes| Member(bytes))
    }

    /// Takes the member at `index`; the last member takes its place.
    pub fn swap_remove_index(&mut self, index: usize) -> Option<Box<[u8]>> {
        self.members.swap_remove_index(index)
    }

    /// All members in the dense order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Member<'_>> {
        self.members.iter().map(|bytes| Member(bytes))
    }

    /// True when both hold the same members, in whatever order.
    pub fn same_content(&self, other: &Set) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }

    /// Feeds the members in the dense order (SPOP's seeded draws depend on it).
    pub fn digest(&self, hasher: &mut impl Hasher) {
        self.len().hash(hasher);
        for member in self.iter() {
            member.hash(hasher);
        }
    }
}
