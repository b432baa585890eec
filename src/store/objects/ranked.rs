//! A sequence of small keys in which a rank is found in O(log n): a counted B+ tree.
//!
//! ```text
//!  Inner   [ first key, count, node | first key, count, node | ... ]     up to RANKED_INNER
//!                        │                       │
//!  Leaf      [ key key key ... ]       [ key key key ... ]               up to RANKED_LEAF
//! ```
//!
//! The tree does not know what keys mean. A place in it is told by a rank, or by a function
//! that says of any key whether it lies before, at or behind the place; the keys are sorted in
//! its eyes because all of them were inserted by such functions.
//!
//! Invariants: no node but a lone root leaf is empty; `first` and `count` of a child tell its
//! node's first key and its number of keys; all leaves have the same depth. A node that falls
//! to a quarter is merged with a neighbour unless the two would fill more than three quarters,
//! so two neighbours are never both sparse, and a border between them never thrashes.

use crate::limits::{RANKED_INNER, RANKED_LEAF};
use std::cmp::Ordering;
use std::ops::Range;

/// Keys by rank.
#[derive(Debug)]
pub struct Ranked<K> {
    root: Node<K>,
    len: usize,
    node_bytes: usize,
}

#[derive(Clone, Debug)]
enum Node<K> {
    Leaf(Vec<K>),
    Inner(Vec<Child<K>>),
}

#[derive(Clone, Debug)]
struct Child<K> {
    first: K,
    count: usize,
    node: Node<K>,
}

impl<K> Default for Ranked<K> {
    fn default() -> Ranked<K> {
        Ranked { root: Node::Leaf(Vec::new()), len: 0, node_bytes: 0 }
    }
}

impl<K: Copy> Ranked<K> {
    /// Keys held.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of leading keys for which `pred` holds. It must hold for none after the first
    /// for which it does not.
    pub fn partition_point(&self, pred: impl Fn(&K) -> bool) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(keys) => return rank + keys.partition_point(&pred),
                Node::Inner(children) => {
                    let after = children.partition_point(|child| pred(&child.first));
                    let Some(slot) = after.checked_sub(1) else { return rank };
                    rank += children[..slot].iter().map(|child| child.count).sum::<usize>();
                    node = &children[slot].node;
                }
            }
        }
    }

    /// Inserts `key` behind all keys that are `Less` in the eyes of `order`. None is `Equal`.
    pub fn insert(&mut self, key: K, order: impl Fn(&K) -> Ordering) {
        let split = self.root.insert(&mut ByOrder(order), key, true, &mut self.node_bytes);
        self.len += 1;
        if let Some(right) = split {
            let left_count = self.len - right.count;
            let mut children = Vec::new();
            reserve(&mut children, RANKED_INNER, &mut self.node_bytes);
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            children.extend(Child::new(left, left_count));
            children.push(right);
            self.root = Node::Inner(children);
        }
    }

    /// Removes the key that is `Equal` in the eyes of `order`.
    pub fn remove(&mut self, order: impl Fn(&K) -> Ordering) -> Option<K> {
        self.remove_sought(&mut ByOrder(order))
    }

    /// Removes the key at `rank`.
    pub fn remove_rank(&mut self, rank: usize) -> Option<K> {
        self.remove_sought(&mut ByRank(rank))
    }

    /// Puts `key` in the place of the one that is `Equal` in the eyes of `order`.
    pub fn replace(&mut self, key: K, order: impl Fn(&K) -> Ordering) {
        let mut sought = ByOrder(order);
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(keys) => {
                    let offset = sought.offset(keys);
                    if let Some(place) = keys.get_mut(offset) {
                        *place = key;
                    }
                    return;
                }
                Node::Inner(children) => {
                    let slot = sought.child(children);
                    let child = &mut children[slot];
                    if sought.is_at(&child.first) {
                        child.first = key;
                    }
                    node = &mut child.node;
                }
            }
        }
    }

    fn remove_sought(&mut self, sought: &mut impl Sought<K>) -> Option<K> {
        let key = self.root.remove(sought, &mut self.node_bytes)?;
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            let old = std::mem::replace(&mut self.root, only.node);
            self.node_bytes -= old.own_bytes();
        }
        Some(key)
    }

    /// The keys at `ranks` (clipped to the length), ascending or descending.
    pub fn iter(&self, ranks: Range<usize>, reverse: bool) -> Iter<'_, K> {
        let end = ranks.end.min(self.len);
        let start = ranks.start.min(end);
        Iter { ranked: self, start, end, reverse, leaf: &[], leaf_start: 0 }
    }

    /// Heap bytes of all nodes.
    pub fn heap_bytes(&self) -> usize {
        self.node_bytes
    }

    /// The leaf that holds `rank`, and the offset in it; an offset beyond it when there is none.
    fn leaf_at(&self, rank: usize) -> (&[K], usize) {
        let mut node = &self.root;
        let mut rest = rank;
        loop {
            match node {
                Node::Leaf(keys) => return (keys, rest),
                Node::Inner(children) => {
                    let mut sought = ByRank(rest);
                    node = &children[sought.child(children)].node;
                    rest = sought.0;
                }
            }
        }
    }
}

