#![allow(unsafe_code)]
//! Segments, and the directories that lead to them.
//!
//! ```text
//!   root word    pointer to lines | log2 of the number of words; a signpost is a copy for readers
//!   line         8 segment words
//!   segment word pointer to a segment | depth 5 bits | chained 1 bit
//! ```
//!
//! Everything a reader needs on its way to a bucket stands in the words themselves: the number of
//! hash bits to take from the root word, the segment's depth from the segment word. So a lookup
//! touches one line of the directory and never the header of a segment.
//!
//! Invariants:
//! - I-DIR: a directory of `bits` has `2^bits` words, none of them null; a segment of depth `d`
//!   fills `2^(bits - d)` neighbouring words;
//! - I-PIN: directories and segments are retired after they were made unreachable, so an
//!   [`Access`] to what led there keeps them.
//!
//! Deliberately absent: entries.

use super::{Class, allocate, free, is_sparse};
use crate::limits::SLAB_SPAN_BYTES;
use crate::store::footprint::footprint;
use crate::store::segment::Segment;
use crate::sync::reclaim::{self, Pin};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Bytes of a segment, with its part of what is left at the end of a span.
pub const SEGMENT_BYTES: usize = SLAB_SPAN_BYTES / Class::SEGMENT.slots();

const WORDS_PER_LINE: usize = 8;
/// Bits of the smallest directory: one line.
const BITS_MIN: u32 = WORDS_PER_LINE.ilog2();
const LOW_BITS: usize = 63;
const DEPTH_BITS: usize = 31;
const CHAINED: usize = 32;

/// Nothing that was reachable when it was made, or has become so since, is freed during `'a`.
#[derive(Clone, Copy)]
pub struct Access<'a>(PhantomData<&'a ()>);

impl<'a> Access<'a> {
    /// A reader's.
    #[inline(always)]
    pub fn pinned(_pin: &'a Pin) -> Access<'a> {
        Access(PhantomData)
    }

    /// A writer's.
    ///
    /// # Safety
    ///
    /// What it is used on is kept during `'a`: by the lock that the caller holds, or because the
    /// caller does not retire it before it has done with it.
    #[inline(always)]
    pub unsafe fn locked() -> Access<'a> {
        Access(PhantomData)
    }
}

/// A segment as a directory knows it.
#[derive(Clone, Copy)]
pub struct SegmentRef<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// Leading hash bits that its keys have in common.
    pub depth: u32,
    /// Whether an overflow chain may follow.
    pub chained: bool,
}

impl<'a> SegmentRef<'a> {
    /// Whether the segment lies in a span that is being emptied.
    pub fn is_sparse(self) -> bool {
        // SAFETY: [slab-044] I-SLAB: a segment lies in a slot while it lives.
        unsafe { is_sparse(NonNull::from(self.segment).cast()) }
    }

    /// The segment with those of its chain.
    pub fn chain(self) -> impl Iterator<Item = &'a Segment> {
        std::iter::successors(Some(self.segment), move |segment| next_in_chain(segment, self))
    }
}

/// The segment behind `segment` in its chain; `_access` led to the chain's head.
#[inline]
pub fn next_in_chain<'a>(segment: &'a Segment, _access: SegmentRef<'a>) -> Option<&'a Segment> {
    let next = NonNull::new(segment.next())?;
    // SAFETY: [slab-001] I-PIN: a chain is retired with its head, which is kept during 'a.
    Some(unsafe { next.as_ref() })
}

/// A segment that no directory refers to yet.
pub struct NewSegment(NonNull<Segment>);

impl NewSegment {
    /// An empty one.
    pub fn new() -> NewSegment {
        let Some(slot) = allocate(Class::SEGMENT) else {
            std::alloc::handle_alloc_error(Layout::new::<Segment>())
        };
        let segment = slot.cast::<Segment>();
        // SAFETY: [slab-036] I-SLAB: a slot of this class has room for a segment, and is ours.
        unsafe { segment.write_bytes(0, 1) };
        let segment = NewSegment(segment);
        segment.prepare();
        segment
    }

