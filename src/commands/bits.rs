//! The bits family: strings as arrays of bits. Bit 0 is the highest bit of byte 0.

mod field;
mod span;

use super::numbers::integer;
use super::strings::{Kept, put_over, string_len_max};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::{Config, notify};
use crate::engine::{CmdError, Read, Txn};
use crate::resp::{Args, Reply};
use crate::store::Value;
use crate::util::int::parse_i64;
use span::Unit;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("bitcount", -2, Keys::ONE, READONLY, acl::BITMAP, Run::Read(bitcount))
        .doc("2.6.0", "Counts the bits that are set in a string or a part of it."),
    row("bitfield", -2, Keys::ONE, WRITE | DENYOOM, acl::BITMAP, Run::Locked(field::bitfield))
        .doc("3.2.0", "Reads, sets and increments integers of any width in a string."),
    row("bitfield_ro", -2, Keys::ONE, READONLY | FAST, acl::BITMAP, Run::Read(field::bitfield_ro))
        .doc("6.0.0", "Reads integers of any width in a string."),
    row("bitop", -4, Keys::FROM_SECOND, WRITE | DENYOOM, acl::BITMAP, Run::Locked(bitop))
        .doc("2.6.0", "Combines strings bit by bit and stores the result."),
    row("bitpos", -3, Keys::ONE, READONLY, acl::BITMAP, Run::Read(bitpos))
        .doc("2.8.7", "Finds the first bit in a string that is set, or that is clear."),
    row("getbit", 3, Keys::ONE, READONLY | FAST, acl::BITMAP, Run::Read(getbit))
        .doc("2.2.0", "Returns one bit of a string."),
    row("setbit", 4, Keys::ONE, WRITE | DENYOOM, acl::BITMAP, Run::Locked(setbit))
        .doc("2.2.0", "Sets or clears one bit of a string, which grows if it has to."),
];

const OFFSET_ERROR: CmdError = CmdError::text("ERR bit offset is not an integer or out of range");

/// The place of a bit that `text` names. With `width`, `#n` is the n-th integer of that width.
fn bit_offset(text: &[u8], width: Option<u32>, config: &Config) -> Result<u64, CmdError> {
    let offset = match (text, width) {
        ([b'#', index @ ..], Some(width)) => {
            parse_i64(index).and_then(|index| index.checked_mul(i64::from(width)))
        }
        _ => parse_i64(text),
    };
    let offset = offset.and_then(|offset| u64::try_from(offset).ok()).ok_or(OFFSET_ERROR)?;
    if offset >> 3 < string_len_max(config) { Ok(offset) } else { Err(OFFSET_ERROR) }
}

/// SETBIT key offset value
fn setbit(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = bit_offset(args.get(2), None, txn.config())?;
    let on = match parse_i64(args.get(3)) {
        Some(0) => 0u8,
        Some(1) => 1u8,
        _ => return Err(CmdError::text("ERR bit is not an integer or out of range")),
    };
    let key = txn.key(args.get(1));
    let old = txn.string(&key)?;
    let (index, shift) = ((offset >> 3) as usize, 7 - (offset & 7));
    let old_byte = old.and_then(|entry| entry.value().get(index).copied());
    let byte = old_byte.unwrap_or(0);
    if old_byte.is_none() || byte >> shift & 1 != on {
        let deadline = old.and_then(|entry| entry.deadline());
        let old = old.map_or_else(Kept::empty, Kept::of);
        let changed = byte & !(1 << shift) | on << shift;
        put_over(txn, &key, &old, (index, &[changed]), deadline);
        txn.notify(notify::STRING, "setbit", key.bytes);
    }
    reply.int((byte >> shift & 1).into());
    Ok(())
}

/// GETBIT key offset
fn getbit(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = bit_offset(args.get(2), None, read.config())?;
    let entry = read.string(args.get(1))?;
    let byte = entry.and_then(|entry| entry.value().get((offset >> 3) as usize).copied());
    reply.int((byte.unwrap_or(0) >> (7 - (offset & 7)) & 1).into());
    Ok(())
}

