//! Lists: a deque of nodes, each a run of neighbouring elements in one buffer.
//!
//! ```text
//!   nodes   [ aaa bbbbb c dddd ] [ one large element ] [ ee f ggg ... ]
//!             up to 8 KiB or 512 elements, two bytes of overhead each
//! ```
//!
//! Ends are O(1), a place in the middle costs a walk over the nodes (from the nearer end) and at
//! most one node's bytes. Splitting and merging keep neighbours apart only as long as both
//! together exceed half a node, or were never touched in the middle.
//!
//! A snapshot may share nodes; a change copies the one that it meets.
//!
//! Invariants: no node is empty; `len` and `heap_bytes` are the sums over the nodes.
//! Deliberately absent: the listpack and quicklist encodings as such. Nothing but the name that
//! OBJECT ENCODING shows depends on them.

mod iter;
mod node;

use super::part::Part;
pub use iter::Iter;
use node::End;
pub(super) use node::Node;
use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;

/// A sequence of byte strings with cheap ends.
#[derive(Debug, Default)]
pub struct List {
    nodes: VecDeque<Part<Node>>,
    len: usize,
    heap_bytes: usize,
}

const _: () = assert!(size_of::<Part<Node>>() == size_of::<Node>());

/// Where [`List::insert_beside`] puts the new element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front of the pivot.
    Before,
    /// Behind the pivot.
    After,
}

