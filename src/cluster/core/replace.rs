//! From the replicas that a group has to those that it should have, one safe step at a time.
//!
//! ```text
//!   voters 1 2 3 -> 1 2 3, learner 4 -> (1 2 3 and 1 2 4) -> 1 2 4
//! ```
//!
//! Each step is one change in the group's log, so a new leader goes on where the last one was, also
//! if other replicas are wanted by then. The way out of the joint configuration is a step too, and
//! not left to the library, which forgets it when the leader changes in between. A replica's id is
//! never used twice (C1).
//!
//! A change lies in an entry as the library spells it, and is read back by [`read_change`]: what a
//! leader sent never reaches the library's parser.

use crate::limits::CLUSTER_NUMBER_MAX;
use crate::util::wire::Source;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

/// Fields of a change in the library's encoding: the transition and its only value that is
/// written, a single change, and of that its kind and its replica.
const TRANSITION: u8 = 1 << 3;
const EXPLICIT: u8 = 2;
const CHANGE: u8 = 2 << 3 | 2;
const KIND: u8 = 1 << 3;
const NODE: u8 = 2 << 3;

/// The change to propose next in a group with configuration `conf` that should have the voters
/// `wanted`; `None` if nothing is to be done now. `caught_up` tells whether a learner has nearly
/// all of the log.
pub fn next_change(
    conf: &ConfState,
    wanted: &[u64],
    caught_up: impl Fn(u64) -> bool,
) -> Option<ConfChangeV2> {
    if !conf.get_voters_outgoing().is_empty() {
        return Some(ConfChangeV2::default());
    }
    let is_voter = |id: &u64| conf.get_voters().contains(id);
    let is_learner = |id: &u64| conf.get_learners().contains(id);
    let missing = || wanted.iter().copied().filter(|id| !is_voter(id));
    let surplus = || conf.get_voters().iter().copied().filter(|id| !wanted.contains(id));
    // One that was to come and was lost on the way.
    let given_up = conf.get_learners().iter().find(|id| !wanted.contains(id));
    if let Some(&id) = given_up {
        return Some(change(vec![single(ConfChangeType::RemoveNode, id)]));
    }
    if let Some(id) = missing().find(|id| !is_learner(id)) {
        return Some(change(vec![single(ConfChangeType::AddLearnerNode, id)]));
    }
    let comes = missing().find(|&id| caught_up(id));
    // Without one that comes, only what is too much goes.
    let goes = surplus().next().filter(|_| comes.is_some() || missing().next().is_none());
    let goes = goes.map(|id| single(ConfChangeType::RemoveNode, id));
    let comes = comes.map(|id| single(ConfChangeType::AddNode, id));
    let changes: Vec<_> = goes.into_iter().chain(comes).collect();
    (!changes.is_empty()).then(|| change(changes))
}

/// True if a group has the voters `wanted`, and nothing else.
pub fn is_settled(conf: &ConfState, wanted: &[u64]) -> bool {
    let is_simple = conf.get_voters_outgoing().is_empty() && conf.get_learners().is_empty();
    let voters = conf.get_voters();
    is_simple && voters.len() == wanted.len() && wanted.iter().all(|id| voters.contains(id))
}

/// Reads a change as [`next_change`] makes them; `None` for any other bytes.
pub fn read_change(bytes: &[u8]) -> Option<ConfChangeV2> {
    let mut source = Source::new(bytes);
    let (mut is_explicit, mut singles) = (false, Vec::new());
    while !source.is_empty() {
        match source.u8()? {
            TRANSITION => is_explicit = (source.u8()? == EXPLICIT).then_some(true)?,
            CHANGE => singles.push(read_single(source.string()?)?),
            _ => return None,
        }
    }
    // Otherwise the library would leave the joint configuration by itself.
    (is_explicit == (singles.len() > 1)).then(|| change(singles))
}

fn read_single(bytes: &[u8]) -> Option<ConfChangeSingle> {
    let mut source = Source::new(bytes);
    let (mut kind, mut id) = (ConfChangeType::AddNode, 0);
    while !source.is_empty() {
        match (source.u8()?, source.varint()?) {
            (KIND, 1) => kind = ConfChangeType::RemoveNode,
            (KIND, 2) => kind = ConfChangeType::AddLearnerNode,
            (NODE, value) => id = value,
            _ => return None,
        }
    }
    (1..=CLUSTER_NUMBER_MAX).contains(&id).then(|| single(kind, id))
}

