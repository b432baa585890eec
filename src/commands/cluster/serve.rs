//! A batch of requests of one connection of a cluster's node.
//!
//! Requests in a row that concern groups go to the driver together, in order, and the connection
//! waits for all of them. Reads of groups that are led here under a lease are executed at once, if
//! nothing of this connection is under way in front of them. Everything else is executed as on a
//! node that stands alone, once what is in front of it was answered.

use super::execute::SLOTS_PER_GROUP;
use super::leased::LeasedReads;
use super::split::{Combine, Part, WatchedSlots, is_split, split};
use super::{Gateway, Place, Submission, request};
use crate::commands::admission::{admit, refuse, unknown_command};
use crate::commands::command_stats::Place as Counted;
use crate::commands::dispatch::{ExecutionRun, Prepared};
use crate::commands::node::Node;
use crate::commands::session::ReplyMode;
use crate::commands::table::{Command, Keys, Run, TABLE, flags};
use crate::engine::CmdError;
use crate::limits::{BATCH_COMMANDS, CLUSTER_REQUEST_BYTES_MAX};
use crate::net::{Batch, Flow, Io, Served};
use crate::resp::Args;
use crate::sync::reclaim;
use crate::util::crc16::hash_slot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a request goes.
enum Way {
    /// It is executed here, by the worker.
    Here,
    /// To groups.
    Groups(Combine, Vec<Part>),
}

/// Serves a batch; see [`crate::net::Service::serve`].
pub fn serve(node: &Node, gateway: &Gateway, io: &mut Io<'_, Node>, batch: Batch<'_>) -> Served {
    if is_waiting(io) {
        return Served { executed: 0, flow: Flow::Park };
    }
    // What is prepared for one request is much less to lay out than what is for sixteen.
    match batch.len() {
        1 => serve_up_to::<1>(node, gateway, io, batch),
        _ => serve_up_to::<BATCH_COMMANDS>(node, gateway, io, batch),
    }
}

/// Serves a batch of at most `MOST` requests.
fn serve_up_to<const MOST: usize>(
    node: &Node,
    gateway: &Gateway,
    io: &mut Io<'_, Node>,
    mut batch: Batch<'_>,
) -> Served {
    let count = batch.len();
    let pin = reclaim::pin();
    let mut prepared = [Prepared::default(); MOST];
    node.prepare(&pin, io.session.db, &batch, &mut prepared);
    let prepared = &prepared;
    let mut run = ExecutionRun::new(node, &pin, io);
    let mut reads = LeasedReads::new(gateway);
    let mut places: Vec<Place> = Vec::new();
    let mut executed = 0;
    let mut flow = Flow::Next;
    while executed < count && flow == Flow::Next {
        let one = &prepared[executed];
        let is_behind = !places.is_empty();
        if !is_behind
            && let Some(group) = simple_read(io, one)
            && reads.may_begin(&mut run, io, executed, group)
        {
            flow = run.execute(io, &mut batch, executed, one);
            executed += usize::from(flow != Flow::Park);
            continue;
        }
        if let Some(first) = reads.end(&mut run, io) {
            (executed, flow) = (first, Flow::Next);
            break;
        }
        let row = one.row();
        // Asked first: finding the way of an EXEC takes the transaction from the connection.
        if row.is_some_and(|row| run.is_paused(io, &TABLE[row])) {
            flow = if is_behind { Flow::Next } else { Flow::Park };
            break;
        }
        let way = match row {
            Some(row) => way_of(node, gateway, io, row, batch.args(executed)),
            None => Ok(Way::Here),
        };
        match way {
            // What cannot be among those that wait comes when they are answered.
            Ok(Way::Here) | Err(_) if is_behind => break,
            Ok(Way::Here) => {
                flow = run.execute(io, &mut batch, executed, one);
                executed += usize::from(flow != Flow::Park);
            }
            Err(error) => {
                refuse_one(node, io, row, batch.args(executed), &error);
                executed += 1;
            }
            Ok(Way::Groups(combine, parts)) => {
                let Some(row) = row else { break };
                note(node, io, row, batch.args(executed));
                let is_silent = is_silent(io);
                places.push(Place { combine, parts, is_silent });
                executed += 1;
            }
        }
    }
    // If they are taken back, nothing waits behind them, and all is served anew.
    reads.end(&mut run, io).into_iter().for_each(|first| (executed, flow) = (first, Flow::Next));
    run.end(io);
    if !places.is_empty() {
        submit(gateway, io, places);
        flow = Flow::Park;
    }
    Served { executed, flow }
}

/// Counts a request that goes to groups, and shows it to those who monitor.
fn note(node: &Node, io: &Io<'_, Node>, row: usize, args: Args<'_>) {
    let stats = &node.workers[io.local.worker];
    stats.commands.add(1);
    stats.by_command.of(Counted::new(row, TABLE[row].resolve(args).1)).calls.add(1);
    if node.monitors.any() && !TABLE[row].is(flags::SKIP_MONITOR | flags::ADMIN) {
        let now_us = node.engine.clock.now_us();
        node.monitors.feed(io.hub, io.card, io.session.db, now_us, args);
    }
}

