//! The strings family.

use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::notify;
use crate::engine::{CmdError, Read, Txn};
use crate::resp::{Args, LargeReply, Reply};
use crate::store::{EntryRef, SharedValue, Value};
use crate::util::int::parse_i64;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("get", 2, Keys::ONE, READONLY | FAST, acl::STRING, Run::Read(get))
        .doc("1.0.0", "Returns the string value of a key."),
    row("getdel", 2, Keys::ONE, WRITE | FAST, acl::STRING, Run::Locked(getdel))
        .doc("6.2.0", "Returns the string value of a key after deleting the key."),
    row("append", 3, Keys::ONE, WRITE | DENYOOM | FAST, acl::STRING, Run::Locked(append))
        .doc("2.0.0", "Appends a string to the value of a key."),
];

/// GET key
fn get(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match read.string(args.get(1))? {
        Some(entry) => reply_value(reply, entry),
        None => reply.nil(),
    }
    Ok(())
}

/// GETDEL key: returns the value and removes it, as one atomic step.
fn getdel(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    match txn.string(&key)? {
        Some(entry) => reply_value(reply, entry),
        None => {
            reply.nil();
            return Ok(());
        }
    }
    txn.remove(&key);
    txn.notify(notify::GENERIC, "del", key.bytes);
    Ok(())
}

/// APPEND key value
fn append(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, tail) = (txn.key(args.get(1)), args.get(2));
    let limit = txn.config().hot.proto_max_bulk_len() as usize;
    let (head, deadline) = match txn.string(&key)? {
        // The old value is copied since the entry is retired by the change.
        Some(entry) => (entry.value().to_vec(), entry.deadline()),
        None => (Vec::new(), None),
    };
    if head.len() + tail.len() > limit {
        return Err(CmdError::StringTooLong);
    }
    reply.int((head.len() + tail.len()) as i64);
    txn.put(&key, Value::Raw(&[&head, tail]), deadline);
    txn.notify(notify::STRING, "append", key.bytes);
    Ok(())
}

/// A large value on its way to a client.
struct LargeValue(SharedValue);

impl LargeReply for LargeValue {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A string as a bulk reply: a large one is sent from where it lies.
pub(super) fn reply_value(reply: &mut Reply<'_>, entry: EntryRef<'_>) {
    match entry.share() {
        Some(shared) => reply.bulk_large(Box::new(LargeValue(shared))),
        None => reply.bulk(entry.value()),
    }
}

/// The integer a string entry holds.
pub(super) fn integer(entry: EntryRef<'_>) -> Result<i64, CmdError> {
    parse_i64(entry.value()).ok_or(CmdError::NotInteger)
}
