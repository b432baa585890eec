//! Shards held by their writer locks: what a writer sees and changes.

use super::entry::{EntryRef, Kind, Moved, NewEntry, Unlinked};
use super::evict::note_new;
use super::hash::Key;
use super::objects::Object;
use super::shard::{Shard, ShardState, Store};
use super::shard_set::ShardSet;
use super::table::{Hint, Locked};
use super::used::{age_s, used_before};
use super::watch::Watch;
use crate::limits::DATABASES;
use crate::sync::reclaim::Pin;
use crate::sys::bulk::BulkBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

impl Value<'_> {
    /// The entry, and what is left of the one that the value was in.
    #[inline]
    fn into_entry(self, key: &[u8], deadline: Option<u64>, used: u16) -> (NewEntry, Option<Moved>) {
        if let (Value::Str(bytes), None) = (&self, deadline) {
            return (NewEntry::plain(key, bytes, used), None);
        }
        let (entry, moved) = self.into_any_entry(key, deadline);
        entry.as_ref().set_used(used);
        (entry, moved)
    }

    fn into_any_entry(self, key: &[u8], deadline: Option<u64>) -> (NewEntry, Option<Moved>) {
        let entry = match self {
            Value::Str(bytes) => NewEntry::string(key, &[bytes], false, deadline),
            Value::Raw(pieces) => NewEntry::string(key, pieces, true, deadline),
            Value::Bulk(bulk) => NewEntry::bulk(key, bulk, deadline),
            Value::Object(object) => NewEntry::object(key, object, deadline),
            Value::Taken(taken) => {
                let (entry, left) = taken.entry.rehome(key, deadline);
                return (entry, Some(left));
            }
        };
        (entry, None)
    }
}

/// A value taken out of the keyspace: a string, or a collection with its elements unmoved.
pub struct Taken {
    entry: Unlinked,
}

impl Taken {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.entry.as_ref().kind()
    }

    /// Its deadline when it was taken.
    pub fn deadline(&self) -> Option<u64> {
        self.entry.as_ref().deadline()
    }
}

/// One shard's lock.
struct HeldShard<'s> {
    number: u16,
    shard: &'s Shard,
    locked: Locked<'s, ShardState>,
}

