//! Numbers among the arguments of a command, with Redis' errors for those that are not.

use crate::engine::CmdError;
use crate::util::int::parse_i64;

/// An integer of 64 bits.
pub(super) fn integer(text: &[u8]) -> Result<i64, CmdError> {
    parse_i64(text).ok_or(CmdError::NotInteger)
}

/// An integer of 32 bits, as Redis keeps the numbers of databases.
pub(super) fn small_integer(text: &[u8]) -> Result<i32, CmdError> {
    i32::try_from(integer(text)?).map_err(|_| {
        let (min, max) = (i32::MIN, i32::MAX);
        CmdError::owned(format!("ERR value is out of range, value must between {min} and {max}"))
    })
}

/// A count that must not be negative.
pub(super) fn positive(text: &[u8]) -> Result<usize, CmdError> {
    let count = parse_i64(text).and_then(|count| usize::try_from(count).ok());
    count.ok_or(CmdError::MustBePositive)
}
