//! Freeing memory that readers may still look at: the only file that names crossbeam_epoch.
//!
//! A reader pins ([`pin`]) and may use what it finds until it drops the [`Pin`]. A writer first
//! makes something unreachable and then retires it ([`retire`]); it is freed once every pin that
//! is older than that has gone.
//!
//! ```text
//!   retire --> batch of this thread --> one deferred destruction --> freed
//!              64 items or 1 MiB        waits for older pins
//! ```
//!
//! Invariants:
//! - I-PIN: a batch is handed over after all of it was made unreachable, under a pin of its own;
//!   so a pin that could have found one of its items is older than the hand-over;
//! - bounded: what waits is at most the batches of the threads, and what was retired since the
//!   oldest pin began (two steps of the epoch later), as long as threads retire, flush or tick.
//!
//! crossbeam frees at most 8 bags per collection, and collects once in 128 pins. One deferred
//! destruction per item would therefore pile up without bound at full write speed; in batches,
//! with every batch in a bag of its own and a collection per batch, freeing is faster than
//! retiring by a factor of eight.
//!
//! Deliberately absent: what an item is. Its memory and its accounting are `drop_fn`'s affair.
//! Most tests are in `tests/reclaim.rs`: limbo is one for the whole process, so they need one of
//! their own.

use crate::limits::{COLLECT_STEPS, COLLECT_STEPS_IDLE, RETIRE_BATCH, RETIRE_BYTES};
use crossbeam_epoch::Guard;
use crossbeam_utils::CachePadded;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// While it lives, nothing that its thread could reach is freed. Cheap (a few ns), and not to be
/// held over a system call or a wait.
#[must_use = "what is read is protected only while the pin lives"]
pub struct Pin {
    _guard: Guard,
}

/// Pins the current thread. Pins nest; only the outermost costs anything.
#[inline]
pub fn pin() -> Pin {
    Pin { _guard: crossbeam_epoch::pin() }
}

/// Retires `ptr`: `drop_fn(ptr)` is called once no older pin is left, on whatever thread, and
/// `bytes` are counted as limbo until then.
///
/// # Safety
///
/// Nobody who pins from now on can find `ptr` (it was unlinked before), it is retired once, and
/// `drop_fn(ptr)` may be called by any thread at any later time. `drop_fn` does not panic.
pub unsafe fn retire(ptr: *mut u8, bytes: usize, drop_fn: unsafe fn(*mut u8)) {
    let item = Retired { ptr, bytes, drop_fn };
    let full = LIMBO.try_with(|limbo| limbo.add(item)).unwrap_or_else(|_| {
        // A thread that is at its end has no batch any more.
        HANDED_OVER.fetch_add(bytes, Relaxed);
        Some(Batch(vec![item]))
    });
    if let Some(batch) = full {
        batch.hand_over();
    }
}

/// Retires a value that readers do not reach by pointers of their own, but whose drop must wait
/// for them. It counts `bytes` until then.
pub fn retire_box<T: Send + 'static>(value: Box<T>, bytes: usize) {
    unsafe fn drop_box<T>(ptr: *mut u8) {
        // SAFETY: [sync-010] I-PIN: it was a `Box<T>`, and is taken back once.
        drop(unsafe { Box::from_raw(ptr.cast::<T>()) });
    }
    // SAFETY: [sync-011] I-PIN: the box is ours alone, and `Send` lets any thread drop it.
    unsafe { retire(Box::into_raw(value).cast(), bytes, drop_box::<T>) };
}

/// Hands over what this thread has retired. A worker calls it before it parks, so that nothing
/// lies in a sleeper's batch.
pub fn flush() {
    if let Some(batch) = LIMBO.try_with(Limbo::take).ok().flatten() {
        batch.hand_over();
    }
}

/// A tick: hands over and frees what can be freed, until nothing waits, nothing moves (a reader
/// is in the way, or another thread has a batch begun) or a bounded number of steps is done.
/// Returns the bytes that still wait. Useless, but harmless, under a pin of one's own.
pub fn collect() -> usize {
    flush();
    let mut waiting = limbo_bytes();
    let mut idle = 0;
    for _ in 0..COLLECT_STEPS {
        if waiting == 0 || idle == COLLECT_STEPS_IDLE {
            break;
        }
        // Each step moves the epoch on by one at most; an item is free after two.
        crossbeam_epoch::pin().flush();
        let now = limbo_bytes();
        idle = if now < waiting { 0 } else { idle + 1 };
        waiting = now;
    }
    waiting
}

/// Bytes retired and not yet freed, of all threads.
pub fn limbo_bytes() -> usize {
    // The threads' own first: a batch that is handed over meanwhile is counted twice, not never.
    let begun: usize = begun_batches().iter().map(|bytes| bytes.load(Relaxed)).sum();
    begun + HANDED_OVER.load(Relaxed)
}

/// Bytes in batches that were handed over and are not yet freed.
static HANDED_OVER: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(0));
/// For each thread that ever retired, the bytes in its batch. Each is written by its thread only.
static BEGUN: Mutex<Vec<Arc<CachePadded<AtomicUsize>>>> = Mutex::new(Vec::new());

