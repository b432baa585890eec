//! RENAME, COPY, MOVE and SWAPDB: values that change their place.
//!
//! RENAME and MOVE take a value out of one place and put it into another: a collection's
//! elements stay where they are in memory. A key lies in the same shard in every database, so
//! that MOVE needs one lock.

use super::super::numbers::small_integer;
use super::super::strings::Kept;
use super::super::table::Outcome;
use super::{SAME_OBJECT, database};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::{Key, Kind, Object, Value};

/// RENAME key newkey
pub fn rename(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (from, to) = (txn.key(args.get(1)), txn.key(args.get(2)));
    if !txn.exists(&from) {
        return Err(CmdError::NoSuchKey);
    }
    if from.bytes != to.bytes {
        give_name(txn, &from, &to);
    }
    reply.ok();
    Ok(())
}

/// RENAMENX key newkey
pub fn renamenx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (from, to) = (txn.key(args.get(1)), txn.key(args.get(2)));
    if !txn.exists(&from) {
        return Err(CmdError::NoSuchKey);
    }
    let is_free = from.bytes != to.bytes && !txn.exists(&to);
    if is_free {
        give_name(txn, &from, &to);
    }
    reply.int(is_free as i64);
    Ok(())
}

fn give_name(txn: &mut Txn<'_, '_>, from: &Key<'_>, to: &Key<'_>) {
    let Some(taken) = txn.take(from) else { return };
    let deadline = taken.deadline();
    txn.put(to, Value::Taken(taken), deadline);
    txn.notify(notify::GENERIC, "rename_from", from.bytes);
    txn.notify(notify::GENERIC, "rename_to", to.bytes);
}

/// MOVE key db
pub fn move_key(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let target = database(small_integer(args.get(2))?.into(), txn.config())?;
    if target == txn.db() {
        return Err(SAME_OBJECT);
    }
    let key = txn.key(args.get(1));
    let can_move = txn.exists(&key) && !in_database(txn, target, |txn| txn.exists(&key));
    if can_move && let Some(taken) = txn.take(&key) {
        let deadline = taken.deadline();
        in_database(txn, target, |txn| txn.put(&key, Value::Taken(taken), deadline));
        txn.notify(notify::GENERIC, "move_from", key.bytes);
        in_database(txn, target, |txn| txn.notify(notify::GENERIC, "move_to", key.bytes));
    }
    reply.int(can_move as i64);
    Ok(())
}

/// Does something in another database.
fn in_database<'a, 's, R>(
    txn: &mut Txn<'a, 's>,
    db: u8,
    act: impl FnOnce(&mut Txn<'a, 's>) -> R,
) -> R {
    let before = txn.select(db);
    let result = act(txn);
    txn.select(before);
    result
}

/// COPY source destination [DB db] [REPLACE]
pub fn copy(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (target, replace) = copy_options(txn, args)?;
    let (from, to) = (txn.key(args.get(1)), txn.key(args.get(2)));
    if target == txn.db() && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    if txn.find_counted(&from).is_none()
        || in_database(txn, target, |txn| txn.exists(&to)) && !replace
    {
        reply.int(0);
        return Ok(());
    }
    let deadline = txn.deadline(&from);
    let Some(copied) = Copied::of(txn, &from) else { return Err(CmdError::NoSuchKey) };
    in_database(txn, target, |txn| {
        copied.put(txn, &to, deadline);
        txn.notify(notify::GENERIC, "copy_to", to.bytes);
    });
    reply.int(1);
    Ok(())
}

fn copy_options(txn: &Txn<'_, '_>, args: Args<'_>) -> Result<(u8, bool), CmdError> {
    let (mut target, mut replace) = (txn.db(), false);
    let mut at = 3;
    while at < args.len() {
        let word = args.get(at);
        if word.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"db") && at + 1 < args.len() {
            at += 1;
            target = database(small_integer(args.get(at))?.into(), txn.config())?;
        } else {
            return Err(CmdError::Syntax);
        }
        at += 1;
    }
    Ok((target, replace))
}

/// A second value like the first.
enum Copied {
    String { value: Kept, is_raw: bool },
    Object(Object),
}

impl Copied {
    fn of(txn: &mut Txn<'_, '_>, key: &Key<'_>) -> Option<Copied> {
        let entry = txn.find(key)?;
        if entry.kind() == Kind::String {
            return Some(Copied::String { value: Kept::of(entry), is_raw: entry.is_raw() });
        }
        let db = txn.db();
        txn.held().object(db, key).cloned().map(Copied::Object)
    }

    fn put(self, txn: &mut Txn<'_, '_>, key: &Key<'_>, deadline: Option<u64>) {
        match self {
            Copied::String { value, is_raw: true } => {
                txn.put(key, Value::Raw(&[&value]), deadline);
            }
            Copied::String { value, is_raw: false } => {
                txn.put(key, Value::Str(&value), deadline);
            }
            Copied::Object(object) => txn.put(key, Value::Object(object), deadline),
        }
    }
}

/// SWAPDB index index
pub fn swapdb(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let first =
        small_integer(args.get(1)).map_err(|_| CmdError::text("ERR invalid first DB index"))?;
    let second =
        small_integer(args.get(2)).map_err(|_| CmdError::text("ERR invalid second DB index"))?;
    let config = txn.config();
    let (first, second) = (database(first.into(), config)?, database(second.into(), config)?);
    if first != second {
        txn.held().swap(first, second);
    }
    txn.dirty(1);
    reply.ok();
    Ok(())
}
