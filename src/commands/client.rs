//! CLIENT: what is known of connections, and what one may do to another.

use super::command_stats::Place;
use super::session::{Cx, ReplyMode};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::net::{Card, ConnId, Flow, Peer};
use crate::resp::{Args, Reply};
use crate::util::int::parse_i64;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// The row of CLIENT.
pub const ROW: Command = row("client", -2, Keys::NONE, 0, acl::CONNECTION, Run::Session(caching))
    .subs(SUBS)
    .doc("2.4.0", "A container for commands about connections.");

const SUB: u32 = NOSCRIPT | LOADING | STALE | ALLOW_BUSY;
const ADMIN_SUB: u32 = SUB | ADMIN;
const LIST: u32 = acl::CONNECTION;

const SUBS: &[Command] = &[
    row("caching", 3, Keys::NONE, SUB, LIST, Run::Session(caching))
        .doc("6.0.0", "Tells whether the next command's keys are tracked."),
    row("getname", 2, Keys::NONE, SUB, LIST, Run::Session(getname))
        .doc("2.6.9", "Returns the name of the connection."),
    row("getredir", 2, Keys::NONE, SUB, LIST, Run::Session(getredir))
        .doc("6.0.0", "Returns the connection that invalidations are sent to."),
    row("help", 2, Keys::NONE, LOADING | STALE, LIST, Run::Session(help))
        .doc("5.0.0", "Returns helpful text about the sub-commands."),
    row("id", 2, Keys::NONE, SUB, LIST, Run::Session(id))
        .doc("5.0.0", "Returns the number of the connection."),
    row("info", 2, Keys::NONE, SUB, LIST, Run::Session(info))
        .doc("6.2.0", "Returns what is known of this connection."),
    row("kill", -3, Keys::NONE, ADMIN_SUB, LIST, Run::Session(kill))
        .doc("2.4.0", "Closes connections."),
    row("list", -2, Keys::NONE, ADMIN_SUB, LIST, Run::Session(list))
        .doc("2.4.0", "Lists the open connections."),
    row("no-evict", 3, Keys::NONE, ADMIN_SUB, LIST, Run::Session(no_evict))
        .doc("7.0.0", "Excludes the connection from eviction of connections."),
    row("no-touch", 3, Keys::NONE, SUB, LIST, Run::Session(no_touch))
        .doc("7.2.0", "Tells whether commands of this connection count as uses of their keys."),
    row("pause", -3, Keys::NONE, ADMIN_SUB, LIST, Run::Session(pause))
        .doc("3.0.0", "Lets requests wait."),
    row("reply", 3, Keys::NONE, SUB, LIST, Run::Session(reply_mode))
        .doc("3.2.0", "Tells whether the connection is answered."),
    row("setinfo", 4, Keys::NONE, SUB, LIST, Run::Session(setinfo))
        .doc("7.2.0", "Names the client library and its version."),
    row("setname", 3, Keys::NONE, SUB, LIST, Run::Session(setname))
        .doc("2.6.9", "Names the connection."),
    row("tracking", -3, Keys::NONE, SUB, LIST, Run::Session(tracking))
        .doc("6.0.0", "Controls invalidation messages for client-side caching."),
    row("trackinginfo", 2, Keys::NONE, SUB, LIST, Run::Session(trackinginfo))
        .doc("6.2.0", "Returns how keys are tracked for the connection."),
    row("unblock", -3, Keys::NONE, ADMIN_SUB, LIST, Run::Session(unblock))
        .doc("5.0.0", "Ends the wait of a blocking command of another connection."),
    row("unpause", 2, Keys::NONE, ADMIN_SUB, LIST, Run::Session(unpause))
        .doc("6.2.0", "Lets waiting requests go on."),
];

/// Bit of [`Card::marks`]: the connection monitors.
pub const MARK_MONITOR: u32 = 1;
/// Bit of [`Card::marks`]: CLIENT NO-EVICT ON.
const MARK_NO_EVICT: u32 = 1 << 1;
/// Bit of [`Card::marks`]: CLIENT NO-TOUCH ON.
pub(super) const MARK_NO_TOUCH: u32 = 1 << 2;

/// CLIENT ID
fn id(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(cx.card.id() as i64);
    Ok(())
}