    fn into_raw(self) -> *mut Segment {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Deref for NewSegment {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        // SAFETY: [slab-002] I-DIR: all-zero bytes are a valid segment (atomics and null pointers).
        unsafe { self.0.as_ref() }
    }
}

impl Drop for NewSegment {
    fn drop(&mut self) {
        // SAFETY: [slab-037] I-DIR: never published, so nobody else knows it.
        unsafe { free_segment(self.0.as_ptr().cast()) };
    }
}

/// Ends the chain at `last` with `next`.
pub fn append(last: &Segment, next: NewSegment) {
    last.set_next(next.into_raw());
}

/// Retires a segment and its chain; how many there were.
///
/// # Safety
///
/// No directory that a new pin can reach refers to it, and it is retired once.
pub unsafe fn retire_segments(first: SegmentRef<'_>) -> usize {
    let mut count = 0;
    let mut next = std::ptr::from_ref(first.segment).cast_mut();
    while !next.is_null() {
        let segment = next;
        // SAFETY: [slab-003] I-PIN: retired below, so not freed before.
        next = unsafe { &*segment }.next();
        // SAFETY: [slab-004] I-PIN: unreachable, by the caller's word.
        unsafe { reclaim::retire(segment.cast(), SEGMENT_BYTES, free_segment) };
        count += 1;
    }
    count
}

/// # Safety
///
/// A [`NewSegment`] that nobody can see any more, or yet.
unsafe fn free_segment(ptr: *mut u8) {
    let Some(slot) = NonNull::new(ptr) else { return };
    // SAFETY: [slab-005] I-PIN: the caller has it alone; a segment has nothing to drop.
    unsafe { free(slot, Class::SEGMENT) };
}

/// Frees a segment and its chain at once.
///
/// # Safety
///
/// The whole store is being dropped.
pub unsafe fn free_segments_now(first: &Segment) {
    let mut next = std::ptr::from_ref(first).cast_mut();
    while !next.is_null() {
        let segment = next;
        // SAFETY: [slab-006] I-DIR: freed in the next step.
        next = unsafe { &*segment }.next();
        // SAFETY: [slab-007] I-DIR: the caller has everything alone.
        unsafe { free_segment(segment.cast()) };
    }
}

#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicPtr<Segment>; WORDS_PER_LINE]);

/// A directory that is reachable by others.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    lines: &'a [Line],
    bits: u32,
}

impl<'a> Directory<'a> {
    /// Number of leading hash bits that choose a word.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Bytes of the directory.
    pub fn bytes(&self) -> usize {
        footprint(size_of_val(self.lines))
    }

