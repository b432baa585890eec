//! Whether some order of single steps explains what was asked of one object and what was answered.
//!
//! A depth-first search (Wing and Gong, with Lowe's memory of places that were seen) takes one
//! request after the other out of those that may come next: such that no answered request ended
//! before it began. A place is what was done and the object's state then; a place that was seen is
//! not looked at again. What was done is kept as the first answered request that is not, and bits
//! for those behind it, so a long history costs what its widest moment costs. A request whose fate
//! is unknown may take effect at any time behind its beginning, or never. Requests of one
//! connection that were sent at once are executed in their order.
//!
//! Two shortcuts, both sound: an answered request that fits and changes nothing is taken at once,
//! as it takes nothing away from others; of requests of unknown fate that do the same, the one that
//! began first is taken first, as it could stand wherever a later one stands.

use std::collections::{HashMap, HashSet};

/// What an object holds, in a form that can be compared: see [`Kind`].
pub type State = u128;

/// What a request does to its object. Values that are written are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A register: the value, 0 if there is none.
    Set(u64),
    /// Answers what was there before.
    SetGet(u64),
    /// Removes the value, and answers what was there.
    Take,
    /// A transaction that watched: it writes `new` if the value is still `old` (answered 1), or is
    /// void (0). It may be void without a reason.
    Swap {
        old: u64,
        new: u64,
    },
    /// A counter: answers the sum.
    Add(u32),
    /// A set of numbers below 64: answers whether something changed.
    Insert(u8),
    Remove(u8),
    /// A list: answers its length.
    Push(u64),
    /// Four accounts under one tag: answers the balances of both.
    Move {
        from: u8,
        to: u8,
        amount: u16,
    },
    /// The whole of any object.
    Read,
}

/// How a request ended, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all, or nobody knows.
    Open,
    /// At this time, with this answer.
    Answered { at: u64, got: State },
    /// It was proven not to be applied.
    NotApplied,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Names the request, if another one may be behind it.
    pub id: u64,
    /// The request in front of it on its connection, which is to be executed before it; 0: none.
    pub behind: u64,
    pub object: u32,
    pub kind: Kind,
    pub began: u64,
    pub end: End,
}

/// The verdict on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// The requests around the place behind which no order goes on.
    Wrong(String),
    /// The search was given up; counts as a failure.
    Undecided,
}

const PLACES_MAX: usize = 1_000_000;
/// Requests of unknown fate of one object; more are undecided.
const OPEN_MAX: usize = 128;

/// The state of a list with one more element.
pub fn pushed(list: State, value: u64) -> State {
    let (length, hash) = ((list >> 64) as u64, list as u64);
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u128::from(length + 1) << 64 | u128::from(mixed ^ (mixed >> 29))
}

/// The balance of an account in the state of four.
pub fn balance(accounts: State, of: u8) -> i16 {
    (accounts >> (16 * of)) as u16 as i16
}

fn with_balance(accounts: State, of: u8, balance: i16) -> State {
    let shift = 16 * u32::from(of);
    accounts & !(0xffff << shift) | u128::from(balance as u16) << shift
}

/// Two balances as an answer.
pub fn pair(from: i16, to: i16) -> State {
    u128::from(from as u16) << 16 | u128::from(to as u16)
}

/// What an answer does not tell: the state behind a request, and what it answers.
fn step(kind: Kind, state: State) -> (State, State) {
    match kind {
        Kind::Set(value) => (value.into(), 0),
        Kind::SetGet(value) => (value.into(), state),
        Kind::Take => (0, state),
        Kind::Swap { new, .. } => (new.into(), 1),
        Kind::Add(more) => (state + u128::from(more), state + u128::from(more)),
        Kind::Insert(at) => (state | 1 << at, u128::from(state >> at & 1 == 0)),
        Kind::Remove(at) => (state & !(1 << at), state >> at & 1),
        Kind::Push(value) => (pushed(state, value), pushed(state, value) >> 64),
        Kind::Move { from, to, amount } => {
            let less = balance(state, from).wrapping_sub(amount as i16);
            let after = with_balance(state, from, less);
            let more = balance(after, to).wrapping_add(amount as i16);
            (with_balance(after, to, more), pair(less, more))
        }
        Kind::Read => (state, state),
    }
}

