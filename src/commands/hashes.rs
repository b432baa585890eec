//! The hashes family.

use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::objects::Hash;
use crate::util::int::parse_i64;
use crate::util::long_double::LongDouble;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("hset", -4, Keys::ONE, WRITE | DENYOOM | FAST, acl::HASH, Run::Locked(hset))
        .doc("2.0.0", "Sets fields of a hash, creating it if need be."),
    row("hsetnx", 4, Keys::ONE, WRITE | DENYOOM | FAST, acl::HASH, Run::Locked(hsetnx))
        .doc("2.0.0", "Sets a field of a hash unless it exists."),
    row("hmset", -4, Keys::ONE, WRITE | DENYOOM | FAST, acl::HASH, Run::Locked(hmset))
        .doc("2.0.0", "Sets fields of a hash and answers OK."),
    row("hget", 3, Keys::ONE, READONLY | FAST, acl::HASH, Run::Locked(hget))
        .doc("2.0.0", "Returns the value of a field."),
    row("hmget", -3, Keys::ONE, READONLY | FAST, acl::HASH, Run::Locked(hmget))
        .doc("2.0.0", "Returns the values of several fields."),
    row("hgetall", 2, Keys::ONE, READONLY, acl::HASH, Run::Locked(hgetall))
        .doc("2.0.0", "Returns all fields with their values."),
    row("hkeys", 2, Keys::ONE, READONLY, acl::HASH, Run::Locked(hkeys))
        .doc("2.0.0", "Returns all fields."),
    row("hvals", 2, Keys::ONE, READONLY, acl::HASH, Run::Locked(hvals))
        .doc("2.0.0", "Returns all values."),
    row("hstrlen", 3, Keys::ONE, READONLY | FAST, acl::HASH, Run::Locked(hstrlen))
        .doc("3.2.0", "Returns the length of a field's value."),
    row("hdel", -3, Keys::ONE, WRITE | FAST, acl::HASH, Run::Locked(hdel))
        .doc("2.0.0", "Removes fields, and the hash with its last one."),
    row("hexists", 3, Keys::ONE, READONLY | FAST, acl::HASH, Run::Locked(hexists))
        .doc("2.0.0", "Tells whether a field exists."),
    row("hlen", 2, Keys::ONE, READONLY | FAST, acl::HASH, Run::Locked(hlen))
        .doc("2.0.0", "Returns the number of fields."),
    row("hincrby", 4, Keys::ONE, WRITE | DENYOOM | FAST, acl::HASH, Run::Locked(hincrby))
        .doc("2.0.0", "Adds an integer to a field's value; an absent one counts as 0."),
    row("hincrbyfloat", 4, Keys::ONE, WRITE | DENYOOM | FAST, acl::HASH, Run::Locked(hincrbyfloat))
        .doc("2.6.0", "Adds a number to a field's value; an absent one counts as 0."),
];

/// HSET key field value [field value ...]
fn hset(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let added = set_pairs(txn, args, "hset")?;
    reply.int(added as i64);
    Ok(())
}

/// HMSET key field value [field value ...]
fn hmset(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_pairs(txn, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets the pairs that follow the key; how many fields are new.
fn set_pairs(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    command: &'static str,
) -> Result<usize, CmdError> {
    if args.len() % 2 == 1 {
        return Err(CmdError::Arity(command.into()));
    }
    let key = txn.key(args.get(1));
    let added = txn.change_or_create(&key, |hash: &mut Hash| {
        let fields = (2..args.len()).step_by(2);
        fields.filter(|&at| hash.insert(args.get(at), args.get(at + 1))).count()
    })?;
    txn.changed(&key, args.len() as u64 / 2 - 1, notify::HASH, "hset");
    Ok(added)
}

/// HSETNX key field value
fn hsetnx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let is_new = txn.change_or_create(&key, |hash: &mut Hash| {
        !hash.contains(args.get(2)) && hash.insert(args.get(2), args.get(3))
    })?;
    txn.changed(&key, is_new.into(), notify::HASH, "hset");
    reply.int(is_new.into());
    Ok(())
}

/// HGET key field
fn hget(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let hash = txn.read::<Hash>(&key)?;
    bulk_or_nil(reply, hash.and_then(|hash| hash.get(args.get(2))));
    Ok(())
}

/// HMGET key field [field ...]
fn hmget(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let hash = txn.read::<Hash>(&key)?;
    reply.array(args.len() - 2);
    for field in args.iter_from(2) {
        bulk_or_nil(reply, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

fn bulk_or_nil(reply: &mut Reply<'_>, value: Option<&[u8]>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.nil(),
    }
}

/// HGETALL key
fn hgetall(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let hash = txn.read::<Hash>(&key)?;
    reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        reply.bulk(field);
        reply.bulk(value);
    }
    Ok(())
}

/// HKEYS key
fn hkeys(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let hash = txn.read::<Hash>(&key)?;
    reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(field, _)| reply.bulk(field));
    Ok(())
}

/// HVALS key
fn hvals(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let hash = txn.read::<Hash>(&key)?;
    reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(_, value)| reply.bulk(value));
    Ok(())
}

