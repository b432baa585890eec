//! The largest a collection has ever been.
//!
//! Redis turns a listpack into a table when it grows past a configured limit and never turns it
//! back, so the encoding that OBJECT ENCODING shows depends on the past. The collections here
//! keep that past as two numbers, whatever form their elements have, and answer the question
//! against the limits of the moment. The numbers are part of the state: they are cloned, digested
//! and serialised with the elements.

use std::hash::{Hash, Hasher};

/// What the longest element and the largest number of elements ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extremes {
    /// The most elements (pairs, members) ever held at once.
    pub len_max: usize,
    /// Bytes of the longest element (field, value, member) ever held.
    pub element_bytes_max: usize,
}

impl Extremes {
    /// Takes note of a collection that holds `len` elements.
    #[inline]
    pub fn note_len(&mut self, len: usize) {
        self.len_max = self.len_max.max(len);
    }

    /// Takes note of an element.
    #[inline]
    pub fn note_element(&mut self, element: &[u8]) {
        self.element_bytes_max = self.element_bytes_max.max(element.len());
    }

    /// True when nothing ever exceeded `len` elements or `element_bytes`.
    #[inline]
    pub fn within(&self, len: usize, element_bytes: usize) -> bool {
        self.len_max <= len && self.element_bytes_max <= element_bytes
    }

    /// Feeds both numbers to `state`, in a width that does not depend on the platform.
    pub fn digest(&self, state: &mut impl Hasher) {
        (self.len_max as u64).hash(state);
        (self.element_bytes_max as u64).hash(state);
    }
}
