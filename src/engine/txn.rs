//! What a command sees of the shards it has locked, and how it changes them.

use super::error::CmdError;
use super::journal::Journal;
use super::tally::Tally;
use crate::config::{Config, notify};
use crate::resp::Args;
use crate::store::objects::{Hash, List, Object, Set, ZSet};
use crate::store::{EntryRef, Held, Key, Kind, Taken, Value};
use crate::sys::bulk::BulkBuf;
use crate::util::rng::SplitMix64;
use std::cell::Cell;

/// What makes a request deterministic, beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The clock, ms since 1970, fixed under the locks.
    pub now_ms: u64,
    /// Drives every random choice.
    pub seed: u64,
}

/// A keyspace notification to be published once the locks are released.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its class, one of the bits of `config::notify`.
    pub class: u32,
    /// Its name (`set`, `del`, ...).
    pub name: &'static str,
    /// The database it happened in.
    pub db: u8,
    /// The key it happened to.
    pub key: Vec<u8>,
}

/// What a command did beside replying.
#[derive(Debug, Default)]
pub struct Effects {
    /// Classes of events that anyone listens to; others are not collected.
    pub notify_classes: u32,
    /// Notifications in order.
    pub events: Vec<Event>,
    /// Changes made to the keyspace.
    pub dirty: u64,
}

/// A kind of collection, to be found inside an [`Object`].
pub trait Collection: Default {
    /// The collection if `object` is of this kind.
    fn from_object(object: &Object) -> Option<&Self>;
    /// The collection if `object` is of this kind.
    fn from_object_mut(object: &mut Object) -> Option<&mut Self>;
    /// The object that holds this collection.
    fn into_object(self) -> Object;
}

macro_rules! collection {
    ($kind:ident) => {
        impl Collection for $kind {
            fn from_object(object: &Object) -> Option<&Self> {
                if let Object::$kind(inner) = object { Some(inner) } else { None }
            }
            fn from_object_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$kind(inner) = object { Some(inner) } else { None }
            }
            fn into_object(self) -> Object {
                Object::$kind(self)
            }
        }
    };
}
collection!(List);
collection!(Set);
collection!(Hash);
collection!(ZSet);

/// Locked shards at one moment. Keys past their deadline are absent; a lookup that meets one
/// removes it.
pub struct Txn<'a, 's> {
    held: &'a mut Held<'s>,
    effects: &'a mut Effects,
    tally: &'a Tally,
    config: &'a Config,
    db: u8,
    /// The database that the request came for.
    home: u8,
    moment: Moment,
    now_ms: u64,
    rng: SplitMix64,
    hashed: &'a [Key<'a>],
    /// Which of them is asked for next, most likely.
    next_hashed: Cell<usize>,
    bulk: Option<BulkBuf>,
    /// Until the request is in the log.
    journal: Option<Journal<'a>>,
    /// Changes counted before this request.
    dirty_before: u64,
}

/// What a [`Txn`] is made of.
pub struct TxnParts<'a, 's> {
    /// The locked shards: all that the request's keys lie in.
    pub held: &'a mut Held<'s>,
    /// Where notifications and counts go.
    pub effects: &'a mut Effects,
    /// Where hits and misses are counted.
    pub tally: &'a Tally,
    /// For replies that show configuration; never for what is stored.
    pub config: &'a Config,
    /// The database.
    pub db: u8,
    /// Clock and seed.
    pub moment: Moment,
    /// Keys of the request that were hashed already, in order.
    pub hashed: &'a [Key<'a>],
    /// Argument 2, if it was received into an allocation of its own; the argument is empty then.
    pub bulk: Option<BulkBuf>,
    /// How the request gets into the log, if it must.
    pub journal: Option<Journal<'a>>,
}

impl<'a, 's> Txn<'a, 's> {
    /// A view made of `parts`.
    pub fn new(parts: TxnParts<'a, 's>) -> Txn<'a, 's> {
        let TxnParts { held, effects, tally, config, db, moment, hashed, bulk, journal } = parts;
        let rng = SplitMix64::new(moment.seed);
        let (now_ms, dirty_before) = (moment.now_ms, effects.dirty);
        Txn {
            held,
            effects,
            tally,
            config,
            db,
            home: db,
            moment,
            now_ms,
            rng,
            hashed,
            next_hashed: Cell::new(0),
            bulk,
            journal,
            dirty_before,
        }
    }

    /// Puts the request into the log if it has changed something and is not there yet. To be
    /// called when it has run, before the locks are released.
    pub fn seal(&mut self) {
        if self.effects.dirty != self.dirty_before {
            self.publishing(None);
        }
    }

    /// A change that others can see comes next: the request goes into the log, once. `value` is
    /// a large argument 2 that was taken.
    #[inline]
    fn publishing(&mut self, value: Option<&[u8]>) {
        if let Some(mut journal) = self.journal.take() {
            let large = value.or(self.bulk.as_ref().map(BulkBuf::filled));
            journal.write(self.held, self.home, self.moment, large);
        }
    }

