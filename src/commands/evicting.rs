//! `maxmemory`: what counts against it, and making room by evicting keys.
//!
//! ```text
//!   counted = data (about) + limbo + buffers of clients + what else is resident + holes
//! ```
//!
//! What else is resident (the program, the ring of the log, what the allocator holds back) is
//! measured ten times a second and counts for half of the limit at most, of what is above
//! `MAXMEMORY_FOR_DATA`; limbo for a 32nd, because it goes by itself. Holes in the slabs count for
//! a 16th or 4 MiB, and no more than half either: evicting makes more of them, and compaction gives
//! them back. What FLUSHALL left is given back before a key goes for it. A command that needs
//! memory makes room first, so those who bring data pay for it, also by compacting where holes
//! stand in the way; a tick goes on where the limit was lowered.
//!
//! Each eviction is a record of its own in the log, a DEL (rule E3): replaying never evicts.
//!
//! Deliberately absent: which key goes. See `store::evict`.

use super::dispatch::{begin, publish_effects};
use super::durability::note_seen;
use super::node::{Local, Node, NodeHub};
use crate::config::{EvictionPolicy, notify};
use crate::engine::{Event, append};
use crate::limits::{
    BURY_PER_REQUEST, COMPACT_SLACK_MIN, EVICT_LOOKS, EVICT_PER_REQUEST, EVICT_PER_REQUEST_MAX,
    EVICT_TICK_NS, EVICTIONS_PER_MOVE, MAXMEMORY_FOR_DATA, SHARDS,
};
use crate::store::{By, Candidate, Choice, Held};
use crate::sync::reclaim;
use crate::sys::{clock, process};
use crate::wal::RecordKind;
use crate::wal::record::put_command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What is known of memory, and where eviction goes on. All Relaxed: numbers that stand alone.
#[derive(Default)]
pub struct Room {
    /// Shards that were looked at.
    turn: AtomicU64,
    /// Bytes of buffers of clients at the last tick.
    clients: AtomicU64,
    /// Resident bytes at the last tick that are neither of the above, nor holes in the slabs.
    beside: AtomicU64,
    /// When the limit was first exceeded and room could not be made at once, ms since 1970; 0:
    /// there is room.
    exceeded_since_ms: AtomicU64,
    /// Milliseconds spent above the limit before that.
    exceeded_ms: AtomicU64,
}

impl Room {
    /// Measures what is not data; one worker calls it ten times a second.
    pub fn tick(&self, node: &Node, hub: &NodeHub) {
        if node.config.hot.maxmemory() == 0 {
            return self.note_exceeded(false, 0);
        }
        let clients = node.clients_bytes(hub);
        let store = &node.engine.store;
        let known = store.memory_bytes() + store.slab_usage().slack_bytes + clients;
        let resident = process::rss_bytes().unwrap_or(known);
        self.clients.store(clients, Relaxed);
        self.beside.store(resident.saturating_sub(known), Relaxed);
        self.note_exceeded(excess(node) > 0, node.now_ms_hint());
    }

    fn note_exceeded(&self, is_over: bool, now_ms: u64) {
        let since = self.exceeded_since_ms.load(Relaxed);
        match (is_over, since) {
            (true, 0) => self.exceeded_since_ms.store(now_ms, Relaxed),
            (false, 1..) => {
                self.exceeded_ms.fetch_add(now_ms.saturating_sub(since), Relaxed);
                self.exceeded_since_ms.store(0, Relaxed);
            }
            _ => {}
        }
    }

    /// Milliseconds above the limit: in all, and this time.
    pub fn exceeded_ms(&self, now_ms: u64) -> (u64, u64) {
        let current = match self.exceeded_since_ms.load(Relaxed) {
            0 => 0,
            since => now_ms.saturating_sub(since),
        };
        (self.exceeded_ms.load(Relaxed) + current, current)
    }

    /// Bytes that are resident beside data, holes and buffers, and how many of them count.
    pub fn beside(&self, limit: u64) -> (u64, u64) {
        let beside = self.beside.load(Relaxed);
        (beside, beside.min(half_above(limit)))
    }

    fn next_shard(&self) -> u16 {
        // An odd step visits every shard, and neighbours are not visited one after the other.
        (self.turn.fetch_add(197, Relaxed) % SHARDS as u64) as u16
    }
}

/// Holes in the slabs count for the limit divided by this at most, or for what is not compacted.
const HOLES_PART: u64 = 16;
/// Limbo counts for the limit divided by this at most.
const LIMBO_PART: u64 = 32;
/// Memory is short from this part of the limit below it.
const SHORT_PART: u64 = 16;
/// For each such part of the limit above it, each request compacts a segment.
const FAR_PART: u64 = 128;
/// Above the limit by this part of it, a request goes on making room beyond its share.
const OVER_PART: u64 = 20;

