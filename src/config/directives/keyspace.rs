//! Databases, encodings, expiry, notifications.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::INT_MAX;
use crate::limits::DATABASES;

/// A count without an upper bound.
const COUNT: Kind = Kind::int(0, i64::MAX);

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row("databases", Kind::int(1, DATABASES as i64), "16", "Numbered databases for SELECT.")
        .fixed(),
    row(
        "notify-keyspace-events",
        Kind::Events,
        "",
        "Events of keys that are published, by letters; empty for none.",
    ),
    row("active-expire-effort", Kind::int(1, 10), "1", "How eagerly expired keys are looked for.")
        .accepted(),
    row("activerehashing", Kind::Bool, "yes", "Let Redis rehash its tables when idle.").accepted(),
    row("hash-max-listpack-entries", COUNT, "512", "Fields up to which a hash is compact.")
        .alias(&["hash-max-ziplist-entries"]),
    row(
        "hash-max-listpack-value",
        Kind::memory(0),
        "64",
        "Longest field or value of a compact hash.",
    )
    .alias(&["hash-max-ziplist-value"]),
    row(
        "list-max-listpack-size",
        Kind::int(i32::MIN as i64, INT_MAX),
        "-2",
        "Elements of a list node, or its size: -1 for 4 kb, -2 for 8 kb, up to -5 for 64 kb.",
    )
    .alias(&["list-max-ziplist-size"])
    .accepted(),
    row(
        "list-compress-depth",
        Kind::int(0, INT_MAX),
        "0",
        "Nodes at each end of a list that are not compressed; 0 compresses none.",
    )
    .accepted(),
    row(
        "set-max-intset-entries",
        COUNT,
        "512",
        "Members up to which a set of integers is compact.",
    ),
    row("set-max-listpack-entries", COUNT, "128", "Members up to which a set is compact.")
        .accepted(),
    row("set-max-listpack-value", Kind::memory(0), "64", "Longest member of a compact set.")
        .accepted(),
    row("zset-max-listpack-entries", COUNT, "128", "Members up to which a sorted set is compact.")
        .alias(&["zset-max-ziplist-entries"]),
    row(
        "zset-max-listpack-value",
        Kind::memory(0),
        "64",
        "Longest member of a compact sorted set.",
    )
    .alias(&["zset-max-ziplist-value"]),
    row(
        "hll-sparse-max-bytes",
        Kind::memory(0),
        "3000",
        "Size up to which a HyperLogLog is sparse.",
    )
    .accepted(),
    row("stream-node-max-bytes", Kind::memory(0), "4096", "Size of a node of a stream.").accepted(),
    row("stream-node-max-entries", COUNT, "100", "Entries of a node of a stream.").accepted(),
    row(
        "tracking-table-max-keys",
        COUNT,
        "1000000",
        "Keys remembered for client side caching; 0 for no limit.",
    )
    .accepted(),
    row("key-load-delay", Kind::int(i32::MIN as i64, INT_MAX), "0", "Microseconds per loaded key.")
        .with(Flags::HIDDEN)
        .accepted(),
];
