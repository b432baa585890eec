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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    #[test]
    fn only_the_canonical_spelling_is_a_number() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-01",
            "00",
            "-0",
            "1.0",
            "0x1",
            "1e3",
            "--1",
            "1-",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "١",
            "99999999999999999999",
            "100000000000000000000",
            "-",
            "1a",
            "a",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        for text in ["0", "9", "-1", "10", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(parse_i64(text.as_bytes()), text.parse().ok(), "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn what_is_accepted_is_what_prints_back_the_same() {
        let seed = 0x1217;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..20_000 {
            let len = rng.below(22);
            let text: String =
                (0..len).map(|_| char::from(b"0123456789-"[rng.below(11) as usize])).collect();
            let want = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            assert_eq!(parse_i64(text.as_bytes()), want, "{text:?}, seed {seed:#x}");
            let value = rng.next_u64() as i64 >> rng.below(64);
            let mut printed = Vec::new();
            format_i64(value, &mut printed);
            assert_eq!(parse_i64(&printed), Some(value), "seed {seed:#x}");
        }
    }

    #[test]
    fn units_of_memory() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("7b", Some(7)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("3M", Some(3_000_000)),
            ("3MB", Some(3 << 20)),
            ("2g", Some(2_000_000_000)),
            ("2Gb", Some(2 << 30)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18014398509481984kb", None),
            ("", None),
            ("kb", None),
            ("-1", None),
            ("+1", None),
            ("1 kb", None),
            ("1.5gb", None),
            ("1tb", None),
            ("1kbb", None),
        ] {
            assert_eq!(parse_memory(text), bytes, "{text:?}");
        }
    }
}
