//! The scan family: walks over a database or a collection, and what else concerns all keys.
//!
//! SCAN goes through a database in hash order, in which a key keeps its place. Inside a
//! collection the cursor is a place of the dense order; see `scan/elements.rs`.

mod elements;

use super::numbers::integer;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::{CmdError, Walk};
use crate::limits::KEYS_SLICE;
use crate::resp::{Args, OutQueue, Protocol, Reply};
use crate::util::glob;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("dbsize", 1, Keys::NONE, READONLY | FAST, acl::KEYSPACE, Run::Walk(dbsize))
        .doc("1.0.0", "Returns how many keys the database has."),
    row("hscan", -3, Keys::ONE, READONLY, acl::HASH, Run::Locked(elements::hscan))
        .doc("2.8.0", "Walks over the fields and values of a hash."),
    row("keys", 2, Keys::NONE, READONLY, acl::KEYSPACE | acl::DANGEROUS, Run::Walk(keys))
        .doc("1.0.0", "Returns all keys that match a pattern."),
    row("randomkey", 1, Keys::NONE, READONLY, acl::KEYSPACE, Run::Walk(randomkey))
        .doc("1.0.0", "Returns a random key of the database."),
    row("scan", -2, Keys::NONE, READONLY, acl::KEYSPACE, Run::Walk(scan))
        .doc("2.8.0", "Walks over the keys of the database."),
    row("sscan", -3, Keys::ONE, READONLY, acl::SET, Run::Locked(elements::sscan))
        .doc("2.8.0", "Walks over the members of a set."),
    row("zscan", -3, Keys::ONE, READONLY, acl::SORTEDSET, Run::Locked(elements::zscan))
        .doc("2.8.0", "Walks over the members and scores of a sorted set."),
];

/// Options of SCAN and its kin.
struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// The options from argument `at` on; `typed` allows TYPE.
    fn parse(args: Args<'a>, mut at: usize, typed: bool) -> Result<Options<'a>, CmdError> {
        let mut options = Options { count: 10, pattern: None, type_name: None };
        while at < args.len() {
            let word = args.get(at);
            let value = args.try_get(at + 1).ok_or(CmdError::Syntax)?;
            if word.eq_ignore_ascii_case(b"count") {
                let count = usize::try_from(integer(value)?).unwrap_or(0);
                options.count = if count > 0 { count } else { return Err(CmdError::Syntax) };
            } else if word.eq_ignore_ascii_case(b"match") {
                options.pattern = Some(value).filter(|pattern| pattern != b"*");
            } else if typed && word.eq_ignore_ascii_case(b"type") {
                options.type_name = Some(value);
            } else {
                return Err(CmdError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

/// A cursor as `strtoul` reads it: a sign is allowed, and nothing at all is 0.
fn cursor(text: &[u8]) -> Result<u64, CmdError> {
    const INVALID: CmdError = CmdError::text("ERR invalid cursor");
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(INVALID);
    }
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0')).ok_or(INVALID)?;
        value = value.checked_mul(10).and_then(|tens| tens.checked_add(digit)).ok_or(INVALID)?;
    }
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Elements of a reply whose number is known once all are found.
struct Found {
    queue: OutQueue,
    protocol: Protocol,
    count: usize,
}

impl Found {
    fn new(protocol: Protocol) -> Found {
        Found { queue: OutQueue::default(), protocol, count: 0 }
    }

    fn push(&mut self, element: &[u8]) {
        Reply::new(&mut self.queue, self.protocol).bulk(element);
        self.count += 1;
    }

    /// Writes them as an array.
    fn write(mut self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        reply.raw(self.queue.buf_mut());
    }

    /// Writes a cursor and them.
    fn write_with(self, cursor: u64, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
        self.write(reply);
    }
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
fn scan(walk: &Walk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(args.get(1))?;
    let options = Options::parse(args, 2, true)?;
    let mut found = Found::new(reply.protocol());
    let next = walk.scan(cursor, options.count, &mut |entry, _| {
        let kind = entry.kind().name().as_bytes();
        if options.matches(entry.key())
            && options.type_name.is_none_or(|name| name.eq_ignore_ascii_case(kind))
        {
            found.push(entry.key());
        }
    });
    found.write_with(next, reply);
    Ok(())
}

/// KEYS pattern
fn keys(walk: &Walk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let pattern = args.get(1);
    let mut found = Found::new(reply.protocol());
    let mut cursor = 0;
    loop {
        // In slices: a shard's lock is not held for as long as the whole walk takes.
        cursor = walk.scan(cursor, KEYS_SLICE, &mut |entry, _| {
            if pattern == b"*" || glob::matches(pattern, entry.key(), false) {
                found.push(entry.key());
            }
        });
        if cursor == 0 {
            found.write(reply);
            return Ok(());
        }
    }
}

/// RANDOMKEY
fn randomkey(walk: &Walk<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !walk.random(&mut |key| reply.bulk(key)) {
        reply.nil();
    }
    Ok(())
}

/// DBSIZE
fn dbsize(walk: &Walk<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(walk.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        for (text, value) in [
            (&b"0"[..], 0),
            (b"", 0),
            (b"007", 7),
            (b"+7", 7),
            (b"18446744073709551615", u64::MAX),
            (b"-1", u64::MAX),
        ] {
            assert_eq!(cursor(text), Ok(value));
        }
        for text in [&b"18446744073709551616"[..], b"a", b"1a", b" 1", b"-", b"+", b"1.0"] {
            assert!(cursor(text).is_err(), "{text:?}");
        }
    }
}
