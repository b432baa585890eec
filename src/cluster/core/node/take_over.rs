//! A node that was told to lead all that it holds, and those that are asked to give it.
//!
//! Two nodes may be told so at about the same time. Then the one that was told later leads, by the
//! wall clocks of the two, or the one of the greater id: each [`Order`] names its moment, and is
//! heeded only as long as no later one is known. So they do not call each other off, nor hand
//! leaderships to and fro.
//!
//! Invariant: an order of a node is later than all that it knew of, whatever its wall clock says.
//! Deliberately absent: whether a follower has enough of the log (`members`).

use super::super::message::{Control, GroupId, NodeId};
use super::birth::tell;
use super::{Event, Node, NodeOutput, Reason};
use crate::limits::{NODE_KEEP_US, NODE_TAKE_OVER_US};
use std::collections::BTreeMap;

/// When a node was told to take over, and which: ordered by that.
type Order = (u64, NodeId);

/// What is known of nodes that were told to take over.
#[derive(Default)]
pub(super) struct TakeOvers {
    /// Until when leaders are asked to hand over to this node, and until when it keeps that.
    asks_until_us: u64,
    keeps_until_us: u64,
    /// The last order that is known, and until when earlier ones are not heeded.
    last: Order,
    holds_until_us: u64,
}

impl TakeOvers {
    fn hold(&mut self, now_us: u64, order: Order) {
        self.last = order;
        // Whoever was told earlier has asked for the last time by then, and was heard.
        self.holds_until_us = now_us + 2 * NODE_TAKE_OVER_US;
    }

    /// A moment behind all that is known.
    fn moment(&self, wall_us: u64) -> u64 {
        wall_us.max(self.last.0.saturating_add(1))
    }
}

impl Node {
    /// This node was told to lead what it holds. The leaders are asked for a while: what they hear
    /// may be lost, and not all replicas here may have enough of the log yet.
    pub(super) fn begin_to_take_over(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        if self.is_fit() {
            let wall_us = now_us.saturating_add_signed(self.wall_ahead_us.unwrap_or(0));
            let order = (self.take_overs.moment(wall_us), self.id);
            self.take_overs.hold(now_us, order);
            self.take_overs.asks_until_us = now_us + NODE_TAKE_OVER_US;
            self.take_overs.keeps_until_us = now_us + NODE_KEEP_US;
            let asked = self.take_over(out);
            out.push(NodeOutput::Event(Event::TakesOver(asked)));
        }
    }

    /// Asks once more, while it is time.
    pub(super) fn ask_again(&self, now_us: u64, out: &mut Vec<NodeOutput>) {
        if now_us < self.take_overs.asks_until_us {
            self.take_over(out);
        }
    }

    /// Whether this node gives others nothing for balance.
    pub(super) fn keeps_all(&self, now_us: u64) -> bool {
        now_us < self.take_overs.keeps_until_us
    }

    /// Asks whoever leads a group that is held here to hand it over; returns of how many groups.
    fn take_over(&self, out: &mut Vec<NodeOutput>) -> usize {
        let mut by_leader: BTreeMap<NodeId, Vec<GroupId>> = BTreeMap::new();
        for (&group, replica) in self.replicas.iter().filter(|(_, replica)| !replica.core.leads()) {
            if let Some(&(_, leader)) = self.homes.get(&replica.core.role().leader) {
                by_leader.entry(leader).or_default().push(group);
            }
        }
        let asked = by_leader.values().map(Vec::len).sum();
        for (leader, groups) in by_leader {
            tell(leader, &Control::TakeOver(self.take_overs.last.0, groups), out);
        }
        asked
    }

    /// Another node was told, at this moment of its clock, to lead these groups.
    pub(super) fn asked_for(
        &mut self,
        now_us: u64,
        order: Order,
        groups: &[GroupId],
        out: &mut Vec<NodeOutput>,
    ) {
        let known = &mut self.take_overs;
        if now_us < known.holds_until_us && order < known.last {
            return;
        }
        let asked_itself = now_us < known.asks_until_us;
        known.hold(now_us, order);
        // This node does not ask for them back, nor give others what it was told to keep.
        known.asks_until_us = 0;
        known.keeps_until_us = 0;
        let from = order.1;
        if asked_itself {
            out.push(NodeOutput::Event(Event::CalledOff { by: from }));
        }
        for &group in groups {
            let replica = self.table.as_ref().and_then(|table| table.replica_on(group, from));
            let follows = |id: &u64| self.group(group).is_some_and(|core| core.is_followed_by(*id));
            let replica = replica.filter(follows);
            if let Some(replica) = replica.filter(|_| self.may_hand_over(now_us, group)) {
                self.give(now_us, group, replica, Reason::Asked, out);
            }
        }
    }
}
