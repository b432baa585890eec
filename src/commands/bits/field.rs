//! BITFIELD: integers of any width at any place of a string.
//!
//! The operations of one command see what those before them wrote. They are done on a copy of
//! the value, which becomes a new entry if anything was changed. As in Redis, a string grows
//! to where the farthest write would reach even if OVERFLOW FAIL then forbids that write.

use super::super::numbers::integer;
use super::super::table::Outcome;
use super::bit_offset;
use crate::config::{Config, notify};
use crate::engine::{CmdError, Read, Txn};
use crate::resp::{Args, Reply};
use crate::store::Value;
use crate::util::int::parse_i64;

/// The width of an integer and whether it has a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    bits: u32,
    signed: bool,
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its low bits are kept.
    Wrap,
    /// It becomes the least or the greatest number.
    Saturate,
    /// Nothing is written, and the reply is nil.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    IncrementBy(i64),
}

/// One operation on the integer at bit `offset`.
#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    width: Width,
    offset: u64,
    overflow: Overflow,
}

/// BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value |
/// INCRBY type offset increment ...]
pub fn bitfield(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operations = parse(args, txn.config())?;
    let key = txn.key(args.get(1));
    let Some(end) = operations.iter().filter_map(Operation::written_end).max() else {
        let entry = txn.string_counted(&key)?;
        reply_values(&operations, entry.map(|entry| entry.value()).unwrap_or_default(), reply);
        return Ok(());
    };
    let old = txn.string(&key)?;
    let deadline = old.and_then(|entry| entry.deadline());
    let mut bytes = old.map(|entry| entry.value().to_vec()).unwrap_or_default();
    let len = end.div_ceil(8) as usize;
    let grows = len > bytes.len();
    bytes.resize(len.max(bytes.len()), 0);
    reply.array(operations.len());
    let mut changes = 0;
    for operation in &operations {
        match operation.run(&mut bytes) {
            Some((value, differs)) => {
                reply.int(value);
                let writes = operation.action != Action::Get;
                changes += u64::from(writes && (grows || differs));
            }
            None => reply.nil(),
        }
    }
    if grows || changes > 0 {
        txn.put(&key, Value::Raw(&[&bytes]), deadline);
    }
    if changes > 0 {
        txn.dirty(changes - 1); // the entry itself counts as one
        txn.notify(notify::STRING, "setbit", key.bytes);
    }
    Ok(())
}

/// BITFIELD_RO key [GET type offset ...]
pub fn bitfield_ro(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operations = parse(args, read.config())?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        return Err(CmdError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let entry = read.string(args.get(1))?;
    reply_values(&operations, entry.map(|entry| entry.value()).unwrap_or_default(), reply);
    Ok(())
}

fn reply_values(operations: &[Operation], bytes: &[u8], reply: &mut Reply<'_>) {
    reply.array(operations.len());
    for operation in operations {
        reply.int(operation.width.value(load(bytes, operation.offset, operation.width.bits)));
    }
}

fn parse(args: Args<'_>, config: &Config) -> Result<Vec<Operation>, CmdError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let (word, left) = (args.get(at), args.len() - at - 1);
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"overflow") && left >= 1 {
            overflow = Overflow::parse(args.get(at + 1))?;
            at += 2;
            continue;
        }
        let (takes_value, make): (bool, fn(i64) -> Action) = if is(b"get") && left >= 2 {
            (false, |_| Action::Get)
        } else if is(b"set") && left >= 3 {
            (true, Action::Set)
        } else if is(b"incrby") && left >= 3 {
            (true, Action::IncrementBy)
        } else {
            return Err(CmdError::Syntax);
        };
        let width = Width::parse(args.get(at + 1))?;
        let offset = bit_offset(args.get(at + 2), Some(width.bits), config)?;
        let value = if takes_value { integer(args.get(at + 3))? } else { 0 };
        operations.push(Operation { action: make(value), width, offset, overflow });
        at += 3 + usize::from(takes_value);
    }
    Ok(operations)
}

impl Overflow {
    fn parse(name: &[u8]) -> Result<Overflow, CmdError> {
        match name.to_ascii_lowercase().as_slice() {
            b"wrap" => Ok(Overflow::Wrap),
            b"sat" => Ok(Overflow::Saturate),
            b"fail" => Ok(Overflow::Fail),
            _ => Err(CmdError::text("ERR Invalid OVERFLOW type specified")),
        }
    }
}

impl Width {
    fn parse(text: &[u8]) -> Result<Width, CmdError> {
        let (signed, digits, max) = match text {
            [b'i', digits @ ..] => (true, digits, 64),
            [b'u', digits @ ..] => (false, digits, 63),
            _ => (false, &[][..], 0),
        };
        match parse_i64(digits) {
            Some(bits) if (1..=max).contains(&bits) => Ok(Width { bits: bits as u32, signed }),
            _ => Err(CmdError::text(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                 supported but i64 is.",
            )),
        }
    }

    fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn max(self) -> i128 {
        let value_bits = if self.signed { self.bits - 1 } else { self.bits };
        (1 << value_bits) - 1
    }

    /// The number that the low bits of `pattern` stand for.
    fn value(self, pattern: u64) -> i64 {
        let unused = 64 - self.bits;
        let high = pattern << unused;
        if self.signed { high as i64 >> unused } else { (high >> unused) as i64 }
    }

    /// `number` made to fit; `None` where that is a failure.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i64> {
        if (self.min()..=self.max()).contains(&number) {
            return Some(number as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.value(number as u64)),
            Overflow::Saturate => Some(number.clamp(self.min(), self.max()) as i64),
            Overflow::Fail => None,
        }
    }
}

