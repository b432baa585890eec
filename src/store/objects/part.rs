//! A part of a large collection that a snapshot may share.
//!
//! ```text
//!   Own(T)  --share-->  Shared(Arc<T>)  --the next change-->  Own(T), a copy if the snapshot
//!                                                             still has the other
//! ```
//!
//! Sharing copies nothing, so a collection is *frozen* in the time it takes to go through its
//! list of parts. Whoever changes a part first copies it, unless the snapshot is done with it. A
//! part that is not shared costs nothing: no counter, no further pointer.
//!
//! Invariant: what a frozen part holds never changes; only [`Part::own`] gives access for a
//! change, and by then nobody else has the value.

use std::ops::Deref;
use std::sync::Arc;

/// A value that is owned, or shared with snapshots.
#[derive(Clone, Debug)]
pub enum Part<T> {
    /// Nobody else has it.
    Own(T),
    /// Snapshots may have it.
    Shared(Arc<T>),
}

impl<T: Clone + Default> Part<T> {
    /// The value as it is now, for good.
    pub fn share(&mut self) -> Arc<T> {
        if let Part::Own(value) = self {
            *self = Part::Shared(Arc::new(std::mem::take(value)));
        }
        match self {
            Part::Shared(shared) => Arc::clone(shared),
            Part::Own(_) => Arc::default(), // it was made shared in the lines above
        }
    }

    /// The value, to be changed.
    #[inline(always)]
    pub fn own(&mut self) -> &mut T {
        if let Part::Shared(_) = self {
            self.take_back();
        }
        match self {
            Part::Own(value) => value,
            Part::Shared(_) => unreachable!("it was taken back in the lines above"),
        }
    }

    /// Bytes that the sharing takes.
    #[inline]
    pub fn overhead(&self) -> usize {
        match self {
            Part::Own(_) => 0,
            Part::Shared(_) => size_of::<T>() + 2 * size_of::<usize>(),
        }
    }

    #[cold]
    fn take_back(&mut self) {
        if let Part::Shared(shared) = std::mem::replace(self, Part::Own(T::default())) {
            *self = Part::Own(Arc::unwrap_or_clone(shared));
        }
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        match self {
            Part::Own(value) => value,
            Part::Shared(shared) => shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_only_while_somebody_else_has_it() {
        let mut part = Part::Own(vec![1, 2, 3]);
        let place = part.as_ptr();
        let frozen = part.share();
        assert_eq!((part.as_ptr(), frozen.as_ptr()), (place, place), "nothing was copied");
        part.own().push(4);
        assert_eq!((&part[..], &frozen[..]), (&[1, 2, 3, 4][..], &[1, 2, 3][..]));
        assert_eq!(part.overhead(), 0);

        let place = part.as_ptr();
        drop(part.share());
        assert!(part.overhead() > 0);
        part.own()[0] = 9;
        assert_eq!(part.as_ptr(), place, "the snapshot was done with it");
    }
}
