//! Groups as this node has them: what is applied, log time, when to cut.
//!
//! A group is cut when the entries behind its last snapshot take as much as half of its state, and
//! two MiB at least; so a state is written about three times for what it was changed by, and the
//! log of a group is bounded. What was cut lies in the node's log, and the core keeps a copy for
//! replicas that lag.

use super::lanes::Lanes;
use crate::cluster::core::entry;
use crate::cluster::core::group::{Committed, Cut};
use crate::cluster::core::message::{GroupId, META};
use crate::cluster::core::touched::GroupSet;
use crate::cluster::core::{Group, Snapshot};
use crate::cluster::wire::message::End;
use crate::commands::Node;
use crate::commands::cluster::execute::{At, Executor};
use crate::limits::{
    CLUSTER_CLOCK_US, CLUSTER_CUT_BYTES_MIN, CLUSTER_GROUPS, CLUSTER_KEPT_BYTES,
    CLUSTER_KEPT_ENTRIES,
};
use crate::resp::Protocol;
use std::collections::VecDeque;

#[derive(Default)]
struct State {
    applied: u64,
    /// The index that was cut last.
    cut: u64,
    time_us: u64,
    /// When something was applied last, by the clock of this node.
    applied_us: u64,
    /// Bytes of entries since the last cut, and of that.
    bytes: usize,
    state_bytes: usize,
    /// Index and bytes of the newest entries.
    newest: VecDeque<(u64, usize)>,
    newest_bytes: usize,
    is_wanted: bool,
    is_here: bool,
}

/// Until when workers may answer reads of a group alone, of which so much is applied here; 0: not
/// at all. A lease spares them the round and not the waiting (C8).
pub fn lease_of(core: Option<&Group>, applied: u64) -> u64 {
    core.filter(|core| applied >= core.committed()).map_or(0, Group::lease_until_us)
}

/// All groups of this node.
pub(super) struct States<'n> {
    executor: Executor<'n>,
    groups: Vec<State>,
    /// Groups of which some keys may have a deadline.
    timed: GroupSet,
    damaged: Option<GroupId>,
}

