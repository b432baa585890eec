//! The 80-bit extended numbers that INCRBYFLOAT and HINCRBYFLOAT compute with.
//!
//! A number is `mantissa * 2^exponent` with a mantissa of 64 bits, as the x87 unit has it;
//! every result is the exact one, rounded once to the nearest number, halves to the even one.
//! There is no NaN: what would be one is refused where it arises.

use super::big::Big;
use super::float::{
    EXPONENT_MAX, Unrounded, is_infinity, parse_exponent, parse_hex, shift_right_rounding,
    split_sign,
};

/// A text of at least this many bytes is not read as a number.
const TEXT_MAX: usize = 5 * 1024;
/// Exponent of the numbers too small for a mantissa of full length.
const EXPONENT_LEAST: i32 = -16445;
/// Exponent of the greatest finite numbers.
const EXPONENT_GREATEST: i32 = 16383 - 63;
/// Stands for infinity.
const INFINITE: i32 = i32::MAX;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: u32 = 17;
/// No number is as large as 10 to this power, none but zero as small as its inverse.
const DECIMAL_MAX: i32 = 4970;
/// The greatest power of five in a `u64`.
const FIVES_MAX: u32 = 27;

/// An 80-bit floating-point number, possibly infinite, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl LongDouble {
    /// Zero.
    pub const ZERO: LongDouble =
        LongDouble { negative: false, mantissa: 0, exponent: EXPONENT_LEAST };

    /// The number nearest to what `text` spells (see [`super::float::parse_f64`] for what is
    /// accepted); `None` if it is no number or out of range.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, magnitude) = split_sign(text);
        if is_infinity(magnitude) {
            return Some(LongDouble { negative, mantissa: 0, exponent: INFINITE });
        }
        let exact = match parse_hex(magnitude) {
            Some(hex) => hex,
            None => Decimal::parse(magnitude)?.to_binary()?,
        };
        let value = LongDouble::rounded(negative, exact);
        let vanished = value.mantissa == 0 && exact.mantissa != 0;
        (value.is_finite() && !vanished).then_some(value)
    }

    /// False for the infinities.
    pub fn is_finite(self) -> bool {
        self.exponent != INFINITE
    }

    /// The sum, or `None` where it is infinite or not a number.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        if !self.is_finite() || !other.is_finite() {
            return None;
        }
        let (large, small) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 63 bits of head room below `large`; what of `small` falls below is only remembered.
        let shift = (large.exponent - small.exponent) as u32;
        let wide_large = u128::from(large.mantissa) << 63;
        let wide_small = u128::from(small.mantissa) << 63;
        let aligned = wide_small.checked_shr(shift).unwrap_or(0);
        let sticky = shift > 63 && (shift >= 128 || aligned << shift != wide_small);
        let sticky = sticky && small.mantissa != 0;
        let (negative, mantissa) = if large.negative == small.negative {
            (large.negative, wide_large + aligned)
        } else if wide_large >= aligned + u128::from(sticky) {
            (large.negative, wide_large - aligned - u128::from(sticky))
        } else {
            (small.negative, aligned - wide_large)
        };
        let exact = Unrounded { mantissa, sticky, exponent: large.exponent - 63 };
        Some(LongDouble::rounded(negative, exact)).filter(|sum| sum.is_finite())
    }

    fn rounded(negative: bool, exact: Unrounded) -> LongDouble {
        let (mantissa, exponent) = exact.round(64, EXPONENT_LEAST);
        if exponent > EXPONENT_GREATEST {
            return LongDouble { negative, mantissa: 0, exponent: INFINITE };
        }
        LongDouble { negative: negative && mantissa != 0, mantissa, exponent }
    }

    /// The whole part in decimal digits and 17 digits behind the point.
    fn decimal_parts(self) -> (String, u64) {
        if self.exponent >= 0 {
            let whole = Big::from(self.mantissa).shifted_left(self.exponent as u32);
            return (whole.to_decimal(), 0);
        }
        const SCALE: u128 = 10u128.pow(FRACTION_DIGITS);
        let scaled = u128::from(self.mantissa) * SCALE;
        let shift = self.exponent.unsigned_abs();
        let rounded = if shift >= 128 { 0 } else { shift_right_rounding(scaled, shift) };
        ((rounded / SCALE).to_string(), (rounded % SCALE) as u64)
    }
}