/// A place in the tree.
trait Sought<K> {
    /// The child in which the place is.
    fn child(&mut self, children: &[Child<K>]) -> usize;
    /// The place in a leaf.
    fn offset(&self, keys: &[K]) -> usize;
    /// True when `key`, found at the place, is the one sought.
    fn is_at(&self, key: &K) -> bool;
}

/// The key with a rank in the subtree at hand; none when there are not so many.
struct ByRank(usize);

impl<K> Sought<K> for ByRank {
    #[inline]
    fn child(&mut self, children: &[Child<K>]) -> usize {
        let last = children.len() - 1;
        for (slot, child) in children[..last].iter().enumerate() {
            if self.0 < child.count {
                return slot;
            }
            self.0 -= child.count;
        }
        last
    }

    fn offset(&self, _keys: &[K]) -> usize {
        self.0
    }

    fn is_at(&self, _key: &K) -> bool {
        true
    }
}

/// The key that a function calls `Equal`, or where it would be.
struct ByOrder<F>(F);

impl<K, F: Fn(&K) -> Ordering> Sought<K> for ByOrder<F> {
    #[inline]
    fn child(&mut self, children: &[Child<K>]) -> usize {
        let not_behind = children.partition_point(|child| self.0(&child.first).is_le());
        not_behind.saturating_sub(1)
    }

    #[inline]
    fn offset(&self, keys: &[K]) -> usize {
        keys.partition_point(|key| self.0(key).is_lt())
    }

    fn is_at(&self, key: &K) -> bool {
        self.0(key).is_eq()
    }
}

/// A copy's allocations are its own: what they take is counted anew.
impl<K: Copy> Clone for Ranked<K> {
    fn clone(&self) -> Ranked<K> {
        let root = self.root.clone();
        Ranked { node_bytes: root.subtree_bytes(), root, len: self.len }
    }
}

/// Keys of a range of ranks.
#[derive(Clone, Debug)]
pub struct Iter<'a, K> {
    ranked: &'a Ranked<K>,
    start: usize,
    end: usize,
    reverse: bool,
    /// The leaf read last, and the rank of its first key.
    leaf: &'a [K],
    leaf_start: usize,
}

