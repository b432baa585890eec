//! Doing what the core and the lanes want done.

use super::lanes::{Wish, mark_done};
use super::{Driver, leader_of};
use crate::cluster::core::fate::Fate;
use crate::cluster::core::group::Request;
use crate::cluster::core::message::{GroupId, META, NodeId, PeerMessage};
use crate::cluster::core::node::{Event, NodeInput, NodeOutput, Reason};
use crate::cluster::core::reads::ReadMode;
use crate::cluster::core::{MessageType, Snapshot};
use crate::cluster::wire::beat::Beat;
use crate::cluster::wire::frame::Stream;
use crate::cluster::wire::message::{End, Message};

impl Driver<'_> {
    pub(super) fn fulfil(&mut self, now_us: u64, wishes: Vec<Wish>) {
        let mut writes: Vec<(GroupId, Vec<Request>)> = Vec::new();
        for wish in wishes {
            match wish {
                Wish::Write(group, ticket, bytes) => {
                    let request = Request { ticket, bytes: bytes.to_vec() };
                    match writes.iter_mut().find(|(of, _)| *of == group) {
                        Some((_, requests)) => requests.push(request),
                        None => writes.push((group, vec![request])),
                    }
                }
                Wish::Read(group, ticket) => {
                    let mode = match self.gateway.is_strict() {
                        true => ReadMode::Strict,
                        false => ReadMode::Linearizable,
                    };
                    self.step(now_us, NodeInput::Read { group, ticket, mode });
                }
                Wish::Send(node, requests) => {
                    let id = requests.id;
                    let message = Message::Requests(requests);
                    if !self.links.send(node, &message, Stream::Urgent) {
                        self.lanes.not_sent(now_us, id);
                    }
                }
                Wish::Reply(node, replies) => {
                    self.links.send(node, &Message::Replies(replies), Stream::Urgent);
                }
                Wish::Answer(conn, bytes, done) => {
                    if !bytes.is_empty() {
                        self.hub.send(conn, &bytes.into(), 0);
                    }
                    mark_done(&done);
                    self.hub.resume(conn);
                }
            }
        }
        for (group, requests) in writes {
            self.step(now_us, NodeInput::Propose { group, requests });
        }
    }

    pub(super) fn obey(&mut self, now_us: u64, output: NodeOutput) {
        match output {
            NodeOutput::Persist { token, record } => self.log.push(now_us, token, record),
            NodeOutput::Send { to, message } => self.send(to, message),
            NodeOutput::Begin { group, snapshot } => self.begin(group, &snapshot),
            NodeOutput::End { group } => {
                self.gateway.group(group).set_lease(0);
                self.states.end(group);
            }
            NodeOutput::Apply { group, entries } => {
                let lanes = &mut self.lanes;
                let index = self.states.apply(now_us, group, entries, lanes);
                self.gateway.group(group).set_log_time(self.states.log_time_ms(group));
                self.step(now_us, NodeInput::Applied { group, index });
            }
            NodeOutput::Restore { group, snapshot } => {
                let index = snapshot.get_metadata().index;
                self.refill.received(snapshot.data.len());
                tracing::debug!(group, index, "a state came from another node");
                self.begin(group, &snapshot);
                self.filled.push(group);
                self.step(now_us, NodeInput::Applied { group, index });
            }
            NodeOutput::Answer { group, tickets } => {
                for ticket in tickets {
                    let states = &mut self.states;
                    self.lanes.answer(now_us, ticket, &mut |_, bytes, protocol| {
                        states.read(group, bytes, protocol)
                    });
                }
            }
            NodeOutput::Fate { fate, tickets, .. } => {
                let end = if fate == Fate::Uncertain { End::Uncertain } else { End::Refused };
                for ticket in tickets {
                    self.lanes.failed(now_us, ticket, end.clone());
                }
            }
            NodeOutput::Role { group, role, leader } => {
                tracing::debug!(group, ?role, "role");
                if group != META {
                    self.lead(now_us, group, leader.unwrap_or(0));
                }
            }
            NodeOutput::Table(table) => {
                self.links.set_cluster(table.cluster);
                self.table = Some(table);
                self.show();
            }
            NodeOutput::WantSnapshot { group } => self.states.want_cut(group),
            NodeOutput::Nonsense { from, why } => self.links.bar(from, now_us, why),
            NodeOutput::Event(event) => tell(&event),
        }
    }

    /// A group begins, or goes on, with the state of a snapshot, and with the log time there.
    fn begin(&mut self, group: GroupId, snapshot: &Snapshot) {
        self.states.begin(group, snapshot);
        self.gateway.group(group).set_log_time(self.states.log_time_ms(group));
    }

    /// Another node leads a group, as far as is known.
    fn lead(&mut self, now_us: u64, group: GroupId, leader: NodeId) {
        let cell = self.gateway.group(group);
        match (cell.leader() == self.gateway.me, leader == self.gateway.me) {
            (false, true) => self.gained.entry(cell.leader()).or_default().push(group),
            (true, false) => self.lost.entry(leader).or_default().push(group),
            _ => {}
        }
        cell.set_leader(leader);
        self.lanes.retry(now_us, Some(group), &leader_of(&self.gateway, &self.links));
    }

    pub(super) fn tell_leads(&mut self) {
        for (before, groups) in std::mem::take(&mut self.gained) {
            match self.name_of(before) {
                Some(name) => tracing::info!("elected to lead the groups {groups:?} after {name}"),
                None => tracing::info!("elected to lead the groups {groups:?}: they had no leader"),
            }
        }
        for (now, groups) in std::mem::take(&mut self.lost) {
            match self.name_of(now) {
                Some(name) => tracing::info!("leads the groups {groups:?} no more: {name} does"),
                None => tracing::info!(
                    "leads the groups {groups:?} no more: it heard of no majority in time, or of \
                     an election"
                ),
            }
        }
        let filled = std::mem::take(&mut self.filled);
        if !filled.is_empty() {
            tracing::info!("filled from a snapshot of another node: the groups {filled:?}");
        }
    }

    fn name_of(&self, node: NodeId) -> Option<&str> {
        Some(self.table.as_ref()?.nodes.get(&node)?.name.as_str())
    }

    fn send(&mut self, to: NodeId, message: PeerMessage) {
        let (message, stream) = match message {
            PeerMessage::Raft { group, message } => {
                if let Some(beat) = Beat::of(group, &message) {
                    self.beats.push(to, beat);
                    if self.beats.is_full(to) {
                        self.send_beats();
                    }
                    return;
                }
                let is_long = message.get_msg_type() == MessageType::MsgSnapshot;
                let stream = if is_long { Stream::Bulk } else { Stream::Urgent };
                (Message::Raft { group, message }, stream)
            }
            PeerMessage::Control(bytes) => (Message::Control(bytes), Stream::Urgent),
        };
        // What is lost on the way is sent again by those who need it.
        self.links.send(to, &message, stream);
    }

    /// Sends the beats that have waited long enough.
    pub(super) fn send_beats(&mut self) {
        for (to, beats) in self.beats.take() {
            self.links.send(to, &Message::Beats(beats), Stream::Urgent);
        }
    }
}

