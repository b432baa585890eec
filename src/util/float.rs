//! Floating-point numbers as Redis reads and prints them.
//!
//! Reading follows `strtod` of C (decimal, hexadecimal, `inf`), with the whole text used up and
//! neither overflow nor underflow to zero; printing follows `%.17g`, so that a score reads back
//! as the same bits.

use std::fmt::Write;

/// Significant decimal digits that identify every double.
const DIGITS: usize = 17;

/// The number that `text` spells, `None` if it is none, is not a number or is out of range.
/// `inf` and `infinity` are numbers, with a sign and in any case.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (value, in_range) = parse_any(text)?;
    in_range.then_some(value)
}

/// As [`parse_f64`], but a number out of range becomes infinity or zero.
pub fn parse_f64_saturating(text: &[u8]) -> Option<f64> {
    parse_any(text).map(|(value, _)| value)
}

/// The number, and whether it is in range.
fn parse_any(text: &[u8]) -> Option<(f64, bool)> {
    let (negative, magnitude) = split_sign(text);
    let (value, in_range) = if is_infinity(magnitude) {
        (f64::INFINITY, true)
    } else if let Some(hex) = parse_hex(magnitude) {
        let bound = if hex.exponent > 0 { f64::INFINITY } else { 0.0 };
        hex.to_f64().map_or((bound, false), |value| (value, true))
    } else {
        parse_decimal(magnitude)?
    };
    Some((if negative { -value } else { value }, in_range))
}

/// Takes a leading `-` or `+` off; true stands for minus.
pub(super) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// `inf` or `infinity` in any case.
pub(super) fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

