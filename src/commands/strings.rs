//! The strings family: values that are one run of bytes.
//!
//! Entries are immutable. A command that changes a part of a value puts a new entry in the place
//! of the old one, made of pieces: what stays of the old value, and what is new. The old value
//! has to outlive its entry for that; see [`Kept`].
//!
//! A large value is never copied on its way out: the reply refers to where it lies.

mod change;
mod lcs;
mod number;
mod set;

pub(super) use change::put_over;

use super::numbers::integer;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::Config;
use crate::engine::{CmdError, Read};
use crate::limits::{ENTRY_SHARED_MIN, STRING_LEN_MAX};
use crate::resp::{Args, LargeReply, Reply};
use crate::store::{EntryRef, Kind, SharedValue};
use std::ops::{Deref, Range};

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("append", 3, Keys::ONE, STORE | FAST, acl::STRING, Run::Locked(change::append))
        .doc("2.0.0", "Appends bytes to a string, which is made if it is absent."),
    row("decr", 2, Keys::ONE, GROW | FAST, acl::STRING, Run::Locked(number::decr))
        .doc("1.0.0", "Takes one from the integer that a string spells."),
    row("decrby", 3, Keys::ONE, GROW | FAST, acl::STRING, Run::Locked(number::decrby))
        .doc("1.0.0", "Takes a number from the integer that a string spells."),
    row("get", 2, Keys::ONE, READONLY | FAST, acl::STRING, Run::Read(get))
        .doc("1.0.0", "Returns a string."),
    row("getdel", 2, Keys::ONE, WRITE | FAST, acl::STRING, Run::Locked(set::getdel))
        .doc("6.2.0", "Returns a string and deletes its key."),
    row("getex", -2, Keys::ONE, WRITE | FAST, acl::STRING, Run::Locked(set::getex))
        .doc("6.2.0", "Returns a string and sets or clears its deadline."),
    row("getrange", 4, Keys::ONE, READONLY, acl::STRING, Run::Read(getrange))
        .doc("2.4.0", "Returns a part of a string."),
    row("getset", 3, Keys::ONE, STORE | FAST, acl::STRING, Run::Locked(set::getset))
        .doc("1.0.0", "Sets a string and returns what it was before."),
    row("incr", 2, Keys::ONE, GROW | FAST, acl::STRING, Run::Locked(number::incr))
        .doc("1.0.0", "Adds one to the integer that a string spells."),
    row("incrby", 3, Keys::ONE, GROW | FAST, acl::STRING, Run::Locked(number::incrby))
        .doc("1.0.0", "Adds a number to the integer that a string spells."),
    row("incrbyfloat", 3, Keys::ONE, GROW | FAST, acl::STRING, Run::Locked(number::incrbyfloat))
        .doc("2.6.0", "Adds a number with a fraction to the number that a string spells."),
    row("lcs", -3, Keys::TWO, READONLY, acl::STRING, Run::Read(lcs::lcs))
        .doc("7.0.0", "Finds the longest common subsequence of two strings."),
    row("mget", -2, Keys::ALL, READONLY | FAST, acl::STRING, Run::Read(mget))
        .doc("1.0.0", "Returns several strings."),
    row("mset", -3, Keys::PAIRS, STORE, acl::STRING, Run::Locked(set::mset))
        .doc("1.0.1", "Sets several strings at once."),
    row("msetnx", -3, Keys::PAIRS, STORE, acl::STRING, Run::Locked(set::msetnx))
        .doc("1.0.1", "Sets several strings at once, unless one of the keys is there."),
    row("psetex", 4, Keys::ONE, GROW, acl::STRING, Run::Locked(set::psetex))
        .doc("2.6.0", "Sets a string with a time to live in milliseconds."),
    row("set", -3, Keys::ONE, STORE, acl::STRING, Run::Locked(set::set))
        .doc("1.0.0", "Sets a string, whatever was there before."),
    row("setex", 4, Keys::ONE, GROW, acl::STRING, Run::Locked(set::setex))
        .doc("2.0.0", "Sets a string with a time to live in seconds."),
    row("setnx", 3, Keys::ONE, STORE | FAST, acl::STRING, Run::Locked(set::setnx))
        .doc("1.0.0", "Sets a string unless its key is there."),
    row("setrange", 4, Keys::ONE, GROW, acl::STRING, Run::Locked(change::setrange))
        .doc("2.2.0", "Overwrites a part of a string, which grows if it has to."),
    row("strlen", 2, Keys::ONE, READONLY | FAST, acl::STRING, Run::Read(strlen))
        .doc("2.2.0", "Returns the length of a string in bytes."),
    row("substr", 4, Keys::ONE, READONLY, acl::STRING, Run::Read(getrange))
        .doc("1.0.0", "Returns a part of a string (the old name of GETRANGE)."),
];

