//! Compaction: giving memory back after the data has shrunk.
//!
//! After nine keys of ten are gone, at random, no page is empty and every segment is thin. So
//! workers, in slices of their ticks, join thin segments and move what lies in sparse spans, until
//! the spans are empty and go back to the system.
//!
//! ```text
//!   a round:  idle -> sparse spans are marked -> every shard is walked -> cooling -> unmarked
//!                     (nothing is handed out     (by all workers, a       (what was moved
//!                      from them any more)        segment at a time)       is freed)
//! ```
//!
//! The first worker leads: it decides when a round begins and ends. All of them walk through the
//! shards that are theirs, and besides look for tables that have become thin.
//!
//! A shard's lock is held for one segment at a time, at most some 450 entries. A snapshot copies
//! what it reads under the same lock, and values that it shares are no slots, so neither is in the
//! other's way.
//!
//! Deliberately absent: how something is moved (`table::compact`), and which spans are sparse
//! (`slab::shelf`).

use super::shard::Store;
use super::slab;
use crate::limits::{
    COMPACT_COOLING_TICKS, COMPACT_LOOKS, COMPACT_PAUSE_TICKS, COMPACT_PAUSE_TICKS_MAX,
    COMPACT_SLACK_MIN, COMPACT_SLACK_PART, COMPACT_SLACK_PART_SHORT, COMPACT_SPANS_PER_TICK,
    DATABASES, SHARDS, SLAB_SPARSE_PART, SLAB_SPARSE_PART_SHORT,
};
use crate::sync::reclaim;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What the workers know of each other's compaction.
#[derive(Default)]
pub struct Rounds {
    /// The number of the round that is under way, or was last.
    begun: AtomicU64,
    /// Shards that are still to be walked in it.
    shards_left: AtomicU32,
}

/// One worker's part of compaction.
pub struct Compactor {
    worker: u16,
    workers: u16,
    leader: Option<Leader>,
    /// The round that this worker walks in, or walked in last.
    round: u64,
    /// The next of its shards in that round.
    next_shard: u16,
    /// The next shard in which it looks for thin tables.
    next_look: u16,
    walk: Option<Walk>,
}

/// A walk through one shard.
struct Walk {
    shard: u16,
    db: u8,
    hash: u64,
    /// Whether the round waits for it.
    is_counted: bool,
}

impl Compactor {
    /// For worker `worker` of `workers`; each of them must tick, or rounds do not end.
    pub fn new(worker: usize, workers: usize) -> Compactor {
        let (worker, workers) = (worker as u16, workers.max(1) as u16);
        Compactor {
            worker,
            workers,
            leader: (worker == 0).then(Leader::default),
            round: 0,
            next_shard: SHARDS as u16,
            next_look: worker,
            walk: None,
        }
    }

    /// One tick: goes on for as long as `may_go_on` says. True when work is left. While memory is
    /// short a round begins sooner, follows the one before at once, and is work that is left.
    pub fn tick(
        &mut self,
        store: &Store,
        is_short: bool,
        may_go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        if let Some(leader) = &mut self.leader {
            leader.tick(store.rounds(), is_short);
        }
        self.go_on_with(store, COMPACT_LOOKS, may_go_on)
            || self.leader.as_ref().is_some_and(Leader::is_in_a_round)
    }

    /// Goes on with a round that is under way, as a tick does.
    pub fn walk(&mut self, store: &Store, may_go_on: &mut dyn FnMut() -> bool) {
        self.go_on_with(store, 0, may_go_on);
    }

    /// True when it was stopped. At most `looks` shards are looked at for thin tables.
    fn go_on_with(
        &mut self,
        store: &Store,
        mut looks: usize,
        may_go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        while self.walk.is_some() || self.begin_walk(store, &mut looks) {
            if !may_go_on() {
                return true;
            }
            self.go_on(store);
        }
        false
    }

    /// Begins the walk through a shard, if there is one to be walked.
    fn begin_walk(&mut self, store: &Store, looks: &mut usize) -> bool {
        // Relaxed: a round that is noticed late is walked late.
        let begun = store.rounds().begun.load(Relaxed);
        if begun != self.round {
            self.round = begun;
            self.next_shard = self.worker;
            slab::flush();
        }
        let is_counted = usize::from(self.next_shard) < SHARDS;
        let shard = if is_counted {
            let shard = self.next_shard;
            self.next_shard += self.workers;
            Some(shard)
        } else {
            self.find_thin(store, looks)
        };
        self.walk = shard.map(|shard| Walk { shard, db: 0, hash: 0, is_counted });
        self.walk.is_some()
    }

    fn find_thin(&mut self, store: &Store, looks: &mut usize) -> Option<u16> {
        while *looks > 0 {
            *looks -= 1;
            let shard = self.next_look;
            self.next_look = shard + self.workers;
            if usize::from(self.next_look) >= SHARDS {
                self.next_look = self.worker;
            }
            if usize::from(shard) < SHARDS && store.is_thin(shard) {
                return Some(shard);
            }
        }
        None
    }

