//! A vector that never moves more than one chunk.
//!
//! Chunks but the last are full, at exactly [`COLLECTION_CHUNK`] items; the last one grows by
//! doubling up to that size. So a push into a collection of millions costs what it costs in a
//! small one, nothing is allocated twice over while it grows, and what a removal frees at the
//! end is given back chunk by chunk.
//!
//! A snapshot may share chunks; a change copies the one that it meets. The few bytes that a shared
//! chunk takes beside its items are not counted.

use crate::limits::COLLECTION_CHUNK;
use crate::store::objects::part::Part;
use std::sync::Arc;

/// Items at positions `0..len`.
#[derive(Clone, Debug)]
pub struct Chunked<T> {
    chunks: Vec<Part<Vec<T>>>,
}

/// The items as they were at one moment, in order.
pub type Frozen<T> = Vec<Arc<Vec<T>>>;

const _: () = assert!(size_of::<Part<Vec<u64>>>() == size_of::<Vec<u64>>());

impl<T> Default for Chunked<T> {
    fn default() -> Chunked<T> {
        Chunked { chunks: Vec::new() }
    }
}

impl<T: Clone> Chunked<T> {
    /// Items held.
    #[inline]
    pub fn len(&self) -> usize {
        let Some(last) = self.chunks.last() else { return 0 };
        (self.chunks.len() - 1) * COLLECTION_CHUNK + last.len()
    }

    /// The item at `position`.
    #[inline]
    pub fn get(&self, position: usize) -> Option<&T> {
        self.chunks.get(position / COLLECTION_CHUNK)?.get(position % COLLECTION_CHUNK)
    }

    /// The item at `position`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(position / COLLECTION_CHUNK)?;
        // Nothing is copied for a position that is not there.
        if position % COLLECTION_CHUNK >= chunk.len() {
            return None;
        }
        chunk.own().get_mut(position % COLLECTION_CHUNK)
    }

    /// Puts `item` at position `len`.
    pub fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < COLLECTION_CHUNK => {
                let last = last.own();
                if last.len() == last.capacity() {
                    let target = (last.len() * 2).clamp(4, COLLECTION_CHUNK);
                    last.reserve_exact(target - last.len());
                }
                last.push(item);
            }
            full => {
                let capacity = if full.is_some() { COLLECTION_CHUNK } else { 4 };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(item);
                self.chunks.push(Part::Own(chunk));
            }
        }
    }

    /// Removes the item at `position`; the last one takes its place.
    pub fn swap_remove(&mut self, position: usize) -> Option<T> {
        if position >= self.len() {
            return None;
        }
        let last = self.pop()?;
        match self.get_mut(position) {
            Some(item) => Some(std::mem::replace(item, last)),
            None => Some(last), // it was the last
        }
    }

    fn pop(&mut self) -> Option<T> {
        let is_only = self.chunks.len() == 1;
        let chunk = self.chunks.last_mut()?.own();
        let item = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        } else if is_only && chunk.len() < chunk.capacity() / 4 {
            // Later chunks keep their size, so that a push after a pop is never a copy.
            chunk.shrink_to(chunk.len() * 2);
        }
        item
    }

    /// All items in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { chunks: self.chunks.iter(), items: [].iter() }
    }

    /// The items as they are now. Nothing is copied, whatever becomes of the collection.
    pub fn freeze(&mut self) -> Frozen<T> {
        self.chunks.iter_mut().map(Part::share).collect()
    }

    /// Bytes of the chunks and of their list, without what the items own.
    pub fn heap_bytes(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * COLLECTION_CHUNK;
        let last = self.chunks.last().map_or(0, |chunk| chunk.capacity());
        (full + last) * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

/// Walks the items in order.
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    chunks: std::slice::Iter<'a, Part<Vec<T>>>,
    items: std::slice::Iter<'a, T>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            self.items = self.chunks.next()?.iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::testing::Random;

    fn recomputed<T: Clone>(chunked: &Chunked<T>) -> usize {
        let items: usize = chunked.chunks.iter().map(|chunk| chunk.capacity()).sum();
        items * size_of::<T>() + chunked.chunks.capacity() * size_of::<Vec<T>>()
    }

    #[test]
    fn behaves_as_a_vector_across_chunk_borders() {
        let mut chunked = Chunked::default();
        let mut model = Vec::new();
        for i in 0..3 * COLLECTION_CHUNK + 7 {
            chunked.push(i);
            model.push(i);
            assert_eq!(chunked.heap_bytes(), recomputed(&chunked));
        }
        assert_eq!(chunked.get(model.len()), None);
        assert_eq!(chunked.swap_remove(model.len()), None);
        for step in 0..model.len() {
            let position = (step * 7919) % model.len();
            assert_eq!(chunked.swap_remove(position), Some(model.swap_remove(position)));
            assert_eq!(chunked.len(), model.len());
            assert_eq!(chunked.heap_bytes(), recomputed(&chunked));
            if step % 500 == 0 {
                assert!(chunked.iter().eq(model.iter()));
                let copy = chunked.clone();
                assert!(copy.iter().eq(model.iter()));
                assert_eq!(copy.heap_bytes(), recomputed(&copy));
            }
        }
        assert_eq!(chunked.len(), 0);
    }
    #[test]
    fn what_was_frozen_stays_while_chunks_come_change_and_go() {
        let mut random = Random::new("chunked");
        let mut chunked = Chunked::default();
        let mut model = Vec::new();
        let mut frozen: Vec<(Frozen<usize>, Vec<usize>)> = Vec::new();
        for step in 0..60_000 {
            let grows = step / 10_000 % 2 == 0;
            match random.below(100) {
                0..60 if grows => {
                    chunked.push(step);
                    model.push(step);
                }
                0..60 if !model.is_empty() => {
                    let position = random.below(model.len());
                    assert_eq!(chunked.swap_remove(position), Some(model.swap_remove(position)));
                }
                _ => {
                    let position = random.below(model.len() + 1);
                    let item = chunked.get_mut(position);
                    assert_eq!(item.as_deref(), model.get(position));
                    if let Some(item) = item {
                        (*item, model[position]) = (step, step);
                    }
                }
            }
            if random.below(3000) == 0 {
                frozen.truncate(2);
                frozen.insert(0, (chunked.freeze(), model.clone()));
            }
            if random.below(500) == 0 {
                assert!(chunked.iter().eq(model.iter()));
                assert_eq!(chunked.heap_bytes(), recomputed(&chunked));
                for (frozen, then) in &frozen {
                    assert!(frozen.iter().flat_map(|chunk| chunk.iter()).eq(then));
                }
            }
        }
    }
}
