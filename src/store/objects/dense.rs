//! Items in a dense order, found by their key.
//!
//! Items lie at positions `0..len` in the order of their arrival; a removal fills its gap with
//! the last item. That order is all that can be observed, and all that a copy of the structure
//! elsewhere needs in order to answer alike.

mod chunked;
mod index;

use chunked::Chunked;
pub use chunked::{Frozen, Iter};
use index::Index;

/// An item that carries the key it is found by. The key of an item does not change. A copy of it
/// costs little time, however long it is.
pub trait Keyed: Clone {
    /// The key.
    fn key(&self) -> &[u8];
}

/// Items with distinct keys.
#[derive(Clone, Debug)]
pub struct Dense<T> {
    items: Chunked<T>,
    index: Index,
}

impl<T> Default for Dense<T> {
    fn default() -> Dense<T> {
        Dense { items: Chunked::default(), index: Index::default() }
    }
}

impl<T: Keyed> Dense<T> {
    /// Items held.
    #[inline]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The position of the item with `key`.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.index.find(key, |position| key_at(&self.items, position))
    }

    /// The item at `position`.
    #[inline]
    pub fn get(&self, position: usize) -> Option<&T> {
        self.items.get(position)
    }

    /// The item at `position`, to be changed in all but its key.
    #[inline]
    pub fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        self.items.get_mut(position)
    }

    /// Appends `item`, whose key is not in yet; its position.
    pub fn push(&mut self, item: T) -> usize {
        let position = self.items.len();
        let items = &self.items;
        self.index.insert(item.key(), position, |position| key_at(items, position));
        self.items.push(item);
        position
    }

    /// Removes the item at `position`; the last one takes its place.
    pub fn swap_remove(&mut self, position: usize) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        self.index.remove(self.items.get(position)?.key(), position);
        if position != last {
            self.index.relocate(self.items.get(last)?.key(), last, position);
        }
        self.items.swap_remove(position)
    }

    /// All items in the dense order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.items.iter()
    }

    /// The items as they are now, in the dense order. Nothing is copied, whatever becomes of the
    /// collection.
    pub fn freeze(&mut self) -> Frozen<T> {
        self.items.freeze()
    }

    /// Heap bytes of the order and the index, without what the items own.
    pub fn heap_bytes(&self) -> usize {
        self.items.heap_bytes() + self.index.heap_bytes()
    }
}

#[inline]
fn key_at<T: Keyed>(items: &Chunked<T>, position: usize) -> &[u8] {
    items.get(position).map_or(&[], T::key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    impl Keyed for (String, u64) {
        fn key(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    #[test]
    fn order_is_that_of_a_vector_with_swap_remove() {
        let mut dense = Dense::default();
        let mut model: Vec<(String, u64)> = Vec::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for step in 0..40_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step | 1);
            let key = format!("k{}", (random >> 33) % 6000);
            match dense.find(key.as_bytes()) {
                Some(position) if random >> 62 == 0 => {
                    assert_eq!(dense.swap_remove(position), Some(model.swap_remove(position)));
                }
                Some(position) => {
                    dense.get_mut(position).unwrap().1 = step;
                    model[position].1 = step;
                }
                None => {
                    assert_eq!(dense.push((key.clone(), step)), model.len());
                    model.push((key, step));
                }
            }
        }
        assert!(dense.iter().eq(model.iter()));
        let by_key: HashMap<_, _> = model.iter().zip(0..).map(|(item, at)| (&item.0, at)).collect();
        for number in 0..6000 {
            let key = format!("k{number}");
            assert_eq!(dense.find(key.as_bytes()), by_key.get(&key).copied());
        }
    }
}