/// What [`List::positions`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The match to begin with: 1 (or 0) is the first, 2 the second, -1 the last.
    pub rank: i64,
    /// Matches wanted at most; 0 for all.
    pub count: usize,
    /// Elements looked at at most; 0 for all.
    pub compare_max: usize,
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::default()
    }

    /// Elements held.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes held, kept as a running count.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The name OBJECT ENCODING shows: Redis 7.0 knows one form of lists only.
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// Puts `element` in front of all others.
    #[inline]
    pub fn push_front(&mut self, element: &[u8]) {
        self.push(element, End::Front);
    }

    /// Puts `element` behind all others.
    #[inline]
    pub fn push_back(&mut self, element: &[u8]) {
        self.push(element, End::Back);
    }

    /// The first element.
    pub fn front(&self) -> Option<&[u8]> {
        self.nodes.front().map(|node| node.get(0))
    }

    /// The last element.
    pub fn back(&self) -> Option<&[u8]> {
        self.nodes.back().map(|node| node.get(node.len() - 1))
    }

    /// Takes the first element.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        let element = self.front()?.to_vec();
        self.drop_front(1);
        Some(element)
    }

    /// Takes the last element.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        let element = self.back()?.to_vec();
        self.drop_back(1);
        Some(element)
    }

    /// Forgets the first `count` elements (all, when there are fewer).
    pub fn drop_front(&mut self, mut count: usize) {
        while let Some(node) = self.nodes.front()
            && node.len() <= count
        {
            count -= node.len();
            self.remove_node(0);
        }
        if count > 0 && !self.nodes.is_empty() {
            self.change(0, |node| node.drop_front(count));
        }
        self.shrink_nodes();
    }

    /// Forgets the last `count` elements (all, when there are fewer).
    pub fn drop_back(&mut self, mut count: usize) {
        while let Some(node) = self.nodes.back()
            && node.len() <= count
        {
            count -= node.len();
            self.remove_node(self.nodes.len() - 1);
        }
        if count > 0 && !self.nodes.is_empty() {
            self.change(self.nodes.len() - 1, |node| node.truncate(node.len() - count));
        }
        self.shrink_nodes();
    }

    /// The element at `index`; a negative one counts from the end (-1 is the last).
    pub fn get(&self, index: i64) -> Option<&[u8]> {
        let (node, at) = self.locate(self.place(index)?);
        Some(self.nodes[node].get(at))
    }

    /// Replaces the element at `index` (negative: from the end); false when there is none.
    pub fn set(&mut self, index: i64, element: &[u8]) -> bool {
        let Some(place) = self.place(index) else { return false };
        let (node, at) = self.locate(place);
        if !self.change(node, |node| node.try_set(at, element)) {
            self.remove_at(node, at);
            self.insert_at(place, element);
        }
        true
    }

    /// All elements, first to last.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_span(0, self.len)
    }

    /// The elements `start..=stop` as LRANGE counts them: negative from the end, clamped.
    pub fn iter_range(&self, start: i64, stop: i64) -> Iter<'_> {
        let (first, count) = span(self.len, start, stop);
        self.iter_span(first, count)
    }

    /// Inserts `element` beside the first element that equals `pivot`; false when none does.
    pub fn insert_beside(&mut self, side: Side, pivot: &[u8], element: &[u8]) -> bool {
        let Some(place) = self.iter().position(|item| item == pivot) else { return false };
        self.insert_at(place + usize::from(side == Side::After), element);
        true
    }

    /// Removes elements equal to `value` as LREM does: the first `count`, for a negative count
    /// the last, for 0 all. Answers how many went.
    pub fn remove(&mut self, count: i64, value: &[u8]) -> usize {
        let limit = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let limit = if count == 0 { usize::MAX } else { limit };
        let mut removed = 0;
        for step in 0..self.nodes.len() {
            let node = if count < 0 { self.nodes.len() - 1 - step } else { step };
            let hits = self.nodes[node].count(value);
            let take = hits.min(limit - removed);
            let skip = if count < 0 { hits - take } else { 0 };
            if take > 0 {
                self.change(node, |node| node.remove_equal(value, skip, take));
                removed += take;
            }
            if removed == limit {
                break;
            }
        }
        if removed > 0 {
            self.tidy_nodes();
        }
        removed
    }

    /// Keeps only the elements `start..=stop`, counted as in [`List::iter_range`].
    pub fn trim(&mut self, start: i64, stop: i64) {
        let (first, count) = span(self.len, start, stop);
        self.drop_back(self.len - first - count);
        self.drop_front(first);
    }

    /// The places of the elements that equal `value`, in the order in which LPOS answers them:
    /// from the start for a positive rank, from the end for a negative one.
    pub fn positions(&self, value: &[u8], search: Search) -> Vec<usize> {
        let all_if_0 = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let skip =
            usize::try_from(search.rank.unsigned_abs().saturating_sub(1)).unwrap_or(usize::MAX);
        let (compared, wanted) = (all_if_0(search.compare_max), all_if_0(search.count));
        let hit = |(place, element): (usize, &[u8])| (element == value).then_some(place);
        if search.rank < 0 {
            let places = (0..self.len).rev().zip(self.iter().rev());
            return places.take(compared).filter_map(hit).skip(skip).take(wanted).collect();
        }
        let places = self.iter().enumerate();
        places.take(compared).filter_map(hit).skip(skip).take(wanted).collect()
    }

    /// True when both hold the same elements in the same order.
    pub fn same_content(&self, other: &List) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }

    /// Feeds the elements in order; where nodes begin and end makes no difference.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        hasher.write_u64(self.len as u64);
        for element in self.iter() {
            hasher.write_u64(element.len() as u64);
            hasher.write(element);
        }
    }

    /// The nodes as they are now. Nothing is copied, whatever becomes of the list.
    pub(super) fn freeze(&mut self) -> Vec<Arc<Node>> {
        let frozen = self.nodes.iter_mut().map(Part::share).collect();
        self.heap_bytes = self.count_heap_bytes();
        frozen
    }

    fn iter_span(&self, first: usize, count: usize) -> Iter<'_> {
        if count == 0 {
            return Iter { nodes: &self.nodes, front: (0, 0), back: (0, 0), left: 0 };
        }
        let (front, last) = (self.locate(first), self.locate(first + count - 1));
        Iter { nodes: &self.nodes, front, back: (last.0, last.1 + 1), left: count }
    }

    /// The place that a possibly negative index names.
    fn place(&self, index: i64) -> Option<usize> {
        let index = if index < 0 { index.checked_add(self.len as i64)? } else { index };
        usize::try_from(index).ok().filter(|&place| place < self.len)
    }

    /// The node that holds the element at `place` (below `len`), and where in it.
    fn locate(&self, place: usize) -> (usize, usize) {
        debug_assert!(place < self.len);
        if place < self.len / 2 {
            let mut start = 0;
            for (index, node) in self.nodes.iter().enumerate() {
                if place < start + node.len() {
                    return (index, place - start);
                }
                start += node.len();
            }
        }
        let mut start = self.len;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            start -= node.len();
            if place >= start {
                return (index, place - start);
            }
        }
        (0, 0)
    }

    #[inline]
    fn push(&mut self, element: &[u8], end: End) {
        let last = if end == End::Front { 0 } else { self.nodes.len().saturating_sub(1) };
        if !self.nodes.is_empty() && self.change(last, |node| node.try_push(element, end)) {
            return;
        }
        if !self.nodes.is_empty() {
            self.change(last, Node::seal);
        }
        let at = if end == End::Front { 0 } else { self.nodes.len() };
        self.insert_node(at, Node::of(element));
    }

    /// Inserts `element` in front of the element at `place`, which may be `len`.
    fn insert_at(&mut self, place: usize, element: &[u8]) {
        if place == 0 || place == self.len {
            return self.push(element, if place == 0 { End::Front } else { End::Back });
        }
        let (node, at) = self.locate(place);
        if self.change(node, |node| node.try_insert(at, element)) {
            return;
        }
        let gap = self.split(node, at);
        // `gap` is the node behind the new element; there is one in front unless it is the first.
        let beside = (gap > 0 && self.change(gap - 1, |node| node.try_push(element, End::Back)))
            || self.change(gap, |node| node.try_push(element, End::Front));
        if !beside {
            self.insert_node(gap, Node::of(element));
        }
        self.merge_around(gap);
    }

    /// Makes a node begin with element `at` of `node`, and answers its index.
    fn split(&mut self, node: usize, at: usize) -> usize {
        if at == 0 {
            return node;
        }
        let right = self.change(node, |node| node.split_off(at));
        self.insert_node(node + 1, right);
        node + 1
    }

    /// Removes element `at` of `node`.
    fn remove_at(&mut self, node: usize, at: usize) {
        if self.nodes[node].len() == 1 {
            self.remove_node(node);
        } else {
            self.change(node, |node| node.remove(at));
        }
    }

    /// Merges the nodes next to `node` with their neighbours where that is worth it.
    fn merge_around(&mut self, node: usize) {
        let mut at = node.saturating_sub(2);
        for _ in 0..4 {
            if !self.merge_next(at) {
                at += 1;
            }
        }
    }

    /// Merges the node behind `at` into it, when both together are small.
    fn merge_next(&mut self, at: usize) -> bool {
        if at + 1 >= self.nodes.len() {
            return false;
        }
        let mut pair = self.nodes.range_mut(at..at + 2);
        let (Some(left), Some(right)) = (pair.next(), pair.next()) else { return false };
        if !left.fits(right) {
            return false;
        }
        let bytes = bytes_of(left);
        left.own().merge(right);
        self.len += right.len();
        self.heap_bytes = self.heap_bytes - bytes + bytes_of(left);
        self.remove_node(at + 1);
        true
    }

    /// Drops empty nodes and merges small neighbours, over the whole list.
    fn tidy_nodes(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        (self.len, self.heap_bytes) = (0, 0);
        for node in nodes.drain(..).filter(|node| node.len() > 0) {
            let last = self.nodes.len().checked_sub(1);
            match last.filter(|last| self.nodes[*last].fits(&node)) {
                Some(last) => self.change(last, |left| left.merge(&node)),
                None => self.insert_part(self.nodes.len(), node),
            }
        }
    }

    /// Changes one node and keeps the sums.
    #[inline]
    fn change<T>(&mut self, node: usize, change: impl FnOnce(&mut Node) -> T) -> T {
        let part = &mut self.nodes[node];
        let (len, bytes) = (part.len(), bytes_of(part));
        let node = part.own();
        let answer = change(node);
        self.len = self.len - len + node.len();
        self.heap_bytes = self.heap_bytes - bytes + node.heap_bytes();
        answer
    }

    fn insert_node(&mut self, at: usize, node: Node) {
        self.insert_part(at, Part::Own(node));
    }

    fn insert_part(&mut self, at: usize, node: Part<Node>) {
        let held = self.nodes.capacity();
        if held == 0 {
            // Most lists are short: the first node costs the space of one.
            self.nodes.reserve_exact(1);
        }
        self.len += node.len();
        self.heap_bytes += bytes_of(&node);
        self.nodes.insert(at, node);
        self.heap_bytes += (self.nodes.capacity() - held) * size_of::<Part<Node>>();
    }

    fn remove_node(&mut self, at: usize) {
        let Some(node) = self.nodes.remove(at) else { return };
        self.len -= node.len();
        self.heap_bytes -= bytes_of(&node);
    }

    /// Gives back the space of nodes when little of it is used.
    fn shrink_nodes(&mut self) {
        let held = self.nodes.capacity();
        if held > 8 && self.nodes.len() < held / 8 {
            self.nodes.shrink_to(self.nodes.len() * 2);
            self.heap_bytes -= (held - self.nodes.capacity()) * size_of::<Part<Node>>();
        }
    }

    /// The heap bytes, counted anew.
    fn count_heap_bytes(&self) -> usize {
        let nodes: usize = self.nodes.iter().map(bytes_of).sum();
        nodes + self.nodes.capacity() * size_of::<Part<Node>>()
    }
}