thread_local! {
    static LIMBO: Limbo = Limbo::register();
}

fn begun_batches() -> MutexGuard<'static, Vec<Arc<CachePadded<AtomicUsize>>>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
struct Retired {
    ptr: *mut u8,
    bytes: usize,
    drop_fn: unsafe fn(*mut u8),
}

/// The batch that a thread has begun.
struct Limbo {
    items: RefCell<Vec<Retired>>,
    bytes: Arc<CachePadded<AtomicUsize>>,
}

impl Limbo {
    fn register() -> Limbo {
        let bytes = Arc::default();
        begun_batches().push(Arc::clone(&bytes));
        Limbo { items: RefCell::default(), bytes }
    }

    /// Adds an item; the batch if it is full now.
    fn add(&self, item: Retired) -> Option<Batch> {
        let mut items = self.items.borrow_mut();
        if items.capacity() == 0 {
            items.reserve_exact(RETIRE_BATCH);
        }
        items.push(item);
        // Relaxed, and no read-modify-write: only this thread writes, and it is a statistic.
        let bytes = self.bytes.load(Relaxed) + item.bytes;
        self.bytes.store(bytes, Relaxed);
        let full = items.len() >= RETIRE_BATCH || bytes >= RETIRE_BYTES;
        drop(items);
        if full { self.take() } else { None }
    }

    /// The batch, if there is anything in it.
    fn take(&self) -> Option<Batch> {
        let items = self.items.take();
        if items.is_empty() {
            return None;
        }
        HANDED_OVER.fetch_add(self.bytes.load(Relaxed), Relaxed);
        self.bytes.store(0, Relaxed);
        Some(Batch(items))
    }
}

impl Drop for Limbo {
    fn drop(&mut self) {
        if let Some(batch) = self.take() {
            batch.hand_over();
        }
        begun_batches().retain(|bytes| !Arc::ptr_eq(bytes, &self.bytes));
    }
}

/// Items that are freed together.
struct Batch(Vec<Retired>);

// SAFETY: [sync-007] I-PIN: `retire` demands that any thread may call `drop_fn`.
unsafe impl Send for Batch {}

impl Batch {
    fn hand_over(self) {
        let guard = crossbeam_epoch::pin();
        // SAFETY: [sync-008] I-PIN: all items were unlinked before; the closure owns what it
        // touches and may run on any thread.
        unsafe { guard.defer_unchecked(move || self.free()) };
        // A bag of its own for each batch, and a collection with it: see the top of the file.
        guard.flush();
    }

    fn free(self) {
        let mut bytes = 0;
        for item in self.0 {
            // SAFETY: [sync-009] I-PIN: no older pin is left, and `retire` was told once.
            unsafe { (item.drop_fn)(item.ptr) };
            bytes += item.bytes;
        }
        HANDED_OVER.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};

    const ALIVE: u64 = 0x5afe_5afe_5afe_5afe;
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    fn new_item() -> *mut u64 {
        Box::into_raw(Box::new(ALIVE))
    }

    unsafe fn drop_item(ptr: *mut u8) {
        let item = ptr.cast::<u64>();
        // SAFETY: [sync-012] I-PIN: nobody else looks at it any more.
        let was = unsafe { std::ptr::replace(item, 0) };
        assert_eq!(was, ALIVE, "dropped twice");
        // SAFETY: [sync-013] I-PIN: it was a box, and is taken back once.
        drop(unsafe { Box::from_raw(std::hint::black_box(item)) });
        DROPPED.fetch_add(1, Relaxed);
    }

    /// Puts `by` in the place of an item and retires that.
    fn replace(place: &AtomicPtr<u64>, by: *mut u64) {
        let old = place.swap(by, AcqRel);
        // SAFETY: [sync-014] I-PIN: nobody finds it any more, and one thread swapped it out.
        unsafe { retire(old.cast(), size_of::<u64>(), drop_item) };
    }

    #[test]
    fn readers_never_see_freed_memory() {
        let rounds = if cfg!(miri) { 300 } else { 100_000 };
        let place = AtomicPtr::new(new_item());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        let _pin = pin();
                        let item = place.load(Acquire);
                        for _ in 0..4 {
                            // SAFETY: [sync-015] I-PIN: found under the pin above.
                            let item = unsafe { std::ptr::read_volatile(item) };
                            assert_eq!(item, ALIVE, "a reader saw freed memory");
                        }
                    }
                });
            }
            let write = || (0..rounds).for_each(|_| replace(&place, new_item()));
            let writers = [scope.spawn(write), scope.spawn(write)];
            for writer in writers {
                writer.join().expect("a writer does not panic");
            }
            done.store(true, Relaxed);
        });
        replace(&place, std::ptr::null_mut());
        while DROPPED.load(Relaxed) < 2 * rounds + 1 {
            // Tests beside this one pin and retire too, so limbo is not looked at here.
            collect();
            std::thread::yield_now();
        }
    }
}
