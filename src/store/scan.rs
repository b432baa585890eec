//! SCAN and RANDOMKEY.
//!
//! A cursor is a position in hash order: the shard, and the leading hash bits of the next home
//! bucket. Splits refine that order and never change it, so a key that is there throughout is
//! returned exactly once, and there is no state between calls.
//!
//! ```text
//!   cursor   shard 9 bits | hash 37 bits          (46 bits: exact in a double, for some clients)
//! ```

use super::entry::EntryRef;
use super::held::Held;
use super::objects::Object;
use super::segment::BUCKET_BITS;
use super::shard::{ShardState, Store};
use super::table::Locked;
use crate::limits::{
    SCAN_LOCK_STEPS, SCAN_STEPS_MIN, SCAN_STEPS_PER_KEY, SEGMENT_DEPTH_MAX, SHARDS,
};
use crate::sync::reclaim;

/// Hash bits in a cursor: what names a home bucket of the deepest segment.
const HASH_BITS: u32 = SEGMENT_DEPTH_MAX + BUCKET_BITS;

/// A place between two home buckets.
#[derive(Clone, Copy)]
struct Position {
    shard: u16,
    hash: u64,
}

impl Position {
    /// `None` for the end, or for what no cursor can be.
    fn from_cursor(cursor: u64) -> Option<Position> {
        let shard = cursor >> HASH_BITS;
        let hash = cursor << (64 - HASH_BITS);
        (shard < SHARDS as u64).then_some(Position { shard: shard as u16, hash })
    }

    fn cursor(self) -> u64 {
        u64::from(self.shard) << HASH_BITS | self.hash >> (64 - HASH_BITS)
    }

    fn next_shard(self) -> Option<Position> {
        let shard = self.shard + 1;
        (usize::from(shard) < SHARDS).then_some(Position { shard, hash: 0 })
    }
}

/// How far one call has come.
struct Walk {
    count: usize,
    seen: usize,
    steps: usize,
}

impl Walk {
    fn is_done(&self) -> bool {
        let steps_max = self.count.saturating_mul(SCAN_STEPS_PER_KEY).max(SCAN_STEPS_MIN);
        self.seen >= self.count || self.steps >= steps_max
    }

    /// From `cursor` on, asking `slice` to go on in each shard that has a table of `db`.
    fn run(
        mut self,
        store: &Store,
        db: u8,
        cursor: u64,
        slice: &mut dyn FnMut(Position, &mut Walk) -> Option<Position>,
    ) -> u64 {
        let mut position = Position::from_cursor(cursor);
        while let Some(at) = position {
            if self.is_done() {
                break;
            }
            let has_table = store.shard(at.shard).tables().has_table(db);
            position = if has_table { slice(at, &mut self) } else { at.next_shard() };
        }
        position.map_or(0, Position::cursor)
    }

    /// Goes on in one shard, for as many steps as its lock may be held.
    fn slice(
        &mut self,
        locked: &Locked<'_, ShardState>,
        db: u8,
        at: Position,
        visit: Visit<'_>,
    ) -> Option<Position> {
        let mut hash = at.hash;
        for _ in 0..SCAN_LOCK_STEPS {
            let Some(step) = locked.visit_home(db, hash, visit) else { return at.next_shard() };
            self.seen += step.seen;
            self.steps += 1;
            let Some(next) = step.next else { return at.next_shard() };
            hash = next;
            if self.is_done() {
                break;
            }
        }
        Some(Position { shard: at.shard, hash })
    }
}

type Visit<'a> = &'a mut dyn FnMut(EntryRef<'_>, Option<&Object>);

fn walk(count: usize) -> Walk {
    Walk { count: count.max(1), seen: 0, steps: 0 }
}

/// The shard that holds the key of rank `random % total`, and its rank there; `None` if there is
/// no key.
fn choose(store: &Store, db: u8, random: u64) -> Option<(usize, u64)> {
    let pin = reclaim::pin();
    let counts = || store.shards().iter().map(|shard| shard.tables().counts(&pin, db).0);
    let mut rank = random.checked_rem(counts().sum())?;
    for (shard, count) in counts().enumerate() {
        if rank < count {
            return Some((shard, rank));
        }
        rank -= count;
    }
    Some((0, rank))
}

/// The key of that rank; any key if there are fewer; `None` in an empty shard.
fn pick<'a>(locked: &'a Locked<'_, ShardState>, db: u8, rank: u64) -> Option<EntryRef<'a>> {
    locked.nth(db, rank.checked_rem(locked.keys(db))?)
}

impl Store {
    /// Visits keys in hash order from `cursor` until at least `count` were seen; the next
    /// cursor, 0 at the end. Fewer are seen when a long empty stretch uses up the steps of a call.
    ///
    /// `visit` is called under the shard's lock, so it must not call the store.
    pub fn scan(&self, db: u8, cursor: u64, count: usize, visit: Visit<'_>) -> u64 {
        walk(count).run(self, db, cursor, &mut |at, walk| {
            let locked = self.shard(at.shard).tables().lock();
            walk.slice(&locked, db, at, visit)
        })
    }

    /// A key chosen at random, each equally likely, given to `visit` (under the shard's lock);
    /// false when the database is empty.
    pub fn random(&self, db: u8, random: u64, visit: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        let Some((start, rank)) = choose(self, db, random) else { return false };
        // Keys may have come and gone since they were counted: the next shard with any will do.
        (start..SHARDS).chain(0..start).any(|shard| {
            let locked = self.shards()[shard].tables().lock();
            pick(&locked, db, rank).map(&mut *visit).is_some()
        })
    }
}

impl Held<'_> {
    /// As [`Store::scan`], for a holder of all shards.
    pub fn scan(&self, db: u8, cursor: u64, count: usize, visit: Visit<'_>) -> u64 {
        walk(count).run(self.store(), db, cursor, &mut |at, walk| {
            walk.slice(self.locked(at.shard), db, at, visit)
        })
    }

    /// As [`Store::random`], for a holder of all shards.
    pub fn random(&self, db: u8, random: u64, visit: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        let Some((shard, rank)) = choose(self.store(), db, random) else { return false };
        pick(self.locked(shard as u16), db, rank).map(visit).is_some()
    }
}
