//! Sizes of slots.
//!
//! Steps of 8 bytes up to 128, then sixteen sizes for each doubling: what an entry wastes is at
//! most 7 bytes when it is small and a sixteenth when it is large. Segments, all of one size,
//! have a class of their own.

use crate::limits::{SLAB_ENTRY_MAX, SLAB_SPAN_BYTES};
use crate::store::segment::Segment;

const STEP_SMALL: usize = 8;
const SMALL_MAX: usize = 128;
const SMALL_CLASSES: usize = SMALL_MAX / STEP_SMALL;
const PER_DOUBLING_BITS: u32 = 4;
const PER_DOUBLING: usize = 1 << PER_DOUBLING_BITS;
const DOUBLINGS: usize = (SLAB_ENTRY_MAX.ilog2() - SMALL_MAX.ilog2()) as usize;
const ENTRY_CLASSES: usize = SMALL_CLASSES + DOUBLINGS * PER_DOUBLING;

/// Number of classes.
pub const CLASSES: usize = ENTRY_CLASSES + 1;

/// A size of slots, as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    /// The class of segments.
    pub const SEGMENT: Class = Class(ENTRY_CLASSES as u8);

    /// The smallest class whose slots have room for `size` bytes; `None` for what is too large.
    #[inline(always)]
    pub const fn of(size: usize) -> Option<Class> {
        if size <= SMALL_MAX {
            return Some(Class((size.saturating_sub(1) / STEP_SMALL) as u8));
        }
        if size > SLAB_ENTRY_MAX {
            return None;
        }
        let last = size - 1;
        let doubling = last.ilog2();
        let step = (last >> (doubling - PER_DOUBLING_BITS)) - PER_DOUBLING;
        let before = (doubling - SMALL_MAX.ilog2()) as usize * PER_DOUBLING;
        Some(Class((SMALL_CLASSES + before + step) as u8))
    }

    /// Bytes of the slots of the class that [`of`](Self::of) gives, without a look at the class.
    #[inline(always)]
    pub const fn bytes_for(size: usize) -> Option<usize> {
        if size <= SMALL_MAX {
            return Some((size.saturating_sub(1) | (STEP_SMALL - 1)) + 1);
        }
        if size > SLAB_ENTRY_MAX {
            return None;
        }
        let last = size - 1;
        Some((last | ((1 << (last.ilog2() - PER_DOUBLING_BITS)) - 1)) + 1)
    }

    /// Bytes of a slot, a multiple of 8.
    #[inline(always)]
    pub const fn bytes(self) -> usize {
        let index = self.0 as usize;
        if index < SMALL_CLASSES {
            return (index + 1) * STEP_SMALL;
        }
        if index == ENTRY_CLASSES {
            return size_of::<Segment>();
        }
        let above = index - SMALL_CLASSES;
        let doubling = (above / PER_DOUBLING) as u32 + SMALL_MAX.ilog2();
        (PER_DOUBLING + above % PER_DOUBLING + 1) << (doubling - PER_DOUBLING_BITS)
    }

    /// Slots of a span.
    pub const fn slots(self) -> usize {
        SLAB_SPAN_BYTES / self.bytes()
    }

    /// The number, below [`CLASSES`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The class of a number below [`CLASSES`].
    pub const fn numbered(index: usize) -> Class {
        assert!(index < CLASSES, "no such class");
        Class(index as u8)
    }
}

const _: () = assert!(CLASSES < u8::MAX as usize);
const _: () = assert!(size_of::<Segment>().is_multiple_of(64), "segments are aligned in a span");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for size in 1..=SLAB_ENTRY_MAX {
            let class = Class::of(size).expect("small enough");
            assert!(class.bytes() >= size, "{size}");
            assert_eq!(Class::bytes_for(size), Some(class.bytes()), "{size}");
            assert!(class.bytes().is_multiple_of(8));
            if class.index() > 0 {
                let smaller = Class::numbered(class.index() - 1);
                assert!(smaller.bytes() < size, "{size} fits into {}", smaller.bytes());
            }
        }
        assert_eq!(Class::of(0), Class::of(1));
        assert_eq!(Class::of(SLAB_ENTRY_MAX + 1), None);
        assert_eq!(Class::of(usize::MAX), None);
        assert_eq!(Class::bytes_for(0), Some(8));
        assert_eq!(Class::bytes_for(SLAB_ENTRY_MAX + 1), None);
    }

    #[test]
    fn slots_waste_little() {
        for size in 1..=SLAB_ENTRY_MAX {
            let waste = Class::of(size).expect("small enough").bytes() - size;
            assert!(waste < 8 || waste * 16 < size, "{waste} of {size}");
        }
        for class in (0..CLASSES).map(Class::numbered) {
            let tail = SLAB_SPAN_BYTES - class.slots() * class.bytes();
            assert!(tail * 16 <= SLAB_SPAN_BYTES, "{tail} at the end of a span of {class:?}");
        }
        assert_eq!(
            [1, 8, 9, 32, 88, 128, 129, 1048]
                .map(|size| { Class::of(size).map_or(0, Class::bytes) }),
            [8, 8, 16, 32, 88, 128, 136, 1088]
        );
    }
}
