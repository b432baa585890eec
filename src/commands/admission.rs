//! Whether a request may run, and what it is answered if not.

use super::command_stats::Place;
use super::durability;
use super::evicting;
use super::node::Node;
use super::session::ReplyMode;
use super::slowlog::{SlowCommand, cut_args};
use super::table::{Command, flags};
use super::transactions;
use crate::engine::{CmdError, shown};
use crate::limits::QUOTED_BYTES_MAX;
use crate::net::{Card, Io};
use crate::resp::{Args, Mark, Reply};

/// What a command that needs memory is answered above `maxmemory`.
pub(super) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Whether a request may run at all.
#[inline(always)]
pub(super) fn admit(
    node: &Node,
    io: &mut Io<'_, Node>,
    command: &Command,
    place: Place,
    args: Args<'_>,
) -> Result<(), CmdError> {
    let session = &*io.session;
    // What stands for nearly every request, and leaves only the check of memory.
    let is_common = command.subs.is_empty()
        && command.arity_fits(args.len())
        && session.authenticated
        && session.multi.is_none()
        && session.subscriptions.is_none()
        && !node.is_loading();
    if is_common && (!command.is(flags::DENYOOM) || evicting::has_room(node)) {
        return Ok(());
    }
    admit_with_care(node, io, command, place, args)
}

#[cold]
fn admit_with_care(
    node: &Node,
    io: &mut Io<'_, Node>,
    command: &Command,
    place: Place,
    args: Args<'_>,
) -> Result<(), CmdError> {
    if !command.subs.is_empty() && args.len() > 1 {
        // A sub-command with a row would have been resolved.
        return Err(CmdError::unknown_subcommand(command.name, args.get(1)));
    }
    if !command.arity_fits(args.len()) {
        return Err(CmdError::Arity(place.name().into()));
    }
    if !io.session.authenticated && !command.is(flags::NO_AUTH) {
        return Err(CmdError::text("NOAUTH Authentication required."));
    }
    if node.is_loading() && !command.is(flags::LOADING) {
        let done = node.loading.progress().percent as u64;
        let text = format!("LOADING Redis is loading the dataset in memory ({done} % done)");
        return Err(CmdError::owned(text));
    }
    if command.is(flags::NO_MULTI) && io.session.multi.is_some() {
        return Err(CmdError::text("ERR Command not allowed inside a transaction"));
    }
    // Queueing takes memory too, whatever the command.
    let is_queued = io.session.multi.is_some() && !command.is(flags::AT_ONCE);
    if (command.is(flags::DENYOOM) || is_queued) && !evicting::make_room(node, io.hub, io.local) {
        return Err(CmdError::text(OUT_OF_MEMORY));
    }
    if io.session.in_subscribed_mode() && !command.is(flags::IN_SUBSCRIBED) {
        return Err(CmdError::owned(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context",
            place.name()
        )));
    }
    Ok(())
}

/// Answers an error before execution.
pub(super) fn refuse(node: &Node, io: &mut Io<'_, Node>, place: Option<Place>, error: &CmdError) {
    let mark = io.out.mark();
    // It will not be executed: what of it is in the log already must not be taken for another.
    durability::drop_long_body(node, io.session);
    if let Some(multi) = &mut io.session.multi {
        multi.failed = true;
    }
    if let Some(place) = place {
        node.workers[io.local.worker].by_command.of(place).rejected.add(1);
    }
    if place.is_some_and(|place| place.name() == "exec") {
        transactions::abandon(node, io.session);
        let text = error.to_string();
        let why = text.strip_prefix("ERR ").unwrap_or(&text);
        // Where the keys are is told as it is, so that clients follow it.
        let error = match text.starts_with("MOVED ") {
            true => error.clone(),
            false => CmdError::owned(format!("EXECABORT Transaction discarded because of: {why}")),
        };
        answer_error(node, io, &error);
    } else {
        answer_error(node, io, error);
    }
    settle_reply_mode(io, mark);
}

/// Writes an error reply and counts it by its code.
pub(super) fn answer_error(node: &Node, io: &mut Io<'_, Node>, error: &CmdError) {
    node.note_error(io.local.worker, error);
    error.write_to(&mut Reply::new(io.out, io.session.protocol));
}

/// Drops the reply that CLIENT REPLY asked not to be sent.
#[inline(always)]
pub(super) fn settle_reply_mode(io: &mut Io<'_, Node>, mark: Mark) {
    if io.session.reply_mode != ReplyMode::On {
        take_reply_back(io, mark);
    }
}

#[cold]
fn take_reply_back(io: &mut Io<'_, Node>, mark: Mark) {
    match io.session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => io.out.rollback(mark),
        ReplyMode::SkipNext => {
            io.out.rollback(mark);
            io.session.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            io.out.rollback(mark);
            io.session.reply_mode = ReplyMode::On;
        }
    }
}

#[cold]
pub(super) fn unknown_command(args: Args<'_>) -> CmdError {
    let mut after = b"', with args beginning with: ".to_vec();
    let begin = after.len();
    for arg in args.iter_from(1) {
        let room = QUOTED_BYTES_MAX.saturating_sub(after.len() - begin);
        if room == 0 {
            break;
        }
        after.push(b'\'');
        after.extend_from_slice(shown(arg, room));
        after.extend_from_slice(b"' ");
    }
    let name = shown(args.get(0), QUOTED_BYTES_MAX);
    CmdError::Bytes([b"ERR unknown command '", name, &after].concat())
}

#[cold]
pub(super) fn note_slow(node: &Node, card: &Card, args: Args<'_>, duration_us: u64) {
    let command = SlowCommand {
        id: 0,
        time_s: node.engine.clock.now_ms() / 1000,
        duration_us,
        args: cut_args(args),
        peer: card.peer().map(|peer| peer.to_string()).unwrap_or_default(),
        name: card.labels().name,
    };
    node.slowlog.push(command, node.config.hot.slowlog_max_len() as usize);
}
