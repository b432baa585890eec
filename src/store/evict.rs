//! Which key goes when memory is short: a hand over the homes of each shard.
//!
//! ```text
//!   hit      sets the mark of the slot, if it is clear
//!   hand     meets 6 or 16 keys, takes their marks, and names the one that is worth least:
//!     recency    an age in the slot's level: new again by a mark, older by a visit without one
//!     frequency  far below or above the average use of the shard's keys, by a sketch; and among
//!                those between, how often it was found in use since it came (the level)
//!   insert   counts as a use in the sketch, so a key that comes back is remembered
//! ```
//!
//! The hand moves in hash order, which has nothing to do with the order of insertion or use. So
//! a scan or a loop longer than memory cannot flush what is popular, as it does with an exact
//! order of recency. A key that has just come is older than one that was found in use, so those
//! that come once go first. `docs/decisions/0020-worth-of-a-key.md` has the miss ratios.
//!
//! Nothing here depends on the configuration beyond a [`Choice`]; nothing is removed here: whoever
//! removes must write a record of it first (rule E3).

mod sketch;

pub(super) use sketch::Sketch;

use super::entry::EntryRef;
use super::held::Held;
use super::segment::LEVEL_MAX;
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
    /// The one that was not in use for longest, about.
    Recency,
    /// The least used.
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
            By::Recency => 6,
            By::Frequency => 16,
            By::Any | By::Deadline => 1,
        }
    }

    fn uses_sketch(self) -> bool {
        self == By::Frequency
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
            keep_sketch(locked);
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
fn keep_sketch(locked: &mut Locked<'_, ShardState>) {
    let keys = (0..DATABASES as u8).map(|db| locked.keys(db)).sum();
    let slot = &mut locked.state_mut().sketch;
    let before = slot.as_ref().map_or(0, Sketch::bytes) as i64;
    let sketch = slot.get_or_insert_with(|| Sketch::new(SKETCH_PATIENCE));
    sketch.fit(keys);
    let growth = sketch.bytes() as i64 - before;
    locked.account(growth);
}

/// Uses for every two counters of a sketch after which all are halved.
const SKETCH_PATIENCE: u64 = 32;

/// By recency levels go round: from the oldest, [`OLDEST`], up to 7 and over 0, which is that of a
/// new key, to [`IN_USE`].
const IN_USE: u8 = 2;
const OLDEST: u8 = IN_USE + 1;

/// How young a level is by recency, 0 to 7.
fn youth(level: u8) -> u8 {
    level.wrapping_sub(OLDEST) & LEVEL_MAX
}

/// The level of an entry that was found in use.
pub(super) fn level_in_use(level: u8, counts: bool) -> u8 {
    if counts { (level + 1).min(LEVEL_MAX) } else { IN_USE }
}

/// The level of an entry by recency that the hand passed without a mark.
fn level_aged(level: u8) -> u8 {
    if youth(level) == 0 { level } else { level.wrapping_sub(1) & LEVEL_MAX }
}

/// What has been met so far.
struct Window<'p> {
    best: Option<(u64, u8, EntryRef<'p>)>,
    seen: usize,
}

/// The key that is worth least of those that the hand meets.
fn least_used(locked: &mut Locked<'_, ShardState>, pin: &Pin, choice: Choice) -> Option<Candidate> {
    let mut window = Window { best: None, seen: 0 };
    let mut hand = locked.state().hand;
    let mut judge =
        Judge { choice, now_ms: locked.state().clock, sketch: locked.state_mut().sketch.take() };
    let begin = hand;
    for _ in 0..EVICT_HOMES_MAX {
        let db = hand.db;
        let next = locked.meet_home(pin, db, hand.at, choice.volatile_only, &mut |met| {
            let entry = met.entry;
            if let Some(worth) = judge.worth(met) {
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
    state.hand = hand;
    if judge.sketch.is_some() {
        state.sketch = judge.sketch;
    }
    let is_settled = window.seen >= choice.by.window();
    window.best.map(|(worth, db, entry)| candidate(db, entry, worth, is_settled))
}

/// Says what a key is worth, and takes its mark.
struct Judge {
    choice: Choice,
    now_ms: u64,
    /// There is one by frequency.
    sketch: Option<Sketch>,
}

impl Judge {
    /// `None` for a key that may not go.
    fn worth(&mut self, mut met: Met<'_>) -> Option<u64> {
        let was_used = met.take_mark();
        if was_used {
            met.set_level(level_in_use(met.level(), self.sketch.is_some()));
            met.entry.set_used(used_before(self.now_ms / 1000, 0));
        } else if self.sketch.is_none() {
            met.set_level(level_aged(met.level()));
        }
        let class = match &mut self.sketch {
            None => 0,
            Some(sketch) => {
                if was_used {
                    sketch.add(met.fingerprint);
                }
                sketch.class(met.fingerprint)
            }
        };
        if self.choice.volatile_only && met.entry.deadline().is_none() {
            return None;
        }
        if met.entry.is_expired(self.now_ms) {
            return Some(0);
        }
        let level = if self.sketch.is_some() { met.level() } else { youth(met.level()) };
        Some((u64::from(class) << 4 | u64::from(level) << 1 | u64::from(was_used)) + 1)
    }
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
