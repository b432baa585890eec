//! `dse-admin repair`: after it, a server starts with a whole prefix of the history.
//!
//! ```text
//!   newest snapshot from which the log leads to its end, or to damage behind the snapshot's cuts
//!   log:  ...valid | damage ...          | later files
//!                  | zeros               | put aside
//!                  | copied to .damaged  |
//! ```
//!
//! What was acknowledged behind the damage is lost: that is why somebody has to agree. Every byte
//! that is taken away is kept in a file `*.damaged`.
//!
//! Order: copies first, then later files are put aside, then the rest of the damaged file is
//! cleared. A crash in between leaves a directory that can be repaired again.

use super::Out;
use super::check::{LogReport, read_log};
use super::directory::Data;
use super::error::AdminError;
use crate::limits::{LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER};
use crate::snapshot::SnapshotError;
use crate::snapshot::names::TEMPORARY as UNFINISHED;
use crate::sys::disk::{AlignedBuf, OpenMode};
use crate::wal::ReadError;
use crate::wal::names::{LogName, TEMPORARY as UNPREPARED};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// One change.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A file that nothing needs goes.
    Remove(String),
    /// A file gets another name under which nobody reads it.
    PutAside(String),
    /// A file ends here; what follows is kept in a copy.
    Clear { file: String, offset: u64, bytes: u64 },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Remove(file) => write!(f, "remove {file}, which was not finished"),
            Step::PutAside(file) => write!(f, "rename {file} to {file}.damaged"),
            Step::Clear { file, offset, bytes } => write!(
                f,
                "copy {bytes} bytes from offset {offset} of {file} to {file}.damaged, and clear \
                 them in {file}"
            ),
        }
    }
}

/// Repairs the directory at `path` if its owner has `agreed`, or tells what there is to do.
pub(super) fn repair(path: &Path, agreed: bool, out: Out<'_>) -> Result<(), AdminError> {
    let data = Data::open(path)?;
    let mut steps = Vec::new();
    plan(&data, &mut steps, out)?;
    for (name, _) in data.disk.list()? {
        if name == UNFINISHED || name == UNPREPARED {
            steps.push(Step::Remove(name));
        }
    }
    let verb = if agreed { "done" } else { "would" };
    for step in &steps {
        if agreed {
            carry_out(&data, step)?;
        }
        writeln!(out, "{verb}: {step}").map_err(AdminError::Output)?;
    }
    match (steps.is_empty(), agreed) {
        (true, _) => writeln!(out, "there is nothing to repair").map_err(AdminError::Output),
        (false, true) => data.disk.sync().map_err(AdminError::Io),
        (false, false) => Err(AdminError::NotAgreed),
    }
}

