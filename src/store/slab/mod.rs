#![allow(unsafe_code)]
//! The memory of entries and tables.
//!
//! | file | what it holds |
//! |---|---|
//! | `class` | sizes of slots |
//! | `span` | spans of slots of one size, regions, pages |
//! | `shelf` | which slot is handed out next; what a thread keeps |
//! | `directory` | segments, and the directories that lead to them |
//!
//! The slabs are one for the process, as its allocator is: what is retired is freed by whichever
//! thread comes to it, and a freeing function is told an address and nothing else.
//!
//! In a build without the feature `slabs` every slot is an allocation of its own, so that
//! AddressSanitizer, valgrind and miri see each.
//!
//! Deliberately absent: what lies in a slot, and when it may be freed.

mod class;
mod directory;
#[cfg(feature = "slabs")]
mod shelf;
#[cfg(feature = "slabs")]
mod span;
#[cfg(all(test, feature = "slabs"))]
mod tests;

pub use class::Class;
pub use directory::*;

use std::ptr::NonNull;

/// What a build with slabs does.
#[cfg(feature = "slabs")]
mod chosen {
    use super::Class;
    use super::shelf::{Cache, Slabs};
    use std::cell::RefCell;
    use std::ptr::NonNull;

    static SLABS: Slabs = Slabs::new();

    struct Mine(RefCell<Cache>);

    thread_local! {
        static MINE: Mine = const { Mine(RefCell::new(Cache::new())) };
    }

    impl Drop for Mine {
        fn drop(&mut self) {
            self.0.get_mut().flush(&SLABS);
        }
    }

    /// `act` on this thread's cache; on a passing one if the thread is at its end.
    #[inline(always)]
    fn with_cache<R>(act: impl FnOnce(&mut Cache) -> R) -> R {
        let mut act = Some(act);
        let mut run = |cache: &mut Cache| act.take().map(|act| act(cache));
        let done = MINE.try_with(|mine| run(&mut mine.0.borrow_mut()));
        match done {
            Ok(Some(result)) => result,
            _ => {
                let mut passing = Cache::new();
                let result = run(&mut passing);
                passing.flush(&SLABS);
                result.unwrap_or_else(|| unreachable!("the thread's cache was not there"))
            }
        }
    }

    #[inline]
    pub fn allocate(class: Class) -> Option<NonNull<u8>> {
        with_cache(|cache| cache.take(&SLABS, class))
    }

    #[inline]
    pub unsafe fn free(slot: NonNull<u8>, class: Class) {
        // SAFETY: [slab-030] I-SLAB: by the caller's word.
        with_cache(|cache| unsafe { cache.give(&SLABS, class, slot) });
    }

    #[inline]
    pub unsafe fn is_sparse(slot: NonNull<u8>) -> bool {
        // SAFETY: [slab-031] I-SLAB: by the caller's word.
        unsafe { SLABS.is_sparse(slot) }
    }

    pub fn any_sparse() -> bool {
        SLABS.any_sparse()
    }

    pub fn flush() {
        with_cache(|cache| cache.flush(&SLABS));
    }

    pub fn usage() -> (u64, u64) {
        SLABS.usage()
    }

    pub fn mark_sparse(at: usize, budget: usize, part: usize) -> Option<usize> {
        SLABS.mark_sparse(at, budget, part)
    }

    pub fn unmark_sparse(at: usize, budget: usize) -> Option<usize> {
        SLABS.unmark_sparse(at, budget)
    }
}

/// What a build without slabs does.
#[cfg(not(feature = "slabs"))]
mod chosen {
    use super::Class;
    use std::alloc::{Layout, alloc, dealloc};
    use std::ptr::NonNull;

    fn layout(class: Class) -> Layout {
        let align = if class == Class::SEGMENT { 64 } else { 8 };
        Layout::from_size_align(class.bytes(), align).expect("a class is small")
    }

    pub fn allocate(class: Class) -> Option<NonNull<u8>> {
        // SAFETY: [slab-032] I-SLAB: no class is of no bytes.
        NonNull::new(unsafe { alloc(layout(class)) })
    }

    pub unsafe fn free(slot: NonNull<u8>, class: Class) {
        // SAFETY: [slab-033] I-SLAB: made by `allocate` with this layout.
        unsafe { dealloc(slot.as_ptr(), layout(class)) };
    }

    pub unsafe fn is_sparse(_slot: NonNull<u8>) -> bool {
        false
    }

    pub fn any_sparse() -> bool {
        false
    }

    pub fn flush() {}

    pub fn usage() -> (u64, u64) {
        (0, 0)
    }

    pub fn mark_sparse(_at: usize, _budget: usize, _part: usize) -> Option<usize> {
        None
    }

    pub fn unmark_sparse(_at: usize, _budget: usize) -> Option<usize> {
        None
    }
}

/// A slot of `class`, aligned to 8 (for segments to 64), not initialised; `None` when the system
/// has no memory.
#[inline]
pub fn allocate(class: Class) -> Option<NonNull<u8>> {
    chosen::allocate(class)
}

/// Frees a slot.
///
/// # Safety
///
/// It came from [`allocate`] for `class`, is freed once, and nobody uses it any more.
#[inline]
pub unsafe fn free(slot: NonNull<u8>, class: Class) {
    // SAFETY: [slab-034] I-SLAB: by the caller's word.
    unsafe { chosen::free(slot, class) }
}

/// Whether a slot lies in a span that is marked as sparse, and would better lie elsewhere.
///
/// # Safety
///
/// It came from [`allocate`] and is not freed.
#[inline]
pub unsafe fn is_sparse(slot: NonNull<u8>) -> bool {
    // SAFETY: [slab-035] I-SLAB: by the caller's word.
    unsafe { chosen::is_sparse(slot) }
}

/// Whether any span is marked as sparse.
pub fn any_sparse() -> bool {
    chosen::any_sparse()
}

/// Gives back the free slots that this thread keeps.
pub fn flush() {
    chosen::flush();
}

/// How the slabs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of slots that are out, with those that threads keep to themselves.
    pub out_bytes: u64,
    /// Bytes of free slots in pages that are committed.
    pub slack_bytes: u64,
}

/// How the slabs are used at this moment.
pub fn usage() -> Usage {
    let (out_bytes, slack_bytes) = chosen::usage();
    Usage { out_bytes, slack_bytes }
}

/// Marks the sparse ones of at most `budget` spans, counted from `at`: those of whose slots one in
/// `part` is free, if what is in them fits elsewhere. Nothing is handed out from them until
/// [`unmark_sparse`]. Where to go on; `None` behind the last span.
pub fn mark_sparse(at: usize, budget: usize, part: usize) -> Option<usize> {
    chosen::mark_sparse(at, budget, part)
}

/// Takes the marks away again, in the same way.
pub fn unmark_sparse(at: usize, budget: usize) -> Option<usize> {
    chosen::unmark_sparse(at, budget)
}
