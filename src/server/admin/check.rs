//! `dse-admin check`: every byte that a start may need is read and verified.
//!
//! The log is read from where the oldest whole snapshot needs it: files below that only wait to
//! be used again, and may have holes between them. Where the log is damaged in front of what the
//! newest snapshot needs, a server still starts, and is told to take another snapshot.

use super::Out;
use super::directory::{Data, time};
use super::error::AdminError;
use crate::snapshot::names::{Listed, TEMPORARY as UNFINISHED};
use crate::snapshot::{SnapshotError, SnapshotInfo};
use crate::wal::names::{LogName, TEMPORARY as UNPREPARED};
use crate::wal::read::Chunk;
use crate::wal::record::take_command;
use crate::wal::{ReadError, RecordKind, Tail};
use std::path::Path;

/// What the log holds from some position on.
#[derive(Clone, Default)]
pub(super) struct LogReport {
    /// Where reading began.
    pub(super) from: u64,
    /// Requests in its records.
    pub(super) commands: u64,
    /// The oldest and the newest clock of a record, ms since 1970.
    pub(super) clocks: Option<(u64, u64)>,
    /// Its end.
    pub(super) tail: Tail,
}

/// Reads the log behind `base` (all of it without one) to its end, or to where it cannot be read.
pub(super) fn read_log(
    data: &Data,
    base: Option<&SnapshotInfo>,
) -> (LogReport, Result<(), ReadError>) {
    let from = base.map_or(0, |info| info.log_from);
    let mut report = LogReport { from, ..LogReport::default() };
    let mut reader = match data.log_behind(base) {
        Ok(reader) => reader,
        Err(error) => return (report, Err(error)),
    };
    report.from = reader.place();
    let outcome = loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => report.note(&chunk),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    report.tail = reader.tail().clone();
    (report, outcome)
}

impl LogReport {
    fn note(&mut self, chunk: &Chunk) {
        let mut args = Vec::new();
        for record in chunk.records() {
            let clock = record.meta.clock_ms;
            let (oldest, newest) = self.clocks.unwrap_or((clock, clock));
            self.clocks = Some((oldest.min(clock), newest.max(clock)));
            let mut rest = record.body;
            while record.meta.kind == RecordKind::Commands
                && !rest.is_empty()
                && take_command(&mut rest, &mut args).is_ok()
            {
                self.commands += 1;
            }
            self.commands += u64::from(record.meta.kind == RecordKind::Joined);
        }
    }
}

/// What a check has found out so far.
struct Check<'o> {
    out: Out<'o>,
    damage: usize,
}

/// Checks the directory at `path`.
pub(super) fn check(path: &Path, out: Out<'_>) -> Result<(), AdminError> {
    let data = Data::open(path)?;
    let mut check = Check { out, damage: 0 };
    check.line(format_args!(
        "{}: {} snapshots, {} files of the log",
        path.display(),
        data.snapshots.len(),
        data.logs.len()
    ))?;
    let mut whole = Vec::new();
    for snapshot in &data.snapshots {
        match data.verified(snapshot) {
            Ok(info) => {
                check.snapshot(snapshot, &info)?;
                whole.push(info);
            }
            Err(AdminError::Snapshot(error)) if !matches!(error, SnapshotError::Io(_)) => {
                check.damaged(&error)?;
            }
            Err(error) => return Err(error),
        }
    }
    check.files(&data)?;
    check.log(&data, &whole)?;
    check.leftovers(&data)?;
    match check.damage {
        0 => check.line(format_args!("all is well")),
        damage => Err(AdminError::Damage(damage)),
    }
}

