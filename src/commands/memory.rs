//! MEMORY: where the bytes are.

use super::server::no_such_sub;
use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, flags::*, row};
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Reply};
use crate::sync::reclaim;
use crate::sys::process;
use crate::util::int::parse_i64;
use std::sync::atomic::Ordering::Relaxed;

/// The row of MEMORY.
pub const ROW: Command = row("memory", -2, Keys::NONE, 0, 0, Run::Session(no_such_sub))
    .subs(&[
        row("doctor", 2, Keys::NONE, 0, 0, Run::Session(doctor))
            .doc("4.0.0", "Explains what is known of memory problems."),
        row("help", 2, Keys::NONE, LOADING | STALE, 0, Run::Session(help))
            .doc("4.0.0", "Returns helpful text about the sub-commands."),
        row("malloc-stats", 2, Keys::NONE, 0, 0, Run::Session(malloc_stats))
            .doc("4.0.0", "Returns statistics of the allocator."),
        row("purge", 2, Keys::NONE, 0, 0, Run::Session(purge))
            .doc("4.0.0", "Frees what is waiting to be freed."),
        row("stats", 2, Keys::NONE, 0, 0, Run::Session(stats))
            .doc("4.0.0", "Returns where memory is used."),
        row("usage", -3, Keys::SECOND, READONLY, 0, Run::Locked(usage))
            .doc("4.0.0", "Returns the bytes that a key and its value take."),
    ])
    .doc("4.0.0", "A container for commands about memory.");

/// MEMORY USAGE key [SAMPLES count]
fn usage(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        3 => {}
        5 if args.get(3).eq_ignore_ascii_case(b"samples") => {
            let samples = parse_i64(args.get(4)).ok_or(CmdError::NotInteger)?;
            if samples < 0 {
                return Err(CmdError::Syntax);
            }
        }
        _ => return Err(CmdError::Syntax),
    }
    let key = txn.key(args.get(2));
    let Some(entry) = txn.find_counted(&key) else {
        reply.nil();
        return Ok(());
    };
    // Counts are exact, so nothing needs to be sampled. The eight bytes are the key's slot.
    let entry_bytes = entry.alloc_bytes() + 8;
    let db = txn.db();
    let object_bytes = txn.held().object(db, &key).map_or(0, |object| object.heap_bytes());
    reply.int((entry_bytes + object_bytes) as i64);
    Ok(())
}

/// MEMORY STATS
fn stats(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let node = cx.node();
    let store = &node.engine.store;
    let used = store.memory_bytes();
    let keys: u64 = (0..crate::limits::DATABASES as u8).map(|db| store.len(db)).sum();
    let rss = process::rss_bytes().unwrap_or(0);
    let clients = node.clients_bytes(cx.hub);
    let numbers = [
        ("peak.allocated", node.gauges.memory_peak.load(Relaxed).max(used)),
        ("total.allocated", used + clients),
        ("startup.allocated", 0),
        ("clients.normal", clients),
        ("dataset.bytes", used),
        ("limbo.bytes", reclaim::limbo_bytes() as u64),
        ("keys.count", keys),
        ("keys.bytes-per-key", used.checked_div(keys).unwrap_or(0)),
        ("allocator.resident", rss),
    ];
    reply.map(numbers.len() + 1);
    for (name, value) in numbers {
        reply.bulk(name.as_bytes());
        reply.int(value as i64);
    }
    reply.bulk(b"fragmentation");
    reply.double(rss as f64 / (used + clients).max(1) as f64);
    Ok(())
}

/// MEMORY DOCTOR
fn doctor(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let node = cx.node();
    let limit = node.config.hot.maxmemory();
    let used = node.engine.store.memory_bytes();
    let limbo = reclaim::limbo_bytes() as u64;
    let mut text = String::new();
    if limit != 0 && used > limit / 10 * 9 {
        text.push_str("Over 90 % of 'maxmemory' is in use: raise it, or delete keys.\n");
    }
    if limbo > 64 << 20 {
        text.push_str("Over 64 MiB wait to be freed: a client's request runs for very long.\n");
    }
    if text.is_empty() {
        text.push_str("No memory problem is known.\n");
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// MEMORY MALLOC-STATS
fn malloc_stats(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text = format!(
        "accounted by the store: {} bytes\nresident in the process: {} bytes\n",
        cx.node().engine.store.memory_bytes(),
        process::rss_bytes().unwrap_or(0)
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// MEMORY PURGE
fn purge(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reclaim::flush();
    reply.ok();
    Ok(())
}

/// MEMORY HELP
fn help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(
        reply,
        &[
            "MEMORY <subcommand> [argument ...], where the subcommand is one of:",
            "USAGE key [SAMPLES count]",
            "    Bytes that the key and its value take; exact, whatever the count.",
            "STATS | DOCTOR | MALLOC-STATS",
            "    Where memory is used, and what is wrong with it.",
            "PURGE",
            "    Frees what is waiting to be freed.",
            "HELP",
            "    These lines.",
        ],
    );
    Ok(())
}
