#![allow(unsafe_code)]
//! Entries: header, optional words, key and value in one allocation.
//!
//! ```text
//!   header (8)  | deadline | key length | count | value, owner, size | object | key | value
//!   kind 3 bits   DEADLINE   LONG_KEY     SHARED  REMOTE               not a string
//!   flags 5 bits
//!   key length 8 bits, time of use 16 bits, value length 32 bits
//! ```
//!
//! Each optional word is there only with its flag.
//!
//! - **Shared**: an entry of at least `limits::ENTRY_SHARED_MIN` bytes counts its owners: the table
//!   is one, and so is every [`SharedValue`]. The last one frees it.
//! - **Remote**: the value does not follow the key. Either the entry was made inside the
//!   allocation that a large bulk was received into (then it is shared too, and its words say what
//!   to free), or it took over the value of a shared entry, whose owner it now is: EXPIRE and
//!   RENAME copy no large value.
//! - **Object**: a collection's entry owns a boxed [`Object`]. When the entry is replaced by one
//!   that carries the same object, only the old *shell* is freed.
//!
//! Invariants:
//! - I-ENTRY: everything but the count and the time of use is written before publication and
//!   never after; the words that the header's flags announce are there, and so are the bytes that
//!   its lengths announce; once published, the header is read and written as an atomic only;
//! - I-COUNT: the table's own count is given back only when no pin can see the entry, so under a
//!   pin (or the lock) the count is at least one and may be raised;
//! - I-OBJECT: an object is owned by one live entry, and touched only under its shard's lock, or
//!   by whoever owns the entry alone.
//!
//! Deliberately absent: who may see an entry, and when it is retired: that is the table's affair.

mod header;
mod make;

use header::*;
pub(super) use make::{Moved, NewEntry, Unlinked};

use super::footprint::footprint;
use super::objects::Object;
use super::slab::{self, Class};
use crate::util::bytes::equal;
use std::alloc::{Layout, dealloc};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A byte string.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A hash.
    Hash = 3,
    /// A sorted set.
    ZSet = 4,
}

impl Kind {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
        }
    }
}

/// A published, immutable entry, valid for `'p`: the life of the pin (or of the locks) under
/// which it was found.
#[derive(Clone, Copy)]
pub struct EntryRef<'p> {
    ptr: NonNull<u8>,
    _life: PhantomData<&'p u8>,
}

