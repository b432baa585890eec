//! The process: workers, supervision, shutdown.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::INT_MAX;

/// The words of `shutdown-on-sigint` and `shutdown-on-sigterm`.
const SHUTDOWN: Kind = Kind::Set(&["default", "save", "nosave", "now", "force"]);

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row(
        "threads",
        Kind::Threads,
        "auto",
        "Workers; auto takes one for each CPU that affinity mask and control group allow.",
    )
    .restart()
    .with(Flags::OWN),
    row("hz", Kind::int(1, 500), "10", "Background passes per second for expiry and timeouts."),
    row("dynamic-hz", Kind::Bool, "yes", "Let the background passes follow the load.").accepted(),
    row(
        "supervised",
        Kind::Choice(&["upstart", "systemd", "auto", "no"]),
        "no",
        "Who is told when the server is ready; dse always looks for NOTIFY_SOCKET.",
    )
    .fixed()
    .accepted(),
    row("pidfile", Kind::Text, "", "File that holds the process id while the server runs.").fixed(),
    row("daemonize", Kind::Bool, "no", "Leave the terminal; use a supervisor instead.")
        .fixed()
        .accepted(),
    row(
        "shutdown-timeout",
        Kind::int(0, INT_MAX),
        "10",
        "Seconds that a shutdown waits for replicas to catch up.",
    )
    .accepted(),
    row("shutdown-on-sigint", SHUTDOWN, "default", "Snapshot and patience of an end by SIGINT.")
        .accepted(),
    row("shutdown-on-sigterm", SHUTDOWN, "default", "Snapshot and patience of an end by SIGTERM.")
        .accepted(),
    row("set-proc-title", Kind::Bool, "yes", "Show the server's state in its process title.")
        .fixed()
        .accepted(),
    row(
        "proc-title-template",
        Kind::Title,
        "{title} {listen-addr} {server-mode}",
        "Form of the process title.",
    )
    .accepted(),
    row("server_cpulist", Kind::Text, "", "CPUs of Redis' main and I/O threads.")
        .fixed()
        .accepted(),
    row("bio_cpulist", Kind::Text, "", "CPUs of Redis' background threads.").fixed().accepted(),
    row("aof_rewrite_cpulist", Kind::Text, "", "CPUs of Redis' log rewriting child.")
        .fixed()
        .accepted(),
    row("bgsave_cpulist", Kind::Text, "", "CPUs of Redis' snapshot child.").fixed().accepted(),
    row("disable-thp", Kind::Bool, "yes", "Turn transparent huge pages off for Redis.")
        .fixed()
        .accepted(),
    row(
        "oom-score-adj",
        Kind::Choice(&["no", "yes", "relative", "absolute"]),
        "no",
        "Adjust the score by which the kernel kills under memory pressure.",
    )
    .accepted(),
    row(
        "oom-score-adj-values",
        Kind::OomScoreAdj,
        "0 200 800",
        "The adjustments for a primary, a replica and a background child.",
    )
    .accepted(),
    row("ignore-warnings", Kind::Text, "", "Start-up warnings of Redis that do not stop it.")
        .accepted(),
    row("locale-collate", Kind::Text, "", "Locale that Lua compares strings by.").accepted(),
    row(
        "busy-reply-threshold",
        Kind::int(0, i64::MAX),
        "5000",
        "Milliseconds until a script is slow.",
    )
    .alias(&["lua-time-limit"])
    .accepted(),
    row("crash-log-enabled", Kind::Bool, "yes", "Write a report when the server crashes.")
        .accepted(),
    row("crash-memcheck-enabled", Kind::Bool, "yes", "Test memory after a crash.").accepted(),
    row("use-exit-on-panic", Kind::Bool, "no", "Exit rather than abort after an assertion failed.")
        .with(Flags::HIDDEN)
        .accepted(),
    row("watchdog-period", Kind::int(0, INT_MAX), "0", "Milliseconds of Redis' software watchdog.")
        .with(Flags::HIDDEN)
        .accepted(),
];
