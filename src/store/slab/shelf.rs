#![allow(unsafe_code)]
//! The slabs: for each class the spans that have room, under one lock; and what a thread keeps.
//!
//! ```text
//!   thread's cache  <- batches of 64 ->  shelf of a class  <- spans ->  pool  <- pages ->  system
//! ```
//!
//! A thread takes slots from its cache and puts freed ones there, whoever made them, without any
//! synchronisation. Only a batch at a time takes the lock of the class. So no word is written by
//! two threads at once, and nothing here is lock-free: a mutex per class is what is to be proved.
//!
//! A span is used up to its last free slot before the next one; one that has a slot free again
//! goes to the end of the list, so that more of its slots come back before it is used again.
//!
//! Sparse spans, those that compaction empties, are in no list: nothing is handed out from them.
//! Of each class only so many are marked at a time that what is in them fits into the holes of the
//! others: moving takes no memory.
//! Nor does a slot of theirs stay in a cache while any span is sparse.

use super::class::{CLASSES, Class};
use super::span::{Pool, Span, SpanList};
use crate::limits::{
    SLAB_BATCH, SLAB_CACHE_BYTES, SLAB_CACHE_SLOTS_MAX, SLAB_CACHE_SLOTS_MIN, SLAB_SPAN_BYTES,
    SLAB_SPARSE_GAIN_MIN,
};
use crossbeam_utils::CachePadded;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All slabs of a process.
pub struct Slabs {
    shelves: [CachePadded<Mutex<SpanList>>; CLASSES],
    pool: Pool,
    totals: CachePadded<Totals>,
    /// Spans that are marked as sparse.
    sparse: CachePadded<AtomicUsize>,
}

/// Changed once for each batch.
struct Totals {
    /// Bytes of slots that are out, those in the caches of threads included.
    out: AtomicU64,
    /// Bytes of slots that came back and wait in their spans.
    slack: AtomicU64,
}