impl<'n> States<'n> {
    pub(super) fn new(node: &'n Node) -> States<'n> {
        let groups = (0..CLUSTER_GROUPS).map(|_| State::default()).collect();
        States { executor: Executor::new(node), groups, timed: GroupSet::default(), damaged: None }
    }

    /// A group whose state could not be read.
    pub(super) fn damaged(&self) -> Option<GroupId> {
        self.damaged
    }

    /// The last index that is applied.
    pub(super) fn applied(&self, group: GroupId) -> u64 {
        self.groups[usize::from(group)].applied
    }

    /// Log time of what is applied, ms.
    pub(super) fn log_time_ms(&self, group: GroupId) -> u64 {
        self.groups[usize::from(group)].time_us / 1000
    }

    /// Groups of which some keys may have a deadline.
    pub(super) fn timed(&self) -> GroupSet {
        self.timed
    }

    /// Whether log time should be told: keys have deadlines, and nothing was applied for a while.
    /// Where no key has one, that stays so until something is applied.
    pub(super) fn wants_clock(&mut self, group: GroupId, now_us: u64) -> bool {
        let state = &self.groups[usize::from(group)];
        if now_us < state.applied_us + CLUSTER_CLOCK_US {
            return false;
        }
        let has_deadlines = self.executor.has_deadlines(group);
        if !has_deadlines {
            self.timed.remove(group);
        }
        has_deadlines
    }

    /// Whether the state in a snapshot can be read. One that cannot must not take the place of the
    /// state that is here.
    pub(super) fn can_read(&self, group: GroupId, snapshot: &Snapshot) -> bool {
        let Some((_, bytes)) = entry::split_time(&snapshot.data) else { return false };
        group >= META || self.executor.check(group, bytes).is_ok()
    }

    /// The group begins, or goes on, with the state of a snapshot.
    pub(super) fn begin(&mut self, group: GroupId, snapshot: &Snapshot) {
        let (time_us, bytes) = entry::split_time(&snapshot.data).unwrap_or_default();
        if self.executor.restore(group, bytes).is_err() {
            tracing::error!(group, "the state of a group cannot be read");
            self.damaged.get_or_insert(group);
        }
        self.timed.insert(group);
        self.groups[usize::from(group)] = State {
            applied: snapshot.get_metadata().index,
            cut: snapshot.get_metadata().index,
            time_us,
            state_bytes: bytes.len(),
            is_here: true,
            ..State::default()
        };
    }

    /// The group is gone.
    pub(super) fn end(&mut self, group: GroupId) {
        self.executor.clear(group);
        self.timed.remove(group);
        self.groups[usize::from(group)] = State::default();
    }

    /// Applies entries; returns the last index. Replies go to those who wait for them.
    pub(super) fn apply(
        &mut self,
        now_us: u64,
        group: GroupId,
        entries: Vec<Committed>,
        lanes: &mut Lanes,
    ) -> u64 {
        self.timed.insert(group);
        for committed in entries {
            let state = &mut self.groups[usize::from(group)];
            state.applied = committed.index;
            state.note(committed.index, committed.data.len());
            let Some(batch) = entry::decode(&committed.data) else { continue };
            state.time_us = batch.time_us;
            state.applied_us = now_us;
            let (index, time_ms) = (committed.index, batch.time_us / 1000);
            for (number, bytes) in batch.requests.iter().enumerate() {
                let ticket = committed.tickets.get(number).copied();
                let wanted = ticket.and_then(|ticket| lanes.wants(ticket));
                let at = At { group, index, time_ms, number: number as u64 };
                let reply = self.executor.apply(at, bytes, wanted);
                if let Some((ticket, reply)) = ticket.zip(reply) {
                    lanes.written(now_us, ticket, End::Reply(reply));
                }
            }
        }
        self.applied(group)
    }

    /// The reply to a read of what is applied now.
    pub(super) fn read(&mut self, group: GroupId, bytes: &[u8], protocol: Protocol) -> Vec<u8> {
        self.executor.read(group, self.log_time_ms(group), bytes, protocol)
    }

    /// A snapshot of the group is wanted.
    pub(super) fn want_cut(&mut self, group: GroupId) {
        self.groups[usize::from(group)].is_wanted = true;
    }

    /// Has the group cut if anything was applied since the last time; returns the bytes of its
    /// state, as it was cut last.
    pub(super) fn freshen(&mut self, group: GroupId) -> usize {
        let state = &mut self.groups[usize::from(group)];
        state.is_wanted |= state.applied > state.cut;
        state.state_bytes
    }

    /// Bytes of all states, as they were cut last.
    pub(super) fn bytes(&self) -> u64 {
        self.groups.iter().map(|state| state.state_bytes as u64).sum()
    }

    /// Cuts a group that is due.
    pub(super) fn next_cut(&mut self) -> Option<(GroupId, Cut)> {
        let at = self.groups.iter().position(State::is_due)?;
        let data = self.executor.cut(at as GroupId);
        let state = &mut self.groups[at];
        state.is_wanted = false;
        (state.bytes, state.cut) = (0, state.applied);
        state.state_bytes = data.len();
        let keep_from = state.newest.front().map_or(state.applied + 1, |(index, _)| *index);
        let cut = Cut { index: state.applied, time_us: state.time_us, data, keep_from };
        Some((at as GroupId, cut))
    }
}

impl State {
    fn note(&mut self, index: u64, bytes: usize) {
        self.bytes += bytes;
        self.newest.push_back((index, bytes));
        self.newest_bytes += bytes;
        while (self.newest_bytes > CLUSTER_KEPT_BYTES || self.newest.len() > CLUSTER_KEPT_ENTRIES)
            && let Some((_, bytes)) = self.newest.pop_front()
        {
            self.newest_bytes -= bytes;
        }
    }

    fn is_due(&self) -> bool {
        self.is_here
            && self.applied > 0
            && (self.is_wanted || self.bytes > CLUSTER_CUT_BYTES_MIN.max(self.state_bytes / 2))
    }
}
