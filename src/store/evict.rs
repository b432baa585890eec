//! Which key goes when memory is short: a hand over the homes of each shard.
//!
//! ```text
//!   hit      sets the mark of the slot, if it is clear
//!   hand     meets 8 or 16 keys: takes their marks (each counts as a use, in the slot's level and
//!            in the shard's sketch) and names the one that was used least
//!   insert   counts as a use in the sketch, so a key that comes back is remembered
//! ```
//!
//! The hand moves in hash order, which has nothing to do with the order of insertion or use. So
//! a scan or a loop longer than memory cannot flush what is popular, as it does with an exact
//! order of recency; and the sketch, which outlives the keys, tells a key that is used now and
//! then from one that came once. `docs/decisions/0018-eviction.md` has the miss ratios.
//!
//! Nothing here depends on the configuration beyond a [`Choice`]; nothing is removed here: whoever
//! removes must write a record of it first (rule E3).

mod sketch;

pub(super) use sketch::Sketch;

use super::entry::EntryRef;
use super::held::Held;
use super::shard::ShardState;
use super::table::{Locked, Met, fingerprint};
use super::used::used_before;
use crate::limits::{DATABASES, EVICT_HOMES_MAX};
use crate::sync::reclaim::Pin;

/// Which keys may be evicted, and which of them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Only keys that have a deadline.
    pub volatile_only: bool,
    /// The order.
    pub by: By,
}

/// An order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The least used; what was popular is forgotten soon.
    Recency,
    /// The least used; what was popular is forgotten late.
    Frequency,
    /// Any: whichever comes next in hash order.
    Any,
    /// The one with the nearest deadline.
    Deadline,
}

impl By {
    /// Keys that are compared for each one that goes.
    fn window(self) -> usize {
        match self {
            By::Recency => 8,
            By::Frequency => 16,
            By::Any | By::Deadline => 1,
        }
    }

    /// Uses for every two counters of the sketch after which all are halved.
    fn patience(self) -> u64 {
        if self == By::Frequency { 32 } else { 1 }
    }

    fn uses_sketch(self) -> bool {
        matches!(self, By::Recency | By::Frequency)
    }
}

/// A key that may go.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its database.
    pub db: u8,
    /// The key.
    pub key: Vec<u8>,
    /// The lower, the sooner it should go; comparable between shards.
    pub worth: u64,
    /// True when it was compared with so many others that there is no need to look further.
    pub is_settled: bool,
}

impl Held<'_> {
    /// Moves the hand of a shard held, and names the best key to evict that it met; `None` if
    /// there was none within reach.
    pub fn candidate(&mut self, pin: &Pin, shard: u16, choice: Choice) -> Option<Candidate> {
        let locked = self.locked_mut(shard);
        if choice.by.uses_sketch() {
            keep_sketch(locked, choice.by);
        }
        match choice.by {
            By::Deadline => nearest(locked, pin),
            By::Any => any(locked, pin, choice),
            By::Recency | By::Frequency => least_used(locked, pin, choice),
        }
    }

    /// Forgets how often keys of a shard held were in use, when nothing is evicted any more.
    pub fn drop_sketch(&mut self, shard: u16) {
        let locked = self.locked_mut(shard);
        if let Some(sketch) = locked.state_mut().sketch.take() {
            locked.account(-(sketch.bytes() as i64));
        }
    }
}

/// Makes the sketch of the shard, or lets it grow with the shard.
fn keep_sketch(locked: &mut Locked<'_, ShardState>, by: By) {
    let keys = (0..DATABASES as u8).map(|db| locked.keys(db)).sum();
    let slot = &mut locked.state_mut().sketch;
    let before = slot.as_ref().map_or(0, Sketch::bytes) as i64;
    let sketch = slot.get_or_insert_with(|| Sketch::new(by.patience()));
    sketch.set_patience(by.patience());
    sketch.fit(keys);
    let growth = sketch.bytes() as i64 - before;
    locked.account(growth);
}

/// What has been met so far.
struct Window<'p> {
    best: Option<(u64, u8, EntryRef<'p>)>,
    seen: usize,
}

fn least_used(locked: &mut Locked<'_, ShardState>, pin: &Pin, choice: Choice) -> Option<Candidate> {
    let now_ms = locked.state().clock;
    let used = used_before(now_ms / 1000, 0);
    let mut window = Window { best: None, seen: 0 };
    let mut hand = locked.state().hand;
    let mut sketch = locked.state_mut().sketch.take()?;
    let begin = hand;
    for _ in 0..EVICT_HOMES_MAX {
        let db = hand.db;
        let mut meet = |mut met: Met<'_>| {
            let was_used = met.take_mark();
            if was_used {
                sketch.add(met.fingerprint);
                met.raise_level();
                met.entry.set_used(used);
            }
            if choice.volatile_only && met.entry.deadline().is_none() {
                return None;
            }
            let is_dead = met.entry.is_expired(now_ms);
            let count = u64::from(sketch.count(met.fingerprint));
            let worth = count << 4 | u64::from(met.level()) << 1 | u64::from(was_used);
            Some(if is_dead { 0 } else { worth + 1 })
        };
        let next = locked.meet_home(pin, db, hand.at, choice.volatile_only, &mut |met| {
            let entry = met.entry;
            if let Some(worth) = meet(met) {
                window.seen += 1;
                if window.best.is_none_or(|(best, ..)| worth < best) {
                    window.best = Some((worth, db, entry));
                }
            }
        });
        hand = hand.behind(next);
        if window.seen >= choice.by.window() || hand == begin {
            break;
        }
    }
    let state = locked.state_mut();
    (state.hand, state.sketch) = (hand, Some(sketch));
    let is_settled = window.seen >= choice.by.window();
    window.best.map(|(worth, db, entry)| candidate(db, entry, worth, is_settled))
}

fn candidate(db: u8, entry: EntryRef<'_>, worth: u64, is_settled: bool) -> Candidate {
    Candidate { db, key: entry.key().to_vec(), worth, is_settled }
}

/// The next key of the hand.
fn any(locked: &mut Locked<'_, ShardState>, pin: &Pin, choice: Choice) -> Option<Candidate> {
    let mut hand = locked.state().hand;
    let (begin, timed) = (hand, choice.volatile_only);
    let mut found = None;
    for _ in 0..EVICT_HOMES_MAX {
        let here = hand;
        let next = locked.meet_home(pin, here.db, here.at, timed, &mut |met| {
            if !timed || met.entry.deadline().is_some() {
                found = Some((here.db, met.entry));
            }
        });
        if found.is_some() {
            break;
        }
        hand = here.behind(next);
        if hand == begin {
            break;
        }
    }
    locked.state_mut().hand = hand;
    found.map(|(db, entry)| candidate(db, entry, 0, true))
}

fn nearest(locked: &mut Locked<'_, ShardState>, pin: &Pin) -> Option<Candidate> {
    let nearest = |db| locked.nearest_deadline(pin, db).map(|entry| (entry.deadline(), db, entry));
    let (deadline, db, entry) = (0..DATABASES as u8).filter_map(nearest).min_by_key(|it| it.0)?;
    Some(candidate(db, entry, deadline?, false))
}

/// A key comes to be: that counts as a use, and tells when it comes back.
#[inline]
pub(super) fn note_new(locked: &mut Locked<'_, ShardState>, hash: u64) {
    if let Some(sketch) = &mut locked.state_mut().sketch {
        sketch.add(fingerprint(hash));
    }
}
