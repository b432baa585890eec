//! The birth of a cluster: who was heard, and what follows from it (C2).
//!
//! ```text
//!   unborn ---- all listed nodes are heard, unborn, with one list ---> the first by name draws
//!     |         the founding table and has it durable; the others too, when they got it
//!     |                                     |
//!     |                                 prepared ---- all are, durably ----> member: groups begin
//!     |                                     `------- one is a member ------> member
//!     `---- somebody is a member: this node lost its disk, and is given new, empty replicas
//! ```
//!
//! A node says of itself only what is durable, its disk number first of all. Nobody is born before
//! the founding table is durable on all: so whoever is born can tell it to those who were not told
//! yet, and a crash at any moment leaves a birth that goes on. A node that lost its disk has
//! another disk number, which the founding table does not name, so it can neither be counted as
//! prepared nor begin with replicas of its former life.
//!
//! Deliberately absent: sending, writing, time beyond arguments.

use super::message::{Hello, NodeId, Stage, node_id};
use super::table::Table;
use crate::limits::NODE_HEARD_US;
use std::collections::BTreeMap;
use std::fmt;

/// Why a node is not let in, or cannot be born.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A peer was told of other nodes than this one.
    Lists {
        /// The peer.
        peer: String,
        /// What it was told.
        theirs: Vec<String>,
        /// What this node was told.
        ours: Vec<String>,
    },
    /// Two processes with different disks run under one name.
    TwoDisks {
        /// The name.
        name: String,
    },
    /// This node lost its disk after it agreed to a founding table, and before all had.
    LostInBirth {
        /// The node.
        name: String,
    },
    /// The log of a node was damaged and set aside, and nobody is there of its cluster.
    NobodyLeft {
        /// The node.
        name: String,
    },
    /// A peer is part of another cluster, or of one that does not know this node.
    OtherCluster {
        /// The peer.
        peer: String,
        /// Its cluster.
        cluster: u64,
    },
    /// This node's disk was replaced by another one, which counts now.
    Retired,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Lists { peer, theirs, ours } => write!(
                f,
                "{peer} was started for the nodes {}, this node for {}: start all with one list",
                theirs.join(" "),
                ours.join(" ")
            ),
            Refusal::TwoDisks { name } => write!(
                f,
                "two processes with different data directories are running as {name}: stop one, \
                 or give it another name with --node"
            ),
            Refusal::LostInBirth { name } => write!(
                f,
                "{name} lost its data directory while the cluster was being formed: nothing is \
                 stored yet; stop all nodes, empty their data directories, start them again"
            ),
            Refusal::NobodyLeft { name } => write!(
                f,
                "the log of {name} was damaged and set aside, and no node that was heard knows its \
                 cluster any more: no new one is formed. Bring the other nodes back on their data \
                 directories; if they are lost, empty all directories, that of {name} too"
            ),
            Refusal::OtherCluster { peer, cluster } => write!(
                f,
                "{peer} belongs to cluster {cluster:016x}, in which this node is not: correct \
                 --peers, or start with the data directory of that cluster"
            ),
            Refusal::Retired => write!(
                f,
                "this data directory was replaced by another one of the same node: it must not \
                 come back; start with the newer one, or with an empty one"
            ),
        }
    }
}

/// What an unborn node is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These nodes were not heard yet.
    Wait(Vec<String>),
    /// Something is wrong, and a person has to mend it.
    Refuse(Refusal),
    /// All agree, and this node is the one that draws the founding table.
    Propose,
    /// All agree, and another node is.
    Expect,
    /// There is a cluster already: ask to be let in.
    Join,
}

/// What was heard of a node last.
#[derive(Clone, Debug)]
struct Heard {
    hello: Hello,
    at_us: u64,
    /// Since when it has been heard without a pause, with this disk.
    since_us: u64,
    /// The disk number that it had before this one.
    former: Option<u64>,
    has_two_disks: bool,
}

/// Everything that was heard.
#[derive(Clone, Debug, Default)]
pub struct Council {
    heard: BTreeMap<NodeId, Heard>,
}

impl Council {
    /// A node said this.
    pub fn hear(&mut self, now_us: u64, from: NodeId, hello: Hello) {
        let before = self.heard.get(&from);
        let is_new = before.is_none_or(|heard| !heard.is_fresh(now_us));
        let changed = before.filter(|heard| heard.hello.disk != hello.disk);
        let goes_on = before.filter(|_| !is_new && changed.is_none());
        let since_us = goes_on.map_or(now_us, |heard| heard.since_us);
        // A disk that was replaced does not speak again; one that does was never gone.
        let comes_back = changed.is_some_and(|heard| heard.former == Some(hello.disk) && !is_new);
        let former = match changed {
            Some(heard) => Some(heard.hello.disk),
            None => before.and_then(|heard| heard.former),
        };
        let has_two_disks = comes_back || (!is_new && before.is_some_and(|h| h.has_two_disks));
        let heard = Heard { hello, at_us: now_us, since_us, former, has_two_disks };
        self.heard.insert(from, heard);
    }

