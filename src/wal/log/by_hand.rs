//! A log without threads: whoever opened it has its commits written, one after the other, and looks
//! after its files. So a simulation decides what happens between the beginning of a write and its
//! end; ring, commits, files, rescue and positions are those of every log.

use super::super::files::LogFiles;
use super::{Flight, Health, Log, LogOptions, LogStart, SyncMode};
use crate::sync::log_ring::Closed;
use crate::sys::disk::Disk;
use std::io;
use std::sync::{Arc, PoisonError};

/// A write that was handed to the disk, and is under way until [`Log::end_write`].
pub struct Writing {
    commit: Closed,
    outcome: io::Result<()>,
}

impl Log {
    /// As [`Log::open`], without threads. Nothing is written but by [`Log::begin_write`], and no
    /// file is prepared but by [`Log::look_after`].
    pub fn open_by_hand(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        start: LogStart,
    ) -> io::Result<Arc<Log>> {
        let ring = Arc::new(super::LogRing::new(super::shape(&options), start.start));
        let files = LogFiles::open(disk, options.segment_bytes, start)?;
        Log::make(ring, files, options, start, Box::new(|| {}))
    }

    /// Writes the next commit, if no write is under way. Without records there is one only if
    /// `is_quiet`, and it states how far the log is durable. The disk is to hold the bytes for good
    /// when the write has ended.
    pub fn begin_write(&self, is_quiet: bool) -> Option<Writing> {
        let mut shared = self.lock();
        if shared.writing > 0 || shared.rescuing || self.is_broken() {
            return None;
        }
        if shared.queue.is_empty() {
            let has_records = !self.ring.is_empty(shared.open);
            let is_due = has_records || is_quiet && self.must_state(&shared);
            if !is_due {
                return None;
            }
            shared = self.close_commit(shared);
        }
        let commit = shared.queue.pop_front()?;
        let through = self.mode() == SyncMode::Always;
        shared.flights.push_back(Flight { commit, through, done: false });
        shared.writing = 1;
        drop(shared);
        let mut buffer = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.write(&commit, through, &mut buffer);
        Some(Writing { commit, outcome })
    }

    /// The write has ended. If it failed, what it was to write is written once more at once, to a
    /// file of a new generation.
    pub fn end_write(&self, writing: Writing) {
        self.landed(&writing.commit, writing.outcome);
    }

    /// Prepares files ahead and removes old ones; to be called now and then.
    pub fn look_after(&self) {
        self.prepare_files();
        self.files.settle();
    }

    /// Whether there is no room on the disk for what comes next.
    pub fn is_full(&self) -> bool {
        matches!(self.health(), Health::Full(_))
    }
}
