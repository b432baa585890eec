//! The process allocator: a setting, and giving memory back.
//!
//! mimalloc takes an object from an arena, whose size it doubles when it needs the next one, and
//! keeps notes on the whole arena in huge pages. For an announced 500 MB that never arrive that is
//! more than a megabyte. An object beyond a bound therefore comes from the system itself.
//!
//! Its arena asks for huge pages. A thread that makes its first object commits one of them, 2 MiB,
//! so while there is little in the arena it is better off with small ones.
//!
//! Does nothing in a build without mimalloc.

use super::pages;
use std::ops::Range;

#[cfg(feature = "mimalloc")]
mod mimalloc {
    use crate::limits::ALLOCATOR_ARENA_OBJECT_MAX;
    use std::ffi::{c_int, c_long};

    /// `mi_option_arena_max_object_size`, which counts in KiB.
    const ARENA_MAX_OBJECT_SIZE: c_int = 45;
    /// What the option is unless someone set it, and what tells that it is the option meant: its
    /// number is the allocator's own affair and may be another in its next version.
    const DEFAULT_KIB: c_long = 2 << 20;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
        fn mi_option_set(option: c_int, value: c_long);
        fn mi_collect(force: bool);
    }

    pub(super) fn collect() {
        // SAFETY: [sys-020] I-ALLOCATOR: may be called at any time; it looks after the heap of
        // the thread that calls it.
        unsafe { mi_collect(false) }
    }

    pub(super) fn limit_arena_objects() -> bool {
        // SAFETY: [sys-018] I-ALLOCATOR: reads an integer; a number without an option reads as 0.
        if unsafe { mi_option_get(ARENA_MAX_OBJECT_SIZE) } != DEFAULT_KIB {
            return false;
        }
        let kib = (ALLOCATOR_ARENA_OBJECT_MAX / 1024) as c_long;
        // SAFETY: [sys-019] I-ALLOCATOR: sets the option that was just recognised.
        unsafe { mi_option_set(ARENA_MAX_OBJECT_SIZE, kib) };
        true
    }
}

/// Has objects larger than `limits::ALLOCATOR_ARENA_OBJECT_MAX` come from the system. False if
/// the option has another value than its default: it was set from outside, or is unknown.
pub fn limit_arena_objects() -> bool {
    #[cfg(feature = "mimalloc")]
    return mimalloc::limit_arena_objects();
    #[cfg(not(feature = "mimalloc"))]
    false
}

/// Lets the allocator's arena have huge pages, or only small ones from now on. False if there is
/// no such arena.
pub fn allow_huge_pages(allowed: bool) -> bool {
    let mapping = if cfg!(feature = "mimalloc") { heap_mapping() } else { None };
    let Some(mapping) = mapping else { return false };
    pages::advise_huge(std::ptr::without_provenance_mut(mapping.start), mapping.len(), allowed);
    true
}

/// Where the mapping lies that objects are made in.
fn heap_mapping() -> Option<Range<usize>> {
    let probe = Box::new(0_u64);
    let address = std::ptr::from_ref(&*probe).addr();
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let ranges = maps.lines().filter_map(|line| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let bound = |text| usize::from_str_radix(text, 16).ok();
        Some(bound(start)?..bound(end)?)
    });
    ranges.into_iter().find(|range| range.contains(&address))
}

/// Gives back to the system what this thread's part of the allocator no longer uses: pages whose
/// objects others have freed stay with the thread that made them until it looks. Takes about as
/// long as a look at each page of the thread's heap.
pub fn collect() {
    #[cfg(feature = "mimalloc")]
    mimalloc::collect();
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(feature = "mimalloc")]
    fn the_option_is_recognised_and_large_objects_still_work() {
        assert!(super::limit_arena_objects(), "this version of the allocator has it elsewhere");
        assert!(!super::limit_arena_objects(), "what was set is left alone");
        let large: Vec<Vec<u8>> = (0..4).map(|_| vec![0; 100 << 20]).collect();
        super::collect();
        assert!(super::allow_huge_pages(false) && super::allow_huge_pages(true));
        assert!(large.iter().all(|bytes| bytes[bytes.len() - 1] == 0));
    }
}
