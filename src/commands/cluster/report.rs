//! CLUSTER and its sub-commands, READONLY, READWRITE and ASKING.
//!
//! What is shown is what the driver has published: the committed table, and who leads as far as
//! this node knows. The ports that are named are those that answer where keys are. Changing members
//! and moving slots are not there; they answer an error.

use super::{Follower, Gateway, NodeView, Progress, Refilling, View, lease_clock_us};
use crate::commands::session::Cx;
use crate::commands::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::limits::{CLUSTER_GROUPS, HASH_SLOTS};
use crate::resp::{Args, Reply};
use crate::util::crc16::hash_slot;
use crate::util::int::parse_i64;
use std::fmt::Write as _;
use std::sync::Arc;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("asking", 1, Keys::NONE, FAST, acl::CONNECTION, Run::Session(accept)).doc(
        "3.0.0",
        "Lets the next command follow a redirection; nothing redirects that way here.",
    ),
    row("cluster", -2, Keys::NONE, 0, 0, Run::Session(cluster))
        .doc("3.0.0", "A container for commands about the cluster."),
    row("readonly", 1, Keys::NONE, LOADING | STALE | FAST, acl::CONNECTION, Run::Session(accept))
        .doc("3.0.0", "Allows reads on replicas; accepted, reads go to who leads all the same."),
    row("readwrite", 1, Keys::NONE, LOADING | STALE | FAST, acl::CONNECTION, Run::Session(accept))
        .doc("3.0.0", "Takes READONLY back."),
];

const DISABLED: CmdError = CmdError::text("ERR This instance has cluster support disabled");
const SLOTS_PER_GROUP: u16 = (HASH_SLOTS / CLUSTER_GROUPS) as u16;

fn gateway<'a>(cx: &Cx<'a>) -> Result<&'a Arc<Gateway>, CmdError> {
    cx.node().cluster.get().ok_or(DISABLED)
}

/// READONLY, READWRITE, ASKING
fn accept(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    gateway(cx)?;
    reply.ok();
    Ok(())
}

/// CLUSTER sub-command
fn cluster(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let gateway = gateway(cx)?;
    let view = gateway.view();
    let sub = args.get(1).to_ascii_lowercase();
    let count = args.len();
    match (&sub[..], count) {
        (b"slots", 2) => slots(gateway, &view, reply),
        (b"shards", 2) => shards(gateway, &view, reply),
        (b"nodes", 2) => reply.verbatim("txt", nodes(gateway, &view).as_bytes()),
        (b"info", 2) => reply.verbatim("txt", info(gateway, &view).as_bytes()),
        (b"links", 2) => links(gateway, &view, reply),
        (b"myid", 2) => reply.bulk(name_of(gateway.me).as_bytes()),
        (b"replicas" | b"slaves", 3) => replicas(gateway, &view, args.get(2), reply)?,
        (b"failover", 2 | 3) => failover(gateway, &view, args, reply)?,
        (b"keyslot", 3) => reply.int(hash_slot(args.get(2)).into()),
        (b"countkeysinslot", 3) => {
            let slot = slot_of(args.get(2))?;
            reply.int(keys_in(cx, slot, usize::MAX).len() as i64);
        }
        (b"getkeysinslot", 4) => {
            let slot = slot_of(args.get(2))?;
            let most = parse_i64(args.get(3)).and_then(|most| usize::try_from(most).ok());
            let keys = keys_in(
                cx,
                slot,
                most.ok_or(CmdError::text("ERR Invalid slot or number of keys"))?,
            );
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        (
            b"meet"
            | b"forget"
            | b"addslots"
            | b"addslotsrange"
            | b"delslots"
            | b"delslotsrange"
            | b"setslot"
            | b"replicate"
            | b"reset"
            | b"flushslots"
            | b"bumpepoch"
            | b"set-config-epoch"
            | b"saveconfig"
            | b"count-failure-reports"
            | b"myshardid",
            _,
        ) => {
            return Err(CmdError::owned(format!(
                "ERR CLUSTER {} is not there: members and the place of slots are fixed when the \
                 cluster is born",
                String::from_utf8_lossy(&sub).to_uppercase()
            )));
        }
        _ => return Err(CmdError::unknown_subcommand("cluster", args.get(1))),
    }
    Ok(())
}

/// CLUSTER FAILOVER: this node is to lead every group that it holds. The leaders are asked; what
/// they do with it is seen in CLUSTER NODES.
fn failover(gateway: &Gateway, view: &View, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let how = (args.len() > 2).then(|| args.get(2).to_ascii_lowercase());
    match how.as_deref() {
        None => {}
        Some(b"force") => {
            return Err(CmdError::text(
                "ERR CLUSTER FAILOVER FORCE is not there: a leader that does not answer is \
                 replaced without it, by the nodes that are left; use CLUSTER FAILOVER",
            ));
        }
        Some(b"takeover") => {
            return Err(CmdError::text(
                "ERR CLUSTER FAILOVER TAKEOVER is not there: without a majority of the nodes it \
                 would lose writes that were answered; bring nodes back instead",
            ));
        }
        Some(_) => return Err(CmdError::Syntax),
    }
    if view.cluster == 0 {
        return Err(CmdError::text(
            "CLUSTERDOWN the cluster is not formed yet: there is nothing to take over",
        ));
    }
    gateway.take_over();
    reply.ok();
    Ok(())
}

fn slot_of(arg: &[u8]) -> Result<u16, CmdError> {
    let slot = parse_i64(arg).filter(|slot| (0..HASH_SLOTS as i64).contains(slot));
    slot.map(|slot| slot as u16).ok_or(CmdError::text("ERR Invalid or out of range slot"))
}

/// Keys of a slot as they are on this node, up to `most`.
fn keys_in(cx: &Cx<'_>, slot: u16, most: usize) -> Vec<Vec<u8>> {
    let shard = slot / (HASH_SLOTS / crate::limits::SHARDS) as u16;
    let held = cx.node().engine.store.lock_one(shard);
    let mut keys = Vec::new();
    held.for_each(shard, &mut |db, entry, _| {
        if db == 0 && keys.len() < most && hash_slot(entry.key()) == slot {
            keys.push(entry.key().to_vec());
        }
    });
    keys
}

/// 40 hexadecimal digits, as clients expect a node to be named.
fn name_of(node: u64) -> String {
    format!("{node:016x}{:024x}", 0)
}

/// Slots that follow upon each other and have one leader: first, last, leader, all nodes.
fn ranges<'v>(gateway: &Gateway, view: &'v View) -> Vec<(u16, u16, u64, &'v [u64])> {
    let mut ranges: Vec<(u16, u16, u64, &[u64])> = Vec::new();
    for (group, replicas) in (0..).zip(&view.replicas) {
        let leader = gateway.group(group).leader();
        let (first, last) = (group * SLOTS_PER_GROUP, (group + 1) * SLOTS_PER_GROUP - 1);
        let mut sorted = replicas.iter().collect::<Vec<_>>();
        sorted.sort_unstable();
        match ranges.last_mut() {
            Some(before) if before.2 == leader && same_nodes(before.3, &sorted) => before.1 = last,
            _ => ranges.push((first, last, leader, replicas)),
        }
    }
    ranges.retain(|range| range.2 != 0);
    ranges
}

