//! The log in use: looked at by every request, changed when `appendonly` is switched.
//!
//! ```text
//!   lives   | log 1 | log 2 | log 3 |  -  |  -  | ...
//!   current             ^ 0: none is kept
//! ```
//!
//! Each time the log is switched on a new [`Log`] begins, for positions and files are its own.
//! Those of before stay in their places, closed, so that whoever still looks at one looks at
//! something; what is large in them, the ring, passes on to the next.
//!
//! Deliberately absent: who sees to it that no request is under way while the log changes
//! (`super::switching`).

use crate::limits::LOG_LIVES_MAX;
use crate::wal::Log;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The log in use, and those of before. See the module.
pub struct LogCell {
    lives: Box<[OnceLock<Arc<Log>>]>,
    /// The place of the log in use, + 1.
    current: AtomicUsize,
}

impl Default for LogCell {
    fn default() -> LogCell {
        LogCell {
            lives: (0..LOG_LIVES_MAX).map(|_| OnceLock::new()).collect(),
            current: AtomicUsize::new(0),
        }
    }
}

impl LogCell {
    /// The log in use.
    #[inline]
    pub fn get(&self) -> Option<&Arc<Log>> {
        self.lives.get(self.life().wrapping_sub(1))?.get()
    }

    /// Tells the lives of the log apart; 0 while none is kept.
    #[inline]
    pub fn life(&self) -> usize {
        // Acquire: pairs with the Release in `put`: what was noted for this log is seen with it.
        self.current.load(Ordering::Acquire)
    }

    /// Whether another log can be put here.
    pub fn has_place(&self) -> bool {
        self.lives.last().is_some_and(|last| last.get().is_none())
    }

    /// Uses `log` from now on; false if there is no place left.
    pub fn put(&self, log: Arc<Log>) -> bool {
        let place = self.lives.iter().position(|life| life.get().is_none());
        let place = place.filter(|place| self.lives[*place].set(log).is_ok());
        if let Some(place) = place {
            // Release: pairs with the Acquire in `life`.
            self.current.store(place + 1, Ordering::Release);
        }
        place.is_some()
    }

    /// From now on no log is kept.
    pub fn clear(&self) {
        self.current.store(0, Ordering::Release);
    }

    /// The log that was put last, in use or not.
    pub fn last(&self) -> Option<&Arc<Log>> {
        self.lives.iter().map_while(OnceLock::get).last()
    }
}
