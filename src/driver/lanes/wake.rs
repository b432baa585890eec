//! When a lane that waits goes on: as soon as what it waits for is known, and at the latest when
//! its time has come.
//!
//! Deliberately absent: who leads, which the driver knows.

use super::lane::{Lane, State};
use super::{LaneId, Lanes, Leader};
use crate::limits::{CLUSTER_PARK_US, CLUSTER_REPLY_US, CLUSTER_RETRY_US};

impl Lanes {
    /// Has a lane wait, until something is known or for a while.
    pub(super) fn park(&mut self, now_us: u64, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.state = State::Waiting(now_us + CLUSTER_RETRY_US);
            self.parked.push(id);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_us: u64, leader: &impl Fn(u16) -> Leader) {
        let mut due = Vec::new();
        let mut late = Vec::new();
        for (id, lane) in &self.lanes {
            match lane.state {
                State::Waiting(at) if now_us >= at => due.push(*id),
                State::Here { since_us, .. } | State::There { since_us, .. }
                    if now_us > since_us + CLUSTER_REPLY_US =>
                {
                    late.push(*id);
                }
                _ => {}
            }
        }
        late.into_iter().for_each(|id| self.give_up(now_us, id));
        for id in due {
            let is_late = |lane: &Lane| now_us > lane.began_us + CLUSTER_PARK_US;
            if self.lanes.get(&id).is_some_and(is_late) {
                self.refuse(id);
            } else {
                self.start(now_us, id, leader);
            }
        }
    }

    /// The leader of a group may be another now, or of any: who waits for it tries again at once.
    pub fn retry(&mut self, now_us: u64, group: Option<u16>, leader: &impl Fn(u16) -> Leader) {
        let concerns = |lane: &Lane| group.is_none_or(|group| group == lane.group);
        let ids: Vec<LaneId> =
            self.lanes.iter().filter(|(_, lane)| concerns(lane)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.go_on(now_us, id, leader));
    }

    /// What was refused by who led, while it became known that another one leads, goes on at once:
    /// the news that it would wait for has come already.
    pub fn look_again(&mut self, now_us: u64, leader: &impl Fn(u16) -> Leader) {
        for id in std::mem::take(&mut self.parked) {
            self.go_on(now_us, id, leader);
        }
    }

    fn go_on(&mut self, now_us: u64, id: LaneId, leader: &impl Fn(u16) -> Leader) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.may_go_on(leader(lane.group)) {
            self.start(now_us, id, leader);
        }
    }
}
