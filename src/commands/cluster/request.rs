//! A request as bytes: what lies in an entry of a group's log, and travels between nodes.
//!
//! ```text
//!   kind u8 | [watched: count varint | count x (slot u16, index varint, deadline varint)]
//!           | commands
//!   kind 1   one command
//!   kind 2   a transaction: its commands, and what it has watched (C20)
//! ```
//!
//! Commands are spelled as in the records of the write-ahead log.

use crate::util::wire::{Source, put_varint};
use crate::wal::record::{put_command, take_command};

const ONE: u8 = 1;
const TRANSACTION: u8 = 2;

/// A request that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its commands, each with its arguments.
    pub commands: Vec<Vec<&'a [u8]>>,
    /// It is a transaction: the reply is a list, and nothing of it is seen before all of it.
    pub is_transaction: bool,
    /// What makes the transaction void if it does not hold any more.
    pub watched: Vec<Watched>,
}

/// What WATCH saw of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The slot of the keys.
    pub slot: u16,
    /// The last index that had written it.
    pub index: u64,
    /// When the first of the keys ends, ms of log time; 0: none does.
    pub deadline_ms: u64,
}

/// The bytes of one command.
pub fn one<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = vec![ONE];
    put_command(&mut out, 0, args);
    out
}

/// The beginning of a transaction; commands follow by [`push`].
pub fn transaction(watched: &[Watched]) -> Vec<u8> {
    let mut out = vec![TRANSACTION];
    put_varint(&mut out, watched.len() as u64);
    for Watched { slot, index, deadline_ms } in watched {
        out.extend_from_slice(&slot.to_le_bytes());
        put_varint(&mut out, *index);
        put_varint(&mut out, *deadline_ms);
    }
    out
}

/// Appends a command to a transaction.
pub fn push<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    put_command(out, 0, args);
}

/// Reads a request; `None` if it is not whole.
pub fn read(bytes: &[u8]) -> Option<Request<'_>> {
    let mut source = Source::new(bytes);
    let kind = source.u8().filter(|kind| [ONE, TRANSACTION].contains(kind))?;
    let is_transaction = kind == TRANSACTION;
    let mut watched = Vec::new();
    if is_transaction {
        let count = source.varint().filter(|&count| count <= bytes.len() as u64)?;
        for _ in 0..count {
            let (slot, index) = (source.u16()?, source.varint()?);
            watched.push(Watched { slot, index, deadline_ms: source.varint()? });
        }
    }
    let (mut rest, mut commands) = (source.rest(), Vec::new());
    while !rest.is_empty() {
        let mut args = Vec::new();
        take_command(&mut rest, &mut args).ok().filter(|_| !args.is_empty())?;
        commands.push(args);
    }
    (is_transaction || commands.len() == 1).then_some(Request { commands, is_transaction, watched })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&'static str]) -> Vec<&'static [u8]> {
        words.iter().map(|word| word.as_bytes()).collect()
    }

    #[test]
    fn requests_come_back_and_every_cut_of_them_is_refused() {
        let set = args(&["set", "k", "v"]);
        let bytes = one(set.iter().copied());
        let request = read(&bytes).unwrap();
        assert_eq!((request.commands, request.is_transaction), (vec![set.clone()], false));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "cut at {end}");
        }
        let seen = |slot, index, deadline_ms| Watched { slot, index, deadline_ms };
        let watched = vec![seen(16_383, 1 << 40, 0), seen(0, 0, 1 << 50)];
        let mut bytes = transaction(&watched);
        let get = args(&["get", "k"]);
        push(&mut bytes, set.iter().copied());
        let one_command = bytes.len();
        push(&mut bytes, get.iter().copied());
        let request = read(&bytes).unwrap();
        assert_eq!((request.commands, request.watched), (vec![set, get], watched));
        assert!((one_command + 1..bytes.len()).all(|end| read(&bytes[..end]).is_none()));
        assert_eq!(read(&[3, 0]), None);
    }
}