/// What is resident beside data counts for so much at most: half of what is not the data's alone.
fn half_above(limit: u64) -> u64 {
    limit.saturating_sub(MAXMEMORY_FOR_DATA) / 2
}

/// Bytes above `maxmemory`; 0 when there is none or it is not reached.
pub fn excess(node: &Node) -> u64 {
    match node.config.hot.maxmemory() {
        0 => 0,
        limit => {
            let most = COMPACT_SLACK_MIN.max(limit / HOLES_PART).min(half_above(limit));
            (counted(node, limit) + holes(node).min(most)).saturating_sub(limit)
        }
    }
}

/// Whether so little is left below `maxmemory` that what lies idle in memory is missed.
pub fn is_short(node: &Node) -> bool {
    let limit = node.config.hot.maxmemory();
    limit != 0 && counted(node, limit) + holes(node) > limit - limit / SHORT_PART
}

/// Bytes of free slots in the slabs.
fn holes(node: &Node) -> u64 {
    node.engine.store.slab_usage().slack_bytes
}

/// Bytes that count against `limit`, without holes.
fn counted(node: &Node, limit: u64) -> u64 {
    let limbo = (reclaim::limbo_bytes() as u64).min(limit / LIMBO_PART);
    let (_, beside) = node.room.beside(limit);
    let counted = node.engine.store.data_bytes_about() + limbo + beside;
    counted + node.room.clients.load(Relaxed)
}

/// What the configured policy chooses; `None` if nothing is to be evicted.
fn choice(node: &Node) -> Option<Choice> {
    use EvictionPolicy as P;
    if node.cluster.get().is_some() {
        return None; // What changes the keyspace goes through the log of its group.
    }
    let (volatile_only, by) = match node.config.hot.maxmemory_policy() {
        P::NoEviction => return None,
        P::AllKeysLru => (false, By::Recency),
        P::VolatileLru => (true, By::Recency),
        P::AllKeysLfu => (false, By::Frequency),
        P::VolatileLfu => (true, By::Frequency),
        P::AllKeysRandom => (false, By::Any),
        P::VolatileRandom => (true, By::Any),
        P::VolatileTtl => (true, By::Deadline),
    };
    Some(Choice { volatile_only, by })
}

/// Whether keys are evicted by how often they are used.
pub fn counts_uses(node: &Node) -> bool {
    use EvictionPolicy as P;
    let by_count = [P::AllKeysLfu, P::VolatileLfu];
    node.config.hot.maxmemory() != 0 && by_count.contains(&node.config.hot.maxmemory_policy())
}

/// Whether a command that needs memory may have it at once, as nearly always.
#[inline]
pub fn has_room(node: &Node) -> bool {
    match node.config.hot.maxmemory() {
        0 => true,
        limit => counted(node, limit) + holes(node) <= limit,
    }
}

/// Makes room for a command that needs memory; false if it must be refused.
#[inline]
pub fn make_room(node: &Node, hub: &NodeHub, local: &mut Local) -> bool {
    has_room(node) || make_room_now(node, hub, local)
}

#[cold]
fn make_room_now(node: &Node, hub: &NodeHub, local: &mut Local) -> bool {
    let mut excess = excess(node);
    let limit = node.config.hot.maxmemory();
    compact_some(node, local, far_above(node, limit));
    let buried = bury(node, excess);
    excess = excess.saturating_sub(buried);
    if excess == 0 || buried > 0 && excess <= limit / OVER_PART {
        return true;
    }
    let mut outcome = false;
    for count in 0..EVICT_PER_REQUEST_MAX {
        match evict_one(node, local) {
            Evicted::Nothing => break,
            // The log takes no more for now: the command will find that out itself.
            Evicted::NotNow => {
                outcome = true;
                break;
            }
            Evicted::Bytes(bytes) => excess = excess.saturating_sub(bytes),
        }
        local.until_move -= 1;
        if local.until_move == 0 {
            // What goes leaves holes, which keys of another size cannot fill.
            local.until_move = EVICTIONS_PER_MOVE;
            compact_some(node, local, 1);
        }
        if excess == 0 || count + 1 >= EVICT_PER_REQUEST && excess <= limit / OVER_PART {
            outcome = true;
            break;
        }
    }
    publish_effects(node, hub, local);
    outcome
}

/// How far above `limit` all that is resident is, holes included, in segments to be compacted.
fn far_above(node: &Node, limit: u64) -> u64 {
    let above = (counted(node, limit) + holes(node)).saturating_sub(limit);
    above / (limit / FAR_PART).max(1)
}

