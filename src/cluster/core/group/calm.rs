//! What a replica hears and does all the time though nothing happens: time that passes, heartbeats,
//! and the answers to them. That takes most of an idle node's time, so it is told apart from all
//! else: nothing is looked for that cannot have come of it.
//!
//! ```text
//!   leader    tick: nothing, or heartbeats            answer of who has the whole log: nothing
//!   follower  tick: nothing before it campaigns       heartbeat that tells nothing new: an answer
//! ```
//!
//! The library does its part of it as always; what is spared is looking whether it has something
//! ready. Invariants: behind each step the library has nothing ready, so where none of the above
//! makes something ready, there is nothing; a leader that is read looks at its lease at every step
//! (C5).

use super::*;
use raft::{ProgressState, SnapshotStatus};

impl Group {
    /// Lets time pass. True if at most heartbeats came of it, which are in `out`.
    pub(super) fn passes_calmly(&mut self, now_us: u64, out: &mut Vec<Output>) -> bool {
        let led = self.leads();
        let is_ready = self.tick(now_us);
        if !led {
            return !is_ready;
        }
        let is_calm = self.leads() && self.awaited.is_empty() && !self.is_read(now_us);
        if is_calm {
            self.send_at_once(out);
        }
        is_calm
    }

    /// Ticks never catch up after a stall: a burst of them would end what others rely on (C6).
    /// True if something may have come of it.
    fn tick(&mut self, now_us: u64) -> bool {
        if now_us < self.ticked_us + GROUP_TICK_US {
            return false;
        }
        self.ticked_us = now_us;
        let raft = &self.raw.raft;
        let campaigns = !self.leads() && raft.election_elapsed + 1 >= self.campaign_ticks;
        if campaigns && (self.silence.holds(now_us) || !self.may_help()) {
            return false;
        }
        let is_ready = self.raw.tick();
        self.resend_snapshots();
        is_ready
    }

    /// The library waits for a report of what became of a snapshot, and would wait for ever for one
    /// that was lost, or whose receiver was. Sending it again does no harm.
    fn resend_snapshots(&mut self) {
        if !self.leads() && self.awaited.is_empty() {
            return;
        }
        let replicas = self.raw.raft.prs().iter().filter(|_| self.leads());
        let awaited = replicas.filter(|(_, progress)| progress.state == ProgressState::Snapshot);
        let ticks = |id: &u64| self.awaited.get(id).map_or(0, |ticks| ticks + 1);
        self.awaited = awaited.map(|(id, _)| (*id, ticks(id))).collect();
        for (&id, _) in self.awaited.iter().filter(|(_, ticks)| **ticks >= GROUP_SNAPSHOT_TICKS) {
            self.raw.report_snapshot(id, SnapshotStatus::Failure);
        }
    }

    /// Takes in a message. True if at most the answer to a heartbeat came of it, which is in `out`.
    pub(super) fn hears_calmly(
        &mut self,
        now_us: u64,
        message: Message,
        out: &mut Vec<Output>,
    ) -> bool {
        let is_calm = self.says_nothing_new(now_us, &message);
        self.receive(now_us, message, out);
        if is_calm {
            self.send_at_once(out);
        }
        is_calm
    }

    fn says_nothing_new(&self, now_us: u64, message: &Message) -> bool {
        let raft = &self.raw.raft;
        if message.term != raft.term || !message.context.is_empty() {
            return false;
        }
        match message.get_msg_type() {
            MessageType::MsgHeartbeat => {
                // What is answered while something is being written waits for that.
                raft.state == StateRole::Follower
                    && raft.leader_id == message.from
                    && message.commit <= raft.raft_log.committed
                    && self.held.is_empty()
            }
            MessageType::MsgHeartbeatResponse => {
                let last = raft.raft_log.last_index();
                let has_all = raft.prs().get(message.from).is_some_and(|progress| {
                    progress.state == ProgressState::Replicate && progress.matched == last
                });
                self.leads() && has_all && !self.is_read(now_us)
            }
            _ => false,
        }
    }

    /// Whether this leader is being read, so that its lease is to be looked at.
    fn is_read(&self, now_us: u64) -> bool {
        self.was_read_lately(now_us) || self.reads.wants_round()
    }

    fn send_at_once(&mut self, out: &mut Vec<Output>) {
        out.extend(self.raw.raft.msgs.drain(..).map(Output::Send));
        debug_assert!(!self.raw.has_ready(), "calm, and yet something is ready");
    }
}
