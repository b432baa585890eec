//! The directory of the data, the log and snapshots.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::INT_MAX;

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row("dir", Kind::Directory, ".", "Directory of everything that the server writes.")
        .synonym(&["data"])
        .with(Flags::PROTECTED),
    row("dbfilename", Kind::FileName("dbfilename"), "dump.rdb", "File name of Redis' snapshots.")
        .with(Flags::PROTECTED)
        .accepted(),
    row(
        "save",
        Kind::Save,
        "60 1",
        "Snapshot rules: seconds and changes; empty for none. Redis' default has three rules.",
    ),
    row(
        "snapshot-rate-bytes",
        Kind::memory(0),
        "0",
        "Bytes of a snapshot written in a second at most; 0 for no limit. SAVE does not wait.",
    ),
    row("appendonly", Kind::Bool, "yes", "Keep a log of all writes: what is answered is on disk."),
    row(
        "appendfsync",
        Kind::Choice(&["everysec", "always", "no"]),
        "always",
        "When the log is forced to disk: before each reply, once a second, or never.",
    ),
    row(
        "wal-segment-bytes",
        Kind::Memory { min: 1 << 20, max: 1 << 30 },
        "64mb",
        "Bytes of a file of the log, a power of two.",
    )
    .restart(),
    row(
        "wal-max-bytes",
        Kind::memory(0),
        "0",
        "Bytes of the log that ask for a snapshot; at twice that, writes are refused. 0: none. In \
         a cluster: bytes from which on it is made shorter; 0: 256mb.",
    ),
    row(
        "appendfilename",
        Kind::FileName("appendfilename"),
        "appendonly.aof",
        "File name of Redis' log.",
    )
    .fixed()
    .accepted(),
    row(
        "appenddirname",
        Kind::FileName("appenddirname"),
        "appendonlydir",
        "Directory of Redis' log.",
    )
    .fixed()
    .accepted(),
    row("aof-disable-auto-gc", Kind::Bool, "no", "Keep files of Redis' log that are obsolete.")
        .accepted(),
    row("aof-load-truncated", Kind::Bool, "yes", "Start from a log whose end is torn.").accepted(),
    row("aof-rewrite-incremental-fsync", Kind::Bool, "yes", "Sync a rewritten log in steps.")
        .accepted(),
    row("aof-timestamp-enabled", Kind::Bool, "no", "Write times into the log.").accepted(),
    row("aof-use-rdb-preamble", Kind::Bool, "yes", "Begin a rewritten log with a snapshot.")
        .accepted(),
    row(
        "auto-aof-rewrite-min-size",
        Kind::memory(0),
        "64mb",
        "Size from which Redis rewrites its log.",
    )
    .accepted(),
    row(
        "auto-aof-rewrite-percentage",
        Kind::int(0, INT_MAX),
        "100",
        "Growth at which Redis rewrites its log.",
    )
    .accepted(),
    row("no-appendfsync-on-rewrite", Kind::Bool, "no", "Do not sync while the log is rewritten.")
        .accepted(),
    row("rdb-del-sync-files", Kind::Bool, "no", "Delete snapshots that were made for replicas.")
        .accepted(),
    row("rdb-save-incremental-fsync", Kind::Bool, "yes", "Sync a snapshot in steps.").accepted(),
    row("rdbchecksum", Kind::Bool, "yes", "End a snapshot with a checksum.").fixed().accepted(),
    row("rdbcompression", Kind::Bool, "yes", "Compress snapshots."),
    row("stop-writes-on-bgsave-error", Kind::Bool, "yes", "Refuse writes after a snapshot failed.")
        .accepted(),
    row(
        "rdb-key-save-delay",
        Kind::int(i32::MIN as i64, INT_MAX),
        "0",
        "Microseconds per saved key.",
    )
    .with(Flags::HIDDEN)
    .accepted(),
    row(
        "loading-process-events-interval-bytes",
        Kind::Memory { min: 1024, max: INT_MAX as u64 },
        "2097152",
        "Bytes loaded between two looks at the network.",
    )
    .with(Flags::HIDDEN)
    .accepted(),
];
