#![allow(unsafe_code)]
//! Spans, and the regions that they are carved from.
//!
//! ```text
//!   region   32 MiB, aligned:  | descriptors | span | span | ... 127 spans of 256 KiB
//!   span     slots of one size:  | out | returned | out | out | returned | not begun ...
//! ```
//!
//! A slot's span is found from its address alone: the region by masking, the descriptor by the
//! span's number. Descriptors lie together, not at the head of their spans, where all of them
//! would compete for the same few lines of the CPU's caches; for the same reason they lie at
//! another offset in each region.
//!
//! With more than one region, those of which nothing was given back ask for huge pages: a lookup
//! at random then misses the address translation less, which is a third of its time with a million
//! keys and more than half with ten.
//!
//! Slots that came back are linked through their first word; those that were never handed out are
//! only counted (`begun`), so that a page is committed when it is first needed.
//!
//! Invariants:
//! - I-SLAB: a slot is in one place: handed out, or in its span's list of returned ones, or not
//!   begun. Whoever was handed a slot owns its bytes until it is taken back;
//! - a descriptor belongs to the holder of its class's lock, or, without a class, to whoever took
//!   it from the pool. Its fields are atomics only because others look at `sparse` and `class`.
//!
//! Deliberately absent: which span to take a slot from. See `shelf`.

use super::class::Class;
use crate::limits::{SLAB_REGION_BYTES, SLAB_SPAN_BYTES, SLAB_SPANS_KEPT};
use crate::sys::pages;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

const DESCRIPTORS: usize = SLAB_REGION_BYTES / SLAB_SPAN_BYTES;
const DESCRIPTOR_BYTES: usize = DESCRIPTORS * size_of::<Span>();
/// Different offsets of descriptors in their region.
const COLOURS: usize = SLAB_SPAN_BYTES / DESCRIPTOR_BYTES;
/// Spans of a region.
const SPANS: usize = DESCRIPTORS - 1;
const NO_CLASS: u8 = u8::MAX;

/// The descriptor of a span: one cache line, all zeroes when its region is new.
#[repr(C, align(64))]
pub struct Span {
    start: AtomicPtr<u8>,
    /// The list of slots that came back.
    returned: AtomicPtr<u8>,
    /// Neighbours in the list of spans with room.
    next: AtomicPtr<Span>,
    before: AtomicPtr<Span>,
    /// Slots that are handed out.
    out: AtomicU32,
    /// Slots that were ever handed out: the first ones.
    begun: AtomicU32,
    class: AtomicU8,
    listed: AtomicBool,
    sparse: AtomicBool,
}

impl Span {
    /// The span of a slot.
    ///
    /// # Safety
    ///
    /// The slot is one that a span has handed out.
    #[inline(always)]
    pub unsafe fn of(slot: NonNull<u8>) -> &'static Span {
        let address = slot.addr().get();
        let number = address % SLAB_REGION_BYTES / SLAB_SPAN_BYTES;
        let region = address & !(SLAB_REGION_BYTES - 1);
        let descriptor = descriptors_of(region) + number * size_of::<Span>();
        // Not derived from the slot, whose pointer may have been narrowed to what lies in it.
        let descriptor = std::ptr::with_exposed_provenance::<Span>(descriptor);
        // SAFETY: [slab-015] I-REGION: regions are never unmapped, and each span has its
        // descriptor in its region, made of atomics, for which zeroes are valid.
        unsafe { &*descriptor }
    }

    /// Begins a life with slots of `class`.
    pub fn begin(&self, class: Class) {
        self.returned.store(null_mut(), Relaxed);
        self.out.store(0, Relaxed);
        self.begun.store(0, Relaxed);
        self.sparse.store(false, Relaxed);
        self.class.store(class.index() as u8, Relaxed);
    }

    /// Ends it: no slot is out.
    pub fn end(&self) {
        debug_assert_eq!(self.out(), 0);
        self.sparse.store(false, Relaxed);
        self.class.store(NO_CLASS, Relaxed);
    }

    /// The class; of a span whose class's lock is not held, as it was at some moment.
    pub fn class(&self) -> Option<Class> {
        let number = self.class.load(Relaxed);
        (number != NO_CLASS).then(|| Class::numbered(usize::from(number)))
    }

    /// Slots that are handed out.
    pub fn out(&self) -> usize {
        self.out.load(Relaxed) as usize
    }

    /// Slots that have ever been: those whose pages are committed.
    pub fn begun(&self) -> usize {
        self.begun.load(Relaxed) as usize
    }

    /// Whether every slot is out.
    pub fn is_full(&self, class: Class) -> bool {
        self.out() == class.slots()
    }

    /// Marked as one whose slots are to move elsewhere. A hint without the lock.
    #[inline(always)]
    pub fn is_sparse(&self) -> bool {
        self.sparse.load(Relaxed)
    }

    /// Sets that mark.
    fn set_sparse(&self, sparse: bool) {
        self.sparse.store(sparse, Relaxed);
    }

    /// Hands out at most `count` slots to the end of `slots`; how many of them had come back.
    pub fn hand_out(&self, class: Class, count: usize, slots: &mut Vec<NonNull<u8>>) -> usize {
        let before = slots.len();
        slots.extend(std::iter::from_fn(|| self.pop()).take(count));
        let returned = slots.len() - before;
        let (begun, start) = (self.begun(), self.start.load(Relaxed));
        let fresh = (count - returned).min(class.slots() - begun);
        let slot = |index| NonNull::new(start.wrapping_add(index * class.bytes()));
        slots.extend((begun..begun + fresh).filter_map(slot));
        self.begun.store((begun + fresh) as u32, Relaxed);
        self.out.store((self.out() + returned + fresh) as u32, Relaxed);
        returned
    }

    /// Takes back a slot.
    ///
    /// # Safety
    ///
    /// It is one of this span, was handed out, and nobody uses it any more.
    pub unsafe fn take_back(&self, slot: NonNull<u8>) {
        let slot = self.start.load(Relaxed).with_addr(slot.addr().get());
        // SAFETY: [slab-016] I-SLAB: a slot is aligned to a word and has room for one, and the
        // caller gives it up.
        unsafe { slot.cast::<*mut u8>().write(self.returned.load(Relaxed)) };
        self.returned.store(slot, Relaxed);
        self.out.store(self.out() as u32 - 1, Relaxed);
    }

    fn pop(&self) -> Option<NonNull<u8>> {
        let slot = NonNull::new(self.returned.load(Relaxed))?;
        // SAFETY: [slab-017] I-SLAB: `take_back` wrote the link, and the slot is not out.
        let next = unsafe { slot.cast::<*mut u8>().read() };
        self.returned.store(next, Relaxed);
        Some(slot)
    }

    fn at(link: &AtomicPtr<Span>) -> Option<&'static Span> {
        let span = NonNull::new(link.load(Relaxed))?;
        // SAFETY: [slab-018] I-REGION: links are null or lead to descriptors.
        Some(unsafe { span.as_ref() })
    }

    fn pointer(span: Option<&'static Span>) -> *mut Span {
        span.map_or(null_mut(), |span| std::ptr::from_ref(span).cast_mut())
    }
}

