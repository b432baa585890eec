//! Counters: strings that spell numbers.

use super::super::numbers::integer;
use super::super::table::Outcome;
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::Value;
use crate::util::long_double::LongDouble;

/// INCR key
pub fn incr(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(txn, args, 1, reply)
}

/// DECR key
pub fn decr(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(txn, args, -1, reply)
}

/// INCRBY key increment
pub fn incrby(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(txn, args, integer(args.get(2))?, reply)
}

/// DECRBY key decrement
pub fn decrby(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = integer(args.get(2))?.checked_neg();
    add(txn, args, by.ok_or(CmdError::text("ERR decrement would overflow"))?, reply)
}

fn add(txn: &mut Txn<'_, '_>, args: Args<'_>, by: i64, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let (value, deadline) = match txn.string(&key)? {
        Some(entry) => (integer(entry.value())?, entry.deadline()),
        None => (0, None),
    };
    let sum = value.checked_add(by).ok_or(CmdError::Overflow)?;
    let mut digits = itoa::Buffer::new();
    txn.put(&key, Value::Str(digits.format(sum).as_bytes()), deadline);
    txn.notify(notify::STRING, "incrby", key.bytes);
    reply.int(sum);
    Ok(())
}

/// INCRBYFLOAT key increment
pub fn incrbyfloat(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let (value, deadline) = match txn.string(&key)? {
        Some(entry) => (float(entry.value())?, entry.deadline()),
        None => (LongDouble::ZERO, None),
    };
    let sum = value
        .checked_add(float(args.get(2))?)
        .ok_or(CmdError::text("ERR increment would produce NaN or Infinity"))?
        .to_string();
    txn.put(&key, Value::Str(sum.as_bytes()), deadline);
    txn.notify(notify::STRING, "incrbyfloat", key.bytes);
    reply.bulk(sum.as_bytes());
    Ok(())
}

fn float(text: &[u8]) -> Result<LongDouble, CmdError> {
    LongDouble::parse(text).ok_or(CmdError::NotFloat)
}
