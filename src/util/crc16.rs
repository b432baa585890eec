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
    if let Ok(block) = bytes.try_into() {
        return fold_block(0, block);
    }
    let (head, blocks) = bytes.as_rchunks::<WIDTH>();
    // Nothing comes before the head, so its bytes do not wait for one another either.
    let head = head.iter().rev().zip(&TABLES);
    let crc = head.fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)]);
    blocks.iter().fold(crc, fold_block)
}

/// The checksum of what `crc` stands for, followed by `block`.
#[inline]
fn fold_block(crc: u16, block: &[u8; WIDTH]) -> u16 {
    let [high, low] = crc.to_be_bytes();
    let first = TABLES[WIDTH - 1][usize::from(block[0] ^ high)];
    let second = TABLES[WIDTH - 2][usize::from(block[1] ^ low)];
    (2..WIDTH).fold(first ^ second, |sum, i| sum ^ TABLES[WIDTH - 1 - i][usize::from(block[i])])
}

/// The hash slot of `key`, of [`HASH_SLOTS`]. If the key holds a `{...}` that is not empty, only
/// the first such part counts, so that keys can be made to share a slot.
#[inline]
pub fn hash_slot(key: &[u8]) -> u16 {
    let hashed = if holds_brace(key) { hash_tag(key) } else { key };
    crc16(hashed) % HASH_SLOTS as u16
}

/// True if `key` holds a `{`, which few keys do. Of 8 to 16 bytes the two ends are looked at, which
/// overlap.
#[inline]
fn holds_brace(key: &[u8]) -> bool {
    if let (8..=WIDTH, Some(first), Some(last)) = (key.len(), key.first_chunk(), key.last_chunk()) {
        return word_holds_brace(first) | word_holds_brace(last);
    }
    if let Some(last) = key.last_chunk::<WIDTH>() {
        return block_holds_brace(last) || key.as_chunks().0.iter().any(block_holds_brace::<WIDTH>);
    }
    key.contains(&b'{')
}

/// Subtracting one from each byte of what differs from braces borrows where there is no difference.
#[inline(always)]
fn word_holds_brace(word: &[u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differs = u64::from_le_bytes(*word) ^ (ONES * b'{' as u64);
    differs.wrapping_sub(ONES) & !differs & (ONES << 7) != 0
}

#[inline]
fn block_holds_brace<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(false, |any, &byte| any | (byte == b'{'))
}

#[cold]
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let inner = &key[open + 1..];
    match memchr::memchr(b'}', inner) {
        Some(len) if len > 0 => &inner[..len],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn bit_by_bit(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for &byte in bytes {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            }
        }
        crc
    }

    #[test]
    fn known_checksums() {
        assert_eq!(crc16(b""), 0);
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(hash_slot(b"foo"), 12182);
        assert_eq!(hash_slot(b"bar"), 5061);
        assert_eq!(hash_slot(b"somekey"), 11058);
        assert_eq!(hash_slot(b""), 0);
    }

    #[test]
    fn blocks_give_what_single_bits_give() {
        let seed = 0xc16;
        let mut rng = SplitMix64::new(seed);
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            assert_eq!(crc16(&bytes), bit_by_bit(&bytes), "{len} bytes, seed {seed:#x}");
        }
    }

    #[test]
    fn a_tag_is_found_wherever_it_stands() {
        for len in 3..70 {
            for at in 0..len - 2 {
                let mut key = vec![b'-'; len];
                key[at..at + 3].copy_from_slice(b"{t}");
                assert_eq!(hash_slot(&key), hash_slot(b"t"), "at {at} of {len} bytes");
            }
        }
    }

    #[test]
    fn the_first_tag_that_is_not_empty_decides() {
        for (key, hashed) in [
            ("{user1000}.following", "user1000"),
            ("foo{bar}{zap}", "bar"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
            ("}{a}", "a"),
            ("{}", "{}"),
        ] {
            assert_eq!(hash_slot(key.as_bytes()), crc16(hashed.as_bytes()) % 16384, "{key}");
        }
    }
}
