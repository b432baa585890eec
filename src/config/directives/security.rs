//! Who may connect and who may do what.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;

/// Who may use what is guarded.
const ENABLE: Kind = Kind::Choice(&["no", "yes", "local"]);

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row("requirepass", Kind::Text, "", "Password that clients give with AUTH; empty for none.")
        .with(Flags::SENSITIVE),
    row(
        "protected-mode",
        Kind::Bool,
        "yes",
        "Serve only local clients as long as there is no password.",
    ),
    row(
        "enable-protected-configs",
        ENABLE,
        "no",
        "Who may change protected directives such as dir at run time.",
    )
    .fixed(),
    row("enable-debug-command", ENABLE, "no", "Who may use DEBUG.").fixed(),
    row("enable-module-command", ENABLE, "no", "Who may use MODULE.").fixed().accepted(),
    row("aclfile", Kind::Text, "", "File with users; users are not there yet.")
        .fixed()
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row("acllog-max-len", Kind::int(0, i64::MAX), "128", "Entries that ACL LOG keeps.").accepted(),
    row(
        "acl-pubsub-default",
        Kind::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        "Channels that a new user may use.",
    )
    .accepted(),
    row(
        "sanitize-dump-payload",
        Kind::Choice(&["no", "yes", "clients"]),
        "no",
        "Check the payload of RESTORE deeply; dse always does.",
    )
    .accepted(),
];