impl<K: Copy> Iterator for Iter<'_, K> {
    type Item = K;

    #[inline]
    fn next(&mut self) -> Option<K> {
        if self.start == self.end {
            return None;
        }
        let rank = if self.reverse { self.end - 1 } else { self.start };
        let inside = rank >= self.leaf_start && rank - self.leaf_start < self.leaf.len();
        if !inside {
            let (leaf, offset) = self.ranked.leaf_at(rank);
            (self.leaf, self.leaf_start) = (leaf, rank - offset);
        }
        if self.reverse {
            self.end -= 1
        } else {
            self.start += 1
        }
        self.leaf.get(rank - self.leaf_start).copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl<K: Copy> ExactSizeIterator for Iter<'_, K> {}

impl<K: Copy> Child<K> {
    /// `None` for an empty node, which no parent holds.
    fn new(node: Node<K>, count: usize) -> Option<Child<K>> {
        Some(Child { first: node.first()?, count, node })
    }
}

impl<K: Copy> Node<K> {
    fn first(&self) -> Option<K> {
        match self {
            Node::Leaf(keys) => keys.first().copied(),
            Node::Inner(children) => children.first().map(|child| child.first),
        }
    }

    /// Inserts at the place; the right half when the node had to be split. `edge`: nothing
    /// follows this subtree in the tree.
    fn insert(
        &mut self,
        place: &mut impl Sought<K>,
        key: K,
        edge: bool,
        bytes: &mut usize,
    ) -> Option<Child<K>> {
        match self {
            Node::Leaf(keys) => {
                let offset = place.offset(keys);
                let right = insert_or_split(keys, offset, key, edge, RANKED_LEAF, bytes)?;
                let count = right.len();
                Child::new(Node::Leaf(right), count)
            }
            Node::Inner(children) => {
                let slot = place.child(children);
                let edge = edge && slot + 1 == children.len();
                let child = &mut children[slot];
                let right = child.node.insert(place, key, edge, bytes);
                child.count = child.count + 1 - right.as_ref().map_or(0, |right| right.count);
                child.first = child.node.first().unwrap_or(child.first);
                let upper = insert_or_split(children, slot + 1, right?, edge, RANKED_INNER, bytes)?;
                let count = upper.iter().map(|child| child.count).sum();
                Child::new(Node::Inner(upper), count)
            }
        }
    }

    /// Removes the key at the place, if it is the one sought.
    fn remove(&mut self, place: &mut impl Sought<K>, bytes: &mut usize) -> Option<K> {
        match self {
            Node::Leaf(keys) => {
                let offset = place.offset(keys);
                place.is_at(keys.get(offset)?).then(|| keys.remove(offset))
            }
            Node::Inner(children) => {
                let slot = place.child(children);
                let child = &mut children[slot];
                let key = child.node.remove(place, bytes)?;
                child.count -= 1;
                child.first = child.node.first().unwrap_or(child.first);
                if child.node.is_sparse() {
                    merge_around(children, slot, bytes);
                }
                Some(key)
            }
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(keys) => keys.len() <= RANKED_LEAF / 4,
            Node::Inner(children) => children.len() <= RANKED_INNER / 4,
        }
    }

    /// Bytes of this node's own vector.
    fn own_bytes(&self) -> usize {
        match self {
            Node::Leaf(keys) => keys.capacity() * size_of::<K>(),
            Node::Inner(children) => children.capacity() * size_of::<Child<K>>(),
        }
    }

    fn subtree_bytes(&self) -> usize {
        let below = match self {
            Node::Leaf(_) => 0,
            Node::Inner(children) => children.iter().map(|c| c.node.subtree_bytes()).sum(),
        };
        self.own_bytes() + below
    }

    /// Takes over all that `right` holds, unless the two would fill more than three quarters.
    fn absorb(&mut self, right: &mut Node<K>, bytes: &mut usize) -> bool {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => append(left, right, RANKED_LEAF, bytes),
            (Node::Inner(left), Node::Inner(right)) => append(left, right, RANKED_INNER, bytes),
            _ => false, // all leaves have the same depth
        }
    }
}

