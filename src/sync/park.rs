//! Going to sleep without missing work.
//!
//! A worker sleeps in its own `epoll_wait`; who pushes to the ring writes the worker's eventfd
//! only if it sleeps or is about to. Both sides first announce and then look:
//!
//! ```text
//!   worker                              pusher
//!   idle flag up                        push to the ring
//!   fence                               fence
//!   last look at the ring               look at the idle flag
//!   something: cancel; else sleep       up: claim it; who claimed writes the eventfd
//! ```
//!
//! The two fences are totally ordered. If the worker's comes first, the pusher sees the flag; if
//! the pusher's comes first, the worker sees the push. So never both look in vain. The claim is a
//! compare-and-swap, so that of many pushers one pays for the system call.
//!
//! An eventfd written for a worker that did not sleep after all costs one empty round, no more.

use super::primitive::{AtomicU32, Ordering, Site, fence, skips};
use Ordering::{Relaxed, SeqCst};
use crossbeam_utils::CachePadded;

const BUSY: u32 = 0;
const IDLE: u32 = 1;

/// The idle flag of one worker, on a cache line of its own.
#[derive(Debug, Default)]
pub struct Parker {
    state: CachePadded<AtomicU32>,
}

impl Parker {
    /// A worker that is busy.
    pub fn new() -> Parker {
        Parker::default()
    }

    /// The worker means to sleep. It must now look at the ring once more, and only then sleep.
    pub fn prepare_park(&self) {
        self.state.store(IDLE, Relaxed);
        if !skips(Site::ParkFence) {
            // SeqCst: pairs with the fence in `should_wake` and `wake_one`.
            fence(SeqCst);
        }
    }

    /// The worker is awake: the last look found something, or the sleep is over. True if somebody
    /// had claimed the wake-up (its eventfd is or will be written).
    pub fn cancel(&self) -> bool {
        // Relaxed: the flag carries no data; the ring does.
        self.state.swap(BUSY, Relaxed) == BUSY
    }

    /// After a push: whether the caller must write this worker's eventfd.
    pub fn should_wake(&self) -> bool {
        if !skips(Site::WakeFence) {
            // SeqCst: pairs with the fence in `prepare_park`.
            fence(SeqCst);
        }
        self.claim()
    }

    /// Whether the worker sleeps or is about to; a hint.
    pub fn is_idle(&self) -> bool {
        self.state.load(Relaxed) == IDLE
    }

    fn claim(&self) -> bool {
        self.is_idle() && self.state.compare_exchange(IDLE, BUSY, Relaxed, Relaxed).is_ok()
    }
}

/// After pushes: the index of one idle worker of `parkers` whose eventfd the caller must write,
/// the first in order. One fence for all of them.
pub fn wake_one<'a>(parkers: impl IntoIterator<Item = &'a Parker>) -> Option<usize> {
    // SeqCst: pairs with the fence in `prepare_park`.
    fence(SeqCst);
    parkers.into_iter().position(Parker::claim)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::ring::Ring;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn one_of_many_claims_the_wake_up() {
        let parkers = [Parker::new(), Parker::new(), Parker::new()];
        assert_eq!(wake_one(&parkers), None);
        assert!(!parkers[1].should_wake());
        parkers[1].prepare_park();
        parkers[2].prepare_park();
        assert_eq!(wake_one(&parkers), Some(1));
        assert!(!parkers[1].should_wake());
        assert!(parkers[1].cancel(), "it was claimed");
        assert!(!parkers[2].cancel(), "it was not");
        assert!(!parkers[2].should_wake());
    }

    #[test]
    fn a_worker_never_sleeps_on_work() {
        // The worker sleeps in `thread::park`, without a time limit: a lost wake-up would hang.
        let rounds: u64 = if cfg!(miri) { 50 } else { 50_000 };
        let (ring, parker) = (Ring::with_capacity(64), Parker::new());
        let awake = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut next = 0;
                while next < rounds {
                    if let Some(value) = ring.pop() {
                        assert_eq!(value, next);
                        next += 1;
                        continue;
                    }
                    parker.prepare_park();
                    if ring.is_empty() {
                        while !awake.swap(false, Ordering::Acquire) {
                            std::thread::park();
                        }
                    }
                    parker.cancel();
                }
            });
            for value in 0..rounds {
                while ring.push(value).is_err() {
                    std::thread::yield_now();
                }
                if parker.should_wake() {
                    awake.store(true, Ordering::Release);
                    worker.thread().unpark();
                }
            }
        });
        assert!(ring.is_empty());
    }
}
