//! The table that everything else about commands is derived from: dispatch, arity, flags, key
//! positions, ACL categories, COMMAND and its sub-commands.
//!
//! A row says how the command reaches the data:
//!
//! - [`Run::Read`]: looks at string entries or entry headers without a lock.
//! - [`Run::Locked`]: runs with the shards of its keys locked. All commands that change
//!   something, and those that read inside a collection. For a write this function is the
//!   deterministic *apply*: it may depend on the locked state, its arguments, and the
//!   transaction's clock and seed, on nothing else.
//! - [`Run::Walk`]: looks at many keys (SCAN, KEYS, DBSIZE, RANDOMKEY).
//! - [`Run::Session`]: concerns the connection or the server.

use super::session::Cx;
use super::{
    bits, cluster, connection, hashes, keyspace, lists, persistence, pubsub, replication, scan,
    server, sets, strings,
};
use super::{transactions, zsets};
use crate::engine::{CmdError, Read, Txn, Walk};
use crate::resp::{Args, Reply};
use std::sync::LazyLock;

/// What a command's function answers: a reply already written, or an error to be written.
/// A function that returns an error has written nothing.
pub type Outcome = Result<(), CmdError>;

/// How a command reaches the data, with its function.
#[derive(Clone, Copy)]
pub enum Run {
    /// Without a lock.
    Read(fn(&Read<'_>, Args<'_>, &mut Reply<'_>) -> Outcome),
    /// Under the writer locks of its keys' shards.
    Locked(fn(&mut Txn<'_, '_>, Args<'_>, &mut Reply<'_>) -> Outcome),
    /// Over a whole database.
    Walk(fn(&Walk<'_>, Args<'_>, &mut Reply<'_>) -> Outcome),
    /// On the connection and the server.
    Session(fn(&mut Cx<'_>, Args<'_>, &mut Reply<'_>) -> Outcome),
}

/// Redis' command flags, as COMMAND shows them.
pub mod flags {
    /// Changes the keyspace.
    pub const WRITE: u32 = 1;
    /// Only looks.
    pub const READONLY: u32 = 1 << 1;
    /// Refused when memory is over the limit.
    pub const DENYOOM: u32 = 1 << 2;
    /// For administrators.
    pub const ADMIN: u32 = 1 << 3;
    /// Concerns pub/sub.
    pub const PUBSUB: u32 = 1 << 4;
    /// Not allowed in scripts.
    pub const NOSCRIPT: u32 = 1 << 5;
    /// May wait.
    pub const BLOCKING: u32 = 1 << 6;
    /// Allowed while data is loaded.
    pub const LOADING: u32 = 1 << 7;
    /// Allowed on a stale replica.
    pub const STALE: u32 = 1 << 8;
    /// Not shown to MONITOR.
    pub const SKIP_MONITOR: u32 = 1 << 9;
    /// Not shown in SLOWLOG.
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    /// Constant or logarithmic time.
    pub const FAST: u32 = 1 << 11;
    /// Allowed before authentication.
    pub const NO_AUTH: u32 = 1 << 12;
    /// Refused inside a transaction.
    pub const NO_MULTI: u32 = 1 << 13;
    /// Key positions are not fixed.
    pub const MOVABLE_KEYS: u32 = 1 << 14;
    /// Takes no part in the asking redirection.
    pub const ALLOW_BUSY: u32 = 1 << 15;
    /// Locks every shard, whatever its keys.
    pub const ALL_SHARDS: u32 = 1 << 16;
    /// May not be replicated as it stands (shown by COMMAND only).
    pub const MAY_REPLICATE: u32 = 1 << 17;
    /// Needs no replication propagation (shown by COMMAND only).
    pub const NO_ASYNC_LOADING: u32 = 1 << 18;
    /// Runs at once inside a transaction, instead of being queued.
    pub const AT_ONCE: u32 = 1 << 21;
    /// Answered although the connection is in RESP2 subscribed mode.
    pub const IN_SUBSCRIBED: u32 = 1 << 19;
    /// Stores argument 2 as it is: a large one is handed over instead of copied. Not for
    /// commands whose argument 2 is a key, which must still be there when shards are chosen.
    pub const STORES_SECOND: u32 = 1 << 20;
    /// Looking at a key is not a use of it.
    pub const NO_TOUCH: u32 = 1 << 22;
}

/// Redis' ACL categories.
pub mod acl {
    /// Keyspace-wide.
    pub const KEYSPACE: u32 = 1;
    /// Reads.
    pub const READ: u32 = 1 << 1;
    /// Writes.
    pub const WRITE: u32 = 1 << 2;
    /// Sets.
    pub const SET: u32 = 1 << 3;
    /// Sorted sets.
    pub const SORTEDSET: u32 = 1 << 4;
    /// Lists.
    pub const LIST: u32 = 1 << 5;
    /// Hashes.
    pub const HASH: u32 = 1 << 6;
    /// Strings.
    pub const STRING: u32 = 1 << 7;
    /// Bit operations.
    pub const BITMAP: u32 = 1 << 8;
    /// Publish and subscribe.
    pub const PUBSUB: u32 = 1 << 9;
    /// Administration.
    pub const ADMIN: u32 = 1 << 10;
    /// Fast.
    pub const FAST: u32 = 1 << 11;
    /// Slow.
    pub const SLOW: u32 = 1 << 12;
    /// Dangerous.
    pub const DANGEROUS: u32 = 1 << 13;
    /// Connections.
    pub const CONNECTION: u32 = 1 << 14;
    /// Transactions.
    pub const TRANSACTION: u32 = 1 << 15;
    /// Scripting.
    pub const SCRIPTING: u32 = 1 << 16;
}

/// Where a command's keys are among its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Index of the first key; 0 means that there is none.
    pub first: i16,
    /// Index of the last key; negative counts from the end.
    pub last: i16,
    /// Distance from one key to the next.
    pub step: u16,
}

impl Keys {
    /// No key.
    pub const NONE: Keys = Keys { first: 0, last: 0, step: 0 };
    /// Argument 1.
    pub const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
    /// Arguments 1 and 2.
    pub const TWO: Keys = Keys { first: 1, last: 2, step: 1 };
    /// Argument 2 (a sub-command's object).
    pub const SECOND: Keys = Keys { first: 2, last: 2, step: 1 };
    /// All arguments.
    pub const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
    /// Every other argument (MSET).
    pub const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };
    /// All arguments from the second (BITOP).
    pub const FROM_SECOND: Keys = Keys { first: 2, last: -1, step: 1 };

    /// The indices of the keys in a request of `argc` arguments.
    pub fn positions(self, argc: usize) -> impl Iterator<Item = usize> {
        let last = if self.last < 0 { argc as i64 + self.last as i64 } else { self.last as i64 };
        let end = if self.first == 0 { 0 } else { (last + 1).clamp(0, argc as i64) as usize };
        (self.first as usize..end).step_by(self.step.max(1) as usize)
    }
}

/// One command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Lower-case name; of a sub-command without its parent's.
    pub name: &'static str,
    /// Arguments with the name: exactly as many, or at least `-arity` when negative.
    pub arity: i16,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Where its keys are.
    pub keys: Keys,
    /// Bits of [`acl`], beside those that follow from the flags.
    pub acl: u32,
    /// Its function.
    pub run: Run,
    /// Its sub-commands; those without a row run the parent's function.
    pub subs: &'static [Command],
    /// One sentence.
    pub summary: &'static str,
    /// The version of Redis that brought it.
    pub since: &'static str,
}

/// A row: name, arity, keys, flags, categories, function. Tell more by the methods.
pub const fn row(
    name: &'static str,
    arity: i16,
    keys: Keys,
    flags: u32,
    acl: u32,
    run: Run,
) -> Command {
    Command { name, arity, flags, keys, acl, run, subs: &[], summary: "", since: "1.0.0" }
}

impl Command {
    /// The same row with a summary and the version of Redis that brought the command.
    pub const fn doc(mut self, since: &'static str, summary: &'static str) -> Command {
        self.since = since;
        self.summary = summary;
        self
    }

    /// The same row with sub-commands.
    pub const fn subs(mut self, subs: &'static [Command]) -> Command {
        self.subs = subs;
        self
    }

    /// True when a request of `argc` arguments has the right number.
    #[inline]
    pub fn arity_fits(&self, argc: usize) -> bool {
        if self.arity >= 0 { argc == self.arity as usize } else { argc >= -self.arity as usize }
    }

    /// The row that a request runs: that of the sub-command it names, if it has one.
    #[inline]
    pub fn resolve(&'static self, args: Args<'_>) -> (&'static Command, Option<usize>) {
        if self.subs.is_empty() || args.len() < 2 {
            return (self, None);
        }
        let name = args.get(1);
        let sub = self.subs.iter().position(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name));
        (sub.map_or(self, |sub| &self.subs[sub]), sub)
    }

    /// True when the command has the flag.
    #[inline]
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

const FAMILIES: &[&[Command]] = &[
    bits::ROWS,
    cluster::report::ROWS,
    connection::ROWS,
    hashes::ROWS,
    keyspace::ROWS,
    lists::ROWS,
    persistence::ROWS,
    pubsub::ROWS,
    replication::ROWS,
    scan::ROWS,
    server::ROWS,
    sets::ROWS,
    strings::ROWS,
    transactions::ROWS,
    zsets::ROWS,
];

/// All commands, sorted by name.
pub static TABLE: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let mut rows: Vec<Command> = FAMILIES.concat();
    rows.sort_by_key(|row| row.name);
    for pair in rows.windows(2) {
        assert!(pair[0].name < pair[1].name, "two rows for {}", pair[0].name);
    }
    rows
});

/// Finds commands by name, in any case, without an allocation.
pub struct Lookup {
    /// Open addressing: the folded name and the row's index + 1; twice as large as needed.
    places: Vec<(u64, u16)>,
    mask: usize,
}

/// The index over [`TABLE`].
pub static LOOKUP: LazyLock<Lookup> = LazyLock::new(|| Lookup::new(&TABLE));

impl Lookup {
    fn new(rows: &[Command]) -> Lookup {
        let size = (rows.len() * 4).next_power_of_two();
        let mut lookup = Lookup { places: vec![(0, 0); size], mask: size - 1 };
        for (index, row) in rows.iter().enumerate() {
            let folded = fold(row.name.as_bytes());
            let mut at = folded as usize & lookup.mask;
            while lookup.places[at].1 != 0 {
                at = (at + 1) & lookup.mask;
            }
            lookup.places[at] = (folded, index as u16 + 1);
        }
        lookup
    }

