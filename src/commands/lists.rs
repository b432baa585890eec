//! The lists family.
//!
//! Deliberately absent: LPOS, LMOVE, LMPOP and the commands that wait.

use super::numbers::{integer, positive};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::objects::{List, Side};

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("lindex", 3, Keys::ONE, READONLY, acl::LIST, Run::Locked(lindex))
        .doc("1.0.0", "Returns an element of a list by its index."),
    row("linsert", 5, Keys::ONE, WRITE | DENYOOM, acl::LIST, Run::Locked(linsert))
        .doc("2.2.0", "Inserts an element before or after another one of a list."),
    row("llen", 2, Keys::ONE, READONLY | FAST, acl::LIST, Run::Locked(llen))
        .doc("1.0.0", "Returns the length of a list."),
    row("lpop", -2, Keys::ONE, WRITE | FAST, acl::LIST, Run::Locked(lpop))
        .doc("1.0.0", "Returns the first elements of a list after removing them."),
    row("lpush", -3, Keys::ONE, WRITE | DENYOOM | FAST, acl::LIST, Run::Locked(lpush))
        .doc("1.0.0", "Puts elements in front of a list, which is made if it is absent."),
    row("lpushx", -3, Keys::ONE, WRITE | DENYOOM | FAST, acl::LIST, Run::Locked(lpushx))
        .doc("2.2.0", "Puts elements in front of a list if it exists."),
    row("lrange", 4, Keys::ONE, READONLY, acl::LIST, Run::Locked(lrange))
        .doc("1.0.0", "Returns a range of elements of a list."),
    row("lrem", 4, Keys::ONE, WRITE, acl::LIST, Run::Locked(lrem))
        .doc("1.0.0", "Removes the elements of a list that equal the one given."),
    row("lset", 4, Keys::ONE, WRITE | DENYOOM, acl::LIST, Run::Locked(lset))
        .doc("1.0.0", "Replaces an element of a list by its index."),
    row("ltrim", 4, Keys::ONE, WRITE, acl::LIST, Run::Locked(ltrim))
        .doc("1.0.0", "Removes all elements of a list but a range."),
    row("rpop", -2, Keys::ONE, WRITE | FAST, acl::LIST, Run::Locked(rpop))
        .doc("1.0.0", "Returns the last elements of a list after removing them."),
    row("rpush", -3, Keys::ONE, WRITE | DENYOOM | FAST, acl::LIST, Run::Locked(rpush))
        .doc("1.0.0", "Puts elements behind a list, which is made if it is absent."),
    row("rpushx", -3, Keys::ONE, WRITE | DENYOOM | FAST, acl::LIST, Run::Locked(rpushx))
        .doc("2.2.0", "Puts elements behind a list if it exists."),
];

/// The end of a list that a command works at.
#[derive(Clone, Copy)]
enum End {
    Left,
    Right,
}

impl End {
    fn push(self, list: &mut List, element: &[u8]) {
        match self {
            End::Left => list.push_front(element),
            End::Right => list.push_back(element),
        }
    }

    fn push_event(self) -> &'static str {
        match self {
            End::Left => "lpush",
            End::Right => "rpush",
        }
    }

    fn pop_event(self) -> &'static str {
        match self {
            End::Left => "lpop",
            End::Right => "rpop",
        }
    }
}

/// LPUSH key element [element ...]
fn lpush(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    push(txn, args, reply, End::Left)
}

/// RPUSH key element [element ...]
fn rpush(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    push(txn, args, reply, End::Right)
}

fn push(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Outcome {
    let key = txn.key(args.get(1));
    let len = txn.change_or_create(&key, |list: &mut List| push_all(list, args, end))?;
    txn.changed(&key, args.len() as u64 - 2, notify::LIST, end.push_event());
    reply.int(len as i64);
    Ok(())
}

/// LPUSHX key element [element ...]
fn lpushx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    push_if_there(txn, args, reply, End::Left)
}

/// RPUSHX key element [element ...]
fn rpushx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    push_if_there(txn, args, reply, End::Right)
}

fn push_if_there(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
) -> Outcome {
    let key = txn.key(args.get(1));
    let len = txn.change(&key, |list: &mut List| push_all(list, args, end))?;
    if len.is_some() {
        txn.changed(&key, args.len() as u64 - 2, notify::LIST, end.push_event());
    }
    reply.int(len.unwrap_or(0) as i64);
    Ok(())
}

fn push_all(list: &mut List, args: Args<'_>, end: End) -> usize {
    args.iter_from(2).for_each(|element| end.push(list, element));
    list.len()
}