fn single(kind: ConfChangeType, id: u64) -> ConfChangeSingle {
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = id;
    single
}

/// One change is made at once; several by way of a joint configuration that is left explicitly.
fn change(singles: Vec<ConfChangeSingle>) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    if singles.len() > 1 {
        change.set_transition(ConfChangeTransition::Explicit);
    }
    change.set_changes(singles.into());
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};

    fn kinds(
        conf: &ConfState,
        wanted: &[u64],
        caught_up: bool,
    ) -> Option<Vec<(ConfChangeType, u64)>> {
        let change = next_change(conf, wanted, |_| caught_up)?;
        Some(change.get_changes().iter().map(|c| (c.get_change_type(), c.node_id)).collect())
    }

    #[test]
    fn the_steps_of_a_replacement() {
        let wanted = [1, 2, 4];
        let before = ConfState::from((vec![1, 2, 3], vec![]));
        assert_eq!(kinds(&before, &wanted, false), Some(vec![(AddLearnerNode, 4)]));
        let learning = ConfState::from((vec![1, 2, 3], vec![4]));
        assert_eq!(kinds(&learning, &wanted, false), None);
        assert_eq!(kinds(&learning, &wanted, true), Some(vec![(RemoveNode, 3), (AddNode, 4)]));
        let mut joint = ConfState::from((vec![1, 2, 4], vec![]));
        joint.set_voters_outgoing(vec![1, 2, 3]);
        assert_eq!(kinds(&joint, &wanted, true), Some(vec![]));
        let after = ConfState::from((vec![1, 2, 4], vec![]));
        assert_eq!(kinds(&after, &wanted, true), None);
        assert!(is_settled(&after, &wanted) && !is_settled(&joint, &wanted));
        assert!(!is_settled(&learning, &wanted));
    }

    #[test]
    fn a_replacement_that_is_lost_itself_is_replaced() {
        let wanted = [1, 2, 5];
        let learning = ConfState::from((vec![1, 2, 3], vec![4]));
        assert_eq!(kinds(&learning, &wanted, true), Some(vec![(RemoveNode, 4)]));
        let voting = ConfState::from((vec![1, 2, 4], vec![5]));
        assert_eq!(kinds(&voting, &wanted, true), Some(vec![(RemoveNode, 4), (AddNode, 5)]));
    }

    #[test]
    fn what_is_too_much_goes_when_nobody_is_missing() {
        let more = ConfState::from((vec![1, 2, 3, 4], vec![]));
        assert_eq!(kinds(&more, &[1, 2, 4], false), Some(vec![(RemoveNode, 3)]));
    }

    /// What the library writes of a change is read back without it, and nothing else is.
    #[test]
    fn changes_come_back_and_other_bytes_are_none() {
        use protobuf::Message as _;
        let kinds = [AddNode, RemoveNode, AddLearnerNode];
        let mut changes = vec![ConfChangeV2::default()];
        for (at, kind) in kinds.into_iter().enumerate() {
            let one = single(kind, 1 << (20 * at));
            changes.push(change(vec![one.clone()]));
            changes.push(change(vec![single(RemoveNode, 7), one]));
        }
        for change in changes {
            let bytes = change.write_to_bytes().unwrap();
            assert_eq!(read_change(&bytes), Some(change.clone()));
            for end in 1..bytes.len() {
                let cut = read_change(&bytes[..end]);
                assert!(cut.is_none_or(|cut| cut != change), "cut at {end}");
            }
        }
        let mut by_itself = change(vec![single(AddNode, 1), single(RemoveNode, 2)]);
        by_itself.set_transition(ConfChangeTransition::Auto);
        let bytes = by_itself.write_to_bytes().unwrap();
        assert_eq!(read_change(&bytes), None, "the library would leave it by itself");
        // A group that is not closed, again and again: the library's parser would follow it down.
        assert_eq!(read_change(&[0x2b; 4096]), None);
    }

    #[test]
    fn an_empty_change_leaves_the_joint_configuration() {
        assert!(ConfChangeV2::default().leave_joint());
    }
}
