//! Shards, locks, and what is done under them.

use super::entry::{EntryRef, Kind};
use super::objects::Object;
use crate::sys::bulk::BulkBuf;
use std::marker::PhantomData;

/// A key with its hashes; made once per request by [`Store::key`].
#[derive(Clone, Copy, Debug)]
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

/// A value to be stored.
pub enum Value<'a> {
    /// A string, copied.
    Str(&'a [u8]),
    /// A string given in pieces (APPEND, SETRANGE), copied; shown as `raw`.
    Raw(&'a [&'a [u8]]),
    /// A large string, made into an entry where it lies if its head room allows.
    Bulk(BulkBuf),
    /// A collection.
    Object(Object),
    /// What [`Held::take`] gave.
    Taken(Taken),
}

/// A value taken out of the keyspace: a string, or a collection with its elements unmoved.
pub struct Taken {
    _p: (),
}

impl Taken {
    /// What it is.
    pub fn kind(&self) -> Kind {
        todo!()
    }
    /// Its deadline when it was taken.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
}

/// A set of shards to be locked together.
#[derive(Clone, Debug, Default)]
pub struct ShardSet {
    words: [u64; 8],
}

impl ShardSet {
    /// No shard.
    pub fn new() -> ShardSet {
        ShardSet::default()
    }
    /// Every shard.
    pub fn all() -> ShardSet {
        ShardSet { words: [u64::MAX; 8] }
    }
    /// Adds one.
    pub fn insert(&mut self, shard: u16) {
        self.words[shard as usize >> 6] |= 1 << (shard & 63);
    }
    /// True when `shard` is in the set.
    pub fn contains(&self, shard: u16) -> bool {
        self.words[shard as usize >> 6] & (1 << (shard & 63)) != 0
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.words == [0; 8]
    }
    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..512u16).filter(|&shard| self.contains(shard))
    }
}

/// The keyspace.
pub struct Store {
    _p: (),
}

/// Proof that a thread is pinned: entries found under it stay valid while it lives.
pub use crate::sync::reclaim::Pin;

impl Store {
    /// An empty store whose hash is keyed by `seed`.
    pub fn new(_seed: u64) -> Store {
        todo!()
    }
    /// Hashes a key.
    #[inline]
    pub fn key<'a>(&self, _bytes: &'a [u8]) -> Key<'a> {
        todo!()
    }
    /// Asks the CPU for the line of the key's bucket. A hint only.
    #[inline]
    pub fn prefetch_bucket(&self, _pin: &Pin, _db: u8, _key: &Key<'_>) {
        todo!()
    }
    /// Asks the CPU for the line of the key's entry (the bucket should have arrived).
    #[inline]
    pub fn prefetch_entry(&self, _pin: &Pin, _db: u8, _key: &Key<'_>) {
        todo!()
    }
    /// Lock-free lookup; the entry may be past its deadline, which the caller judges.
    #[inline]
    pub fn get<'p>(&self, _pin: &'p Pin, _db: u8, _key: &Key<'_>) -> Option<EntryRef<'p>> {
        todo!()
    }
    /// Lookup of several keys as one moment saw them, appended to `out` in the order of `keys`.
    pub fn get_many<'p>(
        &self,
        _pin: &'p Pin,
        _db: u8,
        _keys: &[Key<'_>],
        _out: &mut Vec<Option<EntryRef<'p>>>,
    ) {
        todo!()
    }
    /// Takes the writer locks of `shards`, in ascending order.
    pub fn lock(&self, _shards: &ShardSet) -> Held<'_> {
        todo!()
    }
    /// Takes one shard's writer lock.
    pub fn lock_one(&self, _shard: u16) -> Held<'_> {
        todo!()
    }
    /// Keys of a database, counted exactly (those past their deadline but not yet removed too).
    pub fn len(&self, _db: u8) -> u64 {
        todo!()
    }
    /// Keys of a database that have a deadline.
    pub fn len_with_deadline(&self, _db: u8) -> u64 {
        todo!()
    }
    /// Bytes held by entries, objects, tables and what is retired but not yet freed.
    pub fn memory_bytes(&self) -> u64 {
        todo!()
    }
    /// Visits keys in hash order from `cursor` until at least `count` were seen; the next
    /// cursor, 0 at the end.
    pub fn scan(
        &self,
        _db: u8,
        _cursor: u64,
        _count: usize,
        _visit: &mut dyn FnMut(EntryRef<'_>, Option<&Object>),
    ) -> u64 {
        todo!()
    }
    /// A key chosen at random, given to `visit`; false when the database is empty.
    pub fn random(&self, _db: u8, _random: u64, _visit: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        todo!()
    }
    /// Removes keys whose deadline is at or before `now` in the shards `of`, until `budget` keys
    /// were examined; each removed key is given to `removed`. True when work is left.
    pub fn expire_some(
        &self,
        _shard: u16,
        _now: u64,
        _budget: &mut usize,
        _removed: &mut dyn FnMut(u8, &[u8]),
    ) -> bool {
        todo!()
    }
}

