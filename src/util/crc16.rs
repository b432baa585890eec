//! CRC-16/XMODEM and the hash slot of a key.
//!
//! Sixteen bytes are folded in one step, each through a table of its own (8 KiB together), so
//! the lookups do not wait for one another; a key of 16 bytes costs a few nanoseconds.

use crate::limits::HASH_SLOTS;

const POLYNOMIAL: u16 = 0x1021;
const WIDTH: usize = 16;

/// `TABLES[k][b]`: the remainder that byte `b` leaves when `k` zero bytes follow it.
static TABLES: [[u16; 256]; WIDTH] = tables();

const fn tables() -> [[u16; 256]; WIDTH] {
    let mut tables = [[0u16; 256]; WIDTH];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < WIDTH {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// CRC-16/XMODEM of `bytes`.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (blocks, rest) = bytes.as_chunks::<WIDTH>();
    let mut crc = 0u16;
    for block in blocks {
        let mut next = TABLES[WIDTH - 1][usize::from(block[0] ^ (crc >> 8) as u8)]
            ^ TABLES[WIDTH - 2][usize::from(block[1] ^ crc as u8)];
        for i in 2..WIDTH {
            next ^= TABLES[WIDTH - 1 - i][usize::from(block[i])];
        }
        crc = next;
    }
    for &byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The hash slot of `key`, of [`HASH_SLOTS`]. If the key holds a `{...}` that is not empty, only
/// the first such part counts, so that keys can be made to share a slot.
#[inline]
pub fn hash_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % HASH_SLOTS as u16
}

#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let inner = &key[open + 1..];
    match memchr::memchr(b'}', inner) {
        Some(len) if len > 0 => &inner[..len],
        _ => key,
    }
}
