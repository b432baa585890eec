//! The record that a write leaves in the log.
//!
//! A request becomes a record when it makes its first change that others could see, or at its end;
//! one that changes nothing becomes none. The record's position is noted in the shards before that
//! change is published, so whoever sees the change finds the position too (rule E10).

use super::txn::Moment;
use crate::resp::Args;
use crate::store::Held;
use crate::wal::record::put_command;
use crate::wal::{Log, NoCredit, RecordBuf, RecordKind, RecordMeta, SEVERAL_SHARDS};

/// What a request is put into the log with.
pub struct Journal<'a> {
    /// The log.
    pub log: &'a Log,
    /// Reused from one record to the next.
    pub record: &'a mut RecordBuf,
    /// The request.
    pub args: Args<'a>,
    /// The number of the request's body, if that is in the log already.
    pub joined: Option<u64>,
}

/// The seed of command `index` of a request.
pub fn seed_of(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Journal<'_> {
    /// Puts the request into the log, with `large` in the place of argument 2 if that was
    /// received apart, and notes the position in the shards held.
    pub(super) fn write(
        &mut self,
        held: &mut Held<'_>,
        db: u8,
        moment: Moment,
        large: Option<&[u8]>,
    ) {
        let args = self.args;
        let body = self.record.body();
        let kind = match self.joined {
            Some(number) => {
                body.extend_from_slice(&number.to_le_bytes());
                RecordKind::Joined
            }
            None => {
                match large {
                    None => put_command(body, db, args.iter_from(0)),
                    Some(large) => {
                        let arg = |at| if at == 2 { large } else { args.get(at) };
                        put_command(body, db, (0..args.len()).map(arg));
                    }
                }
                RecordKind::Commands
            }
        };
        append(self.log, self.record, held, kind, moment);
    }
}

/// Appends the record whose body lies in `record`, and notes its position in the shards held.
#[inline]
pub fn append(
    log: &Log,
    record: &RecordBuf,
    held: &mut Held<'_>,
    kind: RecordKind,
    moment: Moment,
) {
    let shard = held.only_shard().unwrap_or(SEVERAL_SHARDS);
    let meta = RecordMeta { kind, shard, clock_ms: moment.now_ms, seed: moment.seed };
    loop {
        match log.append(record, &meta) {
            Ok(after) => return held.set_last_lsn(after),
            // Credit was claimed before the locks. A broken log takes nothing: the change is
            // made in memory, and nobody is ever told of it.
            Err(NoCredit) if log.is_broken() => return held.set_last_lsn(u64::MAX),
            Err(NoCredit) => {
                log.ask();
                std::thread::yield_now();
            }
        }
    }
}
