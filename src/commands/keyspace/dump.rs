//! DUMP and RESTORE: a value as one string, in the format of Redis' RDB files, so that values can
//! be carried to and from Redis. The format itself is the affair of [`crate::snapshot::rdb`].
//!
//! Strings come out in the bytes that Redis would answer (but for what compression finds),
//! collections in the plain encodings, which every Redis takes.

use super::super::numbers::integer;
use super::super::strings::string_len_max;
use super::super::table::Outcome;
use crate::config::notify;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::snapshot::rdb::{PayloadError, RdbValue, RdbValueRef, decode_payload, encode_payload};
use crate::store::Value;

/// DUMP key
pub fn dump(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (db, key) = (txn.db(), txn.key(args.get(1)));
    let is_there = txn.find_counted(&key).is_some();
    let held = txn.held();
    let Some(entry) = held.find(db, &key).filter(|_| is_there) else {
        reply.nil();
        return Ok(());
    };
    let object = held.object(db, &key).map(RdbValueRef::Object);
    reply.bulk(&encode_payload(object.unwrap_or(RdbValueRef::Str(entry.value())), true));
    Ok(())
}

/// Options of RESTORE. How often a value was used is checked and then forgotten.
#[derive(Default)]
struct Options {
    replace: bool,
    is_absolute: bool,
    /// Seconds for which the value was not used.
    idle_s: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CmdError> {
        let mut options = Options::default();
        let mut has_freq = false;
        let mut at = 4;
        while at < args.len() {
            let word = args.get(at);
            let value = args.try_get(at + 1);
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            match value {
                _ if is(b"replace") => options.replace = true,
                _ if is(b"absttl") => options.is_absolute = true,
                Some(value) if is(b"idletime") && !has_freq => {
                    let idle_s = u64::try_from(integer(value)?);
                    let wrong = CmdError::text("ERR Invalid IDLETIME value, must be >= 0");
                    options.idle_s = Some(idle_s.map_err(|_| wrong)?);
                    at += 1;
                }
                Some(value) if is(b"freq") && options.idle_s.is_none() => {
                    if !(0..=255).contains(&integer(value)?) {
                        return Err(CmdError::text(
                            "ERR Invalid FREQ value, must be >= 0 and <= 255",
                        ));
                    }
                    has_freq = true;
                    at += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]
pub fn restore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(args)?;
    let (key, now_ms) = (txn.key(args.get(1)), txn.now_ms());
    if !options.replace && txn.exists(&key) {
        return Err(CmdError::text("BUSYKEY Target key name already exists."));
    }
    let ttl_ms = integer(args.get(2))?;
    if ttl_ms < 0 {
        return Err(CmdError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let base_ms = if options.is_absolute { 0 } else { now_ms as i64 };
    // As in Redis, a sum that does not fit is a moment long past.
    let deadline = (ttl_ms > 0).then(|| ttl_ms.checked_add(base_ms).unwrap_or(0) as u64);
    let value = decode_payload(args.get(3), string_len_max(txn.config())).map_err(refusal)?;
    if deadline.is_some_and(|deadline| deadline <= now_ms) {
        if txn.remove(&key) {
            txn.notify(notify::GENERIC, "del", key.bytes);
        }
    } else {
        match value {
            RdbValue::Str(ref string) => txn.put(&key, Value::Str(string), deadline),
            RdbValue::Object(object) => txn.put(&key, Value::Object(object), deadline),
        }
        if let Some(idle_s) = options.idle_s {
            let db = txn.db();
            txn.held().set_idle(db, &key, idle_s);
        }
        txn.notify(notify::GENERIC, "restore", key.bytes);
    }
    reply.ok();
    Ok(())
}

/// The reply to a payload that is not taken.
fn refusal(error: PayloadError) -> CmdError {
    match error {
        PayloadError::Footer => CmdError::text("ERR DUMP payload version or checksum are wrong"),
        PayloadError::Unsupported(what) => {
            CmdError::owned(format!("ERR RESTORE does not support this payload, which is {what}"))
        }
        PayloadError::TooLong => CmdError::StringTooLong,
        PayloadError::Damaged => CmdError::text("ERR Bad data format"),
    }
}
