//! What nodes want done, and doing it.

use super::desk::reply;
use super::disk::before;
use super::net::NODES;
use super::node::{Replica, Work, id_of_node, restored};
use super::queue::Event;
use super::watch::Watch;
use super::world::{DATA_GROUPS, GROUPS, HEALED, MS, World, id_of, place_of};
use dse::cluster::core::group::{Committed, Cut};
use dse::cluster::core::log::{Birth, Item, read};
use dse::cluster::core::message::{GroupId, NodeId, PeerMessage};
use dse::cluster::core::node::Event as Happening;
use dse::cluster::core::{Message, MessageType, NodeInput, NodeOutput, StateRole, entry};
use dse::cluster::wire::beat::Beat;
use dse::cluster::wire::frame::Stream;
use dse::cluster::wire::message::{End, Message as Wire};
use dse::limits::CLUSTER_CLOCK_US;
use std::collections::VecDeque;

impl World {
    /// Gives a node its input, and obeys its outputs.
    pub fn drive(&mut self, node: usize, input: NodeInput) {
        self.settle(node, VecDeque::from([input]));
    }

    /// Does all that is to be done on a node, until nothing is left.
    pub fn settle(&mut self, node: usize, mut inputs: VecDeque<NodeInput>) {
        loop {
            while let Some(input) = inputs.pop_front() {
                let now_us = self.nodes[node].clock.at(self.now);
                let Some(core) = &mut self.nodes[node].core else { return };
                let mut out = Vec::new();
                core.step(now_us, input, &mut out);
                core.flush(&mut out);
                if !self.obey_all(node, out, &mut inputs) {
                    return;
                }
            }
            if !self.fulfil(node, &mut inputs) {
                break;
            }
        }
        self.publish_leases(node);
        (0..GROUPS).for_each(|group| self.watch_leases(group));
        self.sync(node);
        self.send_beats(node);
        self.flush_links(node);
    }

    /// Heartbeats leave together, and answers to them with those, in the driver's own queue.
    fn send_beats(&mut self, node: usize) {
        let beats: Vec<_> = self.nodes[node].beats.take().collect();
        for (to, beats) in beats {
            let to = (0..NODES).find(|&at| id_of_node(at) == to).expect("a node's id");
            self.say(node, to, &Wire::Beats(beats), Stream::Urgent);
        }
    }

    /// False if the node crashed meanwhile.
    pub fn obey_all(
        &mut self,
        node: usize,
        out: Vec<NodeOutput>,
        inputs: &mut VecDeque<NodeInput>,
    ) -> bool {
        for output in out {
            if self.nodes[node].blows() {
                self.count("crash between two outputs");
                self.crash(node);
                return false;
            }
            self.obey(node, output, inputs);
        }
        true
    }

    fn obey(&mut self, node: usize, output: NodeOutput, inputs: &mut VecDeque<NodeInput>) {
        match output {
            NodeOutput::Persist { token, record } => self.write(node, token, record),
            NodeOutput::Send { to, message } => self.send(node, to, message),
            NodeOutput::Begin { group, snapshot } => {
                let replica = Replica::begin(&snapshot);
                self.nodes[node].replicas[place_of(group)] = Some(replica);
            }
            NodeOutput::End { group } => self.nodes[node].replicas[place_of(group)] = None,
            NodeOutput::Apply { group, entries } => {
                let core = self.nodes[node].group(place_of(group));
                let term = core.map_or(0, |core| core.role().term);
                self.watch.commits(place_of(group), term, &entries);
                self.enqueue(node, place_of(group), Work::Apply(entries), inputs);
            }
            NodeOutput::Restore { group, snapshot } => {
                self.count("snapshot installed");
                self.enqueue(node, place_of(group), Work::Restore(snapshot), inputs);
            }
            NodeOutput::Answer { tickets, .. } => self.answer_reads(node, tickets),
            NodeOutput::Fate { fate, tickets, .. } => self.end_requests(node, fate, tickets),
            NodeOutput::Role { group, role, leader } => {
                self.lead(node, group, leader.unwrap_or(0));
                let Some(core) = self.nodes[node].group(place_of(group)) else { return };
                if role.role == StateRole::Leader {
                    self.watch.leads(place_of(group), core);
                    self.count("leader elected");
                    self.slow_down(node, place_of(group));
                }
                self.trace(|| format!("group {group}: node {node} is {role:?}"));
            }
            NodeOutput::Table(table) => self.watch.table(&table),
            NodeOutput::WantSnapshot { group } => inputs.extend(self.cut(node, place_of(group))),
            NodeOutput::Nonsense { why, .. } => self.watch.honest(false, why),
            NodeOutput::Event(event) => {
                let lacks = matches!(event, Happening::Lacks { .. });
                self.watch.honest(!lacks, "a replica lacks what it promised");
                self.trace(|| format!("node {node}: {event:?}"));
            }
        }
    }

