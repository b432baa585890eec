//! The keyspace family: what can be done to a key whatever it holds.

mod dump;
mod expire;
mod object;
pub(super) use object::encoding_name;
mod relocate;

use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::{Config, notify};
use crate::engine::{CmdError, Read, Txn};
use crate::limits::DATABASES;
use crate::resp::{Args, Reply};

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("copy", -3, Keys::TWO, WRITE | DENYOOM, acl::KEYSPACE, Run::Locked(relocate::copy))
        .doc("6.2.0", "Copies the value of a key to another one."),
    row("del", -2, Keys::ALL, WRITE, acl::KEYSPACE, Run::Locked(del)).doc("1.0.0", "Deletes keys."),
    row("dump", 2, Keys::ONE, READONLY, acl::KEYSPACE, Run::Locked(dump::dump))
        .doc("2.6.0", "Returns the value of a key in a form that RESTORE takes."),
    row("exists", -2, Keys::ALL, READONLY | FAST | NO_TOUCH, acl::KEYSPACE, Run::Read(exists))
        .doc("1.0.0", "Counts how many of the keys are there."),
    row("expire", -3, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(expire::expire))
        .doc("1.0.0", "Sets the time to live of a key in seconds."),
    row("expireat", -3, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(expire::expireat))
        .doc("1.2.0", "Sets the deadline of a key in seconds since 1970."),
    row(
        "expiretime",
        2,
        Keys::ONE,
        READONLY | FAST | NO_TOUCH,
        acl::KEYSPACE,
        Run::Read(expire::expiretime),
    )
    .doc("7.0.0", "Returns the deadline of a key in seconds since 1970."),
    row("flushall", -1, Keys::NONE, WRITE | ALL_SHARDS, FLUSH, Run::Locked(flushall))
        .doc("1.0.0", "Removes all keys of all databases."),
    row("flushdb", -1, Keys::NONE, WRITE | ALL_SHARDS, FLUSH, Run::Locked(flushdb))
        .doc("1.0.0", "Removes all keys of the selected database."),
    row("hotkeys", -1, Keys::NONE, READONLY, acl::KEYSPACE, Run::Read(object::hotkeys))
        .doc("7.2.4", "Returns the keys that are used most."),
    row("move", 3, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(relocate::move_key))
        .doc("1.0.0", "Moves a key to another database."),
    row("object", -2, Keys::SECOND, 0, 0, Run::Locked(object::object))
        .doc("2.2.3", "A container for commands that look at how values are kept.")
        .subs(OBJECT_SUBS),
    row("persist", 2, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(expire::persist))
        .doc("2.2.0", "Removes the deadline of a key."),
    row("pexpire", -3, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(expire::pexpire))
        .doc("2.6.0", "Sets the time to live of a key in milliseconds."),
    row("pexpireat", -3, Keys::ONE, WRITE | FAST, acl::KEYSPACE, Run::Locked(expire::pexpireat))
        .doc("2.6.0", "Sets the deadline of a key in milliseconds since 1970."),
    row(
        "pexpiretime",
        2,
        Keys::ONE,
        READONLY | FAST | NO_TOUCH,
        acl::KEYSPACE,
        Run::Read(expire::pexpiretime),
    )
    .doc("7.0.0", "Returns the deadline of a key in milliseconds since 1970."),
    row("pttl", 2, Keys::ONE, READONLY | FAST | NO_TOUCH, acl::KEYSPACE, Run::Read(expire::pttl))
        .doc("2.6.0", "Returns how long a key has to live, in milliseconds."),
    row("rename", 3, Keys::TWO, WRITE, acl::KEYSPACE, Run::Locked(relocate::rename))
        .doc("1.0.0", "Gives a key another name, whatever was there before."),
    row("renamenx", 3, Keys::TWO, WRITE | FAST, acl::KEYSPACE, Run::Locked(relocate::renamenx))
        .doc("1.0.0", "Gives a key another name unless that one is there."),
    row("restore", -4, Keys::ONE, WRITE | DENYOOM, FLUSH, Run::Locked(dump::restore))
        .doc("2.6.0", "Makes a key of what DUMP returned."),
    row("swapdb", 3, Keys::NONE, WRITE | FAST | ALL_SHARDS, FLUSH, Run::Locked(relocate::swapdb))
        .doc("4.0.0", "Exchanges two databases."),
    row("touch", -2, Keys::ALL, READONLY | FAST, acl::KEYSPACE, Run::Read(exists))
        .doc("3.2.1", "Counts how many of the keys are there, as a use of them."),
    row("ttl", 2, Keys::ONE, READONLY | FAST | NO_TOUCH, acl::KEYSPACE, Run::Read(expire::ttl))
        .doc("1.0.0", "Returns how long a key has to live, in seconds."),
    row("type", 2, Keys::ONE, READONLY | FAST | NO_TOUCH, acl::KEYSPACE, Run::Read(type_of))
        .doc("1.0.0", "Returns what kind of value a key holds."),
    row("unlink", -2, Keys::ALL, WRITE | FAST, acl::KEYSPACE, Run::Locked(del))
        .doc("4.0.0", "Deletes keys; their values are freed by and by."),
];

