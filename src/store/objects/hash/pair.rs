//! A pair of a large hash: field and value in one allocation.
//!
//! ```text
//!  | field length: 1, or 255 and then 8 bytes | field | value |
//! ```

use crate::store::objects::blob::Blob;
use crate::store::objects::dense::Keyed;

/// A field with its value.
#[derive(Clone, Debug)]
pub struct Pair {
    bytes: Blob,
}

const LONG: u8 = u8::MAX;

impl Pair {
    /// A pair of copies.
    pub fn new(field: &[u8], value: &[u8]) -> Pair {
        let long = (field.len() as u64).to_le_bytes();
        let short = [field.len() as u8];
        let pieces = if field.len() < LONG as usize {
            [&short[..], &[], field, value]
        } else {
            [&[LONG][..], &long, field, value]
        };
        Pair { bytes: Blob::from(pieces.concat().into_boxed_slice()) }
    }

    /// The field.
    #[inline]
    pub fn field(&self) -> &[u8] {
        self.split().0
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        self.split().1
    }

    /// Replaces the value, in place when the new one is as long as the old one.
    pub fn set_value(&mut self, value: &[u8]) {
        let (len, old_len) = (self.bytes.len(), self.value().len());
        match self.bytes.get_mut() {
            Some(bytes) if old_len == value.len() => {
                bytes[len - old_len..].copy_from_slice(value);
            }
            _ => *self = Pair::new(self.field(), value),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    #[inline]
    fn split(&self) -> (&[u8], &[u8]) {
        match self.bytes.split_first() {
            Some((&LONG, rest)) => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => rest.split_at(u64::from_le_bytes(*len) as usize),
                None => (&[], &[]), // Pair::new wrote eight
            },
            Some((&len, rest)) => rest.split_at(len as usize),
            None => (&[], &[]), // Pair::new wrote one
        }
    }
}

impl Keyed for Pair {
    #[inline]
    fn key(&self) -> &[u8] {
        self.field()
    }
}
