//! What must hold at every step, seen from outside all nodes.
//!
//! | invariant | where it is looked at |
//! |---|---|
//! | one leader for a group and term | a replica begins to lead |
//! | a leader has everything that was committed in earlier terms | a replica begins to lead |
//! | log matching: index and term name one entry with one predecessor | a replica writes an entry |
//! | nothing is promised before it is durable | a replica sends a message |
//! | what is committed stays, and is the same everywhere | a replica applies an entry |
//! | equal states at equal indexes | a replica applies or restores |
//! | a request is applied once at most | an entry is applied for the first time |
//! | a process clock neither goes back nor steps | at each tick |
//! | log time does not go back | a replica applies an entry |
//! | a write is durable on a majority before it is answered | a client is answered |
//! | the wire gives back every field | a replica says something |
//! | of a connection comes what was sent, in order, and nothing else | bytes arrive |
//! | while one holds a lease, nobody leads in a later term | after each step |

use super::machine::{Machine, decode, hash_bytes};
use super::net::NODES;
use super::node::name;
use dse::cluster::core::group::Committed;
use dse::cluster::core::log::Stored;
use dse::cluster::core::table::Table;
use dse::cluster::core::{Entry, Group, Message, MessageType, StateRole, entry};
use dse::cluster::wire::message::Message as Wire;
use std::collections::{HashMap, HashSet};

/// What is known of one group.
#[derive(Default)]
struct Known {
    leaders: HashMap<u64, u64>,
    /// The requests that were applied, in order.
    requests: Vec<u64>,
    applied: HashSet<u64>,
    /// When something was written first, and its log time.
    began: Option<(u64, u64)>,
    /// Term and hash of each committed entry, by index from 2 on.
    committed: Vec<(u64, u64)>,
    /// The term in which each entry was first known as committed, and its own, which may be lower.
    committed_in: Vec<(u64, u64)>,
    /// Hash of the state behind each index.
    states: HashMap<u64, u64>,
    /// Hash and term of the predecessor of each entry that was ever written.
    entries: HashMap<(u64, u64), (u64, u64)>,
}

/// All groups, and the first thing that was wrong.
pub struct Watch {
    groups: Vec<Known>,
    /// A hash of each version of the table, and the cluster that there is.
    tables: HashMap<u64, u64>,
    pub cluster: Option<u64>,
    pub wrong: Option<String>,
    /// Real time.
    pub now: u64,
}