impl<'p> EntryRef<'p> {
    /// # Safety
    ///
    /// `ptr` came from [`NewEntry::publish`], and the entry is not freed during `'p`.
    #[inline(always)]
    pub(super) unsafe fn from_raw(ptr: NonNull<u8>) -> EntryRef<'p> {
        EntryRef { ptr, _life: PhantomData }
    }

    #[inline(always)]
    pub(super) fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    #[inline(always)]
    fn header(&self) -> Header {
        // Relaxed: only the time of use ever changes, and that is a hint.
        Header(self.header_word().load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn header_word(&self) -> &'p AtomicU64 {
        // SAFETY: [entry-050] I-ENTRY: the first word, aligned, atomic for all since publication.
        unsafe { AtomicU64::from_ptr(self.ptr.as_ptr().cast()) }
    }

    /// When the entry was last seen in use, as `store::used` writes times.
    pub(super) fn used(&self) -> u16 {
        self.header().used()
    }

    /// Notes when the entry was last seen in use. The caller holds the shard's lock, or has the
    /// entry alone: there is one writer at a time.
    pub(super) fn set_used(&self, used: u16) {
        let header = self.header();
        if header.used() != used {
            self.header_word().store(header.with_used(used).0, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: [entry-001] I-ENTRY: offsets come from the header and stay in the allocation.
        unsafe { self.ptr.as_ptr().add(offset) }
    }

    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        let at = self.at(index * WORD).cast::<u64>();
        // SAFETY: [entry-002] I-ENTRY: the header's flags announce this word, entries are aligned.
        unsafe { at.read() }
    }

    #[inline(always)]
    fn pointer(&self, index: usize) -> NonNull<u8> {
        let at = self.at(index * WORD).cast::<NonNull<u8>>();
        // SAFETY: [entry-003] I-ENTRY: a pointer word is written as the pointer that it is.
        unsafe { at.read() }
    }

    #[inline(always)]
    fn bytes(&self, start: *const u8, len: usize) -> &'p [u8] {
        // SAFETY: [entry-004] I-ENTRY: `len` bytes were written there before publication, and the
        // entry (with the value that it owns) lives for 'p.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// What the entry holds.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.header().kind()
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'p [u8] {
        let header = self.header();
        if header.is_plain() {
            return self.bytes(self.at(WORD), header.short_key_len());
        }
        self.bytes(self.at(header.key_at()), self.key_len(header))
    }

    /// Whether the key is `key`.
    #[inline(always)]
    pub(super) fn has_key(&self, key: &[u8]) -> bool {
        equal(self.key(), key)
    }

    #[inline(always)]
    fn key_len(&self, header: Header) -> usize {
        if header.has(LONG_KEY) {
            return self.word(1 + header.count(DEADLINE)) as usize;
        }
        header.short_key_len()
    }

    /// The value of a string entry; empty for collections.
    #[inline]
    pub fn value(&self) -> &'p [u8] {
        let header = self.header();
        if header.is_plain() {
            return self.bytes(self.at(WORD + header.short_key_len()), header.value_len());
        }
        let start = if header.has(REMOTE) {
            self.pointer(header.remote_at()).as_ptr()
        } else {
            self.at(header.key_at() + self.key_len(header))
        };
        self.bytes(start, header.value_len())
    }

    /// The moment (wall clock, ms since 1970) at which the key ceases to exist.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        self.header().has(DEADLINE).then(|| self.word(1))
    }

    /// True when the deadline is at or before `now`.
    #[inline]
    pub fn is_expired(&self, now: u64) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// True when the string was made by APPEND, SETRANGE or SETBIT (OBJECT ENCODING says raw).
    pub fn is_raw(&self) -> bool {
        self.header().has(RAW)
    }

    /// Bytes the entry's allocation takes, without its object.
    #[inline]
    pub fn alloc_bytes(&self) -> usize {
        let header = self.header();
        if header.is_plain() {
            let size = header.plain_size();
            return Class::bytes_for(size).unwrap_or_else(|| footprint(size));
        }
        let size = self.layout().size();
        let own = self.class().map_or_else(|| footprint(size), Class::bytes);
        let is_heir = header.has(REMOTE) && !header.has(SHARED);
        own + if is_heir { self.owner().alloc_bytes() } else { 0 }
    }

    /// The class of the slot that the entry lies in; `None` if it is an allocation of its own.
    #[inline]
    fn class(&self) -> Option<Class> {
        if self.header().is_plain() {
            return Class::of(self.header().plain_size());
        }
        if self.header().has(REMOTE | SHARED) { None } else { Class::of(self.layout().size()) }
    }

    /// Whether the entry lies in a span that is being emptied.
    pub(super) fn is_sparse(&self) -> bool {
        // SAFETY: [entry-042] I-SLAB: an entry with a class lies in a slot while it lives.
        self.class().is_some() && unsafe { slab::is_sparse(self.ptr) }
    }

    /// For an entry of at least [`crate::limits::ENTRY_SHARED_MIN`] bytes: a counted reference
    /// to its value that outlives the pin, for sending it without a copy.
    pub fn share(&self) -> Option<SharedValue> {
        let header = self.header();
        let owner = if header.has(SHARED) {
            *self
        } else if header.has(REMOTE) {
            self.owner()
        } else {
            return None;
        };
        owner.raise_count();
        Some(SharedValue { owner: owner.ptr, value: NonNull::from(self.value()) })
    }

    /// The shared entry whose value a remote one has taken over.
    fn owner(&self) -> EntryRef<'p> {
        let owner = self.pointer(self.header().remote_at() + 1);
        // SAFETY: [entry-005] I-COUNT: this entry is among the owners while it lives.
        unsafe { EntryRef::from_raw(owner) }
    }

    fn owner_count(&self) -> &'p AtomicUsize {
        debug_assert!(self.header().has(SHARED));
        let at = self.at(self.header().count_at() * WORD);
        // SAFETY: [entry-006] I-ENTRY: SHARED announces the word, which only atomics touch.
        unsafe { AtomicUsize::from_ptr(at.cast()) }
    }

    fn raise_count(&self) {
        // Relaxed: the caller's own reference keeps the entry alive.
        let before = self.owner_count().fetch_add(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an entry without owners was shared");
    }

    /// Layout of the entry's own allocation; for a bulk's, of the whole allocation.
    fn layout(&self) -> Layout {
        let header = self.header();
        let size = if header.has(REMOTE | SHARED) {
            self.word(header.remote_at() + 2) as usize
        } else {
            let value_len = if header.has(REMOTE) { 0 } else { header.value_len() };
            header.key_at() + self.key_len(header) + value_len
        };
        layout_of(size)
    }

    /// # Safety
    ///
    /// The caller holds the shard's lock (or owns the entry alone) during `'a`, and nobody has a
    /// mutable reference to the object.
    pub(super) unsafe fn object<'a>(&self) -> Option<&'a Object> {
        let header = self.header();
        let object = header.has_object().then(|| self.pointer(header.object_at()))?;
        // SAFETY: [entry-007] I-OBJECT: the caller has the lock or the entry.
        Some(unsafe { object.cast::<Object>().as_ref() })
    }

    /// # Safety
    ///
    /// The caller holds the shard's lock exclusively, or owns the entry alone, during `'a`.
    pub(super) unsafe fn object_mut<'a>(&self) -> Option<&'a mut Object> {
        let header = self.header();
        let object = header.has_object().then(|| self.pointer(header.object_at()))?;
        // SAFETY: [entry-008] I-OBJECT: the caller is the only one who can reach the object.
        Some(unsafe { object.cast::<Object>().as_mut() })
    }

    /// Bytes of the entry and its object.
    ///
    /// # Safety
    ///
    /// As for [`object`](Self::object).
    #[inline]
    pub(super) unsafe fn total_bytes(&self) -> usize {
        if self.header().is_plain() {
            return self.alloc_bytes();
        }
        // SAFETY: [entry-009] I-OBJECT: the caller has the lock or the entry.
        let object = unsafe { self.object() };
        self.alloc_bytes() + object.map_or(0, object_bytes)
    }
}

