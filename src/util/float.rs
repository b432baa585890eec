//! Floating-point numbers as Redis reads and prints them.
//!
//! Reading follows `strtod` of C (decimal, hexadecimal, `inf`), with the whole text used up and
//! neither overflow nor underflow to zero; printing follows `%.17g`, so that a score reads back
//! as the same bits.

/// Significant decimal digits that identify every double.
const DIGITS: usize = 17;

/// The number that `text` spells, `None` if it is none, is not a number or is out of range.
/// `inf` and `infinity` are numbers, with a sign and in any case.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = split_sign(text);
    let value = if is_infinity(magnitude) {
        f64::INFINITY
    } else if let Some(hex) = parse_hex(magnitude) {
        hex.to_f64()?
    } else {
        parse_decimal(magnitude)?
    };
    Some(if negative { -value } else { value })
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

fn parse_decimal(text: &[u8]) -> Option<f64> {
    // What is left of Rust's grammar once these starts are excluded is that of C.
    if !matches!(text.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let vanished = value == 0.0 && has_nonzero_digit(text);
    (value.is_finite() && !vanished).then_some(value)
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
    let mut text = String::with_capacity(24);
    push_double(value, &mut text);
    text
}

/// Appends what [`format_double`] returns to `out`.
pub fn push_double(value: f64, out: &mut String) {
    const WHOLE_BELOW: f64 = 1e17;
    if value.is_nan() {
        out.push_str("nan");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "inf" } else { "-inf" });
    } else if value.trunc() == value && value.abs() < WHOLE_BELOW {
        if value == 0.0 && value.is_sign_negative() {
            out.push('-');
        }
        out.push_str(itoa::Buffer::new().format(value as i64));
    } else {
        push_rounded(value, out);
    }
}

/// As `%.17g` prints a number that is not whole, or has more than 17 digits.
fn push_rounded(value: f64, out: &mut String) {
    if value < 0.0 {
        out.push('-');
    }
    // One digit, a point, sixteen digits, `e` and the exponent.
    let text = format!("{:.*e}", DIGITS - 1, value.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_start_matches('.').trim_end_matches('0');
    match exponent {
        -4..=-1 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', -exponent as usize - 1));
            out.push_str(first);
            out.push_str(rest);
        }
        0..17 => {
            let whole = exponent as usize;
            out.push_str(first);
            out.push_str(&rest[..whole.min(rest.len())]);
            out.extend(std::iter::repeat_n('0', whole.saturating_sub(rest.len())));
            if rest.len() > whole {
                out.push('.');
                out.push_str(&rest[whole..]);
            }
        }
        _ => push_scientific(first, rest, exponent, out),
    }
}

/// `d.ddde+XX`, the exponent with at least two digits.
fn push_scientific(first: &str, rest: &str, exponent: i32, out: &mut String) {
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out.push_str(if exponent < 0 { "e-" } else { "e+" });
    if exponent.abs() < 10 {
        out.push('0');
    }
    out.push_str(itoa::Buffer::new().format(exponent.abs()));
}