    fn write(&mut self, node: usize, number: u64, record: Vec<u8>) {
        let now_us = self.nodes[node].clock.at(self.now);
        let disk = &mut self.nodes[node].disk;
        let (of, items) = read(&record).expect("a record that was just made");
        assert_eq!(of, number, "a record knows its number");
        for item in items {
            let before = before(&disk.written, &item);
            if let Item::Group(group, _, write) = &item {
                self.watch.now = self.now;
                self.watch.writes(place_of(*group), &write.entries, before);
            }
            disk.written.take(number, item);
        }
        disk.write(now_us, number, record);
    }

    fn send(&mut self, node: usize, to: NodeId, message: PeerMessage) {
        let id = to;
        let Some(to) = (0..NODES).find(|&at| id_of_node(at) == id) else { return };
        match message {
            PeerMessage::Raft { group, message } => {
                self.watch_send(node, group, &message);
                if let Some(beat) = Beat::of(group, &message) {
                    return self.nodes[node].beats.push(id, beat);
                }
                let is_long = message.get_msg_type() == MessageType::MsgSnapshot;
                let stream = if is_long { Stream::Bulk } else { Stream::Urgent };
                self.say(node, to, &Wire::Raft { group, message }, stream);
            }
            PeerMessage::Control(bytes) => {
                self.push(node, to, &Wire::Control(bytes), Stream::Urgent);
            }
        }
    }

    fn watch_send(&mut self, node: usize, group: GroupId, message: &Message) {
        if message.get_msg_type() == MessageType::MsgTimeoutNow {
            self.count("forced campaign");
        }
        let durable = &self.nodes[node].disk.durable;
        let birth = durable.identity.as_ref().map(|identity| &identity.birth);
        let is_member = matches!(birth, Some(Birth::Member(_)));
        let stored = durable.groups.get(&group).filter(|stored| stored.replica == message.from);
        let stored = stored.cloned().unwrap_or_default();
        self.watch.takes_part(is_member, place_of(group), message);
        self.watch.sends(place_of(group), &stored, message);
    }

    fn enqueue(&mut self, node: usize, group: usize, work: Work, inputs: &mut VecDeque<NodeInput>) {
        let life = self.nodes[node].life;
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
        replica.work.push_back(work);
        if replica.lags {
            return;
        }
        // Loading what was received takes its time, and so does catching up for a new leader.
        let takes_long = match replica.work.back() {
            Some(Work::Restore(_)) => self.now < HEALED && self.rng.below(3) == 0,
            _ => self.now < replica.slow_until,
        };
        if takes_long || self.rng.below(12) == 0 {
            replica.lags = true;
            let delay = match replica.work.back() {
                Some(Work::Restore(_)) if takes_long => self.rng.below(1500 * MS),
                _ if takes_long => replica.slow_until - self.now,
                _ => self.rng.below(30 * MS),
            };
            self.after(delay, Event::Apply { node, life, group });
        } else {
            inputs.extend(self.do_work(node, group));
        }
    }

    fn slow_down(&mut self, node: usize, group: usize) {
        let is_slow = self.rng.below(3) == 0;
        let until = self.now + self.rng.below(200 * MS);
        let replica = self.nodes[node].replicas.get_mut(group).and_then(Option::as_mut);
        if let Some(replica) = replica.filter(|_| is_slow) {
            replica.slow_until = until;
        }
    }

