//! Replacement of one replica by another: learner, caught up, both configurations, removal.
//!
//! ```text
//!   voters 1 2 3 -> 1 2 3, learner 4 -> (1 2 3 and 1 2 4) -> 1 2 4
//! ```
//!
//! Each step is one change in the group's log, so a new leader goes on where the last one was. The
//! way out of the joint configuration is a step too, and not left to the library, which forgets it
//! when the leader changes in between. A replica's id is never used twice (C1).

use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

/// One replica takes another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The replica that leaves.
    pub from: u64,
    /// The replica that comes, with an id that was never used before.
    pub to: u64,
}

/// The change to propose next in a group with configuration `conf`; `None` if nothing is to be done
/// now. `caught_up` tells whether the new replica has nearly all of the log.
pub fn next_change(conf: &ConfState, plan: Replacement, caught_up: bool) -> Option<ConfChangeV2> {
    let Replacement { from, to } = plan;
    if !conf.get_voters_outgoing().is_empty() {
        return Some(ConfChangeV2::default());
    }
    let is_voter = conf.get_voters().contains(&to);
    if !is_voter && !conf.get_learners().contains(&to) {
        return Some(change(vec![single(ConfChangeType::AddLearnerNode, to)]));
    }
    let leaves =
        conf.get_voters().contains(&from).then(|| single(ConfChangeType::RemoveNode, from));
    if is_voter {
        return leaves.map(|leaves| change(vec![leaves]));
    }
    let both = leaves.into_iter().chain([single(ConfChangeType::AddNode, to)]).collect();
    caught_up.then(|| change(both))
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

    const PLAN: Replacement = Replacement { from: 3, to: 4 };

    fn kinds(conf: &ConfState, caught_up: bool) -> Option<Vec<(ConfChangeType, u64)>> {
        let change = next_change(conf, PLAN, caught_up)?;
        Some(change.get_changes().iter().map(|c| (c.get_change_type(), c.node_id)).collect())
    }

    #[test]
    fn the_steps_of_a_replacement() {
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        let before = ConfState::from((vec![1, 2, 3], vec![]));
        assert_eq!(kinds(&before, false), Some(vec![(AddLearnerNode, 4)]));
        let learning = ConfState::from((vec![1, 2, 3], vec![4]));
        assert_eq!(kinds(&learning, false), None);
        assert_eq!(kinds(&learning, true), Some(vec![(RemoveNode, 3), (AddNode, 4)]));
        let mut joint = ConfState::from((vec![1, 2, 4], vec![]));
        joint.set_voters_outgoing(vec![1, 2, 3]);
        assert_eq!(kinds(&joint, true), Some(vec![]));
        let after = ConfState::from((vec![1, 2, 4], vec![]));
        assert_eq!(kinds(&after, true), None);
    }

    #[test]
    fn an_empty_change_leaves_the_joint_configuration() {
        assert!(ConfChangeV2::default().leave_joint());
    }
}