/// Shards held by their writer locks; what a writer sees and changes.
pub struct Held<'s> {
    _p: PhantomData<&'s ()>,
}

impl<'s> Held<'s> {
    /// The newest clock (ms) of the shards held.
    pub fn clock(&self) -> u64 {
        todo!()
    }
    /// Raises the clock of every shard held to `now`.
    pub fn raise_clock(&mut self, _now: u64) {
        todo!()
    }
    /// Announces that more than one publication follows, until the locks are released.
    pub fn begin_exclusive(&mut self) {
        todo!()
    }
    /// The entry of `key`, expired or not.
    pub fn find(&self, _db: u8, _key: &Key<'_>) -> Option<EntryRef<'_>> {
        todo!()
    }
    /// The collection of `key`, to read.
    pub fn object(&self, _db: u8, _key: &Key<'_>) -> Option<&Object> {
        todo!()
    }
    /// Changes the collection of `key` in place; memory is accounted when `change` returns.
    pub fn change_object<R>(
        &mut self,
        _db: u8,
        _key: &Key<'_>,
        _change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        todo!()
    }
    /// Stores `value` under `key`, replacing what is there.
    pub fn put(&mut self, _db: u8, _key: &Key<'_>, _value: Value<'_>, _deadline: Option<u64>) {
        todo!()
    }
    /// Removes `key`; true when it was there.
    pub fn remove(&mut self, _db: u8, _key: &Key<'_>) -> bool {
        todo!()
    }
    /// Takes the value of `key` out of the keyspace without copying a collection.
    pub fn take(&mut self, _db: u8, _key: &Key<'_>) -> Option<Taken> {
        todo!()
    }
    /// Sets or clears the deadline of `key`; false when it is absent.
    pub fn set_deadline(&mut self, _db: u8, _key: &Key<'_>, _deadline: Option<u64>) -> bool {
        todo!()
    }
    /// Empties a database in all shards held.
    pub fn flush(&mut self, _db: u8) {
        todo!()
    }
    /// Exchanges two databases in all shards held.
    pub fn swap(&mut self, _first: u8, _second: u8) {
        todo!()
    }
    /// As [`Store::scan`], for a holder of all shards.
    pub fn scan(
        &self,
        _db: u8,
        _cursor: u64,
        _count: usize,
        _visit: &mut dyn FnMut(EntryRef<'_>, Option<&Object>),
    ) -> u64 {
        todo!()
    }
    /// As [`Store::random`], for a holder of all shards.
    pub fn random(&self, _db: u8, _random: u64, _visit: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        todo!()
    }
    /// Marks `watch` when `key` is changed by anyone from now on (WATCH).
    pub fn watch(&mut self, _db: u8, _key: &Key<'_>, _watch: &std::sync::Arc<Watch>) {
        todo!()
    }
    /// Forgets `watch` for `key`.
    pub fn unwatch(&mut self, _db: u8, _key: &Key<'_>, _watch: &std::sync::Arc<Watch>) {
        todo!()
    }
    /// Marks the watchers of `key`, as every change does by itself.
    pub fn touch(&mut self, _db: u8, _key: &Key<'_>) {
        todo!()
    }
    /// The store whose shards are held.
    pub fn store(&self) -> &'s Store {
        todo!()
    }
}

/// The mark that tells a connection that a key it watches was changed. Set under the key's
/// shard lock, read by EXEC with its locks held.
#[derive(Debug, Default)]
pub struct Watch {
    marked: std::sync::atomic::AtomicBool,
}

impl Watch {
    /// True once a watched key was changed.
    pub fn is_marked(&self) -> bool {
        self.marked.load(std::sync::atomic::Ordering::Relaxed)
    }
    /// A watched key was changed.
    pub fn mark(&self) {
        self.marked.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
