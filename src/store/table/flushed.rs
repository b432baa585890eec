#![allow(unsafe_code)]
//! A table that was unlinked by FLUSHDB: its entries are retired in slices, so that nobody has to
//! free a whole database at once.

use super::{Access, Table, View};
use crate::limits::FLUSH_SEGMENT_PRICE;
use crate::store::entry::Unlinked;
use crate::store::footprint::footprint;
use crate::store::slab::{SEGMENT_BYTES, free_segments_now, retire_segments};
use crate::sync::reclaim;
use std::ptr::NonNull;

/// The table, and the position in hash order from which it is still whole.
pub struct Flushed {
    table: NonNull<Table>,
    next: Option<u64>,
}

// SAFETY: [table-013] I-LOCK: it lies under the shard's lock, which moves between threads.
unsafe impl Send for Flushed {}

impl Flushed {
    /// Takes over a table that was just unlinked.
    pub fn new(table: NonNull<Table>) -> Flushed {
        Flushed { table, next: Some(0) }
    }

    fn table<'a>(&self) -> (&'a Table, Access<'a>) {
        // SAFETY: [table-014] I-LOCK: retired last, by `retire_some` or `free_now`.
        let access = unsafe { Access::locked() };
        // SAFETY: [table-015] I-LOCK: as above.
        (unsafe { &*self.table.as_ptr() }, access)
    }

    /// Retires entries and segments until `budget` is used up; whether that was all, and how many
    /// bytes they had.
    pub fn retire_some(&mut self, budget: &mut usize) -> (bool, usize) {
        let (table, access) = self.table();
        let mut bytes = 0;
        while let Some(start) = self.next {
            if *budget == 0 {
                return (false, bytes);
            }
            let view = View::of(table, access, start);
            let mut price = FLUSH_SEGMENT_PRICE;
            view.prefetch_all();
            for entry in view.all() {
                // SAFETY: [table-016] I-PIN: no new pin reaches the table; each entry lies in one
                // slot, and a position is passed once.
                let entry = unsafe { Unlinked::new(entry) };
                bytes += entry.total_bytes();
                price += 1;
            }
            self.next = view.next();
            // SAFETY: [table-017] I-PIN: as above, and it is not looked at again.
            bytes += unsafe { retire_segments(view.segment()) } * SEGMENT_BYTES;
            *budget = budget.saturating_sub(price);
        }
        let directory = table.root.directory(access);
        bytes += directory.bytes() + size_of::<Table>();
        // SAFETY: [table-018] I-PIN: as above; all segments are retired.
        unsafe { table.root.retire(directory) };
        let size = footprint(size_of::<Table>());
        // SAFETY: [table-019] I-PIN: as above; this is the last thing done with it.
        unsafe { reclaim::retire(self.table.as_ptr().cast(), size, free_table) };
        (true, bytes)
    }

    /// Frees everything at once.
    ///
    /// # Safety
    ///
    /// The whole store is being dropped.
    pub unsafe fn free_now(self) {
        let (table, access) = self.table();
        let mut next = self.next;
        while let Some(start) = next {
            let view = View::of(table, access, start);
            for entry in view.all() {
                // SAFETY: [table-020] I-LOCK: the caller has everything alone.
                let entry = unsafe { Unlinked::new(entry) };
                // SAFETY: [table-021] I-LOCK: as above.
                unsafe { entry.free_now() };
            }
            next = view.next();
            // SAFETY: [table-022] I-LOCK: as above, and it is not looked at again.
            unsafe { free_segments_now(view.segment().segment) };
        }
        // SAFETY: [table-023] I-LOCK: as above.
        unsafe { table.root.free_now() };
        // SAFETY: [table-024] I-LOCK: as above.
        unsafe { free_table(self.table.as_ptr().cast()) };
    }
}

/// # Safety
///
/// A boxed table that nobody can see, without its directory.
unsafe fn free_table(ptr: *mut u8) {
    // SAFETY: [table-025] I-PIN: the caller has it alone.
    drop(unsafe { Box::from_raw(ptr.cast::<Table>()) });
}
