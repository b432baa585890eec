//! Workers that write what they appended: where no reply waits for the disk, the page cache takes
//! a commit in less time than it takes to wake a thread and be woken by it.
//!
//! A worker closes what is open, whoever appended it, and writes it, if nobody else is at either.
//! If another worker is, that one looks again when it is done; if a thread is, it is told as
//! always. While a sync is under way, and for a second after a write that was slow, all is left
//! to the threads, so that a slow disk holds no worker again and again.

use super::{Flight, Log, SyncMode};
use crate::limits::{LOG_APART_NS, LOG_CACHED_MIN, LOG_HERE_MAX, LOG_HERE_SLOW_NS};
use crate::sync::log_ring::Closed;
use crate::sys::clock;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::{Ordering, fence};

impl Log {
    /// To be called after records were appended, once for a batch of them. True: the caller
    /// writes them by [`write_here`](Self::write_here) before it waits for anything. False: it is
    /// seen to that they are written.
    #[inline]
    pub fn kick_or_keep(&self) -> bool {
        if self.mode() == SyncMode::Always || self.apart.load(Ordering::Relaxed) {
            self.kick();
            return false;
        }
        if self.open_bytes() >= LOG_CACHED_MIN {
            self.write_here();
            return false;
        }
        true
    }

    /// Writes what is open to the page cache, or sees to it that somebody does.
    pub fn write_here(&self) {
        for _ in 0..LOG_HERE_MAX {
            match self.take_here() {
                Taken::Commit(commit) => {
                    if let Err(error) = self.write_one_here(&commit) {
                        return self.leave(error);
                    }
                    self.landed(&commit, Ok(()));
                }
                Taken::Nothing => return,
                Taken::NotNow => return self.kick(),
            }
        }
        // Others append faster than one worker writes; whatever a thread waits for, it looks now.
        drop(self.lock());
        self.work.notify_one();
    }

    /// The next commit, with the right to write it.
    fn take_here(&self) -> Taken {
        // SeqCst: pairs with the fence in `kick`. Who appends after we have looked finds the
        // sleeping threads; what was appended before, we find.
        fence(Ordering::SeqCst);
        let mut shared = self.lock();
        if shared.here {
            return Taken::Nothing; // Another worker writes, and looks again.
        }
        if self.mode() == SyncMode::Always
            || self.apart.load(Ordering::Relaxed)
            || shared.writing > 0
            || shared.closing
            || shared.rescuing
            || shared.stopping
            || !shared.flights.is_empty()
            || self.is_broken()
        {
            return Taken::NotNow;
        }
        if shared.queue.is_empty() {
            if self.ring.is_empty(shared.open) {
                return Taken::Nothing;
            }
            (shared.here, shared.writing) = (true, 1);
            shared = self.close_commit(shared);
        }
        let Some(commit) = shared.queue.pop_front() else {
            (shared.here, shared.writing) = (false, 0); // Closing makes one at least.
            return Taken::Nothing;
        };
        (shared.here, shared.writing) = (true, 1);
        shared.flights.push_back(Flight { commit, through: false, done: false });
        Taken::Commit(commit)
    }

    fn write_one_here(&self, commit: &Closed) -> io::Result<()> {
        let mut buffer = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let started_ns = clock::monotonic_ns();
        let outcome = self.write(commit, false, &mut buffer);
        let ended_ns = clock::monotonic_ns();
        if ended_ns - started_ns > LOG_HERE_SLOW_NS {
            self.slow_ns.store(ended_ns, Ordering::Relaxed);
            self.apart.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// The write failed: a thread writes the commit again, elsewhere.
    #[cold]
    fn leave(&self, error: io::Error) {
        let mut shared = self.lock();
        (shared.here, shared.writing) = (false, 0);
        shared.failed = Some(error);
        drop(shared);
        self.work.notify_all();
    }

    /// Lets workers write again, unless a write was slow not long ago.
    pub(super) fn rejoin(&self) {
        let slow_ns = self.slow_ns.load(Ordering::Relaxed);
        if slow_ns == 0 || clock::monotonic_ns() - slow_ns >= LOG_APART_NS {
            self.apart.store(false, Ordering::Relaxed);
        }
    }
}

/// What a worker finds to write.
enum Taken {
    Commit(Closed),
    /// Nothing, or another worker sees to it.
    Nothing,
    /// The threads are at it, or are to do it.
    NotNow,
}
