//! What is kept in order while a node runs: replicas as the table has them, leaders in balance,
//! the log short.

use super::super::birth::Refusal;
use super::super::group::{Input, Request};
use super::super::log::{Birth, Stored, whole};
use super::super::message::{Control, GroupId, META, NodeId};
use super::super::table::{Command, Table};
use super::birth::tell;
use super::{Event, Node, NodeOutput, Reason};
use crate::limits::{NODE_BALANCE_AFTER_US, NODE_BALANCE_GROUPS, NODE_MANAGE_US, NODE_TRANSFER_US};
use raft::StateRole;
use std::sync::Arc;

impl Node {
    /// True if this node can lead groups.
    pub(super) fn is_fit(&self) -> bool {
        self.is_quick && !self.ends
    }

    /// Takes a newer table in, and has the replicas here follow it.
    pub(super) fn learn(&mut self, now_us: u64, table: Table, out: &mut Vec<NodeOutput>) {
        let is_later = |known: &Arc<Table>| known.version < table.version && table.follows(known);
        if !self.table.as_ref().is_none_or(is_later) || !self.may_begin(&table) {
            return;
        }
        self.set_birth(Birth::Member(table.clone()));
        self.know(table, out);
        self.follow_table(now_us, out);
    }

    /// Knows a table from now on.
    pub(super) fn know(&mut self, table: Table, out: &mut Vec<NodeOutput>) {
        self.homes.clear();
        for (&group, placed) in &table.groups {
            let homes = placed.replicas.iter().chain(&placed.leaving);
            self.homes.extend(homes.map(|home| (home.replica, (group, home.node))));
        }
        let table = Arc::new(table);
        self.table = Some(table.clone());
        out.push(NodeOutput::Table(table));
    }

    /// True if the replicas that a table gives to this node and that do not run here are such as
    /// may begin with nothing: those that were born with the cluster had everything already.
    pub(super) fn may_begin(&self, table: &Table) -> bool {
        let is_here = |group: &GroupId, replica| {
            self.replicas.get(group).is_some_and(|here| here.core.id() == replica)
        };
        let is_retired = table.nodes.get(&self.id).map(|m| m.disk) != Some(self.identity.disk);
        is_retired
            || table.groups.keys().all(|group| {
                let wanted = table.replica_on(*group, self.id);
                wanted.is_none_or(|id| is_here(group, id) || id >= table.first_later)
            })
    }

    /// Ends replicas that the table gives to others, and begins those that it gives to this node:
    /// empty, for nothing but a birth makes a replica that has something.
    pub(super) fn follow_table(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        let Some(table) = self.table.clone() else { return };
        let own_disk = table.nodes.get(&self.id).map(|member| member.disk);
        let is_retired = own_disk != Some(self.identity.disk);
        if is_retired {
            self.refuse_once(Refusal::Retired, out);
        }
        for &group in table.groups.keys() {
            let wanted = table.replica_on(group, self.id).filter(|_| !is_retired);
            let has = self.replicas.get(&group).map(|replica| replica.core.id());
            if has != wanted {
                has.into_iter().for_each(|replica| self.end(group, replica, out));
                wanted
                    .into_iter()
                    .for_each(|replica| self.begin_empty(now_us, group, replica, out));
            }
        }
    }

    fn end(&mut self, group: GroupId, replica: u64, out: &mut Vec<NodeOutput>) {
        self.log.record.removed(group, replica);
        self.log.tokens.retain(|(of, _)| *of != group);
        self.removed.insert((group, replica));
        self.replicas.remove(&group);
        self.touched.insert(group);
        if group == META {
            self.meta = None;
        } else {
            out.push(NodeOutput::End { group });
        }
    }

    fn begin_empty(
        &mut self,
        now_us: u64,
        group: GroupId,
        replica: u64,
        out: &mut Vec<NodeOutput>,
    ) {
        if self.removed.contains(&(group, replica)) {
            return;
        }
        let stored = Stored { replica, ..Stored::default() };
        self.log.record.group(group, replica, &whole(&stored));
        self.begin(now_us, group, stored, out).expect("nothing fits itself");
    }

    /// The replicas of a group, the one that should lead first.
    pub(super) fn order(&self, group: GroupId) -> Vec<u64> {
        let placed = self.table.as_ref().and_then(|table| table.groups.get(&group));
        let Some(placed) = placed else { return Vec::new() };
        let mut homes = placed.replicas.clone();
        if let Some(at) = homes.iter().position(|home| home.node == placed.leader) {
            homes[..=at].rotate_right(1);
        }
        homes.into_iter().map(|home| home.replica).collect()
    }

    /// Looks now and then at what is to be put in order.
    pub(super) fn manage(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        let Some(table) = self.table.clone().filter(|_| now_us >= self.manage_us) else { return };
        self.manage_us = now_us + NODE_MANAGE_US;
        self.tell_address(now_us, &table, out);
        for (&group, placed) in &table.groups {
            let wanted: Vec<u64> = placed.replicas.iter().map(|home| home.replica).collect();
            let Some(core) = self.group(group).filter(|core| core.leads()) else { continue };
            if !core.is_settled(&wanted) {
                self.of_group(now_us, group, Input::Reconcile(wanted), out);
            } else if !placed.leaving.is_empty() {
                let gone = placed.leaving.iter().map(|home| home.replica).collect();
                self.send_command(now_us, Command::Settled(group, gone), out);
            }
        }
        self.ask_again(now_us, out);
        if self.is_fit() {
            self.balance(now_us, &table, out);
        } else {
            self.hand_over(now_us, out);
        }
    }