/// The state behind a request that finds `state`; `None` if it would have been answered otherwise.
fn effect(op: &Op, state: State) -> Option<State> {
    let got = if let End::Answered { got, .. } = op.end { Some(got) } else { None };
    if let Kind::Swap { old, .. } = op.kind {
        if got == Some(0) {
            return Some(state);
        }
        if state != u128::from(old) {
            return None;
        }
    }
    let (after, told) = step(op.kind, state);
    got.is_none_or(|got| got == told).then_some(after)
}

fn end_of(op: &Op) -> u64 {
    if let End::Answered { at, .. } = op.end { at } else { u64::MAX }
}

/// A place in the search. Answered requests before `first` are done, and those behind it that have
/// a bit; of the open ones those that have a bit.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    first: usize,
    done: Vec<u64>,
    open: u128,
    state: State,
}

impl Place {
    fn has(&self, at: usize) -> bool {
        let Some(at) = at.checked_sub(self.first) else { return true };
        self.done.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }

    fn take(&mut self, at: usize) {
        let at = at - self.first;
        if self.done.len() <= at / 64 {
            self.done.resize(at / 64 + 1, 0);
        }
        self.done[at / 64] |= 1 << (at % 64);
        // Whole words of what is done are dropped, so that equal places are equal.
        while self.done.first() == Some(&u64::MAX) {
            self.done.remove(0);
            self.first += 64;
        }
    }
}

/// The history of one object: what was answered, and what is open, each by its beginning.
struct History {
    answered: Vec<Op>,
    open: Vec<Op>,
    /// For each answered one, the one in front of it on its connection.
    behind: Vec<Option<usize>>,
}

impl History {
    fn new(mut ops: Vec<Op>) -> History {
        ops.sort_by_key(|op| op.began);
        let (answered, open): (Vec<Op>, Vec<Op>) = ops
            .into_iter()
            .filter(|op| op.end != End::NotApplied)
            .partition(|op| op.end != End::Open);
        let written = |op: &Op| match op.kind {
            Kind::Set(value) | Kind::SetGet(value) | Kind::Swap { new: value, .. } => Some(value),
            _ => None,
        };
        let mut seen = HashSet::new();
        for op in &answered {
            if let End::Answered { got, .. } = op.end {
                seen.insert(got);
            }
            if let Kind::Swap { old, .. } = op.kind {
                seen.insert(old.into());
            }
        }
        // A value that was never seen might as well never have been there.
        let matters = |op: &Op| {
            op.kind != Kind::Read && written(op).is_none_or(|value| seen.contains(&value.into()))
        };
        let open = open.into_iter().filter(matters).collect();
        let places: HashMap<u64, usize> =
            answered.iter().enumerate().map(|(at, op)| (op.id, at)).collect();
        let before = |op: &Op| places.get(&op.behind).copied().filter(|_| op.behind != 0);
        let behind = answered.iter().map(before).collect();
        History { answered, open, behind }
    }

    /// Answered requests that may come next; all are done if there are none.
    fn next(&self, place: &Place) -> (Vec<usize>, u64) {
        let mut horizon = u64::MAX;
        let mut next = Vec::new();
        for (at, op) in self.answered.iter().enumerate().skip(place.first) {
            if op.began > horizon {
                break;
            }
            if !place.has(at) {
                horizon = horizon.min(end_of(op));
                next.push(at);
            }
        }
        let is_free = |at: usize| self.behind[at].is_none_or(|before| place.has(before));
        next.retain(|&at| self.answered[at].began <= horizon && is_free(at));
        (next, horizon)
    }

    /// Takes what fits and changes nothing.
    fn quiet(&self, place: &mut Place) -> (Vec<usize>, u64) {
        loop {
            let (next, horizon) = self.next(place);
            let is_quiet =
                |&&at: &&usize| effect(&self.answered[at], place.state) == Some(place.state);
            match next.iter().find(is_quiet) {
                Some(&at) => place.take(at),
                None => return (next, horizon),
            }
        }
    }

    /// Open requests that may be taken: not behind one that does the same.
    fn next_open(&self, place: &Place, horizon: u64) -> Vec<usize> {
        let is_free = |at: &usize| place.open >> at & 1 == 0 && self.open[*at].began <= horizon;
        let all: Vec<usize> = (0..self.open.len()).filter(is_free).collect();
        let is_first = |at: &usize| {
            all.iter().all(|other| other >= at || self.open[*other].kind != self.open[*at].kind)
        };
        all.iter().copied().filter(is_first).collect()
    }

