//! The memory limit, eviction and what frees memory.

use super::super::directive::{Directive, row};
use super::super::hot::EvictionPolicy;
use super::super::value::Kind;
use super::INT_MAX;

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row(
        "maxmemory",
        Kind::Memory { min: 0, max: u64::MAX },
        "0",
        "Memory that data and buffers may use; 0 for no limit.",
    ),
    row(
        "maxmemory-policy",
        Kind::Choice(EvictionPolicy::NAMES),
        "noeviction",
        "What is evicted when the memory limit is reached.",
    ),
    row(
        "maxmemory-samples",
        Kind::int(1, INT_MAX),
        "5",
        "Keys that Redis compares for each eviction.",
    )
    .accepted(),
    row(
        "maxmemory-eviction-tenacity",
        Kind::int(0, 100),
        "10",
        "How long Redis' eviction may go on at a time.",
    )
    .accepted(),
    row(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        "0",
        "Memory that all clients' buffers together may use; 0 for no limit.",
    )
    .accepted(),
    row(
        "lfu-log-factor",
        Kind::int(0, INT_MAX),
        "10",
        "How slowly what OBJECT FREQ tells grows with the use of a key.",
    ),
    row(
        "lfu-decay-time",
        Kind::int(0, INT_MAX),
        "1",
        "Minutes after which a use counter is halved.",
    )
    .accepted(),
    row(
        "lazyfree-lazy-eviction",
        Kind::Bool,
        "no",
        "Free evicted values in the background; dse always does.",
    )
    .accepted(),
    row(
        "lazyfree-lazy-expire",
        Kind::Bool,
        "no",
        "Free expired values in the background; dse always does.",
    )
    .accepted(),
    row(
        "lazyfree-lazy-server-del",
        Kind::Bool,
        "no",
        "Free values that a command replaces in the background.",
    )
    .accepted(),
    row("lazyfree-lazy-user-del", Kind::Bool, "no", "Let DEL behave as UNLINK.").accepted(),
    row("lazyfree-lazy-user-flush", Kind::Bool, "no", "Let FLUSHALL and FLUSHDB default to ASYNC.")
        .accepted(),
    row("jemalloc-bg-thread", Kind::Bool, "yes", "Let jemalloc purge in a thread.").accepted(),
    row("activedefrag", Kind::Bool, "no", "Move values to give memory back.").accepted(),
    row(
        "active-defrag-ignore-bytes",
        Kind::memory(1),
        "100mb",
        "Waste below which defragmentation does not start.",
    )
    .accepted(),
    row(
        "active-defrag-threshold-lower",
        Kind::int(0, 1000),
        "10",
        "Percentage of waste at which defragmentation starts.",
    )
    .accepted(),
    row(
        "active-defrag-threshold-upper",
        Kind::int(0, 1000),
        "100",
        "Percentage of waste at which defragmentation works hardest.",
    )
    .accepted(),
    row("active-defrag-cycle-min", Kind::int(1, 99), "1", "Least CPU percentage to defragment.")
        .accepted(),
    row(
        "active-defrag-cycle-max",
        Kind::int(1, 99),
        "25",
        "Greatest CPU percentage to defragment.",
    )
    .accepted(),
    row(
        "active-defrag-max-scan-fields",
        Kind::int(1, i64::MAX),
        "1000",
        "Fields of one value that defragmentation looks at in one go.",
    )
    .accepted(),
];
