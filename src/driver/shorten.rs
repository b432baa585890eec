//! Keeping a node's log short: letting go of what is needed no more, and making more of it so.
//!
//! ```text
//!   longer than it may be --- entries stand in front of what is stated ---> their groups are cut
//!                        `--- else --------------------------------------> all is stated anew,
//!                                                                           a part at a time
//! ```
//!
//! Invariant: the log is bounded (C14), also while replicas lag: those get a snapshot when what
//! they lack is gone. Deliberately absent: what a statement is (`cluster::core`), files.

use super::log::GroupLog;
use crate::cluster::core::message::{GroupId, META};
use crate::cluster::core::node::{Node, NodeInput};
use crate::limits::{CLUSTER_SHORTEN_BYTES, CLUSTER_SHORTEN_US};

/// How far a node is with making its log shorter.
#[derive(Debug, Default)]
pub struct Shortening {
    /// Nothing is begun before.
    next_us: u64,
    /// Where the log ended when stating everything anew was begun last.
    stated_at: u64,
    /// The last record in front of that, while it goes on.
    since: Option<u64>,
    count: u64,
    /// What the log is needed for may be another than at the last look.
    is_due: bool,
}

impl Shortening {
    /// What the log is needed for, or how long it may be, may be another than at the last look.
    pub fn look_again(&mut self) {
        self.is_due = true;
    }

    /// True if there is something to look at.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// How often everything was stated anew.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lets go of the log in front of what is needed. Where it is longer than `bytes_most`, the
    /// groups for whose entries it is kept are to be cut: `freshen` has that done, soon, and says
    /// how many bytes their state has. Where none pins it, the returned input is for the core.
    pub fn look(
        &mut self,
        now_us: u64,
        core: &Node,
        log: &mut GroupLog,
        bytes_most: u64,
        freshen: &mut dyn FnMut(GroupId) -> usize,
    ) -> Option<NodeInput> {
        self.is_due = false;
        let (needed, pinned_by) = core.needed_from();
        log.let_go(needed);
        if let Some(since) = self.since {
            self.is_due = true;
            return self.state_on(core, since);
        }
        if log.bytes() <= bytes_most {
            return None;
        }
        self.is_due = true;
        if now_us < self.next_us {
            return None;
        }
        // What is begun now helps when it is durable.
        self.next_us = now_us + CLUSTER_SHORTEN_US;
        if pinned_by.is_some_and(|group| group != META) {
            let mut bytes = 0;
            for (_, group) in core.pins() {
                if bytes < CLUSTER_SHORTEN_BYTES && group != META {
                    bytes += freshen(group);
                }
            }
            return None;
        }
        let end = log.log().end();
        let grown = end.saturating_sub(self.stated_at.max(log.begin()));
        if pinned_by.is_none() && grown <= bytes_most / 2 {
            return None;
        }
        let since = core.last_record();
        (self.stated_at, self.since) = (end, Some(since));
        self.state_on(core, since)
    }

    /// The next part of stating everything anew, when the one before is durable: what others want
    /// written waits behind one part, not behind all states.
    fn state_on(&mut self, core: &Node, since: u64) -> Option<NodeInput> {
        if core.stated_from() > since {
            self.since = None;
            self.count += 1;
            return None;
        }
        (!core.is_stating()).then_some(NodeInput::State(CLUSTER_SHORTEN_BYTES))
    }
}
