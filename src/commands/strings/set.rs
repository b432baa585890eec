//! SET and its kin: whole values in, whole values out.

use super::super::numbers::integer;
use super::super::table::Outcome;
use super::reply_value;
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::store::Key;
use crate::util::int::parse_i64;

/// The ways to tell a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Seconds since 1970.
    ExAt,
    /// Milliseconds since 1970.
    PxAt,
}

impl Clock {
    fn named(word: &[u8]) -> Option<Clock> {
        let names =
            [(Clock::Ex, "ex"), (Clock::Px, "px"), (Clock::ExAt, "exat"), (Clock::PxAt, "pxat")];
        let found = names.iter().find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(clock, _)| *clock)
    }

    fn is_absolute(self) -> bool {
        matches!(self, Clock::ExAt | Clock::PxAt)
    }

    /// The deadline that `text` tells, in ms since 1970.
    fn deadline(self, text: &[u8], now_ms: u64, command: &'static str) -> Result<u64, CmdError> {
        let time = integer(text)?;
        let unit_ms = if matches!(self, Clock::Ex | Clock::ExAt) { 1000 } else { 1 };
        let base_ms = if self.is_absolute() { 0 } else { now_ms as i64 };
        let deadline = time.checked_mul(unit_ms).and_then(|time_ms| time_ms.checked_add(base_ms));
        match deadline {
            Some(deadline) if time > 0 => Ok(deadline as u64),
            _ => Err(CmdError::InvalidExpire(command)),
        }
    }
}

/// What becomes of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime<'a> {
    /// Nothing was said.
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    /// EX and its like, with the time as it was told.
    Told(Clock, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Takes over what the argument at `at` says of the lifetime; the index of the argument
    /// behind. Options of one kind may be repeated, different kinds exclude each other.
    fn option(
        &mut self,
        args: Args<'a>,
        at: usize,
        untimed: Lifetime<'a>,
    ) -> Result<usize, CmdError> {
        let word = args.get(at);
        let name: &[u8] = if untimed == Lifetime::Keep { b"keepttl" } else { b"persist" };
        let (said, next) = if word.eq_ignore_ascii_case(name) {
            (untimed, at + 1)
        } else {
            let clock = Clock::named(word).ok_or(CmdError::Syntax)?;
            (Lifetime::Told(clock, args.try_get(at + 1).ok_or(CmdError::Syntax)?), at + 2)
        };
        let is_same_kind = match (*self, said) {
            (Lifetime::Unsaid, _) => true,
            (Lifetime::Told(before, _), Lifetime::Told(clock, _)) => before == clock,
            (before, said) => before == said,
        };
        *self = said;
        if is_same_kind { Ok(next) } else { Err(CmdError::Syntax) }
    }

    fn deadline(self, now_ms: u64, command: &'static str) -> Result<Option<u64>, CmdError> {
        match self {
            Lifetime::Told(clock, text) => clock.deadline(text, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }
}

/// When a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

impl Condition {
    fn admits(self, exists: bool) -> bool {
        match self {
            Condition::Always => true,
            Condition::IfAbsent => !exists,
            Condition::IfPresent => exists,
        }
    }
}

/// Everything that may follow `SET key value`.
#[derive(Debug)]
struct SetOptions<'a> {
    condition: Condition,
    get: bool,
    lifetime: Lifetime<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<SetOptions<'a>, CmdError> {
        let mut options =
            SetOptions { condition: Condition::Always, get: false, lifetime: Lifetime::Unsaid };
        if args.len() == 4 && parse_i64(args.get(3)).is_some() {
            // No option is a number, so this cannot be mistaken for one.
            options.lifetime = Lifetime::Told(Clock::Px, args.get(3));
            return Ok(options);
        }
        let mut at = 3;
        while at < args.len() {
            at = options.option(args, at)?;
        }
        Ok(options)
    }

    fn option(&mut self, args: Args<'a>, at: usize) -> Result<usize, CmdError> {
        let word = args.get(at);
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"nx") && self.condition != Condition::IfPresent {
            self.condition = Condition::IfAbsent;
        } else if is(b"xx") && self.condition != Condition::IfAbsent {
            self.condition = Condition::IfPresent;
        } else if is(b"get") {
            self.get = true;
        } else {
            return self.lifetime.option(args, at, Lifetime::Keep);
        }
        Ok(at + 1)
    }

    /// True when the old value makes no difference.
    fn is_blind(&self) -> bool {
        self.condition == Condition::Always && !self.get && self.lifetime != Lifetime::Keep
    }
}

/// SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL], or
/// SET key value ms
pub fn set(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return set_with_options(txn, args, reply);
    }
    let key = txn.key(args.get(1));
    store(txn, &key, args, 2, None);
    reply.ok();
    Ok(())
}

fn set_with_options(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = SetOptions::parse(args)?;
    let mut deadline = options.lifetime.deadline(txn.now_ms(), "set")?;
    let key = txn.key(args.get(1));
    if !options.is_blind() {
        let old = if options.get { txn.string_counted(&key)? } else { txn.find(&key) };
        let (exists, old_deadline) = (old.is_some(), old.and_then(|entry| entry.deadline()));
        match old {
            Some(entry) if options.get => reply_value(reply, entry),
            None if options.get => reply.nil(),
            _ => {}
        }
        if !options.condition.admits(exists) {
            if !options.get {
                reply.nil();
            }
            return Ok(());
        }
        if options.lifetime == Lifetime::Keep {
            deadline = old_deadline;
        }
    }
    store(txn, &key, args, 2, deadline);
    if let Lifetime::Told(..) = options.lifetime {
        txn.notify(notify::GENERIC, "expire", key.bytes);
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

/// Stores argument `index` of a request under `key`.
#[inline]
fn store(
    txn: &mut Txn<'_, '_>,
    key: &Key<'_>,
    args: Args<'_>,
    index: usize,
    deadline: Option<u64>,
) {
    let value = txn.take_value(args, index);
    txn.put(key, value, deadline);
    txn.notify(notify::STRING, "set", key.bytes);
}

/// SETEX key seconds value
pub fn setex(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_until(txn, args, Clock::Ex.deadline(args.get(2), txn.now_ms(), "setex")?, reply)
}

/// PSETEX key milliseconds value
pub fn psetex(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_until(txn, args, Clock::Px.deadline(args.get(2), txn.now_ms(), "psetex")?, reply)
}

fn set_until(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    deadline: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = txn.key(args.get(1));
    store(txn, &key, args, 3, Some(deadline));
    txn.notify(notify::GENERIC, "expire", key.bytes);
    reply.ok();
    Ok(())
}

/// SETNX key value
pub fn setnx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let is_absent = !txn.exists(&key);
    if is_absent {
        store(txn, &key, args, 2, None);
    }
    reply.int(is_absent as i64);
    Ok(())
}

/// GETSET key value
pub fn getset(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    match txn.string_counted(&key)? {
        Some(entry) => reply_value(reply, entry),
        None => reply.nil(),
    }
    store(txn, &key, args, 2, None);
    Ok(())
}

/// GETDEL key
pub fn getdel(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    match txn.string_counted(&key)? {
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

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub fn getex(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut lifetime = Lifetime::Unsaid;
    let mut at = 2;
    while at < args.len() {
        at = lifetime.option(args, at, Lifetime::Persist)?;
    }
    let (key, now_ms) = (txn.key(args.get(1)), txn.now_ms());
    let Some(entry) = txn.string_counted(&key)? else {
        // Whether the time makes sense is not looked at for an absent key.
        reply.nil();
        return Ok(());
    };
    let deadline = lifetime.deadline(now_ms, "getex")?;
    let had_deadline = entry.deadline().is_some();
    reply_value(reply, entry);
    match (lifetime, deadline) {
        (_, Some(deadline)) if deadline <= now_ms => {
            txn.remove(&key);
            txn.notify(notify::GENERIC, "del", key.bytes);
        }
        (_, Some(_)) => {
            txn.set_deadline(&key, deadline);
            txn.notify(notify::GENERIC, "expire", key.bytes);
        }
        (Lifetime::Persist, None) if had_deadline => {
            txn.set_deadline(&key, None);
            txn.notify(notify::GENERIC, "persist", key.bytes);
        }
        _ => {}
    }
    Ok(())
}

/// MSET key value [key value ...]
pub fn mset(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_pairs(args, "mset")?;
    set_pairs(txn, args);
    reply.ok();
    Ok(())
}

/// MSETNX key value [key value ...]
pub fn msetnx(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_pairs(args, "msetnx")?;
    for at in (1..args.len()).step_by(2) {
        let key = txn.key(args.get(at));
        if txn.exists(&key) {
            reply.int(0);
            return Ok(());
        }
    }
    set_pairs(txn, args);
    reply.int(1);
    Ok(())
}

fn check_pairs(args: Args<'_>, command: &'static str) -> Result<(), CmdError> {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CmdError::Arity(command.into())) }
}

fn set_pairs(txn: &mut Txn<'_, '_>, args: Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        let key = txn.key(args.get(at));
        store(txn, &key, args, at + 1, None);
    }
}
