//! The packed form of a small sorted set: its members in order, in one allocation.
//!
//! ```text
//!  | tag: 1 | score: 4 or 8 | member | tag: 1 |  next ...
//! ```
//!
//! The tag is the member's length, with the high bit set when the score is a whole number kept
//! in four bytes, as most are. It stands on both sides, so that the members can be walked in
//! either direction.

use super::{Inserted, compare_scores};
use crate::store::objects::packed::PackedBuf;
use std::ops::Range;

/// Members of at most 127 bytes.
#[derive(Clone, Debug, Default)]
pub struct PackedMembers {
    buf: PackedBuf,
    len: u8,
}

/// Set in the tag of a score of four bytes.
const SHORT: u8 = 0x80;

impl PackedMembers {
    /// Members held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The rank of `member` and its score.
    pub fn find(&self, member: &[u8]) -> Option<(usize, f64)> {
        let mut entries = self.entries().enumerate();
        entries.find(|(_, entry)| entry.member == member).map(|(rank, entry)| (rank, entry.score))
    }

    /// How many leading members `pred` holds for.
    pub fn partition_point(&self, pred: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.entries().take_while(|entry| pred(entry.score, entry.member)).count()
    }

    /// Gives `member`, which is small enough, the score `score`.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let score = score + 0.0; // of the two zeros only one is kept: -0 + 0 is 0
        let (mut target, mut old) = (self.buf.bytes().len(), None);
        let mut passed = false;
        for entry in self.entries() {
            let is_behind = || {
                let order = compare_scores(entry.score, score);
                order.then_with(|| entry.member.cmp(member)).is_ge()
            };
            if !passed && is_behind() {
                (passed, target) = (true, entry.range.start);
            }
            if entry.member == member {
                if entry.score == score {
                    return Inserted::Unchanged;
                }
                old = Some(entry.range);
            }
            if passed && old.is_some() {
                break;
            }
        }
        let outcome = if old.is_some() { Inserted::Updated } else { Inserted::Added };
        if let Some(range) = old {
            target -= if range.start < target { range.len() } else { 0 };
            self.remove(range);
        }
        self.insert_at(target, member, score);
        outcome
    }

    /// Removes `member`; the score it had.
    pub fn remove_member(&mut self, member: &[u8]) -> Option<f64> {
        let found = self.entries().find(|entry| entry.member == member)?;
        let (range, score) = (found.range, found.score);
        self.remove(range);
        Some(score)
    }

    /// Removes the member at `rank`.
    pub fn remove_rank(&mut self, rank: usize) -> Option<(Box<[u8]>, f64)> {
        let found = self.entries().nth(rank)?;
        let (range, removed) = (found.range, (found.member.into(), found.score));
        self.remove(range);
        Some(removed)
    }

    /// The members at `ranks`, which lie in the set.
    pub fn iter(&self, ranks: Range<usize>, reverse: bool) -> PackedIter<'_> {
        let mut iter = PackedIter { bytes: self.buf.bytes(), left: self.len(), reverse };
        let skipped = if reverse { iter.left - ranks.end } else { ranks.start };
        if skipped > 0 {
            iter.nth(skipped - 1);
        }
        iter.left = ranks.len();
        iter
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.buf.heap_bytes()
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let bytes = self.buf.bytes();
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = bytes.get(start..)?;
            let range = start..start + entry_len(*rest.first()?);
            let (member, score) = decode(rest.get(..range.len())?)?;
            start = range.end;
            Some(Entry { range, member, score })
        })
    }

    fn insert_at(&mut self, at: usize, member: &[u8], score: f64) {
        let (tag, wide) = (member.len() as u8, score.to_le_bytes());
        let whole = score as i32; // saturates, and is then another number
        match f64::from(whole) == score {
            true => {
                let tag = [tag | SHORT];
                self.buf.splice(at..at, &[&tag, &whole.to_le_bytes(), member, &tag]);
            }
            false => self.buf.splice(at..at, &[&[tag], &wide, member, &[tag]]),
        }
        self.len += 1;
    }

    fn remove(&mut self, range: Range<usize>) {
        self.buf.splice(range, &[]);
        self.len -= 1;
    }
}

/// A member, its score, and where both lie.
struct Entry<'a> {
    range: Range<usize>,
    member: &'a [u8],
    score: f64,
}

/// Bytes of an entry with this tag.
#[inline]
fn entry_len(tag: u8) -> usize {
    let score_len = if tag & SHORT == 0 { 8 } else { 4 };
    2 + score_len + (tag & !SHORT) as usize
}

#[inline]
fn decode(entry: &[u8]) -> Option<(&[u8], f64)> {
    let (&tag, rest) = entry.split_first()?;
    let (_, rest) = rest.split_last()?;
    if tag & SHORT == 0 {
        let (score, member) = rest.split_first_chunk::<8>()?;
        Some((member, f64::from_le_bytes(*score)))
    } else {
        let (score, member) = rest.split_first_chunk::<4>()?;
        Some((member, f64::from(i32::from_le_bytes(*score))))
    }
}

/// Walks members in either direction.
#[derive(Clone, Debug)]
pub struct PackedIter<'a> {
    bytes: &'a [u8],
    left: usize,
    reverse: bool,
}

impl<'a> Iterator for PackedIter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        self.left = self.left.checked_sub(1)?;
        let entry = if self.reverse {
            let start = self.bytes.len().checked_sub(entry_len(*self.bytes.last()?))?;
            let (rest, entry) = self.bytes.split_at_checked(start)?;
            self.bytes = rest;
            entry
        } else {
            let (entry, rest) = self.bytes.split_at_checked(entry_len(*self.bytes.first()?))?;
            self.bytes = rest;
            entry
        };
        decode(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
