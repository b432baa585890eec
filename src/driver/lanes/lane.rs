//! One lane: requests of one origin for one group, in order.

use super::{Leader, NodeId};
use crate::cluster::wire::message::End;
use crate::resp::Protocol;
use std::sync::Arc;

pub(super) struct Item {
    pub(super) is_write: bool,
    pub(super) bytes: Arc<[u8]>,
    pub(super) end: Option<End>,
}

pub(super) enum Origin {
    /// The submission, and the place and part of each item.
    Here(u64, Vec<(usize, usize)>),
    /// The node, and how it names the requests.
    There(NodeId, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be tried again at this time.
    Waiting(u64),
    /// With the group here: the next item, and how many are under way.
    Here { next: usize, open: usize, since_us: u64 },
    /// With another node, under this name, which was given the items from this one on.
    There { node: NodeId, id: u64, from: usize, since_us: u64 },
}

pub(super) struct Lane {
    pub(super) group: u16,
    pub(super) protocol: Protocol,
    pub(super) origin: Origin,
    pub(super) items: Vec<Item>,
    pub(super) state: State,
    /// Who was believed to lead when it was begun last.
    pub(super) tried: Leader,
    pub(super) began_us: u64,
    /// Something was refused: nothing behind it is begun.
    pub(super) is_stopped: bool,
}

impl Lane {
    /// Whether a lane that waits goes on with this leader. One that refused it is asked again only
    /// when its time has come, or when it was not the leader meanwhile: so two nodes that each
    /// refuse do not pass it to and fro without a rest.
    pub(super) fn may_go_on(&mut self, leader: Leader) -> bool {
        if !matches!(self.state, State::Waiting(_)) {
            return false;
        }
        if leader == Leader::Unknown {
            self.tried = leader;
        }
        leader != self.tried
    }

    /// What has no end yet was not executed.
    pub(super) fn refuse_rest(&mut self) {
        for item in &mut self.items {
            item.end.get_or_insert(End::Refused);
        }
    }
}
