//! The first word of an entry.

use super::Kind;

/// Bytes of a word.
pub const WORD: usize = 8;

/// The first word of an entry, and the arithmetic of what follows it.
#[derive(Clone, Copy)]
pub struct Header(pub u64);

pub const KIND: u64 = 0b111;
pub const DEADLINE: u64 = 1 << 3;
pub const RAW: u64 = 1 << 4;
pub const LONG_KEY: u64 = 1 << 5;
pub const SHARED: u64 = 1 << 6;
pub const REMOTE: u64 = 1 << 7;
pub const KEY_SHIFT: u32 = 8;
/// Longer keys have their length in a word of its own.
pub const KEY_LEN_MAX: usize = (1 << 8) - 1;
pub const USED_SHIFT: u32 = 16;
pub const USED: u64 = 0xFFFF << USED_SHIFT;
pub const VALUE_SHIFT: u32 = 32;

impl Header {
    #[inline]
    pub fn new(kind: Kind, flags: u64, key_len: usize, value_len: usize) -> Header {
        assert!(value_len <= u32::MAX as usize, "a value of {value_len} bytes");
        let (long, key_bits) = if key_len > KEY_LEN_MAX { (LONG_KEY, 0) } else { (0, key_len) };
        let lengths = (key_bits as u64) << KEY_SHIFT | (value_len as u64) << VALUE_SHIFT;
        Header(kind as u64 | flags | long | lengths)
    }

    #[inline(always)]
    pub fn has(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    #[inline(always)]
    pub fn count(self, flags: u64) -> usize {
        usize::from(self.has(flags))
    }

    /// A string without any flag: the key follows the header, the value the key.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.0 as u8 == 0
    }

    /// Length of a key that has no word for it.
    #[inline(always)]
    pub fn short_key_len(self) -> usize {
        (self.0 >> KEY_SHIFT) as usize & KEY_LEN_MAX
    }

    /// Bytes of a [plain](Self::is_plain) entry.
    #[inline(always)]
    pub fn plain_size(self) -> usize {
        WORD + self.short_key_len() + self.value_len()
    }

    #[inline(always)]
    pub fn kind(self) -> Kind {
        match self.0 & KIND {
            0 => Kind::String,
            1 => Kind::List,
            2 => Kind::Set,
            3 => Kind::Hash,
            _ => Kind::ZSet,
        }
    }

    #[inline(always)]
    pub fn has_object(self) -> bool {
        self.0 & KIND != 0
    }

    #[inline(always)]
    pub fn value_len(self) -> usize {
        (self.0 >> VALUE_SHIFT) as usize
    }

    pub fn used(self) -> u16 {
        (self.0 >> USED_SHIFT) as u16
    }

    pub fn with_used(self, used: u16) -> Header {
        Header(self.0 & !USED | u64::from(used) << USED_SHIFT)
    }

    /// Index of the word that counts the owners; the deadline's is always 1.
    #[inline(always)]
    pub fn count_at(self) -> usize {
        1 + self.count(DEADLINE) + self.count(LONG_KEY)
    }

    /// Index of the pointer to a remote value; the owner follows, and then the size to free.
    #[inline(always)]
    pub fn remote_at(self) -> usize {
        self.count_at() + self.count(SHARED)
    }

    #[inline(always)]
    pub fn object_at(self) -> usize {
        self.remote_at()
    }

    /// Offset of the key in bytes.
    #[inline(always)]
    pub fn key_at(self) -> usize {
        let remote = 2 * self.count(REMOTE) + self.count(REMOTE | SHARED);
        WORD * (self.remote_at() + remote + usize::from(self.has_object()))
    }
}
