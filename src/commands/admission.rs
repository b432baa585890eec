//! Whether a request may run, and what it is answered if not.

use super::command_stats::Place;
use super::node::Node;
use super::session::ReplyMode;
use super::slowlog::{SlowCommand, cut_args};
use super::table::{Command, flags};
use crate::engine::CmdError;
use crate::net::{Card, Io};
use crate::resp::{Args, Mark, Reply};

/// What a command that needs memory is answered above `maxmemory`.
pub(super) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Whether a request may run at all.
pub(super) fn admit(
    node: &Node,
    io: &Io<'_, Node>,
    command: &Command,
    place: Place,
    args: Args<'_>,
) -> Result<(), CmdError> {
    if !command.arity_fits(args.len()) {
        return Err(CmdError::Arity(place.name().into()));
    }
    if !io.session.authenticated && !command.is(flags::NO_AUTH) {
        return Err(CmdError::text("NOAUTH Authentication required."));
    }
    if command.is(flags::DENYOOM) && node.is_out_of_memory() {
        return Err(CmdError::text("OOM command not allowed when used memory > 'maxmemory'."));
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
    if let Some(multi) = &mut io.session.multi {
        multi.failed = true;
    }
    if let Some(place) = place {
        node.workers[io.local.worker].by_command.of(place).rejected.add(1);
    }
    answer_error(node, io, error);
    settle_reply_mode(io, mark);
}

/// Writes an error reply and counts it by its code.
pub(super) fn answer_error(node: &Node, io: &mut Io<'_, Node>, error: &CmdError) {
    node.note_error(io.local.worker, error);
    Reply::new(io.out, io.session.protocol).error(&error.to_string());
}

/// Drops the reply that CLIENT REPLY asked not to be sent.
pub(super) fn settle_reply_mode(io: &mut Io<'_, Node>, mark: Mark) {
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
    let cut = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned();
    let mut shown = String::new();
    for arg in args.iter_from(1) {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push_str(&format!("'{}' ", cut(&arg[..arg.len().min(room)])));
    }
    CmdError::owned(format!(
        "ERR unknown command '{}', with args beginning with: {shown}",
        cut(args.get(0))
    ))
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
