//! Messages as no node sends them, made from such as one did.

use dse::cluster::core::message::{Control, NodeId, PeerMessage};
use dse::cluster::core::table::{Command, Table};
use dse::cluster::core::{ConfState, Entry, EntryType, Message, MessageType, Node};
use dse::cluster::wire::message::Message as OnTheWire;
use dse::util::rng::SplitMix64;

/// Makes messages for one node.
pub struct Forge<'a> {
    pub rng: &'a mut SplitMix64,
    pub target: &'a Node,
}

impl Forge<'_> {
    /// A message like `sent`, in the name of the node `from`; `None` if the wire refuses it.
    pub fn forge(&mut self, sent: &PeerMessage, from: NodeId) -> Option<PeerMessage> {
        let mut message = match sent.clone() {
            PeerMessage::Raft { group, mut message } => {
                let runs = self.target.group(group);
                message.to = runs.map_or(message.to, |group| group.id());
                let table = self.target.table();
                let home = table.and_then(|table| table.replica_on(group, from));
                message.from = home.unwrap_or(message.from);
                if let Some(runs) = runs.filter(|_| self.rng.below(4) > 0) {
                    message.term = runs.role().term;
                }
                for _ in 0..self.rng.below(4) {
                    self.change(&mut message);
                }
                OnTheWire::Raft { group, message }
            }
            PeerMessage::Control(bytes) => OnTheWire::Control(self.control(bytes)),
        }
        .encode();
        if self.rng.below(4) == 0 {
            self.damage(&mut message);
        }
        match OnTheWire::decode(&message).ok()? {
            OnTheWire::Raft { group, message } => Some(PeerMessage::Raft { group, message }),
            OnTheWire::Control(bytes) => Some(PeerMessage::Control(bytes)),
            _ => None,
        }
    }

    /// A number that is near `value`, near nothing, or far from all.
    fn number(&mut self, value: u64) -> u64 {
        let near = self.rng.below(5);
        match self.rng.below(8) {
            0 => 0,
            1 => near,
            2 => value.saturating_sub(near),
            3 => 1 << 60,
            4 => (1 << 60) - near,
            5 => self.rng.next_u64() >> (4 + self.rng.below(60)),
            _ => value.saturating_add(near),
        }
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.rng.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.rng.below(bytes.len() as u64) as usize;
            match self.rng.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.rng.next_u64() as u8),
                _ => bytes[at] ^= 1 << self.rng.below(8),
            }
        }
    }

    fn change(&mut self, message: &mut Message) {
        let fields: [&mut u64; 9] = [
            &mut message.term,
            &mut message.log_term,
            &mut message.index,
            &mut message.commit,
            &mut message.commit_term,
            &mut message.reject_hint,
            &mut message.request_snapshot,
            &mut message.from,
            &mut message.deprecated_priority,
        ];
        match self.rng.below(18) {
            field @ 0..9 => {
                let field = &mut *fields.into_iter().nth(field as usize).unwrap();
                *field = self.number(*field);
            }
            9 => message.reject = !message.reject,
            10 => message.context = vec![7; self.rng.below(20) as usize].into(),
            11 => message.context = b"CampaignTransfer".to_vec().into(),
            12..14 => {
                let kinds = [
                    MessageType::MsgAppend,
                    MessageType::MsgAppendResponse,
                    MessageType::MsgHeartbeat,
                    MessageType::MsgHeartbeatResponse,
                    MessageType::MsgRequestVote,
                    MessageType::MsgRequestVoteResponse,
                    MessageType::MsgRequestPreVote,
                    MessageType::MsgRequestPreVoteResponse,
                    MessageType::MsgTimeoutNow,
                    MessageType::MsgSnapshot,
                    MessageType::MsgPropose,
                    MessageType::MsgReadIndexResp,
                    MessageType::MsgHup,
                ];
                message.set_msg_type(kinds[self.rng.below(13) as usize]);
            }
            14 => self.entries(message),
            15 => self.snapshot(message),
            _ => self.next_entries(message),
        }
    }

    fn entries(&mut self, message: &mut Message) {
        let mut entries: Vec<Entry> = message.take_entries().into();
        for entry in &mut entries {
            match self.rng.below(6) {
                0 => entry.index = self.number(entry.index),
                1 => entry.term = self.number(entry.term),
                2 => entry.set_entry_type(EntryType::EntryConfChange),
                3 => self.make_change(entry),
                _ => {
                    let mut data = entry.data.to_vec();
                    self.damage(&mut data);
                    entry.data = data.into();
                }
            }
        }
        message.set_entries(entries.into());
    }

    /// Entries that fit at the end of the target's log, if the message names a group that it has.
    fn next_entries(&mut self, message: &mut Message) {
        let to = message.to;
        let Some((_, group)) = self.target.groups().find(|(_, group)| group.id() == to) else {
            return;
        };
        message.set_msg_type(MessageType::MsgAppend);
        let last = group.log().last();
        let before = last.saturating_sub(self.rng.below(3));
        let Some(term) = group.log().term_at(before) else { return };
        message.term = group.role().term;
        (message.index, message.log_term) = (before, term);
        message.commit = self.number(last);
        let entries = (1..=self.rng.below(4)).map(|at| {
            let mut entry = Entry { index: before + at, term: message.term, ..Entry::default() };
            if self.rng.below(2) == 0 {
                self.make_change(&mut entry);
            }
            entry
        });
        message.set_entries(entries.collect::<Vec<_>>().into());
    }

    /// A change of the configuration, of which few make sense.
    fn make_change(&mut self, entry: &mut Entry) {
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let changes = self.rng.below(3);
        let mut data = Vec::new();
        if changes > 1 {
            data.extend([1 << 3, self.rng.below(3) as u8]);
        }
        for _ in 0..changes {
            let (kind, id) = (self.rng.below(3) as u8, self.rng.below(12) as u8);
            data.extend([2 << 3 | 2, 4, 1 << 3, kind, 2 << 3, id]);
        }
        if self.rng.below(8) == 0 {
            self.damage(&mut data);
        }
        entry.data = data.into();
    }

    fn snapshot(&mut self, message: &mut Message) {
        message.set_msg_type(MessageType::MsgSnapshot);
        let (index, term) = (self.number(message.index), self.number(message.log_term));
        let mut list = || (0..self.rng.below(4)).map(|_| self.rng.below(12)).collect();
        let mut conf = ConfState::from((list(), list()));
        (conf.voters_outgoing, conf.learners_next) = (list(), list());
        if self.rng.below(2) == 0 {
            (conf.voters_outgoing, conf.learners_next) = (Vec::new(), Vec::new());
            conf.voters.push(message.to);
        }
        let meta = message.mut_snapshot().mut_metadata();
        (meta.index, meta.term) = (index, term);
        meta.set_conf_state(conf);
        let size = 8 * self.rng.below(3) as usize;
        message.mut_snapshot().data = vec![0; size].into();
    }

    fn control(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        match Control::decode(&bytes) {
            Some(Control::Table(mut table)) if self.rng.below(3) > 0 => {
                self.change_table(&mut table);
                Control::Table(table).encode()
            }
            Some(Control::Found(mut table)) if self.rng.below(3) > 0 => {
                self.change_table(&mut table);
                Control::Found(table).encode()
            }
            Some(Control::Hello(_)) if self.rng.below(2) > 0 => self.claim(),
            _ => {
                if self.rng.below(2) == 0 {
                    self.damage(&mut bytes);
                }
                bytes
            }
        }
    }

    /// A table, or a command, that the target did not ask for.
    fn claim(&mut self) -> Vec<u8> {
        let Some(table) = self.target.table() else { return Vec::new() };
        let mut table = (**table).clone();
        let node = *table.nodes.keys().nth(self.rng.below(3) as usize).unwrap();
        match self.rng.below(4) {
            0 => {
                let command = Command::Rejoined(node, self.rng.next_u64(), Default::default());
                Control::Command(command.encode()).encode()
            }
            1 => {
                let command = Command::Settled(self.rng.below(70) as u16, vec![1, 2, 3]);
                Control::Command(command.encode()).encode()
            }
            _ => {
                table.version += self.rng.below(3);
                self.change_table(&mut table);
                Control::Table(table).encode()
            }
        }
    }

    fn change_table(&mut self, table: &mut Table) {
        for _ in 0..self.rng.below(3) {
            let group = *table.groups.keys().nth(self.rng.below(3) as usize).unwrap();
            let next = table.next_replica;
            let Some(placed) = table.groups.get_mut(&group) else { return };
            match self.rng.below(9) {
                0 => placed.replicas[0].replica = next.saturating_sub(self.rng.below(3)),
                1 => placed.replicas.truncate(self.rng.below(3) as usize),
                2 => {
                    let home = placed.replicas[0];
                    placed.leaving.push(home);
                }
                3 => table.next_replica = self.number(next),
                4 => table.first_later = self.number(table.first_later),
                5 => table.version = self.number(table.version),
                6 => drop(table.groups.remove(&group)),
                7 => {
                    let placed = placed.clone();
                    table.groups.insert(self.rng.below(80) as u16, placed);
                }
                _ => {
                    table.next_replica = next + 1;
                    placed.replicas[0].replica = next;
                }
            }
            if table.groups.len() < 3 || placed_is_empty(table) {
                return;
            }
        }
    }
}

fn placed_is_empty(table: &Table) -> bool {
    table.groups.values().any(|placed| placed.replicas.is_empty())
}