    pub fn work(&mut self, node: usize, group: usize) {
        for input in self.do_work(node, group) {
            self.drive(node, input);
        }
    }

    /// Has log time told where keys have deadlines, as the driver does (C4).
    pub fn tell_time(&mut self, node: usize) {
        for group in 0..DATA_GROUPS {
            let state = &self.nodes[node];
            let now_us = state.clock.at(self.now);
            let wants_clock = state.replicas[group].as_ref().is_some_and(|replica| {
                now_us >= replica.applied_us + CLUSTER_CLOCK_US && replica.machine.has_deadlines()
            });
            if wants_clock && state.leads(group).is_some() {
                self.count("log time told");
                self.drive(node, NodeInput::Clock(id_of(group)));
            }
        }
    }

    /// Applies and restores what waits; returns what the node is to be told.
    fn do_work(&mut self, node: usize, group: usize) -> Vec<NodeInput> {
        let now_us = self.nodes[node].clock.at(self.now);
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return Vec::new() };
        replica.lags = false;
        let mut answers = Vec::new();
        let expired = replica.machine.expired;
        for work in std::mem::take(&mut replica.work) {
            match work {
                Work::Apply(entries) => {
                    for entry in entries {
                        self.watch.now = self.now;
                        apply(group, replica, &mut self.watch, &entry, &mut answers);
                    }
                }
                Work::Restore(snapshot) => {
                    replica.machine = restored(&snapshot);
                    replica.cut = replica.machine.applied;
                    self.watch.has_state(group, &replica.machine);
                }
            }
        }
        let has_ended = replica.machine.expired > expired;
        replica.applied_us = now_us;
        let index = replica.machine.applied;
        let is_due = index >= replica.cut + 20 && self.rarely_cut != Some(group);
        let mut inputs = vec![NodeInput::Applied { group: id_of(group), index }];
        if has_ended {
            self.count("key ended by its deadline");
        }
        // A disk that was just lost may be one of those that made up the majority.
        let needed = if self.replacing.is_some() { 1 } else { 2 };
        for (ticket, entry, value) in answers {
            let stored = self.nodes.iter().filter_map(|n| n.disk.durable.groups.get(&id_of(group)));
            self.watch.answers(group, entry, stored, needed);
            let now_us = self.nodes[node].clock.at(self.now);
            let lanes = &mut self.nodes[node].desk.lanes;
            if lanes.wants(ticket).is_some() {
                lanes.written(now_us, ticket, End::Reply(reply(value)));
            }
        }
        if is_due {
            inputs.extend(self.cut(node, group));
        }
        inputs
    }

    pub fn cut(&mut self, node: usize, group: usize) -> Option<NodeInput> {
        let keep = self.rng.below(4) * self.rng.below(12);
        let replica = self.nodes[node].replicas[group].as_mut()?;
        let machine = &replica.machine;
        replica.cut = machine.applied;
        let cut = Cut {
            index: machine.applied,
            time_us: machine.time_us,
            data: machine.to_bytes(),
            keep_from: (machine.applied + 1).saturating_sub(keep),
        };
        self.count("snapshot cut");
        Some(NodeInput::Cut { group: id_of(group), cut })
    }
}

/// Applies one entry, and collects the answers to its requests.
fn apply(
    group: usize,
    replica: &mut Replica,
    watch: &mut Watch,
    committed: &Committed,
    answers: &mut Vec<(u64, (u64, u64), u64)>,
) {
    watch.applies(group, &replica.machine, committed);
    replica.machine.applied = committed.index;
    if let Some(batch) = entry::decode(&committed.data) {
        watch.time(group, replica.machine.time_us, batch.time_us);
        replica.machine.pass(batch.time_us);
        let mut tickets = committed.tickets.iter();
        for request in batch.requests {
            let value = replica.machine.apply(request);
            let entry = (committed.index, committed.term);
            answers.extend(tickets.next().map(|&ticket| (ticket, entry, value)));
        }
    }
    watch.has_state(group, &replica.machine);
}
