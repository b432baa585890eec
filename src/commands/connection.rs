//! The connection family, and how connections come and go.

use super::node::{Node, NodeHub};
use super::session::Session;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::net::{Bounds, Card, ConnId};
use crate::resp::{Args, Reply};

/// The rows of this family.
pub const ROWS: &[Command] =
    &[row("ping", -1, Keys::NONE, FAST | IN_SUBSCRIBED, acl::CONNECTION, Run::Session(ping))
        .doc("1.0.0", "Returns the server's liveliness response.")];

/// PING [message]
fn ping(cx: &mut super::Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(CmdError::Arity("ping".into()));
    }
    let message = args.try_get(1);
    if cx.session.in_subscribed_mode() {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or(b""));
        return Ok(());
    }
    match message {
        Some(message) => reply.bulk(message),
        None => reply.simple("PONG"),
    }
    Ok(())
}

/// A connection was accepted: its state, or the refusal.
pub fn admit(node: &Node, card: &Card) -> Result<Session, Vec<u8>> {
    let hot = &node.config.hot;
    if hot.protected_mode() && !hot.requirepass_is_set() && !card.is_from_here() {
        return Err(PROTECTED.as_bytes().to_vec());
    }
    Ok(Session { authenticated: !hot.requirepass_is_set(), ..Session::default() })
}

/// What a remote client is told in protected mode.
const PROTECTED: &str = "-DENIED dse is running in protected mode: no password is set, so only \
     clients on this machine are served. Set one with 'requirepass' (best), or, if every client \
     that can reach this port may do everything, switch it off with 'protected-mode no'.\r\n";

/// A connection is gone: nobody refers to it any more.
pub fn leave(hub: &NodeHub, id: ConnId, session: Session) {
    let node = &hub.service;
    if session.monitor {
        node.monitors.remove(id);
    }
    if let Some(subscriptions) = &session.subscriptions {
        node.pubsub.forget(id, subscriptions);
    }
    if let Some(watching) = session.watching {
        super::transactions::unwatch(node, &watching);
    }
}

/// Bounds that the configuration sets for a connection.
pub fn bounds(node: &Node, _card: &Card) -> Bounds {
    Bounds {
        idle_ms: node.config.hot.timeout_s() * 1000,
        output_hard: 0,
        output_soft: 0,
        soft_ms: 0,
    }
}
