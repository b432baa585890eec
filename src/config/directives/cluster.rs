//! Nodes, peers and replicas.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::{INT_MAX, PORT_MAX};

/// A count of Redis' `int` type.
const COUNT: Kind = Kind::int(0, INT_MAX);
/// A count that must not be zero.
const POSITIVE: Kind = Kind::int(1, INT_MAX);
/// A port, 0 for the usual one.
const PORT: Kind = Kind::int(0, PORT_MAX);

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row("node", Kind::NodeName, "node-1", "Name of this node among its peers.")
        .restart()
        .with(Flags::OWN),
    row(
        "peers",
        Kind::Peers,
        "",
        "The other nodes; without @peer and /redirect they are at port + 10000 and port + 5000.",
    )
    .restart()
    .with(Flags::OWN),
    row("redirect-port", PORT, "0", "Port that answers where keys are; 0 for port + 5000.")
        .restart()
        .with(Flags::OWN),
    row("peer-port", PORT, "0", "Port for the other nodes; 0 for port + 10000.")
        .restart()
        .with(Flags::OWN),
    row(
        "cluster-secret",
        Kind::Text,
        "",
        "What all nodes of a cluster know; empty on loopback only.",
    )
    .restart()
    .with(Flags::OWN)
    .with(Flags::SENSITIVE),
    row("cluster-secret-file", Kind::Text, "", "File that holds the secret of the cluster.")
        .restart()
        .with(Flags::OWN),
    row(
        "read-mode",
        Kind::Choice(&["linearizable", "strict"]),
        "linearizable",
        "Whether reads in a cluster rely on leases, or ask a majority each time.",
    )
    .restart()
    .with(Flags::OWN),
    row(
        "role",
        Kind::Choice(&["leader", "follower"]),
        "leader",
        "Accepted for old command lines; the cluster elects its leaders.",
    )
    .restart()
    .with(Flags::OWN)
    .accepted(),
    row("cluster-enabled", Kind::Bool, "no", "Redis' cluster mode; only no is accepted.")
        .fixed()
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row("replicaof", Kind::Endpoint, "", "Primary to follow; only nothing is accepted.")
        .alias(&["slaveof"])
        .fixed()
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row("cluster-config-file", Kind::Text, "nodes.conf", "File that Redis keeps its nodes in.")
        .fixed()
        .accepted(),
    row(
        "cluster-node-timeout",
        Kind::int(0, i64::MAX),
        "15000",
        "Milliseconds until a node is down.",
    )
    .accepted(),
    row("cluster-port", PORT, "0", "Port of the cluster's links.").fixed().accepted(),
    row("cluster-announce-ip", Kind::Text, "", "Address of this node that others are told.")
        .restart(),
    row("cluster-announce-hostname", Kind::Hostname, "", "Host name that clients are told.")
        .accepted(),
    row("cluster-announce-human-nodename", Kind::Text, "", "Name of the node in logs.").accepted(),
    row("cluster-announce-port", PORT, "0", "Port that other nodes are told.").accepted(),
    row("cluster-announce-bus-port", PORT, "0", "Link port that other nodes are told.").accepted(),
    row("cluster-announce-tls-port", PORT, "0", "TLS port that other nodes are told.").accepted(),
    row("cluster-allow-reads-when-down", Kind::Bool, "no", "Serve reads while slots are missing.")
        .accepted(),
    row(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        "Serve sharded channels while slots are missing.",
    )
    .accepted(),
    row("cluster-allow-replica-migration", Kind::Bool, "yes", "Let replicas change their primary.")
        .accepted(),
    row(
        "cluster-require-full-coverage",
        Kind::Bool,
        "yes",
        "Serve nothing while slots are missing.",
    )
    .accepted(),
    row("cluster-migration-barrier", COUNT, "1", "Replicas that a primary keeps.").accepted(),
    row("cluster-replica-no-failover", Kind::Bool, "no", "Never let this replica take over.")
        .alias(&["cluster-slave-no-failover"])
        .accepted(),
    row("cluster-replica-validity-factor", COUNT, "10", "How old data of a new primary may be.")
        .alias(&["cluster-slave-validity-factor"])
        .accepted(),
    row("cluster-link-sendbuf-limit", Kind::memory(0), "0", "Unsent bytes that a link may hold.")
        .accepted(),
    row(
        "cluster-preferred-endpoint-type",
        Kind::Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        "What clients are told to connect to.",
    )
    .accepted(),
    row("masteruser", Kind::Text, "", "User for the primary.").with(Flags::SENSITIVE).accepted(),
    row("masterauth", Kind::Text, "", "Password for the primary.")
        .with(Flags::SENSITIVE)
        .accepted(),
    row("replica-serve-stale-data", Kind::Bool, "yes", "Serve while the primary is away.")
        .alias(&["slave-serve-stale-data"])
        .accepted(),
    row("replica-read-only", Kind::Bool, "yes", "Refuse writes on a replica.")
        .alias(&["slave-read-only"])
        .accepted(),
    row("replica-ignore-maxmemory", Kind::Bool, "yes", "Evict on the primary only.")
        .alias(&["slave-ignore-maxmemory"])
        .accepted(),
    row("replica-lazy-flush", Kind::Bool, "no", "Flush in the background before a full transfer.")
        .alias(&["slave-lazy-flush"])
        .accepted(),
    row("replica-priority", COUNT, "100", "Order in which replicas are promoted.")
        .alias(&["slave-priority"])
        .accepted(),
    row("replica-announced", Kind::Bool, "yes", "Show this replica to Sentinel.").accepted(),
    row("replica-announce-ip", Kind::Text, "", "Address that the primary is told.")
        .alias(&["slave-announce-ip"])
        .accepted(),
    row("replica-announce-port", PORT, "0", "Port that the primary is told.")
        .alias(&["slave-announce-port"])
        .accepted(),
    row("replica-ignore-disk-write-errors", Kind::Bool, "no", "Go on when the disk fails.")
        .accepted(),
    row("min-replicas-to-write", COUNT, "0", "Replicas without which writes are refused.")
        .alias(&["min-slaves-to-write"])
        .accepted(),
    row("min-replicas-max-lag", COUNT, "10", "Seconds until a replica no longer counts.")
        .alias(&["min-slaves-max-lag"])
        .accepted(),
    row("repl-backlog-size", Kind::memory(1), "1mb", "Bytes kept for replicas that return.")
        .accepted(),
    row("repl-backlog-ttl", Kind::int(0, i64::MAX), "3600", "Seconds that they are kept.")
        .accepted(),
    row("repl-disable-tcp-nodelay", Kind::Bool, "no", "Fewer packets to replicas, later.")
        .accepted(),
    row("repl-diskless-sync", Kind::Bool, "yes", "Send a snapshot without a file.").accepted(),
    row("repl-diskless-sync-delay", COUNT, "5", "Seconds to wait for more replicas.").accepted(),
    row("repl-diskless-sync-max-replicas", COUNT, "0", "Replicas to wait for.").accepted(),
    row(
        "repl-diskless-load",
        Kind::Choice(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        "Load a snapshot without a file.",
    )
    .accepted(),
    row("repl-ping-replica-period", POSITIVE, "10", "Seconds between pings to replicas.")
        .alias(&["repl-ping-slave-period"])
        .accepted(),
    row("repl-timeout", POSITIVE, "60", "Seconds until a link is dead.").accepted(),
    row(
        "propagation-error-behavior",
        Kind::Choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        "What to do when a replicated command fails.",
    )
    .accepted(),
];