fn tell(event: &Event) {
    match event {
        Event::Born { cluster } => tracing::info!("the cluster {cluster:016x} was founded"),
        Event::Joined { cluster } => tracing::info!(
            "taken into the cluster {cluster:016x} with an empty disk: everything is copied here"
        ),
        Event::Waits(names) => {
            tracing::info!("the cluster is founded when {} answer", names.join(", "));
        }
        Event::Refused(refusal) => tracing::error!("{refusal}"),
        Event::HandsOver { group, to, why } => {
            let why = match why {
                Reason::Balance => "it should lead it",
                Reason::Asked => "it was told to take over",
                Reason::SlowDisk => "the disk of this node is slow",
                Reason::Ends => "this node is about to end",
                Reason::Told => "this node was told to",
            };
            tracing::info!("hands the lead of group {group} to node {to:016x}: {why}");
        }
        Event::TakesOver(groups) => tracing::info!(
            "CLUSTER FAILOVER: the leaders of {groups} groups are asked to hand over to this node"
        ),
        Event::CalledOff { by } => tracing::warn!(
            "CLUSTER FAILOVER of this node is called off: the node {by:016x} was told to take over \
             later"
        ),
        Event::Lacks { group } => tracing::error!(
            "the disk of this node has lost what it had called durable of group {group}: the \
             replica here helps nobody to lead any more; stop the node, move its directory away, \
             and let it come back empty"
        ),
    }
}
