//! The large form of a sorted set.
//!
//! ```text
//!  members: dense records by member        order: counted B+ tree of keys
//!    0 [ score | member ]  ◀───────────────  [ score | 24 bits of member | position ]
//!    1 [ score | member ]        ◀─────────  [ ...                                  ]
//! ```
//!
//! A member is stored once. The tree's keys refer to it by position and carry, beside the
//! score, the first three bytes of the member, so that most ties are broken without a look at
//! it. A removal moves the last record into the gap; its key is then pointed to the new place.
//!
//! Invariants: each record has exactly one key, with its score, prefix and position; keys are
//! sorted by score, then by member.

use super::{Inserted, compare_scores};
use crate::store::objects::blob::Blob;
use crate::store::objects::dense::{Dense, Frozen, Keyed};
use crate::store::objects::ranked::{self, Ranked};
use std::cmp::Ordering;
use std::ops::Range;

/// Members by name and by rank.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    members: Dense<Record>,
    order: Ranked<Key>,
    member_bytes: usize,
}

/// A member with its score.
#[derive(Clone, Debug)]
pub struct Record {
    score: f64,
    member: Blob,
}

impl Record {
    /// The member and its score.
    pub fn parts(&self) -> (&[u8], f64) {
        (&self.member, self.score)
    }

    fn heap_bytes(&self) -> usize {
        self.member.heap_bytes()
    }
}

impl Keyed for Record {
    #[inline]
    fn key(&self) -> &[u8] {
        &self.member
    }
}

#[derive(Clone, Copy, Debug)]
struct Key {
    score: f64,
    /// 24 bits of prefix, 40 bits of position.
    tie: u64,
}

impl Key {
    const POSITION_BITS: u32 = 40;

    #[inline]
    fn prefix(&self) -> u64 {
        self.tie >> Key::POSITION_BITS
    }

    #[inline]
    fn position(&self) -> usize {
        (self.tie & ((1 << Key::POSITION_BITS) - 1)) as usize
    }
}

/// The first three bytes as a number; where two differ, they order as the members do.
#[inline]
fn prefix(member: &[u8]) -> u64 {
    let byte = |index: usize| u64::from(member.get(index).copied().unwrap_or(0));
    byte(0) << 16 | byte(1) << 8 | byte(2)
}

impl Tree {
    /// Members held.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(self.members.find(member)?).map(|record| record.score)
    }

    /// The rank of `member`.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let position = self.members.find(member)?;
        let sought = Place::of(self.members.get(position)?, position);
        Some(self.order.partition_point(|key| sought.order(key, &self.members).is_lt()))
    }

    /// The member at `position` of the dense order.
    pub fn get_place(&self, position: usize) -> Option<(&[u8], f64)> {
        self.members.get(position).map(Record::parts)
    }

    /// Gives `member` the score `score`.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let Some(position) = self.members.find(member) else {
            let position = self.members.push(Record { score, member: member.into() });
            self.member_bytes += self.members.get(position).map_or(0, Record::heap_bytes);
            self.link(Place { score, member, position });
            return Inserted::Added;
        };
        let old = self.members.get(position).map_or(score, |record| record.score);
        if old == score {
            return Inserted::Unchanged;
        }
        self.unlink(Place { score: old, member, position });
        if let Some(record) = self.members.get_mut(position) {
            record.score = score;
        }
        self.link(Place { score, member, position });
        Inserted::Updated
    }

    /// Removes `member`; the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let position = self.members.find(member)?;
        let score = self.members.get(position)?.score;
        self.unlink(Place { score, member, position });
        self.remove_record(position).map(|record| record.score)
    }

    /// Removes the member at `rank`.
    pub fn remove_rank(&mut self, rank: usize) -> Option<(Box<[u8]>, f64)> {
        let position = self.order.remove_rank(rank)?.position();
        self.remove_record(position).map(|record| (record.member.into_boxed(), record.score))
    }

    /// How many leading members have a score for which `pred` holds.
    pub fn partition_by_score(&self, pred: impl Fn(f64) -> bool) -> usize {
        self.order.partition_point(|key| pred(key.score))
    }

    /// How many leading members `pred` holds for.
    pub fn partition_by_member(&self, pred: impl Fn(&[u8]) -> bool) -> usize {
        self.order.partition_point(|key| pred(self.member_at(key.position())))
    }

    /// The members at `ranks`.
    pub fn iter(&self, ranks: Range<usize>, reverse: bool) -> TreeIter<'_> {
        TreeIter { tree: self, keys: self.order.iter(ranks, reverse) }
    }

    /// The members as they are now, in the order of their places.
    pub fn freeze(&mut self) -> Frozen<Record> {
        self.members.freeze()
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.members.heap_bytes() + self.order.heap_bytes() + self.member_bytes
    }

    fn member_at(&self, position: usize) -> &[u8] {
        member_at(&self.members, position)
    }

    /// Adds the key of a record.
    fn link(&mut self, place: Place<'_>) {
        self.order.insert(place.key(), |key| place.order(key, &self.members));
    }

    /// Removes the key of a record.
    fn unlink(&mut self, place: Place<'_>) {
        self.order.remove(|key| place.order(key, &self.members));
    }

    /// Removes a record whose key is gone already.
    fn remove_record(&mut self, position: usize) -> Option<Record> {
        let last = self.members.len() - 1;
        if position != last
            && let Some(moved) = self.members.get(last)
        {
            let old = Place::of(moved, last);
            let new = Place::of(moved, position);
            self.order.replace(new.key(), |key| old.order(key, &self.members));
        }
        let record = self.members.swap_remove(position)?;
        self.member_bytes -= record.heap_bytes();
        Some(record)
    }
}

