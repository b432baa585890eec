//! A node's birth, and what nodes tell each other of themselves.

use super::super::birth::{Refusal, Verdict, is_acceptable};
use super::super::group::birth;
use super::super::log::{Birth, Stored, whole};
use super::super::message::{Control, Hello, META, NodeId, PeerMessage, Stage, node_id};
use super::super::table::{Command, Member, Table};
use super::{Event, Node, NodeOutput, stage_of};
use crate::limits::{NODE_HELLO_BIRTH_US, NODE_HELLO_US};
use std::collections::BTreeSet;

impl Node {
    /// What this node says of itself; nothing before it is durable who it is.
    fn hello(&self) -> Option<Hello> {
        let stage = self.stage?;
        let mut listed: Vec<String> =
            self.config.listed.iter().map(|(name, _)| name.clone()).collect();
        listed.sort();
        let own = self.config.listed.iter().find(|(name, _)| *name == self.config.name);
        Some(Hello {
            name: self.config.name.clone(),
            disk: self.identity.disk,
            addresses: own.map(|(_, addresses)| addresses.clone()).unwrap_or_default(),
            listed,
            stage,
            fit: self.is_fit(),
        })
    }

    pub(super) fn say_hello(&self, to: NodeId, out: &mut Vec<NodeOutput>) {
        if let Some(hello) = self.hello() {
            tell(to, &Control::Hello(hello), out);
        }
    }

    pub(super) fn say_hello_to_all(&self, out: &mut Vec<NodeOutput>) {
        let Some(hello) = self.hello() else { return };
        let bytes = Control::Hello(hello).encode();
        for to in self.others() {
            out.push(NodeOutput::Send { to, message: PeerMessage::Control(bytes.clone()) });
        }
    }

    /// All other nodes that are known, from the command line or the table.
    fn others(&self) -> BTreeSet<NodeId> {
        let listed = self.config.listed.iter().map(|(name, _)| node_id(name));
        let known = self.table.iter().flat_map(|table| table.nodes.keys().copied());
        listed.chain(known).filter(|&node| node != self.id).collect()
    }

    /// Goes on with the birth, and says hello now and then.
    pub(super) fn advance_birth(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        let Some(stage) = self.stage.filter(|_| now_us >= self.hello_us) else { return };
        let is_member = matches!(stage, Stage::Member { .. });
        self.hello_us = now_us + if is_member { NODE_HELLO_US } else { NODE_HELLO_BIRTH_US };
        self.say_hello_to_all(out);
        match &self.identity.birth {
            Birth::Unborn | Birth::Lost(_) => self.unborn(now_us, out),
            // What is not durable yet is not said, and nobody is asked to follow.
            Birth::Prepared(_) if stage == Stage::Unborn => {}
            Birth::Prepared(table) => self.prepared(now_us, table.clone(), out),
            Birth::Member(_) => {
                if let Some(refusal) = self.council.two_disks() {
                    self.refuse_once(refusal, out);
                }
            }
        }
    }

    fn unborn(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        let Some(own) = self.hello() else { return };
        match self.council.judge(now_us, &own) {
            Verdict::Wait(silent) => {
                if self.waits_for.as_ref() != Some(&silent) {
                    out.push(NodeOutput::Event(Event::Waits(silent.clone())));
                    self.waits_for = Some(silent);
                }
            }
            Verdict::Refuse(refusal) => self.refuse_once(refusal, out),
            Verdict::Propose => {
                if let Some(table) = self.draw_table(now_us, own) {
                    self.prepare(table);
                }
            }
            Verdict::Expect | Verdict::Join => {}
        }
    }

    fn draw_table(&mut self, now_us: u64, own: Hello) -> Option<Table> {
        let mut hellos = vec![own];
        for node in self.others() {
            hellos.push(self.council.of(now_us, node)?.clone());
        }
        let member = |hello: Hello| Member {
            name: hello.name,
            disk: hello.disk,
            addresses: hello.addresses,
        };
        let members = hellos.into_iter().map(member).collect();
        let random = [0; 2].map(|_| self.random.next_u64());
        Table::founding(members, self.config.data_groups, random, self.config.wall_us).ok()
    }

    /// Agrees to a founding table. Said to others once it is durable.
    fn prepare(&mut self, table: Table) {
        self.set_birth(Birth::Prepared(table));
    }

