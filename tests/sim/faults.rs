//! What goes wrong, and what is done about a lost disk.

use super::disk::Disk;
use super::net::NODES;
use super::node::id_of_node;
use super::queue::Event;
use super::world::{GROUPS, HEALED, MS, SECOND, World, id_of};
use dse::cluster::core::NodeInput;
use dse::cluster::core::log::Birth;

/// A node lost its disk, and is to get everything anew.
pub struct Replacing {
    node: usize,
    /// The disk that it lost.
    disk: u64,
}

impl World {
    pub fn fault(&mut self) {
        if self.now >= HEALED {
            return;
        }
        if self.walls.below(4) == 0 {
            let node = self.walls.below(NODES as u64) as usize;
            self.wall_jumps(node);
        }
        let pause = 100 * MS + self.rng.below(900 * MS);
        self.after(pause, Event::Fault);
        let node = self.rng.below(NODES as u64) as usize;
        let other = (node + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
        let until = self.now + 50 * MS + self.rng.below(2 * SECOND);
        match self.rng.below(24) {
            0 if self.nodes[node].is_up() => self.crash(node),
            1 if self.nodes[node].is_up() => self.nodes[node].fuse = Some(1 + self.rng.below(400)),
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
                if self.rng.below(2) == 0 && self.nodes[third].is_up() {
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
                let slow = [20 * MS, 150 * MS, 1500 * MS][self.rng.below(3) as usize];
                self.nodes[node].disk.latency_us = self.rng.below(slow) + 200;
                if slow > SECOND {
                    self.at(until, Event::Mend { node });
                }
            }
            9 => self.stop(node, until),
            10 | 11 => self.transfer(),
            12 if self.nodes[node].is_up() && self.nodes[node].stopped_until <= self.now => {
                self.end_in_peace(node);
            }
            13 | 14 | 22 | 23 => self.leader_is_deaf(),
            15 | 16 => self.follower_forgets(),
            20 | 21 => self.answers_are_late(),
            18 => self.disk_fails(node),
            19 => {
                self.count("disk filled");
                self.nodes[node].disk.platter.fill(true);
                self.at(until + SECOND, Event::Mend { node });
            }
            17 => {
                self.count("connection breaks");
                self.hang_up(node, other);
            }
            _ => {}
        }
    }

    /// A write fails; or all do, for a while.
    fn disk_fails(&mut self, node: usize) {
        self.count("write fails");
        let writes = if self.rng.below(3) == 0 { u32::MAX } else { 1 };
        self.nodes[node].disk.platter.fail(writes);
        let until = self.now + self.rng.below(SECOND);
        self.at(until, Event::Mend { node });
    }

    /// A disk takes everything again, as quickly as ever.
    pub fn mend(&mut self, node: usize) {
        self.nodes[node].disk.platter.fill(false);
        self.nodes[node].disk.platter.fail(0);
        if self.nodes[node].disk.latency_us > 200 * MS {
            self.nodes[node].disk.latency_us = 200;
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
        if !state.is_up() || state.stopped_until > self.now {
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
        let to = self.rng.below(NODES as u64) as usize;
        let Some(node) = self.leader(group) else { return };
        if self.nodes[node].stopped_until <= self.now {
            self.count("transfer");
            self.trace(|| format!("group {group}: node {node} hands over to {to}"));
            let to = id_of_node(to);
            self.drive(node, NodeInput::Transfer { group: id_of(group), to });
        }
    }

    /// A leader is heard and hears nothing: what it proposed may be committed by the next one, and
    /// be under a snapshot when it learns of it.
    fn leader_is_deaf(&mut self) {
        let group = self.rng.below(GROUPS as u64) as usize;
        let Some(leader) = self.leader(group) else { return };
        self.count("leader hears nothing");
        let until = self.now + 600 * MS + self.rng.below(2500 * MS);
        for other in (0..NODES).filter(|&other| other != leader) {
            self.net.cut(other, leader, until);
        }
        // What was sent to it meanwhile would come all the same, and spare it the snapshot.
        self.at(until - 1, Event::Break { node: leader });
    }

    /// All connections of a node break.
    pub fn break_all(&mut self, node: usize) {
        (0..NODES).for_each(|other| self.hang_up(node, other));
    }

    /// What a leader is told takes long; then it is heard no more, while answers to what it asked
    /// before still come.
    fn answers_are_late(&mut self) {
        let group = self.rng.below(GROUPS as u64) as usize;
        let Some(leader) = self.leader(group) else { return };
        self.count("answers to a leader are late");
        let late_us = 250 * MS + self.rng.below(200 * MS);
        let until = self.now + 1500 * MS;
        for other in (0..NODES).filter(|&other| other != leader) {
            self.net.lag(other, leader, until, late_us);
        }
        let silent_at = self.now + self.rng.below(300 * MS);
        self.at(silent_at, Event::Silence { node: leader, until });
    }

    /// A node is not heard until then.
    pub fn silence(&mut self, node: usize, until: u64) {
        if self.now >= HEALED {
            return;
        }
        for other in (0..NODES).filter(|&other| other != node) {
            self.net.cut(node, other, until);
        }
    }

    /// One follower does not hear its leader for a while and wants to lead; then the other one
    /// forgets at a restart whom it has just heard, and only hears the first.
    fn follower_forgets(&mut self) {
        let group = self.rng.below(GROUPS as u64) as usize;
        let Some(leader) = self.leader(group) else { return };
        self.count("follower forgets its leader");
        let wants = (leader + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
        let forgets = NODES - leader - wants;
        let forgets_at = self.now + 550 * MS + self.rng.below(900 * MS);
        self.net.cut(leader, wants, forgets_at + 700 * MS);
        self.net.cut(wants, leader, forgets_at + 700 * MS);
        // One that lacks entries is elected by nobody.
        self.quiet_until = forgets_at + 700 * MS;
        self.at(forgets_at, Event::Forget { leader, node: forgets });
    }

    /// The wall clock of a node is set, to hours before or behind. Other clocks run on.
    fn wall_jumps(&mut self, node: usize) {
        self.count("wall clock jumps");
        let hours = 3600 * SECOND;
        let ahead_us = self.walls.below(20 * hours) as i64 - 10 * hours as i64;
        self.nodes[node].clock.wall_ahead_us = ahead_us;
        self.trace(|| format!("node {node}: its wall clock is {ahead_us} us ahead"));
    }

    /// A node restarts at once, and is cut off from another.
    pub fn forget(&mut self, leader: usize, node: usize) {
        if self.nodes[node].is_up() && self.nodes[node].stopped_until <= self.now {
            self.net.cut(leader, node, self.now + 700 * MS);
            self.net.cut(node, leader, self.now + 700 * MS);
            self.crash(node);
            self.after(MS, Event::Start { node });
        }
    }

    /// A node hands over what it leads, and ends a little later.
    fn end_in_peace(&mut self, node: usize) {
        self.count("planned end");
        self.drive(node, NodeInput::HandOver);
        let life = self.nodes[node].life;
        let delay = self.rng.below(300 * MS);
        self.after(delay, Event::End { node, life });
    }

    /// The number of the disk of a node that is part of the cluster, durably.
    fn disk_of(&self, node: usize) -> Option<u64> {
        let identity = self.nodes[node].disk.durable.identity.as_ref()?;
        matches!(identity.birth, Birth::Member(_)).then_some(identity.disk)
    }

    /// Takes a node's disk away, or turns a bit of it that it had acknowledged; false if the
    /// cluster is not born on all nodes.
    pub fn wipe(&mut self, node: usize) -> bool {
        let is_born = (0..NODES).all(|node| self.disk_of(node).is_some());
        let Some(disk) = self.disk_of(node).filter(|_| is_born) else { return false };
        if self.nodes[node].is_up() {
            self.crash(node);
        }
        let at = self.rng.next_u64();
        if at.is_multiple_of(2) && self.nodes[node].disk.turn_bit(at / 2) {
            self.count("bit turned");
        } else {
            self.nodes[node].disk = Disk::new();
            self.count("disk wiped");
        }
        self.trace(|| format!("node {node} loses its disk"));
        self.replacing = Some(Replacing { node, disk });
        self.after(100 * MS, Event::Manage);
        true
    }

    /// Looks whether the replacement is done.
    pub fn manage(&mut self) {
        let Some(replacing) = &self.replacing else { return };
        let (node, lost) = (replacing.node, replacing.disk);
        let has_another = self.disk_of(node).is_some_and(|disk| disk != lost);
        if has_another && self.nodes[node].is_settled() {
            self.count("replacement finished");
            self.replacing = None;
        } else {
            self.after(40 * MS, Event::Manage);
        }
    }

    /// Everything works from now on. What is on its way over connections that were cut would hold
    /// up what comes behind it.
    pub fn heal(&mut self) {
        self.net.heal();
        for node in 0..NODES {
            (0..NODES).for_each(|other| self.hang_up(node, other));
        }
        for node in &mut self.nodes {
            node.disk.latency_us = 200;
            node.fuse = None;
        }
        (0..NODES).for_each(|node| self.mend(node));
    }
}
