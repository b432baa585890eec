//! The two halves of a lease: when a leader may answer alone, and when a follower must keep silent.
//!
//! ```text
//!   leader    |noted ---- round ---- confirmed ---- answers alone ----|  noted + 0.8 timeouts
//!   follower        |heard ------------- helps nobody else --------------------| heard + 1 timeout
//! ```
//!
//! A majority that confirmed a round heard of it after it was noted, and elects nobody for a whole
//! election timeout from then on. So the leader is alone until 0.8 of one have passed by its own
//! clock, as long as clocks differ in rate by less than 1.25; 1.1 is what is assumed (C5, C6, C9).
//!
//! Invariant: both halves are judged by a clock that runs while the process is stopped, never by
//! ticks. Deliberately absent: rounds (`reads`), and who leads (the library).

use crate::limits::{GROUP_ELECTION_US, GROUP_LEASE_US};

/// A leader's half.
#[derive(Debug, Default)]
pub struct Lease {
    term: u64,
    until_us: u64,
    /// A transfer was begun in this term: a vote that it forces may come at any later moment.
    ended: bool,
}

impl Lease {
    /// A round that began at `noted_us` was confirmed, and the node leads in `term`.
    pub fn confirm(&mut self, term: u64, noted_us: u64) {
        self.enter(term);
        self.until_us = self.until_us.max(noted_us + GROUP_LEASE_US);
    }

    /// Ends the lease for the rest of `term` (C7).
    pub fn end(&mut self, term: u64) {
        self.enter(term);
        self.ended = true;
    }

    /// The moment until which a leader of `term` may answer alone; 0 if it may not.
    pub fn until_us(&self, term: u64) -> u64 {
        if self.term == term && !self.ended { self.until_us } else { 0 }
    }

    /// True if there can be no lease in `term` any more.
    pub fn is_ended(&self, term: u64) -> bool {
        self.term == term && self.ended
    }

    fn enter(&mut self, term: u64) {
        assert!(term >= self.term, "terms grow");
        if term > self.term {
            *self = Lease { term, ..Lease::default() };
        }
    }
}

/// A follower's half: until when it neither votes nor campaigns.
#[derive(Debug)]
pub struct Silence {
    until_us: u64,
}

impl Silence {
    /// A process that starts may have acknowledged a leader a moment before it ended.
    pub fn from_start(now_us: u64) -> Silence {
        Silence { until_us: now_us + GROUP_ELECTION_US }
    }

    /// A leader was heard, and will be told so.
    pub fn heard(&mut self, now_us: u64) {
        self.until_us = self.until_us.max(now_us + GROUP_ELECTION_US);
    }

    /// True while nobody else may be helped to lead.
    pub fn holds(&self, now_us: u64) -> bool {
        now_us < self.until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_beginning_of_the_round_and_for_its_term() {
        let mut lease = Lease::default();
        lease.confirm(3, 1_000);
        assert_eq!(lease.until_us(3), 1_000 + GROUP_LEASE_US);
        lease.confirm(3, 500);
        assert_eq!(lease.until_us(3), 1_000 + GROUP_LEASE_US, "an older round takes nothing away");
        assert_eq!(lease.until_us(4), 0);
        lease.confirm(4, 2_000);
        assert_eq!(lease.until_us(3), 0);
    }

    #[test]
    fn a_transfer_ends_the_lease_for_the_rest_of_the_term() {
        let mut lease = Lease::default();
        lease.confirm(3, 1_000);
        lease.end(3);
        lease.confirm(3, 2_000);
        assert_eq!(lease.until_us(3), 0);
        assert!(lease.is_ended(3));
        lease.confirm(4, 3_000);
        assert_eq!(lease.until_us(4), 3_000 + GROUP_LEASE_US);
    }

    #[test]
    fn silence_runs_from_the_start_and_from_each_contact() {
        let mut silence = Silence::from_start(100);
        assert!(silence.holds(99 + GROUP_ELECTION_US));
        assert!(!silence.holds(100 + GROUP_ELECTION_US));
        silence.heard(700);
        assert!(silence.holds(699 + GROUP_ELECTION_US));
    }
}
