//! The sorted sets family. Ranges, by rank, score and member, are in [`super::zset_range`].

use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use super::zset_range::{score_bounds, zrange, zrangebyscore, zrevrange, zrevrangebyscore};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Protocol, Reply};
use crate::store::objects::ZSet;
use crate::store::objects::zset::Inserted;
use crate::util::float::parse_f64;
use crate::util::int::parse_i64;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("zadd", -4, Keys::ONE, WRITE | DENYOOM | FAST, acl::SORTEDSET, Run::Locked(zadd))
        .doc("1.2.0", "Adds members to a sorted set, or changes their scores."),
    row("zrem", -3, Keys::ONE, WRITE | FAST, acl::SORTEDSET, Run::Locked(zrem))
        .doc("1.2.0", "Removes members, and the sorted set with its last one."),
    row("zincrby", 4, Keys::ONE, WRITE | DENYOOM | FAST, acl::SORTEDSET, Run::Locked(zincrby))
        .doc("1.2.0", "Adds a number to a member's score; an absent one counts as 0."),
    row("zscore", 3, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zscore))
        .doc("1.2.0", "Returns the score of a member."),
    row("zmscore", -3, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zmscore))
        .doc("6.2.0", "Returns the scores of several members."),
    row("zcard", 2, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zcard))
        .doc("1.2.0", "Returns the number of members."),
    row("zcount", 4, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zcount))
        .doc("2.0.0", "Counts the members whose scores lie between two bounds."),
    row("zrank", 3, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zrank))
        .doc("2.0.0", "Returns the position of a member, counted from the lowest score."),
    row("zrevrank", 3, Keys::ONE, READONLY | FAST, acl::SORTEDSET, Run::Locked(zrevrank))
        .doc("2.0.0", "Returns the position of a member, counted from the highest score."),
    row("zrange", -4, Keys::ONE, READONLY, acl::SORTEDSET, Run::Locked(zrange))
        .doc("1.2.0", "Returns members between two positions, scores or members."),
    row("zrangebyscore", -4, Keys::ONE, READONLY, acl::SORTEDSET, Run::Locked(zrangebyscore))
        .doc("1.0.5", "Returns the members whose scores lie between two bounds, upwards."),
    row("zrevrange", -4, Keys::ONE, READONLY, acl::SORTEDSET, Run::Locked(zrevrange))
        .doc("1.2.0", "Returns members between two positions, from the highest score down."),
    row("zrevrangebyscore", -4, Keys::ONE, READONLY, acl::SORTEDSET, Run::Locked(zrevrangebyscore))
        .doc("2.2.0", "Returns the members whose scores lie between two bounds, downwards."),
    row("zpopmin", -2, Keys::ONE, WRITE | FAST, acl::SORTEDSET, Run::Locked(zpopmin))
        .doc("5.0.0", "Removes and returns members with the lowest scores."),
    row("zpopmax", -2, Keys::ONE, WRITE | FAST, acl::SORTEDSET, Run::Locked(zpopmax))
        .doc("5.0.0", "Removes and returns members with the highest scores."),
];

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
fn zadd(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(txn, args, reply, AddOptions::default())
}

/// ZINCRBY key increment member. It takes the options of ZADD in the place of its number, and
/// then misses an argument.
fn zincrby(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(txn, args, reply, AddOptions { incr: true, ..AddOptions::default() })
}

