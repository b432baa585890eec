//! What no peer that keeps the rules sends. The library trusts its peers: some of it would end the
//! process, some would carry its numbers back or beyond what can be added.
//!
//! ```text
//!   message -- judge --> nonsense: it is dropped, and the connection that it came by is closed
//!                 |----> shows that this replica lacks what it had promised: it helps nobody to
//!                 |      lead any more
//!                 `----> the library
//! ```
//!
//! A peer that knows the secret is trusted not to lie, so nothing here proves that what it says is
//! true; only that it does no harm to a process. Invariant: what an honest replica sends is never
//! refused, however late or how often it arrives. The simulator ends with the first that is.

use super::Group;
use crate::cluster::core::entry;
use crate::cluster::core::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use crate::limits::{CLUSTER_PEER_NUMBER_MAX, CLUSTER_TIME_US_MAX, GROUP_MEMBERS_MAX};
use raft::StateRole;
use std::collections::BTreeSet;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No replica sends such a message.
    Nonsense(&'static str),
    /// The leader relies on entries that this replica acknowledged and does not have.
    Lacks,
}

impl Group {
    /// What is wrong with a message that would be given to the library.
    pub(super) fn judge(&self, message: &Message) -> Result<(), Wrong> {
        shape(message).map_err(Wrong::Nonsense)?;
        let raft = &self.raw.raft;
        // Of a former term: the library looks at nothing but that.
        if message.term < raft.term {
            return Ok(());
        }
        let last = raft.raft_log.last_index();
        let is_of_this_term = message.term == raft.term;
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if message.commit > last => Err(Wrong::Lacks),
            MessageType::MsgAppendResponse
                if is_of_this_term && self.leads() && !message.reject && message.index > last =>
            {
                Err(Wrong::Nonsense("it acknowledges what was never sent"))
            }
            // Whom it votes for has all of its log on disk before it asks.
            MessageType::MsgRequestVoteResponse
                if is_of_this_term
                    && raft.state == StateRole::Candidate
                    && !message.reject
                    && raft.raft_log.persisted != last =>
            {
                Err(Wrong::Nonsense("it votes for who has not asked"))
            }
            _ => Ok(()),
        }
    }
}

/// What can be said of a message by itself.
fn shape(message: &Message) -> Result<(), &'static str> {
    let kind = message.get_msg_type();
    let is = |condition: bool, why| if condition { Ok(()) } else { Err(why) };
    let numbers = [message.term, message.index, message.commit, message.reject_hint];
    is(numbers.iter().all(|number| *number <= CLUSTER_PEER_NUMBER_MAX), "a number beyond all")?;
    is(message.term > 0, "a term that cannot be")?;
    is(message.log_term <= message.term, "a log of a later term")?;
    is(message.commit_term <= message.term, "a commit of a later term")?;
    is(message.request_snapshot == 0, "it asks for a snapshot")?;
    is(message.entries.is_empty() || kind == MessageType::MsgAppend, "entries where none belong")?;
    is(message.has_snapshot() == (kind == MessageType::MsgSnapshot), "a snapshot out of place")?;
    match kind {
        MessageType::MsgAppend => entries(message),
        MessageType::MsgSnapshot => {
            let meta = message.get_snapshot().get_metadata();
            is(meta.term <= message.term, "a snapshot of a later term")?;
            is(meta.index <= CLUSTER_PEER_NUMBER_MAX, "a snapshot beyond all")?;
            is(is_sound_snapshot(message.get_snapshot()), "a snapshot that cannot be")
        }
        _ => Ok(()),
    }
}