    /// What stands around a request, for people.
    fn around(&self, at: usize) -> String {
        let mut near: Vec<&Op> =
            self.answered[at.saturating_sub(12)..].iter().take(24).chain(&self.open).collect();
        near.sort_by_key(|op| op.began);
        let line = |op: &&Op| match op.end {
            End::Answered { at, got } => {
                format!("  {:>12} to {at:>12} {:?} -> {got:x}", op.began, op.kind)
            }
            _ => format!("  {:>12} open            {:?}", op.began, op.kind),
        };
        near.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Judges the requests of one object, whose state begins as 0.
pub fn judge(ops: Vec<Op>) -> Verdict {
    let history = History::new(ops);
    if history.open.len() > OPEN_MAX {
        return Verdict::Undecided;
    }
    let mut seen = HashSet::new();
    let mut stack = vec![Place { first: 0, done: Vec::new(), open: 0, state: 0 }];
    let mut furthest = 0;
    while let Some(mut place) = stack.pop() {
        let (mut next, horizon) = history.quiet(&mut place);
        let Some(&first) = next.first() else { return Verdict::Linearizable };
        furthest = furthest.max(first);
        if seen.contains(&place) {
            continue;
        }
        if seen.len() >= PLACES_MAX {
            return Verdict::Undecided;
        }
        for at in history.next_open(&place, horizon) {
            if let Some(state) = effect(&history.open[at], place.state) {
                let open = place.open | 1 << at;
                stack.push(Place { open, state, ..place.clone() });
            }
        }
        // What ended first is tried first.
        next.sort_by_key(|&at| std::cmp::Reverse(end_of(&history.answered[at])));
        for at in next {
            if let Some(state) = effect(&history.answered[at], place.state) {
                let mut after = Place { state, ..place.clone() };
                after.take(at);
                stack.push(after);
            }
        }
        seen.insert(place);
    }
    Verdict::Wrong(history.around(furthest))
}

mod tests {
    use super::*;

    fn op(kind: Kind, began: u64, end: Option<(u64, State)>) -> Op {
        let end = end.map_or(End::Open, |(at, got)| End::Answered { at, got });
        Op { id: 0, behind: 0, object: 0, kind, began, end }
    }

    fn good(ops: &[Op], why: &str) {
        assert_eq!(judge(ops.to_vec()), Verdict::Linearizable, "{why}");
    }

    fn bad(ops: &[Op], why: &str) {
        assert!(matches!(judge(ops.to_vec()), Verdict::Wrong(_)), "{why}");
    }

    fn set(value: u64, began: u64, at: u64) -> Op {
        op(Kind::Set(value), began, Some((at, 0)))
    }

    fn read(got: State, began: u64, at: u64) -> Op {
        op(Kind::Read, began, Some((at, got)))
    }

    #[test]
    fn registers() {
        good(&[], "nothing");
        good(&[set(1, 0, 5), read(1, 6, 7)], "a read of what was written");
        good(&[set(1, 0, 9), read(0, 1, 2), read(1, 3, 4)], "during a write");
        good(&[op(Kind::Set(3), 0, None), read(0, 5, 6), read(3, 7, 8)], "an open one, late");
        good(&[op(Kind::Set(3), 0, None), read(0, 5, 6)], "an open one, never");
        bad(&[set(1, 0, 5), read(0, 6, 7)], "a stale read");
        bad(&[set(1, 0, 9), read(1, 1, 2), read(0, 3, 4)], "a read that goes back");
        bad(&[set(1, 0, 1), set(2, 2, 3), read(1, 4, 5)], "a lost write");
        bad(&[op(Kind::Set(3), 4, None), read(3, 1, 2)], "a value before it was written");
        let open = op(Kind::Set(3), 0, None);
        bad(&[open, read(3, 1, 2), set(4, 3, 4), read(3, 5, 6)], "an open one applied twice");
        let refused = Op { end: End::NotApplied, ..op(Kind::Set(7), 0, None) };
        bad(&[refused, read(7, 5, 6)], "a refused one that was applied");
    }

    #[test]
    fn what_is_read_and_written_in_one() {
        let take = |got, began, at| op(Kind::Take, began, Some((at, got)));
        good(&[set(1, 0, 1), take(1, 2, 3), read(0, 4, 5)], "taken");
        bad(&[set(1, 0, 1), take(1, 2, 5), take(1, 2, 5)], "taken twice");
        let swap = |old, new, done, at| op(Kind::Swap { old, new }, at, Some((at + 5, done)));
        good(&[set(1, 0, 1), swap(1, 2, 1, 2), read(2, 9, 10)], "swapped");
        good(&[set(1, 0, 1), swap(1, 2, 0, 2), read(1, 9, 10)], "void without a reason");
        bad(&[set(1, 0, 1), swap(1, 2, 1, 2), swap(1, 3, 1, 2)], "both won");
        bad(&[set(1, 0, 1), set(5, 2, 3), swap(1, 2, 1, 4)], "it watched and wrote all the same");
        let got = op(Kind::SetGet(9), 2, Some((3, 1)));
        good(&[set(1, 0, 1), got, read(9, 4, 5)], "it answers the old value");
        bad(&[set(1, 0, 1), op(Kind::SetGet(9), 2, Some((3, 0)))], "an old value that is gone");
    }

    #[test]
    fn the_order_of_a_connection() {
        let (mut first, mut second) = (set(1, 0, 9), read(0, 0, 9));
        (first.id, second.id) = (1, 2);
        good(&[first, second], "two connections");
        second.behind = 1;
        bad(&[first, second], "a read that does not see the write in front of it");
        let third = Op { id: 3, behind: 2, ..read(1, 0, 9) };
        second.end = End::Answered { at: 9, got: 1 };
        good(&[first, second, third], "in their order");
    }

    #[test]
    fn counters_and_sets() {
        let add = |sum, began, at| op(Kind::Add(1), began, Some((at, sum)));
        let many: Vec<Op> = (1..400).map(|n| add(n, n as u64, 500 + n as u64)).collect();
        good(&many, "four hundred at once");
        bad(&[add(1, 0, 1), add(3, 2, 3)], "counted twice");
        bad(&[add(1, 0, 5), add(1, 0, 5)], "two to one sum");
        let open: Vec<Op> = (0..40).map(|_| op(Kind::Add(1), 0, None)).collect();
        good(&[&open[..], &[read(25, 5, 6), read(40, 7, 8)]].concat(), "forty of unknown fate");
        bad(&[&open[..], &[read(25, 5, 6), read(41, 7, 8)]].concat(), "one more than there are");
        let insert = |at, told, began| op(Kind::Insert(at), began, Some((began + 1, told)));
        let remove = |at, told, began| op(Kind::Remove(at), began, Some((began + 1, told)));
        good(&[insert(3, 1, 0), insert(3, 0, 2), remove(3, 1, 4), read(0, 6, 7)], "in and out");
        bad(&[insert(3, 1, 0), insert(3, 1, 2)], "new twice");
        bad(&[insert(3, 1, 0), read(1 << 4, 6, 7)], "another member");
    }

    #[test]
    fn lists_and_accounts() {
        let push = |value, length, began| op(Kind::Push(value), began, Some((began + 3, length)));
        let list = pushed(pushed(0, 8), 9);
        good(&[push(8, 1, 0), push(9, 2, 1), read(list, 9, 10)], "in this order");
        bad(&[push(8, 1, 0), push(9, 2, 5), read(pushed(pushed(0, 9), 8), 19, 20)], "the other");
        bad(&[push(8, 1, 0), push(9, 1, 0)], "one of them is lost");
        let transfer = Kind::Move { from: 0, to: 1, amount: 5 };
        let both = with_balance(with_balance(0, 0, -5), 1, 5);
        good(&[op(transfer, 0, Some((1, pair(-5, 5)))), read(both, 2, 3)], "moved");
        bad(&[op(transfer, 0, None), read(with_balance(0, 0, -5), 2, 3)], "half of it is seen");
        bad(&[op(transfer, 0, Some((1, pair(-5, 5)))), read(0, 2, 3)], "nothing of it is there");
    }

    #[test]
    fn too_much_of_unknown_fate_is_undecided() {
        let open: Vec<Op> = (0..200).map(|_| op(Kind::Add(1), 0, None)).collect();
        assert_eq!(judge(open), Verdict::Undecided);
    }
}