/// CLIENT GETNAME
fn getname(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match cx.card.labels().name {
        name if name.is_empty() => reply.nil(),
        name => reply.bulk(name.as_bytes()),
    }
    Ok(())
}

/// CLIENT SETNAME name
fn setname(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = checked_name(args.get(2))?;
    cx.card.label(|labels| labels.name = name);
    reply.ok();
    Ok(())
}

/// A client's name, if it holds nothing that would break the lines of CLIENT LIST.
pub fn checked_name(name: &[u8]) -> Result<String, CmdError> {
    printable(name).ok_or(CmdError::text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn printable(text: &[u8]) -> Option<String> {
    let plain = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    plain.then(|| String::from_utf8_lossy(text).into_owned())
}

/// CLIENT SETINFO LIB-NAME | LIB-VER value
fn setinfo(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let attribute = args.get(2).to_ascii_lowercase();
    let value = |what: &str| {
        printable(args.get(3)).ok_or_else(|| {
            CmdError::owned(format!(
                "ERR {what} cannot contain spaces, newlines or special characters."
            ))
        })
    };
    match attribute.as_slice() {
        b"lib-name" => {
            let name = value("lib-name")?;
            cx.card.label(|labels| labels.lib_name = name);
        }
        b"lib-ver" => {
            let version = value("lib-ver")?;
            cx.card.label(|labels| labels.lib_version = version);
        }
        _ => {
            let shown = String::from_utf8_lossy(args.get(2)).into_owned();
            return Err(CmdError::owned(format!("ERR Unrecognized option '{shown}'")));
        }
    }
    reply.ok();
    Ok(())
}

/// CLIENT INFO
fn info(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut text = String::new();
    describe(cx.card, cx.now_ms, &mut text);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// CLIENT LIST [TYPE normal|master|replica|pubsub] [ID id ...]
fn list(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut filter = Filter::default();
    match args.try_get(2).map(<[u8]>::to_ascii_lowercase) {
        None => {}
        Some(option) if option == b"type" && args.len() == 4 => {
            filter.class = Some(class_named(args.get(3))?);
        }
        Some(option) if option == b"id" && args.len() > 3 => {
            let mut ids = Vec::new();
            for arg in args.iter_from(3) {
                let id = parse_i64(arg).filter(|id| *id > 0);
                ids.push(id.ok_or(CmdError::text("ERR Invalid client ID"))? as u64);
            }
            filter.ids = Some(ids);
        }
        Some(_) => return Err(CmdError::Syntax),
    }
    let mut cards: Vec<(u64, String)> = Vec::new();
    cx.hub.for_each(|_, card| {
        if filter.fits(card) {
            let mut line = String::new();
            describe(card, cx.now_ms, &mut line);
            cards.push((card.id(), line));
        }
    });
    cards.sort_unstable_by_key(|(id, _)| *id);
    let text: String = cards.into_iter().map(|(_, line)| line).collect();
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The classes that CLIENT LIST and CLIENT KILL know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Master,
    Replica,
    PubSub,
}

fn class_named(name: &[u8]) -> Result<Class, CmdError> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Class::Normal),
        b"master" => Ok(Class::Master),
        b"slave" | b"replica" => Ok(Class::Replica),
        b"pubsub" => Ok(Class::PubSub),
        _ => {
            let shown = String::from_utf8_lossy(name).into_owned();
            Err(CmdError::owned(format!("ERR Unknown client type '{shown}'")))
        }
    }
}

fn class_of(card: &Card) -> Class {
    let listens = card.channels.load(Relaxed) + card.patterns.load(Relaxed) > 0;
    if listens { Class::PubSub } else { Class::Normal }
}

/// Which connections are meant.
#[derive(Default)]
struct Filter {
    ids: Option<Vec<u64>>,
    class: Option<Class>,
    addr: Option<Vec<u8>>,
    laddr: Option<Vec<u8>>,
    /// There is one user.
    other_user: bool,
}

impl Filter {
    fn fits(&self, card: &Card) -> bool {
        let at = |end: Option<Peer>, wanted: &Option<Vec<u8>>| {
            wanted.as_ref().is_none_or(|wanted| {
                end.is_some_and(|end| end.to_string().as_bytes() == wanted.as_slice())
            })
        };
        !self.other_user
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&card.id()))
            && self.class.is_none_or(|class| class == class_of(card))
            && at(card.peer(), &self.addr)
            && at(card.local(), &self.laddr)
    }
}

