//! Commits: what the log writes at once, and the unit that is there or not after a crash.
//!
//! ```text
//!   0       4      8      16    20     24       32         40           44       48       56
//!   | magic | crc  | lsn  | len | used | synced | clock_ms | generation | records | log id |
//!   56: flags, 60: 0, 64: records, back to back, up to `used`; zeroes up to `len` (a multiple
//!   of 4096)
//! ```
//!
//! All numbers are little-endian. `crc` is the CRC-32C of everything behind it, then of the magic
//! (in format 1 without that, so none is taken for one of the other). `lsn` must be
//! the position at which the commit is found, `generation` that of its file, `log id` that of the
//! log: so what a recycled segment held before is never taken for new. The magic says which format
//! the records have; they have no other checksum than this one.

use crate::limits::{LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER};

const MAGIC_1: u32 = u32::from_le_bytes(*b"DWC1");
const MAGIC_2: u32 = u32::from_le_bytes(*b"DWC2");
const HEADER: usize = LOG_COMMIT_HEADER as usize;

/// How the records of a commit are laid out. What is written is of the newest format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Each with a checksum of its own, which is not looked at any more.
    One,
    /// Without.
    Two,
}

/// The header of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// Where it begins.
    pub lsn: u64,
    /// Its bytes, padding included.
    pub len: u32,
    /// Its bytes up to the end of the last record.
    pub used: u32,
    /// All below this position was durable when the commit was written.
    pub synced: u64,
    /// The process clock when it was written, ms since 1970.
    pub clock_ms: u64,
    /// The generation of its file.
    pub generation: u32,
    /// Records in it.
    pub records: u32,
    /// The log it belongs to.
    pub log_id: u64,
    /// It opens the log anew: changes may lie in front of it that the log does not hold.
    pub anew: bool,
}

/// Set in the flags of a commit that opens the log anew.
const ANEW: u32 = 1;

impl CommitHeader {
    /// Writes the header in front of the records that lie in `bytes` already.
    pub fn seal(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&MAGIC_2.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.used.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.clock_ms.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.generation.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.records.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[56..60].copy_from_slice(&(if self.anew { ANEW } else { 0 }).to_le_bytes());
        bytes[60..64].fill(0);
        let crc = checksum(bytes, Format::Two);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header of the commit at the front of `bytes`, if a whole and undamaged commit lies
    /// there, and the format of its records. Whether it belongs there is the caller's question.
    pub fn open(bytes: &[u8]) -> Option<(CommitHeader, Format)> {
        let header = bytes.get(..HEADER)?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let found = CommitHeader {
            lsn: u64_at(8),
            len: u32_at(16),
            used: u32_at(20),
            synced: u64_at(24),
            clock_ms: u64_at(32),
            generation: u32_at(40),
            records: u32_at(44),
            log_id: u64_at(48),
            anew: u32_at(56) == ANEW,
        };
        let format = match u32_at(0) {
            MAGIC_1 => Format::One,
            MAGIC_2 => Format::Two,
            _ => return None,
        };
        let is_shaped = u32_at(56) <= ANEW
            && u64::from(found.len).is_multiple_of(LOG_BLOCK_BYTES)
            && u64::from(found.len) <= LOG_CHUNK_BYTES
            && found.used >= HEADER as u32
            && found.used <= found.len;
        if !is_shaped {
            return None;
        }
        let whole = bytes.get(..found.len as usize)?;
        (checksum(whole, format) == u32_at(4)).then_some((found, format))
    }

    /// Where the next commit begins.
    pub fn end(&self) -> u64 {
        self.lsn + u64::from(self.len)
    }
}

/// The checksum of a whole commit.
fn checksum(bytes: &[u8], format: Format) -> u32 {
    let crc = crc32c::crc32c(&bytes[8..]);
    match format {
        Format::One => crc,
        Format::Two => crc32c::crc32c_append(crc, &bytes[..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (CommitHeader, Vec<u8>) {
        let header = CommitHeader {
            lsn: 1 << 40,
            len: 8192,
            used: 5000,
            synced: 77,
            clock_ms: 1_700_000_000_000,
            generation: 3,
            records: 9,
            log_id: 0xFEED_FACE_CAFE_BEEF,
            anew: false,
        };
        let mut bytes = vec![0; 8192];
        bytes[64..5000].fill(0xAB);
        header.seal(&mut bytes);
        (header, bytes)
    }

    #[test]
    fn a_sealed_commit_opens_and_nothing_less_does() {
        let (header, mut bytes) = sample();
        assert_eq!(CommitHeader::open(&bytes), Some((header, Format::Two)));
        let anew = CommitHeader { anew: true, ..header };
        anew.seal(&mut bytes);
        assert_eq!(CommitHeader::open(&bytes), Some((anew, Format::Two)));
        for len in [0, 1, 63, 64, 4096, 8191] {
            assert_eq!(CommitHeader::open(&bytes[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_commit_of_format_1_opens_as_that() {
        let (header, mut bytes) = sample();
        bytes[..4].copy_from_slice(b"DWC1");
        assert_eq!(CommitHeader::open(&bytes), None, "the checksum is that of the other");
        let crc = checksum(&bytes, Format::One);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(CommitHeader::open(&bytes), Some((header, Format::One)));
        bytes[..4].copy_from_slice(b"DWC2");
        assert_eq!(CommitHeader::open(&bytes), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_, bytes) = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CommitHeader::open(&damaged), None, "bit {bit}");
        }
    }
}
