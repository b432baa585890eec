//! Log output, slow log, latencies.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;

/// The facilities of syslog.
const FACILITIES: Kind = Kind::Choice(&[
    "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]);

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row(
        "loglevel",
        Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        "Least importance of what is logged.",
    ),
    row("logfile", Kind::Text, "", "File to append the log to; empty for standard output.").fixed(),
    row("log-format", Kind::Choice(&["text", "json"]), "text", "Form of a line of the log.")
        .restart()
        .with(Flags::OWN),
    row(
        "slowlog-log-slower-than",
        Kind::int(-1, i64::MAX),
        "10000",
        "Microseconds from which a command is in the slow log; 0 for all, -1 for none.",
    ),
    row("slowlog-max-len", Kind::int(0, i64::MAX), "128", "Entries that the slow log keeps."),
    row(
        "latency-monitor-threshold",
        Kind::int(0, i64::MAX),
        "0",
        "Milliseconds from which LATENCY keeps an event; 0 for none.",
    )
    .accepted(),
    row("latency-tracking", Kind::Bool, "yes", "Keep a histogram of latencies for each command."),
    row(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "Percentiles that INFO latencystats shows.",
    ),
    row("always-show-logo", Kind::Bool, "no", "Show Redis' logo in the log.").fixed().accepted(),
    row("syslog-enabled", Kind::Bool, "no", "Log to syslog.").fixed().accepted(),
    row("syslog-ident", Kind::Text, "redis", "Name in syslog.").fixed().accepted(),
    row("syslog-facility", FACILITIES, "local0", "Facility of syslog.").fixed().accepted(),
];