    fn prepared(&mut self, now_us: u64, table: Table, out: &mut Vec<NodeOutput>) {
        if self.council.allows_birth(self.id, &table) {
            return self.born(now_us, table, out);
        }
        if let Some(refusal) = self.council.lost_in_birth(self.id, &table) {
            return self.refuse_once(refusal, out);
        }
        let found = Control::Found(table.clone());
        let is_unborn =
            |&node: &NodeId| self.council.of(now_us, node).map(|h| h.stage) == Some(Stage::Unborn);
        self.others().into_iter().filter(is_unborn).for_each(|node| tell(node, &found, out));
    }

    /// The cluster begins to exist here, in one record: who the node is, and all its replicas.
    fn born(&mut self, now_us: u64, table: Table, out: &mut Vec<NodeOutput>) {
        out.push(NodeOutput::Event(Event::Born { cluster: table.cluster }));
        self.set_birth(Birth::Member(table.clone()));
        self.know(table.clone(), out);
        for (&group, placed) in &table.groups {
            let Some(replica) = table.replica_on(group, self.id) else { continue };
            let voters: Vec<u64> = placed.replicas.iter().map(|home| home.replica).collect();
            let state = if group == META { table.encode() } else { Vec::new() };
            let snapshot = birth(&voters, table.born_us, &state);
            let stored = Stored { replica, snapshot, ..Stored::default() };
            self.log.record.group(group, replica, &whole(&stored));
            self.begin(now_us, group, stored, out).expect("a founding table fits");
        }
    }

    /// Changes who the node is, and writes it.
    pub(super) fn set_birth(&mut self, birth: Birth) {
        self.log.stage = Some(stage_of(&birth));
        self.identity.birth = birth;
        self.log.record.node(&self.identity);
    }

    /// A stage of the birth is durable, and may be said.
    pub(super) fn reached(&mut self, stage: Stage, out: &mut Vec<NodeOutput>) {
        let kind = |stage: &Stage| std::mem::discriminant(stage);
        let is_new = self.stage.as_ref().map(kind) != Some(kind(&stage));
        self.stage = Some(stage);
        if is_new {
            // Others wait for it.
            self.hello_us = 0;
            self.say_hello_to_all(out);
        }
    }

    pub(super) fn refuse_once(&mut self, refusal: Refusal, out: &mut Vec<NodeOutput>) {
        if self.refused.as_ref() != Some(&refusal) {
            out.push(NodeOutput::Event(Event::Refused(refusal.clone())));
            self.refused = Some(refusal);
        }
    }

    pub(super) fn control(
        &mut self,
        now_us: u64,
        from: NodeId,
        bytes: &[u8],
        out: &mut Vec<NodeOutput>,
    ) {
        let nonsense = |why| NodeOutput::Nonsense { from, why };
        match Control::decode(bytes) {
            Some(Control::Hello(hello)) if node_id(&hello.name) == from => {
                self.heard(now_us, from, hello, out);
            }
            Some(Control::Hello(_)) => out.push(nonsense("it speaks under another name")),
            Some(Control::Found(table)) => self.asked_to_found(&table, out),
            Some(Control::Table(table)) => self.told_table(now_us, from, table, out),
            Some(Control::Command(bytes)) => match Command::decode(&bytes) {
                Some(command) if !may_ask(from, &command) => {
                    out.push(nonsense("it asks for what is not its own"));
                }
                Some(command) if self.is_vouched_for(from) => {
                    self.propose_command(now_us, &command, out);
                }
                _ => {}
            },
            Some(Control::TakeOver(moment, groups)) => {
                if self.is_vouched_for(from) {
                    self.asked_for(now_us, (moment, from), &groups, out);
                }
            }
            None => out.push(nonsense("a word of a node that cannot be read")),
        }
    }

    fn asked_to_found(&mut self, table: &Table, out: &mut Vec<NodeOutput>) {
        if !self.hello().is_some_and(|own| is_acceptable(&own, table)) {
            return;
        }
        match &self.identity.birth {
            Birth::Unborn => self.prepare(table.clone()),
            Birth::Prepared(known) if known.cluster != table.cluster => {
                // Who drew the first table has lost it.
                let first = table.nodes.values().map(|member| member.name.clone()).min();
                let name = first.unwrap_or_default();
                self.refuse_once(Refusal::LostInBirth { name }, out);
            }
            Birth::Prepared(_) | Birth::Member(_) | Birth::Lost(_) => {}
        }
    }