const GROW: u32 = WRITE | DENYOOM;
const STORE: u32 = GROW | STORES_SECOND;

/// GET key
fn get(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match read.string(args.get(1))? {
        Some(entry) => reply_value(reply, entry),
        None => reply.nil(),
    }
    Ok(())
}

/// MGET key [key ...]
fn mget(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = read.get_many(args.iter_from(1));
    reply.array(found.len());
    for entry in found {
        match entry {
            Some(entry) if entry.kind() == Kind::String => reply_value(reply, entry),
            _ => reply.nil(),
        }
    }
    Ok(())
}

/// STRLEN key
fn strlen(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = read.string(args.get(1))?.map_or(0, |entry| entry.value().len());
    reply.int(len as i64);
    Ok(())
}

/// GETRANGE key start end
fn getrange(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, end) = (integer(args.get(2))?, integer(args.get(3))?);
    match read.string(args.get(1))? {
        Some(entry) => reply_part(reply, entry, part(entry.value().len(), start, end)),
        None => reply.bulk(b""),
    }
    Ok(())
}

/// The bytes `start..=end` of a string of `len` bytes; negative ones count from its end.
fn part(len: usize, start: i64, end: i64) -> Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

/// A large value, or a part of one, on its way to a client.
struct LargeValue {
    value: SharedValue,
    part: Range<usize>,
}

impl LargeReply for LargeValue {
    fn bytes(&self) -> &[u8] {
        &self.value.as_ref()[self.part.clone()]
    }
}

/// A string as a bulk reply: a large one is sent from where it lies.
#[inline]
pub(super) fn reply_value(reply: &mut Reply<'_>, entry: EntryRef<'_>) {
    let value = entry.value();
    if value.len() < ENTRY_SHARED_MIN {
        return reply.bulk(value);
    }
    reply_part(reply, entry, 0..value.len());
}

/// A part of a string as a bulk reply.
fn reply_part(reply: &mut Reply<'_>, entry: EntryRef<'_>, part: Range<usize>) {
    if part.len() >= ENTRY_SHARED_MIN
        && let Some(value) = entry.share()
    {
        return reply.bulk_large(Box::new(LargeValue { value, part }));
    }
    reply.bulk(&entry.value()[part]);
}

/// A value that outlives its entry: small ones are copied, large ones are counted.
pub(super) enum Kept {
    /// A copy.
    Copied(Vec<u8>),
    /// A reference.
    Shared(SharedValue),
}

impl Kept {
    /// The value of `entry`.
    pub fn of(entry: EntryRef<'_>) -> Kept {
        match entry.share() {
            Some(shared) => Kept::Shared(shared),
            None => Kept::Copied(entry.value().to_vec()),
        }
    }

    /// An empty value.
    pub fn empty() -> Kept {
        Kept::Copied(Vec::new())
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Kept::Copied(bytes) => bytes,
            Kept::Shared(shared) => shared.as_ref(),
        }
    }
}

/// Bytes that a string may have: `proto-max-bulk-len`, as far as an entry can tell it.
pub(super) fn string_len_max(config: &Config) -> u64 {
    config.hot.proto_max_bulk_len().min(STRING_LEN_MAX as u64)
}

/// Refuses a string of more than the allowed number of bytes.
pub(super) fn check_len(config: &Config, len: u64) -> Result<(), CmdError> {
    if len > string_len_max(config) { Err(CmdError::StringTooLong) } else { Ok(()) }
}