/// BITCOUNT key [start end [BYTE | BIT]]
fn bitcount(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(entry) = read.string(args.get(1))? else {
        // Whether the range makes sense is not looked at for an absent key.
        reply.int(0);
        return Ok(());
    };
    let value = entry.value();
    let range = match args.len() {
        2 => span::whole(value.len()),
        4 | 5 => {
            let (start, end) = (integer(args.get(2))?, integer(args.get(3))?);
            if start < 0 && end < 0 && start > end {
                reply.int(0);
                return Ok(());
            }
            span::bits(value.len(), start, end, Unit::parse(args.try_get(4))?)
        }
        _ => return Err(CmdError::Syntax),
    };
    reply.int(span::count(value, range) as i64);
    Ok(())
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
fn bitpos(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let bit = match integer(args.get(2))? {
        0 => false,
        1 => true,
        _ => return Err(CmdError::text("ERR The bit argument must be 1 or 0.")),
    };
    let Some(entry) = read.string(args.get(1))? else {
        // An absent key is an endless row of clear bits.
        reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let value = entry.value();
    let has_end = args.len() > 4;
    let range = match args.len() {
        3 => span::whole(value.len()),
        4..=6 => {
            let start = integer(args.get(3))?;
            let unit = Unit::parse(args.try_get(5))?;
            let end = if has_end { integer(args.get(4))? } else { -1 };
            span::bits(value.len(), start, end, unit)
        }
        _ => return Err(CmdError::Syntax),
    };
    let position = match span::find(value, range.clone(), bit) {
        Some(position) => position as i64,
        // Behind a range without an end the string goes on with clear bits.
        None if !bit && !has_end && !range.is_empty() => range.end as i64,
        None => -1,
    };
    reply.int(position);
    Ok(())
}

/// How BITOP combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(name: &[u8]) -> Option<Operation> {
        match name.to_ascii_lowercase().as_slice() {
            b"and" => Some(Operation::And),
            b"or" => Some(Operation::Or),
            b"xor" => Some(Operation::Xor),
            b"not" => Some(Operation::Not),
            _ => None,
        }
    }

    /// Combines `result` with `source`, whichever is longer: the other goes on with zeros.
    fn apply(self, result: &mut Vec<u8>, source: &[u8]) {
        if result.len() < source.len() {
            result.resize(source.len(), 0);
        }
        let (both, rest) = result.split_at_mut(source.len());
        let pairs = both.iter_mut().zip(source);
        match self {
            Operation::And => {
                pairs.for_each(|(to, from)| *to &= from);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(to, from)| *to |= from),
            Operation::Xor => pairs.for_each(|(to, from)| *to ^= from),
            Operation::Not => pairs.for_each(|(to, from)| *to = !from),
        }
    }
}

/// BITOP AND | OR | XOR | NOT destination source [source ...]
fn bitop(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operation = Operation::parse(args.get(1)).ok_or(CmdError::Syntax)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(CmdError::text("ERR BITOP NOT must be called with a single source key."));
    }
    let mut result = Vec::new();
    for (index, source) in args.iter_from(3).enumerate() {
        let key = txn.key(source);
        let source = txn.string_counted(&key)?.map(|entry| entry.value()).unwrap_or_default();
        match (index, operation) {
            (0, Operation::And | Operation::Or | Operation::Xor) => result = source.to_vec(),
            _ => operation.apply(&mut result, source),
        }
    }
    let key = txn.key(args.get(2));
    if !result.is_empty() {
        txn.put(&key, Value::Raw(&[&result]), None);
        txn.notify(notify::STRING, "set", key.bytes);
    } else if txn.remove(&key) {
        txn.notify(notify::GENERIC, "del", key.bytes);
    }
    reply.int(result.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_operand_goes_on_with_zeros() {
        let combine = |operation: Operation, first: &[u8], second: &[u8]| {
            let mut result = first.to_vec();
            operation.apply(&mut result, second);
            result
        };
        for (first, second) in [(&b"\xff\xf0\x0f"[..], &b"\x3c"[..]), (b"\x3c", b"\xff\xf0\x0f")] {
            assert_eq!(combine(Operation::And, first, second), b"\x3c\0\0");
            assert_eq!(combine(Operation::Or, first, second), b"\xff\xf0\x0f");
            assert_eq!(combine(Operation::Xor, first, second), b"\xc3\xf0\x0f");
        }
        assert_eq!(combine(Operation::Not, b"", b"\x00\xf0"), b"\xff\x0f");
    }

    #[test]
    fn offsets_are_bounded_and_may_count_integers() {
        let config = Config::default();
        assert_eq!(bit_offset(b"100", None, &config), Ok(100));
        assert_eq!(bit_offset(b"#100", Some(8), &config), Ok(800));
        assert_eq!(bit_offset(b"4294967295", None, &config), Ok(4294967295));
        for text in [&b"4294967296"[..], b"-1", b"#1", b"", b"1.0", b"9223372036854775808"] {
            assert_eq!(bit_offset(text, None, &config), Err(OFFSET_ERROR));
        }
        for text in [&b"#9223372036854775807"[..], b"#-1", b"#", b"##1", b"#536870912"] {
            assert_eq!(bit_offset(text, Some(8), &config), Err(OFFSET_ERROR));
        }
    }
}
