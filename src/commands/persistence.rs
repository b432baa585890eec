//! SAVE BGSAVE LASTSAVE BGREWRITEAOF, and what INFO says of log and snapshots.

use super::info::View;
use super::loading::LoadProgress;
use super::saving::{Progress, SaveReport};
use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::net::Flow;
use crate::resp::{Args, Reply};
use crate::sys::clock;
use crate::wal::Health;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("bgrewriteaof", 1, Keys::NONE, SAVES, 0, Run::Session(bgrewriteaof))
        .doc("1.0.0", "Shortens the log: writes a snapshot and gives back what is before it."),
    row("bgsave", -1, Keys::NONE, SAVES, 0, Run::Session(bgsave))
        .doc("1.0.0", "Writes a snapshot beside the other work."),
    row("lastsave", 1, Keys::NONE, LOADING | STALE | FAST, acl::ADMIN, Run::Session(lastsave))
        .doc("1.0.0", "Returns the time of the last snapshot."),
    row("save", 1, Keys::NONE, SAVES | NO_MULTI, 0, Run::Session(save))
        .doc("1.0.0", "Writes a snapshot, and answers when it is on disk."),
];

const SAVES: u32 = ADMIN | NOSCRIPT | NO_ASYNC_LOADING;

/// SAVE
fn save(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let saving = &cx.hub.service.saving;
    let number = match cx.session.save {
        Some(number) => number,
        None => saving.ask(true).unwrap_or_default(),
    };
    saving.hurry(number);
    match saving.outcome(number, cx.id) {
        None => {
            cx.session.save = Some(number);
            cx.flow = Flow::Park;
            return Ok(());
        }
        Some(outcome) => {
            cx.session.save = None;
            outcome.map_err(|why| CmdError::owned(format!("ERR the snapshot failed: {why}")))?;
        }
    }
    reply.ok();
    Ok(())
}

/// BGSAVE [SCHEDULE]
fn bgsave(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let schedule = match args.len() {
        1 => false,
        2 if args.get(1).eq_ignore_ascii_case(b"schedule") => true,
        _ => return Err(CmdError::Syntax),
    };
    let is_running = cx.node().saving.report.in_progress.load(Relaxed);
    match cx.node().saving.ask(schedule) {
        None => return Err(CmdError::text("ERR Background save already in progress")),
        Some(_) if is_running => reply.simple("Background saving scheduled"),
        Some(_) => reply.simple("Background saving started"),
    }
    Ok(())
}

/// BGREWRITEAOF
fn bgrewriteaof(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cx.node().saving.ask(true);
    reply.simple("Background append only file rewriting started");
    Ok(())
}

/// LASTSAVE
fn lastsave(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(cx.node().saving.report.last_s.load(Relaxed) as i64);
    Ok(())
}

/// The section of INFO.
pub(super) fn info(view: &View<'_>, out: &mut String) {
    let node = view.node;
    let report = &node.saving.report;
    let dirty = node.total(|stats| &stats.tally.dirty);
    let (in_progress, now_s) = (report.in_progress.load(Relaxed), clock::wall_ms() / 1000);
    let took_s = match in_progress {
        true => now_s.saturating_sub(report.began_s.load(Relaxed)) as i64,
        false => -1,
    };
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let (processed, total) = match in_progress {
        true => (report.keys_done.load(Relaxed), report.keys_total.load(Relaxed)),
        false => (0, 0),
    };
    let percent = if in_progress { report.progress().percent } else { 0.0 };
    let (is_logged, is_opening) = (node.durability.log().is_some(), node.switching.is_opening());
    let log_state = match (is_logged, node.switching.is_pending()) {
        (true, _) if is_opening => "opening",
        (_, true) => "switching",
        (true, false) => "on",
        (false, false) => "off",
    };
    let lines: [(&str, &dyn std::fmt::Display); 21] = [
        ("loading", &u8::from(node.is_loading())),
        ("async_loading", &0),
        ("current_cow_peak", &report.copies_max.load(Relaxed)),
        ("current_cow_size", &report.copies.load(Relaxed)),
        ("current_fork_perc", &format_args!("{percent:.2}")),
        ("current_save_keys_processed", &processed),
        ("current_save_keys_total", &total),
        (
            "rdb_changes_since_last_save",
            &dirty.saturating_sub(report.changes_at_last.load(Relaxed)),
        ),
        ("rdb_bgsave_in_progress", &u8::from(in_progress)),
        ("rdb_last_save_time", &report.last_s.load(Relaxed)),
        ("rdb_last_bgsave_status", &status(report.last_failed.load(Relaxed))),
        ("rdb_last_bgsave_time_sec", &report.last_took_s.load(Relaxed)),
        ("rdb_current_bgsave_time_sec", &took_s),
        ("rdb_saves", &report.saves.load(Relaxed)),
        ("aof_enabled", &u8::from(is_logged)),
        ("aof_rewrite_in_progress", &u8::from(in_progress)),
        ("aof_rewrite_scheduled", &u8::from(is_opening && !in_progress)),
        ("aof_last_rewrite_time_sec", &report.last_took_s.load(Relaxed)),
        ("aof_current_rewrite_time_sec", &took_s),
        ("aof_last_bgrewrite_status", &status(report.last_failed.load(Relaxed))),
        ("log_state", &log_state),
    ];
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = write!(out, "{name}:{value}\r\n");
    }
    log_lines(view, out);
    if in_progress {
        snapshot_lines(report, out);
    }
    if node.is_loading() {
        loading_lines(&node.loading.progress(), out);
    }
}

