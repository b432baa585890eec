//! A position that only goes forward, published by few and read by many.
//!
//! Invariant: [`Watermark::get`] never returns less than an earlier `get` of the same thread, and
//! whatever was written before `advance(to)` is visible to whoever reads `to` or more.
//!
//! Deliberately absent: who waits for it. Loops look after their eventfd fired.

use super::primitive::{AtomicU64, Ordering};
use Ordering::{Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;

/// A monotonic position, on a cache line of its own.
#[derive(Debug, Default)]
pub struct Watermark(CachePadded<AtomicU64>);

impl Watermark {
    /// Starts at `position`.
    pub fn new(position: u64) -> Watermark {
        Watermark(CachePadded::new(AtomicU64::new(position)))
    }

    /// The position.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // Acquire: pairs with the Release in `advance`.
        self.0.load(Acquire)
    }

    /// Moves forward to `to`; true if that was forward. A position behind is ignored.
    pub fn advance(&self, to: u64) -> bool {
        // Relaxed: a look that spares the write; if it is out of date, the maximum decides.
        if self.0.load(Relaxed) >= to {
            return false;
        }
        // Release: pairs with the Acquire in `get`.
        self.0.fetch_max(to, Release) < to
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let mark = Watermark::new(5);
        assert!(!mark.advance(4));
        assert!(!mark.advance(5));
        assert!(mark.advance(9));
        assert_eq!(mark.get(), 9);
    }

    #[test]
    fn of_many_advances_the_largest_stays() {
        let rounds: u64 = if cfg!(miri) { 50 } else { 20_000 };
        let mark = Watermark::default();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let mark = &mark;
                scope.spawn(move || {
                    let mut last = 0;
                    for i in 0..rounds {
                        mark.advance(i * 3 + thread);
                        let now = mark.get();
                        assert!(now >= last.max(i * 3 + thread));
                        last = now;
                    }
                });
            }
        });
        assert_eq!(mark.get(), (rounds - 1) * 3 + 2);
    }
}
