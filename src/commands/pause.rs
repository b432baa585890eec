//! CLIENT PAUSE: requests wait until a moment, all of them or only writes.

use super::node::NodeHub;
use crate::net::ConnId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A pause, and who waits for its end.
#[derive(Default)]
pub struct Pause {
    /// Until when, ms of the process clock, shifted left by one; bit 0: reads wait too.
    /// 0: no pause. Looked at before every command.
    until: AtomicU64,
    waiting: Mutex<Vec<ConnId>>,
}

impl Pause {
    /// True while a pause is on, even if it holds writes only.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    /// Whether a request must wait at `now_ms`.
    pub fn holds(&self, is_write: bool, now_ms: u64) -> bool {
        let until = self.until.load(Relaxed);
        until >> 1 > now_ms && (is_write || until & 1 == 1)
    }

    /// Begins or prolongs a pause. A pause of all requests is not weakened by one of writes
    /// that comes later, and the later end counts, as in Redis.
    pub fn begin(&self, until_ms: u64, all: bool, now_ms: u64) {
        let before = self.until.load(Relaxed);
        let (end, strong) = if before >> 1 > now_ms { (before >> 1, before & 1) } else { (0, 0) };
        self.until.store(until_ms.max(end) << 1 | strong | all as u64, Relaxed);
    }

    /// `id` waits for the end of the pause.
    pub fn wait(&self, id: ConnId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    /// Ends the pause and lets all who wait go on.
    pub fn end(&self, hub: &NodeHub) {
        self.until.store(0, Relaxed);
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for id in waiting {
            hub.resume(id);
        }
    }

    /// Ends a pause whose time has come; called by the tick.
    pub fn tick(&self, hub: &NodeHub, now_ms: u64) {
        let until = self.until.load(Relaxed);
        if until != 0 && until >> 1 <= now_ms {
            self.end(hub);
        }
    }
}
