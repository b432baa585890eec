//! What a command does with each of its keys, as COMMAND tells it.

use super::table::{Command, Keys, flags};

/// Keys that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Where they are.
    pub keys: Keys,
    /// `RO`, `RW`, `OW` (overwrites) or `RM` (removes), and what of the value is concerned.
    pub flags: &'static [&'static str],
}

const READS: &[&str] = &["RO", "access"];
const LOOKS: &[&str] = &["RO"];
const OVERWRITES: &[&str] = &["OW", "update"];
const CREATES: &[&str] = &["OW", "insert"];
const ADDS: &[&str] = &["RW", "insert"];
const CHANGES: &[&str] = &["RW", "update"];
const READS_AND_CHANGES: &[&str] = &["RW", "access", "update"];
const READS_AND_REMOVES: &[&str] = &["RW", "access", "delete"];
const TAKES_OUT: &[&str] = &["RW", "delete"];
const REMOVES: &[&str] = &["RM", "delete"];
const NO_KEY: &[&str] = &["not_key"];

/// The uses of a command's keys, in the order of its arguments.
pub fn uses(command: &Command) -> Vec<KeyUse> {
    let second = Keys { first: 2, last: 2, step: 1 };
    let from_third = Keys { first: 3, last: -1, step: 1 };
    let with = |keys, flags| KeyUse { keys, flags };
    match command.name {
        "bitop" => vec![with(second, OVERWRITES), with(from_third, READS)],
        "copy" => vec![with(Keys::ONE, READS), with(second, OVERWRITES)],
        "rename" => vec![with(Keys::ONE, READS_AND_REMOVES), with(second, OVERWRITES)],
        "renamenx" => vec![with(Keys::ONE, READS_AND_REMOVES), with(second, CREATES)],
        "spublish" => vec![with(Keys::ONE, NO_KEY)],
        "ssubscribe" | "sunsubscribe" => vec![with(Keys::ALL, NO_KEY)],
        _ if command.keys.first == 0 => Vec::new(),
        name => vec![with(command.keys, flags_of(name, command))],
    }
}

fn flags_of(name: &str, command: &Command) -> &'static [&'static str] {
    match name {
        "append" | "hsetnx" | "linsert" | "lpush" | "lpushx" | "rpush" | "rpushx" | "sadd" => ADDS,
        "del" | "unlink" => REMOVES,
        "exists" | "touch" | "watch" | "hexists" | "hlen" | "hstrlen" | "llen" | "scard"
        | "sismember" | "strlen" | "type" | "zcard" => LOOKS,
        "expire" | "expireat" | "hmset" | "hset" | "lset" | "persist" | "pexpire" | "pexpireat"
        | "setrange" | "zadd" => CHANGES,
        "getdel" | "lpop" | "rpop" | "spop" | "zpopmax" | "zpopmin" => READS_AND_REMOVES,
        "hdel" | "lrem" | "ltrim" | "srem" | "zrem" => TAKES_OUT,
        "mset" | "psetex" | "restore" | "setex" => OVERWRITES,
        "msetnx" | "setnx" => CREATES,
        _ if command.is(flags::WRITE) => READS_AND_CHANGES,
        _ => READS,
    }
}

/// What a request of SET does depends on its options.
pub fn flags_of_request(
    command: &Command,
    argc: usize,
    flags: &'static [&'static str],
) -> &'static [&'static str] {
    if command.name == "set" && argc == 3 { OVERWRITES } else { flags }
}