/// Merges the child at `slot` with a neighbour where the two fit together, or removes it when
/// it is empty.
fn merge_around<K: Copy>(children: &mut Vec<Child<K>>, slot: usize, bytes: &mut usize) {
    if children[slot].count == 0 {
        let empty = children.remove(slot);
        *bytes -= empty.node.subtree_bytes();
        return;
    }
    for left in [slot, slot.wrapping_sub(1)] {
        let Some(both) = left.checked_add(2).and_then(|end| children.get_mut(left..end)) else {
            continue;
        };
        let (head, tail) = both.split_at_mut(1);
        if head[0].node.absorb(&mut tail[0].node, bytes) {
            head[0].count += tail[0].count;
            let emptied = children.remove(left + 1);
            *bytes -= emptied.node.own_bytes();
            return;
        }
    }
}

/// Inserts `item` at `at`. A full node is split in the middle, or, for items that arrive in
/// order, so that the left half stays full; the right half is given back.
fn insert_or_split<T>(
    items: &mut Vec<T>,
    at: usize,
    item: T,
    edge: bool,
    max: usize,
    bytes: &mut usize,
) -> Option<Vec<T>> {
    if items.len() < max {
        reserve(items, max, bytes);
        items.insert(at, item);
        return None;
    }
    let appended = edge && at == items.len();
    let middle = if appended { items.len() } else { items.len() / 2 };
    let mut right = Vec::new();
    reserve_for(&mut right, max, max, bytes);
    right.extend(items.drain(middle..));
    if at > middle || appended {
        right.insert(at - middle, item);
    } else {
        items.insert(at, item);
    }
    Some(right)
}

fn append<T>(left: &mut Vec<T>, right: &mut Vec<T>, max: usize, bytes: &mut usize) -> bool {
    let total = left.len() + right.len();
    if total > max / 4 * 3 {
        return false;
    }
    reserve_for(left, total, max, bytes);
    left.append(right);
    true
}

/// Makes room for one more.
fn reserve<T>(items: &mut Vec<T>, max: usize, bytes: &mut usize) {
    reserve_for(items, items.len() + 1, max, bytes);
}

