//! HSCAN, SSCAN and ZSCAN: walks over the elements of a collection.
//!
//! ```text
//!   dense order   0 1 2 3 4 5 6 7 8 9        cursor 0 (or 10): the whole is left
//!   COUNT 4                   6 7 8 9        next cursor 6: places 0 to 5 are left
//!                     2 3 4 5                next cursor 2
//!                 0 1                        next cursor 0: done
//! ```
//!
//! The walk goes from the end to the start. New elements are appended, and a removal fills its
//! gap with the last element, so an element only ever moves to a lower place: one that is there
//! all the time is never skipped (it may be returned twice). Where the order is another one, as
//! that of sorted integers, the collection is small and returned as a whole.

use super::super::table::Outcome;
use super::{Found, Options, cursor};
use crate::engine::{Collection, Txn};
use crate::limits::{PACKED_LEN, SET_INTS_MAX};
use crate::resp::{Args, Reply};
use crate::store::objects::{Hash, Set, ZSet};
use crate::util::float::format_double;
use std::ops::Range;

/// HSCAN key cursor [MATCH pattern] [COUNT count]
pub fn hscan(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hot = &txn.config().hot;
    let (entries, value) = (hot.hash_max_listpack_entries(), hot.hash_max_listpack_value());
    walk(txn, args, reply, |hash: &Hash, steps| {
        let is_compact = hash.encoding(entries as usize, value as usize) == "listpack";
        for place in steps.next(hash.len(), is_compact) {
            let Some((field, value)) = hash.get_index(place) else { continue };
            steps.push(field, Some(value));
        }
    })
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub fn sscan(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    walk(txn, args, reply, |set: &Set, steps| {
        // Up to this size the members may be sorted integers.
        for place in steps.next(set.len(), set.integers_only() && set.len() <= SET_INTS_MAX) {
            let Some(member) = set.get_index(place) else { continue };
            steps.push(&member, None);
        }
    })
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
pub fn zscan(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hot = &txn.config().hot;
    let (entries, value) = (hot.zset_max_listpack_entries(), hot.zset_max_listpack_value());
    walk(txn, args, reply, |zset: &ZSet, steps| {
        let is_compact = zset.encoding(entries as usize, value as usize) == "listpack";
        // Up to this size places may be ranks.
        for place in steps.next(zset.len(), is_compact || zset.len() <= PACKED_LEN) {
            let Some((member, score)) = zset.get_place(place) else { continue };
            steps.push(member, Some(format_double(score).as_bytes()));
        }
    })
}

/// One call's part of a walk.
struct Steps<'a> {
    options: Options<'a>,
    cursor: u64,
    found: Found,
}

impl Steps<'_> {
    /// The places to be visited of a collection of `len` elements: all in ascending order if it
    /// is to be returned as a whole.
    fn next(&mut self, len: usize, whole: bool) -> Places {
        let left = match usize::try_from(self.cursor) {
            Ok(cursor) if cursor > 0 && !whole => cursor.min(len),
            _ => len,
        };
        let start = if whole { 0 } else { left.saturating_sub(self.options.count) };
        self.cursor = start as u64;
        Places { places: start..left, ascending: whole }
    }

    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        if self.options.matches(name) {
            self.found.push(name);
            value.into_iter().for_each(|value| self.found.push(value));
        }
    }
}

/// Places in the order in which they are visited.
struct Places {
    places: Range<usize>,
    ascending: bool,
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.ascending { self.places.next() } else { self.places.next_back() }
    }
}

fn walk<C: Collection>(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    visit: impl FnOnce(&C, &mut Steps<'_>),
) -> Outcome {
    let (cursor, key) = (cursor(args.get(2))?, txn.key(args.get(1)));
    let found = Found::new(reply.protocol());
    let Some(collection) = txn.read::<C>(&key)? else {
        // The options of a walk over nothing are not looked at.
        found.write_with(0, reply);
        return Ok(());
    };
    let options = Options::parse(args, 3, false)?;
    let mut steps = Steps { options, cursor, found };
    visit(collection, &mut steps);
    steps.found.write_with(steps.cursor, reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Protocol;
    use crate::util::rng::SplitMix64;
    use std::collections::HashSet;

    fn steps(cursor: u64, count: usize) -> Steps<'static> {
        let options = Options { count, pattern: None, type_name: None };
        Steps { options, cursor, found: Found::new(Protocol::Resp2) }
    }

    #[test]
    fn a_walk_goes_from_the_end_to_the_start() {
        let mut visited = Vec::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            let mut steps = steps(cursor, 4);
            visited.extend(steps.next(10, false));
            (cursor, calls) = (steps.cursor, calls + 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!((visited, calls), ((0..10).rev().collect(), 3));
        assert_eq!(steps(7, 4).next(10, true).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(steps(u64::MAX, 4).next(2, false).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(steps(3, 4).next(0, false).count(), 0);
    }

    #[test]
    fn what_is_there_throughout_is_returned_whatever_comes_and_goes() {
        let mut rng = SplitMix64::new(17);
        for _ in 0..50 {
            let name = |i: u64| format!("member-{i}").into_bytes();
            let mut zset = ZSet::new();
            let mut set = Set::new();
            for i in 0..1000 {
                zset.insert(&name(i), rng.next_f64());
                set.insert(&name(i));
            }
            let (mut seen_z, mut seen_s) = (HashSet::new(), HashSet::new());
            let (mut cursor, mut fresh) = (0, 1000);
            loop {
                let mut walk = steps(cursor, 10);
                for place in walk.next(zset.len(), false) {
                    seen_z.insert(zset.get_place(place).unwrap().0.to_vec());
                    seen_s.insert(set.get_index(place).unwrap().to_vec());
                }
                cursor = walk.cursor;
                if cursor == 0 {
                    break;
                }
                // The even ones stay, but their scores do not.
                for _ in 0..20 {
                    let odd = name(rng.below(500) * 2 + 1);
                    assert_eq!(set.remove(&odd), zset.remove(&odd).is_some());
                    zset.insert(&name(rng.below(500) * 2), rng.next_f64());
                }
                for _ in 0..rng.below(10) {
                    zset.insert(&name(fresh), rng.next_f64());
                    set.insert(&name(fresh));
                    fresh += 1;
                }
            }
            for even in (0..1000).step_by(2) {
                assert!(seen_z.contains(&name(even)), "{even} of the sorted set");
                assert!(seen_s.contains(&name(even)), "{even} of the set");
            }
        }
    }
}
