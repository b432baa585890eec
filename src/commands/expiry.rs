//! What happens by itself, ten times a second on every worker: keys past their deadline are
//! removed, others are evicted, marks of use become times, memory is compacted, limbo is emptied,
//! connections are held to their bounds, the clock is compared.

use super::node::{Local, Node, NodeHub};
use super::{events, evicting, sweeping};
use crate::config::notify;
use crate::engine::Event;
use crate::limits::{
    ALLOCATOR_HUGE_MIN, COMPACT_TICK_NS, COMPACT_TICK_URGENT_NS, EXPIRE_SHARDS_PER_LOOK,
    EXPIRE_SLICE_KEYS, EXPIRE_TICK_NS, SHARDS,
};
use crate::net::TickOutcome;
use crate::sync::reclaim;
use crate::sys::{allocator, clock};
use std::sync::atomic::Ordering::Relaxed;

/// One worker's tick. `More` when the slice of time was too short for the keys that are due.
pub fn tick(hub: &NodeHub, local: &mut Local, worker: usize) -> TickOutcome {
    let node = &hub.service;
    if worker == 0 {
        tick_once(hub);
        allow_huge_pages(node, local);
    }
    let mut outcome = expire(node, hub, local, worker);
    if evicting::tick(node, hub, local) {
        outcome = TickOutcome::More;
    }
    sweeping::tick(node, local);
    let is_short = evicting::is_short(node);
    if compact(node, local, is_short) {
        outcome = TickOutcome::More;
    }
    reclaim::collect();
    if local.shrinking.tick(node.engine.store.memory_bytes(), is_short) {
        allocator::collect();
    }
    outcome
}

/// The part that one worker does for all.
fn tick_once(hub: &NodeHub) {
    let node = &hub.service;
    if node.engine.clock.tick() {
        let gap_s = node.engine.clock.gap_ns() / 1_000_000_000;
        tracing::warn!(gap_s, "the wall clock jumped; the process clock follows it slowly");
    }
    let now_ms = node.engine.clock.now_ms();
    node.pause.tick(hub, now_ms);
    node.gauges.tick(node, now_ms);
    node.room.tick(node, hub);
    hub.sweep(now_ms);
}

/// Removes due keys of this worker's share of the shards, for a bounded time.
fn expire(node: &Node, hub: &NodeHub, local: &mut Local, worker: usize) -> TickOutcome {
    if !node.active_expire.load(Relaxed) || node.is_loading() {
        return TickOutcome::Done;
    }
    let until_ns = clock::monotonic_ns() + EXPIRE_TICK_NS;
    let workers = node.workers.len();
    let mut removed = Vec::new();
    let mut outcome = TickOutcome::Done;
    let share = SHARDS.div_ceil(workers);
    for at in 0..share {
        let shard = (local.expire_at as usize * workers + worker) % SHARDS;
        let mut budget = EXPIRE_SLICE_KEYS;
        let more = node.engine.store.expire_some(
            shard as u16,
            node.expiry_clock_ms(shard as u16),
            &mut budget,
            &mut |db, key: &[u8]| removed.push((db, key.to_vec())),
        );
        if !more {
            local.expire_at = ((local.expire_at as usize + 1) % share) as u16;
        }
        // To find nothing due takes less time than looking at the clock does.
        let looks = budget < EXPIRE_SLICE_KEYS || at.is_multiple_of(EXPIRE_SHARDS_PER_LOOK);
        if looks && clock::monotonic_ns() >= until_ns {
            // Where some were due, the shards that were not reached will have some too.
            let is_due = more || !removed.is_empty();
            outcome = if is_due { TickOutcome::More } else { outcome };
            break;
        }
    }
    node.workers[worker].tally.expired.add(removed.len() as u64);
    announce(node, hub, removed);
    outcome
}

/// Once there is much in it, the allocator is better off with huge pages.
fn allow_huge_pages(node: &Node, local: &mut Local) {
    let store = &node.engine.store;
    let elsewhere = store.data_bytes().saturating_sub(store.slab_usage().out_bytes);
    if !local.has_huge_pages && elsewhere >= ALLOCATOR_HUGE_MIN {
        local.has_huge_pages = true;
        allocator::allow_huge_pages(true);
    }
}

/// A slice of compaction. What is left waits for the next tick, unless memory is short: then what
/// lies idle in slabs must become free as fast as others fill it. True if that is so.
fn compact(node: &Node, local: &mut Local, is_short: bool) -> bool {
    if node.is_loading() {
        return false;
    }
    let slabs = node.engine.store.slab_usage();
    let is_urgent = !is_short && slabs.slack_bytes > slabs.out_bytes;
    let slice_ns = if is_urgent { COMPACT_TICK_URGENT_NS } else { COMPACT_TICK_NS };
    let until_ns = clock::monotonic_ns() + slice_ns;
    let mut may_go_on = || clock::monotonic_ns() < until_ns;
    let is_left = local.compactor.tick(&node.engine.store, is_short, &mut may_go_on);
    is_left && is_short
}

fn announce(node: &Node, hub: &NodeHub, removed: Vec<(u8, Vec<u8>)>) {
    if events::classes(node) & notify::EXPIRED == 0 {
        return;
    }
    let expired = |(db, key)| Event { class: notify::EXPIRED, name: "expired", db, key };
    events::publish(node, hub, removed.into_iter().map(expired).collect(), 0);
}
