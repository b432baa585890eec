//! The sets family.
//!
//! A random member is the one at a random index of the set's dense order, drawn from the
//! transaction's seed: the same command draws the same members wherever it is applied.
//! Deliberately absent: the operations on several sets, SMOVE and SSCAN.

use super::numbers::{integer, positive};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::limits::RANDOM_MEMBERS_MAX;
use crate::resp::{Args, Reply};
use crate::store::objects::Set;
use crate::util::rng::SplitMix64;
use std::collections::HashMap;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("sadd", -3, Keys::ONE, WRITE | DENYOOM | FAST, acl::SET, Run::Locked(sadd))
        .doc("1.0.0", "Adds members to a set, which is made if it is absent."),
    row("scard", 2, Keys::ONE, READONLY | FAST, acl::SET, Run::Locked(scard))
        .doc("1.0.0", "Returns the number of members of a set."),
    row("sismember", 3, Keys::ONE, READONLY | FAST, acl::SET, Run::Locked(sismember))
        .doc("1.0.0", "Tells whether a set has a member."),
    row("smembers", 2, Keys::ONE, READONLY, acl::SET, Run::Locked(smembers))
        .doc("1.0.0", "Returns all members of a set."),
    row("smismember", -3, Keys::ONE, READONLY | FAST, acl::SET, Run::Locked(smismember))
        .doc("6.2.0", "Tells of each of several members whether a set has it."),
    row("spop", -2, Keys::ONE, WRITE | FAST, acl::SET, Run::Locked(spop))
        .doc("1.0.0", "Returns random members of a set after removing them."),
    row("srandmember", -2, Keys::ONE, READONLY, acl::SET, Run::Locked(srandmember))
        .doc("1.0.0", "Returns random members of a set."),
    row("srem", -3, Keys::ONE, WRITE | FAST, acl::SET, Run::Locked(srem))
        .doc("1.0.0", "Removes members from a set."),
];

/// SADD key member [member ...]
fn sadd(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let added = txn.change_or_create(&key, |set: &mut Set| {
        args.iter_from(2).filter(|member| set.insert(member)).count()
    })?;
    txn.changed(&key, added as u64, notify::SET, "sadd");
    reply.int(added as i64);
    Ok(())
}

/// SREM key member [member ...]
fn srem(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let removed = txn.change(&key, |set: &mut Set| {
        args.iter_from(2).filter(|member| set.remove(member)).count()
    })?;
    let removed = removed.unwrap_or(0);
    txn.changed(&key, removed as u64, notify::SET, "srem");
    txn.drop_if_empty(&key);
    reply.int(removed as i64);
    Ok(())
}

/// SPOP key [count]
fn spop(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        2 => None,
        3 => Some(positive(args.get(2))?),
        _ => return Err(CmdError::Syntax),
    };
    let key = txn.key(args.get(1));
    let mut rng = SplitMix64::new(txn.rng().next_u64());
    let popped = txn.change(&key, |set: &mut Set| {
        let taken = count.unwrap_or(1).min(set.len());
        if count.is_some() {
            reply.set(taken);
        }
        for _ in 0..taken {
            let index = rng.below(set.len() as u64) as usize;
            reply_member(reply, set, index);
            set.remove_index(index);
        }
        taken
    })?;
    match popped {
        Some(taken) => {
            txn.changed(&key, taken as u64, notify::SET, "spop");
            txn.drop_if_empty(&key);
        }
        None if count.is_some() => reply.set(0),
        None => reply.nil(),
    }
    Ok(())
}

