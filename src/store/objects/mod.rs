//! The collections: lists, sets, hashes and sorted sets, as plain single-threaded structures.
//!
//! They know nothing of keys, shards or clocks. Each keeps a running count of the bytes it
//! holds, and the extremes ("longest element ever", "most elements ever", "ever held a
//! non-integer") from which the encoding that Redis would show is derived.

mod blob;
pub mod codec;
mod dense;
pub mod extremes;
pub mod frozen;
pub mod hash;
pub mod list;
mod packed;
mod part;
mod ranked;
pub mod set;
pub mod zset;

pub use extremes::Extremes;
pub use frozen::Frozen;
pub use hash::Hash;
pub use list::{List, Search, Side};
pub use set::{Member, Set};
pub use zset::ZSet;

#[cfg(test)]
pub(crate) mod testing;

/// One collection.
#[derive(Clone, Debug)]
pub enum Object {
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    ZSet(ZSet),
}

impl Object {
    /// The kind an entry that holds this object carries.
    pub fn kind(&self) -> super::Kind {
        match self {
            Object::List(_) => super::Kind::List,
            Object::Set(_) => super::Kind::Set,
            Object::Hash(_) => super::Kind::Hash,
            Object::ZSet(_) => super::Kind::ZSet,
        }
    }

    /// Elements held.
    pub fn len(&self) -> usize {
        match self {
            Object::List(list) => list.len(),
            Object::Set(set) => set.len(),
            Object::Hash(hash) => hash.len(),
            Object::ZSet(zset) => zset.len(),
        }
    }

    /// True when no element is left; an empty collection is removed from the keyspace.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes held, kept as a running count.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Object::List(list) => list.heap_bytes(),
            Object::Set(set) => set.heap_bytes(),
            Object::Hash(hash) => hash.heap_bytes(),
            Object::ZSet(zset) => zset.heap_bytes(),
        }
    }
}