/// Where a record belongs among the keys.
#[derive(Clone, Copy)]
struct Place<'a> {
    score: f64,
    member: &'a [u8],
    position: usize,
}

impl<'a> Place<'a> {
    fn of(record: &'a Record, position: usize) -> Place<'a> {
        Place { score: record.score, member: &record.member, position }
    }

    fn key(&self) -> Key {
        let tie = prefix(self.member) << Key::POSITION_BITS | self.position as u64;
        Key { score: self.score, tie }
    }

    /// How `key` lies to this place.
    #[inline]
    fn order(&self, key: &Key, members: &Dense<Record>) -> Ordering {
        compare_scores(key.score, self.score)
            .then_with(|| key.prefix().cmp(&prefix(self.member)))
            .then_with(|| match key.position() == self.position {
                true => Ordering::Equal,
                false => member_at(members, key.position()).cmp(self.member),
            })
    }
}

fn member_at(members: &Dense<Record>, position: usize) -> &[u8] {
    members.get(position).map_or(&[], Record::key)
}

/// Walks members by rank.
#[derive(Clone, Debug)]
pub struct TreeIter<'a> {
    tree: &'a Tree,
    keys: ranked::Iter<'a, Key>,
}

impl<'a> Iterator for TreeIter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        let key = self.keys.next()?;
        Some((self.tree.member_at(key.position()), key.score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.keys.size_hint()
    }
}

#[cfg(test)]
impl Tree {
    /// Checks that records and keys belong together and are sorted.
    pub fn check(&self) {
        assert_eq!(self.members.len(), self.order.len());
        let mut seen = vec![false; self.members.len()];
        let mut previous: Option<Key> = None;
        for key in self.order.iter(0..usize::MAX, false) {
            let record = self.members.get(key.position()).expect("a key without a record");
            assert!(!std::mem::replace(&mut seen[key.position()], true));
            assert_eq!(record.score.to_bits(), key.score.to_bits());
            assert_eq!(key.prefix(), prefix(&record.member));
            if let Some(previous) = previous {
                let order = compare_scores(previous.score, key.score);
                let other = self.member_at(previous.position());
                assert!(order.then_with(|| other.cmp(&record.member)).is_lt());
            }
            previous = Some(key);
        }
        let member_bytes: usize = self.members.iter().map(Record::heap_bytes).sum();
        assert_eq!(self.member_bytes, member_bytes);
    }
}
