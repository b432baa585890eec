//! The packed form of a small sorted set: its members in order, in one allocation.
//!
//! ```text
//!  | score: 8 | member length: 1 | member | member length: 1 |  next ...
//! ```
//!
//! The length stands on both sides, so that the members can be walked in either direction.

use super::Place;
use crate::store::objects::packed::PackedBuf;
use std::ops::Range;

/// Members of at most 255 bytes.
#[derive(Clone, Debug, Default)]
pub struct PackedMembers {
    buf: PackedBuf,
    len: u8,
}

/// Bytes of the score and both lengths.
const OVERHEAD: usize = 10;

impl PackedMembers {
    /// Members held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Where `member` is, and its score.
    pub fn find(&self, member: &[u8]) -> Option<(Place, f64)> {
        let mut at = 0;
        for (rank, (other, score)) in self.iter(0..self.len(), false).enumerate() {
            if other == member {
                return Some((Place { rank, at }, score));
            }
            at += OVERHEAD + other.len();
        }
        None
    }

    /// The first place at which `pred` is false, having been true for all members before.
    pub fn partition_point(&self, pred: impl Fn(f64, &[u8]) -> bool) -> Place {
        let leading = self.iter(0..self.len(), false).take_while(|(m, score)| pred(*score, m));
        leading.fold(Place { rank: 0, at: 0 }, |place, (member, _)| Place {
            rank: place.rank + 1,
            at: place.at + OVERHEAD + member.len(),
        })
    }

    /// Inserts `member`, which is small enough and not in, at its place.
    pub fn insert(&mut self, place: Place, member: &[u8], score: f64) {
        let len = [member.len() as u8];
        self.buf.splice(place.at..place.at, &[&score.to_le_bytes(), &len, member, &len]);
        self.len += 1;
    }

    /// Removes the member of `len` bytes at `place`.
    pub fn remove(&mut self, place: Place, len: usize) {
        self.buf.splice(place.at..place.at + OVERHEAD + len, &[]);
        self.len -= 1;
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
            let len = *self.bytes.last()? as usize + OVERHEAD;
            let (rest, entry) = self.bytes.split_at_checked(self.bytes.len().checked_sub(len)?)?;
            self.bytes = rest;
            entry
        } else {
            let len = *self.bytes.get(8)? as usize + OVERHEAD;
            let (entry, rest) = self.bytes.split_at_checked(len)?;
            self.bytes = rest;
            entry
        };
        let (score, rest) = entry.split_first_chunk::<8>()?;
        Some((rest.get(1..rest.len() - 1)?, f64::from_le_bytes(*score)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
