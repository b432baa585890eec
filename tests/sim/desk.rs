//! Requests on a node: the real lanes (`driver::lanes`), and what the driver does around them.
//!
//! ```text
//!   client -> worker --lease holds--> answered at once (reads)
//!                `--> inbox -> Lanes -> core, or another node's Lanes -> replies
//! ```
//!
//! What is looked at here and at the end: a request takes effect at most once (C18), never if it
//! was refused with proof (C19), and behind what its connection had asked before (C17).

use super::clients::MANAGER;
use super::machine::decode;
use super::net::NODES;
use super::node::id_of_node;
use super::queue::Event;
use super::world::{DATA_GROUPS, MS, World, id_of};
use dse::cluster::core::NodeInput;
use dse::cluster::core::fate::Fate;
use dse::cluster::core::group::Request;
use dse::cluster::core::message::{GroupId, META, NodeId};
use dse::cluster::core::reads::ReadMode;
use dse::cluster::wire::frame::Stream;
use dse::cluster::wire::message::{End, Message, Replies, Requests};
use dse::commands::cluster::{GroupCell, Submission};
use dse::driver::lanes::{Lanes, Leader, Wish};
use dse::driver::lease_of;
use std::collections::{HashMap, VecDeque};

/// What a node has of requests.
pub struct Desk {
    pub lanes: Lanes,
    /// Of each data group, what workers know of it.
    pub cells: Vec<GroupCell>,
    /// Submissions that the driver has not looked at.
    inbox: Vec<Submission>,
    /// The request of each write that was proposed, by the ticket of the lanes.
    proposed: HashMap<u64, u64>,
}

impl Desk {
    /// `life` is drawn by chance.
    pub fn new(life: u64) -> Desk {
        let cells = (0..DATA_GROUPS).map(|_| GroupCell::default()).collect();
        Desk { lanes: Lanes::new(life), cells, inbox: Vec::new(), proposed: HashMap::new() }
    }
}

/// The node of this id.
fn place_of_node(id: NodeId) -> Option<usize> {
    (0..NODES).find(|&at| id_of_node(at) == id)
}

/// A reply that tells a number.
pub fn reply(value: u64) -> Vec<u8> {
    format!(":{value}\r\n").into_bytes()
}

impl World {
    /// What a node believes of the leaders of groups.
    fn leaders(&self, node: usize) -> [Leader; DATA_GROUPS] {
        std::array::from_fn(|group| match self.nodes[node].desk.cells[group].leader() {
            0 => Leader::Unknown,
            id if id == id_of_node(node) => Leader::Here,
            id => match place_of_node(id).filter(|&other| self.links.is_up(node, other)) {
                Some(_) => Leader::There(id),
                None => Leader::Unknown,
            },
        })
    }

    /// Lets a node's lanes do something, and does what they wish.
    fn at_desk(&mut self, node: usize, work: impl FnOnce(&mut Lanes, u64, &dyn Fn(u16) -> Leader)) {
        if !self.nodes[node].is_up() {
            return;
        }
        let (now_us, leaders) = (self.nodes[node].clock.at(self.now), self.leaders(node));
        let leader = |group: u16| leaders[usize::from(group)];
        work(&mut self.nodes[node].desk.lanes, now_us, &leader);
        self.settle(node, VecDeque::new());
    }

    /// A connection hands in what its worker cannot answer.
    pub fn submit(&mut self, node: usize, submission: Submission) {
        let life = self.nodes[node].life;
        let inbox = &mut self.nodes[node].desk.inbox;
        inbox.push(submission);
        if inbox.len() == 1 {
            let delay = self.rng.below(2 * MS);
            self.after(delay, Event::Flush { node, life });
        }
    }

    /// The driver takes what was handed in: requests that came together share an entry.
    pub fn take_requests(&mut self, node: usize) {
        let inbox = std::mem::take(&mut self.nodes[node].desk.inbox);
        self.at_desk(node, |lanes, now_us, leader| {
            inbox.into_iter().for_each(|one| lanes.submit(now_us, one, &leader));
        });
    }

    pub fn requests(&mut self, from: usize, to: usize, requests: Requests) {
        self.count("requests forwarded");
        let from = id_of_node(from);
        self.at_desk(to, |lanes, now_us, leader| lanes.receive(now_us, from, requests, &leader));
    }

    pub fn replies(&mut self, from: usize, to: usize, replies: Replies) {
        let from = id_of_node(from);
        self.at_desk(to, |lanes, now_us, _| lanes.replied(now_us, from, replies));
    }

    pub fn tick_lanes(&mut self, node: usize) {
        self.at_desk(node, |lanes, now_us, leader| lanes.tick(now_us, &leader));
    }

    /// There is a connection to another node.
    pub fn meet(&mut self, node: usize, other: usize) {
        self.drive(node, NodeInput::PeerUp(id_of_node(other)));
        self.at_desk(node, |lanes, now_us, leader| lanes.retry(now_us, None, &leader));
    }

    /// The connection to another node is gone.
    pub fn lose(&mut self, node: usize, other: usize) {
        let other = id_of_node(other);
        self.drive(node, NodeInput::PeerDown(other));
        self.at_desk(node, |lanes, now_us, _| lanes.lost(now_us, other));
    }

    /// Another node leads a group, as far as this one knows.
    pub fn lead(&mut self, node: usize, group: GroupId, leader: NodeId) {
        if group == META {
            return;
        }
        self.nodes[node].desk.cells[usize::from(group)].set_leader(leader);
        let (now_us, leaders) = (self.nodes[node].clock.at(self.now), self.leaders(node));
        let lanes = &mut self.nodes[node].desk.lanes;
        lanes.retry(now_us, Some(group), &|group: u16| leaders[usize::from(group)]);
    }