    /// One segment.
    fn go_on(&mut self, store: &Store) {
        let Some(walk) = &mut self.walk else { return };
        match store.compact(walk.shard, walk.db, walk.hash) {
            Some(next) => walk.hash = next,
            None => (walk.db, walk.hash) = (walk.db + 1, 0),
        }
        if usize::from(walk.db) == DATABASES {
            if walk.is_counted {
                store.rounds().shards_left.fetch_sub(1, Relaxed);
            }
            self.walk = None;
        }
    }
}

impl Store {
    /// Whether one of the shard's tables is thin.
    fn is_thin(&self, shard: u16) -> bool {
        let pin = reclaim::pin();
        let tables = self.shard(shard).tables();
        (0..DATABASES as u8).any(|db| tables.is_thin(&pin, db))
    }

    /// Looks after the segment that `hash` falls into; where the next one starts.
    fn compact(&self, shard: u16, db: u8, hash: u64) -> Option<u64> {
        let tables = self.shard(shard).tables();
        if !tables.has_table(db) {
            return None;
        }
        // Declared before the lock is taken: nothing is freed under it.
        let mut left = Vec::new();
        let mut locked = tables.lock();
        locked.compact(db, hash, &mut left)
    }
}

/// What the first worker does for all.
#[derive(Default)]
struct Leader {
    stage: Stage,
    /// Slack when the round began.
    slack_before: u64,
    /// Ticks to wait after this round.
    pause: u32,
}

/// Where a round is.
enum Stage {
    /// No round, for so many ticks at least.
    Idle(u32),
    /// Spans are being marked, from this number on.
    Marking(usize),
    /// Workers walk.
    Walking,
    /// What was moved becomes free, for so many ticks.
    Cooling(u32),
    /// Marks are being taken away.
    Unmarking(usize),
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Idle(0)
    }
}

impl Leader {
    fn is_in_a_round(&self) -> bool {
        !matches!(self.stage, Stage::Idle(_))
    }

    fn tick(&mut self, rounds: &Rounds, is_short: bool) {
        self.stage = match self.stage {
            Stage::Idle(0) if is_slack(is_short) => {
                self.slack_before = slab::usage().slack_bytes;
                self.mark(0, rounds, is_short)
            }
            Stage::Idle(wait) => Stage::Idle(wait.saturating_sub(1)),
            Stage::Marking(at) => self.mark(at, rounds, is_short),
            // Relaxed: the last one is seen a tick later at worst.
            Stage::Walking if rounds.shards_left.load(Relaxed) == 0 => {
                // What is not freed in time is used again, and goes later.
                Stage::Cooling(if is_short { 0 } else { COMPACT_COOLING_TICKS })
            }
            Stage::Walking => Stage::Walking,
            Stage::Cooling(0) => self.unmark(0, is_short),
            Stage::Cooling(wait) => Stage::Cooling(wait - 1),
            Stage::Unmarking(at) => self.unmark(at, is_short),
        }
    }

    /// Goes on marking; if that was the last part, the walk begins.
    fn mark(&mut self, at: usize, rounds: &Rounds, is_short: bool) -> Stage {
        let part = if is_short { SLAB_SPARSE_PART_SHORT } else { SLAB_SPARSE_PART };
        match slab::mark_sparse(at, COMPACT_SPANS_PER_TICK, part) {
            Some(at) => Stage::Marking(at),
            None if slab::any_sparse() => {
                rounds.shards_left.store(SHARDS as u32, Relaxed);
                rounds.begun.fetch_add(1, Relaxed);
                Stage::Walking
            }
            // Nothing is sparse yet, but it may be soon.
            None if is_short => Stage::Idle(1),
            None => self.end_round(false),
        }
    }

    fn unmark(&mut self, at: usize, is_short: bool) -> Stage {
        match slab::unmark_sparse(at, COMPACT_SPANS_PER_TICK) {
            Some(at) => Stage::Unmarking(at),
            None => self.end_round(is_short),
        }
    }

    /// The next round waits, and the longer the less this one has brought; unless it is wanted `at
    /// once`: while others write, what it brought is not to be seen.
    fn end_round(&mut self, at_once: bool) -> Stage {
        if at_once {
            return Stage::Idle(0);
        }
        let was_of_use = slab::usage().slack_bytes < self.slack_before / 4 * 3;
        self.pause = match was_of_use {
            true => COMPACT_PAUSE_TICKS,
            false => (2 * self.pause).clamp(COMPACT_PAUSE_TICKS, COMPACT_PAUSE_TICKS_MAX),
        };
        Stage::Idle(self.pause)
    }
}

/// Whether so much of the slabs is free that it is worth moving the rest.
fn is_slack(is_short: bool) -> bool {
    let usage = slab::usage();
    let all = usage.out_bytes + usage.slack_bytes;
    let part = if is_short { COMPACT_SLACK_PART_SHORT } else { COMPACT_SLACK_PART };
    usage.slack_bytes >= COMPACT_SLACK_MIN.max(all / part)
}
