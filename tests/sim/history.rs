//! What clients asked and were told, and whether some order of single steps explains it.
//!
//! Each key is a register of its own, so each is checked alone. A depth-first search takes one
//! request after the other out of those that may come next: such that no answered request ended
//! before it began. What was seen before (the same requests done, the same value) is not looked at
//! again. A request whose fate is unknown may take effect at any time behind its beginning, or
//! never. Answered requests that were sent together come in their order (C17). A key that was set
//! until a deadline may end at any moment from the earliest on at which that can be.

use super::clients::Conn;
use std::collections::{BTreeMap, HashSet};

/// What a request does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Set(u64),
    /// As `Set`, for so many microseconds of log time.
    SetFor(u64, u64),
    /// The deadline of this value is there. Nobody asks for that.
    Expire(u64),
    /// Adds one and returns the sum.
    Increment,
    Read,
}

/// How a request ended, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all, or nobody knows.
    Open,
    /// At this time with this value (for a SET the value that was set).
    Answered { at: u64, value: u64 },
    /// It was proven not to be applied.
    NotApplied,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Op {
    pub group: usize,
    pub key: u16,
    pub kind: Kind,
    pub began: u64,
    pub end: End,
    /// Who asked, and with which other requests.
    pub conn: Conn,
    pub batch: u64,
}

/// The verdict on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Wrong,
    /// The search was given up; counts as a failure.
    Undecided,
}

const STEPS_MAX: usize = 400_000;

/// Finds the first key whose requests no order explains, with the verdict on it.
pub fn first_wrong(ops: &[Op]) -> Option<((usize, u16), Verdict)> {
    let mut keys: BTreeMap<(usize, u16), Vec<Op>> = BTreeMap::new();
    for op in ops {
        let is_answered = matches!(op.end, End::Answered { .. });
        let may_have_effect = op.kind != Kind::Read && op.end == End::Open;
        if is_answered || may_have_effect {
            let of_key = keys.entry((op.group, op.key)).or_default();
            of_key.push(op.clone());
            of_key.extend(expiry(op));
        }
    }
    let verdicts = keys.into_iter().map(|(key, ops)| (key, judge(ops)));
    verdicts.into_iter().find(|(_, verdict)| *verdict != Verdict::Linearizable)
}

/// The end of a key that was set until a deadline. Log time runs faster than real time by a clock's
/// rate of 1.1 and 5 % of that, at most.
fn expiry(op: &Op) -> Option<Op> {
    let Kind::SetFor(value, ttl_us) = op.kind else { return None };
    let began = op.began + ttl_us * 100 / 116;
    Some(Op { kind: Kind::Expire(value), began, end: End::Open, ..op.clone() })
}

/// A place in the search: which requests are done, and the value of the key then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    done: Vec<u64>,
    value: u64,
}

impl Place {
    fn has(&self, at: usize) -> bool {
        self.done[at / 64] >> (at % 64) & 1 == 1
    }

    fn with(&self, at: usize, value: u64) -> Place {
        let mut done = self.done.clone();
        done[at / 64] |= 1 << (at % 64);
        Place { done, value }
    }
}

/// Judges the requests of one key, which begins with the value 0.
pub fn judge(mut ops: Vec<Op>) -> Verdict {
    ops.sort_by_key(|op| op.began);
    let behind = predecessors(&ops);
    let is_next = |place: &Place, at: usize| {
        !place.has(at) && behind[at].is_none_or(|before| place.has(before))
    };
    let mut seen = HashSet::new();
    let mut stack = vec![Place { done: vec![0; ops.len().div_ceil(64)], value: 0 }];
    let mut steps = 0;
    while let Some(place) = stack.pop() {
        let place = read_what_fits(&ops, place, &is_next);
        let Some(horizon) = horizon(&ops, &place) else { return Verdict::Linearizable };
        if !seen.insert(place.clone()) {
            continue;
        }
        steps += 1;
        if steps > STEPS_MAX {
            return Verdict::Undecided;
        }
        for (at, op) in ops.iter().enumerate().take_while(|(_, op)| op.began <= horizon) {
            if let Some(value) = effect(op, place.value).filter(|_| is_next(&place, at)) {
                stack.push(place.with(at, value));
            }
        }
    }
    Verdict::Wrong
}

/// Of each request the last one that was answered among those in front of it in its batch.
fn predecessors(ops: &[Op]) -> Vec<Option<usize>> {
    let mut newest = BTreeMap::new();
    let before = |(at, op): (usize, &Op)| match op.end {
        End::Answered { .. } => newest.insert(op.batch, at),
        _ => None,
    };
    ops.iter().enumerate().map(before).collect()
}

/// The first end of an answered request that is not done; `None` if all are.
fn horizon(ops: &[Op], place: &Place) -> Option<u64> {
    let ends = ops.iter().enumerate().filter(|(at, _)| !place.has(*at));
    ends.filter_map(|(_, op)| end_of(op)).min()
}

fn end_of(op: &Op) -> Option<u64> {
    if let End::Answered { at, .. } = op.end { Some(at) } else { None }
}

/// Reads that may come next and saw this value are done first: they take nothing away from others.
fn read_what_fits(ops: &[Op], mut place: Place, is_next: &impl Fn(&Place, usize) -> bool) -> Place {
    loop {
        let Some(horizon) = horizon(ops, &place) else { return place };
        let fits = |(at, op): &(usize, &Op)| {
            let is_read = op.kind == Kind::Read && is_next(&place, *at);
            is_read && effect(op, place.value).is_some()
        };
        let mut next = ops.iter().enumerate().take_while(|(_, op)| op.began <= horizon);
        let Some((at, _)) = next.find(fits) else { return place };
        place = place.with(at, place.value);
    }
}