impl Watch {
    pub fn new(groups: usize) -> Watch {
        Watch {
            groups: (0..groups).map(|_| Known::default()).collect(),
            tables: HashMap::new(),
            cluster: None,
            wrong: None,
            now: 0,
        }
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// All nodes are honest: what one of them sends is never nonsense to another.
    pub fn honest(&mut self, holds: bool, why: &str) {
        self.expect(holds, || format!("an honest node was not believed: {why}"));
    }

    /// A message was read back from the bytes that were made of it.
    pub fn wire(&mut self, is_same: bool, message: &Wire) {
        self.expect(is_same, || format!("the wire makes another message of {message:?}"));
    }

    pub fn leads(&mut self, group: usize, core: &Group) {
        let (term, id) = (core.role().term, core.id());
        let before = *self.groups[group].leaders.entry(term).or_insert(id);
        self.expect(before == id, || {
            format!("group {group}: {before} and {id} both lead in term {term}")
        });
        // A leader of an older term may be elected late: one in which the entry was not committed.
        let known = &self.groups[group];
        let earlier = known.committed_in.iter().enumerate().rev().find(|(_, (of, _))| *of < term);
        let Some((at, &(_, of))) = earlier else { return };
        let index = at as u64 + 2;
        let log = core.log();
        let has = index < log.first() || log.term_at(index) == Some(of);
        self.expect(has, || {
            format!("group {group}: {id} leads in term {term} without entry {index} of term {of}")
        });
    }

    /// `before` is index and term of what stands in front of the entries, if that is known.
    pub fn writes(&mut self, group: usize, entries: &[Entry], mut before: Option<(u64, u64)>) {
        for entry in entries {
            if let Some(time_us) = entry::time_of(&entry.data) {
                self.groups[group].began.get_or_insert((self.now, time_us));
            }
            let place = (entry.index, entry.term);
            let Some((_, before)) = before.replace(place) else { continue };
            let seen = (hash_bytes(&entry.data), before);
            let key = (entry.index, entry.term);
            let known = *self.groups[group].entries.entry(key).or_insert(seen);
            self.expect(known == seen, || format!("group {group}: two different entries {key:?}"));
        }
    }

    /// A node knows this table.
    pub fn table(&mut self, table: &Table) {
        let hash = hash_bytes(&table.encode());
        let known = *self.tables.entry(table.version).or_insert(hash);
        let version = table.version;
        self.expect(known == hash, || format!("two tables of version {version}"));
        let cluster = *self.cluster.get_or_insert(table.cluster);
        self.expect(cluster == table.cluster, || "two clusters were born".into());
        let names = (0..NODES).map(name);
        let has_all = names.eq(table
            .nodes
            .values()
            .map(|member| member.name.clone())
            .collect::<std::collections::BTreeSet<_>>());
        self.expect(has_all, || "a table without some node".into());
    }

    /// A node votes or acknowledges for a group: it must be part of the cluster, durably. Whom it
    /// would vote for promises nothing.
    pub fn takes_part(&mut self, is_member: bool, group: usize, message: &Message) {
        use MessageType::{MsgRequestPreVote, MsgRequestPreVoteResponse};
        let kind = message.get_msg_type();
        let promises = !matches!(kind, MsgRequestPreVote | MsgRequestPreVoteResponse);
        self.expect(is_member || !promises, || {
            format!("group {group}: {:?} before the birth is durable", message.get_msg_type())
        });
    }

    /// `stored` is what is durable of the replica that sends.
    pub fn sends(&mut self, group: usize, stored: &Stored, message: &Message) {
        let durable = &stored.hard_state;
        let voted = durable.term > message.term
            || (durable.term == message.term && durable.vote == message.to);
        let campaigns = durable.term > message.term
            || (durable.term == message.term && durable.vote == message.from);
        let holds = match message.get_msg_type() {
            MessageType::MsgAppendResponse => message.reject || stored.last() >= message.index,
            MessageType::MsgRequestVoteResponse => message.reject || voted,
            MessageType::MsgRequestVote => campaigns,
            _ => true,
        };
        self.expect(holds, || {
            format!("group {group}: promised before it is durable: {message:?} by {durable:?}")
        });
    }

    /// A replica whose term is `term` knows that these entries are committed.
    pub fn commits(&mut self, group: usize, term: u64, entries: &[Committed]) {
        let known = &mut self.groups[group].committed_in;
        for entry in entries {
            if entry.index as usize == known.len() + 2 {
                known.push((term, entry.term));
            }
        }
    }

    pub fn applies(&mut self, group: usize, machine: &Machine, entry: &Committed) {
        let before = machine.applied;
        self.expect(entry.index == before + 1, || {
            format!("group {group}: entry {} is applied behind {before}", entry.index)
        });
        let known = &mut self.groups[group].committed;
        let seen = (entry.term, hash_bytes(&entry.data));
        let at = entry.index as usize - 2;
        let is_new = at == known.len();
        if is_new {
            known.push(seen);
        }
        let is_same = known.get(at) == Some(&seen);
        self.expect(is_same, || {
            format!("group {group}: another entry is committed at {} than before", entry.index)
        });
        if is_new {
            self.note_requests(group, entry);
        }
    }

    /// Requests that were applied, in order.
    pub fn requests(&self, group: usize) -> &[u64] {
        &self.groups[group].requests
    }

    /// Whether a request was applied by any replica.
    pub fn is_applied(&self, request: u64) -> bool {
        self.groups.iter().any(|group| group.applied.contains(&request))
    }

    fn note_requests(&mut self, group: usize, entry: &Committed) {
        let Some(batch) = entry::decode(&entry.data) else { return };
        for request in batch.requests {
            let (_, _, ticket) = decode(request);
            self.groups[group].requests.push(ticket);
            let is_first = self.groups[group].applied.insert(ticket);
            self.expect(is_first, || format!("group {group}: request {ticket} is applied twice"));
        }
    }

    pub fn time(&mut self, group: usize, before_us: u64, time_us: u64) {
        self.expect(time_us >= before_us, || {
            format!("group {group}: log time goes back from {before_us} to {time_us}")
        });
        // Clocks are fast by 1.1 at most, and log time by 5 % of that, whatever wall clocks say.
        let now = self.now;
        let Some((began, began_us)) = self.groups[group].began else { return };
        let most_us = began_us + (now - began) * 116 / 100 + 2_500_000;
        self.expect(time_us <= most_us, || {
            format!("group {group}: log time ran ahead: {began_us} at {began}, {time_us} at {now}")
        });
    }

    /// What a process clock showed before and shows now, each with the boot time, ns.
    pub fn process_clock(&mut self, before: (u64, u64), after: (u64, u64)) {
        let run = after.0 - before.0;
        let (least, most) = (before.1 + run / 100 * 95, before.1 + run * 105 / 100 + 2);
        self.expect((least..=most).contains(&after.1), || {
            format!("a process clock went from {} to {} in {run} ns", before.1, after.1)
        });
    }

    pub fn has_state(&mut self, group: usize, machine: &Machine) {
        let (index, hash) = (machine.applied, machine.hash());
        let known = *self.groups[group].states.entry(index).or_insert(hash);
        self.expect(known == hash, || format!("group {group}: states differ at index {index}"));
    }

    pub fn answers<'a>(
        &mut self,
        group: usize,
        entry: (u64, u64),
        stored: impl Iterator<Item = &'a Stored>,
        needed: usize,
    ) {
        let durable = stored.filter(|stored| stored.has(entry.0, entry.1)).count();
        self.expect(durable >= needed, || {
            format!("group {group}: entry {entry:?} is answered, and durable on {durable} only")
        });
    }

    /// `replicas` are those that run, each with whether it holds a lease.
    pub fn leases(&mut self, group: usize, replicas: &[(&Group, bool)]) {
        let holders = replicas.iter().filter(|(_, holds)| *holds);
        for (core, _) in holders {
            let term = core.role().term;
            let rival = replicas.iter().find(|(other, _)| {
                other.role().role == StateRole::Leader && other.role().term > term
            });
            let rival = rival.map(|(other, _)| other.role());
            let id = core.id();
            self.expect(rival.is_none(), || {
                format!("group {group}: {id} holds a lease in term {term} beside {rival:?}")
            });
        }
    }

    pub fn note(&mut self, what: String) {
        self.expect(false, || what);
    }
}