/// Compacts so many segments, if a round is under way.
fn compact_some(node: &Node, local: &mut Local, mut segments: u64) {
    local.compactor.walk(&node.engine.store, &mut || {
        let may_go_on = segments > 0;
        segments = segments.saturating_sub(1);
        may_go_on
    });
}

/// Gives back `excess` bytes of what FLUSHALL left, within a request's share; how many it gave.
fn bury(node: &Node, excess: u64) -> u64 {
    let store = &node.engine.store;
    if !store.has_flushed() {
        return 0; // As nearly always: each write comes here while keys are evicted.
    }
    let (mut share, mut bytes) = (BURY_PER_REQUEST, 0);
    for shard in 0..SHARDS as u16 {
        let mut more = true;
        while more && share > 0 && bytes < excess {
            let before = store.shard_bytes(shard);
            let mut budget = share.min(EVICT_PER_REQUEST);
            share -= budget;
            more = store.bury_some(shard, &mut budget);
            share += budget;
            bytes += before.saturating_sub(store.shard_bytes(shard));
        }
    }
    bytes
}

/// Goes on making room where no command does, for a bounded time. True if there is more to do.
pub fn tick(node: &Node, hub: &NodeHub, local: &mut Local) -> bool {
    let mut excess = excess(node);
    if excess == 0 || node.is_loading() {
        return false;
    }
    let until_ns = clock::monotonic_ns() + EVICT_TICK_NS;
    let mut more = true;
    while excess > 0 && more && clock::monotonic_ns() < until_ns {
        match evict_one(node, local) {
            Evicted::Bytes(bytes) => excess = excess.saturating_sub(bytes),
            Evicted::Nothing | Evicted::NotNow => more = false,
        }
    }
    publish_effects(node, hub, local);
    // No turn follows that would see to it, and those who listen wait for these records.
    if std::mem::take(&mut local.after) > 0
        && let Some(log) = node.durability.log()
    {
        log.kick();
    }
    more && excess > 0
}

enum Evicted {
    /// A key that took so many bytes.
    Bytes(u64),
    /// There is none to evict.
    Nothing,
    /// No record can be written now.
    NotNow,
}

fn evict_one(node: &Node, local: &mut Local) -> Evicted {
    let Some(choice) = choice(node) else { return Evicted::Nothing };
    // A switch of the log waits for all pins: what this sees of it holds until the end.
    let pin = reclaim::pin();
    if node.is_loading() || node.durability.takes_no_writes() {
        return Evicted::NotNow;
    }
    let mut best: Option<(u16, Candidate)> = None;
    let mut looks = 0;
    for _ in 0..SHARDS {
        let shard = node.room.next_shard();
        if !node.engine.store.has_keys(&pin, shard, choice.volatile_only) {
            continue;
        }
        let mut held = node.engine.store.lock_one(shard);
        let Some(found) = held.candidate(&pin, shard, choice) else { continue };
        if found.is_settled {
            return Evicted::Bytes(remove(node, local, held, shard, &found).unwrap_or(0));
        }
        drop(held);
        if best.as_ref().is_none_or(|(_, best)| found.worth < best.worth) {
            best = Some((shard, found));
        }
        looks += 1;
        if looks == EVICT_LOOKS {
            break;
        }
    }
    let Some((shard, found)) = best else { return Evicted::Nothing };
    let held = node.engine.store.lock_one(shard);
    // If it went meanwhile, there is room where it was.
    Evicted::Bytes(remove(node, local, held, shard, &found).unwrap_or(0))
}

/// Removes a key by a record of its own; the bytes it took.
fn remove(
    node: &Node,
    local: &mut Local,
    mut held: Held<'_>,
    shard: u16,
    found: &Candidate,
) -> Option<u64> {
    let store = &node.engine.store;
    let key = store.key(&found.key);
    held.find(found.db, &key)?;
    let moment = begin(node, local, &mut held, node.now_ms_hint());
    if let Some(log) = node.durability.log() {
        let words: [&[u8]; 2] = [b"DEL", &found.key];
        put_command(local.record.body(), found.db, words.into_iter());
        append(log, &local.record, &mut held, RecordKind::Commands, moment);
        note_seen(log, &mut local.after, held.last_lsn());
    }
    let before = store.shard_bytes(shard);
    held.remove(found.db, &key);
    let bytes = before.saturating_sub(store.shard_bytes(shard));
    node.workers[local.worker].tally.evicted.add(1);
    local.effects.dirty += 1;
    if local.effects.notify_classes & notify::EVICTED != 0 {
        let (class, db, key) = (notify::EVICTED, found.db, found.key.clone());
        local.effects.events.push(Event { class, name: "evicted", db, key });
    }
    Some(bytes)
}