    /// The clock, ms since 1970; the same for the whole request.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The database that lookups go to.
    pub fn db(&self) -> u8 {
        self.db
    }

    /// Lets lookups go to another database (COPY, MOVE); the former one.
    pub fn select(&mut self, db: u8) -> u8 {
        std::mem::replace(&mut self.db, db)
    }

    /// The configuration, for replies that show it and for limits that are checked before a
    /// change; nothing that is stored may depend on it.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Random numbers that the request's seed decides.
    pub fn rng(&mut self) -> &mut SplitMix64 {
        &mut self.rng
    }

    /// Hashes a key of the request.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        let at = self.next_hashed.get();
        match self.hashed.get(at) {
            Some(&Key { bytes: same, hash, hash_slot }) if std::ptr::eq(same, bytes) => {
                self.next_hashed.set((at + 1).min(self.hashed.len() - 1));
                Key { bytes, hash, hash_slot }
            }
            _ => self.key_out_of_turn(bytes),
        }
    }

    #[inline(never)]
    fn key_out_of_turn<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match self.hashed.iter().find(|key| std::ptr::eq(key.bytes, bytes)) {
            Some(&Key { hash, hash_slot, .. }) => Key { bytes, hash, hash_slot },
            None => self.held.store().key(bytes),
        }
    }

    /// Argument `index` of the request. Use this instead of `args.get` for the value of SET and
    /// its kin: a large argument 2 lies in an allocation of its own.
    pub fn value_arg<'v>(&'v self, args: Args<'v>, index: usize) -> &'v [u8] {
        match &self.bulk {
            Some(bulk) if index == 2 => bulk.filled(),
            _ => args.get(index),
        }
    }

    /// Argument `index` of the request as a value to be stored, a large one without a copy.
    pub fn take_value<'v>(&mut self, args: Args<'v>, index: usize) -> Value<'v> {
        match self.bulk.take_if(|_| index == 2) {
            Some(bulk) => Value::Bulk(bulk),
            None => Value::Str(args.get(index)),
        }
    }

    /// The locked shards themselves, for commands that work on whole databases.
    pub fn held(&mut self) -> &mut Held<'s> {
        self.held
    }

    /// The live entry under `key`.
    #[inline]
    pub fn find(&mut self, key: &Key<'_>) -> Option<EntryRef<'_>> {
        // The borrow of an entry must not escape where an expired one is removed: two lookups.
        if !self.exists(key) {
            return None;
        }
        self.held.find(self.db, key)
    }

    /// As [`Txn::find`], counted as a hit or a miss (for commands that only read).
    pub fn find_counted(&mut self, key: &Key<'_>) -> Option<EntryRef<'_>> {
        if !self.exists(key) {
            self.tally.misses.add(1);
            self.notify(notify::KEY_MISS, "keymiss", key.bytes);
            return None;
        }
        self.tally.hits.add(1);
        self.held.find(self.db, key)
    }

    /// True when a live entry is under `key`; one past its deadline is removed.
    #[inline]
    pub fn exists(&mut self, key: &Key<'_>) -> bool {
        let expired = self.held.find(self.db, key).map(|entry| entry.is_expired(self.now_ms));
        if expired == Some(true) {
            self.remove_expired(key);
        }
        expired == Some(false)
    }

    /// The string entry under `key`; an error if it is a collection.
    pub fn string(&mut self, key: &Key<'_>) -> Result<Option<EntryRef<'_>>, CmdError> {
        match self.find(key) {
            Some(entry) if entry.kind() != Kind::String => Err(CmdError::WrongType),
            found => Ok(found),
        }
    }

    /// As [`Txn::string`], counted as a hit or a miss.
    pub fn string_counted(&mut self, key: &Key<'_>) -> Result<Option<EntryRef<'_>>, CmdError> {
        match self.find_counted(key) {
            Some(entry) if entry.kind() != Kind::String => Err(CmdError::WrongType),
            found => Ok(found),
        }
    }

    /// The deadline of a live key.
    pub fn deadline(&mut self, key: &Key<'_>) -> Option<u64> {
        self.find(key).and_then(|entry| entry.deadline())
    }

    /// Stores `value` under `key`, whatever was there, with the deadline given.
    #[inline]
    pub fn put(&mut self, key: &Key<'_>, value: Value<'_>, deadline: Option<u64>) {
        if self.effects.notify_classes & (notify::NEW | notify::EXPIRED) != 0 {
            self.announce_new(key);
        }
        self.effects.dirty += 1;
        self.publishing(if let Value::Bulk(bulk) = &value { Some(bulk.filled()) } else { None });
        self.held.put(self.db, key, value, deadline);
    }

    /// Removes a live key; true when it was there.
    pub fn remove(&mut self, key: &Key<'_>) -> bool {
        if !self.exists(key) {
            return false;
        }
        self.effects.dirty += 1;
        self.publishing(None);
        self.held.remove(self.db, key)
    }

    /// Takes the value of a live key out of the keyspace; [`Txn::put`] it as `Value::Taken`,
    /// which counts as the change.
    pub fn take(&mut self, key: &Key<'_>) -> Option<Taken> {
        if !self.exists(key) {
            return None;
        }
        self.publishing(None);
        self.held.take(self.db, key)
    }

    /// Sets or clears the deadline of a live key; false when it is absent.
    pub fn set_deadline(&mut self, key: &Key<'_>, deadline: Option<u64>) -> bool {
        if !self.exists(key) {
            return false;
        }
        self.effects.dirty += 1;
        self.publishing(None);
        self.held.set_deadline(self.db, key, deadline)
    }

    /// The collection under `key` to look at; an error if it is of another kind. Counted as a
    /// hit or miss by the caller's choice of command: use for commands that only read.
    pub fn read<C: Collection>(&mut self, key: &Key<'_>) -> Result<Option<&C>, CmdError> {
        if self.find_counted(key).is_none() {
            return Ok(None);
        }
        self.look(key)
    }

    /// The collection under `key` to look at before a change; not counted.
    pub fn peek<C: Collection>(&mut self, key: &Key<'_>) -> Result<Option<&C>, CmdError> {
        if !self.exists(key) {
            return Ok(None);
        }
        self.look(key)
    }

    /// Changes the collection under `key` in place; `None` when the key is absent. The caller
    /// says what changed by [`Txn::changed`], and drops an emptied one by
    /// [`Txn::drop_if_empty`].
    pub fn change<C: Collection, R>(
        &mut self,
        key: &Key<'_>,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<Option<R>, CmdError> {
        if self.exists(key) { self.change_existing(key, change).map(Some) } else { Ok(None) }
    }

    /// Changes the collection under `key`, made first if the key is absent. Whoever adds
    /// nothing to a new one must call [`Txn::drop_if_empty`].
    pub fn change_or_create<C: Collection, R>(
        &mut self,
        key: &Key<'_>,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<R, CmdError> {
        if self.exists(key) {
            return self.change_existing(key, change);
        }
        self.notify(notify::NEW, "new", key.bytes);
        let mut fresh = C::default();
        let result = change(&mut fresh);
        self.publishing(None);
        self.held.put(self.db, key, Value::Object(fresh.into_object()), None);
        Ok(result)
    }

    /// `count` elements of `key` were changed: watchers are told, and `event` is announced.
    pub fn changed(&mut self, key: &Key<'_>, count: u64, class: u32, event: &'static str) {
        if count == 0 {
            return;
        }
        self.effects.dirty += count;
        self.held.touch(self.db, key);
        self.notify(class, event, key.bytes);
    }

    /// Removes the collection under `key` if nothing is left in it, and announces `del`.
    pub fn drop_if_empty(&mut self, key: &Key<'_>) {
        if self.held.object(self.db, key).is_some_and(Object::is_empty) {
            self.publishing(None);
            self.held.remove(self.db, key);
            self.notify(notify::GENERIC, "del", key.bytes);
        }
    }

    /// Announces `event` of `key` once the locks are released, if anyone listens.
    #[inline]
    pub fn notify(&mut self, class: u32, event: &'static str, key: &[u8]) {
        if self.effects.notify_classes & class != 0 {
            self.effects.events.push(Event { class, name: event, db: self.db, key: key.to_vec() });
        }
    }

    /// Counts `n` changes to the keyspace (for commands that change many keys at once).
    pub fn dirty(&mut self, n: u64) {
        self.effects.dirty += n;
    }

    /// Watchers are told by [`Txn::changed`], since only the caller knows whether anything did.
    fn change_existing<C: Collection, R>(
        &mut self,
        key: &Key<'_>,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<R, CmdError> {
        let changed = self.held.change_object_if(self.db, key, |object| {
            (C::from_object_mut(object).map(change), false)
        });
        changed.flatten().ok_or(CmdError::WrongType)
    }

    fn look<C: Collection>(&self, key: &Key<'_>) -> Result<Option<&C>, CmdError> {
        match self.held.object(self.db, key) {
            Some(object) => C::from_object(object).ok_or(CmdError::WrongType).map(Some),
            None => Err(CmdError::WrongType), // a string
        }
    }

    /// Tells listeners that `key` comes to be, unless it is there; that it expired before.
    #[cold]
    fn announce_new(&mut self, key: &Key<'_>) {
        if !self.exists(key) {
            self.notify(notify::NEW, "new", key.bytes);
        }
    }

    fn remove_expired(&mut self, key: &Key<'_>) {
        self.held.remove(self.db, key);
        self.tally.expired.add(1);
        self.notify(notify::EXPIRED, "expired", key.bytes);
    }
}
