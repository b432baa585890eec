//! The groups' log inside the node's write-ahead log.
//!
//! A record of the groups may be longer than one of the log: it goes in parts, of which the first
//! and the last are marked, so that what a crash leaves of one is not taken for the beginning of
//! the next.
//!
//! ```text
//!   flags u8: 1 first, 2 last | bytes
//! ```
//!
//! Invariant: records are durable in the order in which they were given; what has no room in the
//! log now waits here, and nothing that it promises leaves meanwhile.

use crate::cluster::core::log::{Birth, NodeStart, RecordError, Recovery};
use crate::limits::{CLUSTER_PLACE_BYTES, CLUSTER_SLOW_US, LOG_BLOCK_BYTES, LOG_FRAGMENT_BYTES};
use crate::sys::clock;
use crate::sys::disk::Disk;
use crate::wal::names;
use crate::wal::{
    Log, LogReader, LogStart, ReadError, RecordBuf, RecordKind, RecordMeta, SEVERAL_SHARDS, Tail,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

const FIRST: u8 = 1;
const LAST: u8 = 2;

/// Why the log of a node cannot be read.
#[derive(Debug)]
pub enum LogError {
    /// The write-ahead log.
    Log(ReadError),
    /// What was durable is damaged; the cluster of the node, 0 if it stands behind the damage.
    Damaged(ReadError, u64),
    /// A record of the groups.
    Record(RecordError),
    /// The directory holds data of a server that stands alone.
    StandAlone,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Log(error) | LogError::Damaged(error, _) => error.fmt(f),
            LogError::Record(error) => error.fmt(f),
            LogError::StandAlone => f.write_str(
                "the directory holds data of a server without --peers; give the node of a cluster \
                 a directory of its own",
            ),
        }
    }
}

/// What was read back.
pub struct Recovered {
    /// What the node starts with.
    pub start: NodeStart,
    /// How the log ends.
    pub tail: Tail,
    /// Where its records lie.
    pub places: Places,
}

/// Where records of the groups lie in the log: some of them, so that little memory is needed.
#[derive(Debug, Default)]
pub struct Places(VecDeque<(u64, u64)>);

impl Places {
    /// The record of this number lies at `lsn`, or behind.
    fn note(&mut self, number: u64, lsn: u64) {
        let is_far = |&(_, last): &(u64, u64)| lsn >= last + CLUSTER_PLACE_BYTES;
        if self.0.back().is_none_or(is_far) {
            self.0.push_back((number, lsn));
        }
    }

    /// A position in front of the record of this number, as far behind as is known.
    fn before(&mut self, number: u64) -> Option<u64> {
        while self.0.get(1).is_some_and(|(next, _)| *next <= number) {
            self.0.pop_front();
        }
        self.0.front().filter(|(known, _)| *known <= number).map(|(_, lsn)| *lsn)
    }
}

/// Reads the log of a node.
pub fn recover(disk: &dyn Disk, segment: u64) -> Result<Recovered, LogError> {
    let files = names::list(disk).map_err(|error| LogError::Log(error.into()))?;
    let from = files.first().map_or(0, |(name, _)| name.start);
    let mut reader = LogReader::open(disk, segment, from).map_err(LogError::Log)?;
    let mut recovery = Recovery::default();
    let (mut bytes, mut began_at, mut places) = (Vec::new(), None, Places::default());
    loop {
        let chunk = reader.next_chunk().map_err(|error| match error.lost() {
            Some(_) => LogError::Damaged(error, cluster_of(recovery.state())),
            None => LogError::Log(error),
        })?;
        let Some(chunk) = chunk else { break };
        for record in chunk.records() {
            let (&flags, part) = match record.meta.kind {
                RecordKind::Groups => record.body.split_first().ok_or(LogError::StandAlone)?,
                _ => return Err(LogError::StandAlone),
            };
            if flags & FIRST != 0 {
                bytes.clear();
                began_at = Some(record.lsn);
            }
            // A record that began in a file which is gone is needed no more.
            let Some(lsn) = began_at else { continue };
            bytes.extend_from_slice(part);
            if flags & LAST != 0 {
                recovery.take(&bytes).map_err(LogError::Record)?;
                places.note(number_of(&bytes), lsn);
                began_at = None;
            }
        }
    }
    let start = recovery.finish().map_err(LogError::Record)?;
    Ok(Recovered { start, tail: reader.tail().clone(), places })
}

/// Where a log goes on that ended like this; `random` names it if it has no name yet.
pub fn place_of(tail: &Tail, random: u64) -> LogStart {
    LogStart {
        start: tail.end.next_multiple_of(LOG_BLOCK_BYTES),
        generation: tail.generation + 1,
        log_id: tail.log_id.unwrap_or(random | 1),
    }
}

