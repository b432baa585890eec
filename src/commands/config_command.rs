//! CONFIG.

use super::server::no_such_sub;
use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, flags::*, row};
use crate::config::{Caller, ConfigError};
use crate::engine::CmdError;
use crate::net::Flow;
use crate::resp::{Args, Reply};

const SUB: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

/// The row of CONFIG.
pub const ROW: Command = row("config", -2, Keys::NONE, 0, 0, Run::Session(no_such_sub))
    .subs(&[
        row("get", -3, Keys::NONE, SUB, 0, Run::Session(get))
            .doc("2.0.0", "Returns the values of directives."),
        row("help", 2, Keys::NONE, LOADING | STALE, 0, Run::Session(help))
            .doc("5.0.0", "Returns helpful text about the sub-commands."),
        row("resetstat", 2, Keys::NONE, SUB, 0, Run::Session(resetstat))
            .doc("2.0.0", "Starts the statistics over."),
        row("rewrite", 2, Keys::NONE, SUB, 0, Run::Session(rewrite))
            .doc("2.8.0", "Writes the values of directives to the configuration file."),
        row("set", -4, Keys::NONE, SUB, 0, Run::Session(set))
            .doc("2.0.0", "Changes the values of directives."),
    ])
    .doc("2.0.0", "A container for commands about the configuration.");

/// CONFIG GET pattern [pattern ...]
fn get(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.iter_from(2).collect();
    let found = cx.node().config.get_matching(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(&value);
    }
    Ok(())
}

/// CONFIG SET name value [name value ...]
fn set(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if let Some(number) = cx.session.switch {
        return switched(cx, number, reply);
    }
    if !args.len().is_multiple_of(2) {
        return Err(CmdError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..args.len()).step_by(2).map(|at| (args.get(at), args.get(at + 1))).collect();
    let caller = if cx.card.is_from_here() { Caller::Local } else { Caller::Remote };
    let asked = cx.node().switching.asked();
    let changed = cx.node().config.set_many(caller, &pairs).map_err(refused)?;
    for change in &changed {
        tracing::info!(name = change.name, old = change.old, new = change.new, "CONFIG SET");
    }
    let number = cx.node().switching.asked();
    if number > asked && !cx.in_exec {
        return switched(cx, number, reply);
    }
    reply.ok();
    Ok(())
}

/// Answers when the storage has followed the configuration. A transaction cannot wait: there the
/// answer comes before.
fn switched(cx: &mut Cx<'_>, number: u64, reply: &mut Reply<'_>) -> Outcome {
    let Some(outcome) = cx.hub.service.switching.outcome(number, cx.id) else {
        cx.session.switch = Some(number);
        cx.flow = Flow::Park;
        return Ok(());
    };
    cx.session.switch = None;
    outcome.map_err(|why| CmdError::owned(format!("ERR CONFIG SET failed: {why}")))?;
    reply.ok();
    Ok(())
}

/// CONFIG REWRITE
fn rewrite(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let path = cx.node().config.rewrite().map_err(refused)?;
    tracing::info!(path = %path.display(), "CONFIG REWRITE");
    reply.ok();
    Ok(())
}

/// CONFIG RESETSTAT
fn resetstat(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cx.node().reset_stats();
    reply.ok();
    Ok(())
}

fn refused(error: ConfigError) -> CmdError {
    CmdError::owned(format!("ERR {error}"))
}

/// CONFIG HELP
fn help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(
        reply,
        &[
            "CONFIG <subcommand> [argument ...], where the subcommand is one of:",
            "GET pattern [pattern ...]",
            "    Directives whose names match, with their values.",
            "SET name value [name value ...]",
            "    Changes directives, all of them or none.",
            "RESETSTAT",
            "    Starts the statistics over.",
            "REWRITE",
            "    Brings the configuration file up to date.",
            "HELP",
            "    These lines.",
        ],
    );
    Ok(())
}