    /// Whether a node that tells a table is a member, with the disk that this table has for it, or
    /// the one that is known.
    fn may_tell(&self, from: NodeId, table: &Table) -> bool {
        let mut tables = [Some(table), self.table.as_deref()].into_iter().flatten();
        tables.any(|of| {
            let disk = of.nodes.get(&from).map(|member| member.disk);
            disk.is_some_and(|disk| self.council.vouches(from, table.cluster, disk))
        })
    }

    /// A table of a cluster in which this disk counts lets a node in that lost its former one.
    fn told_table(&mut self, now_us: u64, from: NodeId, table: Table, out: &mut Vec<NodeOutput>) {
        if !self.may_tell(from, &table) {
            return;
        }
        let own_disk = table.nodes.get(&self.id).map(|member| member.disk);
        match &self.identity.birth {
            Birth::Unborn | Birth::Lost(_)
                if own_disk == Some(self.identity.disk) && self.may_begin(&table) =>
            {
                out.push(NodeOutput::Event(Event::Joined { cluster: table.cluster }));
                self.set_birth(Birth::Member(table.clone()));
                self.know(table, out);
                self.follow_table(now_us, out);
            }
            Birth::Member(known) if known.cluster == table.cluster => {
                self.learn(now_us, table, out);
            }
            _ => {}
        }
    }

    fn heard(&mut self, now_us: u64, from: NodeId, hello: Hello, out: &mut Vec<NodeOutput>) {
        self.council.hear(now_us, from, hello.clone());
        let Some(table) = self.table.clone() else {
            // Somebody waits for this word.
            self.hello_us = self.hello_us.min(now_us + NODE_HELLO_BIRTH_US / 4);
            if let Stage::Member { cluster, .. } = hello.stage
                && self.identity.birth == Birth::Unborn
                && !hello.listed.contains(&self.config.name)
            {
                let peer = hello.name;
                self.refuse_once(Refusal::OtherCluster { peer, cluster }, out);
            }
            return;
        };
        let member = table.nodes.get(&from);
        let is_known_disk = member.is_some_and(|member| member.disk == hello.disk);
        match hello.stage {
            Stage::Member { cluster, .. } if cluster != table.cluster => {
                let peer = hello.name;
                self.refuse_once(Refusal::OtherCluster { peer, cluster }, out);
            }
            Stage::Member { version, .. } if version >= table.version && is_known_disk => {}
            // One that was retired is told so by the table, too.
            Stage::Member { .. } => tell(from, &Control::Table((*table).clone()), out),
            Stage::Prepared { .. } => {}
            Stage::Lost { cluster } if cluster != 0 && cluster != table.cluster => {
                let peer = hello.name;
                self.refuse_once(Refusal::OtherCluster { peer, cluster }, out);
            }
            Stage::Unborn | Stage::Lost { .. } if is_known_disk => {
                tell(from, &Control::Table((*table).clone()), out);
            }
            Stage::Unborn | Stage::Lost { .. } if member.is_some() => {
                self.asked_to_let_in(now_us, from, hello, out);
            }
            Stage::Unborn | Stage::Lost { .. } => {}
        }
    }

    /// A node that the table knows speaks with an empty disk: its replicas are to be replaced.
    fn asked_to_let_in(
        &mut self,
        now_us: u64,
        from: NodeId,
        hello: Hello,
        out: &mut Vec<NodeOutput>,
    ) {
        // Its former life might still be running: it would be heard meanwhile.
        let is_alone = self.council.two_disks().is_none()
            && self
                .council
                .since_us(now_us, from)
                .is_some_and(|since_us| now_us >= since_us + NODE_HELLO_US + NODE_HELLO_US / 2);
        if is_alone {
            let command = Command::Rejoined(from, hello.disk, hello.addresses);
            self.propose_command(now_us, &command, out);
        }
    }
}

/// Whether a node may ask the leader of the meta group for this: what concerns a node it asks
/// itself, and a lost disk is noticed, not asked for.
fn may_ask(from: NodeId, command: &Command) -> bool {
    match command {
        Command::Moved(node, _) => *node == from,
        Command::Settled(..) => true,
        Command::Rejoined(..) => false,
    }
}

pub(super) fn tell(to: NodeId, control: &Control, out: &mut Vec<NodeOutput>) {
    out.push(NodeOutput::Send { to, message: PeerMessage::Control(control.encode()) });
}