/// LPOP key [count]
fn lpop(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(txn, args, reply, End::Left)
}

/// RPOP key [count]
fn rpop(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(txn, args, reply, End::Right)
}

fn pop(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Outcome {
    let count = match args.len() {
        2 => None,
        3 => Some(positive(args.get(2))?),
        _ => {
            let name = end.pop_event();
            return Err(CmdError::Arity(name.into()));
        }
    };
    let key = txn.key(args.get(1));
    let popped = txn.change(&key, |list: &mut List| {
        let taken = count.unwrap_or(1).min(list.len());
        if count.is_some() {
            reply.array(taken);
        }
        match end {
            End::Left => {
                list.iter().take(taken).for_each(|element| reply.bulk(element));
                list.drop_front(taken);
            }
            End::Right => {
                list.iter().rev().take(taken).for_each(|element| reply.bulk(element));
                list.drop_back(taken);
            }
        }
        taken
    })?;
    match popped {
        Some(taken) => {
            txn.changed(&key, taken as u64, notify::LIST, end.pop_event());
            txn.drop_if_empty(&key);
        }
        None if count.is_some() => reply.nil_array(),
        None => reply.nil(),
    }
    Ok(())
}

/// LLEN key
fn llen(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let len = txn.read::<List>(&key)?.map_or(0, List::len);
    reply.int(len as i64);
    Ok(())
}

/// LRANGE key start stop
fn lrange(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, stop) = (integer(args.get(2))?, integer(args.get(3))?);
    let key = txn.key(args.get(1));
    let Some(list) = txn.read::<List>(&key)? else {
        reply.array(0);
        return Ok(());
    };
    let range = list.iter_range(start, stop);
    reply.array(range.len());
    range.for_each(|element| reply.bulk(element));
    Ok(())
}

/// LINDEX key index
fn lindex(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let Some(list) = txn.read::<List>(&key)? else {
        reply.nil();
        return Ok(());
    };
    match list.get(integer(args.get(2))?) {
        Some(element) => reply.bulk(element),
        None => reply.nil(),
    }
    Ok(())
}

/// LSET key index element
fn lset(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    if txn.peek::<List>(&key)?.is_none() {
        return Err(CmdError::NoSuchKey);
    }
    let (index, element) = (integer(args.get(2))?, args.get(3));
    let replaced = txn.change(&key, |list: &mut List| list.set(index, element))?;
    if replaced != Some(true) {
        return Err(CmdError::IndexOutOfRange);
    }
    txn.changed(&key, 1, notify::LIST, "lset");
    reply.ok();
    Ok(())
}

/// LINSERT key BEFORE|AFTER pivot element
fn linsert(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let side = match args.get(2) {
        word if word.eq_ignore_ascii_case(b"before") => Side::Before,
        word if word.eq_ignore_ascii_case(b"after") => Side::After,
        _ => return Err(CmdError::Syntax),
    };
    let key = txn.key(args.get(1));
    let len = txn.change(&key, |list: &mut List| {
        list.insert_beside(side, args.get(3), args.get(4)).then(|| list.len())
    })?;
    match len {
        None => reply.int(0),
        Some(None) => reply.int(-1),
        Some(Some(len)) => {
            txn.changed(&key, 1, notify::LIST, "linsert");
            reply.int(len as i64);
        }
    }
    Ok(())
}

/// LREM key count element
fn lrem(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (count, element) = (integer(args.get(2))?, args.get(3));
    let key = txn.key(args.get(1));
    let removed = txn.change(&key, |list: &mut List| list.remove(count, element))?.unwrap_or(0);
    txn.changed(&key, removed as u64, notify::LIST, "lrem");
    txn.drop_if_empty(&key);
    reply.int(removed as i64);
    Ok(())
}

/// LTRIM key start stop
fn ltrim(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, stop) = (integer(args.get(2))?, integer(args.get(3))?);
    let key = txn.key(args.get(1));
    let removed = txn.change(&key, |list: &mut List| {
        let before = list.len();
        list.trim(start, stop);
        before - list.len()
    })?;
    match removed {
        None => {}
        // Announced, and seen by watchers, even when all elements stay: as Redis does it.
        Some(0) => {
            let db = txn.db();
            txn.held().touch(db, &key);
            txn.notify(notify::LIST, "ltrim", key.bytes);
        }
        Some(removed) => {
            txn.changed(&key, removed as u64, notify::LIST, "ltrim");
            txn.drop_if_empty(&key);
        }
    }
    reply.ok();
    Ok(())
}
