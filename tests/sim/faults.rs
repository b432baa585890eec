//! What goes wrong, and what is done about a lost disk.

use super::clients::COUNTER;
use super::disk::{Disk, Stored};
use super::history::{End, Kind, Op};
use super::net::NODES;
use super::queue::Event;
use super::world::{GROUPS, HEALED, META, MS, SECOND, World, first_id};
use dse::cluster::core::Input;

/// One replica takes another's place.
#[derive(Clone, Copy)]
struct Replacement {
    from: u64,
    to: u64,
}

/// A node lost its disk; its replicas are replaced one after the other.
pub struct Replacing {
    node: usize,
    /// The replicas that were there, by group.
    lost: Vec<u64>,
    /// The replacement of each group that has begun.
    plans: Vec<Option<Replacement>>,
    /// A request to the counter of ids that is under way.
    asked: Option<u64>,
}

impl World {
    pub fn fault(&mut self) {
        if self.now >= HEALED {
            return;
        }
        let pause = 100 * MS + self.rng.below(900 * MS);
        self.after(pause, Event::Fault);
        let node = self.rng.below(NODES as u64) as usize;
        let other = (node + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
        let until = self.now + 50 * MS + self.rng.below(2 * SECOND);
        match self.rng.below(12) {
            0 if self.nodes[node].is_up => self.crash(node),
            1 if self.nodes[node].is_up => self.nodes[node].fuse = Some(1 + self.rng.below(400)),
            2 | 3 => self.cut_off(node, until),
            4 => {
                self.count("one-way cut");
                self.net.cut(node, other, until);
            }
            5 | 6 => {
                self.count("bridge: two nodes see only the third");
                self.net.cut(node, other, until);
                self.net.cut(other, node, until);
                // Where the third forgets whom it heard, the first may come to lead too early.
                let third = NODES - node - other;
                if self.rng.below(2) == 0 && self.nodes[third].is_up {
                    self.nodes[third].fuse = Some(1 + self.rng.below(4000));
                }
            }
            7 => {
                self.count("storm");
                let lost = 20 + self.rng.below(300);
                self.net.storm(until, lost);
            }
            8 => {
                self.count("slow disk");
                let slow = if self.rng.below(2) == 0 { 20 * MS } else { 150 * MS };
                self.nodes[node].disk.latency_us = self.rng.below(slow) + 200;
            }
            9 => self.stop(node, until),
            10 | 11 => self.transfer(),
            _ => {}
        }
    }

    fn cut_off(&mut self, node: usize, until: u64) {
        self.count("node cut off");
        self.trace(|| format!("node {node} is cut off until {until}"));
        for other in (0..NODES).filter(|&other| other != node) {
            self.net.cut(node, other, until);
            self.net.cut(other, node, until);
        }
    }

    fn stop(&mut self, node: usize, until: u64) {
        let state = &mut self.nodes[node];
        if !state.is_up || state.stopped_until > self.now {
            return;
        }
        state.stopped_until = until;
        let life = state.life;
        self.count("node stopped");
        self.trace(|| format!("node {node} is stopped until {until}"));
        // Its timer has run on: all ticks that it missed are there at once.
        let missed = (until - self.now) / (50 * MS);
        (0..missed).for_each(|tick| self.at(until + tick, Event::Late { node, life }));
    }

    fn transfer(&mut self) {
        let group = self.rng.below(GROUPS as u64) as usize;
        let Some(node) = self.leader(group) else { return };
        let members = self.nodes[node].replicas[group].as_ref().map(|r| r.core.members());
        let voters = members.map(|members| members.get_voters().to_vec()).unwrap_or_default();
        if !voters.is_empty() && self.nodes[node].stopped_until <= self.now {
            let to = voters[self.rng.below(voters.len() as u64) as usize];
            self.count("transfer");
            self.trace(|| format!("group {group}: node {node} hands over to {to}"));
            self.drive(node, group, Input::Transfer(to));
        }
    }

    /// Takes a node's disk away: it comes back empty.
    pub fn wipe(&mut self, node: usize) {
        self.count("disk wiped");
        if self.nodes[node].is_up {
            self.crash(node);
        }
        let lost = self.nodes[node].disk.stored.iter().map(|stored| stored.replica).collect();
        self.nodes[node].disk = Disk::new(vec![Stored::default(); GROUPS]);
        self.home.retain(|_, (home, _)| *home != node);
        self.trace(|| format!("node {node} loses its disk"));
        let plans = vec![None; GROUPS];
        self.replacing = Some(Replacing { node, lost, plans, asked: None });
        self.after(100 * MS, Event::Manage);
    }

    /// Goes on with the replacement: one group after the other gets an id from the counter, a
    /// new replica, and the changes that its leader proposes step by step.
    pub fn manage(&mut self) {
        let Some(mut replacing) = self.replacing.take() else { return };
        self.after(40 * MS, Event::Manage);
        self.take_id(&mut replacing);
        let mut is_done = true;
        for group in 0..GROUPS {
            let Some(plan) = replacing.plans[group] else {
                is_done = false;
                continue;
            };
            is_done &= self.replace(replacing.node, group, plan);
        }
        if is_done {
            self.count("replacement finished");
        } else {
            self.replacing = Some(replacing);
        }
    }

    fn take_id(&mut self, replacing: &mut Replacing) {
        let Some(group) = replacing.plans.iter().position(Option::is_none) else { return };
        if !self.nodes[replacing.node].is_up {
            return;
        }
        if let Some(ticket) = replacing.asked {
            match self.clients.ops[ticket as usize].end {
                // A number that nobody was told is never used.
                End::Open if self.clients.ops[ticket as usize].began + SECOND > self.now => return,
                End::Answered { value, .. } => {
                    let plan = Replacement { from: replacing.lost[group], to: 100 + value };
                    self.place(replacing.node, group, plan.to);
                    replacing.plans[group] = Some(plan);
                }
                _ => {}
            }
            replacing.asked = None;
        } else if let Some(leader) = self.leader(META) {
            let kind = Kind::Increment;
            let op = Op { group: META, key: COUNTER, kind, began: self.now, end: End::Open };
            replacing.asked = Some(self.ask(None, leader, op, None));
        }
    }

    /// Puts an empty replica on a node; its id is on the disk before anybody hears of it.
    fn place(&mut self, node: usize, group: usize, id: u64) {
        self.home.insert(id, (node, group));
        self.nodes[node].disk.stored[group].replica = id;
        let now_us = self.nodes[node].clock.at(self.now);
        let state = &mut self.nodes[node];
        let stored = &state.disk.stored[group];
        state.replicas[group] =
            Some(super::node::Replica::start(stored, super::world::order(), now_us));
        self.trace(|| format!("group {group}: replica {id} on node {node}"));
    }

    /// Has the leader do the next step; true if nothing is left to do.
    fn replace(&mut self, node: usize, group: usize, plan: Replacement) -> bool {
        let Some(leader) = self.leader(group) else { return false };
        if self.nodes[leader].stopped_until > self.now {
            return false;
        }
        let others = (0..NODES).filter(|&other| other != node);
        let wanted = others.map(|other| first_id(other, group)).chain([plan.to]).collect();
        self.drive(leader, group, Input::Reconcile(wanted));
        let Some(replica) = &self.nodes[leader].replicas[group] else { return false };
        let conf = replica.core.members();
        let is_in = conf.get_voters().contains(&plan.to) && conf.get_voters_outgoing().is_empty();
        is_in && !conf.get_voters().contains(&plan.from)
    }

    /// Everything works from now on.
    pub fn heal(&mut self) {
        self.net.heal();
        for node in &mut self.nodes {
            node.disk.latency_us = 200;
            node.fuse = None;
        }
    }
}
