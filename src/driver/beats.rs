//! Heartbeats and answers to them on their way out: those for one node leave together.
//!
//! ```text
//!   heartbeat  ---.
//!                 +--> by node ---> all of them, once a heartbeat is among them
//!   answer     ---'                 or the oldest has waited as long as heartbeats are apart
//! ```
//!
//! An answer says no more than that this node is there, and each message wakes two nodes, so it
//! waits for the heartbeats of this node, which are sent as often. (An answer that confirms a round
//! of reads is no beat, and waits for nothing.)

use crate::cluster::core::message::NodeId;
use crate::cluster::wire::beat::Beat;
use crate::limits::{GROUP_HEARTBEAT_TICKS, PEER_BEATS_MAX};
use std::collections::BTreeMap;

/// Beats that have not left yet.
#[derive(Debug, Default)]
pub struct Beats {
    waiting: BTreeMap<NodeId, Vec<Beat>>,
    /// Since how many ticks the oldest of them waits.
    ticks: usize,
    is_due: bool,
}

impl Beats {
    /// Puts one behind the others for a node.
    pub fn push(&mut self, to: NodeId, beat: Beat) {
        let beats = self.waiting.entry(to).or_default();
        beats.push(beat);
        self.is_due |= !beat.is_answer || beats.len() == PEER_BEATS_MAX;
    }

    /// Time has passed: answers that found no heartbeat to leave with wait no longer.
    pub fn tick(&mut self) {
        if self.waiting.values().any(|beats| !beats.is_empty()) {
            self.ticks += 1;
            self.is_due |= self.ticks >= GROUP_HEARTBEAT_TICKS;
        }
    }

    /// What is to leave now, by node; nothing while all may wait. No node gets more than
    /// [`PEER_BEATS_MAX`] if this is called behind each [`Beats::push`] that found so many.
    pub fn take(&mut self) -> impl Iterator<Item = (NodeId, Vec<Beat>)> {
        let is_due = std::mem::take(&mut self.is_due);
        if is_due {
            self.ticks = 0;
        }
        let waiting = self.waiting.iter_mut().filter(move |(_, beats)| is_due && !beats.is_empty());
        waiting.map(|(&to, beats)| (to, std::mem::take(beats)))
    }

    /// A node has as many waiting as a message holds.
    pub fn is_full(&self, to: NodeId) -> bool {
        self.waiting.get(&to).is_some_and(|beats| beats.len() >= PEER_BEATS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(is_answer: bool) -> Beat {
        Beat { group: 1, is_answer, to: 1, from: 2, term: 3, commit: 4 }
    }

    fn taken(beats: &mut Beats) -> Vec<(NodeId, usize)> {
        beats.take().map(|(to, beats)| (to, beats.len())).collect()
    }

    #[test]
    fn answers_leave_with_heartbeats_or_after_as_long() {
        let mut beats = Beats::default();
        beats.push(7, beat(true));
        beats.push(8, beat(true));
        assert_eq!(taken(&mut beats), []);
        beats.push(7, beat(false));
        assert_eq!(taken(&mut beats), [(7, 2), (8, 1)]);
        beats.push(7, beat(true));
        for _ in 1..GROUP_HEARTBEAT_TICKS {
            beats.tick();
            assert_eq!(taken(&mut beats), []);
        }
        beats.tick();
        assert_eq!(taken(&mut beats), [(7, 1)]);
        (0..GROUP_HEARTBEAT_TICKS).for_each(|_| beats.tick());
        beats.push(7, beat(true));
        assert_eq!(taken(&mut beats), [], "time that passed without any counts for none");
    }

    #[test]
    fn no_more_wait_than_a_message_holds() {
        let mut beats = Beats::default();
        (1..PEER_BEATS_MAX).for_each(|_| beats.push(7, beat(true)));
        assert_eq!(taken(&mut beats), []);
        beats.push(7, beat(true));
        assert!(beats.is_full(7));
        assert_eq!(taken(&mut beats), [(7, PEER_BEATS_MAX)]);
    }
}