#[derive(Clone, Copy, Debug, Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl AddOptions {
    /// Takes note of one option; false when it is none.
    fn take(&mut self, arg: &[u8]) -> bool {
        let options = [
            (&b"nx"[..], &mut self.nx),
            (b"xx", &mut self.xx),
            (b"gt", &mut self.gt),
            (b"lt", &mut self.lt),
            (b"ch", &mut self.ch),
            (b"incr", &mut self.incr),
        ];
        let found = options.into_iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
        let Some((_, option)) = found else { return false };
        *option = true;
        true
    }

    fn check(&self, pairs: usize) -> Outcome {
        if self.nx && self.xx {
            return Err(CmdError::text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if [self.gt, self.lt, self.nx].iter().filter(|&&option| option).count() > 1 {
            return Err(CmdError::text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.incr && pairs > 1 {
            return Err(CmdError::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// True when the score given is the score to be stored, come what may.
    fn is_plain(&self) -> bool {
        !(self.nx || self.xx || self.gt || self.lt || self.incr)
    }
}

/// What an addition came to.
#[derive(Clone, Copy, Debug, Default)]
struct Additions {
    added: u64,
    updated: u64,
    /// The score of the last member that the options let through.
    score: Option<f64>,
}

fn add(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    mut options: AddOptions,
) -> Outcome {
    let mut first = 2;
    while first < args.len() && options.take(args.get(first)) {
        first += 1;
    }
    let pairs = (args.len() - first) / 2;
    if pairs == 0 || (args.len() - first) % 2 == 1 {
        return Err(CmdError::Syntax);
    }
    options.check(pairs)?;
    let score_at = |pair: usize| parse_f64(args.get(first + 2 * pair)).ok_or(CmdError::NotFloat);
    let first_score = score_at(0)?;
    let more_scores = (1..pairs).map(score_at).collect::<Result<Vec<f64>, CmdError>>()?;

    let key = txn.key(args.get(1));
    let mut outcome = Additions::default();
    if !options.xx || txn.peek::<ZSet>(&key)?.is_some() {
        let members = args.iter_from(first).skip(1).step_by(2);
        outcome = txn.change_or_create(&key, |zset: &mut ZSet| {
            let scores = std::iter::once(first_score).chain(more_scores);
            add_all(zset, options, members.zip(scores))
        })??;
    }
    let event = if options.incr { "zincr" } else { "zadd" };
    txn.changed(&key, outcome.added + outcome.updated, notify::SORTED_SET, event);
    match (options.incr, outcome.score) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.nil(),
        (false, _) if options.ch => reply.int((outcome.added + outcome.updated) as i64),
        (false, _) => reply.int(outcome.added as i64),
    }
    Ok(())
}

fn add_all<'m>(
    zset: &mut ZSet,
    options: AddOptions,
    pairs: impl Iterator<Item = (&'m [u8], f64)>,
) -> Result<Additions, CmdError> {
    let mut outcome = Additions::default();
    for (member, score) in pairs {
        let old = if options.is_plain() { None } else { zset.score(member) };
        let Some(score) = wanted_score(options, old, score)? else { continue };
        match zset.insert(member, score) {
            Inserted::Added => outcome.added += 1,
            Inserted::Updated => outcome.updated += 1,
            Inserted::Unchanged => {}
        }
        outcome.score = Some(score);
    }
    Ok(outcome)
}

/// The score to be stored for a member that had `old`, or `None` if the options forbid one.
fn wanted_score(
    options: AddOptions,
    old: Option<f64>,
    given: f64,
) -> Result<Option<f64>, CmdError> {
    let Some(old) = old else { return Ok((!options.xx).then_some(given)) };
    if options.nx {
        return Ok(None);
    }
    let score = if options.incr { old + given } else { given };
    if score.is_nan() {
        return Err(CmdError::text("ERR resulting score is not a number (NaN)"));
    }
    let forbidden = options.lt && score >= old || options.gt && score <= old;
    Ok((!forbidden).then_some(score))
}

/// ZREM key member [member ...]
fn zrem(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let removed = txn.change(&key, |zset: &mut ZSet| {
        args.iter_from(2).filter(|member| zset.remove(member).is_some()).count()
    })?;
    let removed = removed.unwrap_or(0);
    txn.changed(&key, removed as u64, notify::SORTED_SET, "zrem");
    txn.drop_if_empty(&key);
    reply.int(removed as i64);
    Ok(())
}

/// ZSCORE key member
fn zscore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let score = txn.read::<ZSet>(&key)?.and_then(|zset| zset.score(args.get(2)));
    double_or_nil(reply, score);
    Ok(())
}

/// ZMSCORE key member [member ...]
fn zmscore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let zset = txn.read::<ZSet>(&key)?;
    reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        double_or_nil(reply, zset.and_then(|zset| zset.score(member)));
    }
    Ok(())
}

fn double_or_nil(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.nil(),
    }
}

/// ZCARD key
fn zcard(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    reply.int(txn.read::<ZSet>(&key)?.map_or(0, ZSet::len) as i64);
    Ok(())
}

/// ZCOUNT key min max
fn zcount(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (min, max) = score_bounds(args.get(2), args.get(3))?;
    let key = txn.key(args.get(1));
    let count = txn.read::<ZSet>(&key)?.map_or(0, |zset| zset.count_in_score(min, max));
    reply.int(count as i64);
    Ok(())
}

/// ZRANK key member
fn zrank(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    rank(txn, args, reply, false)
}

/// ZREVRANK key member
fn zrevrank(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    rank(txn, args, reply, true)
}

fn rank(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>, reverse: bool) -> Outcome {
    let key = txn.key(args.get(1));
    let rank = txn.read::<ZSet>(&key)?.and_then(|zset| {
        let rank = zset.rank(args.get(2))?;
        Some(if reverse { zset.len() - 1 - rank } else { rank })
    });
    match rank {
        Some(rank) => reply.int(rank as i64),
        None => reply.nil(),
    }
    Ok(())
}

/// A member that was removed, and its score.
type Entry = (Box<[u8]>, f64);

/// ZPOPMIN key [count]
fn zpopmin(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(txn, args, reply, "zpopmin", ZSet::pop_first)
}

/// ZPOPMAX key [count]
fn zpopmax(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(txn, args, reply, "zpopmax", ZSet::pop_last)
}

fn pop(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    event: &'static str,
    pop_one: fn(&mut ZSet) -> Option<Entry>,
) -> Outcome {
    if args.len() > 3 {
        return Err(CmdError::Syntax);
    }
    let count = match args.try_get(2) {
        Some(text) => Some(parse_i64(text).filter(|&n| n >= 0).ok_or(CmdError::MustBePositive)?),
        None => None,
    };
    let key = txn.key(args.get(1));
    let len = txn.peek::<ZSet>(&key)?.map_or(0, ZSet::len);
    let popped = len.min(count.unwrap_or(1) as usize);
    // Pairs are nested only where a count was given, and only in RESP3.
    let nested = count.is_some() && reply.protocol() == Protocol::Resp3;
    reply.array(if nested { popped } else { 2 * popped });
    if popped == 0 {
        return Ok(());
    }
    txn.change(&key, |zset: &mut ZSet| {
        for (member, score) in (0..popped).map_while(|_| pop_one(zset)) {
            if nested {
                reply.array(2);
            }
            reply.bulk(&member);
            reply.double(score);
        }
    })?;
    txn.changed(&key, popped as u64, notify::SORTED_SET, event);
    txn.drop_if_empty(&key);
    Ok(())
}
