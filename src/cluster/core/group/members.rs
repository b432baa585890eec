//! Who is in a group and who leads it: the leader's part of replacing and handing over.

use super::Group;
use crate::cluster::core::replace::{is_settled, next_change};
use crate::limits::GROUP_CAUGHT_UP_ENTRIES;
use raft::ProgressState;

impl Group {
    /// The voter to hand the leadership to, if this replica leads: who has most of the log.
    pub fn successor(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        let voters = self.members();
        let others = voters.get_voters().iter().filter(|&&id| id != raft.id && self.leads());
        let matched = |id: &&u64| raft.prs().get(**id).map_or(0, |progress| progress.matched);
        others.max_by_key(matched).copied()
    }

    pub(super) fn transfer(&mut self, to: u64) {
        let is_voter = self.members().get_voters().contains(&to);
        if self.leads() && is_voter && to != self.id() {
            // First of all: the vote that the other one forces may come at any moment from now on.
            self.lease.end(self.role.term);
            self.raw.transfer_leader(to);
        }
    }

    /// For each other replica, if this one leads: its id, how many entries it lacks, and whether it
    /// is being sent a snapshot.
    pub fn followers(&self) -> impl Iterator<Item = (u64, u64, bool)> {
        let (raft, last) = (&self.raw.raft, self.raw.raft.raft_log.last_index());
        let others = raft.prs().iter().filter(|(id, _)| self.leads() && **id != raft.id);
        others.map(move |(id, progress)| {
            let is_snapshot = progress.state == ProgressState::Snapshot;
            (*id, last.saturating_sub(progress.matched), is_snapshot)
        })
    }

    /// True if this replica leads, and `other` has nearly all of the log and is there.
    pub fn is_followed_by(&self, other: u64) -> bool {
        let raft = &self.raw.raft;
        let progress = raft.prs().get(other).filter(|_| self.leads());
        progress.is_some_and(|progress| {
            let has_nearly_all = |matched| matched + GROUP_CAUGHT_UP_ENTRIES;
            let is_near = has_nearly_all(progress.matched) >= raft.raft_log.last_index();
            progress.matched > 0 && progress.recent_active && is_near
        })
    }

    /// True if the group has these voters, and nothing else.
    pub fn is_settled(&self, wanted: &[u64]) -> bool {
        is_settled(&self.members(), wanted)
    }

    pub(super) fn reconcile(&mut self, wanted: &[u64]) {
        let raft = &self.raw.raft;
        let is_ready = self.leads() && raft.commit_to_current_term() && !raft.has_pending_conf();
        // A leader does not remove itself: it is asked to hand over first.
        if !is_ready || !wanted.contains(&self.id()) {
            return;
        }
        let change = next_change(&self.members(), wanted, |id| self.is_followed_by(id));
        if let Some(change) = change {
            // Refused while a transfer is under way; the driver asks again.
            let _ = self.raw.propose_conf_change(Vec::new(), change);
        }
    }
}