    /// The index in [`TABLE`] of the command called `name`.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let folded = fold(name);
        let mut at = folded as usize & self.mask;
        loop {
            let (key, index) = self.places[at];
            if index == 0 {
                return None;
            }
            let index = index as usize - 1;
            if key == folded && TABLE[index].name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(index);
            }
            at = (at + 1) & self.mask;
        }
    }
}

/// Mixes a name without regard to case (bit 5 of every byte is set: letters become lower case,
/// and what else collides is told apart by the comparison that follows). Its first and last eight
/// bytes and its length take part.
#[inline]
fn fold(name: &[u8]) -> u64 {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let (first, last) = ends(name);
    let mixed = (first | CASE).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (last | CASE).rotate_left(29);
    let mixed = (mixed ^ name.len() as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

/// The first and the last eight bytes; of a shorter name what there is, without a loop.
#[inline]
fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into());
    }
    match name {
        [] => (0, 0),
        [first, .., last] => {
            ((*first).into(), u64::from(*last) << 8 | u64::from(name[name.len() / 2]))
        }
        [only] => ((*only).into(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case_and_nothing_else_is() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(LOOKUP.find(row.name.as_bytes()), Some(index));
            assert_eq!(LOOKUP.find(row.name.to_ascii_uppercase().as_bytes()), Some(index));
        }
        for name in [&b""[..], b"gett", b"ge", b"\x00", b"\xff\xff\xff", &[b'a'; 300]] {
            assert_eq!(LOOKUP.find(name), None);
        }
    }

    #[test]
    fn key_positions_follow_the_row() {
        let at = |keys: Keys, argc| keys.positions(argc).collect::<Vec<_>>();
        assert!(at(Keys::NONE, 3).is_empty());
        assert_eq!(at(Keys::ONE, 3), [1]);
        assert_eq!(at(Keys::ALL, 4), [1, 2, 3]);
        assert_eq!(at(Keys::PAIRS, 5), [1, 3]);
        assert_eq!(at(Keys::FROM_SECOND, 4), [2, 3]);
        assert_eq!(at(Keys::TWO, 2), [1]);
    }

    #[test]
    fn a_row_is_either_a_write_or_not_and_documented() {
        for row in TABLE.iter() {
            assert!(!(row.is(flags::WRITE) && row.is(flags::READONLY)), "{}", row.name);
            assert!(row.arity != 0, "{}", row.name);
            assert!(!row.summary.is_empty(), "{} has no summary", row.name);
            if row.is(flags::WRITE) {
                assert!(matches!(row.run, Run::Locked(_)), "{} must be an apply", row.name);
            }
        }
    }
}
