//! APPEND and SETRANGE: a new entry is put together from pieces.

use super::super::numbers::integer;
use super::super::table::Outcome;
use super::{Kept, check_len};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::{Key, Value};

/// APPEND key value
pub fn append(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let old = txn.string(&key)?.map(|entry| (Kept::of(entry), entry.deadline()));
    let len = match old {
        Some((head, deadline)) => {
            let len = head.len() + txn.value_arg(args, 2).len();
            check_len(txn.config(), len as u64)?;
            let tail = txn.take_value(args, 2);
            txn.put(&key, Value::Raw(&[&head, bytes_of(&tail)]), deadline);
            len
        }
        None => {
            // A value that was not there before is stored as SET does it.
            let len = txn.value_arg(args, 2).len();
            let value = txn.take_value(args, 2);
            txn.put(&key, value, None);
            len
        }
    };
    txn.notify(notify::STRING, "append", key.bytes);
    reply.int(len as i64);
    Ok(())
}

/// The bytes of an argument that was taken from a transaction.
fn bytes_of<'v>(value: &'v Value<'_>) -> &'v [u8] {
    match value {
        Value::Str(bytes) => bytes,
        Value::Bulk(bulk) => bulk.filled(),
        _ => &[], // an argument is never one of the others
    }
}

/// SETRANGE key offset value
pub fn setrange(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Ok(offset) = u64::try_from(integer(args.get(2))?) else {
        return Err(CmdError::text("ERR offset is out of range"));
    };
    let (key, piece) = (txn.key(args.get(1)), args.get(3));
    let config = txn.config();
    let old = txn.string(&key)?;
    if piece.is_empty() {
        reply.int(old.map_or(0, |entry| entry.value().len()) as i64);
        return Ok(());
    }
    check_len(config, offset.saturating_add(piece.len() as u64))?;
    let deadline = old.and_then(|entry| entry.deadline());
    let old = old.map_or_else(Kept::empty, Kept::of);
    let len = put_over(txn, &key, &old, (offset as usize, piece), deadline);
    txn.notify(notify::STRING, "setrange", key.bytes);
    reply.int(len as i64);
    Ok(())
}

/// Stores `old` with the bytes `piece.1` written over it from offset `piece.0` on; a gap is
/// filled with zeros. The new length.
pub(in super::super) fn put_over(
    txn: &mut Txn<'_, '_>,
    key: &Key<'_>,
    old: &[u8],
    (offset, piece): (usize, &[u8]),
    deadline: Option<u64>,
) -> usize {
    let head = &old[..offset.min(old.len())];
    let gap = vec![0; offset.saturating_sub(old.len())];
    let tail = old.get(offset + piece.len()..).unwrap_or_default();
    txn.put(key, Value::Raw(&[head, &gap, piece, tail]), deadline);
    offset + piece.len() + tail.len()
}