/// CLIENT KILL addr:port, or CLIENT KILL with filters
fn kill(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 3 {
        let filter = Filter { addr: Some(args.get(2).to_vec()), ..Filter::default() };
        if kill_matching(cx, &filter, false) == 0 {
            return Err(CmdError::text("ERR No such client"));
        }
        reply.ok();
        return Ok(());
    }
    let mut filter = Filter::default();
    let mut skip_me = true;
    if !args.len().is_multiple_of(2) {
        return Err(CmdError::Syntax);
    }
    for at in (2..args.len()).step_by(2) {
        let value = args.get(at + 1);
        match args.get(at).to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_i64(value).filter(|id| *id > 0);
                let id = id.ok_or(CmdError::text("ERR client-id should be greater than 0"))?;
                filter.ids = Some(vec![id as u64]);
            }
            b"type" => filter.class = Some(class_named(value)?),
            b"addr" => filter.addr = Some(value.to_vec()),
            b"laddr" => filter.laddr = Some(value.to_vec()),
            b"user" if value == b"default" => {}
            b"user" => {
                let shown = String::from_utf8_lossy(value).into_owned();
                return Err(CmdError::owned(format!("ERR No such user '{shown}'")));
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => skip_me = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => skip_me = false,
            _ => return Err(CmdError::Syntax),
        }
    }
    let killed = kill_matching(cx, &filter, skip_me);
    reply.int(killed);
    Ok(())
}

fn kill_matching(cx: &mut Cx<'_>, filter: &Filter, skip_me: bool) -> i64 {
    let mut targets: Vec<ConnId> = Vec::new();
    cx.hub.for_each(|id, card| {
        if filter.fits(card) {
            targets.push(id);
        }
    });
    let mut killed = 0;
    for target in targets {
        if target != cx.id {
            cx.hub.kill(target);
        } else if skip_me {
            continue;
        } else {
            // The killer is answered first.
            cx.flow = Flow::Close;
        }
        killed += 1;
    }
    killed
}

/// One line of CLIENT LIST.
fn describe(card: &Card, now_ms: u64, text: &mut String) {
    let end = |end: Option<Peer>| end.map(|end| end.to_string()).unwrap_or_default();
    let labels = card.labels();
    let age_s = now_ms.saturating_sub(card.opened_ms.load(Relaxed)) / 1000;
    let idle_s = now_ms.saturating_sub(card.active_ms.load(Relaxed)) / 1000;
    let query = card.query_bytes.load(Relaxed);
    let output = card.unsent_bytes();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={age_s} idle={idle_s} flags={} db={} sub={} \
         psub={} ssub=0 multi={} qbuf={query} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 \
         obl={output} oll=0 omem={output} tot-mem={} events=r cmd={} user=default redir=-1 \
         resp={} lib-name={} lib-ver={}",
        card.id(),
        end(card.peer()),
        end(card.local()),
        card.fd.load(Relaxed),
        labels.name,
        flags_of(card),
        card.db.load(Relaxed),
        card.channels.load(Relaxed),
        card.patterns.load(Relaxed),
        card.queued.load(Relaxed),
        query + output + size_of::<Card>(),
        last_command(card),
        card.resp.load(Relaxed),
        labels.lib_name,
        labels.lib_version,
    );
}

fn flags_of(card: &Card) -> String {
    let marks = card.marks.load(Relaxed);
    let mut flags = String::new();
    let mut add = |on: bool, letter| {
        if on {
            flags.push(letter);
        }
    };
    add(marks & MARK_MONITOR != 0, 'O');
    add(class_of(card) == Class::PubSub, 'P');
    add(card.queued.load(Relaxed) >= 0, 'x');
    add(matches!(card.peer(), Some(Peer::Unix(_))), 'U');
    add(marks & MARK_NO_EVICT != 0, 'e');
    add(marks & MARK_NO_TOUCH != 0, 'T');
    if flags.is_empty() {
        flags.push('N');
    }
    flags
}

fn last_command(card: &Card) -> &'static str {
    let number = card.command.load(Relaxed).checked_sub(1);
    number.and_then(Place::numbered).map_or("NULL", Place::name)
}

