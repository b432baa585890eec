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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LOG_RING_BYTES, LOG_SEGMENT_BYTES};
    use crate::wal::SyncMode;
    use crate::wal::log::ring_bytes;

    #[test]
    fn credit_is_enough_for_a_record_of_each_of_many_workers() {
        let record = 2 * LOG_RECORD_MAX as u64 + 2 * LOG_BLOCK_BYTES;
        for workers in 1..=31 {
            let ring_bytes = ring_bytes(workers);
            assert!(ring_bytes.is_power_of_two() && ring_bytes <= LOG_RING_BYTES);
            let mode = SyncMode::Always;
            let options = LogOptions { mode, segment_bytes: LOG_SEGMENT_BYTES, ring_bytes };
            let credit = credit_bytes(&options);
            assert!(credit >= workers as u64 * record, "{workers} workers");
            assert!(credit <= ring_bytes / 4, "some of it is left for others");
        }
        assert_eq!(ring_bytes(WORKERS_MAX), LOG_RING_BYTES);
    }
}
