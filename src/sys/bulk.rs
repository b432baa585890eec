//! A buffer for one large bulk string, filled straight from the socket.
//!
//! Only address space is reserved when the length is announced; pages are committed as bytes
//! arrive, and small ones: a huge page would cost 2 MiB for the first byte of a length that was
//! only announced. In front of the bytes lies head room, so that the store can make the very
//! allocation into an entry by writing header and key before the value.
//!
//! ```text
//!   ptr (aligned to 8)
//!   |  head room  |  filled bytes  |  spare: not initialised  |
//!                 |<------------- target length ------------->|
//! ```
//!
//! Invariant I-BULK: the bytes `[headroom, headroom + filled)` are initialised, and
//! `filled <= len`; nothing else is ever read.

use super::socket;
use crate::limits::BULK_SMALL_PAGES_MIN;
use std::alloc::{Layout, alloc, dealloc};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// Alignment of the allocation.
pub const BULK_ALIGN: usize = 8;

/// Bytes of a huge page where it matters: x86-64, and AArch64 with small pages of 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A partly filled allocation: `[head room][filled bytes][spare]`.
pub struct BulkBuf {
    ptr: NonNull<u8>,
    layout: Layout,
    headroom: usize,
    len: usize,
    filled: usize,
}

// SAFETY: [sys-004] I-BULK: the allocation belongs to this value alone.
unsafe impl Send for BulkBuf {}
// SAFETY: [sys-005] I-BULK: a shared reference only reads the filled part.
unsafe impl Sync for BulkBuf {}

impl BulkBuf {
    /// Reserves room for `len` bytes behind `headroom` bytes. `None` when address space is out.
    pub fn reserve(headroom: usize, len: usize) -> Option<BulkBuf> {
        let layout = Layout::from_size_align(headroom.checked_add(len)?.max(1), BULK_ALIGN).ok()?;
        // SAFETY: [sys-006] I-BULK: the layout is not empty.
        let ptr = NonNull::new(unsafe { alloc(layout) })?;
        if layout.size() >= BULK_SMALL_PAGES_MIN {
            commit_small_pages(ptr, layout.size());
        }
        Some(BulkBuf { ptr, layout, headroom, len, filled: 0 })
    }

    /// Bytes the finished bulk will have.
    pub fn target_len(&self) -> usize {
        self.len
    }

    /// Bytes received so far.
    pub fn filled_len(&self) -> usize {
        self.filled
    }

    /// True once every announced byte is there.
    pub fn is_full(&self) -> bool {
        self.filled == self.len
    }

    /// The bytes received so far.
    pub fn filled(&self) -> &[u8] {
        let start = self.at(self.headroom);
        // SAFETY: [sys-007] I-BULK: `filled` bytes behind the head room are initialised.
        unsafe { std::slice::from_raw_parts(start, self.filled) }
    }

    /// Bytes reserved in front.
    pub fn headroom(&self) -> usize {
        self.headroom
    }

    /// Copies `bytes` to the end of the filled part. Panics if they do not fit.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len - self.filled, "more bytes than were announced");
        let end = self.at(self.headroom + self.filled);
        // SAFETY: [sys-008] I-BULK: that many spare bytes were just counted, and `bytes` cannot
        // lie in them, because we have them exclusively.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len()) };
        self.filled += bytes.len();
    }

    /// Receives at most `max` bytes from a socket into the spare part; how many came, 0 at the
    /// end of the stream. `WouldBlock` when there is nothing; `InvalidInput` if the buffer is
    /// full or `max` is 0, for then 0 could not be told from the end.
    pub fn recv_from(&mut self, fd: impl AsFd, max: usize) -> io::Result<usize> {
        let room = max.min(self.len - self.filled);
        if room == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let end = self.at(self.headroom + self.filled);
        // SAFETY: [sys-009] I-BULK: `room` bytes from `end` on are ours and spare.
        let count = unsafe { socket::recv_raw(fd, end, room) }?;
        self.filled += count;
        Ok(count)
    }

    /// The allocation itself: pointer, head room, length of the value and the layout to free it
    /// with (global allocator). The caller owns it now. Panics if the bulk is not complete.
    pub fn into_raw(self) -> (NonNull<u8>, usize, usize, Layout) {
        assert!(self.is_full(), "the rest would not be initialised");
        let this = std::mem::ManuallyDrop::new(self);
        (this.ptr, this.headroom, this.len, this.layout)
    }

    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.layout.size());
        // SAFETY: [sys-010] I-BULK: the offset lies in the allocation, or at its end.
        unsafe { self.ptr.as_ptr().add(offset) }
    }
}