    fn tell_address(&mut self, now_us: u64, table: &Table, out: &mut Vec<NodeOutput>) {
        let own = self.config.listed.iter().find(|(name, _)| *name == self.config.name);
        let Some((own, member)) = own.zip(table.nodes.get(&self.id)) else { return };
        if member.addresses != own.1 && member.disk == self.identity.disk {
            let command = Command::Moved(self.id, own.1.clone());
            self.send_command(now_us, command, out);
        }
    }

    /// Proposes a command if the meta group is led here, or asks who leads it to. It may be lost:
    /// it is sent until the table shows it.
    fn send_command(&mut self, now_us: u64, command: Command, out: &mut Vec<NodeOutput>) {
        if self.group(META).is_some_and(|core| core.leads()) {
            return self.propose_command(now_us, &command, out);
        }
        let leader = self.group(META).map(|core| core.role().leader);
        let leader = leader.and_then(|replica| self.homes.get(&replica)).map(|(_, node)| *node);
        let table = self.table.as_ref().and_then(|table| table.groups.get(&META));
        let all = table.into_iter().flat_map(|placed| &placed.replicas).map(|home| home.node);
        let to: Vec<NodeId> = leader.map_or_else(|| all.collect(), |leader| vec![leader]);
        let control = Control::Command(command.encode());
        to.into_iter().filter(|&to| to != self.id).for_each(|to| tell(to, &control, out));
    }

    /// Proposes a command that the table does not show yet, if the meta group is led here.
    pub(super) fn propose_command(
        &mut self,
        now_us: u64,
        command: &Command,
        out: &mut Vec<NodeOutput>,
    ) {
        let is_news = self.table.as_ref().is_some_and(|table| (**table).clone().apply(command));
        let leads = self.group(META).is_some_and(|core| core.leads());
        if is_news && leads {
            let request = Request { ticket: 0, bytes: command.encode() };
            self.of_group(now_us, META, Input::Propose(vec![request]), out);
        }
    }

    /// Hands groups to the nodes that the table wants to lead them, a few at a time.
    fn balance(&mut self, now_us: u64, table: &Table, out: &mut Vec<NodeOutput>) {
        if self.keeps_all(now_us) {
            return;
        }
        let mut left = NODE_BALANCE_GROUPS;
        for (&group, placed) in &table.groups {
            let to = placed.leader;
            if left == 0 || to == self.id || !self.may_lead_again(now_us, to) {
                continue;
            }
            let follows = |replica| self.group(group).is_some_and(|c| c.is_followed_by(replica));
            let replica = table.replica_on(group, to).filter(|&replica| follows(replica));
            if let Some(replica) = replica.filter(|_| self.may_hand_over(now_us, group)) {
                left -= 1;
                self.give(now_us, group, replica, Reason::Balance, out);
            }
        }
    }

    /// True if a node has been there for a while, and can lead.
    fn may_lead_again(&self, now_us: u64, node: NodeId) -> bool {
        let since_us = self.council.since_us(now_us, node);
        let is_steady = since_us.is_some_and(|since_us| now_us >= since_us + NODE_BALANCE_AFTER_US);
        is_steady && self.council.of(now_us, node).is_some_and(|hello| hello.fit)
    }

    pub(super) fn may_hand_over(&self, now_us: u64, group: GroupId) -> bool {
        let handed_us = self.replicas.get(&group).map_or(0, |replica| replica.handed_us);
        handed_us == 0 || now_us >= handed_us + NODE_TRANSFER_US
    }

    /// Whether this node is fit to lead may be different now: all are told before anything else, or
    /// they would give back at once what is handed to them.
    pub(super) fn tell_fitness(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        self.say_hello_to_all(out);
        self.hand_over(now_us, out);
    }

    /// Hands over everything that is led here, if this node is not fit to lead.
    pub(super) fn hand_over(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        if self.is_fit() {
            return;
        }
        let groups: Vec<GroupId> = self.replicas.keys().copied().collect();
        for group in groups {
            let to = self.group(group).and_then(|core| core.successor());
            if let Some(to) = to.filter(|_| self.may_hand_over(now_us, group)) {
                let why = if self.ends { Reason::Ends } else { Reason::SlowDisk };
                self.give(now_us, group, to, why, out);
            }
        }
    }

    pub(super) fn transfer(
        &mut self,
        now_us: u64,
        group: GroupId,
        to: NodeId,
        out: &mut Vec<NodeOutput>,
    ) {
        let replica = self.table.as_ref().and_then(|table| table.replica_on(group, to));
        if let Some(replica) = replica {
            self.give(now_us, group, replica, Reason::Told, out);
        }
    }

    pub(super) fn give(
        &mut self,
        now_us: u64,
        group: GroupId,
        to: u64,
        why: Reason,
        out: &mut Vec<NodeOutput>,
    ) {
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        if replica.core.role().role != StateRole::Leader {
            return;
        }
        replica.handed_us = now_us;
        if let Some(&(_, to)) = self.homes.get(&to) {
            out.push(NodeOutput::Event(Event::HandsOver { group, to, why }));
        }
        self.of_group(now_us, group, Input::Transfer(to), out);
    }
}
