#![allow(unsafe_code)]
//! Making entries, and giving them up: the owners of an entry before and after its publication.
//!
//! ```text
//!   NewEntry --publish--> (a table's slot) --unlink--> Unlinked --drop--> retired --> freed
//! ```
//!
//! Deliberately absent: publication itself.

use super::{
    DEADLINE, EntryRef, Header, Kind, LONG_KEY, RAW, REMOTE, SHARED, WORD, free_shell, free_whole,
    layout_of,
};
use crate::limits::{ENTRY_SHARED_MIN, LARGE_HEADROOM};
use crate::store::objects::Object;
use crate::store::slab::{self, Class};
use crate::sync::reclaim;
use crate::sys::bulk::BulkBuf;
use std::alloc::{alloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// An allocation that is being filled; all writes are checked.
struct Draft {
    ptr: NonNull<u8>,
    size: usize,
}

impl Draft {
    #[inline]
    fn allocate(size: usize) -> Draft {
        let ptr = match Class::of(size) {
            Some(class) => slab::allocate(class),
            // SAFETY: [entry-025] I-ENTRY: an entry has at least its header.
            None => NonNull::new(unsafe { alloc(layout_of(size)) }),
        };
        let Some(ptr) = ptr else { handle_alloc_error(layout_of(size)) };
        Draft { ptr, size }
    }

    #[inline]
    fn at(&mut self, offset: usize, len: usize) -> *mut u8 {
        assert!(len <= self.size && offset <= self.size - len, "outside the entry");
        // SAFETY: [entry-026] I-ENTRY: just checked.
        unsafe { self.ptr.as_ptr().add(offset) }
    }

    #[inline]
    fn word(&mut self, index: usize, value: u64) {
        let at = self.at(index * WORD, WORD).cast::<u64>();
        // SAFETY: [entry-027] I-ENTRY: aligned, inside, and nobody else knows the allocation.
        unsafe { at.write(value) };
    }

    fn pointer(&mut self, index: usize, value: NonNull<u8>) {
        let at = self.at(index * WORD, WORD).cast::<NonNull<u8>>();
        // SAFETY: [entry-028] I-ENTRY: aligned, inside, and nobody else knows the allocation.
        unsafe { at.write(value) };
    }

    #[inline]
    fn bytes(&mut self, offset: usize, bytes: &[u8]) {
        let at = self.at(offset, bytes.len());
        // SAFETY: [entry-029] I-ENTRY: inside, and `bytes` cannot lie in what nobody else knows.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Header, the words of deadline, long key and count, and the key.
    fn front(&mut self, header: Header, key: &[u8], deadline: Option<u64>) {
        self.word(0, header.0);
        if let Some(deadline) = deadline {
            self.word(1, deadline);
        }
        if header.has(LONG_KEY) {
            self.word(1 + header.count(DEADLINE), key.len() as u64);
        }
        if header.has(SHARED) {
            self.word(header.count_at(), 1);
        }
        self.bytes(header.key_at(), key);
    }

    fn finish(self) -> NewEntry {
        NewEntry { ptr: self.ptr }
    }
}

fn flag(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// Header and seven words at most stand before the key, and alignment loses less than a word.
const _: () = assert!(LARGE_HEADROOM >= 8 * WORD);

/// An entry that is not published yet; dropping it frees it.
pub(in crate::store) struct NewEntry {
    ptr: NonNull<u8>,
}

impl NewEntry {
    /// A short string without a deadline, copied; last seen in use at `used`.
    #[inline]
    pub fn plain(key: &[u8], value: &[u8], used: u16) -> NewEntry {
        let header = Header::new(Kind::String, 0, key.len(), value.len()).with_used(used);
        let size = WORD + key.len() + value.len();
        if !header.is_plain() || size >= ENTRY_SHARED_MIN {
            let entry = NewEntry::string(key, &[value], false, None);
            entry.as_ref().set_used(used);
            return entry;
        }
        let mut draft = Draft::allocate(size);
        draft.word(0, header.0);
        draft.bytes(WORD, key);
        draft.bytes(WORD + key.len(), value);
        draft.finish()
    }

    /// A string, copied from `pieces`.
    pub fn string(key: &[u8], pieces: &[&[u8]], raw: bool, deadline: Option<u64>) -> NewEntry {
        let value_len = pieces.iter().map(|piece| piece.len()).sum();
        let flags = flag(raw, RAW) | flag(deadline.is_some(), DEADLINE);
        let plain = Header::new(Kind::String, flags, key.len(), value_len);
        let shared = plain.key_at() + key.len() + value_len >= ENTRY_SHARED_MIN;
        let header = Header(plain.0 | flag(shared, SHARED));
        let mut offset = header.key_at() + key.len();
        let mut draft = Draft::allocate(offset + value_len);
        draft.front(header, key, deadline);
        for piece in pieces {
            draft.bytes(offset, piece);
            offset += piece.len();
        }
        draft.finish()
    }

    /// A collection.
    pub fn object(key: &[u8], object: Object, deadline: Option<u64>) -> NewEntry {
        let kind = object.kind();
        NewEntry::shell(key, kind, NonNull::from(Box::leak(Box::new(object))), deadline)
    }

    fn shell(key: &[u8], kind: Kind, object: NonNull<Object>, deadline: Option<u64>) -> NewEntry {
        let header = Header::new(kind, flag(deadline.is_some(), DEADLINE), key.len(), 0);
        let mut draft = Draft::allocate(header.key_at() + key.len());
        draft.front(header, key, deadline);
        draft.pointer(header.object_at(), object.cast());
        draft.finish()
    }

    /// A received bulk; made where it lies if its head room allows, else copied.
    pub fn bulk(key: &[u8], bulk: BulkBuf, deadline: Option<u64>) -> NewEntry {
        let flags = SHARED | REMOTE | flag(deadline.is_some(), DEADLINE);
        let header = Header::new(Kind::String, flags, key.len(), bulk.target_len());
        let front_len = header.key_at() + key.len();
        let fits = bulk.headroom() >= front_len && bulk.target_len() >= ENTRY_SHARED_MIN;
        let start = bulk.headroom().saturating_sub(front_len) / WORD * WORD;
        if !fits || !bulk.is_full() {
            return NewEntry::string(key, &[bulk.filled()], false, deadline);
        }
        let (base, headroom, _, layout) = bulk.into_raw();
        debug_assert_eq!(layout.align(), WORD);
        // SAFETY: [entry-030] I-ENTRY: `start` and the head room lie inside the allocation.
        let ptr = unsafe { base.add(start) };
        // SAFETY: [entry-031] I-ENTRY: as above.
        let value = unsafe { base.add(headroom) };
        let mut draft = Draft { ptr, size: headroom - start };
        draft.front(header, key, deadline);
        draft.pointer(header.remote_at(), value);
        draft.pointer(header.remote_at() + 1, base);
        draft.word(header.remote_at() + 2, layout.size() as u64);
        draft.finish()
    }

    /// The value of `old` under another key or deadline. A collection's object is moved, a large
    /// value is shared, a small one copied.
    ///
    /// # Safety
    ///
    /// `old` becomes a [`Moved`], and its object is left alone.
    pub unsafe fn moved(old: EntryRef<'_>, key: &[u8], deadline: Option<u64>) -> NewEntry {
        let header = old.header();
        if header.has_object() {
            let object = old.pointer(header.object_at()).cast();
            return NewEntry::shell(key, header.kind(), object, deadline);
        }
        let Some(shared) = old.share() else {
            return NewEntry::string(key, &[old.value()], header.has(RAW), deadline);
        };
        // The reference that `share` counted now belongs to the new entry.
        let shared = ManuallyDrop::new(shared);
        let flags = header.0 & RAW | REMOTE | flag(deadline.is_some(), DEADLINE);
        let header = Header::new(Kind::String, flags, key.len(), header.value_len());
        let mut draft = Draft::allocate(header.key_at() + key.len());
        draft.front(header, key, deadline);
        draft.pointer(header.remote_at(), shared.value.cast());
        draft.pointer(header.remote_at() + 1, shared.owner);
        draft.finish()
    }

    /// The entry, to look at before it is published.
    pub fn as_ref(&self) -> EntryRef<'_> {
        // SAFETY: [entry-032] I-ENTRY: complete, and ours.
        unsafe { EntryRef::from_raw(self.ptr) }
    }

    /// Bytes of the entry and its object.
    pub fn total_bytes(&self) -> usize {
        // SAFETY: [entry-033] I-OBJECT: nobody else knows the entry.
        unsafe { self.as_ref().total_bytes() }
    }

    /// Gives the entry to a table.
    pub fn publish(self) -> NonNull<u8> {
        ManuallyDrop::new(self).ptr
    }
}

impl Drop for NewEntry {
    fn drop(&mut self) {
        // SAFETY: [entry-034] I-ENTRY: never published, so nobody else knows it.
        unsafe { free_whole(self.ptr.as_ptr()) };
    }
}

/// An entry that no table refers to any more; dropping it retires it with all that it holds.
pub(in crate::store) struct Unlinked {
    ptr: NonNull<u8>,
}

impl Unlinked {
    /// # Safety
    ///
    /// The entry was unlinked from its only table under the lock, and this is done once.
    pub unsafe fn new(entry: EntryRef<'_>) -> Unlinked {
        Unlinked { ptr: entry.ptr }
    }

    /// The entry, to look at before it is retired.
    pub fn as_ref(&self) -> EntryRef<'_> {
        // SAFETY: [entry-035] I-PIN: freed only after it is retired, which takes `self`.
        unsafe { EntryRef::from_raw(self.ptr) }
    }

    /// Bytes of the entry and its object.
    pub fn total_bytes(&self) -> usize {
        // SAFETY: [entry-036] I-OBJECT: readers do not touch objects, and no writer finds it.
        unsafe { self.as_ref().total_bytes() }
    }

    /// A new entry with the same value, and what is left of this one.
    pub fn rehome(self, key: &[u8], deadline: Option<u64>) -> (NewEntry, Moved) {
        // SAFETY: [entry-037] I-OBJECT: this one becomes a `Moved` in the next line.
        let new = unsafe { NewEntry::moved(self.as_ref(), key, deadline) };
        (new, self.moved())
    }

    /// The entry after its value went to another one.
    pub fn moved(self) -> Moved {
        Moved { ptr: ManuallyDrop::new(self).ptr }
    }

    /// Frees at once, when there can be no reader.
    ///
    /// # Safety
    ///
    /// The whole store is being dropped.
    pub unsafe fn free_now(self) {
        // SAFETY: [entry-039] I-ENTRY: the caller owns everything.
        unsafe { free_whole(ManuallyDrop::new(self).ptr.as_ptr()) };
    }
}

impl Drop for Unlinked {
    fn drop(&mut self) {
        let bytes = self.total_bytes();
        // SAFETY: [entry-040] I-PIN: unlinked, and retired only here.
        unsafe { reclaim::retire(self.ptr.as_ptr(), bytes, free_whole) };
    }
}

/// An unlinked entry whose value went to another one; dropping it retires what is left.
pub(in crate::store) struct Moved {
    ptr: NonNull<u8>,
}

impl Drop for Moved {
    fn drop(&mut self) {
        // SAFETY: [entry-041] I-PIN: retired only here.
        let entry = unsafe { EntryRef::from_raw(self.ptr) };
        // SAFETY: [entry-038] I-PIN: unlinked, and its object (if any) has another owner.
        unsafe { reclaim::retire(self.ptr.as_ptr(), entry.alloc_bytes(), free_shell) };
    }
}