/// SRANDMEMBER key [count]
fn srandmember(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        2 => None,
        3 => Some(draw_count(args.get(2))?),
        _ => return Err(CmdError::Syntax),
    };
    let key = txn.key(args.get(1));
    let intset_max = txn.config().hot.set_max_intset_entries() as usize;
    let mut rng = SplitMix64::new(txn.rng().next_u64());
    match (txn.read::<Set>(&key)?, count) {
        (Some(set), None) => reply_member(reply, set, rng.below(set.len() as u64) as usize),
        (Some(set), Some(count)) if count < 0 => {
            draw_repeatedly(reply, set, count.unsigned_abs(), &mut rng)?;
        }
        (Some(set), Some(count)) if count as u64 >= set.len() as u64 => {
            reply.array(set.len());
            set.iter_shown(intset_max).for_each(|member| reply.bulk(&member));
        }
        (Some(set), Some(count)) => {
            reply.array(count as usize);
            let indices = distinct_below(set.len(), count as usize, &mut rng);
            indices.for_each(|index| reply_member(reply, set, index));
        }
        (None, None) => reply.nil(),
        (None, Some(_)) => reply.array(0),
    }
    Ok(())
}

/// Draws `count` members, each independently of the others.
fn draw_repeatedly(reply: &mut Reply<'_>, set: &Set, count: u64, rng: &mut SplitMix64) -> Outcome {
    if count > RANDOM_MEMBERS_MAX as u64 {
        return Err(CmdError::text("ERR value is out of range"));
    }
    reply.array(count as usize);
    for _ in 0..count {
        reply_member(reply, set, rng.below(set.len() as u64) as usize);
    }
    Ok(())
}

/// `count` distinct numbers below `len` in random order: the head of a shuffled deck, of which
/// only the cards that have moved are kept.
fn distinct_below(len: usize, count: usize, rng: &mut SplitMix64) -> impl Iterator<Item = usize> {
    let mut moved: HashMap<usize, usize> = HashMap::with_capacity(count);
    (0..count.min(len)).map(move |at| {
        let other = at + rng.below((len - at) as u64) as usize;
        let here = moved.remove(&at).unwrap_or(at);
        if other == at { here } else { moved.insert(other, here).unwrap_or(other) }
    })
}

/// SISMEMBER key member
fn sismember(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let found = txn.read::<Set>(&key)?.is_some_and(|set| set.contains(args.get(2)));
    reply.int(i64::from(found));
    Ok(())
}

/// SMISMEMBER key member [member ...]
fn smismember(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let set = txn.read::<Set>(&key)?;
    reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

/// SMEMBERS key
fn smembers(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let intset_max = txn.config().hot.set_max_intset_entries() as usize;
    let Some(set) = txn.read::<Set>(&key)? else {
        reply.set(0);
        return Ok(());
    };
    reply.set(set.len());
    set.iter_shown(intset_max).for_each(|member| reply.bulk(&member));
    Ok(())
}

/// SCARD key
fn scard(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let len = txn.read::<Set>(&key)?.map_or(0, Set::len);
    reply.int(len as i64);
    Ok(())
}

fn reply_member(reply: &mut Reply<'_>, set: &Set, index: usize) {
    match set.get_index(index) {
        Some(member) => reply.bulk(&member),
        None => reply.nil(), // only if the set were empty
    }
}

/// The count of SRANDMEMBER, whose sign can be turned.
fn draw_count(text: &[u8]) -> Result<i64, CmdError> {
    match integer(text)? {
        i64::MIN => Err(CmdError::owned(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn drawn_indices_are_distinct_and_all_are_equally_likely() {
        let mut rng = SplitMix64::new(7);
        for (len, count) in [(1, 1), (5, 5), (10, 3), (1000, 999), (100, 0), (3, 9)] {
            let drawn: Vec<usize> = distinct_below(len, count, &mut rng).collect();
            assert_eq!(drawn.len(), count.min(len));
            assert!(drawn.iter().all(|&index| index < len));
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
        }
        let mut hits = [[0u32; 6]; 3];
        for _ in 0..60_000 {
            for (turn, index) in distinct_below(6, 3, &mut rng).enumerate() {
                hits[turn][index] += 1;
            }
        }
        // Each index should come up 10,000 times in each turn; five sigma are about 460.
        assert!(hits.iter().flatten().all(|hit| (9500..10_500).contains(hit)), "{hits:?}");
    }
}
