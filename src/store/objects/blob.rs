//! The bytes of an element in an allocation of their own.
//!
//! A collection's parts are copied when they are changed while a snapshot has them
//! ([`super::part`]). So that this costs a bounded time however long elements are, bytes from
//! [`ELEMENT_SHARED_MIN`] on are counted: a copy of such an element is a reference to it.

use crate::limits::ELEMENT_SHARED_MIN;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that do not change.
#[derive(Clone, Debug)]
pub enum Blob {
    /// Few bytes.
    Own(Box<[u8]>),
    /// Many bytes. The box makes this a single word, and so a blob two.
    Counted(Arc<Box<[u8]>>),
}

const _: () = assert!(size_of::<Blob>() == 16);

impl Blob {
    /// The bytes, to be changed in place; `None` if somebody else may have them.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Blob::Own(bytes) => Some(bytes),
            Blob::Counted(_) => None,
        }
    }

    /// The bytes in a box, without a copy where nobody else has them.
    pub fn into_boxed(self) -> Box<[u8]> {
        match self {
            Blob::Own(bytes) => bytes,
            Blob::Counted(counted) => Arc::unwrap_or_clone(counted),
        }
    }

    /// Heap bytes held.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let count = match self {
            Blob::Own(_) => 0,
            Blob::Counted(_) => size_of::<Box<[u8]>>() + 2 * size_of::<usize>(),
        };
        self.len() + count
    }
}

impl From<Box<[u8]>> for Blob {
    #[inline]
    fn from(bytes: Box<[u8]>) -> Blob {
        if bytes.len() < ELEMENT_SHARED_MIN {
            Blob::Own(bytes)
        } else {
            Blob::Counted(Arc::new(bytes))
        }
    }
}

impl From<&[u8]> for Blob {
    #[inline]
    fn from(bytes: &[u8]) -> Blob {
        Blob::from(Box::<[u8]>::from(bytes))
    }
}

impl Deref for Blob {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Blob::Own(bytes) => bytes,
            Blob::Counted(counted) => counted,
        }
    }
}