fn parse_decimal(text: &[u8]) -> Option<(f64, bool)> {
    // What is left of Rust's grammar once these starts are excluded is that of C.
    if !matches!(text.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let vanished = value == 0.0 && has_nonzero_digit(text);
    Some((value, value.is_finite() && !vanished))
}

/// True if the digits before the exponent are not all zero.
fn has_nonzero_digit(text: &[u8]) -> bool {
    text.iter().take_while(|&&byte| !matches!(byte, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

/// A positive number that is still to be rounded: `mantissa * 2^exponent`, and a little more
/// (less than one unit of the mantissa) if `sticky`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unrounded {
    pub(super) mantissa: u128,
    pub(super) sticky: bool,
    pub(super) exponent: i32,
}

impl Unrounded {
    /// The nearest number (halves go to the even one) with at most `bits` bits of mantissa and
    /// an exponent of at least `exponent_min`. The mantissa has exactly `bits` bits unless the
    /// exponent is the least one.
    pub(super) fn round(self, bits: u32, exponent_min: i32) -> (u64, i32) {
        debug_assert!(bits <= 64);
        if self.mantissa == 0 {
            return (0, exponent_min);
        }
        let zeros = self.mantissa.leading_zeros();
        let mantissa = self.mantissa << zeros;
        let exponent = self.exponent - zeros as i32;
        let drop = (128 - bits as i32).max(exponent_min - exponent);
        if drop > 128 {
            return (0, exponent_min);
        }
        let kept = mantissa.checked_shr(drop as u32).unwrap_or(0) as u64;
        let half = 1u128 << (drop - 1);
        let rest = mantissa & (half | (half - 1));
        let up = rest > half || rest == half && (self.sticky || kept & 1 == 1);
        match kept.checked_add(u64::from(up)) {
            Some(sum) if bits == 64 || sum >> bits == 0 => (sum, exponent + drop),
            _ => (1 << (bits - 1), exponent + drop + 1),
        }
    }

    /// The nearest double; `None` on overflow and on underflow to zero.
    fn to_f64(self) -> Option<f64> {
        const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
        let (mantissa, exponent) = self.round(f64::MANTISSA_DIGITS, -1074);
        if mantissa == 0 {
            return (self.mantissa == 0).then_some(0.0);
        }
        if mantissa >> FRACTION_BITS == 0 {
            return Some(f64::from_bits(mantissa));
        }
        let biased = exponent + 1075;
        let fraction = mantissa & ((1 << FRACTION_BITS) - 1);
        (biased < 2047).then(|| f64::from_bits((biased as u64) << FRACTION_BITS | fraction))
    }
}

/// An unsigned hexadecimal number as C writes it: `0x1.8p-3`.
pub(super) fn parse_hex(text: &[u8]) -> Option<Unrounded> {
    let [b'0', b'x' | b'X', digits @ ..] = text else { return None };
    let mut number = Unrounded { mantissa: 0, sticky: false, exponent: 0 };
    let (mut count, mut point, mut at) = (0usize, false, 0);
    while let Some(&byte) = digits.get(at) {
        if let Some(digit) = char::from(byte).to_digit(16) {
            count += 1;
            number.push_hex_digit(digit, point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        at += 1;
    }
    let exponent = match &digits[at..] {
        [] => 0,
        [b'p' | b'P', exponent @ ..] => parse_exponent(exponent)?,
        _ => return None,
    };
    number.exponent = number.exponent.saturating_add(exponent).clamp(-EXPONENT_MAX, EXPONENT_MAX);
    (count > 0).then_some(number)
}

impl Unrounded {
    fn push_hex_digit(&mut self, digit: u32, after_point: bool) {
        if self.mantissa >> 124 == 0 {
            self.mantissa = self.mantissa << 4 | u128::from(digit);
            self.exponent = self.exponent.saturating_sub(if after_point { 4 } else { 0 });
        } else {
            self.sticky |= digit != 0;
            self.exponent = self.exponent.saturating_add(if after_point { 0 } else { 4 });
        }
    }
}

/// Exponents beyond this overflow, or vanish, in every format whatever the digits before them.
pub(super) const EXPONENT_MAX: i32 = 1 << 27;

/// A decimal exponent with an optional sign, cut to [`EXPONENT_MAX`].
pub(super) fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = EXPONENT_MAX.min(value * 10 + i32::from(byte - b'0'));
    }
    Some(if negative { -value } else { value })
}

/// The text of `value` with 17 significant digits: `3`, `0.10000000000000001`, `1e+20`, `inf`.
pub fn format_double(value: f64) -> String {
    String::from_utf8_lossy(DoubleText::new(value).as_bytes()).into_owned()
}

/// What [`format_double`] returns, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    bytes: [u8; DoubleText::LEN_MAX],
    len: usize,
}

impl DoubleText {
    /// Bytes of the longest: `-0.00012345678901234567`, `-1.7976931348623157e+308`.
    const LEN_MAX: usize = 24;
    const WHOLE_BELOW: f64 = 1e17;

    /// The text of `value`.
    pub fn new(value: f64) -> DoubleText {
        let mut text = DoubleText { bytes: [0; DoubleText::LEN_MAX], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value.trunc() == value && value.abs() < DoubleText::WHOLE_BELOW {
            if value == 0.0 && value.is_sign_negative() {
                text.push(b"-");
            }
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_rounded(value);
        }
        text
    }

    /// The text, in ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_zeros(&mut self, count: usize) {
        self.push(&b"0000000000000000"[..count]);
    }

    /// As `%.17g` prints a number that is not whole, or has more than 17 digits.
    fn push_rounded(&mut self, value: f64) {
        if value < 0.0 {
            self.push(b"-");
        }
        let (digits, exponent) = rounded_digits(value.abs());
        let significant = DIGITS - digits.iter().rev().take_while(|&&digit| digit == b'0').count();
        let digits = &digits[..significant];
        match exponent {
            -4..=-1 => {
                self.push(b"0.");
                self.push_zeros(exponent.unsigned_abs() as usize - 1);
                self.push(digits);
            }
            0..17 => self.push_with_point(digits, exponent as usize + 1),
            _ => self.push_scientific(digits, exponent),
        }
    }

    /// `digits` with the point behind the first `whole` of them.
    fn push_with_point(&mut self, digits: &[u8], whole: usize) {
        let (before, behind) = digits.split_at(whole.min(digits.len()));
        self.push(before);
        self.push_zeros(whole - before.len());
        if !behind.is_empty() {
            self.push(b".");
            self.push(behind);
        }
    }

    /// `d.ddde+XX`, the exponent with at least two digits.
    fn push_scientific(&mut self, digits: &[u8], exponent: i32) {
        self.push_with_point(digits, 1);
        self.push(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            self.push(b"0");
        }
        self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    }
}

/// The first 17 decimal digits of a positive number, rounded, and the power of ten of the first.
fn rounded_digits(value: f64) -> ([u8; DIGITS], i32) {
    exact_digits(value).unwrap_or_else(|| printed_digits(value))
}

/// As [`rounded_digits`] for the numbers people use, about a millionth to 10^17: scaled to 17
/// digits before the point they fit in 128 bits. `None` for the others.
fn exact_digits(value: f64) -> Option<([u8; DIGITS], i32)> {
    const DIGITS_BELOW: u128 = 10u128.pow(DIGITS as u32);
    let exponent = (value.to_bits() >> 52) as i32 - 1075;
    let mantissa = value.to_bits() & ((1 << 52) - 1) | 1 << 52;
    if !(-90..0).contains(&exponent) {
        return None;
    }
    // 1233 / 4096 is log10(2). The power is that of the first digit, or one too small.
    let power = ((exponent + 52) * 1233) >> 12;
    let scaled = |power: i32| {
        let scale = usize::try_from(DIGITS as i32 - 1 - power).ok().filter(|&k| k < 23)?;
        let product = u128::from(mantissa) * 10u128.pow(scale as u32);
        Some(shift_right_rounding(product, exponent.unsigned_abs()))
    };
    let (whole, power) = match scaled(power)? {
        whole if whole < DIGITS_BELOW => (whole, power),
        _ => (scaled(power + 1)?, power + 1),
    };
    let mut digits = [b'0'; DIGITS];
    digits.copy_from_slice(itoa::Buffer::new().format(whole as u64).as_bytes());
    Some((digits, power))
}

/// `value / 2^shift`, rounded to nearest, halves to even. `0 < shift < 128`.
pub(super) fn shift_right_rounding(value: u128, shift: u32) -> u128 {
    let kept = value >> shift;
    let half = 1u128 << (shift - 1);
    let rest = value & (half | (half - 1));
    kept + u128::from(rest > half || rest == half && kept & 1 == 1)
}

/// As [`rounded_digits`], for every number.
fn printed_digits(value: f64) -> ([u8; DIGITS], i32) {
    // One digit, a point, sixteen digits, `e` and the exponent: 23 bytes at most.
    let mut text = DoubleText { bytes: [0; DoubleText::LEN_MAX], len: 0 };
    // Writing into a DoubleText that is long enough cannot fail.
    _ = write!(text, "{value:.*e}", DIGITS - 1);
    let mut digits = [b'0'; DIGITS];
    digits[0] = text.bytes[0];
    digits[1..].copy_from_slice(&text.bytes[2..DIGITS + 1]);
    let exponent = std::str::from_utf8(&text.as_bytes()[DIGITS + 2..]).unwrap_or_default();
    (digits, exponent.parse().unwrap_or_default())
}

impl std::fmt::Write for DoubleText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    /// What ZADD takes or refuses.
    #[test]
    fn texts_are_read_as_strtod_reads_them() {
        for text in [
            "",
            " 1",
            "1 ",
            "\t1",
            "1\n",
            "1\0",
            "nan",
            "-nan",
            "nan(12)",
            "infin",
            "0x",
            "0x.",
            "0x1p",
            "0x1p+",
            "1e",
            "1e+",
            ".",
            "-",
            "+",
            "--1",
            "+-1",
            "1_0",
            "1f",
            "0b1",
            "1e1.5",
            "1e400",
            "-1e400",
            "1e-400",
            "2.4703282292062327e-324",
            "1.797693134862315808e308",
            "0x1p-1075",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "e5",
            "in",
            "0x1.8.1",
            "1..2",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
        for (text, value) in [
            ("inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1.", 1.0),
            (".5e1", 5.0),
            ("+00012", 12.0),
            ("1E3", 1000.0),
            ("0e-400", 0.0),
            ("0e400", 0.0),
            ("1e-320", 1e-320),
            ("2.4703282292062328e-324", 5e-324),
            ("1.7976931348623158e308", f64::MAX),
            ("0x10", 16.0),
            ("-0x.8", -0.5),
            ("0X1P3", 8.0),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1075", 5e-324),
            ("0x1.fffffffffffff7fp1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.00000000000008000000000000000000000000001p0", 1.0 + f64::EPSILON),
            ("0x0p999999999999", 0.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text:?}");
        }
    }

    /// What ZSCORE answers.
    #[test]
    fn seventeen_digits_are_printed() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.5, "-17.5"),
            (0.1, "0.10000000000000001"),
            (3.0e-5, "3.0000000000000001e-05"),
            (1e-4, "0.0001"),
            (0.00012345678901234567, "0.00012345678901234567"),
            (1e16, "10000000000000000"),
            (99999999999999984.0, "99999999999999984"),
            (1e17, "1e+17"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (-1.5e300, "-1.5000000000000001e+300"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            // Eighteen digits, the last of them 5: halves go to the even digit.
            (1.0 + 1.0 / 131072.0, "1.0000076293945312"),
            (1.0 + 3.0 / 131072.0, "1.0000228881835938"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }

    #[test]
    fn both_ways_of_printing_agree() {
        let seed = 0x17d1;
        let mut rng = SplitMix64::new(seed);
        let mut exact = 0;
        for power in -40..64 {
            let value = 2f64.powi(power);
            for value in [value.next_down(), value, value.next_up()] {
                if let Some(digits) = exact_digits(value) {
                    assert_eq!(digits, printed_digits(value), "{value:e}");
                }
            }
        }
        for _ in 0..50_000 {
            let power = rng.below(30) as i32 - 10;
            let value = (rng.next_f64() + f64::MIN_POSITIVE) * 10f64.powi(power);
            for value in [value, 10f64.powi(power).next_down(), 10f64.powi(power).next_up()] {
                if let Some(digits) = exact_digits(value) {
                    exact += 1;
                    assert_eq!(digits, printed_digits(value), "{value:e}, seed {seed:#x}");
                }
            }
        }
        assert!(exact > 50_000, "{exact}");
    }

    #[test]
    fn every_double_reads_back_as_the_same_bits() {
        let seed = 0xf10a7;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..20_000 {
            let value = match rng.below(3) {
                0 => f64::from_bits(rng.next_u64()),
                1 => rng.next_f64() * 10f64.powi(rng.below(40) as i32 - 20),
                _ => rng.below(2_000_000) as f64 / 1000.0 - 1000.0,
            };
            if value.is_nan() {
                continue;
            }
            let text = format_double(value);
            let back = parse_f64(text.as_bytes()).map(f64::to_bits);
            assert_eq!(back, Some(value.to_bits()), "{text}, seed {seed:#x}");
        }
    }
}