/// True while the connection waits for replies. It may have been woken for another reason.
fn is_waiting(io: &mut Io<'_, Node>) -> bool {
    // Acquire: pairs with the Release of the driver, so that the replies are on their way.
    let waits = io.session.forwarded.as_ref().is_some_and(|done| !done.load(Ordering::Acquire));
    if !waits {
        io.session.forwarded = None;
    }
    waits
}

fn submit(gateway: &Gateway, io: &mut Io<'_, Node>, places: Vec<Place>) {
    let done = Arc::new(AtomicBool::new(false));
    io.session.forwarded = Some(Arc::clone(&done));
    gateway.submit(Submission { conn: io.id, protocol: io.session.protocol, places, done });
}

/// The group of a request that reads one key and could be executed here.
#[inline]
fn simple_read(io: &Io<'_, Node>, one: &Prepared<'_>) -> Option<u16> {
    let command = &TABLE[one.row()?];
    let reads = command.keys == Keys::ONE
        && !command.is(flags::WRITE)
        && matches!(command.run, Run::Read(_) | Run::Locked(_));
    (reads && one.hashed && io.session.multi.is_none())
        .then_some(one.hint.key(&[]).hash_slot / SLOTS_PER_GROUP)
}

/// Whether CLIENT REPLY asked for no reply to the next request, which is counted as one.
fn is_silent(io: &mut Io<'_, Node>) -> bool {
    match io.session.reply_mode {
        ReplyMode::On => false,
        ReplyMode::Off => true,
        ReplyMode::SkipNext => {
            io.session.reply_mode = ReplyMode::Skip;
            true
        }
        ReplyMode::Skip => {
            io.session.reply_mode = ReplyMode::On;
            true
        }
    }
}

fn refuse_one(
    node: &Node,
    io: &mut Io<'_, Node>,
    row: Option<usize>,
    args: Args<'_>,
    error: &CmdError,
) {
    let place = row.map(|row| Counted::new(row, TABLE[row].resolve(args).1));
    let error = if row.is_none() { &unknown_command(args) } else { error };
    refuse(node, io, place, error);
}

/// Finds out where a request goes, or why it is refused.
fn way_of(
    node: &Node,
    gateway: &Gateway,
    io: &mut Io<'_, Node>,
    row: usize,
    args: Args<'_>,
) -> Result<Way, CmdError> {
    let (command, sub) = TABLE[row].resolve(args);
    if let Some(why) = not_there(command, args) {
        return Err(CmdError::text(why));
    }
    if command.name == "exec" && io.session.multi.is_some() {
        return exec(gateway, io, args);
    }
    if command.name == "watch" && io.session.multi.is_none() && args.len() > 1 {
        admit(node, io, command, Counted::new(row, sub), args)?;
        return watch(gateway, io, command, args);
    }
    let concerns_keys = command.keys.first > 0 && !matches!(command.run, Run::Session(_));
    if !concerns_keys && !is_split(command) {
        return match io.session.multi.is_some() && !command.is(flags::AT_ONCE) {
            true => Err(CmdError::owned(format!(
                "ERR '{}' names no key and cannot be part of a transaction of a cluster",
                command.name
            ))),
            false => Ok(Way::Here),
        };
    }
    admit(node, io, command, Counted::new(row, sub), args)?;
    if args.total_len() > CLUSTER_REQUEST_BYTES_MAX {
        return Err(CmdError::owned(format!(
            "ERR a request of more than {CLUSTER_REQUEST_BYTES_MAX} bytes is not taken by a cluster"
        )));
    }
    let slot = one_slot(command, args)?;
    if let (true, Some(slot)) = (io.session.is_redirected, slot) {
        redirect(gateway, slot)?;
    }
    if io.session.multi.is_some() {
        return queue(io, command, slot);
    }
    match slot {
        Some(slot) => {
            let group = slot / SLOTS_PER_GROUP;
            let bytes = request::one((0..args.len()).map(|at| args.get(at)));
            let is_write = command.is(flags::WRITE);
            Ok(Way::Groups(Combine::Only, vec![Part { group, is_write, bytes }]))
        }
        None => {
            let (combine, parts) = split(command, args);
            Ok(Way::Groups(combine, parts))
        }
    }
}

/// A command of an open transaction: the first one with keys decides the slot.
fn queue(io: &mut Io<'_, Node>, command: &Command, slot: Option<u16>) -> Result<Way, CmdError> {
    let multi = io.session.multi.as_mut();
    let Some((multi, slot)) = multi.zip(slot) else {
        return Err(CmdError::owned(format!(
            "ERR '{}' concerns several slots and cannot be part of a transaction of a cluster",
            command.name
        )));
    };
    match multi.slot {
        Some(other) if other != slot => Err(CmdError::owned(format!(
            "CROSSSLOT Keys in request don't hash to the same slot: the transaction began in slot \
             {other}, this key is in slot {slot}"
        ))),
        _ => {
            multi.slot = Some(slot);
            Ok(Way::Here)
        }
    }
}

