//! What became of requests that were proposed.
//!
//! A request lies in one entry, known by index and term, and is never proposed again (C18). Its
//! fate is decided where an entry is *committed* at that index: the same term, and it is applied;
//! another term, and it never will be. An entry that was overwritten in the log of a former leader
//! proves nothing: another node may still have it, lead, and commit it.
//!
//! ```text
//!   proposed (7, t2) --- 7 committed with t2 ---> applied
//!            |---------- 7 committed with t3 ---> not applied   (a client may try again)
//!            `---------- a snapshot covers 7 ---> uncertain     (nobody may)
//! ```
//!
//! Invariant: each ticket gets one fate. Losing the leadership decides none (C19).

use std::collections::BTreeMap;

/// What a request is known by between the driver and its group.
pub type Ticket = u64;

/// The end of a request that was not applied as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never entered the log; another node leads, or this one is busy.
    Refused,
    /// It entered the log, and another entry was committed in its place.
    NotApplied,
    /// It may or may not have been applied.
    Uncertain,
}

/// Requests whose fate is open, by the index and term of their entry.
#[derive(Debug, Default)]
pub struct OpenRequests {
    entries: BTreeMap<(u64, u64), Vec<Ticket>>,
    count: usize,
}

impl OpenRequests {
    /// Requests that are open.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Notes the requests of an entry that was proposed.
    pub fn propose(&mut self, index: u64, term: u64, tickets: Vec<Ticket>) {
        self.count += tickets.len();
        let before = self.entries.insert((index, term), tickets);
        assert!(before.is_none(), "two entries of one index and term");
    }

    /// The entry of `index` and `term` is committed: returns the tickets of its requests, to be
    /// answered when it is applied, and those that are now known not to be applied.
    pub fn decide(&mut self, index: u64, term: u64) -> (Vec<Ticket>, Vec<Ticket>) {
        let (mut applied, mut lost) = (Vec::new(), Vec::new());
        for ((_, of_term), tickets) in self.take_up_to(index) {
            if of_term == term { &mut applied } else { &mut lost }.extend(tickets);
        }
        (applied, lost)
    }

    /// A snapshot took the place of everything up to `index`: returns the requests in there, of
    /// which nobody can say any more what became of them.
    pub fn skip_to(&mut self, index: u64) -> Vec<Ticket> {
        self.take_up_to(index).into_values().flatten().collect()
    }

    fn take_up_to(&mut self, index: u64) -> BTreeMap<(u64, u64), Vec<Ticket>> {
        if self.entries.is_empty() {
            return BTreeMap::new();
        }
        let behind = self.entries.split_off(&(index + 1, 0));
        let taken = std::mem::replace(&mut self.entries, behind);
        self.count -= taken.values().map(Vec::len).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_term_decides() {
        let mut open = OpenRequests::default();
        open.propose(7, 2, vec![1, 2]);
        open.propose(8, 2, vec![3]);
        open.propose(8, 4, vec![4]);
        assert_eq!(open.count(), 4);
        assert_eq!(open.decide(7, 2), (vec![1, 2], vec![]));
        assert_eq!(open.decide(8, 4), (vec![4], vec![3]));
        assert_eq!(open.count(), 0);
        assert_eq!(open.decide(9, 4), (vec![], vec![]));
    }

    #[test]
    fn a_snapshot_leaves_requests_uncertain() {
        let mut open = OpenRequests::default();
        open.propose(7, 2, vec![1]);
        open.propose(9, 2, vec![2]);
        assert_eq!(open.skip_to(8), [1]);
        assert_eq!(open.decide(9, 3), (vec![], vec![2]));
    }
}
