//! The ring of virtual nodes, which proposes where groups live.
//!
//! ```text
//!        a3   b1    g     c7   a9        each node stands at 128 points of a circle of hashes;
//!   ------o----o----x-----o----o----     group g goes to the first nodes behind its own point
//!                   `---> c, a, ...      that have room: each node takes at most 1.05 x the mean
//! ```
//!
//! Replicas first, then leaders among them under a bound of the same kind. Where the walk meets
//! only full nodes, one earlier choice is moved. There always is one: a node with room is in fewer
//! groups than a full one, so some group holds the full one and not the other; for leaders a chain
//! of such moves is searched.
//!
//! Invariants: a function of the set of nodes alone (their order does not matter); a group's nodes
//! differ; no node has more than the bound. Deliberately absent: what is decided. The table that
//! the cluster has committed decides, and may lag behind or differ.

use crate::limits::RING_VNODES;
use std::collections::VecDeque;

/// Where one group lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The nodes that hold it, in the order of the ring. All different.
    pub replicas: Vec<u64>,
    /// The one among them that should lead.
    pub leader: u64,
}

/// Why no placement was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementError {
    /// There are fewer nodes than a group needs, or it needs none.
    TooFewNodes,
    /// A node was named twice.
    NodeTwice,
}

/// Proposes nodes for `groups` groups of `replicas` replicas each. `nodes` are their identities,
/// which must be well spread or few: they are hashed once more.
pub fn place(
    nodes: &[u64],
    groups: usize,
    replicas: usize,
) -> Result<Vec<Placement>, PlacementError> {
    let mut sorted = nodes.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(PlacementError::NodeTwice);
    }
    if replicas == 0 || sorted.len() < replicas {
        return Err(PlacementError::TooFewNodes);
    }
    let ring = Ring::new(&sorted);
    let walks: Vec<Vec<usize>> = (0..groups).map(|group| ring.walk(group)).collect();
    let held = place_replicas(&walks, sorted.len(), replicas);
    let leaders = place_leaders(&held, sorted.len());
    let placements = held.iter().zip(leaders).map(|(held, leader)| Placement {
        replicas: held.iter().map(|&node| sorted[node]).collect(),
        leader: sorted[leader],
    });
    Ok(placements.collect())
}

/// The most that one of `nodes` nodes takes of `total`: 1.05 times the mean, rounded up.
pub fn bound(total: usize, nodes: usize) -> usize {
    (total * 105).div_ceil(nodes * 100)
}

/// Points on the circle, sorted, each with the number of the node that stands there.
struct Ring {
    points: Vec<(u64, usize)>,
    nodes: usize,
}

impl Ring {
    fn new(nodes: &[u64]) -> Ring {
        let point = |number: usize, vnode: u64| (mix(mix(nodes[number]) ^ vnode), number);
        let mut points: Vec<_> = (0..nodes.len())
            .flat_map(|number| (0..RING_VNODES).map(move |vnode| (number, vnode)))
            .map(|(number, vnode)| point(number, vnode))
            .collect();
        points.sort_unstable();
        Ring { points, nodes: nodes.len() }
    }

    /// All nodes in the order in which they are met from the point of `group` on.
    fn walk(&self, group: usize) -> Vec<usize> {
        let start = mix(!(group as u64));
        let from = self.points.partition_point(|&(at, _)| at < start);
        let mut met = vec![false; self.nodes];
        let (before, behind) = self.points.split_at(from);
        let numbers = behind.iter().chain(before).map(|&(_, number)| number);
        numbers.filter(|&number| !std::mem::replace(&mut met[number], true)).collect()
    }
}

/// The finalizer of SplitMix64, whose every output bit depends on every input bit.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// For each group the nodes that hold it, by their numbers.
fn place_replicas(walks: &[Vec<usize>], nodes: usize, replicas: usize) -> Vec<Vec<usize>> {
    let room = bound(walks.len() * replicas, nodes);
    let mut load = vec![0; nodes];
    let mut held: Vec<Vec<usize>> = Vec::with_capacity(walks.len());
    for walk in walks {
        let with_room = |&&node: &&usize| load[node] < room;
        let mut chosen: Vec<usize> =
            walk.iter().filter(with_room).take(replicas).copied().collect();
        chosen.iter().for_each(|&node| load[node] += 1);
        while chosen.len() < replicas {
            let full = walk.iter().find(|node| !chosen.contains(node)).copied();
            let full = full.expect("there are at least as many nodes as replicas");
            make_room(full, &mut held, &mut load, room);
            load[full] += 1;
            chosen.push(full);
        }
        held.push(chosen);
    }
    held
}

/// Moves one replica from the node `full` to one with room.
fn make_room(full: usize, held: &mut [Vec<usize>], load: &mut [usize], room: usize) {
    for spare in (0..load.len()).filter(|&node| load[node] < room) {
        let movable = |group: &&mut Vec<usize>| group.contains(&full) && !group.contains(&spare);
        if let Some(group) = held.iter_mut().find(movable) {
            let place = group.iter_mut().find(|node| **node == full);
            *place.expect("the group holds it") = spare;
            load[full] -= 1;
            load[spare] += 1;
            return;
        }
    }
    unreachable!("a node with room is in fewer groups than a full one");
}

/// For each group the number of the node that should lead it, one of those that hold it.
fn place_leaders(held: &[Vec<usize>], nodes: usize) -> Vec<usize> {
    let room = bound(held.len(), nodes);
    let mut load = vec![0; nodes];
    let mut leaders: Vec<usize> = Vec::with_capacity(held.len());
    for replicas in held {
        let with_room = replicas.iter().find(|&&node| load[node] < room).copied();
        let leader = match with_room {
            Some(node) => {
                load[node] += 1;
                node
            }
            None => shift_leaders(replicas, held, &mut leaders, &mut load, room),
        };
        leaders.push(leader);
    }
    leaders
}