impl<'s> HeldShard<'s> {
    #[inline(always)]
    fn take(store: &'s Store, number: u16) -> HeldShard<'s> {
        let shard = store.shard(number);
        HeldShard { number, shard, locked: shard.tables().lock() }
    }

    #[inline(always)]
    fn mark_watchers(&self, db: u8, key: &Key<'_>) {
        let watchers = &self.locked.state().watchers;
        if !watchers.is_empty() {
            watchers.mark(db, key.hash, key.bytes);
        }
    }
}

/// One shard, without an allocation, or several in ascending order.
enum Shards<'s> {
    One(HeldShard<'s>),
    Several(Vec<HeldShard<'s>>),
}

/// Shards held by their writer locks; what a writer sees and changes.
///
/// Every method panics when the shard of its key is not held: that is a mistake of the caller's
/// key list, which nothing that a client sends can bring about.
pub struct Held<'s> {
    store: &'s Store,
    shards: Shards<'s>,
    exclusive: bool,
    /// Whether a lookup counts as a use of the key.
    marks: bool,
    // Behind `shards`: fields are dropped in this order, so nothing is freed under a lock.
    leftovers: Leftovers,
}

/// What was replaced or removed, retired once the locks are released. The first needs no
/// allocation.
#[derive(Default)]
struct Leftovers {
    first: Option<Leftover>,
    more: Vec<Leftover>,
}

/// Kept only to be dropped.
enum Leftover {
    Whole { _entry: Unlinked },
    Shell { _entry: Moved },
}

impl Leftovers {
    #[inline]
    fn add(&mut self, leftover: Option<Leftover>) {
        if leftover.is_some()
            && let Some(before) = std::mem::replace(&mut self.first, leftover)
        {
            self.more.push(before);
        }
    }
}

fn whole(entry: Unlinked) -> Leftover {
    Leftover::Whole { _entry: entry }
}

fn shell(entry: Moved) -> Leftover {
    Leftover::Shell { _entry: entry }
}

impl<'s> Held<'s> {
    #[inline]
    pub(super) fn one(store: &'s Store, shard: u16) -> Held<'s> {
        let shards = Shards::One(HeldShard::take(store, shard));
        Held { store, shards, exclusive: false, marks: false, leftovers: Leftovers::default() }
    }

    pub(super) fn new(store: &'s Store, shards: &ShardSet) -> Held<'s> {
        let several = shards.iter().map(|number| HeldShard::take(store, number)).collect();
        let shards = Shards::Several(several);
        Held { store, shards, exclusive: false, marks: false, leftovers: Leftovers::default() }
    }

    #[inline(always)]
    fn all(&self) -> &[HeldShard<'s>] {
        match &self.shards {
            Shards::One(shard) => std::slice::from_ref(shard),
            Shards::Several(shards) => shards,
        }
    }

    #[inline(always)]
    fn all_mut(&mut self) -> &mut [HeldShard<'s>] {
        match &mut self.shards {
            Shards::One(shard) => std::slice::from_mut(shard),
            Shards::Several(shards) => shards,
        }
    }

    #[inline(always)]
    fn index_of(&self, number: u16) -> usize {
        let found = match &self.shards {
            Shards::One(shard) => (shard.number == number).then_some(0),
            Shards::Several(shards) => shards.binary_search_by_key(&number, |s| s.number).ok(),
        };
        found.unwrap_or_else(|| panic!("shard {number} is not among those that were locked"))
    }

    #[inline(always)]
    fn shard(&self, key: &Key<'_>) -> &HeldShard<'s> {
        let index = self.index_of(key.shard());
        &self.all()[index]
    }

    #[inline(always)]
    fn shard_mut(&mut self, key: &Key<'_>) -> &mut HeldShard<'s> {
        let index = self.index_of(key.shard());
        &mut self.all_mut()[index]
    }

    /// Says whether lookups count as uses of their keys; not, if nothing is said.
    pub fn set_marks(&mut self, marks: bool) {
        self.marks = marks;
    }

    /// Takes a hint over the way to a key, if only one shard is held.
    pub fn set_hint(&mut self, hint: &'s Hint<'s>) {
        if let Shards::One(shard) = &mut self.shards {
            shard.locked.set_hint(hint);
        }
    }

    /// The lock of one shard, to change it.
    pub(super) fn locked_mut(&mut self, number: u16) -> &mut Locked<'s, ShardState> {
        let index = self.index_of(number);
        &mut self.all_mut()[index].locked
    }

    /// The lock of one shard.
    pub(super) fn locked(&self, number: u16) -> &Locked<'s, ShardState> {
        &self.all()[self.index_of(number)].locked
    }

    /// The newest clock (ms) of the shards held.
    pub fn clock(&self) -> u64 {
        self.all().iter().map(|shard| shard.locked.state().clock).max().unwrap_or(0)
    }

    /// Raises the clock of every shard held to `now`.
    pub fn raise_clock(&mut self, now: u64) {
        for shard in self.all_mut() {
            let clock = &mut shard.locked.state_mut().clock;
            *clock = now.max(*clock);
        }
    }

    /// Announces that more than one publication follows, until the locks are released.
    pub fn begin_exclusive(&mut self) {
        if !self.exclusive {
            self.exclusive = true;
            self.all().iter().for_each(|held| held.shard.exclusive().raise());
        }
    }

    /// The shard that is held, if it is only one.
    pub fn only_shard(&self) -> Option<u16> {
        match self.all() {
            [shard] => Some(shard.number),
            _ => None,
        }
    }

    /// The newest position noted for any of the shards held.
    pub fn last_lsn(&self) -> u64 {
        // Relaxed: the locks order it; positions are noted under them.
        self.all()
            .iter()
            .map(|held| held.shard.last_lsn().load(Ordering::Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// Notes the position of the record that the following changes belong to. Called before the
    /// first of them is made.
    pub fn set_last_lsn(&mut self, lsn: u64) {
        for held in self.all() {
            // Release: pairs with the Acquire in `Store::last_lsn`.
            held.shard.last_lsn().store(lsn, Ordering::Release);
        }
    }

    /// The entry of `key`, expired or not.
    #[inline]
    pub fn find(&self, db: u8, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let locked = &self.shard(key).locked;
        if self.marks {
            return locked.find_to_use(db, key.hash, key.bytes);
        }
        locked.find(db, key.hash, key.bytes)
    }

    /// The entry of `key`, to be used while it is replaced, or after the locks are released.
    #[inline]
    pub fn find_pinned<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Option<EntryRef<'p>> {
        self.shard(key).locked.find_pinned(pin, db, key.hash, key.bytes)
    }

    /// The collection of `key`, to read.
    pub fn object(&self, db: u8, key: &Key<'_>) -> Option<&Object> {
        self.shard(key).locked.object(db, key.hash, key.bytes)
    }

    /// Changes the collection of `key` in place; memory is accounted when `change` returns.
    /// `None` if there is no collection. Marks the watchers.
    pub fn change_object<R>(
        &mut self,
        db: u8,
        key: &Key<'_>,
        change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        self.change_object_if(db, key, |object| (change(object), true))
    }

    /// As [`change_object`](Self::change_object), but marks the watchers only if `change` says
    /// (second) that something changed.
    pub fn change_object_if<R>(
        &mut self,
        db: u8,
        key: &Key<'_>,
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<R> {
        let held = self.shard_mut(key);
        let (result, changed) = held.locked.change_object(db, key.hash, key.bytes, change)?;
        if changed {
            held.mark_watchers(db, key);
        }
        Some(result)
    }

    /// Stores `value` under `key`, replacing what is there.
    #[inline]
    pub fn put(&mut self, db: u8, key: &Key<'_>, value: Value<'_>, deadline: Option<u64>) {
        let held = self.shard_mut(key);
        let used = used_before(held.locked.state().clock / 1000, 0);
        let (entry, moved) = value.into_entry(key.bytes, deadline, used);
        let old = held.locked.put(db, key.hash, entry);
        if old.is_none() {
            note_new(&mut held.locked, key.hash);
        }
        held.mark_watchers(db, key);
        self.leftovers.add(old.map(whole));
        self.leftovers.add(moved.map(shell));
    }

    /// Removes `key`; true when it was there.
    pub fn remove(&mut self, db: u8, key: &Key<'_>) -> bool {
        let Some(taken) = self.take(db, key) else { return false };
        self.leftovers.add(Some(whole(taken.entry)));
        true
    }

    /// Takes the value of `key` out of the keyspace without copying a collection.
    pub fn take(&mut self, db: u8, key: &Key<'_>) -> Option<Taken> {
        let held = self.shard_mut(key);
        let entry = held.locked.unlink(db, key.hash, key.bytes)?;
        held.mark_watchers(db, key);
        Some(Taken { entry })
    }

    /// Sets or clears the deadline of `key`; false when it is absent.
    pub fn set_deadline(&mut self, db: u8, key: &Key<'_>, deadline: Option<u64>) -> bool {
        let held = self.shard_mut(key);
        let old = held.locked.set_deadline(db, key.hash, key.bytes, deadline);
        let found = old.is_some();
        if found {
            held.mark_watchers(db, key);
        }
        self.leftovers.add(old.map(shell));
        found
    }

    /// Empties a database in all shards held, seen as a whole. Its memory is given back by and
    /// by: see [`Store::expire_some`] and [`Store::bury_some`].
    pub fn flush(&mut self, db: u8) {
        self.begin_exclusive();
        for HeldShard { locked, .. } in self.all_mut() {
            let exists = |hash: u64, key: &[u8]| locked.find(db, hash, key).is_some();
            locked.state().watchers.mark_all(db, exists);
            locked.flush(db);
        }
    }

    /// Exchanges two databases in all shards held, seen as a whole.
    pub fn swap(&mut self, first: u8, second: u8) {
        self.begin_exclusive();
        for HeldShard { locked, .. } in self.all_mut() {
            let exists = |hash: u64, key: &[u8]| {
                [first, second].iter().any(|db| locked.find(*db, hash, key).is_some())
            };
            locked.state().watchers.mark_all(first, exists);
            locked.state().watchers.mark_all(second, exists);
            locked.swap(first, second);
        }
    }

    /// Visits every entry of a shard held: its database, the entry, and what it holds if that is
    /// a collection.
    pub fn for_each(&self, shard: u16, visit: &mut dyn FnMut(u8, EntryRef<'_>, Option<&Object>)) {
        let locked = self.locked(shard);
        for db in 0..DATABASES as u8 {
            let mut at = Some(0);
            while let Some(hash) = at {
                let step =
                    locked.visit_home(db, hash, &mut |entry, object| visit(db, entry, object));
                at = step.and_then(|step| step.next);
            }
        }
    }

    /// Marks `watch` when `key` is changed by anyone from now on (WATCH).
    pub fn watch(&mut self, db: u8, key: &Key<'_>, watch: &Arc<Watch>) {
        self.shard_mut(key).locked.state_mut().watchers.add(db, key, watch);
    }

    /// Forgets `watch` for `key`.
    pub fn unwatch(&mut self, db: u8, key: &Key<'_>, watch: &Arc<Watch>) {
        self.shard_mut(key).locked.state_mut().watchers.remove(db, key, watch);
    }

    /// Marks the watchers of `key`, as every change does by itself.
    pub fn touch(&mut self, db: u8, key: &Key<'_>) {
        self.shard(key).mark_watchers(db, key);
    }

    /// Seconds since `key` was last in use, as far as it is known.
    pub fn idle_s(&self, db: u8, key: &Key<'_>) -> Option<u64> {
        let locked = &self.shard(key).locked;
        if locked.is_marked(db, key.hash, key.bytes)? {
            return Some(0);
        }
        let entry = locked.find(db, key.hash, key.bytes)?;
        Some(age_s(entry.used(), locked.state().clock / 1000))
    }

    /// Says that `key` was last in use `idle_s` seconds ago.
    pub fn set_idle(&mut self, db: u8, key: &Key<'_>, idle_s: u64) {
        let locked = &self.shard(key).locked;
        if let Some(entry) = locked.find_unmarked(db, key.hash, key.bytes) {
            entry.set_used(used_before(locked.state().clock / 1000, idle_s));
        }
    }

    /// The store whose shards are held.
    pub fn store(&self) -> &'s Store {
        self.store
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.exclusive {
            self.all().iter().for_each(|held| held.shard.exclusive().lower());
        }
    }
}
