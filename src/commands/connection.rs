//! The connection family, and how connections come and go.

use super::node::{Node, NodeHub};
use super::session::{Cx, ReplyMode, Session};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use super::{client, durability, pubsub, transactions};
use crate::config::ClientClass;
use crate::engine::CmdError;
use crate::limits::DATABASES;
use crate::net::{Bounds, Card, ConnId, Flow, Peer};
use crate::resp::{Args, Protocol, Reply};
use crate::util::int::parse_i64;
use std::sync::atomic::Ordering::Relaxed;

const ANY_TIME: u32 = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("ping", -1, Keys::NONE, FAST | IN_SUBSCRIBED, acl::CONNECTION, Run::Session(ping))
        .doc("1.0.0", "Answers PONG, or the message given."),
    row("echo", 2, Keys::NONE, LOADING | STALE | FAST, acl::CONNECTION, Run::Session(echo))
        .doc("1.0.0", "Answers the message given."),
    row("select", 2, Keys::NONE, LOADING | STALE | FAST, acl::CONNECTION, Run::Session(select))
        .doc("1.0.0", "Changes the database of the connection."),
    row("auth", -2, Keys::NONE, ANY_TIME | NO_AUTH, acl::CONNECTION, Run::Session(auth))
        .doc("1.0.0", "Gives the password."),
    row("hello", -1, Keys::NONE, ANY_TIME | NO_AUTH, acl::CONNECTION, Run::Session(hello))
        .doc("6.0.0", "Chooses the protocol version; may authenticate and name the connection."),
    row("quit", -1, Keys::NONE, QUIT, acl::CONNECTION, Run::Session(quit))
        .doc("1.0.0", "Closes the connection."),
    row("reset", 1, Keys::NONE, QUIT, acl::CONNECTION, Run::Session(reset))
        .doc("6.2.0", "Sets the connection back to the state of a new one."),
    client::ROW,
];

const QUIT: u32 = ANY_TIME | NO_AUTH | AT_ONCE | IN_SUBSCRIBED;