impl Slabs {
    /// No span yet.
    pub const fn new() -> Slabs {
        Slabs {
            shelves: [const { CachePadded::new(Mutex::new(SpanList::new())) }; CLASSES],
            pool: Pool::new(),
            totals: CachePadded::new(Totals { out: AtomicU64::new(0), slack: AtomicU64::new(0) }),
            sparse: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    fn shelf(&self, class: Class) -> MutexGuard<'_, SpanList> {
        self.shelves[class.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds at most `count` slots to `slots`; fewer only when the system has no memory.
    fn hand_out(&self, class: Class, count: usize, slots: &mut Vec<NonNull<u8>>) {
        let wanted = slots.len() + count;
        let before = slots.len();
        let mut returned = 0;
        let mut shelf = self.shelf(class);
        while slots.len() < wanted {
            let Some(span) = shelf.first().or_else(|| self.new_span(&mut shelf, class)) else {
                break;
            };
            let holes = span.hand_out(class, wanted - slots.len(), slots);
            shelf.note_handed_out(holes);
            returned += holes;
            if span.is_full(class) {
                shelf.remove(span);
            }
        }
        drop(shelf);
        let handed_out = (slots.len() - before) * class.bytes();
        self.totals.out.fetch_add(handed_out as u64, Relaxed);
        self.totals.slack.fetch_sub((returned * class.bytes()) as u64, Relaxed);
    }

    fn new_span(&self, shelf: &mut SpanList, class: Class) -> Option<&'static Span> {
        let span = self.pool.take()?;
        span.begin(class);
        shelf.push_last(span);
        Some(span)
    }

    /// Takes slots back.
    ///
    /// # Safety
    ///
    /// They were handed out for `class`, and nobody uses them any more.
    unsafe fn take_back(&self, class: Class, slots: &[NonNull<u8>]) {
        let mut empty = Vec::new();
        let mut freed = slots.len();
        let mut shelf = self.shelf(class);
        for slot in slots {
            // SAFETY: [slab-023] I-SLAB: handed out, by the caller's word.
            let span = unsafe { Span::of(*slot) };
            // SAFETY: [slab-024] I-SLAB: as above, and its class's lock is held.
            unsafe { span.take_back(*slot) };
            shelf.note_taken_back(span);
            if span.out() == 0 {
                shelf.remove(span);
                freed = freed.wrapping_sub(span.begun());
                empty.push(self.end(span));
            } else if !shelf.has(span) && !span.is_sparse() {
                shelf.push_last(span);
            }
        }
        drop(shelf);
        self.totals.out.fetch_sub((slots.len() * class.bytes()) as u64, Relaxed);
        let slack = freed.wrapping_mul(class.bytes());
        self.totals.slack.fetch_add(slack as u64, Relaxed);
        empty.into_iter().for_each(|span| self.pool.put(span));
    }

    fn end(&self, span: &'static Span) -> &'static Span {
        if span.is_sparse() {
            self.sparse.fetch_sub(1, Relaxed);
        }
        span.end();
        span
    }

    /// Bytes of slots that are out, and of those that are free in pages which are committed.
    pub fn usage(&self) -> (u64, u64) {
        let kept = (self.pool.kept() * SLAB_SPAN_BYTES) as u64;
        // Relaxed: statistics, which may be read between two changes that belong together.
        let slack = self.totals.slack.load(Relaxed) as i64;
        (self.totals.out.load(Relaxed), slack.max(0) as u64 + kept)
    }

    /// Marks those of at most `budget` spans from the number `at` on of whose slots one in `part`
    /// is free, and which are worth emptying. Where to go on, `None` behind the last span.
    pub fn mark_sparse(&self, at: usize, budget: usize, part: usize) -> Option<usize> {
        self.visit(at, budget, &mut |shelf, span, class| {
            let free = span.begun() - span.out();
            let is_worth_it =
                free * class.bytes() >= SLAB_SPARSE_GAIN_MIN && free * part >= span.begun();
            if is_worth_it && !span.is_sparse() && shelf.has_room_for(span, class) {
                shelf.set_sparse(span, true);
                shelf.remove(span);
                self.sparse.fetch_add(1, Relaxed);
            }
        })
    }

    /// Takes the marks away, in the same way.
    pub fn unmark_sparse(&self, at: usize, budget: usize) -> Option<usize> {
        self.visit(at, budget, &mut |shelf, span, class| {
            if span.is_sparse() {
                shelf.set_sparse(span, false);
                self.sparse.fetch_sub(1, Relaxed);
                if !span.is_full(class) {
                    shelf.push_last(span);
                }
            }
        })
    }

    fn visit(
        &self,
        at: usize,
        budget: usize,
        look: &mut dyn FnMut(&mut SpanList, &'static Span, Class),
    ) -> Option<usize> {
        for index in at..at + budget {
            let span = self.pool.span(index)?;
            let Some(class) = span.class() else { continue };
            let mut shelf = self.shelf(class);
            // It may have changed hands before the lock was taken.
            if span.class() == Some(class) {
                look(&mut shelf, span, class);
            }
        }
        Some(at + budget)
    }

    /// Whether any span is marked.
    #[inline(always)]
    pub fn any_sparse(&self) -> bool {
        // Relaxed: a hint; a slot that is missed is found in the next round.
        self.sparse.load(Relaxed) > 0
    }

    /// Whether a slot lies in a span that is being emptied.
    ///
    /// # Safety
    ///
    /// The slot is handed out.
    #[inline(always)]
    pub unsafe fn is_sparse(&self, slot: NonNull<u8>) -> bool {
        self.any_sparse() && {
            // SAFETY: [slab-025] I-SLAB: handed out, by the caller's word.
            let span = unsafe { Span::of(slot) };
            span.is_sparse()
        }
    }
}

/// Free slots that a thread keeps, by class.
pub struct Cache([Vec<NonNull<u8>>; CLASSES]);

/// Slots that a cache keeps of each class.
static KEPT: [u16; CLASSES] = {
    let mut kept = [0; CLASSES];
    let mut index = 0;
    while index < CLASSES {
        kept[index] = kept_of(index);
        index += 1;
    }
    kept
};

const fn kept_of(index: usize) -> u16 {
    let slots = SLAB_CACHE_BYTES / Class::numbered(index).bytes();
    if slots > SLAB_CACHE_SLOTS_MAX {
        SLAB_CACHE_SLOTS_MAX as u16
    } else if slots < SLAB_CACHE_SLOTS_MIN {
        SLAB_CACHE_SLOTS_MIN as u16
    } else {
        slots as u16
    }
}

impl Cache {
    /// An empty one.
    pub const fn new() -> Cache {
        Cache([const { Vec::new() }; CLASSES])
    }

    /// A slot; `None` when the system has no memory.
    #[inline]
    pub fn take(&mut self, slabs: &Slabs, class: Class) -> Option<NonNull<u8>> {
        let slots = &mut self.0[class.index()];
        if slots.is_empty() {
            refill(slabs, class, slots);
        }
        slots.pop()
    }

    /// Takes a slot back.
    ///
    /// # Safety
    ///
    /// It was handed out by `slabs` for `class`, and nobody uses it any more.
    #[inline]
    pub unsafe fn give(&mut self, slabs: &Slabs, class: Class, slot: NonNull<u8>) {
        // SAFETY: [slab-026] I-SLAB: handed out, by the caller's word.
        if unsafe { slabs.is_sparse(slot) } {
            // SAFETY: [slab-027] I-SLAB: by the caller's word.
            unsafe { slabs.take_back(class, &[slot]) };
            return;
        }
        let slots = &mut self.0[class.index()];
        if slots.len() >= usize::from(KEPT[class.index()]) {
            spill(slabs, class, slots);
        }
        slots.push(slot);
    }

    /// Gives all slots back.
    pub fn flush(&mut self, slabs: &Slabs) {
        for (index, slots) in self.0.iter_mut().enumerate().filter(|(_, slots)| !slots.is_empty()) {
            // SAFETY: [slab-028] I-SLAB: slots in a cache are out, and nobody uses them.
            unsafe { slabs.take_back(Class::numbered(index), slots) };
            *slots = Vec::new();
        }
    }
}

/// A batch at once, but not more than half of what the cache may keep.
fn batch_of(class: Class) -> usize {
    SLAB_BATCH.min(usize::from(KEPT[class.index()]) / 2)
}

#[cold]
fn refill(slabs: &Slabs, class: Class, slots: &mut Vec<NonNull<u8>>) {
    slabs.hand_out(class, batch_of(class), slots);
    // The last is used first: so neighbours are used in the order of their addresses.
    slots.reverse();
}

/// Gives back those that lie longest.
#[cold]
fn spill(slabs: &Slabs, class: Class, slots: &mut Vec<NonNull<u8>>) {
    let batch = batch_of(class);
    // SAFETY: [slab-029] I-SLAB: slots in a cache are out, and nobody uses them.
    unsafe { slabs.take_back(class, &slots[..batch]) };
    slots.drain(..batch);
}