impl std::fmt::Display for LongDouble {
    /// Never with an exponent, at most 17 digits behind the point, no trailing zeros.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if !self.is_finite() {
            return write!(f, "{sign}inf");
        }
        let (whole, fraction) = self.decimal_parts();
        if fraction == 0 {
            // A number that rounds to zero has no sign.
            let sign = if whole == "0" { "" } else { sign };
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:017}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// `digits * 10^exponent`, exact.
struct Decimal {
    /// Values 0 to 9, the first not 0.
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    fn parse(text: &[u8]) -> Option<Decimal> {
        let mut number = Decimal { digits: Vec::with_capacity(text.len()), exponent: 0 };
        let (mut any, mut point, mut at) = (false, false, 0);
        while let Some(&byte) = text.get(at) {
            if byte.is_ascii_digit() {
                any = true;
                number.exponent -= i32::from(point);
                if byte != b'0' || !number.digits.is_empty() {
                    number.digits.push(byte - b'0');
                }
            } else if byte == b'.' && !point {
                point = true;
            } else {
                break;
            }
            at += 1;
        }
        match &text[at..] {
            [] => {}
            [b'e' | b'E', exponent @ ..] => number.exponent += parse_exponent(exponent)?,
            _ => return None,
        }
        number.trim_zeros();
        any.then_some(number)
    }

    /// Moves zeros at the end into the exponent.
    fn trim_zeros(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
    }

    /// In binary, exact but for the sticky bit; `None` if far out of range.
    fn to_binary(&self) -> Option<Unrounded> {
        if self.digits.is_empty() {
            return Some(Unrounded { mantissa: 0, sticky: false, exponent: 0 });
        }
        let scale = self.digits.len() as i32 + self.exponent;
        if !(-DECIMAL_MAX..=DECIMAL_MAX).contains(&scale) {
            return None;
        }
        debug_assert!(self.exponent.abs() < EXPONENT_MAX);
        let fives = self.exponent.unsigned_abs();
        if self.digits.len() <= 19 && fives <= FIVES_MAX {
            let digits = self.digits.iter().fold(0, |value, &digit| value * 10 + u64::from(digit));
            return Some(scale_small(digits, self.exponent));
        }
        let digits = Big::from_decimal(&self.digits);
        Some(scale_big(digits, self.exponent))
    }
}

/// `digits * 10^exponent` where the power of five fits in a `u64`.
fn scale_small(digits: u64, exponent: i32) -> Unrounded {
    let five = u128::from(5u64.pow(exponent.unsigned_abs()));
    if exponent >= 0 {
        return Unrounded { mantissa: u128::from(digits) * five, sticky: false, exponent };
    }
    // The dividend is as long as can be and the divisor below 2^63: 65 bits of quotient.
    let zeros = u128::from(digits).leading_zeros();
    let dividend = u128::from(digits) << zeros;
    Unrounded {
        mantissa: dividend / five,
        sticky: dividend % five != 0,
        exponent: exponent - zeros as i32,
    }
}

