//! Memory straight from the system: aligned regions that stay mapped, and pages given back.
//!
//! A region is mapped once and never unmapped, so that a pointer into it stays valid; what goes
//! back to the system are its pages.
//!
//! Deliberately absent: what lies in the region. Under miri, which knows no `madvise`, a region
//! comes from the process allocator and pages stay where they are.

use std::ptr::NonNull;

/// Zeroed memory of `bytes` bytes at a multiple of `align` (a power of two, at least a page);
/// `None` when the system has none. No page is committed before it is written to.
pub fn map_aligned(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    assert!(align.is_power_of_two(), "an alignment is a power of two");
    implementation::map_aligned(bytes, align)
}

/// Asks for huge pages in a range of pages, or for small ones only. Changes nothing that the
/// program could see. A kernel that knows no huge pages refuses, which is no error.
pub fn advise_huge(start: *mut u8, bytes: usize, huge: bool) {
    implementation::advise_huge(start, bytes, huge);
}

/// Gives `bytes` bytes from `start` on back to the system. Pages that lie in there whole read as
/// zeroes afterwards; of others nothing is certain.
///
/// # Safety
///
/// The bytes belong to one region of [`map_aligned`], and nobody relies on what is in them.
pub unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
    // SAFETY: [sys-021] I-REGION: the caller has the bytes, and gives them up.
    unsafe { implementation::give_back(start, bytes) }
}

#[cfg(not(miri))]
mod implementation {
    use std::ptr::{NonNull, null_mut};

    /// Bytes of a small page, or less.
    const PAGE: usize = 4096;

    pub(super) fn map_aligned(bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let mapped = bytes.checked_add(align)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: [sys-022] I-REGION: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(null_mut(), mapped, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = start.cast::<u8>();
        let front = start.addr().wrapping_neg() & (align - 1);
        let region = start.wrapping_add(front);
        unmap(start, front);
        unmap(region.wrapping_add(bytes), align - front);
        NonNull::new(region)
    }

    /// What was mapped only to find an aligned place in it.
    fn unmap(start: *mut u8, bytes: usize) {
        if bytes > 0 {
            // SAFETY: [sys-023] I-REGION: whole pages of the new mapping that nobody has seen. A
            // refusal leaves address space unused, and no memory.
            _ = unsafe { libc::munmap(start.cast(), bytes) };
        }
    }

    pub(super) fn advise_huge(start: *mut u8, bytes: usize, huge: bool) {
        let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: [sys-030] I-REGION: this advice neither reads nor changes memory, whatever lies
        // there.
        _ = unsafe { libc::madvise(start.cast(), bytes, advice) };
    }

    pub(super) unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
        // The kernel keeps all of a huge page that is given back in part, and shows it in no
        // figure of the process, until it is short of memory. One that is called cold in part is
        // taken apart at once.
        // SAFETY: [sys-049] I-REGION: this advice neither reads nor changes memory.
        _ = unsafe { libc::madvise(start.as_ptr().cast(), PAGE, libc::MADV_COLD) };
        // SAFETY: [sys-024] I-REGION: by the caller's word. A refusal keeps the pages, which is no
        // error: they are used again.
        _ = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
    }
}

#[cfg(miri)]
mod implementation {
    use std::alloc::{Layout, alloc_zeroed};
    use std::ptr::NonNull;

    pub(super) fn map_aligned(bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: [sys-025] I-REGION: the layout is not empty.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    }

    pub(super) fn advise_huge(_start: *mut u8, _bytes: usize, _huge: bool) {}

    pub(super) unsafe fn give_back(_start: NonNull<u8>, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_zeroed_and_writable_at_both_ends() {
        for align in [4096, 1 << 16, 1 << 22] {
            let bytes = 3 * align;
            let region = map_aligned(bytes, align).expect("address space");
            assert_eq!(region.addr().get() % align, 0);
            for at in [0, bytes - 1] {
                let byte = region.as_ptr().wrapping_add(at);
                // SAFETY: [sys-026] I-REGION: inside of the region, which is ours.
                let before = unsafe { byte.replace(7) };
                assert_eq!(before, 0);
            }
        }
    }

    #[test]
    #[cfg(not(miri))]
    fn pages_that_went_back_are_zero_again() {
        let region = map_aligned(1 << 16, 1 << 16).expect("address space");
        // SAFETY: [sys-027] I-REGION: inside of the region, which is ours.
        unsafe { region.as_ptr().write_bytes(1, 1 << 16) };
        // SAFETY: [sys-028] I-REGION: ours, and we do not rely on it.
        unsafe { give_back(region, 1 << 15) };
        let look = |at: usize| {
            // SAFETY: [sys-029] I-REGION: inside of the region, which is ours.
            unsafe { region.as_ptr().wrapping_add(at).read() }
        };
        assert_eq!([0, (1 << 15) - 1, 1 << 15, (1 << 16) - 1].map(look), [0, 0, 1, 1]);
    }

    #[test]
    fn what_cannot_be_mapped_is_none() {
        assert!(map_aligned(usize::MAX, 4096).is_none());
        #[cfg(not(miri))]
        assert!(map_aligned(1 << 60, 4096).is_none());
    }
}