    /// There is no connection to a node any more.
    pub fn lose(&mut self, node: NodeId) {
        self.heard.remove(&node);
    }

    /// What a node said last, if that is not long ago.
    pub fn of(&self, now_us: u64, node: NodeId) -> Option<&Hello> {
        self.heard.get(&node).filter(|heard| heard.is_fresh(now_us)).map(|heard| &heard.hello)
    }

    /// Since when a node has been heard without a pause, with the disk that it has now.
    pub fn since_us(&self, now_us: u64, node: NodeId) -> Option<u64> {
        self.heard.get(&node).filter(|heard| heard.is_fresh(now_us)).map(|heard| heard.since_us)
    }

    /// True if the node said on this connection that it is part of this cluster, with this disk.
    pub fn vouches(&self, node: NodeId, cluster: u64, disk: u64) -> bool {
        let is_member = |stage| matches!(stage, Stage::Member { cluster: of, .. } if of == cluster);
        let heard = self.heard.get(&node).map(|heard| &heard.hello);
        heard.is_some_and(|hello| hello.disk == disk && is_member(hello.stage))
    }

    /// A node under whose name two disks speak.
    pub fn two_disks(&self) -> Option<Refusal> {
        let heard = self.heard.values().find(|heard| heard.has_two_disks)?;
        Some(Refusal::TwoDisks { name: heard.hello.name.clone() })
    }

    /// What an unborn node, which says `own` of itself, is to do.
    pub fn judge(&self, now_us: u64, own: &Hello) -> Verdict {
        if let Some(refusal) = self.two_disks() {
            return Verdict::Refuse(refusal);
        }
        let others = || own.listed.iter().filter(|name| **name != own.name);
        let hello = |name: &String| self.of(now_us, node_id(name));
        let heard: Vec<&Hello> = others().filter_map(hello).collect();
        // A node that knows a cluster settles it, whoever else is silent.
        if heard.iter().any(|hello| matches!(hello.stage, Stage::Member { .. })) {
            return Verdict::Join;
        }
        // Where a cluster was, another one must not take its place unnoticed.
        let silent: Vec<String> = others().filter(|name| hello(name).is_none()).cloned().collect();
        let is_lost = |hello: &&&Hello| matches!(hello.stage, Stage::Lost { .. });
        if let Some(lost) = std::iter::once(&own).chain(&heard).find(is_lost) {
            return match silent.is_empty() {
                true => Verdict::Refuse(Refusal::NobodyLeft { name: lost.name.clone() }),
                false => Verdict::Wait(silent),
            };
        }
        if let Some(other) = heard.iter().find(|hello| hello.listed != own.listed) {
            let (peer, theirs) = (other.name.clone(), other.listed.clone());
            return Verdict::Refuse(Refusal::Lists { peer, theirs, ours: own.listed.clone() });
        }
        if !silent.is_empty() {
            return Verdict::Wait(silent);
        }
        let is_first = own.listed.first() == Some(&own.name);
        let is_unborn = heard.iter().all(|hello| hello.stage == Stage::Unborn);
        if is_first && is_unborn { Verdict::Propose } else { Verdict::Expect }
    }

    /// True if a node that agreed to `table`, durably, may be born.
    pub fn allows_birth(&self, own: NodeId, table: &Table) -> bool {
        let others = || table.nodes.iter().filter(|(id, _)| **id != own);
        let stage = |id: &NodeId, disk| {
            let heard = self.heard.get(id).filter(|heard| heard.hello.disk == disk);
            heard.map(|heard| heard.hello.stage)
        };
        let is_prepared = Some(Stage::Prepared { cluster: table.cluster });
        let all_are = others().all(|(id, member)| stage(id, member.disk) == is_prepared);
        all_are || others().any(|(id, member)| self.vouches(*id, table.cluster, member.disk))
    }

    /// A node that was to be born with `table` and has another disk now, with nobody born yet.
    pub fn lost_in_birth(&self, own: NodeId, table: &Table) -> Option<Refusal> {
        let others = table.nodes.iter().filter(|(id, _)| **id != own);
        let mut lost = others.filter(|(id, member)| {
            self.heard.get(id).is_some_and(|heard| heard.hello.disk != member.disk)
        });
        lost.next().map(|(_, member)| Refusal::LostInBirth { name: member.name.clone() })
    }
}

impl Heard {
    fn is_fresh(&self, now_us: u64) -> bool {
        now_us < self.at_us + NODE_HEARD_US
    }
}

