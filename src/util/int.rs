//! Integers as Redis reads and writes them.
//!
//! A text that is accepted here prints back to the very same bytes: that is why signs, spaces
//! and leading zeros are refused, and why a value may be stored as the number it spells.

/// Digits of the largest `u64`.
const DIGITS_MAX: usize = 20;

/// The number that `text` spells in canonical form, or `None`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = parse_u64(digits)?;
    if !negative {
        return i64::try_from(magnitude).ok();
    }
    if magnitude == 0 {
        return None;
    }
    0i64.checked_sub_unsigned(magnitude)
}

/// The unsigned number that `text` spells in canonical form, or `None`.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let (&first, rest) = text.split_first()?;
    let first = first.wrapping_sub(b'0');
    if first > 9 || (first == 0 && !rest.is_empty()) || text.len() > DIGITS_MAX {
        return None;
    }
    // Nineteen digits cannot overflow; only a twentieth has to be watched.
    let (safe, last) = rest.split_at(rest.len().min(18));
    let mut value = u64::from(first);
    for &byte in safe {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match last {
        [] => Some(value),
        [byte] if byte.is_ascii_digit() => {
            value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
        }
        _ => None,
    }
}

/// Appends the decimal digits of `value` to `out`.
#[inline]
pub fn format_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number of bytes with an optional unit, as configuration files write it: `b`, `k` = 1000,
/// `kb` = 1024 and likewise `m`, `mb`, `g`, `gb`, in either case. `None` when it is malformed or
/// does not fit.
pub fn parse_memory(text: impl AsRef<[u8]>) -> Option<u64> {
    let text = text.as_ref();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    number.checked_mul(scale)
}