/// How far the snapshot is that is being written.
fn snapshot_lines(report: &SaveReport, out: &mut String) {
    let Progress { percent, bytes_per_s, eta_s } = report.progress();
    let bytes = report.bytes_done.load(Relaxed);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "snapshot_percent:{percent:.2}\r\nsnapshot_bytes:{bytes}\r\n\
         snapshot_bytes_per_sec:{bytes_per_s}\r\nsnapshot_eta_seconds:{eta_s}\r\n"
    );
}

/// How far the start is.
fn loading_lines(progress: &LoadProgress, out: &mut String) {
    let LoadProgress { began_s, total_bytes, loaded_bytes, percent, eta_s, .. } = progress;
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "loading_start_time:{began_s}\r\nloading_total_bytes:{total_bytes}\r\n\
         loading_loaded_bytes:{loaded_bytes}\r\nloading_loaded_perc:{percent:.2}\r\n\
         loading_eta_seconds:{eta_s}\r\n"
    );
}

/// What INFO says of the log.
fn log_lines(view: &View<'_>, out: &mut String) {
    let node = view.node;
    let Some(log) = node.durability.log() else {
        // Writing to a string does not fail.
        let _ = write!(out, "aof_last_write_status:ok\r\n");
        return;
    };
    let (stats, histograms) = (log.stats(), log.stats().histograms());
    let status = if log.health() == Health::Good { "ok" } else { "err" };
    let lines: [(&str, u64); 18] = [
        ("log_begin", log.begin()),
        ("log_position", log.end()),
        ("log_durable", log.durable()),
        ("log_written", log.written()),
        ("log_file_bytes", log.file_bytes()),
        ("log_bytes_written", stats.bytes.load(Relaxed)),
        ("log_records", stats.records.load(Relaxed)),
        ("log_commits", stats.commits.load(Relaxed)),
        ("log_errors", stats.errors.load(Relaxed)),
        ("log_write_us_p50", histograms.write_us.value_at_quantile(0.5)),
        ("log_write_us_p99", histograms.write_us.value_at_quantile(0.99)),
        ("log_write_us_max", histograms.write_us.max()),
        ("log_sync_us_p50", histograms.sync_us.value_at_quantile(0.5)),
        ("log_sync_us_p99", histograms.sync_us.value_at_quantile(0.99)),
        ("log_batch_p50", histograms.batch.value_at_quantile(0.5)),
        ("log_batch_p99", histograms.batch.value_at_quantile(0.99)),
        ("recovery_ms", node.durability.recovery_ms.load(Relaxed)),
        ("snapshot_piece_bytes_max", node.saving.report.piece_bytes_max.load(Relaxed)),
    ];
    // Writing to a string does not fail.
    let _ = write!(out, "aof_last_write_status:{status}\r\n");
    for (name, value) in lines {
        let _ = write!(out, "{name}:{value}\r\n");
    }
}