fn same_nodes(nodes: &[u64], sorted: &[&u64]) -> bool {
    nodes.len() == sorted.len() && nodes.iter().all(|node| sorted.contains(&node))
}

fn node(view: &View, id: u64) -> Option<&NodeView> {
    view.nodes.iter().find(|node| node.id == id)
}

/// Leaders only: a client that is sent to a replica would be sent on from there.
fn slots(gateway: &Gateway, view: &View, reply: &mut Reply<'_>) {
    let ranges = ranges(gateway, view);
    let known: Vec<_> =
        ranges.iter().filter_map(|range| Some((range, node(view, range.2)?))).collect();
    reply.array(known.len());
    for ((first, last, ..), leader) in known {
        reply.array(3);
        reply.int((*first).into());
        reply.int((*last).into());
        reply.array(4);
        reply.bulk(leader.host.as_bytes());
        reply.int(leader.redirect_port.into());
        reply.bulk(name_of(leader.id).as_bytes());
        reply.array(0);
    }
}

fn shards(gateway: &Gateway, view: &View, reply: &mut Reply<'_>) {
    let ranges = ranges(gateway, view);
    let leading = |id| ranges.iter().filter(move |range| range.2 == id);
    let leaders: Vec<_> = view.nodes.iter().filter(|node| leading(node.id).count() > 0).collect();
    reply.array(leaders.len());
    for leader in leaders {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(leading(leader.id).count() * 2);
        for (first, last, ..) in leading(leader.id) {
            reply.int((*first).into());
            reply.int((*last).into());
        }
        reply.bulk(b"nodes");
        reply.array(1);
        reply.map(7);
        let text = [
            ("id", name_of(leader.id)),
            ("ip", leader.host.clone()),
            ("endpoint", leader.host.clone()),
            ("role", "master".into()),
            ("health", if leader.is_linked { "online" } else { "failed" }.into()),
        ];
        for (name, value) in text {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        for (name, value) in [("port", leader.redirect_port.into()), ("replication-offset", 0)] {
            reply.bulk(name.as_bytes());
            reply.int(value);
        }
    }
}

fn nodes(gateway: &Gateway, view: &View) -> String {
    let ranges = ranges(gateway, view);
    let mut out = String::new();
    for node in &view.nodes {
        let me = if node.id == gateway.me { "myself," } else { "" };
        let link = if node.is_linked { "connected" } else { "disconnected" };
        let fail = if node.is_linked { "" } else { ",fail?" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{} {}:{}@{},{} {me}master{fail} - 0 0 {} {link}",
            name_of(node.id),
            node.host,
            node.redirect_port,
            node.peer_port,
            node.name,
            view.version,
        );
        for (first, last, ..) in ranges.iter().filter(|range| range.2 == node.id) {
            let _ = write!(out, " {first}-{last}");
        }
        out.push('\n');
    }
    out
}

fn info(gateway: &Gateway, view: &View) -> String {
    let led = (0..view.replicas.len() as u16).filter(|group| gateway.group(*group).leader() != 0);
    let led = led.count();
    let slots = led * usize::from(SLOTS_PER_GROUP);
    let state = if led == CLUSTER_GROUPS { "ok" } else { "fail" };
    let mut leaders: Vec<u64> =
        (0..CLUSTER_GROUPS as u16).map(|group| gateway.group(group).leader()).collect();
    leaders.sort_unstable();
    leaders.dedup();
    leaders.retain(|leader| *leader != 0);
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{slots}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\n\
         cluster_size:{}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n",
        view.replicas.len() * usize::from(SLOTS_PER_GROUP),
        HASH_SLOTS - slots,
        view.nodes.len(),
        leaders.len(),
        view.version,
        view.version,
    )
}