/// The value behind a request that finds `value`; `None` if it was answered otherwise.
fn effect(op: &Op, value: u64) -> Option<u64> {
    let (after, told) = match op.kind {
        Kind::Set(new) | Kind::SetFor(new, _) => (new, new),
        Kind::Expire(old) => return (value == old).then_some(0),
        Kind::Increment => (value + 1, value + 1),
        Kind::Read => (value, value),
    };
    match op.end {
        End::Answered { value, .. } if value != told => None,
        _ => Some(after),
    }
}

mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn op(kind: Kind, began: u64, end: Option<(u64, u64)>) -> Op {
        let end = end.map_or(End::Open, |(at, value)| End::Answered { at, value });
        let batch = began << 32 | NEXT.fetch_add(1, Relaxed);
        Op { group: 0, key: 0, kind, began, end, conn: (0, 0), batch }
    }

    /// One request after the other has a batch of its own.
    static NEXT: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn good_histories_pass() {
        let set = |value, began, at| op(Kind::Set(value), began, Some((at, value)));
        let read = |value, began, at| op(Kind::Read, began, Some((at, value)));
        assert_eq!(judge(vec![]), Verdict::Linearizable);
        assert_eq!(judge(vec![set(1, 0, 5), read(1, 6, 7)]), Verdict::Linearizable);
        let during = vec![set(1, 0, 9), read(0, 1, 2), read(1, 3, 4)];
        assert_eq!(judge(during), Verdict::Linearizable);
        let late = vec![op(Kind::Set(3), 0, None), read(0, 5, 6), read(3, 7, 8)];
        assert_eq!(judge(late), Verdict::Linearizable, "an open request may be applied late");
        let never = vec![op(Kind::Set(3), 0, None), read(0, 5, 6)];
        assert_eq!(judge(never), Verdict::Linearizable, "or never");
        let counted = (1..100).map(|n| op(Kind::Increment, n, Some((200 + n, n)))).collect();
        assert_eq!(judge(counted), Verdict::Linearizable);
    }

    #[test]
    fn bad_histories_are_found() {
        let set = |value, began, at| op(Kind::Set(value), began, Some((at, value)));
        let read = |value, began, at| op(Kind::Read, began, Some((at, value)));
        assert_eq!(judge(vec![set(1, 0, 5), read(0, 6, 7)]), Verdict::Wrong, "a stale read");
        let back = vec![set(1, 0, 9), read(1, 1, 2), read(0, 3, 4)];
        assert_eq!(judge(back), Verdict::Wrong, "a read that goes back");
        let lost = vec![set(1, 0, 1), set(2, 2, 3), read(1, 4, 5)];
        assert_eq!(judge(lost), Verdict::Wrong, "a lost write");
        let increment = |sum, began, at| op(Kind::Increment, began, Some((at, sum)));
        let twice = vec![increment(1, 0, 1), increment(3, 2, 3)];
        assert_eq!(judge(twice), Verdict::Wrong, "an increment that counted twice");
        let same = vec![increment(1, 0, 5), increment(1, 0, 5)];
        assert_eq!(judge(same), Verdict::Wrong, "two increments to one value");
    }

    #[test]
    fn a_key_ends_at_its_deadline_and_not_before() {
        let set = op(Kind::SetFor(7, 1160), 0, Some((5, 7)));
        let read = |value, began| op(Kind::Read, began, Some((began + 1, value)));
        let verdict = |ops: &[&Op]| {
            let ops: Vec<Op> = ops.iter().map(|op| (*op).clone()).collect();
            first_wrong(&ops).map(|(_, verdict)| verdict)
        };
        assert_eq!(verdict(&[&set, &read(7, 6), &read(0, 1000)]), None);
        assert_eq!(verdict(&[&set, &read(7, 2000)]), None, "log time may stand still");
        assert_eq!(verdict(&[&set, &read(0, 900)]), Some(Verdict::Wrong), "too early");
        let alive_again = [&set, &read(0, 1500), &read(7, 1600)];
        assert_eq!(verdict(&alive_again), Some(Verdict::Wrong));
        let newer = op(Kind::Set(8), 10, Some((11, 8)));
        let read_late = [&set, &newer, &read(0, 5000)];
        assert_eq!(verdict(&read_late), Some(Verdict::Wrong), "the deadline of another value");
    }

    #[test]
    fn a_batch_out_of_order_is_found() {
        let set = op(Kind::Set(1), 0, Some((9, 1)));
        let read = |value| Op { batch: set.batch, ..op(Kind::Read, 0, Some((9, value))) };
        assert_eq!(judge(vec![set.clone(), read(1)]), Verdict::Linearizable);
        assert_eq!(judge(vec![set.clone(), read(0)]), Verdict::Wrong, "behind its own write");
        assert_eq!(judge(vec![read(0), set.clone()]), Verdict::Linearizable);
    }

    #[test]
    fn a_refused_request_that_was_applied_is_found() {
        let mut refused = op(Kind::Set(7), 0, None);
        refused.end = End::NotApplied;
        let read = op(Kind::Read, 5, Some((6, 7)));
        assert_eq!(first_wrong(&[refused, read]), Some(((0, 0), Verdict::Wrong)));
    }
}
