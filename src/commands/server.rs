//! The server family: what concerns the process as a whole.

use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use super::{client, command_command, config_command, debug, info, latency, memory};
use crate::engine::CmdError;
use crate::resp::{Args, Reply};
use crate::util::int::parse_i64;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    command_command::ROW,
    config_command::ROW,
    debug::ROW,
    info::ROW,
    latency::ROW,
    memory::ROW,
    row("function", -2, Keys::NONE, 0, acl::SCRIPTING, Run::Session(no_such_sub))
        .subs(FUNCTION_SUBS)
        .doc("7.0.0", "A container for commands about functions."),
    row("lolwut", -1, Keys::NONE, READONLY | FAST, 0, Run::Session(lolwut))
        .doc("5.0.0", "Shows the version, and a small picture."),
    row("monitor", 1, Keys::NONE, MONITOR, 0, Run::Session(monitor))
        .doc("1.0.0", "Shows all commands that the server processes."),
    row("script", -2, Keys::NONE, 0, acl::SCRIPTING, Run::Session(no_such_sub))
        .subs(SCRIPT_SUBS)
        .doc("2.6.0", "A container for commands about scripts."),
    row("shutdown", -1, Keys::NONE, SHUTDOWN, 0, Run::Session(shutdown))
        .doc("1.0.0", "Ends the server."),
    row("slowlog", -2, Keys::NONE, 0, 0, Run::Session(no_such_sub))
        .subs(SLOWLOG_SUBS)
        .doc("2.2.12", "A container for commands about the slow log."),
    row("time", 1, Keys::NONE, LOADING | STALE | FAST, 0, Run::Session(time))
        .doc("2.6.0", "Returns the server's time."),
    // What a browser that was led here would send. A page could make it write, so it is closed.
    row("host:", -1, Keys::NONE, WEB, 0, Run::Session(web)).doc("1.0.0", "Guards against HTTP."),
    row("post", -1, Keys::NONE, WEB, 0, Run::Session(web)).doc("1.0.0", "Guards against HTTP."),
];

const MONITOR: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
const SHUTDOWN: u32 = ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY;
const WEB: u32 = NOSCRIPT | LOADING | STALE | READONLY | NO_AUTH | AT_ONCE;
const SLOWLOG: u32 = ADMIN | LOADING | STALE;

const FUNCTION_SUBS: &[Command] =
    &[row("flush", -2, Keys::NONE, NOSCRIPT, acl::SCRIPTING, Run::Session(flush_scripts))
        .doc("7.0.0", "Deletes all functions; there are none.")];

const SCRIPT_SUBS: &[Command] =
    &[row("flush", -2, Keys::NONE, NOSCRIPT, acl::SCRIPTING, Run::Session(flush_scripts))
        .doc("2.6.0", "Deletes all scripts; there are none.")];

const SLOWLOG_SUBS: &[Command] = &[
    row("get", -2, Keys::NONE, SLOWLOG, 0, Run::Session(slowlog_get))
        .doc("2.2.12", "Returns the newest slow commands."),
    row("help", 2, Keys::NONE, LOADING | STALE, 0, Run::Session(slowlog_help))
        .doc("6.2.0", "Returns helpful text about the sub-commands."),
    row("len", 2, Keys::NONE, SLOWLOG, 0, Run::Session(slowlog_len))
        .doc("2.2.12", "Returns how many slow commands are kept."),
    row("reset", 2, Keys::NONE, SLOWLOG, 0, Run::Session(slowlog_reset))
        .doc("2.2.12", "Forgets all slow commands."),
];

/// A container was called with a sub-command that it does not have.
pub fn no_such_sub(cx: &mut Cx<'_>, args: Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(CmdError::unknown_subcommand(cx.command.name, args.get(1)))
}

/// TIME
fn time(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now_us = cx.node().engine.clock.now_us();
    reply.array(2);
    reply.bulk_int((now_us / 1_000_000) as i64);
    reply.bulk_int((now_us % 1_000_000) as i64);
    Ok(())
}