/// EXEC: the queued commands travel as one request (C20).
fn exec(gateway: &Gateway, io: &mut Io<'_, Node>, args: Args<'_>) -> Result<Way, CmdError> {
    let is_whole = args.len() == 1;
    let Some(multi) = io.session.multi.as_ref().filter(|multi| is_whole && !multi.failed) else {
        return Ok(Way::Here);
    };
    // An empty one, and one that only has commands of the connection, is executed here.
    let Some(slot) = multi.slot else { return Ok(Way::Here) };
    if io.session.is_redirected {
        redirect(gateway, slot)?;
    }
    let watched = io.session.watched.as_ref().map(WatchedSlots::seen).unwrap_or_default();
    if let Some(other) = watched.iter().find(|seen| seen.slot != slot) {
        return Err(CmdError::owned(format!(
            "CROSSSLOT Keys in request don't hash to the same slot: what is watched is in slot {}, \
             the transaction in slot {slot}",
            other.slot
        )));
    }
    let mut bytes = request::transaction(&watched);
    for (_, args) in &multi.queued {
        let args = args.as_args();
        request::push(&mut bytes, (0..args.len()).map(|at| args.get(at)));
    }
    if bytes.len() > CLUSTER_REQUEST_BYTES_MAX {
        return Err(CmdError::owned(format!(
            "ERR a transaction of more than {CLUSTER_REQUEST_BYTES_MAX} bytes is not taken by a \
             cluster"
        )));
    }
    (io.session.multi, io.session.watched) = (None, None);
    io.card.queued.store(-1, Ordering::Relaxed);
    io.card.watched.store(0, Ordering::Relaxed);
    let group = slot / SLOTS_PER_GROUP;
    Ok(Way::Groups(Combine::Only, vec![Part { group, is_write: true, bytes }]))
}

/// WATCH: the leader says what was written last (C20).
fn watch(
    gateway: &Gateway,
    io: &mut Io<'_, Node>,
    command: &Command,
    args: Args<'_>,
) -> Result<Way, CmdError> {
    let Some(slot) = one_slot(command, args)? else { return Ok(Way::Here) };
    if io.session.is_redirected {
        redirect(gateway, slot)?;
    }
    let watched = io.session.watched.get_or_insert_default().clone();
    io.card.watched.fetch_add((args.len() - 1) as u32, Ordering::Relaxed);
    let bytes = request::one((0..args.len()).map(|at| args.get(at)));
    let part = Part { group: slot / SLOTS_PER_GROUP, is_write: false, bytes };
    Ok(Way::Groups(Combine::Watch(slot, watched), vec![part]))
}

/// The slot of all keys of a request; `None` if there are several and the command is split.
fn one_slot(command: &Command, args: Args<'_>) -> Result<Option<u16>, CmdError> {
    let mut keys = command.keys.positions(args.len()).map(|at| args.get(at));
    let Some(first) = keys.next() else {
        return match is_split(command) {
            true => Ok(None),
            false => Err(CmdError::text("ERR this request names no key")),
        };
    };
    let slot = hash_slot(first);
    let Some(other) = keys.find(|key| hash_slot(key) != slot) else { return Ok(Some(slot)) };
    if is_split(command) {
        return Ok(None);
    }
    let shown = |key: &[u8]| String::from_utf8_lossy(&key[..key.len().min(64)]).into_owned();
    let text = format!(
        "CROSSSLOT Keys in request don't hash to the same slot: '{}' is in slot {slot}, '{}' in \
         slot {}",
        shown(first),
        shown(other),
        hash_slot(other)
    );
    Err(CmdError::owned(text))
}

/// On the port for clients that know where keys are: an error that says where, if not here.
fn redirect(gateway: &Gateway, slot: u16) -> Result<(), CmdError> {
    let leader = gateway.group(slot / SLOTS_PER_GROUP).leader();
    if leader == gateway.me {
        return Ok(());
    }
    let view = gateway.view();
    let Some(node) = view.nodes.iter().find(|node| node.id == leader) else {
        return Err(CmdError::text(
            "CLUSTERDOWN Hash slot not served: its group has no leader at the moment",
        ));
    };
    Err(CmdError::owned(format!("MOVED {slot} {}:{}", node.host, node.redirect_port)))
}

/// What a cluster does not have.
pub(super) fn not_there(command: &Command, args: Args<'_>) -> Option<&'static str> {
    match command.name {
        "select" if args.len() == 2 && args.get(1) != b"0" => {
            Some("ERR SELECT is not allowed in cluster mode")
        }
        "swapdb" | "move" => Some("ERR a cluster has one database only"),
        "keys" | "scan" | "randomkey" => Some(
            "ERR this command over all groups is not there yet in a cluster; ask for single keys",
        ),
        "save" | "bgsave" | "bgrewriteaof" => {
            Some("ERR a cluster keeps its log and its snapshots by itself")
        }
        _ => None,
    }
}
