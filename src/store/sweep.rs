//! Times of use: marks become times, now and then.
//!
//! A read sets a mark in the slot of its key and nothing else. A sweep passes over the homes of a
//! shard, takes the marks and writes the time into the entries that bore one. So the time of use is
//! known to the length of a pass; a key that bears a mark was in use since the last one.

use super::evict::level_in_use;
use super::shard::{ShardState, Store};
use super::table::Locked;
use super::used::{refreshed, used_before};
use crate::limits::SWEEP_HOMES_PER_LOCK;
use crate::sync::reclaim;

impl Store {
    /// Passes over the next homes of a shard, at most [`SWEEP_HOMES_PER_LOCK`], or as many as
    /// `budget` has left. `all`: looks at every entry, not only at those that bear a mark, as must
    /// be done once within [`PASS_WITHIN_S`](super::PASS_WITHIN_S). True when the pass is through
    /// the shard.
    pub fn sweep_some(&self, shard: u16, now_ms: u64, all: bool, budget: &mut usize) -> bool {
        let pin = reclaim::pin();
        let mut locked = self.shard(shard).tables().lock();
        let now_s = now_ms.max(locked.state().clock) / 1000;
        for _ in 0..SWEEP_HOMES_PER_LOCK.min(*budget) {
            *budget -= 1;
            if sweep_home(&mut locked, &pin, now_s, all) {
                return true;
            }
        }
        false
    }
}

/// True when this was the last home of the shard.
fn sweep_home(
    locked: &mut Locked<'_, ShardState>,
    pin: &reclaim::Pin,
    now_s: u64,
    all: bool,
) -> bool {
    let hand = locked.state().sweep;
    let now = used_before(now_s, 0);
    let mut sketch = locked.state_mut().sketch.take();
    let next = locked.meet_home(pin, hand.db, hand.at, false, &mut |mut met| {
        if met.take_mark() {
            met.set_level(level_in_use(met.level(), sketch.is_some()));
            met.entry.set_used(now);
            sketch.iter_mut().for_each(|sketch| sketch.add(met.fingerprint));
        } else if all {
            if sketch.is_some() {
                met.set_level(met.level().saturating_sub(1));
            }
            met.entry.set_used(refreshed(met.entry.used(), now_s));
        }
    });
    locked.state_mut().sketch = sketch;
    if let Some(next) = next {
        locked.prefetch_marked(pin, hand.db, next);
    }
    let behind = hand.behind(next);
    locked.state_mut().sweep = behind;
    behind.db < hand.db || behind == hand
}