/// What INFO shows of the cluster: the node's log, how far others are, how far this node is with
/// being filled again, and a line for each group: who leads, and how far this node is.
pub fn info_lines(gateway: &Gateway) -> String {
    let (view, status) = (gateway.view(), gateway.status());
    let pinned = status.log_pinned_by.map_or("none".into(), |group| group.to_string());
    let mut out = format!(
        "cluster_log_bytes:{}\r\ncluster_log_bytes_most:{}\r\ncluster_log_pinned_by:{pinned}\r\n\
         cluster_log_shortened:{}\r\ncluster_refill_in_progress:{}\r\n",
        status.log_bytes,
        status.log_bytes_most,
        status.log_shortened,
        u8::from(status.refilling.is_some())
    );
    refill(status.refilling, &mut out);
    for Follower { node: id, groups, behind, entries, snapshots } in status.followers {
        let Some(node) = node(&view, id) else { continue };
        let link = if node.is_linked { "up" } else { "down" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "cluster_node_{}:link={link},groups={groups},behind={behind},entries={entries},\
             snapshots={snapshots}\r\n",
            node.name
        );
    }
    groups(gateway, &view, &mut out);
    out
}

fn refill(refilling: Option<Refilling>, out: &mut String) {
    let Some(refilling) = refilling else { return };
    let Refilling { groups, done, bytes, bytes_per_second, eta_s } = refilling;
    let eta = eta_s.map_or("-1".into(), |seconds| seconds.to_string());
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "cluster_refill_groups:{groups}\r\ncluster_refill_groups_done:{done}\r\n\
         cluster_refill_percent:{}\r\ncluster_refill_bytes:{bytes}\r\n\
         cluster_refill_bytes_per_sec:{bytes_per_second}\r\ncluster_refill_eta_seconds:{eta}\r\n",
        refilling.percent()
    );
}

fn groups(gateway: &Gateway, view: &View, out: &mut String) {
    let now_us = lease_clock_us();
    for (group, here) in (0..).zip(gateway.progress()) {
        let leader = node(view, gateway.group(group).leader());
        let leader = leader.map_or("none", |node| node.name.as_str());
        let lease = u8::from(gateway.group(group).may_read(now_us));
        let Progress { is_here, term, commit, applied } = here;
        let lag = commit.saturating_sub(applied);
        // Writing to a String cannot fail.
        let _ = match is_here {
            true => write!(
                out,
                "cluster_group_{group}:leader={leader},term={term},commit={commit},\
                 applied={applied},lag={lag},lease={lease}\r\n"
            ),
            false => write!(out, "cluster_group_{group}:leader={leader}\r\n"),
        };
    }
}

fn links(gateway: &Gateway, view: &View, reply: &mut Reply<'_>) {
    let others: Vec<_> =
        view.nodes.iter().filter(|node| node.id != gateway.me && node.is_linked).collect();
    reply.array(others.len());
    for other in others {
        reply.map(2);
        reply.bulk(b"direction");
        reply.bulk(b"to");
        reply.bulk(b"node");
        reply.bulk(name_of(other.id).as_bytes());
    }
}

/// No node is a replica of one other node: each leads some groups and follows in others.
fn replicas(
    _gateway: &Gateway,
    view: &View,
    name: &[u8],
    reply: &mut Reply<'_>,
) -> Result<(), CmdError> {
    let known = view.nodes.iter().any(|node| name_of(node.id).as_bytes() == name);
    if !known {
        return Err(CmdError::quoting("ERR Unknown node ", name, ""));
    }
    reply.array(0);
    Ok(())
}
