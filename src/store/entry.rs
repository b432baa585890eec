#![allow(unsafe_code)]
//! Entries.

use std::marker::PhantomData;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A byte string.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A hash.
    Hash = 3,
    /// A sorted set.
    ZSet = 4,
}

impl Kind {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
        }
    }
}

/// A published, immutable entry, valid for `'p`: the life of the pin (or of the locks) under
/// which it was found.
#[derive(Clone, Copy)]
pub struct EntryRef<'p> {
    _p: PhantomData<&'p u8>,
}

impl<'p> EntryRef<'p> {
    /// What the entry holds.
    pub fn kind(&self) -> Kind {
        todo!()
    }
    /// The key.
    pub fn key(&self) -> &'p [u8] {
        todo!()
    }
    /// The value of a string entry; empty for collections.
    pub fn value(&self) -> &'p [u8] {
        todo!()
    }
    /// The moment (wall clock, ms since 1970) at which the key ceases to exist.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// True when the deadline is at or before `now`.
    pub fn is_expired(&self, now: u64) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
    /// True when the string was made by APPEND, SETRANGE or SETBIT (OBJECT ENCODING says raw).
    pub fn is_raw(&self) -> bool {
        todo!()
    }
    /// Bytes the entry's allocation takes, without its object.
    pub fn alloc_bytes(&self) -> usize {
        todo!()
    }
    /// For an entry of at least [`crate::limits::ENTRY_SHARED_MIN`] bytes: a counted reference
    /// to its value that outlives the pin, for sending it without a copy.
    pub fn share(&self) -> Option<SharedValue> {
        todo!()
    }
}

/// A counted reference to a large value.
pub struct SharedValue {
    _p: (),
}

impl AsRef<[u8]> for SharedValue {
    fn as_ref(&self) -> &[u8] {
        todo!()
    }
}