impl Check<'_> {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), AdminError> {
        writeln!(self.out, "{text}").map_err(AdminError::Output)
    }

    fn damaged(&mut self, error: &dyn std::fmt::Display) -> Result<(), AdminError> {
        self.damage += 1;
        self.line(format_args!("DAMAGE: {error}"))
    }

    fn snapshot(&mut self, listed: &Listed, info: &SnapshotInfo) -> Result<(), AdminError> {
        self.line(format_args!(
            "{}: {} bytes, {} keys ({} bytes), shards cut at {} to {}, log needed from {}, clock \
             {}, data {:016x}, whole",
            listed.name,
            info.file_bytes,
            info.keys,
            info.entry_bytes,
            info.smallest_cut(),
            info.largest_cut,
            info.log_from,
            time(info.clock_ms),
            info.database_id,
        ))
    }

    fn files(&mut self, data: &Data) -> Result<(), AdminError> {
        for (name, bytes) in &data.logs {
            let LogName { start, generation } = name;
            self.line(format_args!(
                "{}: {bytes} bytes, positions {start} to {}, generation {generation}",
                name.text(),
                start + bytes
            ))?;
        }
        Ok(())
    }

    fn log(&mut self, data: &Data, whole: &[SnapshotInfo]) -> Result<(), AdminError> {
        let oldest = whole.iter().min_by_key(|info| info.log_from);
        let from = oldest.map_or(0, |info| info.log_from);
        let newest = whole.first().filter(|info| info.log_from > from);
        let (report, outcome) = read_log(data, oldest);
        let Err(error) = outcome else {
            self.end_of_log(&report)?;
            if let Some(at) = report.tail.anew {
                return self.anew(data, at, newest);
            }
            // The newest may know of more than what is there.
            let outcome = newest.map_or(Ok(()), |newest| read_log(data, Some(newest)).1);
            return match outcome {
                Ok(()) => Ok(()),
                Err(ReadError::Io(error)) => Err(AdminError::Io(error)),
                Err(error) => self.damaged(&error),
            };
        };
        if let ReadError::Io(error) = error {
            return Err(AdminError::Io(error));
        }
        self.damaged(&error)?;
        if let Some(newest) = newest
            && let (report, Ok(())) = read_log(data, Some(newest))
        {
            self.line(format_args!(
                "a server can still start, from {}: take two snapshots then (SAVE), and the \
                 damaged part is needed no more",
                newest.file
            ))?;
            return self.end_of_log(&report);
        }
        Ok(())
    }

    /// The log was switched on at `at`.
    fn anew(
        &mut self,
        data: &Data,
        at: u64,
        newest: Option<&SnapshotInfo>,
    ) -> Result<(), AdminError> {
        self.line(format_args!("the log was switched on at position {at}"))?;
        if let Some(newest) = newest.filter(|info| info.log_from >= at) {
            let (report, outcome) = read_log(data, Some(newest));
            return match outcome {
                Ok(()) => self.end_of_log(&report),
                Err(ReadError::Io(error)) => Err(AdminError::Io(error)),
                Err(error) => self.damaged(&error),
            };
        }
        match data.snapshots.iter().find(|listed| listed.lsn >= at) {
            Some(listed) => self.line(format_args!(
                "what follows stands on {}, which is damaged: no server starts on this",
                listed.name
            )),
            None => self.line(format_args!(
                "the snapshot for that was not finished: a start leaves out what follows"
            )),
        }
    }

    fn end_of_log(&mut self, report: &LogReport) -> Result<(), AdminError> {
        let LogReport { from, commands, clocks, tail } = report;
        let Some(log_id) = tail.log_id else {
            return self.line(format_args!("log: no record from position {from} on"));
        };
        self.line(format_args!(
            "log {log_id:016x}: read from position {from} to {}, {} records, {commands} requests, \
             generation {}, stated to be durable up to {}",
            tail.end, tail.records, tail.generation, tail.synced
        ))?;
        if let Some((oldest, newest)) = clocks {
            self.line(format_args!(
                "clocks of its records: {} to {}",
                time(*oldest),
                time(*newest)
            ))?;
        }
        if let Some(torn) = &tail.torn {
            self.line(format_args!(
                "torn tail: {} bytes at offset {} of {} were never acknowledged; the next start \
                 cuts them off",
                torn.bytes, torn.offset, torn.file
            ))?;
        }
        Ok(())
    }

    fn leftovers(&mut self, data: &Data) -> Result<(), AdminError> {
        for (name, bytes) in data.disk.list()? {
            if name == UNFINISHED {
                self.line(format_args!(
                    "{name}: {bytes} bytes of a snapshot that was not finished"
                ))?;
            } else if name == UNPREPARED {
                self.line(format_args!("{name}: a file of the log that was not finished"))?;
            } else if name.ends_with(".damaged") {
                self.line(format_args!("{name}: {bytes} bytes that a repair put aside"))?;
            }
        }
        Ok(())
    }
}
