//! A bounded queue of 64-bit words for many pushers and many poppers, without a lock.
//!
//! Each slot carries a sequence number that says whose turn it is. A position (counting up
//! for ever) is claimed by a compare-and-swap on `tail` or `head`; the slot's own number then
//! hands it to and fro:
//!
//! ```text
//!   position p, slot p & mask:   seq == p        free, may be pushed at p
//!                                seq == p + 1    holds a value, may be popped at p
//!                                seq == p + cap  free again, for the next lap
//! ```
//!
//! Invariants:
//! - a value pushed is popped exactly once; the pops see the pushes of one thread in order;
//! - whatever a thread wrote before `push` is visible to the thread that pops the value;
//! - `push` refuses only if `capacity` values really lie in the ring. So where every value is
//!   in the ring at most once and there are at most `capacity` of them, a push cannot fail.
//!
//! The payload is an `AtomicU64`: no unsafe code, and a racing access would be a wrong value in a
//! test, not undefined behaviour.
//!
//! Deliberately absent: waiting for a value (see [`super::park`]) and ownership of what the
//! word refers to (see [`super::turn`]).

use super::primitive::{AtomicU64, Backoff, Ordering, Site, ordering};
use Ordering::{Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;

/// The queue.
pub struct Ring {
    /// Next position to push at.
    tail: CachePadded<AtomicU64>,
    /// Next position to pop from.
    head: CachePadded<AtomicU64>,
    slots: Box<[Slot]>,
}

struct Slot {
    seq: AtomicU64,
    value: AtomicU64,
}

impl Ring {
    /// A ring of `capacity` places: a power of two, at least 2 (our own bug otherwise).
    pub fn with_capacity(capacity: usize) -> Ring {
        assert!(capacity.is_power_of_two(), "positions are mapped to slots by a mask");
        assert!(capacity >= 2, "with one slot, full and free have the same sequence number");
        let slot = |seq| Slot { seq: AtomicU64::new(seq), value: AtomicU64::new(0) };
        Ring {
            tail: CachePadded::new(AtomicU64::new(0)),
            head: CachePadded::new(AtomicU64::new(0)),
            slots: (0..capacity as u64).map(slot).collect(),
        }
    }

    /// Appends `value`, or gives it back if the ring is full.
    ///
    /// A pop that has claimed its slot and was then interrupted can hold up the push that comes
    /// a whole lap later. That push waits for it: to call the ring full would be a lie.
    pub fn push(&self, value: u64) -> Result<(), u64> {
        let backoff = Backoff::new();
        // Acquire: pairs with the claim below, for the exactness of `is_full`.
        let mut tail = self.tail.load(Acquire);
        loop {
            let slot = self.slot(tail);
            // Acquire: pairs with the Release in `pop`; our value must not overtake its load.
            let lap = slot.seq.load(Acquire).wrapping_sub(tail) as i64;
            if lap == 0 {
                // Release, Acquire: a pusher that sees this claim sees the pops that came before
                // it, so it does not count a value twice, once popped and once pushed again.
                let claim = ordering(Site::RingClaim, Release);
                match self.tail.compare_exchange_weak(tail, tail + 1, claim, Acquire) {
                    Ok(_) => {
                        slot.value.store(value, Relaxed);
                        // Release: pairs with the Acquire in `pop`.
                        slot.seq.store(tail + 1, ordering(Site::RingPublish, Release));
                        return Ok(());
                    }
                    Err(now) => {
                        backoff.spin();
                        tail = now;
                        continue;
                    }
                }
            }
            if lap < 0 {
                if self.is_full(tail) {
                    return Err(value);
                }
                backoff.snooze();
            }
            tail = self.tail.load(Acquire);
        }
    }

    /// Takes the oldest value.
    ///
    /// `None` means: nothing, or the oldest push is still under way. Who pushes therefore looks
    /// for a sleeper after the push ([`super::park::Parker::should_wake`]), and never before it.
    pub fn pop(&self) -> Option<u64> {
        let backoff = Backoff::new();
        let mut head = self.head.load(Relaxed);
        loop {
            let slot = self.slot(head);
            // Acquire: pairs with the Release in `push`.
            let lap = slot.seq.load(Acquire).wrapping_sub(head + 1) as i64;
            if lap < 0 {
                return None;
            }
            if lap > 0 {
                head = self.head.load(Relaxed);
                continue;
            }
            // Relaxed: the slot's sequence number carries the value; the claim only counts.
            match self.head.compare_exchange_weak(head, head + 1, Relaxed, Relaxed) {
                Ok(_) => {
                    let value = slot.value.load(Relaxed);
                    // Release: pairs with the Acquire in `push`, one lap later.
                    let free = head + self.slots.len() as u64;
                    slot.seq.store(free, Release);
                    return Some(value);
                }
                Err(now) => {
                    backoff.spin();
                    head = now;
                }
            }
        }
    }

    /// Places in all.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Values in the ring, those of half-done pushes included; exact only when nobody is at work.
    #[inline]
    pub fn len(&self) -> usize {
        // Head first: values may come in between, but none is counted that was popped before.
        let head = self.head.load(Relaxed);
        let tail = self.tail.load(Relaxed);
        (tail.saturating_sub(head) as usize).min(self.slots.len())
    }

    /// True if no push is claimed that is not popped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn slot(&self, position: u64) -> &Slot {
        &self.slots[position as usize & (self.slots.len() - 1)]
    }

    /// Whether every slot of the lap before `tail` still holds a value that nobody has claimed.
    #[cold]
    fn is_full(&self, tail: u64) -> bool {
        tail - self.head.load(Relaxed).min(tail) >= self.slots.len() as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering as O};

    #[test]
    fn order_is_kept_and_full_is_exact_over_many_laps() {
        let ring = Ring::with_capacity(8);
        for lap in 0..100u64 {
            for i in 0..8 {
                assert_eq!(ring.push(lap * 8 + i), Ok(()));
            }
            assert_eq!(ring.push(99), Err(99));
            assert_eq!(ring.len(), 8);
            for i in 0..8 {
                assert_eq!(ring.pop(), Some(lap * 8 + i));
            }
            assert_eq!(ring.pop(), None);
            assert!(ring.is_empty());
        }
    }

    #[test]
    fn every_value_is_popped_once_and_in_order_per_pusher() {
        const PUSHERS: u64 = 3;
        let each: u64 = if cfg!(miri) { 50 } else { 20_000 };
        for capacity in [2, 4, 1024] {
            let ring = Ring::with_capacity(capacity);
            let popped = AtomicUsize::new(0);
            let total = (PUSHERS * each) as usize;
            std::thread::scope(|scope| {
                for pusher in 0..PUSHERS {
                    let ring = &ring;
                    scope.spawn(move || {
                        for i in 0..each {
                            while ring.push(pusher << 32 | i).is_err() {
                                std::thread::yield_now();
                            }
                        }
                    });
                }
                let poppers: Vec<_> = (0..3)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut seen = Vec::new();
                            while popped.load(O::Relaxed) < total {
                                match ring.pop() {
                                    Some(value) => {
                                        popped.fetch_add(1, O::Relaxed);
                                        seen.push(value);
                                    }
                                    None => std::thread::yield_now(),
                                }
                            }
                            seen
                        })
                    })
                    .collect();
                let mut all = Vec::new();
                for popper in poppers {
                    let seen = popper.join().expect("a popper does not panic");
                    for pusher in 0..PUSHERS {
                        let of_one = seen.iter().filter(|value| *value >> 32 == pusher);
                        assert!(of_one.is_sorted(), "a popper saw a pusher's values out of order");
                    }
                    all.extend(seen);
                }
                all.sort_unstable();
                let want = (0..PUSHERS).flat_map(|p| (0..each).map(move |i| p << 32 | i));
                assert!(all.into_iter().eq(want), "a value was lost or doubled");
            });
        }
    }

    #[test]
    fn a_push_cannot_fail_while_there_are_no_more_values_than_places() {
        // As with connections: a value is pushed again only by who popped it.
        let rounds = if cfg!(miri) { 50 } else { 50_000 };
        let ring = Ring::with_capacity(4);
        for value in 0..4 {
            ring.push(value).expect("there are as many places as values");
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        if let Some(value) = ring.pop() {
                            ring.push(value).expect("the value's own place is free");
                        }
                    }
                });
            }
        });
        assert_eq!(ring.len(), 4);
    }
}
