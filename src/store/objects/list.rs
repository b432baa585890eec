//! Lists.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

/// A sequence of byte strings with cheap ends.
#[derive(Clone, Debug, Default)]
pub struct List {
    items: VecDeque<Vec<u8>>,
    heap_bytes: usize,
}

/// Where [`List::insert_beside`] puts the new element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front of the pivot.
    Before,
    /// Behind the pivot.
    After,
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::default()
    }

    /// Elements held.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding(&self, _max_listpack_size: i64) -> &'static str {
        "quicklist"
    }

    /// Puts `element` in front of all others.
    pub fn push_front(&mut self, element: &[u8]) {
        self.items.push_front(element.to_vec());
    }

    /// Puts `element` behind all others.
    pub fn push_back(&mut self, element: &[u8]) {
        self.items.push_back(element.to_vec());
    }

    /// The first element.
    pub fn front(&self) -> Option<&[u8]> {
        self.items.front().map(Vec::as_slice)
    }

    /// The last element.
    pub fn back(&self) -> Option<&[u8]> {
        self.items.back().map(Vec::as_slice)
    }

    /// Takes the first element.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.items.pop_front()
    }

    /// Takes the last element.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.items.pop_back()
    }

    /// Forgets the first `count` elements (all, when there are fewer).
    pub fn drop_front(&mut self, count: usize) {
        self.items.drain(..count.min(self.items.len()));
    }

    /// Forgets the last `count` elements (all, when there are fewer).
    pub fn drop_back(&mut self, count: usize) {
        self.items.truncate(self.items.len().saturating_sub(count));
    }

    /// The element at `index`; a negative one counts from the end (-1 is the last).
    pub fn get(&self, index: i64) -> Option<&[u8]> {
        self.items.get(self.place(index)?).map(Vec::as_slice)
    }

    fn place(&self, index: i64) -> Option<usize> {
        let index = if index < 0 { index.checked_add(self.len() as i64)? } else { index };
        usize::try_from(index).ok().filter(|index| *index < self.len())
    }

    /// Replaces the element at `index` (negative: from the end); false when there is none.
    pub fn set(&mut self, index: i64, element: &[u8]) -> bool {
        match self.place(index) {
            Some(index) => {
                self.items[index] = element.to_vec();
                true
            }
            None => false,
        }
    }

    /// All elements, first to last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.items.iter().map(Vec::as_slice)
    }

    /// The elements `start..=stop` as LRANGE counts them: negative from the end, clamped.
    pub fn iter_range(
        &self,
        start: i64,
        stop: i64,
    ) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let (start, count) = span(self.len(), start, stop);
        self.items.range(start..start + count).map(Vec::as_slice)
    }

    /// Inserts `element` beside the first element that equals `pivot`; false when none does.
    pub fn insert_beside(&mut self, side: Side, pivot: &[u8], element: &[u8]) -> bool {
        let Some(at) = self.iter().position(|item| item == pivot) else { return false };
        self.items.insert(at + usize::from(side == Side::After), element.to_vec());
        true
    }

    /// Removes elements equal to `value` as LREM does: the first `count`, for a negative count
    /// the last, for 0 all. Answers how many went.
    pub fn remove(&mut self, _count: i64, value: &[u8]) -> usize {
        let before = self.len();
        self.items.retain(|item| item != value);
        before - self.len()
    }

    /// Keeps only the elements `start..=stop`, counted as in [`List::iter_range`].
    pub fn trim(&mut self, start: i64, stop: i64) {
        let (start, count) = span(self.len(), start, stop);
        self.drop_front(start);
        self.drop_back(self.len() - count);
    }

    /// The places of elements equal to `value` as LPOS answers them: the `rank`-th match first
    /// (negative: from the end), at most `count` of them (0: all), at most `compare_max`
    /// elements looked at (0: all).
    pub fn positions(
        &self,
        value: &[u8],
        rank: i64,
        count: usize,
        compare_max: usize,
    ) -> Vec<usize> {
        let len = self.len();
        let compare_max = if compare_max == 0 { len } else { compare_max };
        let wanted = if count == 0 { len } else { count };
        let skip = rank.unsigned_abs().saturating_sub(1) as usize;
        let hits = |place: &(usize, &[u8])| place.1 == value;
        if rank < 0 {
            let back = (0..len).rev().zip(self.iter().rev()).take(compare_max);
            return back.filter(hits).skip(skip).take(wanted).map(|(place, _)| place).collect();
        }
        let found = self.iter().enumerate().take(compare_max).filter(hits);
        found.skip(skip).take(wanted).map(|(place, _)| place).collect()
    }

    /// True when both hold the same elements in the same order.
    pub fn same_content(&self, other: &List) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }

    /// Feeds the elements in order.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        self.len().hash(hasher);
        for element in self.iter() {
            element.hash(hasher);
        }
    }
}

/// Redis' inclusive, possibly negative range over `len` elements, as (first, how many).
pub fn span(len: usize, start: i64, stop: i64) -> (usize, usize) {
    let len_signed = len as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(len_signed) } else { index };
    let first = from_end(start).max(0);
    let last = from_end(stop).min(len_signed - 1);
    if first > last {
        return (0, 0);
    }
    (first as usize, (last - first + 1) as usize)
}