/// PING [message]
fn ping(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
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

/// ECHO message
fn echo(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(args.get(1));
    Ok(())
}

/// SELECT index
fn select(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let index = parse_i64(args.get(1)).ok_or(CmdError::NotInteger)?;
    if i32::try_from(index).is_err() {
        return Err(CmdError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    let limit = cx.node().config.values().count("databases").min(DATABASES as u64) as i64;
    if !(0..limit).contains(&index) {
        return Err(CmdError::text("ERR DB index is out of range"));
    }
    cx.session.db = index as u8;
    cx.card.db.store(index as u8, Relaxed);
    reply.ok();
    Ok(())
}

/// AUTH [username] password
fn auth(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CmdError::Syntax);
    }
    if args.len() == 2 && !cx.node().config.hot.requirepass_is_set() {
        return Err(CmdError::text(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ));
    }
    let (user, password) = match args.len() {
        2 => (&b"default"[..], args.get(1)),
        _ => (args.get(1), args.get(2)),
    };
    authenticate(cx, user, password)?;
    reply.ok();
    Ok(())
}

/// There is one user, `default`; without a password set it may give any.
fn authenticate(cx: &mut Cx<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let config = &cx.node().config;
    let right = !config.hot.requirepass_is_set() || config.password_matches(password);
    if user != b"default" || !right {
        return Err(CmdError::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    cx.session.authenticated = true;
    Ok(())
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
fn hello(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let protocol = match args.try_get(1).map(parse_i64) {
        None => None,
        Some(None) => {
            return Err(CmdError::text("ERR Protocol version is not an integer or out of range"));
        }
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        Some(Some(_)) => return Err(CmdError::text("NOPROTO unsupported protocol version")),
    };
    let mut name = None;
    let mut at = 2;
    while at < args.len() {
        let option = args.get(at);
        if option.eq_ignore_ascii_case(b"auth") && at + 2 < args.len() {
            authenticate(cx, args.get(at + 1), args.get(at + 2))?;
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && at + 1 < args.len() {
            name = Some(client::checked_name(args.get(at + 1))?);
            at += 2;
        } else {
            return Err(CmdError::quoting("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    if !cx.session.authenticated {
        return Err(CmdError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        cx.card.label(|labels| labels.name = name);
    }
    if let Some(protocol) = protocol {
        speak(cx, protocol, reply);
    }
    describe(cx, reply);
    Ok(())
}

fn speak(cx: &mut Cx<'_>, protocol: Protocol, reply: &mut Reply<'_>) {
    cx.session.protocol = protocol;
    reply.set_protocol(protocol);
    cx.card.resp.store(if protocol == Protocol::Resp3 { 3 } else { 2 }, Relaxed);
}

/// The server's answer to HELLO.
fn describe(cx: &Cx<'_>, reply: &mut Reply<'_>) {
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", super::REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(if cx.session.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.int(cx.card.id() as i64);
    let mode = if cx.node().cluster.get().is_some() { "cluster" } else { "standalone" };
    for (name, value) in [("mode", mode), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

/// QUIT
fn quit(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cx.flow = Flow::Close;
    reply.ok();
    Ok(())
}

/// RESET
fn reset(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let node = cx.node();
    transactions::abandon(node, cx.session);
    pubsub::end_all(cx);
    if std::mem::take(&mut cx.session.monitor) {
        node.monitors.remove(cx.id);
    }
    cx.session.db = 0;
    cx.session.authenticated = !node.config.hot.requirepass_is_set();
    cx.session.reply_mode = ReplyMode::On;
    cx.session.client_flags = 0;
    cx.card.db.store(0, Relaxed);
    cx.card.queued.store(-1, Relaxed);
    cx.card.watched.store(0, Relaxed);
    cx.card.marks.store(0, Relaxed);
    cx.card.label(|labels| labels.name.clear());
    speak(cx, Protocol::Resp2, reply);
    reply.simple("RESET");
    Ok(())
}

/// A connection was accepted: its state, or the refusal.
pub fn admit(node: &Node, card: &Card) -> Result<Session, Vec<u8>> {
    let hot = &node.config.hot;
    if hot.protected_mode() && !hot.requirepass_is_set() && !card.is_from_here() {
        return Err(PROTECTED.as_bytes().to_vec());
    }
    let is_redirected = node.cluster.get().is_some_and(|gateway| {
        matches!(card.local(), Some(Peer::Tcp(here)) if here.port() == gateway.redirect_port)
    });
    let authenticated = !hot.requirepass_is_set();
    Ok(Session { authenticated, is_redirected, ..Session::default() })
}

/// What a remote client is told in protected mode.
const PROTECTED: &str = "-DENIED dse is running in protected mode: no password is set, so only \
     clients on this machine are served. Set one with 'requirepass' (best), or, if every client \
     that can reach this port may do everything, switch it off with 'protected-mode no'.\r\n";

/// A connection is gone: nobody refers to it any more.
pub fn leave(hub: &NodeHub, id: ConnId, mut session: Session) {
    let node = &hub.service;
    durability::drop_long_body(node, &mut session);
    if session.monitor {
        node.monitors.remove(id);
    }
    if let Some(subscriptions) = &session.subscriptions {
        node.pubsub.forget(id, subscriptions);
    }
    if let Some(watching) = session.watching {
        transactions::unwatch(node, &watching);
    }
}

/// Bounds that the configuration sets for a connection.
pub fn bounds(node: &Node, card: &Card) -> Bounds {
    let hot = &node.config.hot;
    let listens = card.channels.load(Relaxed) + card.patterns.load(Relaxed) > 0;
    let is_monitor = card.marks.load(Relaxed) & client::MARK_MONITOR != 0;
    let class = match (listens, is_monitor) {
        (true, _) => ClientClass::PubSub,
        (_, true) => ClientClass::Replica,
        _ => ClientClass::Normal,
    };
    let limit = hot.output_limit(class);
    // As in Redis, those who only listen are never idle.
    let idle_ms = if listens || is_monitor { 0 } else { hot.timeout_s() * 1000 };
    Bounds {
        query_bytes: hot.client_query_buffer_limit() as usize,
        idle_ms,
        output_hard: limit.hard_bytes as usize,
        output_soft: limit.soft_bytes as usize,
        soft_ms: limit.soft_seconds * 1000,
    }
}