impl Drop for BulkBuf {
    fn drop(&mut self) {
        // SAFETY: [sys-011] I-BULK: allocated with this layout; `into_raw` forgets the value.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

/// Asks for small pages inside of an allocation. The kernel may know no huge ones: then there is
/// nothing to ask for, so a refusal is no error. The advice stays with the pages when the
/// allocator gives them to somebody else, who then has small pages too.
fn commit_small_pages(ptr: NonNull<u8>, size: usize) {
    let page = super::process::page_bytes() as usize;
    let skipped = ptr.addr().get().wrapping_neg() % page;
    let Some(len) = size.checked_sub(skipped).map(|rest| rest - rest % page) else { return };
    let start = ptr.as_ptr().wrapping_add(skipped).cast();
    // SAFETY: [sys-016] I-BULK: the pages `[start, start + len)` lie in the allocation, and this
    // advice neither reads nor changes what is in them.
    _ = unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
    // The allocator has written its own notes in front of the allocation, and may have committed
    // a huge page by that, most of which is ours: it goes back.
    let first = len.min(HUGE_PAGE_BYTES);
    // SAFETY: [sys-017] I-BULK: the pages lie in the allocation; nothing in it is initialised yet,
    // so nothing is lost.
    _ = unsafe { libc::madvise(start, first, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_arrive_in_order_from_both_sides() {
        let (mut far, near) = UnixStream::pair().expect("a socket pair");
        near.set_nonblocking(true).expect("a socket option");
        let mut bulk = BulkBuf::reserve(24, 10).expect("10 bytes of memory");
        assert_eq!((bulk.headroom(), bulk.target_len(), bulk.filled_len()), (24, 10, 0));
        bulk.extend(b"ab");
        assert_eq!(bulk.recv_from(&near, 99).map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        far.write_all(b"cdefghijklm").expect("the pair is open");
        assert_eq!(bulk.recv_from(&near, 3).ok(), Some(3), "no more than the maximum");
        assert_eq!(bulk.filled(), b"abcde");
        assert_eq!(bulk.recv_from(&near, 99).ok(), Some(5), "no more than was announced");
        assert!(bulk.is_full());
        assert_eq!(bulk.filled(), b"abcdefghij");
        let full = bulk.recv_from(&near, 99).map_err(|e| e.kind());
        assert_eq!(full, Err(io::ErrorKind::InvalidInput));
        assert_eq!(socket::recv(&near, &mut [0; 8]).ok(), Some(3), "the rest is still there");
        drop(far);
        let mut next = BulkBuf::reserve(0, 1).expect("1 byte of memory");
        assert_eq!(next.recv_from(&near, 1).ok(), Some(0), "the end");
    }

    #[test]
    fn the_raw_parts_are_the_allocation() {
        let mut bulk = BulkBuf::reserve(16, 5).expect("21 bytes of memory");
        bulk.extend(b"hello");
        let (ptr, headroom, len, layout) = bulk.into_raw();
        assert_eq!((headroom, len, layout.size(), layout.align()), (16, 5, 21, BULK_ALIGN));
        assert_eq!(ptr.as_ptr() as usize % BULK_ALIGN, 0);
        // Rebuilt, the value is dropped as any other.
        let again = BulkBuf { ptr, layout, headroom, len, filled: len };
        assert_eq!(again.filled(), b"hello");
    }

    #[test]
    fn a_bulk_may_change_threads() {
        let mut bulk = BulkBuf::reserve(8, 4).expect("12 bytes of memory");
        bulk.extend(b"ab");
        std::thread::scope(|scope| {
            let [one, two] = [(); 2].map(|()| scope.spawn(|| bulk.filled().to_vec()));
            assert_eq!(one.join().ok(), two.join().ok());
        });
        let mut bulk = std::thread::spawn(|| bulk).join().expect("it does nothing");
        bulk.extend(b"cd");
        std::thread::spawn(move || assert_eq!(bulk.filled(), b"abcd")).join().expect("the same");
    }

    #[test]
    fn sizes_at_the_edges() {
        let empty = BulkBuf::reserve(0, 0).expect("nothing is always there");
        assert!(empty.is_full());
        assert_eq!(empty.filled(), b"");
        assert!(BulkBuf::reserve(usize::MAX, 1).is_none());
        assert!(BulkBuf::reserve(8, usize::MAX / 2).is_none());
    }

    #[test]
    fn sizes_around_small_pages() {
        for len in [BULK_SMALL_PAGES_MIN - 1, BULK_SMALL_PAGES_MIN, BULK_SMALL_PAGES_MIN + 4097] {
            let mut bulk = BulkBuf::reserve(0, len).expect("a few MiB of memory");
            let piece: Vec<u8> = (0..65_521u32).map(|at| (at % 251) as u8).collect();
            while !bulk.is_full() {
                bulk.extend(&piece[..piece.len().min(len - bulk.filled_len())]);
            }
            assert!(bulk.filled().chunks(piece.len()).all(|chunk| piece.starts_with(chunk)));
        }
    }

    #[test]
    fn a_first_byte_commits_no_huge_page() {
        let before = crate::sys::process::rss_bytes().expect("procfs");
        let mut bulks: Vec<_> = (0..200).filter_map(|_| BulkBuf::reserve(64, 64 << 20)).collect();
        bulks.iter_mut().for_each(|bulk| bulk.extend(b"only these"));
        let after = crate::sys::process::rss_bytes().expect("procfs");
        // With huge pages: 400 MiB. Generous, for the tests beside this one use memory as well.
        assert!(after < before + (200 << 20), "{before} -> {after}");
    }

    #[test]
    fn reserving_commits_no_memory() {
        let before = crate::sys::process::rss_bytes().expect("procfs");
        let bulks: Vec<_> = (0..4).map(|_| BulkBuf::reserve(64, 512 << 20)).collect();
        assert!(bulks.iter().all(Option::is_some), "2 GiB of address space");
        let after = crate::sys::process::rss_bytes().expect("procfs");
        // Generous, for the tests beside this one use memory as well.
        assert!(after < before + (1 << 30), "{before} -> {after}");
    }

    #[test]
    #[should_panic(expected = "announced")]
    fn too_much_is_refused() {
        BulkBuf::reserve(0, 3).expect("3 bytes of memory").extend(b"four");
    }

    #[test]
    #[should_panic(expected = "not be initialised")]
    fn an_unfinished_bulk_is_not_given_away() {
        let _ = BulkBuf::reserve(0, 3).expect("3 bytes of memory").into_raw();
    }
}
