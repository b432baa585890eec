//! Little-endian numbers and counted byte strings, written to a vector and read from a slice.
//!
//! ```text
//!   varint   seven bits a byte, the lowest first; the high bit says that another byte follows
//!   string   varint length, bytes
//!   signed   zigzag: 0, -1, 1, -2 ... as the varints 0, 1, 2, 3 ...
//! ```
//!
//! A varint has one spelling only: a last byte of zero behind others is refused. So what can be
//! read at all is written back byte for byte.
//!
//! Invariant: reading never looks beyond the slice and never allocates; an announced length is a
//! slice of what is there, or nothing.

/// Bytes of the longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// Appends `value` as a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as a zigzag varint.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends `bytes` behind their length.
#[inline]
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A slice that is read from the front. Every method answers `None`, and takes nothing, when
/// what it asks for is not there.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Source<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source { rest: bytes, len: bytes.len() }
    }

    /// What was not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes that were read.
    #[inline]
    pub fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// True when everything was read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// A byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number of two bytes.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A number of four bytes.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A double, bit for bit.
    #[inline]
    pub fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index as u32;
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && index > 0 {
                    return None;
                }
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    /// A zigzag varint.
    #[inline]
    pub fn signed(&mut self) -> Option<i64> {
        let folded = self.varint()?;
        Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A varint as a size.
    #[inline]
    pub fn size(&mut self) -> Option<usize> {
        self.varint().and_then(|value| usize::try_from(value).ok())
    }

    /// A counted byte string.
    #[inline]
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let len = ahead.size()?;
        let bytes = ahead.take(len)?;
        *self = ahead;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_as_few_bytes_as_they_need() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                let bits = 64 - value.leading_zeros() as usize;
                assert_eq!(out.len(), bits.div_ceil(7).max(1));
                assert_eq!(Source::new(&out).varint(), Some(value));
                assert_eq!(Source::new(&out[..out.len() - 1]).varint(), None);

                let mut out = Vec::new();
                put_signed(&mut out, value as i64);
                assert_eq!(Source::new(&out).signed(), Some(value as i64));
            }
        }
    }

    #[test]
    fn a_varint_has_one_spelling() {
        assert_eq!(Source::new(&[0x80, 0]).varint(), None);
        assert_eq!(Source::new(&[0xff; 10]).varint(), None);
        assert_eq!(Source::new(&[0xff; 20]).varint(), None);
        let mut last = [0xff; 10];
        last[9] = 1;
        assert_eq!(Source::new(&last).varint(), Some(u64::MAX));
        last[9] = 2;
        assert_eq!(Source::new(&last).varint(), None);
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut source = Source::new(&[5, b'a', b'b']);
        assert_eq!(source.string(), None);
        assert_eq!((source.offset(), source.u32(), source.take(4)), (0, None, None));
        assert_eq!((source.u8(), source.u16(), source.u8()), (Some(5), Some(0x6261), None));
        assert!(source.is_empty());
    }
}