fn descriptors_of(region: usize) -> usize {
    region + region / SLAB_REGION_BYTES % COLOURS * DESCRIPTOR_BYTES
}

/// Spans of one class that have room, in the order in which they will be used.
pub struct SpanList {
    first: Option<&'static Span>,
    last: Option<&'static Span>,
    /// Slots that came back to spans which are not sparse: holes.
    holes: usize,
    /// Slots that are out of sparse spans, and are to move.
    moving: usize,
}

impl SpanList {
    /// An empty one.
    pub const fn new() -> SpanList {
        SpanList { first: None, last: None, holes: 0, moving: 0 }
    }

    /// The span to be used now.
    pub fn first(&self) -> Option<&'static Span> {
        self.first
    }

    /// Whether the span is in the list of its class.
    pub fn has(&self, span: &Span) -> bool {
        span.listed.load(Relaxed)
    }

    /// Adds a span to be used last.
    pub fn push_last(&mut self, span: &'static Span) {
        debug_assert!(!self.has(span));
        span.listed.store(true, Relaxed);
        span.next.store(null_mut(), Relaxed);
        span.before.store(Span::pointer(self.last), Relaxed);
        match self.last.replace(span) {
            Some(last) => last.next.store(Span::pointer(Some(span)), Relaxed),
            None => self.first = Some(span),
        }
    }

    /// Slots that were handed out, of which so many had come back.
    pub fn note_handed_out(&mut self, returned: usize) {
        self.holes -= returned;
    }

    /// A slot came back to `span`. If it was the last one, its holes are gone with it.
    pub fn note_taken_back(&mut self, span: &Span) {
        match (span.is_sparse(), span.out()) {
            (true, _) => self.moving -= 1,
            (false, 0) => self.holes -= span.begun() - 1,
            (false, _) => self.holes += 1,
        }
    }

    /// Whether what is out of `span` would find room in the holes of the others, a new span
    /// besides. Else moving it would take memory before it gives any back.
    pub fn has_room_for(&self, span: &Span, class: Class) -> bool {
        let others = self.holes - (span.begun() - span.out());
        self.moving + span.out() <= others + class.slots()
    }

    /// Marks `span` as sparse, or takes the mark away.
    pub fn set_sparse(&mut self, span: &'static Span, is_sparse: bool) {
        let (free, out) = (span.begun() - span.out(), span.out());
        span.set_sparse(is_sparse);
        if is_sparse {
            self.holes -= free;
            self.moving += out;
        } else {
            self.holes += free;
            self.moving -= out;
        }
    }

    /// Takes a span out, if it is in the list.
    pub fn remove(&mut self, span: &'static Span) {
        if !self.has(span) {
            return;
        }
        span.listed.store(false, Relaxed);
        let (before, next) = (Span::at(&span.before), Span::at(&span.next));
        match before {
            Some(before) => before.next.store(Span::pointer(next), Relaxed),
            None => self.first = next,
        }
        match next {
            Some(next) => next.before.store(Span::pointer(before), Relaxed),
            None => self.last = before,
        }
    }
}

