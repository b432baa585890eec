//! Reads on their way: waiting for a round, in a round, waiting to be applied.
//!
//! ```text
//!   arrive -- lease holds ------------------------> index = commit now ----.
//!      `----- else -> next round -> confirmed ----> index of the round ----+-> applied? -> answer
//! ```
//!
//! A round of read-index asks a majority whether this node still leads; its context is (term,
//! counter), so that no answer of another term or life counts (C5). All reads that wait when a
//! round begins share it. Either way a read has an index, and is answered when that much is applied
//! (C8).
//!
//! Invariants: at most [`GROUP_ROUNDS_MAX`] rounds are under way; rounds are confirmed in order.

use super::fate::Ticket;
use crate::limits::GROUP_ROUNDS_MAX;
use std::collections::{BTreeMap, VecDeque};

/// How fresh a read must be, and what it may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Sees every write that was answered before; relies on clocks while a lease holds.
    Linearizable,
    /// The same without relying on clocks: always a round.
    Strict,
}

/// A round under way.
#[derive(Debug)]
struct Round {
    counter: u64,
    noted_us: u64,
    tickets: Vec<Ticket>,
}

/// The reads of one group.
#[derive(Debug, Default)]
pub struct Reads {
    counter: u64,
    next: Vec<Ticket>,
    rounds: VecDeque<Round>,
    by_index: BTreeMap<u64, Vec<Ticket>>,
    count: usize,
}

impl Reads {
    /// Reads that are not answered.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True if reads wait for a round to begin, and one may.
    pub fn wants_round(&self) -> bool {
        !self.next.is_empty() && self.rounds.len() < GROUP_ROUNDS_MAX
    }

    /// True while a round is under way.
    pub fn has_round(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// A read that needs a round.
    pub fn push(&mut self, ticket: Ticket) {
        self.count += 1;
        self.next.push(ticket);
    }

    /// A read that is answered when `index` is applied.
    pub fn push_at(&mut self, index: u64, ticket: Ticket) {
        self.count += 1;
        self.by_index.entry(index).or_default().push(ticket);
    }

    /// Begins a round for the reads that wait; returns its context.
    pub fn begin(&mut self, term: u64, now_us: u64) -> Vec<u8> {
        assert!(self.rounds.len() < GROUP_ROUNDS_MAX, "a round too many");
        self.counter += 1;
        let tickets = std::mem::take(&mut self.next);
        self.rounds.push_back(Round { counter: self.counter, noted_us: now_us, tickets });
        [term.to_le_bytes(), self.counter.to_le_bytes()].concat()
    }

    /// A majority confirmed the round of `context` at `index`. Returns when it began, if it is one
    /// of this term; with it all rounds before are confirmed.
    pub fn confirm(&mut self, context: &[u8], term: u64, index: u64) -> Option<u64> {
        let (of_term, counter) = context.split_first_chunk::<8>()?;
        let counter = u64::from_le_bytes(counter.try_into().ok()?);
        if u64::from_le_bytes(*of_term) != term {
            return None;
        }
        let mut noted_us = None;
        while let Some(round) = self.rounds.pop_front_if(|round| round.counter <= counter) {
            noted_us = Some(round.noted_us);
            if !round.tickets.is_empty() {
                self.by_index.entry(index).or_default().extend(round.tickets);
            }
        }
        noted_us
    }

    /// The leadership is lost: forgets the rounds and returns the reads that have no index.
    pub fn abandon(&mut self) -> Vec<Ticket> {
        let mut lost: Vec<_> = self.rounds.drain(..).flat_map(|round| round.tickets).collect();
        lost.append(&mut self.next);
        self.count -= lost.len();
        lost
    }

    /// Everything up to `applied` is applied: returns the reads that can be answered now.
    pub fn release(&mut self, applied: u64) -> Vec<Ticket> {
        if self.by_index.first_key_value().is_none_or(|(&index, _)| index > applied) {
            return Vec::new();
        }
        let behind = self.by_index.split_off(&(applied + 1));
        let ready = std::mem::replace(&mut self.by_index, behind);
        let ready: Vec<Ticket> = ready.into_values().flatten().collect();
        self.count -= ready.len();
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_share_the_round_that_begins_after_them() {
        let mut reads = Reads::default();
        reads.push(1);
        reads.push(2);
        let first = reads.begin(5, 100);
        reads.push(3);
        let second = reads.begin(5, 200);
        assert_eq!(reads.confirm(&first, 5, 40), Some(100));
        assert!(reads.release(39).is_empty());
        assert_eq!(reads.release(40), [1, 2]);
        assert_eq!(reads.confirm(&second, 5, 41), Some(200));
        assert_eq!(reads.release(41), [3]);
        assert_eq!(reads.count(), 0);
    }

    #[test]
    fn a_later_round_confirms_those_before() {
        let mut reads = Reads::default();
        reads.push(1);
        reads.begin(5, 100);
        reads.push(2);
        let second = reads.begin(5, 200);
        assert_eq!(reads.confirm(&second, 5, 9), Some(200));
        assert_eq!(reads.release(9), [1, 2]);
    }

    #[test]
    fn contexts_of_other_terms_and_lives_do_not_count() {
        let mut reads = Reads::default();
        reads.push(1);
        let context = reads.begin(5, 100);
        assert_eq!(reads.confirm(&context, 6, 9), None);
        assert_eq!(reads.confirm(b"", 5, 9), None);
        assert_eq!(reads.confirm(&context[..12], 5, 9), None);
        assert_eq!(reads.abandon(), [1]);
        assert_eq!(reads.confirm(&context, 5, 9), None);
        assert_eq!(reads.count(), 0);
    }

    #[test]
    fn rounds_are_bounded() {
        let mut reads = Reads::default();
        for ticket in 0..GROUP_ROUNDS_MAX as u64 {
            reads.push(ticket);
            assert!(reads.wants_round());
            reads.begin(1, 1);
        }
        reads.push(99);
        assert!(!reads.wants_round());
    }
}
