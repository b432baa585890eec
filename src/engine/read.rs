//! Lock-free reads.

use super::error::CmdError;
use super::hot::HotSet;
use super::tally::Tally;
use super::txn::Event;
use crate::config::{Config, notify};
use crate::store::{EntryRef, Held, Key, Kind, Pin, Store};
use std::cell::RefCell;

/// A view of the keyspace at one moment of the clock, without a lock. Inside a transaction the
/// shards are held, and the view reads through them.
pub struct Read<'a> {
    store: &'a Store,
    pin: &'a Pin,
    held: Option<&'a Held<'a>>,
    tally: &'a Tally,
    config: &'a Config,
    db: u8,
    now_ms: u64,
    hashed: Option<Key<'a>>,
    missed: Option<&'a RefCell<Vec<Event>>>,
    marks: bool,
    hot: &'a HotSet,
}

/// What a [`Read`] is made of.
pub struct ReadParts<'a> {
    /// The keyspace.
    pub store: &'a Store,
    /// Keeps what is found valid.
    pub pin: &'a Pin,
    /// The locks, inside a transaction.
    pub held: Option<&'a Held<'a>>,
    /// Where hits and misses are counted.
    pub tally: &'a Tally,
    /// For replies that show configuration (OBJECT ENCODING).
    pub config: &'a Config,
    /// The database.
    pub db: u8,
    /// The clock, ms since 1970.
    pub now_ms: u64,
    /// A key of the request that was hashed already.
    pub hashed: Option<Key<'a>>,
    /// Where a key that is not there is noted, if anyone listens for that.
    pub missed: Option<&'a RefCell<Vec<Event>>>,
    /// Whether a lookup counts as a use of the key.
    pub marks: bool,
    /// How often keys are used.
    pub hot: &'a HotSet,
}

impl<'a> Read<'a> {
    /// A view made of `parts`.
    #[inline]
    pub fn new(parts: ReadParts<'a>) -> Read<'a> {
        let ReadParts { store, pin, held, tally, config, db, now_ms, .. } = parts;
        let ReadParts { hashed, missed, marks, hot, .. } = parts;
        Read { store, pin, held, tally, config, db, now_ms, hashed, missed, marks, hot }
    }

    /// The clock of this view, ms since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The configuration, for replies that show it.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Uses of `key` in the last minutes, estimated.
    pub fn uses(&self, key: &[u8]) -> u64 {
        self.hot.uses(self.db, self.store.key(key).hash)
    }

    /// The keys used most in the last minutes, with their uses, the highest first.
    pub fn hottest(&self, count: usize) -> Vec<(Vec<u8>, u64)> {
        self.hot.leaders(self.db, count)
    }

    /// The live entry under `key`; counted as a hit or a miss.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<EntryRef<'a>> {
        let found = self.peek(key);
        match found {
            Some(_) => self.tally.hits.add(1),
            None => self.miss(key),
        }
        found
    }

    /// The live entry under `key`, without counting.
    #[inline]
    pub fn peek(&self, key: &[u8]) -> Option<EntryRef<'a>> {
        let found = match self.hashed {
            Some(hashed) if std::ptr::eq(hashed.bytes, key) => self.find(&hashed),
            _ => self.find(&self.store.key(key)),
        };
        found.filter(|entry| !entry.is_expired(self.now_ms))
    }

    /// The string under `key`; counted. An error if it is not a string.
    #[inline]
    pub fn string(&self, key: &[u8]) -> Result<Option<EntryRef<'a>>, CmdError> {
        match self.get(key) {
            Some(entry) if entry.kind() != Kind::String => Err(CmdError::WrongType),
            found => Ok(found),
        }
    }

    /// Live entries under several keys, as one moment saw them; each counted.
    pub fn get_many<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Option<EntryRef<'a>>> {
        let keys: Vec<Key<'_>> = keys.map(|key| self.store.key(key)).collect();
        let mut found = Vec::with_capacity(keys.len());
        match self.held {
            Some(held) => found.extend(keys.iter().map(|key| held.find(self.db, key))),
            None => self.store.get_many(self.pin, self.db, &keys, self.marks, &mut found),
        }
        for (slot, key) in found.iter_mut().zip(&keys) {
            *slot = slot.filter(|entry| !entry.is_expired(self.now_ms));
            match slot {
                Some(_) => self.tally.hits.add(1),
                None => self.miss(key.bytes),
            }
        }
        found
    }

    fn miss(&self, key: &[u8]) {
        self.tally.misses.add(1);
        if let Some(missed) = self.missed {
            let class = notify::KEY_MISS;
            let event = Event { class, name: "keymiss", db: self.db, key: key.to_vec() };
            missed.borrow_mut().push(event);
        }
    }

    #[inline]
    fn find(&self, key: &Key<'_>) -> Option<EntryRef<'a>> {
        match self.held {
            Some(held) => held.find(self.db, key),
            None if self.marks => self.store.get(self.pin, self.db, key),
            None => self.store.peek(self.pin, self.db, key),
        }
    }
}