    /// The segment of `hash`.
    #[inline(always)]
    pub fn segment(&self, hash: u64) -> SegmentRef<'a> {
        self.segment_at((hash >> (64 - self.bits)) as usize)
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &'a AtomicPtr<Segment> {
        &self.lines[index / WORDS_PER_LINE].0[index % WORDS_PER_LINE]
    }

    #[inline(always)]
    fn segment_at(&self, index: usize) -> SegmentRef<'a> {
        // Acquire: pairs with the Release in `publish`; the segment behind the word is complete.
        let word = self.word(index).load(Acquire);
        let low = word.addr() & LOW_BITS;
        // SAFETY: [slab-008] I-DIR: no word is null, and [`Access`] led to the directory.
        let segment = unsafe { &*word.map_addr(|address| address & !LOW_BITS) };
        SegmentRef { segment, depth: (low & DEPTH_BITS) as u32, chained: low & CHAINED != 0 }
    }

    /// Lets the words of `hash` at `depth` lead to a segment.
    fn publish(&self, hash: u64, depth: u32, word: *mut Segment) {
        let span = 1 << (self.bits - depth);
        let first = (hash >> (64 - self.bits)) as usize & !(span - 1);
        for index in first..first + span {
            // Release: pairs with the Acquire in `segment_at`.
            self.word(index).store(word, Release);
        }
    }

    /// Puts two segments, each one deeper, in the place of the one at `hash`; retires that one
    /// with its chain and returns how many segments these were. Needs `bits > depth`.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's lock, and the directory is its table's.
    pub unsafe fn split(&self, hash: u64, low: Grown, high: Grown) -> usize {
        let old = self.segment(hash);
        let depth = old.depth + 1;
        let high_bit = 1 << (64 - depth);
        self.publish(hash & !high_bit, depth, low.into_word(depth));
        self.publish(hash | high_bit, depth, high.into_word(depth));
        // SAFETY: [slab-009] I-PIN: its words were just overwritten.
        unsafe { retire_segments(old) }
    }

    /// The two segments that one of one bit less would take the place of: the one at `hash` and
    /// its sibling, in hash order. `None` if the sibling is split further, or one has a chain.
    pub fn siblings(&self, hash: u64) -> Option<[SegmentRef<'a>; 2]> {
        let depth = self.segment(hash).depth;
        let bit = 1u64.rotate_right(depth);
        let both = [hash & !bit, hash | bit].map(|hash| self.segment(hash));
        let alike = both.iter().all(|at| at.depth == depth && !at.chained);
        (depth > 0 && alike).then_some(both)
    }

    /// Puts `by` in the place of the [`siblings`](Self::siblings) at `hash`; retires them.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's lock, the directory is its table's, and there are siblings.
    pub unsafe fn join(&self, hash: u64, by: Grown) {
        let Some(siblings) = self.siblings(hash) else { return };
        let depth = siblings[0].depth - 1;
        self.publish(hash, depth, by.into_word(depth));
        for sibling in siblings {
            // SAFETY: [slab-045] I-PIN: its words were just overwritten.
            unsafe { retire_segments(sibling) };
        }
    }

    /// Puts `by` in the place of the segment at `hash`; retires that one with its chain.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's lock, and the directory is its table's.
    pub unsafe fn replace(&self, hash: u64, by: Grown) {
        let old = self.segment(hash);
        self.publish(hash, old.depth, by.into_word(old.depth));
        // SAFETY: [slab-046] I-PIN: its words were just overwritten.
        unsafe { retire_segments(old) };
    }

    /// Announces that the segment at `hash` has an overflow chain.
    pub fn mark_chained(&self, hash: u64) {
        let SegmentRef { segment, depth, .. } = self.segment(hash);
        self.publish(
            hash,
            depth,
            segment_word(std::ptr::from_ref(segment).cast_mut(), depth, true),
        );
    }
}

/// A segment that is being filled from others, with its chain.
pub struct Grown {
    /// The segment, not published yet.
    pub segment: NewSegment,
    /// Whether it has a chain.
    pub chained: bool,
}

impl Grown {
    fn into_word(self, depth: u32) -> *mut Segment {
        segment_word(self.segment.into_raw(), depth, self.chained)
    }
}

fn segment_word(segment: *mut Segment, depth: u32, chained: bool) -> *mut Segment {
    debug_assert!(depth as usize <= DEPTH_BITS);
    let low = depth as usize | if chained { CHAINED } else { 0 };
    segment.map_addr(|address| address | low)
}

/// A table's way to its directory.
pub struct Root(AtomicPtr<Line>);

impl Root {
    /// A directory of one empty segment.
    pub fn new() -> Root {
        let lines = blank_lines(BITS_MIN);
        let directory = Directory { lines: &lines, bits: BITS_MIN };
        directory.publish(0, 0, segment_word(NewSegment::new().into_raw(), 0, false));
        Root(AtomicPtr::new(root_word(lines, BITS_MIN)))
    }

