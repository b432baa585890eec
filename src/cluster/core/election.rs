//! Who campaigns first, without chance.
//!
//! A replica waits 12 + 3 r ticks without a leader, where r is its rank among the voters that did
//! not lead (C10). So no two campaign in the same moment again and again, and the same inputs give
//! the same election. The library draws a timeout at each change of role; the group sets it back
//! after each step.

use crate::limits::{GROUP_CAMPAIGN_TICKS_MIN, GROUP_CAMPAIGN_TICKS_STEP, GROUP_RANKS_MAX};

/// The longest a replica waits, in ticks.
pub const CAMPAIGN_TICKS_MAX: usize =
    GROUP_CAMPAIGN_TICKS_MIN + GROUP_CAMPAIGN_TICKS_STEP * (GROUP_RANKS_MAX - 1);

/// Ticks without a leader after which replica `own` campaigns. `order` names replicas as the ring
/// does; a voter that it does not name stands behind the others. `leader` is who led last, or 0.
pub fn campaign_ticks(
    own: u64,
    leader: u64,
    voters: impl Iterator<Item = u64>,
    order: &[u64],
) -> usize {
    let place = |id: u64| (order.iter().position(|&known| known == id).unwrap_or(usize::MAX), id);
    let before = voters.filter(|&id| id != leader && id != own && place(id) < place(own));
    let rank = before.count().min(GROUP_RANKS_MAX - 1);
    GROUP_CAMPAIGN_TICKS_MIN + GROUP_CAMPAIGN_TICKS_STEP * rank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(own: u64, leader: u64) -> usize {
        campaign_ticks(own, leader, [1, 2, 3, 9].into_iter(), &[3, 1, 2])
    }

    #[test]
    fn ranks_follow_the_ring_without_the_leader() {
        assert_eq!([3, 1, 2, 9].map(|own| ticks(own, 0)), [12, 15, 18, 21]);
        assert_eq!([1, 2, 9].map(|own| ticks(own, 3)), [12, 15, 18]);
    }

    #[test]
    fn nobody_waits_longer_than_the_most() {
        let ticks = campaign_ticks(50, 0, 1..=50, &[]);
        assert_eq!(ticks, CAMPAIGN_TICKS_MAX);
    }
}