/// CLIENT REPLY ON|OFF|SKIP
fn reply_mode(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            cx.session.reply_mode = ReplyMode::On;
            reply.ok();
        }
        b"off" => cx.session.reply_mode = ReplyMode::Off,
        b"skip" if cx.session.reply_mode != ReplyMode::Off => {
            cx.session.reply_mode = ReplyMode::SkipNext;
        }
        b"skip" => {}
        _ => return Err(CmdError::Syntax),
    }
    Ok(())
}

/// CLIENT PAUSE timeout [WRITE|ALL]
fn pause(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let all = match args.try_get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => true,
        Some(b"write") => false,
        Some(_) => {
            return Err(CmdError::text("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        }
    };
    if args.len() > 4 {
        return Err(CmdError::Syntax);
    }
    let timeout = parse_i64(args.get(2))
        .ok_or(CmdError::text("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CmdError::text("ERR timeout is negative"));
    }
    let until_ms = cx.now_ms.saturating_add(timeout as u64).min(u64::MAX >> 2);
    cx.node().pause.begin(until_ms, all, cx.now_ms);
    reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE
fn unpause(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cx.node().pause.end(cx.hub);
    reply.ok();
    Ok(())
}

/// CLIENT UNBLOCK id [TIMEOUT|ERROR]: no command blocks yet, so nobody is ever unblocked.
fn unblock(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.try_get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout" | b"error") if args.len() <= 4 => {}
        _ => {
            return Err(CmdError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    }
    parse_i64(args.get(2)).ok_or(CmdError::NotInteger)?;
    reply.int(0);
    Ok(())
}

/// CLIENT NO-EVICT ON|OFF
fn no_evict(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_mark(cx, args, MARK_NO_EVICT, reply)
}

/// CLIENT NO-TOUCH ON|OFF
fn no_touch(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_mark(cx, args, MARK_NO_TOUCH, reply)
}

fn set_mark(cx: &mut Cx<'_>, args: Args<'_>, mark: u32, reply: &mut Reply<'_>) -> Outcome {
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"on" => cx.card.mark(mark, true),
        b"off" => cx.card.mark(mark, false),
        _ => return Err(CmdError::Syntax),
    }
    reply.ok();
    Ok(())
}

/// CLIENT TRACKING ON|OFF: invalidations are not sent, so it cannot be switched on.
fn tracking(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"off" => reply.ok(),
        b"on" => {
            return Err(CmdError::text(
                "ERR client-side caching is not supported: no invalidation would be sent",
            ));
        }
        _ => return Err(CmdError::Syntax),
    }
    Ok(())
}

/// CLIENT TRACKINGINFO
fn trackinginfo(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.int(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

/// CLIENT GETREDIR
fn getredir(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(-1);
    Ok(())
}

/// CLIENT CACHING YES|NO; also runs for a sub-command that there is none of.
fn caching(cx: &mut Cx<'_>, args: Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    if !args.get(1).eq_ignore_ascii_case(b"caching") {
        return Err(CmdError::unknown_subcommand(cx.command.name, args.get(1)));
    }
    Err(CmdError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    ))
}

/// CLIENT HELP
fn help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(reply, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "CLIENT <subcommand> [argument ...], where the subcommand is one of:",
    "GETNAME | SETNAME name | SETINFO LIB-NAME|LIB-VER value",
    "    The names this connection gave itself.",
    "ID | INFO | LIST [TYPE type] [ID id ...]",
    "    What is known of this connection, or of all.",
    "KILL addr:port | KILL [ID id] [TYPE type] [ADDR addr] [LADDR addr] [USER name]",
    "    [SKIPME yes|no]",
    "    Closes connections.",
    "NO-EVICT on|off | NO-TOUCH on|off",
    "    How the connection counts for eviction.",
    "PAUSE milliseconds [WRITE|ALL] | UNPAUSE",
    "    Lets requests wait, and lets them go on.",
    "REPLY on|off|skip",
    "    Whether this connection is answered.",
    "TRACKING on|off | TRACKINGINFO | GETREDIR | CACHING yes|no",
    "    Client-side caching.",
    "UNBLOCK id [TIMEOUT|ERROR]",
    "    Ends the wait of a blocking command.",
    "HELP",
    "    These lines.",
];