/// Finds out what has to be done to snapshots and log.
fn plan(data: &Data, steps: &mut Vec<Step>, out: Out<'_>) -> Result<(), AdminError> {
    let mut last_error = None;
    let mut beyond = Vec::new();
    for listed in &data.snapshots {
        let info = match data.verified(listed) {
            Ok(info) => info,
            Err(AdminError::Snapshot(error)) if !matches!(error, SnapshotError::Io(_)) => {
                writeln!(out, "{error}").map_err(AdminError::Output)?;
                steps.push(Step::PutAside(listed.name.clone()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let (report, outcome) = read_log(data, Some(&info));
        let lost = outcome.as_ref().err().and_then(ReadError::lost);
        match (outcome, lost) {
            (Ok(()), _) => {
                tell_lost(&report, &last_error, !steps.is_empty(), out)?;
                put_aside(beyond, steps);
                return Ok(());
            }
            // A cut may lie behind the header of a commit that was not there yet.
            (Err(_), Some((lsn, synced))) if info.largest_cut <= lsn + LOG_COMMIT_HEADER => {
                put_aside(beyond, steps);
                return cut(data, &report, lsn, synced, steps, out);
            }
            (Err(error), _) => last_error = Some(error),
        }
        beyond.push(listed.name.clone());
    }
    if data.logs.is_empty() && beyond.is_empty() && steps.is_empty() {
        return Ok(());
    }
    if data.log_begin() > 0 {
        return Err(beyond_repair(last_error));
    }
    let (report, outcome) = read_log(data, None);
    let lost = outcome.as_ref().err().and_then(ReadError::lost);
    match (outcome, lost) {
        (Ok(()), _) if !data.logs.is_empty() => {
            tell_lost(&report, &last_error, !steps.is_empty(), out)?;
            put_aside(beyond, steps);
            Ok(())
        }
        (_, Some((lsn, synced))) => {
            put_aside(beyond, steps);
            cut(data, &report, lsn, synced, steps, out)
        }
        (outcome, _) => Err(beyond_repair(last_error.or(outcome.err()))),
    }
}

/// Says what is lost although the log is read to its end: that a snapshot knew it to be longer, or
/// that it was switched on behind one that is damaged.
fn tell_lost(
    report: &LogReport,
    error: &Option<ReadError>,
    is_damaged: bool,
    out: Out<'_>,
) -> Result<(), AdminError> {
    if let Some((lsn, synced)) = error.as_ref().and_then(ReadError::lost) {
        writeln!(
            out,
            "the log ends at position {lsn}; writes from there to position {synced} were \
             acknowledged and are lost"
        )
        .map_err(AdminError::Output)?;
    }
    if let Some(at) = report.tail.anew.filter(|_| is_damaged) {
        writeln!(
            out,
            "the log was switched on at position {at}: all that was acknowledged since is lost"
        )
        .map_err(AdminError::Output)?;
    }
    Ok(())
}

fn beyond_repair(error: Option<ReadError>) -> AdminError {
    let why = error.map_or("no whole snapshot is left".to_owned(), |error| error.to_string());
    AdminError::BeyondRepair(format!("{why}; put back the files of a backup"))
}

/// Snapshots that hold changes from behind the damage would bring back a part of them.
fn put_aside(names: Vec<String>, steps: &mut Vec<Step>) {
    steps.extend(names.into_iter().map(Step::PutAside));
}

/// The log ends at `lsn`.
fn cut(
    data: &Data,
    report: &LogReport,
    lsn: u64,
    synced: u64,
    steps: &mut Vec<Step>,
    out: Out<'_>,
) -> Result<(), AdminError> {
    writeln!(
        out,
        "the log is whole up to position {lsn} ({} records from {} on); writes from there to \
         position {synced} were acknowledged and are lost",
        report.tail.records, report.from
    )
    .map_err(AdminError::Output)?;
    for (name, _) in data.logs.iter().filter(|(name, _)| name.start > lsn) {
        steps.push(Step::PutAside(name.text()));
    }
    let holds = |(name, bytes): &&(LogName, u64)| name.start <= lsn && lsn < name.start + bytes;
    for (name, bytes) in data.logs.iter().filter(holds) {
        let offset = lsn - name.start;
        steps.push(Step::Clear { file: name.text(), offset, bytes: bytes - offset });
    }
    Ok(())
}

fn carry_out(data: &Data, step: &Step) -> Result<(), AdminError> {
    match step {
        Step::Remove(file) => data.disk.remove(file)?,
        Step::PutAside(file) => data.disk.rename(file, &aside(&data.path, file))?,
        Step::Clear { file, offset, bytes } => {
            let copy = data.path.join(aside(&data.path, file));
            copy_from(&data.path.join(file), *offset, &copy)?;
            data.disk.sync()?;
            clear(data, file, *offset, *bytes)?;
        }
    }
    Ok(())
}

/// A name for what is taken from `file` that no earlier repair has used.
fn aside(path: &Path, file: &str) -> String {
    let numbered = (2..).map(|number| format!("{file}.{number}.damaged"));
    let mut names = std::iter::once(format!("{file}.damaged")).chain(numbered);
    names.find(|name| !path.join(name).exists()).unwrap_or_default()
}

fn copy_from(file: &PathBuf, offset: u64, copy: &PathBuf) -> io::Result<()> {
    let mut from = File::open(file)?;
    from.seek(SeekFrom::Start(offset))?;
    let mut to = File::create_new(copy)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Writes zeros over the last `bytes` bytes of a file of the log; its length stays.
fn clear(data: &Data, file: &str, offset: u64, bytes: u64) -> io::Result<()> {
    let opened = data.disk.open(file, OpenMode::Write)?;
    let zeros = AlignedBuf::zeroed(LOG_CHUNK_BYTES as usize);
    let end = (offset + bytes).next_multiple_of(LOG_BLOCK_BYTES);
    let mut at = offset;
    while at < end {
        let piece = (end - at).min(LOG_CHUNK_BYTES);
        opened.write_at(&zeros[..piece as usize], at)?;
        at += piece;
    }
    opened.sync()
}
