//! Just enough arithmetic on big unsigned numbers to read and print extended floats exactly.
//!
//! Numbers stay below about 40,000 bits (see the limits in `long_double`), so the schoolbook
//! methods do.

/// The greatest power of ten in a `u64`, and its exponent.
const TEN_CHUNK: u64 = 10u64.pow(TEN_CHUNK_DIGITS as u32);
const TEN_CHUNK_DIGITS: usize = 19;
/// The greatest power of five in a `u64`, and its exponent.
const FIVE_CHUNK: u64 = 5u64.pow(FIVE_CHUNK_EXPONENT);
const FIVE_CHUNK_EXPONENT: u32 = 27;

/// An unsigned number: words from the least significant on, the last one not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big {
    words: Vec<u64>,
}

impl From<u64> for Big {
    fn from(value: u64) -> Big {
        Big { words: vec![value] }.trimmed()
    }
}

impl Big {
    /// The number with these decimal digits (values 0 to 9).
    pub(super) fn from_decimal(digits: &[u8]) -> Big {
        let mut number = Big { words: Vec::with_capacity(digits.len() / TEN_CHUNK_DIGITS + 1) };
        for chunk in digits.chunks(TEN_CHUNK_DIGITS) {
            let value = chunk.iter().fold(0, |value, &digit| value * 10 + u64::from(digit));
            number.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        number
    }

    /// In decimal digits, `0` for zero.
    pub(super) fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.words.is_empty() {
            chunks.push(rest.divide_by_ten_chunk());
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:019}"));
        }
        text
    }

    /// Position of the highest bit that is set, plus one.
    pub(super) fn bit_len(&self) -> u32 {
        self.words.last().map_or(0, |word| self.words.len() as u32 * 64 - word.leading_zeros())
    }

    /// `self * 5^exponent`.
    pub(super) fn times_power_of_five(mut self, exponent: u32) -> Big {
        for _ in 0..exponent / FIVE_CHUNK_EXPONENT {
            self.multiply_add(FIVE_CHUNK, 0);
        }
        self.multiply_add(5u64.pow(exponent % FIVE_CHUNK_EXPONENT), 0);
        self
    }

    /// `self * 2^bits`.
    pub(super) fn shifted_left(&self, bits: u32) -> Big {
        let (whole, part) = (bits as usize / 64, bits % 64);
        let mut words = vec![0; whole];
        let mut carry = 0;
        for &word in &self.words {
            let wide = u128::from(word) << part;
            words.push(wide as u64 | carry);
            carry = (wide >> 64) as u64;
        }
        words.push(carry);
        Big { words }.trimmed()
    }

    /// The highest 128 bits, how many bits below were dropped, and whether one of those was set.
    pub(super) fn top_bits(&self) -> (u128, u32, bool) {
        let dropped = self.bit_len().saturating_sub(128);
        let (whole, part) = (dropped as usize / 64, dropped % 64);
        let word = |index: usize| u128::from(self.words.get(whole + index).copied().unwrap_or(0));
        let low = word(0) | word(1) << 64;
        let top = if part == 0 { low } else { low >> part | word(2) << (128 - part) };
        let set = self.words.iter().take(whole).any(|&word| word != 0);
        (top, dropped, set || word(0) as u64 & ((1 << part) - 1) != 0)
    }

    /// The quotient, which has to fit, and whether there is a remainder.
    pub(super) fn divided_by(self, divisor: &Big) -> (u128, bool) {
        let steps = (self.bit_len() + 1).saturating_sub(divisor.bit_len());
        debug_assert!(steps <= 128);
        let mut rest = self;
        let mut subtrahend = divisor.shifted_left(steps);
        let mut quotient = 0;
        for _ in 0..=steps {
            quotient <<= 1;
            if !rest.is_less_than(&subtrahend) {
                rest.subtract(&subtrahend);
                quotient |= 1;
            }
            subtrahend.halve();
        }
        (quotient, !rest.words.is_empty())
    }

    fn trimmed(mut self) -> Big {
        self.trim();
        self
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    fn multiply_add(&mut self, factor: u64, summand: u64) {
        let mut carry = summand;
        for word in &mut self.words {
            let wide = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry != 0 {
            self.words.push(carry);
        }
    }

    /// Leaves the quotient by [`TEN_CHUNK`], returns the remainder.
    fn divide_by_ten_chunk(&mut self) -> u64 {
        let mut remainder = 0;
        for word in self.words.iter_mut().rev() {
            (*word, remainder) = divide_two_words(remainder, *word);
        }
        self.trim();
        remainder
    }

    fn is_less_than(&self, other: &Big) -> bool {
        let by_len = self.words.len().cmp(&other.words.len());
        by_len.then_with(|| self.words.iter().rev().cmp(other.words.iter().rev())).is_lt()
    }

    /// `self -= other`, which is not the greater one.
    fn subtract(&mut self, other: &Big) {
        debug_assert!(!self.is_less_than(other));
        let mut borrow = false;
        for (at, word) in self.words.iter_mut().enumerate() {
            let (less, first) = word.overflowing_sub(other.words.get(at).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u64::from(borrow));
            *word = less;
            borrow = first | second;
        }
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for word in self.words.iter_mut().rev() {
            let low = *word & 1;
            *word = *word >> 1 | carry << 63;
            carry = low;
        }
        self.trim();
    }
}

/// Quotient and remainder of `high * 2^64 + low` by [`TEN_CHUNK`], for a `high` below it.
///
/// The hardware's division of two words by one is out of reach, and dividing a `u128` takes
/// several times as long as the two products with the reciprocal here.
fn divide_two_words(high: u64, low: u64) -> (u64, u64) {
    /// The reciprocal of a divisor whose highest bit is set, without that bit's 2^64.
    const RECIPROCAL: u64 = (u128::MAX / TEN_CHUNK as u128 - (1 << 64)) as u64;
    const { assert!(TEN_CHUNK >> 63 == 1) };
    debug_assert!(high < TEN_CHUNK);
    let wide = u128::from(RECIPROCAL) * u128::from(high);
    let estimate = wide + (u128::from(high) << 64 | u128::from(low));
    let mut quotient = ((estimate >> 64) as u64).wrapping_add(1);
    let mut remainder = low.wrapping_sub(quotient.wrapping_mul(TEN_CHUNK));
    // The estimate is one too large at most, and rarely one too small.
    if remainder > estimate as u64 {
        quotient = quotient.wrapping_sub(1);
        remainder = remainder.wrapping_add(TEN_CHUNK);
    }
    if remainder >= TEN_CHUNK {
        quotient += 1;
        remainder -= TEN_CHUNK;
    }
    (quotient, remainder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn digits_of(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    #[test]
    fn decimal_digits_survive_both_conversions() {
        for text in ["1", "18446744073709551615", "18446744073709551616", "10000000000000000000"] {
            assert_eq!(Big::from_decimal(&digits_of(text)).to_decimal(), text);
        }
        let long: String = (0..1000).map(|i| char::from(b'1' + (i * 7 % 9) as u8)).collect();
        assert_eq!(Big::from_decimal(&digits_of(&long)).to_decimal(), long);
        assert_eq!(Big::from(0).to_decimal(), "0");
    }

    #[test]
    fn small_numbers_divide_as_u128_does() {
        let seed = 0xd1f;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..5_000 {
            let dividend = rng.next_u64() >> rng.below(63);
            let divisor = (rng.next_u64() >> rng.below(63)).max(1);
            let shift = rng.below(64) as u32;
            let wide = u128::from(dividend) << shift;
            let got = Big::from(dividend).shifted_left(shift).divided_by(&Big::from(divisor));
            let want = (wide / u128::from(divisor), !wide.is_multiple_of(divisor.into()));
            assert_eq!(got, want, "{wide} / {divisor}, seed {seed:#x}");
            let (top, dropped, sticky) = Big::from(dividend).shifted_left(shift).top_bits();
            assert_eq!((top, dropped, sticky), (wide, 0, false), "seed {seed:#x}");
        }
    }

    #[test]
    fn two_words_divide_as_u128_does() {
        let seed = 0x2d1f;
        let mut rng = SplitMix64::new(seed);
        let edges = [0, 1, 2, TEN_CHUNK - 1, TEN_CHUNK, TEN_CHUNK + 1, u64::MAX - 1, u64::MAX];
        for round in 0..50_000 {
            let mut draw = || match rng.below(3) {
                0 => edges[rng.below(8) as usize],
                _ => rng.next_u64() >> rng.below(64),
            };
            let (high, low) = (draw() % TEN_CHUNK, draw());
            let wide = u128::from(high) << 64 | u128::from(low);
            let chunk = u128::from(TEN_CHUNK);
            let want = ((wide / chunk) as u64, (wide % chunk) as u64);
            assert_eq!(divide_two_words(high, low), want, "round {round}, seed {seed:#x}");
        }
    }

    #[test]
    fn top_bits_tell_of_what_they_drop() {
        let one = Big::from(1).shifted_left(200);
        assert_eq!(one.top_bits(), (1 << 127, 73, false));
        let more = Big::from_decimal(&digits_of(&one.to_decimal())).times_power_of_five(1);
        assert_eq!(more.top_bits(), (5 << 125, 75, false));
        let mut odd = one;
        odd.multiply_add(1, 1);
        assert_eq!(odd.top_bits(), (1 << 127, 73, true));
    }
}
