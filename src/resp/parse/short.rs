//! The common forms, read without a search.

use crate::resp::args::Span;

/// Bytes of an argument of a request that is read at once.
pub(super) const SHORT_LEN_MAX: usize = 999;
/// Arguments of such a request.
pub(super) const SHORT_ARGS_MAX: usize = 9;

/// The argument at `at` of 1 to 999 bytes, if its length is there. Whether the argument itself is
/// there, with its line end, the caller looks: once, where the last one ends. Seldom `None` though
/// all is there.
#[inline(always)]
pub(super) fn short_argument(buf: &[u8], at: usize) -> Option<Span> {
    let line: [u8; 8] = *buf.get(at..)?.first_chunk()?;
    let digit = |index: usize| usize::from(line[index].wrapping_sub(b'0'));
    if line[0] != b'$' || !(1..=9).contains(&digit(1)) {
        return None;
    }
    let (len, start) = if line[2] == b'\r' {
        (digit(1), at + 4)
    } else if digit(2) > 9 {
        return None;
    } else if line[3] == b'\r' {
        (digit(1) * 10 + digit(2), at + 5)
    } else if digit(3) > 9 || line[4] != b'\r' {
        return None;
    } else {
        (digit(1) * 100 + digit(2) * 10 + digit(3), at + 6)
    };
    Some(Span::new(start, len))
}

/// The common line of a length: `kind`, a few digits, `\r` and one more byte. Returns the number
/// and where the line ends. `None` stands for everything else, an incomplete line included.
#[inline]
pub(super) fn short_length(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    const DIGITS_MAX: usize = 9;
    let line = buf.get(at..)?;
    if *line.first()? != kind {
        return None;
    }
    let mut value = usize::from(line.get(1)?.wrapping_sub(b'0'));
    if value > 9 {
        return None;
    }
    for len in 2..DIGITS_MAX + 2 {
        let byte = *line.get(len)?;
        if byte == b'\r' {
            return (len + 1 < line.len()).then_some((value, at + len + 2));
        }
        let digit = usize::from(byte.wrapping_sub(b'0'));
        if digit > 9 || value == 0 {
            return None;
        }
        value = value * 10 + digit;
    }
    None
}
