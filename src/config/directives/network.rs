//! Addresses, sockets and what one connection may use.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::{INT_MAX, PORT_MAX};
use crate::limits::CONNECTIONS_MAX;

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row(
        "bind",
        Kind::Addresses,
        "127.0.0.1",
        "Addresses to listen on; * and ::* stand for all. Redis' default is * -::*.",
    ),
    row("port", Kind::int(0, PORT_MAX), "6379", "TCP port to listen on; 0 turns TCP off."),
    row("unixsocket", Kind::Text, "", "Path of a unix socket to listen on; empty for none.")
        .fixed(),
    row("unixsocketperm", Kind::Octal { max: 0o777 }, "0", "Mode of the unix socket; 0 leaves it.")
        .fixed(),
    row(
        "tcp-backlog",
        Kind::int(0, INT_MAX),
        "511",
        "Connections that may wait to be accepted; the kernel caps it at somaxconn.",
    )
    .fixed(),
    row(
        "tcp-keepalive",
        Kind::int(0, INT_MAX),
        "300",
        "Seconds of silence before the kernel probes a peer; 0 turns probes off.",
    ),
    row(
        "timeout",
        Kind::int(0, INT_MAX),
        "0",
        "Seconds after which an idle client is disconnected; 0 for never.",
    ),
    row(
        "maxclients",
        Kind::int(1, CONNECTIONS_MAX as i64),
        "10000",
        "Connections served at once; more are refused with an error.",
    ),
    row(
        "proto-max-bulk-len",
        Kind::memory(1 << 20),
        "512mb",
        "Longest single argument of a request.",
    ),
    row(
        "client-query-buffer-limit",
        Kind::memory(1 << 20),
        "1gb",
        "Bytes of unfinished requests that one client may hold; more disconnects it.",
    ),
    row(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Bytes of unread replies at which a client of a class is disconnected.",
    ),
    row("bind-source-addr", Kind::Text, "", "Address that outgoing connections leave from.")
        .accepted(),
    row(
        "socket-mark-id",
        Kind::int(0, u32::MAX as i64),
        "0",
        "Mark that the listening sockets carry for packet filters.",
    )
    .fixed()
    .accepted(),
    row("io-threads", Kind::int(1, 128), "1", "Redis' I/O threads; see threads.")
        .fixed()
        .accepted(),
    row("io-threads-do-reads", Kind::Bool, "no", "Let Redis' I/O threads read as well.")
        .fixed()
        .accepted(),
    row(
        "busy-poll",
        Kind::int(0, 1_000_000),
        "0",
        "Microseconds that a worker looks for events before it sleeps; burns CPU for latency.",
    )
    .with(Flags::OWN),
];