    /// The directory as it is now.
    #[inline(always)]
    pub fn directory<'a>(&self, access: Access<'a>) -> Directory<'a> {
        // Acquire: pairs with the Release in `double`; the words are copied.
        directory_of(self.0.load(Acquire), access)
    }

    /// Replaces the directory by one of twice the size, to which `post` leads then.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's lock, and no other signpost leads to the directory.
    pub unsafe fn double(&self, old: Directory<'_>, post: &Signpost) {
        let bits = old.bits + 1;
        let lines = blank_lines(bits);
        for (index, word) in lines.iter().flat_map(|line| &line.0).enumerate() {
            word.store(old.word(index / 2).load(Acquire), Release);
        }
        // Release: pairs with the Acquire in `directory`.
        self.0.store(root_word(lines, bits), Release);
        post.lead_to(self);
        let start = old.lines.as_ptr().cast_mut().map_addr(|address| address | old.bits as usize);
        // SAFETY: [slab-011] I-PIN: it was just replaced.
        unsafe { reclaim::retire(start.cast(), old.bytes(), free_directory) };
    }

    /// Retires the directory, not its segments.
    ///
    /// # Safety
    ///
    /// No new pin can reach the table, and this is done once.
    pub unsafe fn retire(&self, directory: Directory<'_>) {
        // SAFETY: [slab-012] I-PIN: unreachable, by the caller's word.
        unsafe { reclaim::retire(self.0.load(Acquire).cast(), directory.bytes(), free_directory) };
    }

    /// Frees the directory at once, not its segments.
    ///
    /// # Safety
    ///
    /// The whole store is being dropped.
    pub unsafe fn free_now(&self) {
        // SAFETY: [slab-013] I-DIR: the caller has everything alone.
        unsafe { free_directory(self.0.load(Acquire).cast()) };
    }
}

/// The directory of a root word that was loaded under an access.
#[inline(always)]
fn directory_of<'a>(word: *mut Line, _access: Access<'a>) -> Directory<'a> {
    let bits = (word.addr() & LOW_BITS) as u32;
    let lines = word.map_addr(|address| address & !LOW_BITS);
    // SAFETY: [slab-010] I-DIR: made by `root_word` of that many lines, kept by the access.
    let lines = unsafe { std::slice::from_raw_parts(lines, line_count(bits)) };
    Directory { lines, bits }
}

/// What readers go by: a copy of a table's root word beside those of other tables, or nothing.
pub struct Signpost(AtomicPtr<Line>);

impl Signpost {
    /// One that leads nowhere.
    pub const fn new() -> Signpost {
        Signpost(AtomicPtr::new(null_mut()))
    }

    /// The directory that it leads to, if any.
    #[inline(always)]
    pub fn directory<'a>(&self, access: Access<'a>) -> Option<Directory<'a>> {
        // Acquire: pairs with the Release in `lead_to`; the directory is complete.
        let word = self.0.load(Acquire);
        if word.is_null() { None } else { Some(directory_of(word, access)) }
    }

    /// Lets it lead to where `root` does. The caller holds the shard's lock.
    pub fn lead_to(&self, root: &Root) {
        // Release: pairs with the Acquire in `directory`.
        self.0.store(root.0.load(Acquire), Release);
    }

    /// Lets it lead nowhere. The caller holds the shard's lock.
    pub fn take_down(&self) {
        // Release: readers that see the gap see what came before it.
        self.0.store(null_mut(), Release);
    }
}

/// # Safety
///
/// `ptr` is a root word whose directory nobody can see.
unsafe fn free_directory(ptr: *mut u8) {
    let word = ptr.cast::<Line>();
    let bits = (word.addr() & LOW_BITS) as u32;
    let start = word.map_addr(|address| address & !LOW_BITS);
    let lines = std::ptr::slice_from_raw_parts_mut(start, line_count(bits));
    // SAFETY: [slab-014] I-DIR: made by `root_word` from a box of that many lines.
    drop(unsafe { Box::from_raw(lines) });
}

const fn line_count(bits: u32) -> usize {
    (1 << bits) / WORDS_PER_LINE
}

fn blank_lines(bits: u32) -> Box<[Line]> {
    (0..line_count(bits)).map(|_| Line::default()).collect()
}

fn root_word(lines: Box<[Line]>, bits: u32) -> *mut Line {
    let start = ManuallyDrop::new(lines).as_mut_ptr();
    start.map_addr(|address| address | bits as usize)
}

const _: () = assert!(align_of::<Line>() > LOW_BITS && align_of::<Segment>() > LOW_BITS);
