//! Reclamation: nothing is freed too early, all is freed in the end, and limbo is bounded.
//!
//! Limbo is one for the whole process, so the tests here take turns.

use dse::limits::{RETIRE_BATCH, RETIRE_BYTES};
use dse::sync::reclaim;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());
static FREED: AtomicUsize = AtomicUsize::new(0);

/// Counts itself when it is freed, and fails if that happens twice.
struct Item([u64; 8]);

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.0, [7; 8], "freed twice");
        self.0 = [0; 8];
        FREED.fetch_add(1, Relaxed);
    }
}

fn retire_new(bytes: usize) {
    reclaim::retire_box(Box::new(Item([7; 8])), bytes);
}

fn take_turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    collect_all();
    FREED.store(0, Relaxed);
    turn
}

/// Ticks until nothing waits. Fails if that does not come about.
fn collect_all() {
    for _ in 0..10_000 {
        if reclaim::collect() == 0 {
            return;
        }
        // A thread of an earlier test may be at its end and still have its batch.
        std::thread::yield_now();
    }
    panic!("{} bytes stay in limbo", reclaim::limbo_bytes());
}

#[test]
fn a_stalled_reader_holds_what_was_retired_and_no_more() {
    let _turn = take_turn();
    let (count, bytes) = (if cfg!(miri) { 300 } else { 20_000 }, size_of::<Item>());
    let (pinned, leave) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let pin = reclaim::pin();
            pinned.wait();
            leave.wait();
            drop(pin);
        });
        pinned.wait();
        for done in 1..=count {
            retire_new(bytes);
            assert_eq!(reclaim::limbo_bytes(), done * bytes);
        }
        assert_eq!(reclaim::collect(), count * bytes, "the reader could see all of it");
        assert_eq!(FREED.load(Relaxed), 0);
        leave.wait();
    });
    collect_all();
    assert_eq!(FREED.load(Relaxed), count);
}

#[test]
fn limbo_stays_small_at_full_write_speed() {
    // One deferred destruction per item went from 22 to 336 MB here.
    let _turn = take_turn();
    let (count, bytes) = (if cfg!(miri) { 2_000 } else { 3_000_000 }, size_of::<Item>());
    let mut largest = 0;
    for _ in 0..count {
        // As a writer does it: pinned while it looks for the place.
        let pin = reclaim::pin();
        retire_new(bytes);
        drop(pin);
        largest = largest.max(reclaim::limbo_bytes());
    }
    let bound = 16 * RETIRE_BATCH * bytes;
    assert!(largest <= bound, "{largest} bytes of limbo, {bound} allowed");
    collect_all();
    assert_eq!(FREED.load(Relaxed), count);
}

#[test]
fn a_batch_is_handed_over_when_it_is_full_by_count_or_by_bytes() {
    let _turn = take_turn();
    let collect_elsewhere = || {
        // Another thread cannot reach our batch, only what was handed over.
        std::thread::scope(|scope| scope.spawn(reclaim::collect).join()).expect("no panic")
    };
    for _ in 0..RETIRE_BATCH - 1 {
        retire_new(1);
    }
    assert_eq!(collect_elsewhere(), RETIRE_BATCH - 1, "a batch begun is not handed over");
    assert_eq!(FREED.load(Relaxed), 0);
    retire_new(1);
    while collect_elsewhere() != 0 {}
    assert_eq!(FREED.load(Relaxed), RETIRE_BATCH);

    retire_new(RETIRE_BYTES - 1);
    assert_eq!(collect_elsewhere(), RETIRE_BYTES - 1);
    retire_new(1);
    while collect_elsewhere() != 0 {}
    assert_eq!(FREED.load(Relaxed), RETIRE_BATCH + 2);

    retire_new(5);
    reclaim::flush();
    while collect_elsewhere() != 0 {}
    assert_eq!(FREED.load(Relaxed), RETIRE_BATCH + 3);
}

#[test]
fn a_thread_that_ends_leaves_nothing_behind() {
    let _turn = take_turn();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..RETIRE_BATCH + 5).for_each(|_| retire_new(10)));
    });
    collect_all();
    assert_eq!(FREED.load(Relaxed), RETIRE_BATCH + 5);
}

#[test]
fn freeing_an_item_may_retire_others() {
    struct Parent;
    impl Drop for Parent {
        fn drop(&mut self) {
            (0..2 * RETIRE_BATCH).for_each(|_| retire_new(8));
        }
    }
    let _turn = take_turn();
    for _ in 0..10 {
        reclaim::retire_box(Box::new(Parent), 8);
    }
    collect_all();
    assert_eq!(FREED.load(Relaxed), 20 * RETIRE_BATCH);
}

#[test]
fn a_tick_under_a_pin_of_ones_own_comes_back() {
    let _turn = take_turn();
    let pin = reclaim::pin();
    retire_new(100);
    assert_eq!(reclaim::collect(), 100);
    drop(pin);
    collect_all();
    assert_eq!(FREED.load(Relaxed), 1);
}