/// HSTRLEN key field
fn hstrlen(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let value = txn.read::<Hash>(&key)?.and_then(|hash| hash.get(args.get(2)));
    reply.int(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

/// HDEL key field [field ...]
fn hdel(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let removed = txn.change(&key, |hash: &mut Hash| {
        args.iter_from(2).filter(|field| hash.remove(field)).count()
    })?;
    let removed = removed.unwrap_or(0);
    txn.changed(&key, removed as u64, notify::HASH, "hdel");
    txn.drop_if_empty(&key);
    reply.int(removed as i64);
    Ok(())
}

/// HEXISTS key field
fn hexists(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let exists = txn.read::<Hash>(&key)?.is_some_and(|hash| hash.contains(args.get(2)));
    reply.int(exists.into());
    Ok(())
}

/// HLEN key
fn hlen(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    reply.int(txn.read::<Hash>(&key)?.map_or(0, Hash::len) as i64);
    Ok(())
}

/// HINCRBY key field increment
fn hincrby(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field) = (txn.key(args.get(1)), args.get(2));
    let increment = parse_i64(args.get(3)).ok_or(CmdError::NotInteger)?;
    let sum = txn.change_or_create(&key, |hash: &mut Hash| {
        let value = match hash.get(field) {
            Some(text) => parse_i64(text).ok_or(NOT_INTEGER)?,
            None => 0,
        };
        let sum = value.checked_add(increment).ok_or(CmdError::Overflow)?;
        hash.insert(field, itoa::Buffer::new().format(sum).as_bytes());
        Ok::<_, CmdError>(sum)
    })??;
    txn.changed(&key, 1, notify::HASH, "hincrby");
    reply.int(sum);
    Ok(())
}

/// HINCRBYFLOAT key field increment
fn hincrbyfloat(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field) = (txn.key(args.get(1)), args.get(2));
    let increment = LongDouble::parse(args.get(3)).ok_or(CmdError::NotFloat)?;
    if !increment.is_finite() {
        return Err(INCREMENT_NOT_FINITE);
    }
    let sum = txn.change_or_create(&key, |hash: &mut Hash| {
        let value = match hash.get(field) {
            Some(text) => LongDouble::parse(text).ok_or(NOT_FLOAT)?,
            None => LongDouble::ZERO,
        };
        let sum = value.checked_add(increment).ok_or(SUM_NOT_FINITE)?.to_string();
        hash.insert(field, sum.as_bytes());
        Ok::<_, CmdError>(sum)
    })??;
    txn.changed(&key, 1, notify::HASH, "hincrbyfloat");
    reply.bulk(sum.as_bytes());
    Ok(())
}

const NOT_INTEGER: CmdError = CmdError::text("ERR hash value is not an integer");
const NOT_FLOAT: CmdError = CmdError::text("ERR hash value is not a float");
const INCREMENT_NOT_FINITE: CmdError = CmdError::text("ERR value is NaN or Infinity");
const SUM_NOT_FINITE: CmdError = CmdError::text("ERR increment would produce NaN or Infinity");
