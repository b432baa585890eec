//! DEBUG: for tests only; refused unless `enable-debug-command` says otherwise.

use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, flags::*, row};
use crate::engine::CmdError;
use crate::resp::{Args, Reply};
use crate::store::Kind;
use crate::util::{float, int};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const DEBUG: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

/// The row of DEBUG.
pub const ROW: Command = row("debug", -2, Keys::NONE, DEBUG, 0, Run::Session(debug))
    .doc("1.0.0", "A container for commands that tests use.");

/// Seconds that DEBUG SLEEP sleeps at most.
const SLEEP_S_MAX: f64 = 3600.0;

/// DEBUG SLEEP seconds | SET-ACTIVE-EXPIRE 0|1 | OBJECT key | JMAP | HELP
fn debug(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_allowed = match cx.node().config.values().choice("enable-debug-command") {
        "yes" => true,
        "local" => cx.card.is_from_here(),
        _ => false,
    };
    if !is_allowed {
        return Err(CmdError::text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    match (args.get(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"sleep", 3) => {
            let seconds = float::parse_f64(args.get(2)).unwrap_or(0.0).clamp(0.0, SLEEP_S_MAX);
            std::thread::sleep(Duration::from_secs_f64(seconds));
            reply.ok();
        }
        (b"set-active-expire", 3) => {
            let on = int::parse_i64(args.get(2)).unwrap_or(0) != 0;
            cx.node().active_expire.store(on, Relaxed);
            reply.ok();
        }
        (b"object", 3) => object(cx, args.get(2), reply)?,
        (b"jmap", 2) => reply.ok(),
        (b"help", 2) => super::help::reply(
            reply,
            &[
                "DEBUG <subcommand> [argument], where the subcommand is one of:",
                "SLEEP seconds",
                "    The worker that serves this connection sleeps.",
                "SET-ACTIVE-EXPIRE 0|1",
                "    Whether keys past their deadline are looked for.",
                "OBJECT key",
                "    How a key is stored.",
                "JMAP",
                "    Nothing.",
                "HELP",
                "    These lines.",
            ],
        ),
        _ => return Err(CmdError::unknown_subcommand("debug", args.get(1))),
    }
    Ok(())
}

fn object(cx: &mut Cx<'_>, key: &[u8], reply: &mut Reply<'_>) -> Outcome {
    let store = &cx.node().engine.store;
    let key = store.key(key);
    let held = store.lock_one(key.shard());
    let entry = held
        .find(cx.session.db, &key)
        .filter(|entry| !entry.is_expired(cx.now_ms))
        .ok_or(CmdError::NoSuchKey)?;
    let object = held.object(cx.session.db, &key);
    let bytes = match entry.kind() {
        Kind::String => entry.value().len(),
        _ => object.map_or(0, |object| object.heap_bytes()),
    };
    let encoding = super::keyspace::encoding_name(&cx.node().config, entry, object);
    reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 \
         lru_seconds_idle:0"
    ));
    Ok(())
}