const OBJECT_SUBS: &[Command] = &[
    row(
        "encoding",
        3,
        Keys::SECOND,
        READONLY | NO_TOUCH,
        acl::KEYSPACE,
        Run::Locked(object::object),
    )
    .doc("2.2.3", "Returns the name of the form that Redis would keep a value in."),
    row("freq", 3, Keys::SECOND, READONLY | NO_TOUCH, acl::KEYSPACE, Run::Read(object::freq))
        .doc("4.0.0", "Returns how often a value is used, on a logarithmic scale."),
    row("help", 2, Keys::NONE, LOADING | STALE, acl::KEYSPACE, Run::Locked(object::object))
        .doc("6.2.0", "Returns helpful text about the sub-commands."),
    row(
        "idletime",
        3,
        Keys::SECOND,
        READONLY | NO_TOUCH,
        acl::KEYSPACE,
        Run::Locked(object::object),
    )
    .doc("2.2.3", "Returns for how long a value was not used."),
    row(
        "refcount",
        3,
        Keys::SECOND,
        READONLY | NO_TOUCH,
        acl::KEYSPACE,
        Run::Locked(object::object),
    )
    .doc("2.2.3", "Returns how many references a value has."),
];

const FLUSH: u32 = acl::KEYSPACE | acl::DANGEROUS;

/// DEL key [key ...], UNLINK key [key ...]
fn del(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut removed = 0;
    for bytes in args.iter_from(1) {
        let key = txn.key(bytes);
        if txn.remove(&key) {
            txn.notify(notify::GENERIC, "del", key.bytes);
            removed += 1;
        }
    }
    reply.int(removed);
    Ok(())
}

/// EXISTS key [key ...], TOUCH key [key ...]
fn exists(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        2 => usize::from(read.get(args.get(1)).is_some()),
        _ => read.get_many(args.iter_from(1)).iter().flatten().count(),
    };
    reply.int(count as i64);
    Ok(())
}

/// TYPE key
fn type_of(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.simple(read.get(args.get(1)).map_or("none", |entry| entry.kind().name()));
    Ok(())
}

/// FLUSHDB [ASYNC | SYNC]
fn flushdb(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush(args)?;
    let db = txn.db();
    flush(txn, db);
    reply.ok();
    Ok(())
}

/// FLUSHALL [ASYNC | SYNC]
fn flushall(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush(args)?;
    for db in 0..DATABASES as u8 {
        flush(txn, db);
    }
    reply.ok();
    Ok(())
}

/// ASYNC and SYNC do the same: a flushed table is freed once no reader can see it, in small
/// portions and by nobody who holds a lock.
fn check_flush(args: Args<'_>) -> Result<(), CmdError> {
    let is_known =
        |word: &[u8]| word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync");
    match args.len() {
        1 => Ok(()),
        2 if is_known(args.get(1)) => Ok(()),
        _ => Err(CmdError::Syntax),
    }
}

fn flush(txn: &mut Txn<'_, '_>, db: u8) {
    let keys = txn.held().store().len(db);
    txn.held().flush(db);
    txn.dirty(keys);
}

/// How many databases there are.
fn databases(config: &Config) -> i64 {
    config.values().int("databases").min(DATABASES as i64)
}

/// The database with number `index`.
fn database(index: i64, config: &Config) -> Result<u8, CmdError> {
    if (0..databases(config)).contains(&index) {
        Ok(index as u8)
    } else {
        Err(CmdError::text("ERR DB index is out of range"))
    }
}

/// Source and destination are one.
const SAME_OBJECT: CmdError = CmdError::text("ERR source and destination objects are the same");
