//! How a node's log becomes shorter: what was said of groups long ago is stated anew behind it.
//!
//! ```text
//!   log   .. A's state  B's state  entries ....  A's state  entries ..  B's state
//!            `-- needed from here -------------  then from here --'
//! ```
//!
//! A statement of a group is its last snapshot and its hard state; cutting a group makes one, too.
//! What is stated longest ago is stated anew, a part of all at a time, so that what others want
//! written waits behind one part.
//!
//! Invariant: the log is needed from the oldest of what was stated last of the node and of each
//! replica, as far as that is durable, and from the oldest entry behind a snapshot (C13).
//! Deliberately absent: when to begin, and how fast.

use super::super::group::{Checkpoint, Persist};
use super::super::message::{GroupId, META};
use super::{Node, NodeOutput, Replica};

/// What a record states anew, so that what was said of it before is needed no more.
#[derive(Default)]
pub(super) struct Statement {
    /// Who the node is, and the replicas that are gone.
    pub(super) of_node: bool,
    /// Everything of these groups but entries.
    pub(super) groups: Vec<GroupId>,
}

impl Node {
    /// The record from which on the log must be kept, and the group that needs it if that is one;
    /// nothing may be let go before everything is stated behind it, durably (C13).
    pub fn needed_from(&self) -> (u64, Option<GroupId>) {
        let oldest = |(&group, replica): (&GroupId, &Replica)| {
            replica.places.oldest().map(|number| (number, Some(group)))
        };
        let stated = (self.stated_from(), None);
        self.replicas.iter().filter_map(oldest).chain([stated]).min().unwrap_or(stated)
    }

    /// From this record on everything but entries is stated, durably.
    pub fn stated_from(&self) -> u64 {
        let replicas = self.replicas.values().map(|replica| replica.stated);
        replicas.chain([self.log.stated]).min().unwrap_or_default()
    }

    /// The last record.
    pub fn last_record(&self) -> u64 {
        self.log.number
    }

    /// True while a part of what is stated anew is not durable.
    pub fn is_stating(&self) -> bool {
        self.log.waiting.iter().any(|waiting| waiting.statement.of_node)
    }

    /// The groups whose entries stand in front of all that is stated, by the record of the oldest:
    /// cutting them lets go of the log up to there.
    pub fn pins(&self) -> Vec<(u64, GroupId)> {
        let oldest =
            |(&group, replica): (&GroupId, &Replica)| Some((replica.places.oldest()?, group));
        let stated = self.stated_from();
        let is_pin = |(number, _): &(u64, GroupId)| *number < stated;
        let mut pins: Vec<_> = self.replicas.iter().filter_map(oldest).filter(is_pin).collect();
        pins.sort_unstable();
        pins
    }

    /// A statement is durable.
    pub(super) fn stated(&mut self, number: u64, statement: &Statement) {
        if statement.of_node {
            self.log.stated = number;
        }
        for group in &statement.groups {
            if let Some(replica) = self.replicas.get_mut(group) {
                replica.stated = number;
            }
        }
    }

    /// States anew what was stated longest ago, of so many bytes or one group: everything of some
    /// groups but entries, who the node is, and which replicas are gone. Records in front are then
    /// needed for what others stated there, and for entries behind the snapshots (C13).
    pub(super) fn state_anew(&mut self, now_us: u64, bytes: usize, out: &mut Vec<NodeOutput>) {
        let cut = self.cut_meta();
        cut.into_iter().for_each(|cut| self.of_group(now_us, META, cut, out));
        self.flush(out);
        self.log.record.node(&self.identity);
        for &(group, replica) in &self.removed {
            self.log.record.removed(group, replica);
        }
        self.log.statement.of_node = true;
        let mut oldest: Vec<(u64, GroupId)> =
            self.replicas.iter().map(|(&group, replica)| (replica.stated, group)).collect();
        oldest.sort_unstable();
        let begin = self.log.record.size();
        for (_, group) in oldest {
            let Some(replica) = self.replicas.get(&group) else { continue };
            let checkpoint = Some(Checkpoint::Own(replica.snapshot.clone()));
            let hard_state = replica.core.log().hard_state().clone();
            let write = Persist { token: 0, hard_state, entries: Vec::new(), checkpoint };
            self.log.record.group(group, replica.core.id(), &write);
            self.log.statement.groups.push(group);
            if self.log.record.size() - begin >= bytes {
                break;
            }
        }
        self.flush(out);
    }
}
