//! Lock-free reads.

use super::error::CmdError;
use super::hot::HotSet;
use super::tally::Tally;
use super::txn::Event;
use crate::config::{Config, notify};
use crate::store::{EntryRef, Held, Hint, Key, Kind, Pin, Store};
use std::cell::RefCell;

/// A view of the keyspace at one moment of the clock, without a lock. Inside a transaction the
/// shards are held, and the view reads through them.
#[derive(Clone, Copy)]
pub struct Read<'a> {
    parts: ReadParts<'a>,
    /// Where the bytes of a key lie that was hashed already, and its hint.
    hashed: Option<(*const [u8], &'a Hint<'a>)>,
    missed: Option<&'a RefCell<Vec<Event>>>,
}

/// What a [`Read`] is made of.
#[derive(Clone, Copy)]
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
    /// Whether a lookup counts as a use of the key.
    pub marks: bool,
    /// How often keys are used.
    pub hot: &'a HotSet,
}

impl<'a> Read<'a> {
    /// A view made of `parts`.
    pub fn new(parts: ReadParts<'a>) -> Read<'a> {
        Read { parts, hashed: None, missed: None }
    }

    /// Lets it see another database, and says whether lookups count as uses of their keys.
    #[inline(always)]
    pub fn look_into(&mut self, db: u8, marks: bool) {
        (self.parts.db, self.parts.marks) = (db, marks);
    }

    /// Lets it judge deadlines by another clock, ms since 1970.
    #[inline(always)]
    pub fn set_now(&mut self, now_ms: u64) {
        self.parts.now_ms = now_ms;
    }

    /// Makes a key known that was hashed already, by where its bytes lie.
    #[inline(always)]
    pub fn set_hashed(&mut self, hashed: Option<(*const [u8], &'a Hint<'a>)>) {
        self.hashed = hashed;
    }

    /// The same view, which notes keys that are not there in `missed`.
    pub fn noting<'b>(&'b self, missed: &'b RefCell<Vec<Event>>) -> Read<'b> {
        Read { missed: Some(missed), ..*self }
    }

    /// The clock of this view, ms since 1970.
    pub fn now_ms(&self) -> u64 {
        self.parts.now_ms
    }

    /// The configuration, for replies that show it.
    pub fn config(&self) -> &'a Config {
        self.parts.config
    }

    /// Uses of `key` in the last minutes, estimated.
    pub fn uses(&self, key: &[u8]) -> u64 {
        self.parts.hot.uses(self.parts.db, self.parts.store.key(key).hash)
    }

    /// The keys used most in the last minutes, with their uses, the highest first.
    pub fn hottest(&self, count: usize) -> Vec<(Vec<u8>, u64)> {
        self.parts.hot.leaders(self.parts.db, count)
    }

    /// The live entry under `key`; counted as a hit or a miss.
    #[inline(always)]
    pub fn get(&self, key: &[u8]) -> Option<EntryRef<'a>> {
        let found = self.peek(key);
        match found {
            Some(_) => self.parts.tally.hits.add(1),
            None => self.miss(key),
        }
        found
    }

    /// The live entry under `key`, without counting.
    #[inline(always)]
    pub fn peek(&self, key: &[u8]) -> Option<EntryRef<'a>> {
        let found = match self.hashed {
            Some((bytes, hint)) if std::ptr::eq(bytes, key) => self.find_hinted(key, hint),
            _ => self.find(&self.parts.store.key(key)),
        }?;
        if found.is_expired(self.parts.now_ms) { None } else { Some(found) }
    }

    /// The string under `key`; counted. An error if it is not a string.
    #[inline(always)]
    pub fn string(&self, key: &[u8]) -> Result<Option<EntryRef<'a>>, CmdError> {
        match self.get(key) {
            Some(entry) if entry.kind() != Kind::String => Err(CmdError::WrongType),
            found => Ok(found),
        }
    }

    /// Live entries under several keys, as one moment saw them; each counted.
    pub fn get_many<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Option<EntryRef<'a>>> {
        let keys: Vec<Key<'_>> = keys.map(|key| self.parts.store.key(key)).collect();
        let mut found = Vec::with_capacity(keys.len());
        match self.parts.held {
            Some(held) => found.extend(keys.iter().map(|key| held.find(self.parts.db, key))),
            None => self.parts.store.get_many(
                self.parts.pin,
                self.parts.db,
                &keys,
                self.parts.marks,
                &mut found,
            ),
        }
        for (slot, key) in found.iter_mut().zip(&keys) {
            *slot = slot.filter(|entry| !entry.is_expired(self.parts.now_ms));
            match slot {
                Some(_) => self.parts.tally.hits.add(1),
                None => self.miss(key.bytes),
            }
        }
        found
    }

    #[cold]
    fn miss(&self, key: &[u8]) {
        self.parts.tally.misses.add(1);
        if let Some(missed) = self.missed {
            let class = notify::KEY_MISS;
            let event = Event { class, name: "keymiss", db: self.parts.db, key: key.to_vec() };
            missed.borrow_mut().push(event);
        }
    }

    #[inline(always)]
    fn find_hinted(&self, key: &[u8], hint: &'a Hint<'a>) -> Option<EntryRef<'a>> {
        let ReadParts { store, pin, held, db, marks, .. } = self.parts;
        match held {
            None if marks => store.get_hinted(pin, db, &hint.key(key), hint),
            _ => self.find(&hint.key(key)),
        }
    }

    fn find(&self, key: &Key<'_>) -> Option<EntryRef<'a>> {
        let ReadParts { store, pin, held, db, marks, .. } = self.parts;
        match held {
            Some(held) => held.find(db, key),
            None if marks => store.get(pin, db, key),
            None => store.peek(pin, db, key),
        }
    }
}
