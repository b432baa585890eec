//! The packed form of a small hash: pairs in the order of their insertion.
//!
//! ```text
//!  | field length: 1 | value length: 1 | field | value |  next pair ...
//! ```
//!
//! A lookup walks the pairs, which for at most [`crate::limits::PACKED_LEN`] of them is about as
//! fast as hashing and takes a fraction of the memory. A removal keeps the order of the rest.

use crate::store::objects::packed::PackedBuf;
use std::ops::Range;

/// Pairs whose fields and values are at most 255 bytes long.
#[derive(Clone, Debug, Default)]
pub struct PackedPairs {
    buf: PackedBuf,
    len: u8,
}

/// Bytes in front of each pair.
const HEADER: usize = 2;

impl PackedPairs {
    /// Pairs held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.iter().find(|pair| pair.field == field).map(|pair| pair.value)
    }

    /// Sets `field`, whose pair is small enough, to `value`; true when it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let header = [field.len() as u8, value.len() as u8];
        let pieces = [&header[..], field, value];
        if let Some(range) = self.find(field) {
            self.buf.splice(range, &pieces);
            return false;
        }
        let end = self.buf.bytes().len();
        self.buf.splice(end..end, &pieces);
        self.len += 1;
        true
    }

    /// Removes `field`; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(range) = self.find(field) else { return false };
        self.buf.splice(range, &[]);
        self.len -= 1;
        true
    }

    /// All pairs in order.
    #[inline]
    pub fn iter(&self) -> PackedIter<'_> {
        PackedIter { bytes: self.buf.bytes(), at: 0 }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.buf.heap_bytes()
    }

    fn find(&self, field: &[u8]) -> Option<Range<usize>> {
        self.iter().find(|pair| pair.field == field).map(|pair| pair.range())
    }
}

/// A pair and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct PackedPair<'a> {
    at: usize,
    /// The field.
    pub field: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl PackedPair<'_> {
    fn range(&self) -> Range<usize> {
        self.at..self.at + HEADER + self.field.len() + self.value.len()
    }
}

/// Walks the pairs.
#[derive(Clone, Debug)]
pub struct PackedIter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for PackedIter<'a> {
    type Item = PackedPair<'a>;

    #[inline]
    fn next(&mut self) -> Option<PackedPair<'a>> {
        let (header, rest) = self.bytes.get(self.at..)?.split_first_chunk::<HEADER>()?;
        let (field, rest) = rest.split_at_checked(header[0] as usize)?;
        let value = rest.get(..header[1] as usize)?;
        let pair = PackedPair { at: self.at, field, value };
        self.at = pair.range().end;
        Some(pair)
    }
}
