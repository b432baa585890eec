//! `dse-admin dump`: the log as lines, one for each record.
//!
//! ```text
//!   4160 2026-01-31T12:00:00.000Z shard 17 db 0 "SET" "key" "value"
//! ```
//!
//! Requests of a transaction stand in one line, each behind its database. A request that came in
//! fragments is printed where it was applied. Long arguments and long requests are shortened.

use super::Out;
use super::directory::{Data, time};
use super::error::AdminError;
use crate::limits::{DUMP_ARG_BYTES_MAX, DUMP_ARGS_MAX};
use crate::util::quote::push_quoted;
use crate::wal::record::{Record, take_command};
use crate::wal::{RecordKind, SEVERAL_SHARDS};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

/// Prints the records between two positions, both included.
pub(super) fn dump(
    path: &Path,
    from: Option<u64>,
    to: u64,
    out: Out<'_>,
) -> Result<(), AdminError> {
    let data = Data::open(path)?;
    let begin = from.unwrap_or(0).max(data.log_begin());
    let mut reader = data.log(begin)?;
    let mut bodies = HashMap::new();
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if record.lsn > to {
                return Ok(());
            }
            let line = line(&record, &mut bodies);
            if record.lsn >= begin {
                writeln!(out, "{line}").map_err(AdminError::Output)?;
            }
        }
    }
    Ok(())
}

/// The line of a record. `bodies` are those that came in fragments so far.
fn line(record: &Record<'_>, bodies: &mut HashMap<u64, Vec<u8>>) -> String {
    let shard = match record.meta.shard {
        SEVERAL_SHARDS => "several shards".to_owned(),
        shard => format!("shard {shard}"),
    };
    let mut line = format!("{} {} {shard}", record.lsn, time(record.meta.clock_ms));
    if record.meta.kind == RecordKind::Commands {
        push_commands(record.body, &[], &mut line);
        return line;
    }
    let Some((number, rest)) = record.body.split_first_chunk() else {
        line.push_str(" (too short)");
        return line;
    };
    let number = u64::from_le_bytes(*number);
    match record.meta.kind {
        RecordKind::Fragment => {
            let _ = write!(line, " fragment of body {number}: {} bytes", rest.len());
            bodies.entry(number).or_default().extend_from_slice(rest);
        }
        RecordKind::Dropped => {
            let _ = write!(line, " body {number} is not used");
            bodies.remove(&number);
        }
        _ => {
            let _ = write!(line, " body {number}:");
            match bodies.remove(&number) {
                Some(body) => push_commands(&body, rest, &mut line),
                None => line.push_str(" (begins in front of what was read)"),
            }
        }
    }
    line
}

/// Appends the commands of `body` whose bit is set; no bits: all.
fn push_commands(body: &[u8], bits: &[u8], line: &mut String) {
    let (mut rest, mut args) = (body, Vec::new());
    for at in 0.. {
        if rest.is_empty() {
            return;
        }
        let Ok(db) = take_command(&mut rest, &mut args) else {
            line.push_str(" (cut short)");
            return;
        };
        let applies =
            bits.is_empty() || bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if applies {
            push_command(db, &args, line);
        }
    }
}

fn push_command(db: u8, args: &[&[u8]], line: &mut String) {
    let _ = write!(line, " db {db}");
    for arg in args.iter().take(DUMP_ARGS_MAX) {
        line.push(' ');
        if arg.len() <= DUMP_ARG_BYTES_MAX {
            push_quoted(arg, line);
        } else {
            push_quoted(&arg[..DUMP_ARG_BYTES_MAX], line);
            let _ = write!(line, "...({} bytes)", arg.len());
        }
    }
    if args.len() > DUMP_ARGS_MAX {
        let _ = write!(line, " ...({} arguments)", args.len());
    }
}