/// The spans that no class has.
pub struct Pool {
    free: Mutex<Free>,
    /// Spans whose pages are kept, to be read without the lock.
    kept: AtomicUsize,
}

struct Region {
    start: NonNull<u8>,
    /// Spans whose pages went back.
    given_back: usize,
    /// Whether huge pages are asked for.
    is_huge: bool,
}

impl Region {
    /// Asks for the pages that suit it. In a huge page that is partly given back the rest would be
    /// lost, because the kernel fills it up again; and a small database wants small pages.
    fn suit(&mut self, is_large: bool) {
        let is_huge = is_large && self.given_back == 0;
        if is_huge != self.is_huge {
            self.is_huge = is_huge;
            pages::advise_huge(self.start.as_ptr(), SLAB_REGION_BYTES, is_huge);
        }
    }
}

struct Free {
    regions: Vec<Region>,
    /// Spans of the last region that were never used: the last ones.
    fresh: usize,
    /// With their pages.
    kept: Vec<&'static Span>,
    /// Without.
    given_back: Vec<&'static Span>,
}

// SAFETY: [slab-019] I-REGION: the pointers lead to regions, which belong to all threads and are
// never unmapped.
unsafe impl Send for Free {}

impl Free {
    /// Whether there is more than one region, so that huge pages cost little beside the data.
    fn is_large(&self) -> bool {
        self.regions.len() > 1
    }

    /// The pages of a span went back, or are wanted again.
    fn note_given_back(&mut self, span: &Span, change: isize) {
        let is_large = self.is_large();
        let region = span.start.load(Relaxed).addr() & !(SLAB_REGION_BYTES - 1);
        let mut regions = self.regions.iter_mut();
        if let Some(region) = regions.find(|known| known.start.addr().get() == region) {
            region.given_back = region.given_back.saturating_add_signed(change);
            region.suit(is_large);
        }
    }
}

impl Pool {
    /// An empty one.
    pub const fn new() -> Pool {
        let kept = Vec::new();
        let given_back = Vec::new();
        let free = Mutex::new(Free { regions: Vec::new(), fresh: 0, kept, given_back });
        Pool { free, kept: AtomicUsize::new(0) }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A span without a class; `None` when the system has no memory.
    pub fn take(&self) -> Option<&'static Span> {
        let mut free = self.free();
        if let Some(span) = free.kept.pop() {
            self.kept.store(free.kept.len(), Relaxed);
            return Some(span);
        }
        if let Some(span) = free.given_back.pop() {
            free.note_given_back(span, -1);
            return Some(span);
        }
        if free.fresh == 0 {
            let region = pages::map_aligned(SLAB_REGION_BYTES, SLAB_REGION_BYTES)?;
            region.as_ptr().expose_provenance();
            free.regions.push(Region { start: region, given_back: 0, is_huge: false });
            let is_large = free.is_large();
            free.regions.iter_mut().for_each(|region| region.suit(is_large));
            free.fresh = SPANS;
        }
        let number = DESCRIPTORS - free.fresh;
        free.fresh -= 1;
        let region = free.regions.last()?;
        let start = region.start.as_ptr().wrapping_add(number * SLAB_SPAN_BYTES);
        // SAFETY: [slab-020] I-REGION: an address in a span of a region.
        let span = unsafe { Span::of(NonNull::new(start)?) };
        span.start.store(start, Relaxed);
        span.end();
        Some(span)
    }

    /// Puts a span back that has ended. Its pages go to the system unless few are kept so far.
    pub fn put(&self, span: &'static Span) {
        let mut free = self.free();
        if free.kept.len() < SLAB_SPANS_KEPT {
            free.kept.push(span);
            self.kept.store(free.kept.len(), Relaxed);
            return;
        }
        free.note_given_back(span, 1);
        drop(free);
        if let Some(start) = NonNull::new(span.start.load(Relaxed)) {
            // SAFETY: [slab-021] I-SLAB: no slot of it is out, and nobody else has the span.
            unsafe { pages::give_back(start, SLAB_SPAN_BYTES) };
        }
        self.free().given_back.push(span);
    }

    /// Spans whose pages are kept.
    pub fn kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    /// The span of that number, counted over all regions; `None` behind the last one.
    pub fn span(&self, index: usize) -> Option<&'static Span> {
        let free = self.free();
        let region = free.regions.get(index / SPANS)?;
        let number = 1 + index % SPANS;
        let is_last = index / SPANS + 1 == free.regions.len();
        if is_last && number >= DESCRIPTORS - free.fresh {
            return None;
        }
        let start = region.start.as_ptr().wrapping_add(number * SLAB_SPAN_BYTES);
        // SAFETY: [slab-022] I-REGION: an address in a span that was taken before.
        Some(unsafe { Span::of(NonNull::new(start)?) })
    }
}

const _: () = assert!(size_of::<Span>() == 64);
const _: () = assert!(COLOURS > 0 && DESCRIPTOR_BYTES <= SLAB_SPAN_BYTES);
