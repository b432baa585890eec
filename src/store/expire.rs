//! Active expiry: removing what is due, found by lower bounds of the deadlines.
//!
//! ```text
//!   shard's bound -> table's bound -> segment's bound -> eight homes' bound (rounded to 1.024 s)
//! ```
//!
//! A bound may be too early (the key was removed, or its deadline moved), never too late. A visit
//! corrects it. So an idle shard costs one load, and a removal looks at the some thirty entries of
//! eight home buckets, not at the several hundred of a segment.

use super::entry::{EntryRef, Unlinked};
use super::segment::{HOMES_PER_DUE, NEVER};
use super::shard::{ShardState, Store};
use super::table::{HOMES, Locked, View};
use crate::limits::DATABASES;
use crate::sync::reclaim::{self, Pin};

impl Store {
    /// Removes keys whose deadline is at or before `now` in the shard, until `budget` keys
    /// were examined; each removed key is given to `removed` (database and key) under the shard's
    /// lock, so it must not call the store. True when work is left.
    ///
    /// Also retires what FLUSHDB left, within the same budget.
    pub fn expire_some(
        &self,
        shard: u16,
        now: u64,
        budget: &mut usize,
        removed: &mut dyn FnMut(u8, &[u8]),
    ) -> bool {
        let tables = self.shard(shard).tables();
        if tables.min_deadline() > now {
            return false;
        }
        let pin = reclaim::pin();
        let mut sweep =
            Sweep { store: self, pin: &pin, now, due: Vec::new(), unlinked: Vec::new(), removed };
        let mut locked = tables.lock();
        let mut left = locked.bury(budget);
        for db in 0..DATABASES as u8 {
            if locked.table_due(db) <= now {
                left |= sweep.table(&mut locked, db, budget);
            }
        }
        locked.settle_min_deadline();
        // Released before the sweep goes, and with it what was removed: nothing is freed under it.
        drop(locked);
        left || tables.min_deadline() == 0
    }

    /// Retires what FLUSHDB left in a shard until `budget` entries are gone; true when something
    /// is left. For those who do not call [`expire_some`](Self::expire_some).
    pub fn bury_some(&self, shard: u16, budget: &mut usize) -> bool {
        let tables = self.shard(shard).tables();
        if tables.min_deadline() > 0 {
            return false;
        }
        let mut locked = tables.lock();
        let left = locked.bury(budget);
        locked.settle_min_deadline();
        left
    }
}

/// One visit to one shard.
struct Sweep<'a, 'p> {
    store: &'a Store,
    pin: &'p Pin,
    now: u64,
    due: Vec<EntryRef<'p>>,
    unlinked: Vec<Unlinked>,
    removed: &'a mut dyn FnMut(u8, &[u8]),
}

impl<'p> Sweep<'_, 'p> {
    /// True when the budget ran out before the table was through.
    fn table(&mut self, locked: &mut Locked<'_, ShardState>, db: u8, budget: &mut usize) -> bool {
        let mut bound = NEVER;
        let mut next = Some(0);
        while let Some(view) = next.and_then(|start| locked.view(self.pin, db, start)) {
            if view.min_deadline() <= self.now && !self.segment(locked, db, &view, budget) {
                return true;
            }
            bound = bound.min(view.min_deadline());
            next = view.next();
        }
        locked.set_table_due(db, bound);
        false
    }

    /// False when the budget ran out before the segment was through.
    fn segment(
        &mut self,
        locked: &mut Locked<'_, ShardState>,
        db: u8,
        view: &View<'p>,
        budget: &mut usize,
    ) -> bool {
        let mut bound = NEVER;
        (0..HOMES).filter(|home| view.due(*home) <= self.now).for_each(|home| view.prefetch(home));
        for first in (0..HOMES).step_by(HOMES_PER_DUE) {
            let mut earliest = view.due(first);
            if earliest <= self.now {
                // Looked at only here: a budget of one home must not end where it began.
                if *budget == 0 {
                    return false;
                }
                let homes = first..first + HOMES_PER_DUE;
                let examined = homes.map(|home| self.examine(view, home, budget));
                earliest = examined.min().unwrap_or(NEVER);
                self.remove_due(locked, db);
                view.set_due(first, earliest);
            }
            bound = bound.min(earliest);
        }
        view.set_min_deadline(bound);
        true
    }

    /// Finds the due entries of one home; the earliest deadline of the others.
    fn examine(&mut self, view: &View<'p>, home: usize, budget: &mut usize) -> u64 {
        let mut earliest = NEVER;
        for entry in view.homed(home) {
            *budget = budget.saturating_sub(1);
            match entry.deadline() {
                Some(deadline) if deadline <= self.now => self.due.push(entry),
                Some(deadline) => earliest = earliest.min(deadline),
                None => {}
            }
        }
        earliest
    }

    fn remove_due(&mut self, locked: &mut Locked<'_, ShardState>, db: u8) {
        for entry in self.due.drain(..) {
            let key = self.store.key(entry.key());
            self.unlinked.extend(locked.unlink(db, key.hash, key.bytes));
            let state = locked.state_mut();
            state.clock = state.clock.max(entry.deadline().unwrap_or(0));
            if !state.watchers.is_empty() {
                state.watchers.mark(db, key.hash, key.bytes);
            }
            (self.removed)(db, key.bytes);
        }
    }
}
