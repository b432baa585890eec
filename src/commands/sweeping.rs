//! The sweep over times of use: each worker passes over its share of the shards, a little at every
//! tick.
//!
//! A pass begins a second after the one before at the earliest, and not at all while nobody asks
//! anything. So an idle server stays idle, and with few keys the time of use is known to the
//! second. Once within hours a pass looks at every entry, whatever happens: times would come round
//! otherwise.
//!
//! The counts of the hot keys fade here too.

use super::evicting;
use super::node::{Local, Node};
use crate::limits::{HOT_FADE_MS, SHARDS, SWEEP_EVERY_MS, SWEEP_HOMES_PER_TICK};
use crate::store::PASS_WITHIN_S;

/// Where a worker's sweep is.
#[derive(Default)]
pub struct Sweeping {
    /// How many of its shards are done; `None` between two passes.
    done: Option<usize>,
    /// When the last pass began, ms since 1970.
    began_ms: u64,
    /// Commands that had been executed then.
    commands: u64,
    /// Whether the pass looks at every entry.
    all: bool,
    /// When the last pass that did so began, ms since 1970.
    all_began_ms: u64,
    /// When the counts of the hot keys are halved next, ms since 1970.
    fade_at_ms: u64,
}

/// One worker's part of the sweep at one tick.
pub fn tick(node: &Node, local: &mut Local) {
    let now_ms = node.now_ms_hint();
    let fade_at_ms = &mut local.sweeping.fade_at_ms;
    if now_ms >= *fade_at_ms {
        *fade_at_ms = now_ms + HOT_FADE_MS;
        node.hot.of(local.worker).halve();
    }
    let Some(mut done) = begin(node, &mut local.sweeping, now_ms) else { return };
    let workers = node.workers.len();
    let mut budget = SWEEP_HOMES_PER_TICK;
    while budget > 0 {
        let number = done * workers + local.worker;
        if number >= SHARDS {
            local.sweeping.done = None;
            return;
        }
        let shard = number as u16;
        if node.engine.store.sweep_some(shard, now_ms, local.sweeping.all, &mut budget) {
            done += 1;
            // A shard without a key takes from the budget too.
            budget = budget.saturating_sub(1);
            if !evicting::counts_uses(node) {
                node.engine.store.lock_one(shard).drop_sketch(shard);
            }
        }
    }
    local.sweeping.done = Some(done);
}

/// How many shards of the pass under way are done; begins a pass if it is time. `None`: it is not.
fn begin(node: &Node, sweeping: &mut Sweeping, now_ms: u64) -> Option<usize> {
    if sweeping.done.is_some() {
        return sweeping.done;
    }
    let commands = node.total(|stats| &stats.commands);
    let all = now_ms.saturating_sub(sweeping.all_began_ms) >= PASS_WITHIN_S * 1000;
    let is_time = now_ms.saturating_sub(sweeping.began_ms) >= SWEEP_EVERY_MS;
    if !is_time || commands == sweeping.commands && !all {
        return None;
    }
    let all_began_ms = if all { now_ms } else { sweeping.all_began_ms };
    let fade_at_ms = sweeping.fade_at_ms;
    *sweeping =
        Sweeping { done: Some(0), began_ms: now_ms, commands, all, all_began_ms, fade_at_ms };
    Some(0)
}
