//! The log of a group as the library reads it: a snapshot's place and the entries behind it.
//!
//! ```text
//!   first-1 (index, term)   entries first ... last
//!   `-- compacted --'       snapshot (index, term, configuration) lies at first-1 or behind it
//! ```
//!
//! It mirrors what was handed to the driver for writing, in order; what of it is durable is the
//! group's knowledge, not kept here. Invariants: entries are contiguous; the snapshot covers
//! everything that was compacted; an overwritten entry takes all behind it away.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// The log in memory of one replica.
pub struct Tail {
    hard_state: HardState,
    snapshot: Snapshot,
    /// Index and term of the entry in front of the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    /// A replica needs a snapshot that the one at hand does not serve.
    wanted: Cell<bool>,
}

impl Tail {
    /// A log that goes on behind `snapshot`; one of index 0 stands for nothing at all. `None` if
    /// the entries do not follow upon it, or if less is there than is said to be committed.
    pub fn new(hard_state: HardState, snapshot: Snapshot, entries: Vec<Entry>) -> Option<Tail> {
        let meta = snapshot.get_metadata();
        let before = (meta.index, meta.term);
        let follows = |(at, entry): (usize, &Entry)| entry.index == before.0 + 1 + at as u64;
        let contiguous = entries.iter().enumerate().all(follows);
        let last = before.0 + entries.len() as u64;
        if !contiguous || hard_state.commit > last {
            return None;
        }
        let mut tail = Tail {
            hard_state,
            snapshot,
            before,
            entries: entries.into(),
            wanted: Cell::new(false),
        };
        // What a snapshot holds was committed, whatever was written of that before; and terms of
        // the log have been, though nobody was voted for in them.
        tail.hard_state.commit = tail.hard_state.commit.max(before.0);
        let last_term = tail.entries.back().map_or(before.1, |entry| entry.term);
        if tail.hard_state.term < last_term {
            (tail.hard_state.term, tail.hard_state.vote) = (last_term, 0);
        }
        Some(tail)
    }

    /// The snapshot at hand.
    pub fn snapshot_at_hand(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Index of the first entry that is kept.
    pub fn first(&self) -> u64 {
        self.before.0 + 1
    }

    /// Index of the last entry.
    pub fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    /// Term of an entry that is kept, or of the one in front of the first.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        Some(self.entry(index)?.term)
    }

    /// The entries, the last one first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    /// Puts entries at their places; what was there and behind is gone.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.before.0, "an entry in front of the log");
        assert!(first.index <= self.last() + 1, "a gap in the log");
        self.entries.truncate((first.index - self.first()) as usize);
        self.entries.extend(entries.iter().cloned());
    }

    /// The hard state that was handed over last.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Notes the hard state that was handed over.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// A snapshot that was received takes the place of the log.
    pub fn replace(&mut self, snapshot: Snapshot) {
        let meta = snapshot.get_metadata();
        self.before = (meta.index, meta.term);
        self.entries.clear();
        self.hard_state.commit = self.hard_state.commit.max(self.before.0);
        self.snapshot = snapshot;
    }

    /// A snapshot of the own state is durable: entries up to `keep_from` (exclusive), which it must
    /// cover, are let go.
    pub fn compact(&mut self, snapshot: Snapshot, keep_from: u64) {
        let index = snapshot.get_metadata().index;
        assert!(index >= self.snapshot.get_metadata().index, "an older snapshot");
        assert!(keep_from <= index + 1, "the snapshot does not cover what is let go");
        self.snapshot = snapshot;
        self.wanted.set(false);
        while self.first() < keep_from {
            let gone = self.entries.pop_front().expect("a snapshot lies within the log");
            self.before = (gone.index, gone.term);
        }
    }

    /// True once if a replica was refused a snapshot since the last call.
    pub fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.first())? as usize)
    }
}

/// True if a replica is named in a configuration.
pub fn names(conf: &ConfState, id: u64) -> bool {
    let voters = conf.get_voters().iter().chain(conf.get_voters_outgoing());
    voters.chain(conf.get_learners()).chain(conf.get_learners_next()).any(|&named| named == id)
}

impl Storage for Tail {
    fn initial_state(&self) -> Result<RaftState> {
        let conf = self.snapshot.get_metadata().get_conf_state().clone();
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: conf })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1, "entries that do not exist");
        let range = (low - self.first()) as usize..(high - self.first()) as usize;
        let mut entries = self.entries.range(range).cloned().collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        let missing =
            if index < self.before.0 { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_at(index).ok_or(Error::Store(missing))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// The snapshot at hand, if it is new enough and names the replica that is to get it: one cut
    /// before that replica was added would be refused there, again and again (C15).
    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let meta = self.snapshot.get_metadata();
        if meta.index < request_index.max(1) || !names(meta.get_conf_state(), to) {
            self.wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn snapshot(index: u64, term: u64, voters: &[u64]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (index, term);
        meta.mut_conf_state().set_voters(voters.to_vec());
        snapshot
    }

    fn tail() -> Tail {
        let hard_state = HardState { term: 3, commit: 4, ..HardState::default() };
        Tail::new(hard_state, snapshot(2, 1, &[1, 2]), vec![entry(3, 2), entry(4, 2), entry(5, 3)])
            .unwrap()
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let of = |commit, entries| {
            let hard_state = HardState { commit, ..HardState::default() };
            Tail::new(hard_state, snapshot(2, 1, &[1]), entries).is_some()
        };
        assert!(of(0, vec![]) && of(3, vec![entry(3, 1)]));
        assert!(!of(0, vec![entry(4, 1)]), "a gap behind the snapshot");
        assert!(!of(0, vec![entry(3, 1), entry(5, 1)]), "a gap between entries");
        assert!(!of(4, vec![entry(3, 1)]), "less than is committed");
    }

    #[test]
    fn an_overwritten_entry_takes_all_behind_it_away() {
        let mut tail = tail();
        tail.append(&[entry(4, 4)]);
        assert_eq!((tail.last(), tail.term_at(4), tail.term_at(5)), (4, Some(4), None));
        assert_eq!(tail.term_at(2), Some(1));
        assert_eq!(tail.term_at(1), None);
    }

    #[test]
    fn compaction_keeps_a_tail_for_those_who_lag() {
        let mut tail = tail();
        tail.compact(snapshot(4, 2, &[1, 2, 7]), 4);
        assert_eq!((tail.first(), tail.last(), tail.term_at(3)), (4, 5, Some(2)));
        assert!(tail.snapshot(4, 7).is_ok());
        assert!(tail.snapshot(5, 7).is_err(), "too old");
        assert!(tail.take_wanted());
        assert!(tail.snapshot(4, 8).is_err(), "cut before it was added");
        assert!(tail.take_wanted() && !tail.take_wanted());
        let fetched = Storage::entries(&tail, 4, 6, None, GetEntriesContext::empty(false));
        assert_eq!(fetched.unwrap().len(), 2);
        let fetched = Storage::entries(&tail, 3, 6, None, GetEntriesContext::empty(false));
        assert_eq!(fetched, Err(Error::Store(StorageError::Compacted)));
    }
}
