//! A buffer for one large bulk string, filled straight from the socket.
//!
//! Only address space is reserved when the length is announced; pages are committed as bytes
//! arrive. In front of the bytes lies head room, so that the store can make the very allocation
//! into an entry by writing header and key before the value.

/// A partly filled allocation: `[head room][filled bytes][spare]`.
pub struct BulkBuf {
    // helper: real fields
    bytes: Vec<u8>,
    headroom: usize,
    len: usize,
}

impl BulkBuf {
    /// Reserves room for `len` bytes behind `headroom` bytes. `None` when address space is out.
    pub fn reserve(headroom: usize, len: usize) -> Option<BulkBuf> {
        Some(BulkBuf { bytes: Vec::new(), headroom, len })
    }
    /// Bytes the finished bulk will have.
    pub fn target_len(&self) -> usize {
        self.len
    }
    /// Bytes received so far.
    pub fn filled_len(&self) -> usize {
        self.bytes.len()
    }
    /// True once every announced byte is there.
    pub fn is_full(&self) -> bool {
        self.filled_len() == self.len
    }
    /// The bytes received so far.
    pub fn filled(&self) -> &[u8] {
        &self.bytes
    }
    /// Bytes reserved in front.
    pub fn headroom(&self) -> usize {
        self.headroom
    }
    /// Copies `bytes` to the end of the filled part. Panics if they do not fit.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len - self.filled_len());
        self.bytes.extend_from_slice(bytes);
    }
}