/// The bytes that a node holds beside its place among the nodes.
fn bytes_of(node: &Part<Node>) -> usize {
    node.heap_bytes() + node.overhead()
}

impl Clone for List {
    /// A copy; buffers may have other capacities, so the bytes are counted anew.
    fn clone(&self) -> List {
        let mut copy = List { nodes: self.nodes.clone(), len: self.len, heap_bytes: 0 };
        copy.heap_bytes = copy.count_heap_bytes();
        copy
    }
}

/// Redis' inclusive, possibly negative range over `len` elements, as (first, how many).
pub fn span(len: usize, start: i64, stop: i64) -> (usize, usize) {
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let first = from_end(start).max(0);
    let last = from_end(stop).min(len - 1);
    if first > last {
        return (0, 0);
    }
    (first as usize, (last - first + 1) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LIST_ALONE_MIN, LIST_NODE_BYTES};
    use crate::util::rng::SplitMix64;
    use std::collections::hash_map::DefaultHasher;

    type Model = VecDeque<Vec<u8>>;

    fn check(list: &List, model: &Model) {
        assert_eq!(list.len(), model.len());
        assert_eq!(list.len(), list.nodes.iter().map(|node| node.len()).sum::<usize>());
        assert_eq!(list.heap_bytes(), list.count_heap_bytes());
        list.nodes.iter().for_each(|node| node.check());
        assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
        assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
    }

    fn element(rng: &mut SplitMix64, longest: u64) -> Vec<u8> {
        let len = match rng.below(40) {
            0 => rng.below(longest),
            1..4 => rng.below(300),
            _ => rng.below(12),
        };
        let letter = b'a' + rng.below(3) as u8;
        vec![letter; len as usize]
    }

    fn index(rng: &mut SplitMix64, len: usize) -> i64 {
        let reach = len as i64 + 2;
        rng.below(2 * reach as u64 + 1) as i64 - reach
    }

    fn model_place(model: &Model, index: i64) -> Option<usize> {
        let index = if index < 0 { index + model.len() as i64 } else { index };
        (0..model.len() as i64).contains(&index).then_some(index as usize)
    }

    fn model_remove(model: &mut Model, count: i64, value: &[u8]) -> usize {
        let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == value).collect();
        if count < 0 {
            hits.reverse();
        }
        hits.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
        hits.sort_unstable();
        for &at in hits.iter().rev() {
            model.remove(at);
        }
        hits.len()
    }

    fn end_step(list: &mut List, model: &mut Model, rng: &mut SplitMix64, longest: u64) {
        let item = element(rng, longest);
        let most = if rng.below(8) == 0 { model.len() as u64 / 2 } else { 8 };
        let many = rng.below(most + 1) as usize;
        match rng.below(12) {
            0..=3 => {
                for _ in 0..many.min(40) {
                    list.push_back(&item);
                    model.push_back(item.clone());
                }
            }
            4..=7 => {
                for _ in 0..many.min(40) {
                    list.push_front(&item);
                    model.push_front(item.clone());
                }
            }
            8 => assert_eq!(list.pop_front(), model.pop_front()),
            9 => assert_eq!(list.pop_back(), model.pop_back()),
            10 => {
                list.drop_front(many);
                model.drain(..many.min(model.len()));
            }
            _ => {
                list.drop_back(many);
                model.truncate(model.len().saturating_sub(many));
            }
        }
        assert_eq!(list.front(), model.front().map(Vec::as_slice));
        assert_eq!(list.back(), model.back().map(Vec::as_slice));
    }

    fn middle_step(list: &mut List, model: &mut Model, rng: &mut SplitMix64, longest: u64) {
        let item = element(rng, longest);
        let at = index(rng, model.len());
        let place = model_place(model, at);
        match rng.below(20) {
            0..=3 => {
                assert_eq!(list.set(at, &item), place.is_some());
                if let Some(place) = place {
                    model[place] = item;
                }
            }
            4 => {
                let count = rng.below(9) as i64 - 4;
                assert_eq!(list.remove(count, &item), model_remove(model, count, &item));
            }
            5 if rng.below(4) == 0 => {
                let (start, stop) = (rng.below(5) as i64, -1 - rng.below(5) as i64);
                let (first, count) = span(model.len(), start, stop);
                list.trim(start, stop);
                *model = model.range(first..first + count).cloned().collect();
            }
            _ => {
                let pivot = place.map_or(item.clone(), |place| model[place].clone());
                let side = if rng.below(2) == 0 { Side::Before } else { Side::After };
                let found = model.iter().position(|other| *other == pivot);
                assert_eq!(list.insert_beside(side, &pivot, &item), found.is_some());
                if let Some(found) = found {
                    model.insert(found + usize::from(side == Side::After), item);
                }
            }
        }
        assert_eq!(list.get(at), model_place(model, at).map(|place| model[place].as_slice()));
    }

    #[test]
    fn random_operations_agree_with_a_naive_list() {
        for seed in 0..60 {
            println!("seed {seed}");
            let mut rng = SplitMix64::new(seed);
            let (mut list, mut model) = (List::new(), Model::new());
            let longest = if seed % 3 == 0 { 40 } else { 2 * LIST_ALONE_MIN as u64 };
            for step in 0..1500 {
                if rng.below(3) == 0 {
                    middle_step(&mut list, &mut model, &mut rng, longest);
                } else {
                    end_step(&mut list, &mut model, &mut rng, longest);
                }
                if step % 16 == 0 {
                    check(&list, &model);
                }
            }
            check(&list, &model);
            check(&list.clone(), &model);
        }
    }

    #[test]
    fn insertion_at_one_spot_and_between_large_elements_keeps_the_order() {
        let (mut list, mut model) = (List::new(), Model::new());
        for item in [&b"first"[..], &[b'x'; LIST_NODE_BYTES * 3], b"pivot", b"last"] {
            list.push_back(item);
            model.push_back(item.to_vec());
        }
        for step in 0..5000usize {
            let item =
                vec![b'0' + (step % 10) as u8; if step % 97 == 0 { 5000 } else { step % 40 }];
            let side = if step % 3 == 0 { Side::After } else { Side::Before };
            assert!(list.insert_beside(side, b"pivot", &item));
            let at = model.iter().position(|other| other == b"pivot").expect("it is there");
            model.insert(at + usize::from(side == Side::After), item);
        }
        check(&list, &model);
        assert!(list.nodes.len() < 400, "{} nodes", list.nodes.len());
    }

    fn numbered(range: std::ops::Range<i64>) -> List {
        let mut list = List::new();
        range.for_each(|n| list.push_back(n.to_string().as_bytes()));
        list
    }

    fn texts<'a>(items: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        items.map(|item| String::from_utf8_lossy(item).into_owned()).collect()
    }

    #[test]
    fn ranges_are_inclusive_clamped_and_count_from_the_end() {
        let list = numbered(0..5000);
        assert_eq!(texts(list.iter_range(0, 2)), ["0", "1", "2"]);
        assert_eq!(texts(list.iter_range(-2, -1)), ["4998", "4999"]);
        assert_eq!(texts(list.iter_range(2511, 2513)), ["2511", "2512", "2513"]);
        assert_eq!(list.iter_range(i64::MIN, i64::MAX).len(), 5000);
        for (start, stop) in [(3, 2), (5000, 6000), (-1, -2), (0, -5001), (i64::MAX, i64::MIN)] {
            assert_eq!(list.iter_range(start, stop).len(), 0, "{start} {stop}");
        }
        assert_eq!(List::new().iter_range(0, -1).len(), 0);
        let mut both = list.iter_range(10, 13);
        assert_eq!((both.next(), both.next_back()), (Some(&b"10"[..]), Some(&b"13"[..])));
        assert_eq!(texts(both), ["11", "12"]);
    }

    #[test]
    fn positions_follow_rank_count_and_limit() {
        let mut list = List::new();
        for item in ["a", "b", "c", "1", "2", "3", "c", "c"] {
            list.push_back(item.as_bytes());
        }
        let find =
            |rank, count, compare_max| list.positions(b"c", Search { rank, count, compare_max });
        assert_eq!(find(1, 1, 0), [2]);
        assert_eq!(find(2, 1, 0), [6]);
        assert_eq!(find(-1, 1, 0), [7]);
        assert_eq!(find(1, 0, 0), [2, 6, 7]);
        assert_eq!(find(-1, 0, 0), [7, 6, 2]);
        assert_eq!(find(-1, 2, 0), [7, 6]);
        assert_eq!(find(-3, 0, 0), [2]);
        assert_eq!(find(1, 0, 7), [2, 6]);
        assert_eq!(find(4, 0, 0), [0usize; 0]);
        assert_eq!(find(i64::MIN, 0, 0), [0usize; 0]);
    }

    #[test]
    fn an_element_costs_little_more_than_its_bytes() {
        for (bytes, count) in [(3, 20_000), (20, 20_000), (100, 20_000), (1500, 1000)] {
            let item = vec![b'x'; bytes];
            let (mut back, mut front) = (List::new(), List::new());
            for _ in 0..count {
                back.push_back(&item);
                front.push_front(&item);
            }
            for list in [back, front] {
                let overhead = list.heap_bytes() as f64 / count as f64 - bytes as f64;
                // Two bytes are the end, the rest is a node's head and the last node's room.
                let limit = 4.0 + bytes as f64 / 16.0;
                assert!(overhead <= limit, "{overhead} B beside {bytes}");
            }
        }
    }

    #[test]
    fn a_drained_list_gives_its_memory_back() {
        let mut list = numbered(0..100_000);
        list.drop_front(50_000);
        list.drop_back(49_990);
        assert_eq!(texts(list.iter()).first().map(String::as_str), Some("50000"));
        assert!(list.heap_bytes() < 4096, "{}", list.heap_bytes());
        for n in 0..100_000 {
            list.push_back(n.to_string().as_bytes());
            list.drop_front(1);
        }
        assert_eq!(list.len(), 10);
        assert!(list.heap_bytes() < 32 * 1024, "{}", list.heap_bytes());
    }

    #[test]
    fn digest_sees_order_but_not_nodes() {
        let digest = |list: &List| {
            let mut hasher = DefaultHasher::new();
            list.digest(&mut hasher);
            hasher.finish()
        };
        let pushed = numbered(0..3000);
        let mut inserted = List::new();
        (0..3000).rev().for_each(|n: i64| inserted.push_front(n.to_string().as_bytes()));
        assert!(pushed.same_content(&inserted));
        assert_eq!(digest(&pushed), digest(&inserted));
        assert!(inserted.set(1500, b"other"));
        assert!(!pushed.same_content(&inserted));
        assert_ne!(digest(&pushed), digest(&inserted));
    }
}