/// Entries follow upon the one that they name, in terms that do not go back.
fn entries(message: &Message) -> Result<(), &'static str> {
    // Every group is born with an entry of index 1; nothing follows upon nothing.
    if message.index == 0 || message.log_term == 0 {
        return Err("entries that follow upon nothing");
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.entries.iter() {
        if entry.index != index + 1 || entry.term < term || entry.term > message.term {
            return Err("entries that do not follow upon each other");
        }
        if !is_sound_entry(entry) {
            return Err("an entry that cannot be");
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

fn is_sound_entry(entry: &Entry) -> bool {
    match entry.get_entry_type() {
        EntryType::EntryNormal => {
            entry::time_of(&entry.data).is_none_or(|time_us| time_us <= CLUSTER_TIME_US_MAX)
        }
        // A change that cannot be read is passed over where it is applied.
        EntryType::EntryConfChangeV2 => true,
        EntryType::EntryConfChange => false,
    }
}

/// True if a replica may begin with a snapshot: a sound one, or none at all.
pub(super) fn may_begin_with(snapshot: &Snapshot) -> bool {
    let meta = snapshot.get_metadata();
    let is_nothing = meta.index == 0 && *meta.get_conf_state() == ConfState::default();
    is_nothing || is_sound_snapshot(snapshot)
}

fn is_sound_snapshot(snapshot: &Snapshot) -> bool {
    let meta = snapshot.get_metadata();
    let time = entry::split_time(&snapshot.data);
    meta.index > 0
        && meta.term > 0
        && is_sound(meta.get_conf_state())
        && time.is_some_and(|(time_us, _)| time_us <= CLUSTER_TIME_US_MAX)
}

/// True if the library takes a configuration as it is.
fn is_sound(conf: &ConfState) -> bool {
    let lists = [&conf.voters[..], &conf.learners, &conf.voters_outgoing, &conf.learners_next];
    let sets = lists.map(|list| list.iter().copied().collect::<BTreeSet<u64>>());
    let is_each_once = |(list, set): (&&[u64], &BTreeSet<u64>)| list.len() == set.len();
    let [voters, learners, outgoing, next] = &sets;
    lists.iter().zip(&sets).all(is_each_once)
        && sets.iter().all(|set| set.len() <= GROUP_MEMBERS_MAX && !set.contains(&0))
        && !voters.is_empty()
        && learners.is_disjoint(voters)
        && learners.is_disjoint(outgoing)
        && next.is_disjoint(voters)
        && next.is_subset(outgoing)
        // Joint configurations are left by a step of their own.
        && !conf.auto_leave
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::group::{Start, birth};
    use crate::util::rng::SplitMix64;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn replica(snapshot: Snapshot) -> Start {
        Start {
            replica: 1,
            hard_state: Default::default(),
            snapshot,
            entries: Vec::new(),
            order: vec![1, 2, 3],
        }
    }

    /// The library ends the process for a configuration that it does not take.
    #[test]
    fn a_configuration_is_sound_if_the_library_takes_it() {
        let seed = 4711;
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        let mut sound = 0;
        for round in 0..20_000 {
            let mut list = || (0..rng.below(4)).map(|_| rng.below(6)).collect::<Vec<u64>>();
            let mut snapshot = birth(&list(), 5, b"");
            let conf = snapshot.mut_metadata().mut_conf_state();
            (conf.learners, conf.voters_outgoing, conf.learners_next) = (list(), list(), list());
            if !is_sound(conf) {
                continue;
            }
            sound += 1;
            let shown = format!("{conf:?}");
            let begun = catch_unwind(AssertUnwindSafe(|| Group::new(replica(snapshot), 0).is_ok()));
            assert!(matches!(begun, Ok(true)), "seed {seed}, round {round}: {shown}");
        }
        assert!(sound > 100, "hardly any was sound: {sound}");
        let conf = ConfState::from((vec![1, 1], vec![]));
        assert!(!is_sound(&conf) && !is_sound(&ConfState::default()));
    }

    fn message(kind: MessageType) -> Message {
        let mut message = Message { to: 1, from: 2, term: 7, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    #[test]
    fn what_no_replica_sends_is_told_from_what_is_late() {
        let group = Group::new(replica(birth(&[1, 2, 3], 5, b"")), 0).unwrap();
        let judged = |change: &dyn Fn(&mut Message)| {
            let mut append = message(MessageType::MsgAppend);
            (append.index, append.log_term) = (1, 1);
            append.set_entries(vec![Entry { index: 2, term: 7, ..Entry::default() }].into());
            change(&mut append);
            group.judge(&append).err()
        };
        assert_eq!(judged(&|_| {}), None);
        assert_eq!(judged(&|m| m.term = 0), Some(Wrong::Nonsense("a term that cannot be")));
        assert!(judged(&|m| m.term = u64::MAX).is_some());
        assert!(judged(&|m| m.log_term = 0).is_some());
        assert!(judged(&|m| m.entries[0].index = 3).is_some());
        assert!(judged(&|m| m.entries[0].term = 8).is_some());
        assert!(judged(&|m| m.request_snapshot = 1).is_some());
        let late = [0xff; 8];
        assert!(judged(&|m| m.entries[0].data = [&[1][..], &late].concat().into()).is_some());
        let mut heartbeat = message(MessageType::MsgHeartbeat);
        heartbeat.commit = 1;
        assert_eq!(group.judge(&heartbeat), Ok(()));
        heartbeat.commit = 2;
        assert_eq!(group.judge(&heartbeat), Err(Wrong::Lacks));
    }
}
