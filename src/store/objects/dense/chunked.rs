//! A vector that never moves more than one chunk.
//!
//! Chunks but the last are full, at exactly [`COLLECTION_CHUNK`] items; the last one grows by
//! doubling up to that size. So a push into a collection of millions costs what it costs in a
//! small one, nothing is allocated twice over while it grows, and what a removal frees at the
//! end is given back chunk by chunk.

use crate::limits::COLLECTION_CHUNK;

/// Walks the items in order.
pub type Iter<'a, T> = std::iter::Flatten<std::slice::Iter<'a, Vec<T>>>;

/// Items at positions `0..len`.
#[derive(Clone, Debug)]
pub struct Chunked<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Chunked<T> {
        Chunked { chunks: Vec::new() }
    }
}

impl<T> Chunked<T> {
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
        self.chunks.get_mut(position / COLLECTION_CHUNK)?.get_mut(position % COLLECTION_CHUNK)
    }

    /// Puts `item` at position `len`.
    pub fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < COLLECTION_CHUNK => {
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
                self.chunks.push(chunk);
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
        let chunk = self.chunks.last_mut()?;
        let item = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        } else if chunk.len() < chunk.capacity() / 4 && self.chunks.len() == 1 {
            // Later chunks keep their size, so that a push after a pop is never a copy.
            let chunk = &mut self.chunks[0];
            chunk.shrink_to(chunk.len() * 2);
        }
        item
    }

    /// All items in order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.chunks.iter().flatten()
    }

    /// Bytes of the chunks and of their list, without what the items own.
    pub fn heap_bytes(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * COLLECTION_CHUNK;
        let last = self.chunks.last().map_or(0, Vec::capacity);
        (full + last) * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recomputed<T>(chunked: &Chunked<T>) -> usize {
        let items: usize = chunked.chunks.iter().map(Vec::capacity).sum();
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
}