/// Makes room for a leader on one of `replicas`, all of them full: the first of a shortest chain
/// of nodes hands a group to the next, and so on, until one has room. Returns the first.
fn shift_leaders(
    replicas: &[usize],
    held: &[Vec<usize>],
    leaders: &mut [usize],
    load: &mut [usize],
    room: usize,
) -> usize {
    // For each node that was met: who hands which group to it.
    let mut giver: Vec<Option<Option<(usize, usize)>>> = vec![None; load.len()];
    let mut queue: VecDeque<usize> = replicas.iter().copied().collect();
    replicas.iter().for_each(|&node| giver[node] = Some(None));
    while let Some(node) = queue.pop_front() {
        if load[node] < room {
            return hand_over_along(node, &giver, leaders, load);
        }
        let led = (0..leaders.len()).filter(|&group| leaders[group] == node);
        for (group, &next) in led.flat_map(|group| held[group].iter().map(move |n| (group, n))) {
            if giver[next].is_none() {
                giver[next] = Some(Some((node, group)));
                queue.push_back(next);
            }
        }
    }
    unreachable!("replicas are bounded too, so that groups never outnumber the room for leaders");
}

/// Walks a chain back from the node with room, and returns the node at its beginning.
fn hand_over_along(
    end: usize,
    giver: &[Option<Option<(usize, usize)>>],
    leaders: &mut [usize],
    load: &mut [usize],
) -> usize {
    load[end] += 1;
    let mut node = end;
    while let Some(Some((from, group))) = giver[node] {
        leaders[group] = node;
        node = from;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CLUSTER_GROUPS, CLUSTER_REPLICAS};
    use crate::util::rng::SplitMix64;

    fn random_nodes(rng: &mut SplitMix64) -> Vec<u64> {
        (0..3 + rng.below(14)).map(|_| rng.next_u64()).collect()
    }

    fn count<'a>(nodes: &[u64], held: impl Iterator<Item = &'a u64>) -> Vec<usize> {
        let mut load = vec![0; nodes.len()];
        for node in held {
            load[nodes.iter().position(|known| known == node).unwrap()] += 1;
        }
        load
    }

    #[test]
    fn loads_are_bounded_and_the_nodes_of_a_group_differ() {
        let mut rng = SplitMix64::new(1);
        for round in 0..400 {
            let nodes = random_nodes(&mut rng);
            let groups = if round % 2 == 0 { CLUSTER_GROUPS } else { 1 + rng.below(90) as usize };
            let replicas = CLUSTER_REPLICAS.min(1 + rng.below(4) as usize);
            let placed = place(&nodes, groups, replicas).unwrap();
            assert_eq!(placed.len(), groups);
            for placement in &placed {
                let mut distinct = placement.replicas.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), replicas, "{nodes:?}");
                assert!(placement.replicas.contains(&placement.leader));
            }
            let held = count(&nodes, placed.iter().flat_map(|p| &p.replicas));
            let led = count(&nodes, placed.iter().map(|p| &p.leader));
            let most = |load: Vec<usize>| load.into_iter().max().unwrap();
            assert!(most(held) <= bound(groups * replicas, nodes.len()), "{nodes:?} {groups}");
            assert!(most(led) <= bound(groups, nodes.len()), "{nodes:?} {groups}");
        }
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter() {
        let mut rng = SplitMix64::new(2);
        for _ in 0..20 {
            let mut nodes = random_nodes(&mut rng);
            let before = place(&nodes, CLUSTER_GROUPS, CLUSTER_REPLICAS).unwrap();
            rng.shuffle(&mut nodes);
            assert_eq!(place(&nodes, CLUSTER_GROUPS, CLUSTER_REPLICAS).unwrap(), before);
        }
    }

    /// A node that leaves takes its own replicas with it; of the others few should move.
    #[test]
    fn little_moves_when_a_node_leaves() {
        let mut rng = SplitMix64::new(3);
        let (mut moved, mut lost) = (0, 0);
        for _ in 0..100 {
            let nodes: Vec<u64> = (0..4 + rng.below(13)).map(|_| rng.next_u64()).collect();
            let before = place(&nodes, CLUSTER_GROUPS, CLUSTER_REPLICAS).unwrap();
            let after = place(&nodes[1..], CLUSTER_GROUPS, CLUSTER_REPLICAS).unwrap();
            for (before, after) in before.iter().zip(&after) {
                lost += usize::from(before.replicas.contains(&nodes[0]));
                let is_new = |node: &&u64| !before.replicas.contains(node);
                moved += after.replicas.iter().filter(is_new).count();
            }
        }
        assert!(moved >= lost);
        assert!(moved <= 2 * lost, "{moved} replicas moved for {lost} that were lost");
    }

    #[test]
    fn too_few_nodes_and_twins_are_refused() {
        assert_eq!(place(&[1, 2], 64, 3), Err(PlacementError::TooFewNodes));
        assert_eq!(place(&[1, 2], 64, 0), Err(PlacementError::TooFewNodes));
        assert_eq!(place(&[1, 2, 3, 2], 64, 3), Err(PlacementError::NodeTwice));
    }

    #[test]
    fn three_nodes_hold_everything_and_share_the_leading() {
        let placed = place(&[7, 8, 9], CLUSTER_GROUPS, CLUSTER_REPLICAS).unwrap();
        assert!(placed.iter().all(|placement| placement.replicas.len() == 3));
        let led = count(&[7, 8, 9], placed.iter().map(|placement| &placement.leader));
        assert!(led.iter().all(|&led| led <= 23), "{led:?}");
    }
}
