//! Hash: fields with values in a dense order.
//!
//! The order is the order of insertion; once the hash is larger than a listpack would be, a
//! removal fills the gap with the last pair. Only this order is observable, never a hasher's.

use super::extremes::Extremes;
use indexmap::IndexMap;
use std::hash::Hasher;

type Table = IndexMap<Box<[u8]>, Box<[u8]>, foldhash::fast::RandomState>;

/// Fields with values.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    table: Table,
    extremes: Extremes,
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Hash {
        Hash::default()
    }

    /// Fields held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets `field` to `value`; true when the field is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.extremes.note_element(field);
        self.extremes.note_element(value);
        let new = match self.table.get_mut(field) {
            Some(old) => {
                *old = value.into();
                false
            }
            None => self.table.insert(field.into(), value.into()).is_none(),
        };
        self.extremes.note_len(self.table.len());
        new
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.table.get(field).map(|value| &value[..])
    }

    /// True when `field` is there.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Removes `field`; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        if self.extremes.within(128, 64) {
            return self.table.shift_remove(field).is_some();
        }
        self.table.swap_remove(field).is_some()
    }

    /// The pair at `index` of the dense order.
    pub fn get_index(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.table.get_index(index).map(|(field, value)| (&field[..], &value[..]))
    }

    /// All pairs in the dense order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.table.iter().map(|(field, value)| (&field[..], &value[..]))
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.table.iter().map(|(field, value)| field.len() + value.len() + 48).sum()
    }

    /// The encoding that Redis would show under these limits.
    pub fn encoding(&self, max_entries: usize, max_value: usize) -> &'static str {
        if self.extremes.within(max_entries, max_value) { "listpack" } else { "hashtable" }
    }

    /// Feeds the whole observable state to `state`.
    pub fn digest(&self, state: &mut impl Hasher) {
        self.extremes.digest(state);
        for (field, value) in self.iter() {
            state.write_u64(field.len() as u64);
            state.write(field);
            state.write_u64(value.len() as u64);
            state.write(value);
        }
    }
}