    /// Does what the lanes of a node want done; false if they want nothing.
    pub fn fulfil(&mut self, node: usize, inputs: &mut VecDeque<NodeInput>) -> bool {
        let (now_us, leaders) = (self.nodes[node].clock.at(self.now), self.leaders(node));
        let lanes = &mut self.nodes[node].desk.lanes;
        lanes.look_again(now_us, &|group: u16| leaders[usize::from(group)]);
        let wishes = lanes.take_wishes();
        let is_any = !wishes.is_empty();
        let mut writes: [Vec<Request>; DATA_GROUPS] = Default::default();
        for wish in wishes {
            match wish {
                Wish::Write(group, ticket, bytes) => {
                    self.nodes[node].desk.proposed.insert(ticket, decode(&bytes).2);
                    let request = Request { ticket, bytes: bytes.to_vec() };
                    writes[usize::from(group)].push(request);
                }
                Wish::Read(group, ticket) => {
                    let mode = match self.rng.below(4) {
                        0 => ReadMode::Strict,
                        _ => ReadMode::Linearizable,
                    };
                    inputs.push_back(NodeInput::Read { group, ticket, mode });
                }
                Wish::Send(to, requests) => self.send_requests(node, to, requests),
                Wish::Reply(to, replies) => {
                    if let Some(to) = place_of_node(to) {
                        self.push(node, to, &Message::Replies(replies), Stream::Urgent);
                    }
                }
                Wish::Answer(conn, bytes, _) => self.connection_is_told(conn, &bytes),
            }
        }
        for (group, requests) in writes.into_iter().enumerate().filter(|(_, some)| !some.is_empty())
        {
            inputs.push_back(NodeInput::Propose { group: id_of(group), requests });
        }
        is_any
    }

    fn send_requests(&mut self, node: usize, to: NodeId, requests: Requests) {
        let id = requests.id;
        let to = place_of_node(to);
        // Now and then there is no room in the queue of the connection.
        let has_room = self.rng.below(50) > 0;
        let message = Message::Requests(requests);
        if !to.is_some_and(|to| has_room && self.push(node, to, &message, Stream::Urgent)) {
            let now_us = self.nodes[node].clock.at(self.now);
            self.nodes[node].desk.lanes.not_sent(now_us, id);
        }
    }

    /// Reads may be answered from what is applied now.
    pub fn answer_reads(&mut self, node: usize, tickets: Vec<u64>) {
        let state = &mut self.nodes[node];
        let now_us = state.clock.at(self.now);
        let replicas = &state.replicas;
        for ticket in tickets {
            state.desk.lanes.answer(now_us, ticket, &mut |group, bytes, _| {
                let machine = replicas[usize::from(group)].as_ref().map(|replica| &replica.machine);
                machine.map_or_else(Vec::new, |machine| reply(machine.read(bytes)))
            });
        }
    }

    /// Requests have come to an end in their group.
    pub fn end_requests(&mut self, node: usize, fate: Fate, tickets: Vec<u64>) {
        let now_us = self.nodes[node].clock.at(self.now);
        let end = if fate == Fate::Uncertain { End::Uncertain } else { End::Refused };
        for ticket in tickets {
            self.count(match fate {
                Fate::Refused => "request refused",
                Fate::NotApplied => "request proven not applied",
                Fate::Uncertain => "request uncertain after a snapshot",
            });
            let request = self.nodes[node].desk.proposed.remove(&ticket);
            let is_applied = request.is_some_and(|request| self.watch.is_applied(request));
            if is_applied && end == End::Refused {
                self.watch.note(format!("{request:?} is proven not applied ({fate:?}), and was"));
            }
            self.nodes[node].desk.lanes.failed(now_us, ticket, end.clone());
        }
    }

    /// Lets workers answer reads alone where that is allowed. The driver looks at the groups only
    /// of which the core says that they were touched: the others must be as they were.
    pub fn publish_leases(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let Some(core) = &mut state.core else { return };
        let touched: Vec<GroupId> = core.take_touched().collect();
        for group in 0..DATA_GROUPS {
            let state = &self.nodes[node];
            let applied =
                state.replicas[group].as_ref().map_or(0, |replica| replica.machine.applied);
            let lease_us = lease_of(state.group(group), applied);
            let cell = &state.desk.cells[group];
            if touched.contains(&id_of(group)) {
                cell.set_lease(lease_us);
            } else if cell.may_read(lease_us) || lease_us > 0 && !cell.may_read(lease_us - 1) {
                self.watch.note(format!("node {node}: the lease of group {group} changed untold"));
            }
        }
    }

    /// Whether a worker of a node may answer a read alone now.
    pub fn may_read(&self, node: usize, group: usize) -> bool {
        let state = &self.nodes[node];
        state.replicas[group].is_some()
            && state.desk.cells[group].may_read(state.clock.at(self.now))
    }

    /// Nothing that was refused with proof was applied, and the order of connections was kept.
    pub fn expect_order(&mut self) {
        for group in 0..DATA_GROUPS {
            let applied = self.watch.requests(group).to_vec();
            // By connection, the last request that was applied.
            let mut newest = HashMap::new();
            for ticket in applied {
                let op = &self.clients.ops[ticket as usize];
                if op.end == super::history::End::NotApplied {
                    self.watch
                        .note(format!("request {ticket} was refused with proof, and applied"));
                }
                let is_answered = matches!(op.end, super::history::End::Answered { .. });
                let newest = newest.entry(op.conn).or_insert(ticket);
                if ticket < *newest && is_answered && op.conn.0 != MANAGER {
                    let other = *newest;
                    self.watch.note(format!("request {ticket} was applied behind {other}"));
                }
                *newest = ticket.max(*newest);
            }
        }
    }
}
