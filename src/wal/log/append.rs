//! How records go into the log: credit first, then the record.

use super::{Log, LogOptions, NoCredit};
use crate::limits::{LOG_BLOCK_BYTES, LOG_RECORD_MAX, WORKERS_MAX};
use crate::sync::log_ring::Full;
use crate::wal::record::{RecordBuf, RecordMeta};
use std::sync::atomic::Ordering;

/// Room that is asked for: each worker may append one record, which may skip the rest of a chunk
/// as long as itself.
pub(super) fn credit_bytes(options: &LogOptions) -> u64 {
    let each = 2 * LOG_RECORD_MAX as u64 + 2 * LOG_BLOCK_BYTES;
    (WORKERS_MAX as u64 * each).min(options.ring_bytes / 4).min(options.segment_bytes)
}

impl Log {
    /// Whether a record of any size can be appended by every worker at once. To be asked before
    /// a lock is taken: who was told yes will not be refused by [`Log::append`].
    #[inline]
    pub fn has_credit(&self) -> bool {
        self.ring.has_room(self.credit_bytes) && !self.broken.load(Ordering::Relaxed)
    }

    /// Appends a record. The position behind it: what [`Log::released`] must reach before a
    /// reply that saw it may leave. Never waits.
    #[inline]
    pub fn append(&self, record: &RecordBuf, meta: &RecordMeta) -> Result<u64, NoCredit> {
        let body = record.bytes();
        match self.ring.append(meta.head(body.len()), body) {
            Ok(end) => {
                // A look first: the line is shared, and the clock moves once a millisecond.
                if self.clock_ms.load(Ordering::Relaxed) < meta.clock_ms {
                    self.clock_ms.fetch_max(meta.clock_ms, Ordering::Relaxed);
                }
                Ok(end)
            }
            Err(Full) => Err(NoCredit),
        }
    }
}
