//! Deadlines: setting, clearing and telling them.

use super::super::numbers::integer;
use super::super::table::Outcome;
use crate::config::notify;
use crate::engine::{CmdError, Read, Txn};
use crate::resp::{Args, Reply};

/// Milliseconds in the units that deadlines are told in.
const SECOND: i64 = 1000;
const MILLISECOND: i64 = 1;

/// EXPIRE key seconds [NX | XX | GT | LT]
pub fn expire(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let base_ms = txn.now_ms() as i64;
    set_deadline(txn, args, When { base_ms, unit_ms: SECOND, command: "expire" }, reply)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub fn pexpire(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let base_ms = txn.now_ms() as i64;
    set_deadline(txn, args, When { base_ms, unit_ms: MILLISECOND, command: "pexpire" }, reply)
}

/// EXPIREAT key seconds-since-1970 [NX | XX | GT | LT]
pub fn expireat(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(txn, args, When { base_ms: 0, unit_ms: SECOND, command: "expireat" }, reply)
}

/// PEXPIREAT key milliseconds-since-1970 [NX | XX | GT | LT]
pub fn pexpireat(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(txn, args, When { base_ms: 0, unit_ms: MILLISECOND, command: "pexpireat" }, reply)
}

/// How a command tells a deadline.
struct When {
    base_ms: i64,
    unit_ms: i64,
    command: &'static str,
}

impl When {
    fn deadline(&self, text: &[u8]) -> Result<i64, CmdError> {
        let deadline = integer(text)?.checked_mul(self.unit_ms);
        let deadline = deadline.and_then(|time_ms| time_ms.checked_add(self.base_ms));
        deadline.ok_or(CmdError::InvalidExpire(self.command))
    }
}

/// Conditions on the deadline that a key has.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Conditions, CmdError> {
        let mut conditions = Conditions::default();
        for word in args.iter_from(3) {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.nx = true,
                b"xx" => conditions.xx = true,
                b"gt" => conditions.gt = true,
                b"lt" => conditions.lt = true,
                _ => return Err(CmdError::quoting("ERR Unsupported option ", word, "")),
            }
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(CmdError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(CmdError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// A key without a deadline lives longer than any other.
    fn admit(self, current: Option<u64>, new: i64) -> bool {
        let current = current.map(|deadline| i64::try_from(deadline).unwrap_or(i64::MAX));
        let refused = self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| new <= current)
            || self.lt && current.is_some_and(|current| new >= current);
        !refused
    }
}

fn set_deadline(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    when: When,
    reply: &mut Reply<'_>,
) -> Outcome {
    let conditions = Conditions::parse(args)?;
    let deadline = when.deadline(args.get(2))?;
    let (key, now_ms) = (txn.key(args.get(1)), txn.now_ms());
    let Some(current) = txn.find(&key).map(|entry| entry.deadline()) else {
        reply.int(0);
        return Ok(());
    };
    if !conditions.admit(current, deadline) {
        reply.int(0);
        return Ok(());
    }
    if deadline <= now_ms as i64 {
        txn.remove(&key);
        txn.notify(notify::GENERIC, "del", key.bytes);
    } else {
        txn.set_deadline(&key, Some(deadline as u64));
        txn.notify(notify::GENERIC, "expire", key.bytes);
    }
    reply.int(1);
    Ok(())
}

/// PERSIST key
pub fn persist(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = txn.key(args.get(1));
    let has_deadline = txn.deadline(&key).is_some();
    if has_deadline {
        txn.set_deadline(&key, None);
        txn.notify(notify::GENERIC, "persist", key.bytes);
    }
    reply.int(has_deadline as i64);
    Ok(())
}

/// TTL key
pub fn ttl(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(read, args, |deadline| seconds(deadline.saturating_sub(read.now_ms())), reply)
}

/// PTTL key
pub fn pttl(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(read, args, |deadline| deadline.saturating_sub(read.now_ms()), reply)
}

/// EXPIRETIME key
pub fn expiretime(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(read, args, seconds, reply)
}

/// PEXPIRETIME key
pub fn pexpiretime(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(read, args, |deadline| deadline, reply)
}

/// The deadline as `told`; -1 for none, -2 for an absent key.
fn tell(
    read: &Read<'_>,
    args: Args<'_>,
    told: impl Fn(u64) -> u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.int(match read.get(args.get(1)) {
        None => -2,
        Some(entry) => entry.deadline().map_or(-1, |deadline| told(deadline) as i64),
    });
    Ok(())
}

fn seconds(time_ms: u64) -> u64 {
    time_ms.saturating_add(500) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_with_the_deadline_there_is() {
        let all = Conditions::default();
        let (nx, xx) = (Conditions { nx: true, ..all }, Conditions { xx: true, ..all });
        let (gt, lt) = (Conditions { gt: true, ..all }, Conditions { lt: true, ..all });
        for (conditions, current, new, admitted) in [
            (all, None, 5, true),
            (nx, None, 5, true),
            (nx, Some(9), 5, false),
            (xx, None, 5, false),
            (xx, Some(9), 5, true),
            (gt, None, 5, false),
            (gt, Some(5), 5, false),
            (gt, Some(4), 5, true),
            (lt, None, 5, true),
            (lt, Some(5), 5, false),
            (lt, Some(6), 5, true),
            (lt, Some(6), -5, true),
        ] {
            assert_eq!(conditions.admit(current, new), admitted, "{conditions:?} {current:?}");
        }
    }

    #[test]
    fn deadlines_that_do_not_fit_are_refused() {
        let when = |base_ms, unit_ms| When { base_ms, unit_ms, command: "expire" };
        let error = Err(CmdError::InvalidExpire("expire"));
        assert_eq!(when(0, SECOND).deadline(b"9223372036854775"), Ok(9223372036854775000));
        assert_eq!(when(1000, SECOND).deadline(b"9223372036854775"), error);
        assert_eq!(when(0, SECOND).deadline(b"9223372036854776"), error);
        assert_eq!(when(0, SECOND).deadline(b"-9223372036854776"), error);
        assert_eq!(when(1, MILLISECOND).deadline(b"9223372036854775807"), error);
        assert_eq!(when(0, MILLISECOND).deadline(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(when(7, MILLISECOND).deadline(b"-7"), Ok(0));
        assert_eq!(when(0, MILLISECOND).deadline(b"x"), Err(CmdError::NotInteger));
    }
}
