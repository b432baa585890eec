//! Counting and finding bits in a part of a string.

use crate::engine::CmdError;
use std::ops::Range;

/// What the ends of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, the default.
    Byte,
    /// Bits.
    Bit,
}

impl Unit {
    /// The unit that an argument names.
    pub fn parse(word: Option<&[u8]>) -> Result<Unit, CmdError> {
        match word {
            None => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Ok(Unit::Bit),
            Some(_) => Err(CmdError::Syntax),
        }
    }
}

/// All bits of a string of `len` bytes.
pub fn whole(len: usize) -> Range<u64> {
    0..len as u64 * 8
}

/// The bits of `start..=end`, counted in `unit`; negative ends count from the end of the string.
pub fn bits(len: usize, start: i64, end: i64, unit: Unit) -> Range<u64> {
    let (len, width) = match unit {
        Unit::Byte => (len as i64, 8),
        Unit::Bit => (len as i64 * 8, 1),
    };
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { 0..0 } else { start as u64 * width..(end as u64 + 1) * width }
}

/// How many bits of `range` are set.
pub fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    let Some(edges) = Edges::of(bytes, &range) else { return 0 };
    let (words, rest) = edges.inner.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    let rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    let ends =
        (edges.first & edges.first_mask).count_ones() + (edges.last & edges.last_mask).count_ones();
    words.sum::<u64>() + rest.sum::<u64>() + u64::from(ends)
}

/// The first bit of `range` that equals `bit`.
pub fn find(bytes: &[u8], range: Range<u64>, bit: bool) -> Option<u64> {
    let edges = Edges::of(bytes, &range)?;
    // With the bits turned over, a search for clear ones is one for set ones.
    let flip = if bit { 0 } else { 0xff };
    let first_at = range.start & !7;
    let in_byte = |byte: u8, mask: u8| match (byte ^ flip) & mask {
        0 => None,
        found => Some(u64::from(found.leading_zeros())),
    };
    if let Some(at) = in_byte(edges.first, edges.first_mask) {
        return Some(first_at + at);
    }
    let inner_at = first_at + 8;
    if let Some(index) = find_other(edges.inner, flip) {
        return in_byte(edges.inner[index], 0xff).map(|at| inner_at + index as u64 * 8 + at);
    }
    let last_at = inner_at + edges.inner.len() as u64 * 8;
    in_byte(edges.last, edges.last_mask).map(|at| last_at + at)
}

/// The first byte that is not `byte`, eight at a time.
fn find_other(bytes: &[u8], byte: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let alike = words.iter().take_while(|word| **word == [byte; 8]).count() * 8;
    bytes[alike..].iter().position(|other| *other != byte).map(|index| alike + index)
}

/// A range of bits as whole bytes between two that belong to it in part.
struct Edges<'a> {
    first: u8,
    first_mask: u8,
    inner: &'a [u8],
    last: u8,
    /// Zero when the range ends in its first byte.
    last_mask: u8,
}

impl<'a> Edges<'a> {
    /// `None` for an empty range. The range lies in `bytes`.
    fn of(bytes: &'a [u8], range: &Range<u64>) -> Option<Edges<'a>> {
        if range.is_empty() {
            return None;
        }
        let (first, last) = ((range.start >> 3) as usize, ((range.end - 1) >> 3) as usize);
        let from_start = 0xff >> (range.start & 7);
        let to_end = 0xff << (7 - ((range.end - 1) & 7));
        let (first_mask, last_mask) =
            if first == last { (from_start & to_end, 0) } else { (from_start, to_end) };
        let inner = bytes.get(first + 1..last).unwrap_or_default();
        Some(Edges { first: bytes[first], first_mask, inner, last: bytes[last], last_mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn bit_of(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1
    }

    #[test]
    fn counting_and_finding_agree_with_looking_at_each_bit() {
        let seed = 11;
        let mut rng = SplitMix64::new(seed);
        for round in 0..2000 {
            let len = 1 + rng.below(40);
            let kind = rng.below(3);
            let bytes: Vec<u8> = (0..len)
                .map(|_| match (kind, rng.below(20)) {
                    (0, 0) | (2, 1..) => 0xff,
                    (0 | 2, _) => 0,
                    _ => rng.next_u64() as u8,
                })
                .collect();
            let start = rng.below(len * 8);
            let range = start..start + rng.below(len * 8 - start + 1);
            let set = range.clone().filter(|at| bit_of(&bytes, *at)).count() as u64;
            assert_eq!(count(&bytes, range.clone()), set, "seed {seed} round {round}");
            for bit in [false, true] {
                let naive = range.clone().find(|at| bit_of(&bytes, *at) == bit);
                assert_eq!(find(&bytes, range.clone(), bit), naive, "seed {seed} round {round}");
            }
        }
    }

    #[test]
    fn ranges_count_from_both_ends() {
        assert_eq!(bits(4, 0, -1, Unit::Byte), 0..32);
        assert_eq!(bits(4, -2, 100, Unit::Byte), 16..32);
        assert_eq!(bits(4, -100, 0, Unit::Byte), 0..8);
        assert_eq!(bits(4, 3, 2, Unit::Byte), 0..0);
        assert_eq!(bits(4, 4, 9, Unit::Byte), 0..0);
        assert_eq!(bits(4, 5, -30, Unit::Bit), 0..0);
        assert_eq!(bits(4, 5, -5, Unit::Bit), 5..28);
        assert_eq!(bits(4, i64::MIN, i64::MAX, Unit::Bit), 0..32);
        assert_eq!(bits(0, 0, -1, Unit::Byte), 0..0);
    }
}