/// True if an unborn node that says `own` of itself may agree to this founding table.
pub fn is_acceptable(own: &Hello, table: &Table) -> bool {
    let mut names: Vec<&String> = table.nodes.values().map(|member| &member.name).collect();
    names.sort();
    let names_fit = names.into_iter().eq(own.listed.iter());
    let own_disk = table.nodes.get(&node_id(&own.name)).map(|member| member.disk);
    own.stage == Stage::Unborn && names_fit && own_disk == Some(own.disk) && table.is_founding()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::table::Addresses;

    fn hello(name: &str, disk: u64, stage: Stage) -> Hello {
        let listed = ["node-1", "node-2", "node-3"].map(String::from).to_vec();
        Hello { name: name.into(), disk, addresses: Addresses::default(), listed, stage, fit: true }
    }

    fn council(hellos: &[Hello]) -> Council {
        let mut council = Council::default();
        hellos.iter().for_each(|hello| council.hear(5, node_id(&hello.name), hello.clone()));
        council
    }

    fn own() -> Hello {
        hello("node-1", 1001, Stage::Unborn)
    }

    #[test]
    fn the_first_by_name_draws_the_table_when_all_agree() {
        let others = [hello("node-2", 2, Stage::Unborn), hello("node-3", 3, Stage::Unborn)];
        assert_eq!(council(&others[..1]).judge(6, &own()), Verdict::Wait(vec!["node-3".into()]));
        assert_eq!(council(&others).judge(6, &own()), Verdict::Propose);
        let second = hello("node-2", 2, Stage::Unborn);
        let heard = council(&[own(), others[1].clone()]);
        assert_eq!(heard.judge(6, &second), Verdict::Expect);
        let late = council(&others).judge(6 + NODE_HEARD_US, &own());
        assert!(matches!(late, Verdict::Wait(_)), "what was heard long ago does not count");
    }

    #[test]
    fn who_hears_of_a_cluster_asks_to_be_let_in() {
        let member = hello("node-2", 2, Stage::Member { cluster: 9, version: 1 });
        assert_eq!(council(&[member]).judge(6, &own()), Verdict::Join);
    }

    /// A node whose log was set aside is no empty one: with it no new cluster is formed, not even
    /// when all others are empty.
    #[test]
    fn where_a_cluster_was_no_other_is_formed() {
        let lost = hello("node-3", 3, Stage::Lost { cluster: 9 });
        let second = hello("node-2", 2, Stage::Unborn);
        let refused = Verdict::Refuse(Refusal::NobodyLeft { name: "node-3".into() });
        assert_eq!(council(&[second.clone(), lost.clone()]).judge(6, &own()), refused);
        assert_eq!(council(&[second.clone(), own()]).judge(6, &lost), refused);
        let waits = Verdict::Wait(vec!["node-2".into()]);
        assert_eq!(council(&[own()]).judge(6, &lost), waits);
        let member = hello("node-2", 2, Stage::Member { cluster: 9, version: 1 });
        assert_eq!(council(&[member]).judge(6, &lost), Verdict::Join);
        assert!(!is_acceptable(&lost, &Table::example()), "nor agrees it to one");
    }

    #[test]
    fn differing_lists_and_two_disks_are_refused() {
        let mut other = hello("node-2", 2, Stage::Unborn);
        other.listed.pop();
        let verdict = council(&[other]).judge(6, &own());
        assert!(matches!(verdict, Verdict::Refuse(Refusal::Lists { .. })), "{verdict:?}");
        let of_disk = |disk| hello("node-2", disk, Stage::Unborn);
        let replaced = council(&[of_disk(2), of_disk(4)]);
        assert_eq!(replaced.two_disks(), None, "an empty directory took its place");
        let twins = council(&[of_disk(2), of_disk(4), of_disk(2)]);
        assert_eq!(twins.two_disks(), Some(Refusal::TwoDisks { name: "node-2".into() }));
    }

    #[test]
    fn nobody_is_born_before_all_are_prepared_with_the_disks_of_the_table() {
        let table = Table::example();
        let prepared = Stage::Prepared { cluster: table.cluster };
        let of = |disk, stage| hello("node-3", disk, stage);
        let second = hello("node-2", 1002, prepared);
        let allowed = |third: Hello| {
            council(&[second.clone(), third]).allows_birth(node_id("node-1"), &table)
        };
        assert!(allowed(of(1003, prepared)));
        assert!(!allowed(of(1003, Stage::Unborn)));
        assert!(!allowed(of(1003, Stage::Prepared { cluster: 5 })));
        assert!(!allowed(of(7, prepared)), "another disk");
        let member = Stage::Member { cluster: table.cluster, version: 1 };
        assert!(allowed(of(1003, member)), "one is born: all were prepared");
        assert!(!council(&[]).allows_birth(node_id("node-1"), &table));
        assert!(council(&[of(7, prepared)]).lost_in_birth(node_id("node-1"), &table).is_some());
    }

    #[test]
    fn a_table_is_agreed_to_by_the_disks_and_names_in_it() {
        let table = Table::example();
        assert!(is_acceptable(&own(), &table));
        assert!(!is_acceptable(&hello("node-1", 5, Stage::Unborn), &table));
        let mut fewer = own();
        fewer.listed.pop();
        assert!(!is_acceptable(&fewer, &table));
    }
}