/// Makes room for `needed` items in all: a quarter of a full node first, then a half, then all.
fn reserve_for<T>(items: &mut Vec<T>, needed: usize, max: usize, bytes: &mut usize) {
    if needed <= items.capacity() {
        return;
    }
    let target = needed.next_power_of_two().clamp(max / 4, max);
    let before = items.capacity();
    items.reserve_exact(target.saturating_sub(items.len()));
    *bytes += (items.capacity() - before) * size_of::<T>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::testing::Random;

    /// Checks every invariant of a subtree; its number of keys and its depth.
    fn check(node: &Node<u32>, is_root: bool) -> (usize, usize) {
        match node {
            Node::Leaf(keys) => {
                assert!(keys.len() <= RANKED_LEAF);
                assert!(is_root || !keys.is_empty());
                (keys.len(), 0)
            }
            Node::Inner(children) => {
                assert!(children.len() <= RANKED_INNER);
                assert!(children.len() > usize::from(is_root));
                let mut depths = Vec::new();
                for child in children {
                    let (count, depth) = check(&child.node, false);
                    assert_eq!(child.count, count);
                    assert_eq!(Some(child.first), child.node.first());
                    depths.push(depth);
                }
                assert!(depths.iter().all(|&depth| depth == depths[0]));
                (children.iter().map(|child| child.count).sum(), depths[0] + 1)
            }
        }
    }

    fn check_all(ranked: &Ranked<u32>, model: &[u32]) {
        assert_eq!(check(&ranked.root, true).0, model.len());
        assert_eq!(ranked.len(), model.len());
        assert_eq!(ranked.heap_bytes(), ranked.root.subtree_bytes());
        assert!(ranked.iter(0..usize::MAX, false).eq(model.iter().copied()));
        assert!(ranked.iter(0..usize::MAX, true).eq(model.iter().rev().copied()));
    }

    /// How `other` lies to `key`, which has `rank` and is not in the model.
    fn place(other: u32, key: u32, model: &[u32], rank: usize) -> Ordering {
        if other == key {
            return Ordering::Equal;
        }
        match model[..rank].contains(&other) {
            true => Ordering::Less,
            false => Ordering::Greater,
        }
    }

    fn insert_at(ranked: &mut Ranked<u32>, rank: usize, key: u32, model: &[u32]) {
        ranked.insert(key, |&other| place(other, key, model, rank));
    }

    #[test]
    fn behaves_as_a_vector() {
        let mut random = Random::new("ranked");
        for round in 0..12 {
            let mut ranked = Ranked::default();
            let mut model = Vec::new();
            for step in 0..6000_u32 {
                // Rounds drift: growing, then shrinking, so that every level is split and merged.
                let grows = random.below(100) < if step < 4000 { 80 } else { 10 };
                if grows || model.is_empty() {
                    let rank = match round % 3 {
                        0 => random.below(model.len() + 1),
                        1 => model.len(),
                        _ => 0,
                    };
                    insert_at(&mut ranked, rank, step, &model);
                    model.insert(rank, step);
                } else {
                    let rank = random.below(model.len());
                    let key = model.remove(rank);
                    let removed = match random.below(2) {
                        0 => ranked.remove_rank(rank),
                        _ => ranked.remove(|&other| place(other, key, &model, rank)),
                    };
                    assert_eq!(removed, Some(key));
                    assert_eq!(ranked.remove(|&other| place(other, key, &model, rank)), None);
                }
                if let Some(rank) = random.below(model.len().max(1)).checked_sub(1) {
                    assert_eq!(ranked.iter(rank..rank + 1, false).next(), model.get(rank).copied());
                    let (old, new) = (model.remove(rank), step + 100_000);
                    ranked.replace(new, |&other| place(other, old, &model, rank));
                    model.insert(rank, new);
                }
                if step % 97 == 0 {
                    check_all(&ranked, &model);
                    check_all(&ranked.clone(), &model);
                }
            }
            assert_eq!(ranked.remove_rank(model.len()), None);
            while let Some(key) = model.pop() {
                assert_eq!(ranked.remove_rank(model.len()), Some(key));
            }
            check_all(&ranked, &model);
        }
    }

    #[test]
    fn ranges_and_partition_points() {
        let mut ranked = Ranked::default();
        for key in (0..20_000_u32).step_by(2) {
            ranked.insert(key, |other| other.cmp(&key));
        }
        for bound in [0, 1, 2, 77, 9_999, 10_000, 19_998, 19_999, 50_000] {
            let expected = (0..10_000).filter(|key| 2 * key < bound).count();
            assert_eq!(ranked.partition_point(|&key| key < bound), expected);
        }
        let keys: Vec<u32> = ranked.iter(500..503, true).collect();
        assert_eq!(keys, [1004, 1002, 1000]);
        assert_eq!(ranked.iter(9_999..20_000, false).len(), 1);
        assert_eq!(ranked.iter(20_000..30_000, false).next(), None);
        assert_eq!(ranked.iter(7..7, true).next(), None);
    }

    #[test]
    fn keys_in_order_fill_their_leaves_and_removal_frees_them() {
        let mut ranked = Ranked::default();
        for key in 0..100_000_u32 {
            ranked.insert(key, |other| other.cmp(&key));
        }
        assert!(ranked.heap_bytes() < 100_000 * 6, "{}", ranked.heap_bytes());
        for left in (10_000..100_000).rev() {
            ranked.remove_rank((left * 7919) % (left + 1));
        }
        assert_eq!(check(&ranked.root, true).0, 10_000);
        assert!(ranked.heap_bytes() < 10_000 * 14, "{}", ranked.heap_bytes());
        // A descending run behind a full leaf must not leave leaves of one key behind.
        let mut ranked = Ranked::default();
        for key in (0..RANKED_LEAF as u32).chain((RANKED_LEAF as u32..10_000).rev()) {
            ranked.insert(key, |other| other.cmp(&key));
        }
        assert!(ranked.heap_bytes() < 10_000 * 12, "{}", ranked.heap_bytes());
    }
}
