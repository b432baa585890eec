//! The one allocation in which a small collection keeps all its elements.

use std::ops::Range;

/// Bytes that are spliced as elements come and go. The capacity follows the length at a
/// distance of an eighth, about the step of the allocator's size classes.
#[derive(Clone, Debug, Default)]
pub struct PackedBuf {
    bytes: Vec<u8>,
}

impl PackedBuf {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts `pieces`, one after the other, where `range` was.
    pub fn splice(&mut self, range: Range<usize>, pieces: &[&[u8]]) {
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        let old_len = self.bytes.len();
        let new_len = old_len - range.len() + added;
        if new_len > old_len {
            self.reserve(new_len);
            self.bytes.resize(new_len, 0);
        }
        self.bytes.copy_within(range.end..old_len, range.start + added);
        let mut at = range.start;
        for piece in pieces {
            self.bytes[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.bytes.truncate(new_len);
        if new_len < self.bytes.capacity() / 2 {
            self.bytes.shrink_to(roomy(new_len));
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn reserve(&mut self, len: usize) {
        if len > self.bytes.capacity() {
            self.bytes.reserve_exact(roomy(len) - self.bytes.len());
        }
    }
}

/// The capacity for `len` bytes.
fn roomy(len: usize) -> usize {
    (len + len / 8).next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::testing::Random;

    #[test]
    fn splices_as_a_vector_does() {
        let mut random = Random::new("packed");
        let mut packed = PackedBuf::default();
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..5000 {
            let start = random.below(model.len() + 1);
            let len_max = if random.below(10) == 0 { model.len() } else { 40 };
            let end = (start + random.below(len_max + 1)).min(model.len());
            let pieces = [random.bytes(30), random.bytes(2), random.bytes(9)];
            packed.splice(start..end, &[&pieces[0], &pieces[1], &pieces[2]]);
            model.splice(start..end, pieces.concat());
            assert_eq!(packed.bytes(), model);
            assert!(packed.heap_bytes() <= 2 * model.len() + 32);
        }
    }
}