impl Operation {
    /// The bit behind the last one that is written, if any is.
    fn written_end(&self) -> Option<u64> {
        (self.action != Action::Get).then(|| self.offset + u64::from(self.width.bits))
    }

    /// Does it. The reply, and whether the number is another one now; `None` on a failure.
    fn run(&self, bytes: &mut [u8]) -> Option<(i64, bool)> {
        let width = self.width;
        let old = width.value(load(bytes, self.offset, width.bits));
        let (new, is_reply_old) = match self.action {
            Action::Get => return Some((old, false)),
            // A negative number for an unsigned integer is beyond its greatest one.
            Action::Set(value) if !width.signed => {
                (width.fit(i128::from(value as u64), self.overflow)?, true)
            }
            Action::Set(value) => (width.fit(i128::from(value), self.overflow)?, true),
            Action::IncrementBy(by) => {
                (width.fit(i128::from(old) + i128::from(by), self.overflow)?, false)
            }
        };
        store(bytes, self.offset, width.bits, new as u64);
        Some((if is_reply_old { old } else { new }, new != old))
    }
}

/// Bytes that an integer of 64 bits can touch.
const WINDOW: usize = 9;

/// The `bits` bits from `offset` on; behind the end of `bytes` all are clear.
fn load(bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let (window, below) = window(bytes, offset, bits);
    let mask = u64::MAX >> (64 - bits);
    (window >> below) as u64 & mask
}

/// Writes the low `bits` bits of `pattern` from `offset` on, which lie in `bytes`.
fn store(bytes: &mut [u8], offset: u64, bits: u32, pattern: u64) {
    let (window, below) = window(bytes, offset, bits);
    let mask = u128::from(u64::MAX >> (64 - bits)) << below;
    let window = window & !mask | u128::from(pattern) << below & mask;
    let start = (offset >> 3) as usize;
    let end = bytes.len().min(start + WINDOW);
    bytes[start..end].copy_from_slice(&window.to_be_bytes()[16 - WINDOW..][..end - start]);
}

/// The nine bytes from the one of `offset` on, the first one on top, and how many bits of them
/// lie below the integer.
fn window(bytes: &[u8], offset: u64, bits: u32) -> (u128, u32) {
    let start = (offset >> 3) as usize;
    let there = bytes.get(start..).unwrap_or_default();
    let there = &there[..there.len().min(WINDOW)];
    let mut wide = [0; 16];
    wide[16 - WINDOW..][..there.len()].copy_from_slice(there);
    (u128::from_be_bytes(wide), WINDOW as u32 * 8 - (offset & 7) as u32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn width(text: &str) -> Width {
        Width::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn widths_from_one_to_the_greatest_without_u64() {
        assert_eq!(width("i64"), Width { bits: 64, signed: true });
        assert_eq!(width("u1"), Width { bits: 1, signed: false });
        for text in ["u64", "i65", "i0", "u", "", "x8", "8", "I8", "u-1", "u08"] {
            assert!(Width::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        use Overflow::*;
        for (text, number, wrapped, saturated) in [
            ("u8", 256, 0, 255),
            ("u8", -1, 255, 0),
            ("i8", 128, -128, 127),
            ("i8", -129, 127, -128),
            ("i1", 1, -1, 0),
            ("u63", 1 << 63, 0, i64::MAX),
            ("i64", i128::from(i64::MAX) + 1, i64::MIN, i64::MAX),
            ("i64", i128::from(i64::MIN) - 1, i64::MAX, i64::MIN),
        ] {
            assert_eq!(width(text).fit(number, Wrap), Some(wrapped), "{text} {number}");
            assert_eq!(width(text).fit(number, Saturate), Some(saturated), "{text} {number}");
            assert_eq!(width(text).fit(number, Fail), None, "{text} {number}");
        }
        assert_eq!(width("i64").fit(-1, Fail), Some(-1));
        assert_eq!(width("u8").fit(255, Fail), Some(255));
    }

    #[test]
    fn setting_a_negative_number_saturates_an_unsigned_integer_at_its_greatest() {
        let (action, overflow) = (Action::Set(-1), Overflow::Saturate);
        let operation = Operation { action, width: width("u8"), offset: 0, overflow };
        let mut bytes = [0];
        assert_eq!(operation.run(&mut bytes), Some((0, true)));
        assert_eq!(bytes, [255]);
    }

    #[test]
    fn what_is_stored_is_loaded_and_nothing_else_changes() {
        let seed = 13;
        let mut rng = SplitMix64::new(seed);
        for round in 0..5000 {
            let bits = 1 + rng.below(64) as u32;
            let offset = rng.below(100);
            let len = (offset + u64::from(bits)).div_ceil(8) as usize + rng.below(4) as usize;
            let before: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            let pattern = rng.next_u64() & (u64::MAX >> (64 - bits));
            let mut bytes = before.clone();
            store(&mut bytes, offset, bits, pattern);
            assert_eq!(load(&bytes, offset, bits), pattern, "seed {seed} round {round}");
            let old = load(&before, offset, bits);
            store(&mut bytes, offset, bits, old);
            assert_eq!(bytes, before, "seed {seed} round {round}");
        }
    }

    #[test]
    fn behind_the_end_all_bits_are_clear() {
        assert_eq!(load(b"\xff", 4, 8), 0xf0);
        assert_eq!(load(b"\xff", 8, 64), 0);
        assert_eq!(load(b"", u64::MAX >> 4, 1), 0);
    }
}
