//! Input of a connection that could not be executed yet.

use crate::resp::Request;
use crate::sys::bulk::BulkBuf;

/// Input that could not be executed yet.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) buf: Vec<u8>,
    /// Start of the first request in `buf`.
    pub(super) at: usize,
    /// How far that request is parsed.
    pub(super) request: Request,
    /// More bytes must arrive before parsing makes sense.
    pub(super) starved: bool,
    /// The large bulk that is being received, apart from `buf`.
    pub(super) bulk: Option<BulkBuf>,
}

impl Partial {
    /// What of the input is left.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    /// Holds `rest` instead of what it held.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.buf.clear();
        self.buf.extend_from_slice(rest);
        self.at = 0;
    }

    /// Bytes that have arrived.
    pub(super) fn received(&self) -> usize {
        let bulk = self.bulk.as_ref().map_or(0, BulkBuf::filled_len);
        self.rest().len() + self.request.large_bytes() + bulk
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let bulk = self.bulk.as_ref().map_or(0, BulkBuf::filled_len);
        self.buf.capacity() + self.request.heap_bytes() + bulk
    }
}