/// LOLWUT [VERSION version]
fn lolwut(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() >= 3 && args.get(1).eq_ignore_ascii_case(b"version") {
        parse_i64(args.get(2)).ok_or(CmdError::NotInteger)?;
    }
    let text = format!(
        "    _\n  _| |___ ___\n | . |_ -| -_|\n |___|___|___|\n\nRedis ver. {} (dse {})\n",
        super::REDIS_VERSION,
        env!("CARGO_PKG_VERSION")
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// MONITOR
fn monitor(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if cx.in_exec {
        return Err(CmdError::text("ERR MONITOR isn't allowed in transactions"));
    }
    if !cx.session.monitor {
        cx.session.monitor = true;
        cx.card.mark(client::MARK_MONITOR, true);
        cx.node().monitors.add(cx.id);
    }
    reply.ok();
    Ok(())
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]
fn shutdown(cx: &mut Cx<'_>, args: Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let (mut save, mut abort, mut other) = (None, false, false);
    for option in args.iter_from(1) {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" if save != Some(true) => save = Some(false),
            b"save" if save != Some(false) => save = Some(true),
            b"now" | b"force" => other = true,
            b"abort" => abort = true,
            _ => return Err(CmdError::Syntax),
        }
    }
    if abort {
        if save.is_some() || other {
            return Err(CmdError::Syntax);
        }
        return Err(CmdError::text("ERR No shutdown in progress."));
    }
    cx.node().shutdown.request(save);
    cx.flow = crate::net::Flow::Park;
    Ok(())
}

/// FUNCTION FLUSH and SCRIPT FLUSH [ASYNC|SYNC]
fn flush_scripts(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let fits = match args.try_get(2) {
        None => true,
        Some(mode) => {
            args.len() == 3
                && (mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync"))
        }
    };
    if !fits {
        return Err(CmdError::owned(format!(
            "ERR {} FLUSH only support SYNC|ASYNC option",
            cx.command.name.to_ascii_uppercase()
        )));
    }
    reply.ok();
    Ok(())
}

/// SLOWLOG GET [count]
fn slowlog_get(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CmdError::wrong_subcommand("slowlog", args.get(1)));
    }
    let count = match args.try_get(2) {
        None => 10,
        Some(text) => {
            let refused = CmdError::text("ERR count should be greater than or equal to -1");
            let count = parse_i64(text).filter(|count| *count >= -1).ok_or(refused)?;
            if count == -1 { usize::MAX } else { count as usize }
        }
    };
    let commands = cx.node().slowlog.newest(count);
    reply.array(commands.len());
    for command in commands {
        reply.array(6);
        reply.int(command.id as i64);
        reply.int(command.time_s as i64);
        reply.int(command.duration_us as i64);
        reply.array(command.args.len());
        for arg in &command.args {
            reply.bulk(arg);
        }
        reply.bulk(command.peer.as_bytes());
        reply.bulk(command.name.as_bytes());
    }
    Ok(())
}

/// SLOWLOG LEN
fn slowlog_len(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(cx.node().slowlog.len() as i64);
    Ok(())
}

/// SLOWLOG RESET
fn slowlog_reset(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cx.node().slowlog.clear();
    reply.ok();
    Ok(())
}

/// SLOWLOG HELP
fn slowlog_help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(
        reply,
        &[
            "SLOWLOG <subcommand> [argument], where the subcommand is one of:",
            "GET [count]",
            "    The newest slow commands (10; -1 for all): number, time in seconds, duration in",
            "    microseconds, arguments, client address, client name.",
            "LEN",
            "    How many are kept.",
            "RESET",
            "    Forgets them.",
            "HELP",
            "    These lines.",
        ],
    );
    Ok(())
}

/// POST and Host:
fn web(cx: &mut Cx<'_>, _args: Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let peer = cx.card.peer().map(|peer| peer.to_string()).unwrap_or_default();
    tracing::warn!(peer, "closed a connection that speaks HTTP: possibly a cross-site attack");
    cx.flow = crate::net::Flow::Abort;
    Ok(())
}
