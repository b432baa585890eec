//! Looks at many keys at once: SCAN, KEYS, DBSIZE, RANDOMKEY.

use crate::config::Config;
use crate::store::{EntryRef, Held, Object, Store};

/// A view of whole databases. Outside a transaction it locks one shard at a time; inside one it
/// goes through the locks that are held.
pub struct Walk<'a> {
    store: &'a Store,
    held: Option<&'a Held<'a>>,
    config: &'a Config,
    db: u8,
    now_ms: u64,
    seed: u64,
}

impl<'a> Walk<'a> {
    /// A view of database `db` at `now_ms`; `held` are all shards, inside a transaction.
    pub fn new(
        store: &'a Store,
        held: Option<&'a Held<'a>>,
        config: &'a Config,
        db: u8,
        now_ms: u64,
        seed: u64,
    ) -> Walk<'a> {
        Walk { store, held, config, db, now_ms, seed }
    }

    /// The clock, ms since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The configuration, for replies that show it.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Keys of the database, those past their deadline but not yet removed included.
    pub fn len(&self) -> u64 {
        self.store.len(self.db)
    }

    /// True when the database holds no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits live keys in hash order from `cursor` until at least `count` places were seen;
    /// the next cursor, 0 at the end.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(EntryRef<'_>, Option<&Object>),
    ) -> u64 {
        let now = self.now_ms;
        let mut live = |entry: EntryRef<'_>, object: Option<&Object>| {
            if !entry.is_expired(now) {
                visit(entry, object);
            }
        };
        match self.held {
            Some(held) => held.scan(self.db, cursor, count, &mut live),
            None => self.store.scan(self.db, cursor, count, &mut live),
        }
    }

    /// A live key chosen at random, given to `visit`; false when none was found.
    pub fn random(&self, visit: &mut dyn FnMut(&[u8])) -> bool {
        let mut rng = crate::util::rng::SplitMix64::new(self.seed);
        let mut found = false;
        // A database full of expired keys may hold no live one: bounded as Redis bounds it.
        for _ in 0..100 {
            let mut look = |entry: EntryRef<'_>| {
                if !entry.is_expired(self.now_ms) {
                    visit(entry.key());
                    found = true;
                }
            };
            let any = match self.held {
                Some(held) => held.random(self.db, rng.next_u64(), &mut look),
                None => self.store.random(self.db, rng.next_u64(), &mut look),
            };
            if found || !any {
                break;
            }
        }
        found
    }
}