/// The cluster that a node is of, as far as its log was read.
fn cluster_of(start: &NodeStart) -> u64 {
    match start.identity.as_ref().map(|identity| &identity.birth) {
        Some(Birth::Member(table) | Birth::Prepared(table)) => table.cluster,
        Some(Birth::Lost(cluster)) => *cluster,
        Some(Birth::Unborn) | None => 0,
    }
}

/// The number of a record that was read, which stands behind its version.
fn number_of(record: &[u8]) -> u64 {
    record
        .get(1..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The log that records go into.
pub struct GroupLog {
    log: Arc<Log>,
    record: RecordBuf,
    /// Records that are not in the log yet, the first of them perhaps in part.
    waiting: VecDeque<(u64, Vec<u8>)>,
    written: usize,
    /// Records that are in the log, and where they end.
    flying: VecDeque<(u64, u64)>,
    /// When the records that are not durable were given, the oldest first.
    given_us: VecDeque<u64>,
    places: Places,
}

impl GroupLog {
    /// Records go into `log` from now on.
    pub fn new(log: Arc<Log>, places: Places) -> GroupLog {
        GroupLog {
            log,
            record: RecordBuf::default(),
            waiting: VecDeque::new(),
            written: 0,
            flying: VecDeque::new(),
            given_us: VecDeque::new(),
            places,
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Takes a record.
    pub fn push(&mut self, now_us: u64, number: u64, bytes: Vec<u8>) {
        self.given_us.push_back(now_us);
        self.waiting.push_back((number, bytes));
    }

    /// Puts into the log what has room there, and has it written.
    pub fn pump(&mut self) {
        let mut has_new = false;
        while let Some((number, bytes)) = self.waiting.front() {
            let rest = &bytes[self.written..];
            let part = &rest[..rest.len().min(LOG_FRAGMENT_BYTES)];
            let first = if self.written == 0 { FIRST } else { 0 };
            let last = if part.len() == rest.len() { LAST } else { 0 };
            let body = self.record.body();
            body.push(first | last);
            body.extend_from_slice(part);
            let clock_ms = clock::wall_ms();
            let kind = RecordKind::Groups;
            let meta = RecordMeta { kind, shard: SEVERAL_SHARDS, clock_ms, seed: 0 };
            if !self.log.has_credit() {
                break;
            }
            let at = self.log.end();
            let Ok(end) = self.log.append(&self.record, &meta) else { break };
            has_new = true;
            if first != 0 {
                self.places.note(*number, at);
            }
            self.written += part.len();
            if last != 0 {
                self.flying.push_back((*number, end));
                self.waiting.pop_front();
                self.written = 0;
            }
        }
        if has_new || !self.waiting.is_empty() {
            self.log.ask();
        }
    }

    /// The newest record that has become durable since the last call.
    pub fn take_durable(&mut self) -> Option<u64> {
        let durable = self.log.durable();
        let mut newest = None;
        while let Some((number, _)) = self.flying.pop_front_if(|(_, end)| *end <= durable) {
            self.given_us.pop_front();
            newest = Some(number);
        }
        newest
    }

    /// Whether the disk is too slow to lead, or full: a record waits for longer than a second. One
    /// that was slow is quick again when none waits for a tenth of that.
    pub fn is_slow(&self, now_us: u64, was_slow: bool) -> bool {
        let most_us = if was_slow { CLUSTER_SLOW_US / 10 } else { CLUSTER_SLOW_US };
        self.given_us.front().is_some_and(|given_us| now_us > given_us + most_us)
    }

    /// Records in front of this number are needed no more: their files are used again.
    pub fn let_go(&mut self, number: u64) {
        if let Some(lsn) = self.places.before(number) {
            self.log.recycle_below(lsn);
        }
    }

    /// Where the log begins.
    pub fn begin(&self) -> u64 {
        self.log.begin()
    }

    /// Bytes of the log that are kept.
    pub fn bytes(&self) -> u64 {
        self.log.end().saturating_sub(self.log.begin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_never_behind_its_record() {
        let mut places = Places::default();
        for number in 10..1000 {
            places.note(number, number * CLUSTER_PLACE_BYTES / 3);
        }
        assert!(places.0.len() < 400, "{}", places.0.len());
        assert_eq!(places.before(9), None);
        for number in (10..1000).step_by(7) {
            let lsn = places.before(number).expect("it was noted");
            assert!(lsn <= number * CLUSTER_PLACE_BYTES / 3);
            assert!(lsn + CLUSTER_PLACE_BYTES >= number * CLUSTER_PLACE_BYTES / 3, "{number}");
        }
        assert!(places.0.len() < 5);
    }
}
