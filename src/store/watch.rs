//! WATCH: who is to be told when a key changes.
//!
//! Each shard has a table of watchers under its lock. A change looks at it only if it is not
//! empty, so it costs one load when nobody watches.

use super::hash::Key;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The mark that tells a connection that a key it watches was changed. Set under the key's
/// shard lock, read by EXEC with its locks held.
#[derive(Debug, Default)]
pub struct Watch {
    marked: AtomicBool,
}

impl Watch {
    /// True once a watched key was changed.
    pub fn is_marked(&self) -> bool {
        // Relaxed: the shard's lock orders it, for who decides by it.
        self.marked.load(Relaxed)
    }

    /// A watched key was changed.
    pub fn mark(&self) {
        self.marked.store(true, Relaxed);
    }
}

/// One key that one connection watches.
struct Watcher {
    db: u8,
    key: Box<[u8]>,
    watch: Arc<Watch>,
}

impl Watcher {
    fn is_for(&self, db: u8, key: &[u8]) -> bool {
        self.db == db && *self.key == *key
    }
}

/// The watchers of a shard, by the hash of the key.
#[derive(Default)]
pub struct Watchers {
    by_hash: HashMap<u64, Vec<Watcher>>,
}

impl Watchers {
    /// True when nobody watches.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Adds a watcher, once.
    pub fn add(&mut self, db: u8, key: &Key<'_>, watch: &Arc<Watch>) {
        let watchers = self.by_hash.entry(key.hash).or_default();
        let known =
            watchers.iter().any(|w| w.is_for(db, key.bytes) && Arc::ptr_eq(&w.watch, watch));
        if !known {
            watchers.push(Watcher { db, key: key.bytes.into(), watch: Arc::clone(watch) });
        }
    }

    /// Removes a watcher.
    pub fn remove(&mut self, db: u8, key: &Key<'_>, watch: &Arc<Watch>) {
        let Some(watchers) = self.by_hash.get_mut(&key.hash) else { return };
        watchers.retain(|w| !(w.is_for(db, key.bytes) && Arc::ptr_eq(&w.watch, watch)));
        if watchers.is_empty() {
            self.by_hash.remove(&key.hash);
        }
    }

    /// Marks the watchers of one key.
    #[cold]
    pub fn mark(&self, db: u8, hash: u64, key: &[u8]) {
        let watchers = self.by_hash.get(&hash).into_iter().flatten();
        watchers.filter(|w| w.is_for(db, key)).for_each(|w| w.watch.mark());
    }

    /// Marks the watchers of a database's keys that `changes` (given hash and key) says yes to.
    pub fn mark_all(&self, db: u8, changes: impl Fn(u64, &[u8]) -> bool) {
        for (hash, watchers) in &self.by_hash {
            let changed = watchers.iter().filter(|w| w.db == db && changes(*hash, &w.key));
            changed.for_each(|w| w.watch.mark());
        }
    }
}