/// Bytes of a boxed object with all that it holds.
pub(super) fn object_bytes(object: &Object) -> usize {
    footprint(size_of::<Object>()) + object.heap_bytes()
}

fn layout_of(size: usize) -> Layout {
    Layout::from_size_align(size, WORD).expect("entries are far smaller than the address space")
}

/// A counted reference to a large value.
pub struct SharedValue {
    owner: NonNull<u8>,
    value: NonNull<[u8]>,
}

// SAFETY: [entry-010] I-COUNT: the value is immutable, the count atomic, and the last owner may
// free from any thread.
unsafe impl Send for SharedValue {}
// SAFETY: [entry-011] I-COUNT: as above; a shared reference only reads.
unsafe impl Sync for SharedValue {}

impl AsRef<[u8]> for SharedValue {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: [entry-012] I-COUNT: we are among the owners.
        unsafe { self.value.as_ref() }
    }
}

impl Drop for SharedValue {
    fn drop(&mut self) {
        // SAFETY: [entry-013] I-COUNT: the reference that `share` counted is given back once.
        unsafe { release(self.owner) };
    }
}

/// Gives back one reference to a shared entry; the last one frees it.
///
/// # Safety
///
/// The caller owns the reference and forgets the entry.
unsafe fn release(ptr: NonNull<u8>) {
    // SAFETY: [entry-014] I-COUNT: the caller's reference keeps the entry until here.
    let entry = unsafe { EntryRef::from_raw(ptr) };
    // Release: pairs with the Acquire fence of the last owner, which frees after our reads.
    if entry.owner_count().fetch_sub(1, Ordering::Release) == 1 {
        fence(Ordering::Acquire);
        // SAFETY: [entry-015] I-COUNT: nobody else owns it.
        unsafe { deallocate(ptr) };
    }
}

/// Frees the allocation that an entry lies in, and nothing that it refers to.
///
/// # Safety
///
/// Nobody refers to the entry any more.
#[inline]
unsafe fn deallocate(ptr: NonNull<u8>) {
    // SAFETY: [entry-016] I-ENTRY: still whole; the caller is the last to look.
    let entry = unsafe { EntryRef::from_raw(ptr) };
    let header = entry.header();
    if let Some(class) = entry.class() {
        // SAFETY: [entry-043] I-SLAB: made by `Draft::allocate` for the size that the class is of.
        return unsafe { slab::free(ptr, class) };
    }
    let is_bulk = header.has(REMOTE | SHARED);
    let start = if is_bulk { entry.pointer(header.remote_at() + 1) } else { ptr };
    // SAFETY: [entry-017] I-ENTRY: made by `Draft::allocate` or by a bulk with this layout.
    unsafe { dealloc(start.as_ptr(), entry.layout()) };
}

/// Frees an entry with its object, or its part of a shared one.
///
/// # Safety
///
/// No pin can see the entry, and its object (if any) was not moved to another entry.
unsafe fn free_whole(ptr: *mut u8) {
    let Some(ptr) = NonNull::new(ptr) else { return };
    // SAFETY: [entry-018] I-ENTRY: not freed before here.
    let entry = unsafe { EntryRef::from_raw(ptr) };
    let header = entry.header();
    if header.has_object() {
        let object = entry.pointer(header.object_at()).cast::<Object>();
        // SAFETY: [entry-019] I-OBJECT: boxed by `NewEntry::object`, owned by this entry.
        drop(unsafe { Box::from_raw(object.as_ptr()) });
    }
    // SAFETY: [entry-020] I-ENTRY: the object is gone, the rest goes.
    unsafe { free_shell(ptr.as_ptr()) };
}

/// Frees an entry whose object was moved to another entry.
///
/// # Safety
///
/// No pin can see the entry.
#[inline]
unsafe fn free_shell(ptr: *mut u8) {
    let Some(ptr) = NonNull::new(ptr) else { return };
    // SAFETY: [entry-021] I-ENTRY: not freed before here.
    let entry = unsafe { EntryRef::from_raw(ptr) };
    let header = entry.header();
    if header.has(SHARED) {
        // SAFETY: [entry-022] I-COUNT: the table's own reference.
        unsafe { release(ptr) };
        return;
    }
    if header.has(REMOTE) {
        // SAFETY: [entry-023] I-COUNT: the reference that `NewEntry::moved` counted.
        unsafe { release(entry.owner().ptr) };
    }
    // SAFETY: [entry-024] I-ENTRY: no pin sees it, and it is not shared.
    unsafe { deallocate(ptr) };
}
