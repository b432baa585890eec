//! SYNC, PSYNC and REPLCONF: what a replica of Redis, or `redis-cli --rdb`, asks a server for.
//!
//! Deliberately absent: an answer other than a refusal. A snapshot and the log are in formats of
//! our own; the refusal says how one gets an RDB file.

use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::resp::{Args, Reply};

const SYNC_FLAGS: u32 = ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("psync", -3, Keys::NONE, SYNC_FLAGS, acl::DANGEROUS, Run::Session(refuse))
        .doc("2.8.0", "Asks for the stream of changes; refused."),
    row(
        "replconf",
        -1,
        Keys::NONE,
        ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY,
        acl::DANGEROUS,
        Run::Session(refuse),
    )
    .doc("3.0.0", "Tells what a replica can do; refused."),
    row("sync", 1, Keys::NONE, SYNC_FLAGS, acl::DANGEROUS, Run::Session(refuse))
        .doc("1.0.0", "Asks for an RDB file and the stream of changes; refused."),
];

fn refuse(_cx: &mut Cx<'_>, _args: Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(CmdError::text(
        "ERR dse does not replicate to Redis; 'dse-admin export' writes an RDB file",
    ))
}
