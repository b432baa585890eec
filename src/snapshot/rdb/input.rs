//! The bytes of an RDB file or payload as they come in: numbers, lengths and strings.
//!
//! ```text
//!   length     00llllll | 01llllll llllllll | 0x80 and 4 bytes | 0x81 and 8 bytes   (big endian)
//!   string     length and bytes, or one of
//!              0xc0, 0xc1, 0xc2: an integer of 1, 2, 4 bytes (little endian)
//!              0xc3: compressed length, length, LZF data
//! ```
//!
//! Invariant: memory grows with the bytes that have arrived, never with a length that they
//! announce.

use super::RdbError;
use crate::util::crc64::crc64;
use crate::util::lzf;
use std::io::{ErrorKind, Read};

/// Bytes read at a time.
const BUFFER: usize = 64 * 1024;

/// A length, or one of the special forms of a string.
enum Length {
    Plain(u64),
    Special(u8),
}

/// What is read, with its checksum so far.
pub struct Input<R> {
    inner: R,
    buffer: Vec<u8>,
    next: usize,
    /// Where the part of the buffer begins that is not yet in the checksum.
    unsummed: usize,
    /// Where the buffer begins in all that is read.
    start: u64,
    crc: u64,
    string_len_max: u64,
}

impl<R: Read> Input<R> {
    /// All that `inner` gives. Strings longer than `string_len_max` are refused.
    pub fn new(inner: R, string_len_max: u64) -> Input<R> {
        let buffer = Vec::with_capacity(BUFFER);
        Input { inner, buffer, next: 0, unsummed: 0, start: 0, crc: 0, string_len_max }
    }

    /// Bytes that were read.
    pub fn offset(&self) -> u64 {
        self.start + self.next as u64
    }

    /// The checksum of all bytes that were read.
    pub fn checksum(&mut self) -> u64 {
        self.crc = crc64(self.crc, &self.buffer[self.unsummed..self.next]);
        self.unsummed = self.next;
        self.crc
    }

    /// A complaint about what was read last.
    pub fn damaged(&self, what: &'static str) -> RdbError {
        RdbError::Damaged { offset: self.offset(), what }
    }

    /// True when nothing is left.
    pub fn is_at_end(&mut self) -> Result<bool, RdbError> {
        Ok(self.next == self.buffer.len() && !self.fill()?)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, RdbError> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            let ready = self.ready()?;
            let count = ready.len().min(N - filled);
            array[filled..filled + count].copy_from_slice(&ready[..count]);
            self.next += count;
            filled += count;
        }
        Ok(array)
    }

    /// A length that is no special form.
    pub fn len(&mut self) -> Result<u64, RdbError> {
        match self.length()? {
            Length::Plain(len) => Ok(len),
            Length::Special(_) => Err(self.damaged("a string where a length belongs")),
        }
    }

    /// A string of whatever form.
    pub fn string(&mut self) -> Result<Vec<u8>, RdbError> {
        let spelled = |value: i32| value.to_string().into_bytes();
        match self.length()? {
            Length::Plain(len) => self.bytes(len),
            Length::Special(0) => Ok(spelled(i8::from_le_bytes(self.array()?).into())),
            Length::Special(1) => Ok(spelled(i16::from_le_bytes(self.array()?).into())),
            Length::Special(2) => Ok(spelled(i32::from_le_bytes(self.array()?))),
            Length::Special(3) => self.compressed(),
            Length::Special(_) => Err(self.damaged("an unknown form of string")),
        }
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: u64) -> Result<Vec<u8>, RdbError> {
        let len = self.allowed(len)?;
        let mut bytes = Vec::with_capacity(len.min(BUFFER));
        while bytes.len() < len {
            let missing = len - bytes.len();
            let ready = self.ready()?;
            let count = ready.len().min(missing);
            bytes.extend_from_slice(&ready[..count]);
            self.next += count;
        }
        Ok(bytes)
    }

    fn compressed(&mut self) -> Result<Vec<u8>, RdbError> {
        let (stored, len) = (self.len()?, self.len()?);
        // A few bytes can stand for very many: both lengths are looked at.
        let (len, compressed) = (self.allowed(len)?, self.bytes(stored)?);
        lzf::decompress(&compressed, len).ok_or(self.damaged("a string that does not expand"))
    }

    fn allowed(&self, len: u64) -> Result<usize, RdbError> {
        let allowed = usize::try_from(len).ok().filter(|_| len <= self.string_len_max);
        allowed.ok_or(RdbError::TooLong { offset: self.offset(), bytes: len })
    }

    fn length(&mut self) -> Result<Length, RdbError> {
        let first = self.u8()?;
        Ok(match first {
            0..0x40 => Length::Plain(first.into()),
            0x40..0x80 => {
                let [low] = self.array()?;
                Length::Plain(u64::from(first & 0x3f) << 8 | u64::from(low))
            }
            0x80 => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            0xc0.. => Length::Special(first & 0x3f),
            _ => return Err(self.damaged("an unknown form of length")),
        })
    }

    /// At least one byte that was not read yet.
    fn ready(&mut self) -> Result<&[u8], RdbError> {
        if self.next == self.buffer.len() && !self.fill()? {
            return Err(self.damaged("the end is missing"));
        }
        Ok(&self.buffer[self.next..])
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> Result<bool, RdbError> {
        self.checksum();
        self.start += self.buffer.len() as u64;
        (self.next, self.unsummed) = (0, 0);
        self.buffer.resize(BUFFER, 0);
        let read = loop {
            match self.inner.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}