/// `digits * 10^exponent` of any size.
fn scale_big(digits: Big, exponent: i32) -> Unrounded {
    let fives = Big::from(1).times_power_of_five(exponent.unsigned_abs());
    if exponent >= 0 {
        let product = digits.times_power_of_five(exponent.unsigned_abs());
        let (mantissa, dropped, sticky) = product.top_bits();
        return Unrounded { mantissa, sticky, exponent: exponent + dropped as i32 };
    }
    // The side that is too short is lengthened, so that the quotient has 67 or 68 bits.
    let shift = fives.bit_len() as i32 + 67 - digits.bit_len() as i32;
    let (dividend, divisor) = if shift >= 0 {
        (digits.shifted_left(shift.unsigned_abs()), fives)
    } else {
        (digits, fives.shifted_left(shift.unsigned_abs()))
    };
    let (mantissa, sticky) = dividend.divided_by(&divisor);
    Unrounded { mantissa, sticky, exponent: exponent - shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn add(a: &str, b: &str) -> Option<String> {
        let (a, b) = (LongDouble::parse(a.as_bytes())?, LongDouble::parse(b.as_bytes())?);
        Some(a.checked_add(b)?.to_string())
    }

    /// What INCRBYFLOAT answers.
    #[test]
    fn sums_are_those_of_80_bit_numbers() {
        for (a, b, sum) in [
            ("0.1", "0.2", "0.3"),
            ("3.0", "1.1", "4.1"),
            ("5.0e3", "2.0e2", "5200"),
            ("-10.5", "0.7", "-9.8"),
            ("1e17", "0.5", "100000000000000000.5"),
            ("9999999999999999", "0.1", "9999999999999999.099609375"),
            ("0", "1e-18", "0"),
            ("0", "5e-18", "0"),
            ("0", "5.000000000000000001e-18", "0.00000000000000001"),
            ("0", "15e-18", "0.00000000000000002"),
            ("-0", "-1e-30", "0"),
            ("18446744073709551615", "0.5", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("36893488147419103232", "2", "36893488147419103232"),
            ("36893488147419103232", "6", "36893488147419103240"),
            ("1", "-5.4e-20", "1"),
            ("0x10", "0x.1p4", "17"),
            ("1e4932", "-1e4932", "0"),
            ("3e-4951", "0", "0"),
            ("0.30000000000000000001", "0", "0.3"),
            (
                "123456789012345678901234567890.123456789",
                "0.000000001",
                "123456789012345678899921813504",
            ),
        ] {
            assert_eq!(add(a, b).as_deref(), Some(sum), "{a} + {b}");
            assert_eq!(add(b, a).as_deref(), Some(sum), "{b} + {a}");
        }
        let digits = add("-1.5e300", "1").expect("a number");
        assert_eq!(digits.len(), 302);
        assert!(digits.starts_with("-15000000000000000000498001098614721663623792391186739285512"));
    }

    #[test]
    fn what_is_no_number_or_no_finite_sum_is_refused() {
        for text in ["nan", "", "1 ", " 1", "1e4933", "1e-4951", "0x1p-16446", "0x1p16384", "1e"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for (a, b) in [("inf", "1"), ("1", "-inf"), ("inf", "-inf"), ("1.1e4932", "1.1e4932")] {
            assert!(LongDouble::parse(a.as_bytes()).is_some(), "{a}");
            assert_eq!(add(a, b), None, "{a} + {b}");
        }
        let long = "0".repeat(TEXT_MAX - 1);
        assert_eq!(LongDouble::parse(long.as_bytes()), Some(LongDouble::ZERO));
        assert_eq!(LongDouble::parse(format!("{long}0").as_bytes()), None);
    }

    /// The short way for up to 19 digits and the long way agree.
    #[test]
    fn both_ways_of_reading_decimals_agree() {
        let seed = 0x80b1;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..5_000 {
            let digits = rng.next_u64() >> rng.below(64);
            let exponent = rng.below(54) as i32 - 27;
            let short = LongDouble::rounded(false, scale_small(digits.max(1), exponent));
            let long = LongDouble::rounded(false, scale_big(Big::from(digits.max(1)), exponent));
            assert_eq!(short, long, "{digits}e{exponent}, seed {seed:#x}");
        }
    }

    #[test]
    fn integers_of_64_bits_are_exact() {
        let seed = 0x1e9;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..5_000 {
            let (a, b) = (rng.next_u64() as i64 >> 1, rng.next_u64() as i64 >> 1);
            assert_eq!(add(&a.to_string(), &b.to_string()), Some((a + b).to_string()), "{seed:#x}");
        }
    }

    #[test]
    fn the_longest_texts_are_read_to_the_last_digit() {
        // One half of the last place above 2^64, and a digit thousands of places behind it.
        let tie = format!("{}.{}", (1u128 << 64) + 1, "0".repeat(5000));
        let above = format!("{tie}1");
        let read = |text: &str| LongDouble::parse(text.as_bytes()).map(|value| value.to_string());
        assert_eq!(read(&tie).as_deref(), Some("18446744073709551616"));
        assert_eq!(read(&above).as_deref(), Some("18446744073709551618"));
    }
}
