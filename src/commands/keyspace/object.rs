//! OBJECT: how a value is kept, told in the terms of Redis.
//!
//! A string has one form here, and collections have forms of their own. The encoding that is
//! shown is the one that Redis would have chosen under the configured limits.

use super::super::help;
use super::super::table::Outcome;
use crate::config::{Config, EvictionPolicy};
use crate::engine::{CmdError, LEADERS, Read, Txn, log_scale};
use crate::resp::{Args, Reply};
use crate::store::{EntryRef, Kind, Object};
use crate::util::int::parse_i64;

/// The longest string that Redis keeps in one allocation with its header.
const EMBEDDED_LEN_MAX: usize = 44;
/// Integers from 0 up to here are shared in Redis: their reference count is a constant.
const SHARED_INTEGERS: i64 = 10_000;

const HELP: &[&str] = &[
    "OBJECT <subcommand> [argument], where the subcommand is one of:",
    "ENCODING <key>",
    "    The form that Redis would keep the value in.",
    "FREQ <key>",
    "    How often the value is used, from 0 to 255, logarithmic.",
    "IDLETIME <key>",
    "    Seconds for which the value was not used; without an LFU policy only.",
    "REFCOUNT <key>",
    "    How many references the value has.",
    "HELP",
    "    These lines.",
];

/// OBJECT ENCODING | FREQ | IDLETIME | REFCOUNT key, OBJECT HELP
pub fn object(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let ask = match (args.get(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"help", 2) => {
            help::reply(reply, HELP);
            return Ok(());
        }
        (b"encoding", 3) => encoding,
        (b"idletime", 3) => idletime,
        (b"refcount", 3) => refcount,
        _ => return Err(CmdError::unknown_subcommand("object", args.get(1))),
    };
    let (config, db, key) = (txn.config(), txn.db(), txn.key(args.get(2)));
    if !txn.exists(&key) {
        reply.nil();
        return Ok(());
    }
    let held = txn.held();
    let idle_s = held.idle_s(db, &key).unwrap_or(0);
    let Some(entry) = held.find(db, &key) else { return Err(CmdError::NoSuchKey) };
    ask(config, entry, held.object(db, &key), idle_s, reply)
}

fn encoding(
    config: &Config,
    entry: EntryRef<'_>,
    object: Option<&Object>,
    _idle_s: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.bulk(encoding_name(config, entry, object).as_bytes());
    Ok(())
}

/// The encoding that Redis would show.
pub fn encoding_name(
    config: &Config,
    entry: EntryRef<'_>,
    object: Option<&Object>,
) -> &'static str {
    let hot = &config.hot;
    match object {
        None => string_encoding(entry),
        Some(Object::List(list)) => list.encoding(),
        Some(Object::Set(set)) => set.encoding(hot.set_max_intset_entries() as usize),
        Some(Object::Hash(hash)) => hash.encoding(
            hot.hash_max_listpack_entries() as usize,
            hot.hash_max_listpack_value() as usize,
        ),
        Some(Object::ZSet(zset)) => zset.encoding(
            hot.zset_max_listpack_entries() as usize,
            hot.zset_max_listpack_value() as usize,
        ),
    }
}

fn string_encoding(entry: EntryRef<'_>) -> &'static str {
    let value = entry.value();
    if entry.is_raw() {
        "raw"
    } else if parse_i64(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_LEN_MAX {
        "embstr"
    } else {
        "raw"
    }
}

fn is_lfu(config: &Config) -> bool {
    matches!(
        config.hot.maxmemory_policy(),
        EvictionPolicy::AllKeysLfu | EvictionPolicy::VolatileLfu
    )
}

/// OBJECT FREQ key: on Redis' scale, but under every policy, and estimated from a part of the uses.
pub fn freq(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.get(2);
    if read.peek(key).is_none() {
        reply.nil();
        return Ok(());
    }
    let factor = read.config().hot.lfu_log_factor();
    reply.int(log_scale(read.uses(key), factor).into());
    Ok(())
}

/// HOTKEYS [COUNT count]: the keys of this database used most in the last minutes, each followed
/// by its estimated uses.
pub fn hotkeys(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        1 => LEADERS as i64,
        3 if args.get(1).eq_ignore_ascii_case(b"count") => {
            parse_i64(args.get(2)).ok_or(CmdError::NotInteger)?
        }
        _ => return Err(CmdError::Syntax),
    };
    if count <= 0 {
        return Err(CmdError::text("ERR COUNT must be positive"));
    }
    let hottest = read.hottest(count as usize);
    reply.array(hottest.len() * 2);
    for (key, uses) in hottest {
        reply.bulk(&key);
        reply.int(uses as i64);
    }
    Ok(())
}

fn idletime(
    config: &Config,
    _entry: EntryRef<'_>,
    _object: Option<&Object>,
    idle_s: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    if is_lfu(config) {
        return Err(CmdError::text(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time \
             to adjust.",
        ));
    }
    reply.int(idle_s as i64);
    Ok(())
}

fn refcount(
    _config: &Config,
    entry: EntryRef<'_>,
    _object: Option<&Object>,
    _idle_s: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let is_shared = entry.kind() == Kind::String
        && !entry.is_raw()
        && parse_i64(entry.value()).is_some_and(|value| (0..SHARED_INTEGERS).contains(&value));
    reply.int(if is_shared { i32::MAX.into() } else { 1 });
    Ok(())
}
