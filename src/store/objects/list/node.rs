//! One node of a list: a run of neighbouring elements in one buffer.
//!
//! ```text
//!   buf   |--gap--|aaa|bbbbb|c|dddd|--room (capacity)--|
//!                 ^head                ends = [a, b, c, d]: where each element stops in buf
//! ```
//!
//! An element costs its bytes and the two of its end, and is found without a walk. Both ends of
//! the run grow without moving it while there is a gap or room; a run that meets the border is
//! moved once ([`Packed::make_room`]) and then has space for at least a quarter as many bytes as
//! were moved, so that pushes are O(1) however they alternate. An element longer than
//! [`LIST_ALONE_MIN`] lies in an allocation of its own.
//!
//! Invariants: a packed buffer is never longer than [`LIST_NODE_BYTES`] and never holds more than
//! [`LIST_NODE_ELEMENTS`]; `ends` ascends from `head` to `buf.len()`. A node may be empty only
//! inside an operation of the list.

use crate::limits::{LIST_ALONE_MIN, LIST_NODE_BYTES, LIST_NODE_ELEMENTS};
use crate::store::objects::blob::Blob;
use std::collections::VecDeque;
use std::ops::Range;

/// The smallest buffer.
const BUF_MIN: usize = 16;

/// A run of elements.
#[derive(Clone, Debug)]
pub(in crate::store::objects) enum Node {
    /// Small elements side by side.
    Packed(Packed),
    /// One large element.
    Alone(Blob),
}

/// Small elements side by side.
#[derive(Clone, Debug, Default)]
pub(in crate::store::objects) struct Packed {
    buf: Vec<u8>,
    ends: VecDeque<u16>,
    head: u16,
}

/// An end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::objects) enum End {
    Front,
    Back,
}

impl Default for Node {
    fn default() -> Node {
        Node::Packed(Packed::default())
    }
}

impl Node {
    /// A node that holds `element` alone for now.
    pub fn of(element: &[u8]) -> Node {
        if element.len() >= LIST_ALONE_MIN {
            return Node::Alone(element.into());
        }
        let mut packed = Packed::default();
        packed.make_room(element.len(), End::Back);
        packed.push(element, End::Back);
        Node::Packed(packed)
    }

    pub fn len(&self) -> usize {
        match self {
            Node::Packed(packed) => packed.ends.len(),
            Node::Alone(_) => 1,
        }
    }

    /// The bytes this node holds beside its own.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Node::Packed(packed) => packed.heap_bytes(),
            Node::Alone(element) => element.heap_bytes(),
        }
    }

    /// Element `at`, which must be below [`Node::len`].
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        match self {
            Node::Packed(packed) => &packed.buf[packed.range(at)],
            Node::Alone(element) => element,
        }
    }

    /// Adds `element` at one end; false when it has to go to another node.
    #[inline]
    pub fn try_push(&mut self, element: &[u8], end: End) -> bool {
        let Node::Packed(packed) = self else { return false };
        if element.len() >= LIST_ALONE_MIN || packed.ends.len() >= LIST_NODE_ELEMENTS {
            return false;
        }
        let fits = packed.room(end) >= element.len() || packed.make_room(element.len(), end);
        if fits {
            packed.push(element, end);
        }
        fits
    }

    /// Inserts `element` in front of element `at`; false when the node cannot take it.
    pub fn try_insert(&mut self, at: usize, element: &[u8]) -> bool {
        if at == 0 {
            return self.try_push(element, End::Front);
        }
        if !self.try_push(element, End::Back) {
            return false;
        }
        if let Node::Packed(packed) = self {
            packed.rotate_last_to(at);
        }
        true
    }

    /// Replaces element `at`; false when the node cannot take the new one.
    pub fn try_set(&mut self, at: usize, element: &[u8]) -> bool {
        match self {
            Node::Alone(old) if element.len() >= LIST_ALONE_MIN => *old = element.into(),
            Node::Alone(_) => *self = Node::of(element),
            Node::Packed(packed) => {
                return element.len() < LIST_ALONE_MIN && packed.replace(at, element);
            }
        }
        true
    }

    /// Removes element `at`.
    pub fn remove(&mut self, at: usize) {
        match self {
            Node::Packed(packed) => packed.remove(at),
            Node::Alone(_) => *self = Node::default(),
        }
    }

    /// Removes the first `count` elements, which must be fewer than there are.
    pub fn drop_front(&mut self, count: usize) {
        if let Node::Packed(packed) = self
            && count > 0
        {
            packed.head = packed.ends[count - 1];
            packed.ends.drain(..count);
            packed.shrink();
        }
    }

    /// Keeps the first `count` elements; at least one.
    pub fn truncate(&mut self, count: usize) {
        if let Node::Packed(packed) = self
            && (1..packed.ends.len()).contains(&count)
        {
            packed.ends.truncate(count);
            packed.buf.truncate(usize::from(packed.ends[count - 1]));
            packed.shrink();
        }
    }

    /// Moves the elements from `at` on into a node of their own; `at` must be within the node.
    pub fn split_off(&mut self, at: usize) -> Node {
        let count = self.len() - at;
        let mut right = self.copy_of(at, count);
        if let Node::Packed(packed) = &mut right {
            packed.shrink();
        }
        self.truncate(at);
        right
    }

    fn copy_of(&self, at: usize, count: usize) -> Node {
        let mut copy = Packed::default();
        let bytes: usize = (at..at + count).map(|i| self.get(i).len()).sum();
        copy.make_room(bytes, End::Back);
        for i in at..at + count {
            copy.push(self.get(i), End::Back);
        }
        Node::Packed(copy)
    }

    /// Whether the elements of `right` may be taken over: both together are small.
    ///
    /// "Small" is half of a node, so that what was merged does not at once split again.
    pub fn fits(&self, right: &Node) -> bool {
        let (Node::Packed(left), Node::Packed(right)) = (self, right) else { return false };
        left.live() + right.live() <= LIST_NODE_BYTES / 2
            && left.ends.len() + right.ends.len() <= LIST_NODE_ELEMENTS / 2
    }

    /// Takes over the elements of `right`, which fits.
    pub fn merge(&mut self, right: &Node) {
        let (Node::Packed(left), Node::Packed(right)) = (self, right) else { return };
        if left.room(End::Back) < right.live() {
            left.make_room(right.live(), End::Back);
        }
        for at in 0..right.ends.len() {
            left.push(&right.buf[right.range(at)], End::Back);
        }
    }

    /// How many elements equal `value`.
    pub fn count(&self, value: &[u8]) -> usize {
        (0..self.len()).filter(|&at| self.get(at) == value).count()
    }

    /// Removes the elements that equal `value`, but for the first `skip` of them and those behind
    /// the next `take`. The node may be empty afterwards.
    pub fn remove_equal(&mut self, value: &[u8], skip: usize, take: usize) {
        let Node::Packed(packed) = self else {
            self.remove(0);
            return;
        };
        let mut kept = Packed::default();
        kept.make_room(packed.live(), End::Back);
        let mut seen = 0;
        for at in 0..packed.ends.len() {
            let element = &packed.buf[packed.range(at)];
            let hit = element == value;
            seen += usize::from(hit);
            if !hit || seen <= skip || seen > skip + take {
                kept.push(element, End::Back);
            }
        }
        kept.shrink();
        *packed = kept;
    }

    /// Gives back the space that a full node will not use any more.
    pub fn seal(&mut self) {
        if let Node::Packed(packed) = self
            && packed.buf.capacity() - packed.live() > LIST_NODE_BYTES / 16
        {
            packed.resize(packed.live(), 0);
        }
    }
}

impl Packed {
    /// The bytes of buffer and ends.
    fn heap_bytes(&self) -> usize {
        self.buf.capacity() + self.ends.capacity() * size_of::<u16>()
    }

    /// Bytes of all elements.
    #[inline]
    fn live(&self) -> usize {
        self.buf.len() - usize::from(self.head)
    }

    #[inline]
    fn range(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { self.head } else { self.ends[at - 1] };
        usize::from(start)..usize::from(self.ends[at])
    }

    /// Bytes that can be added at `end` without moving anything.
    #[inline]
    fn room(&self, end: End) -> usize {
        match end {
            End::Front => usize::from(self.head),
            End::Back => self.buf.capacity().min(LIST_NODE_BYTES) - self.buf.len(),
        }
    }

    /// Adds an element for which there is room.
    #[inline]
    fn push(&mut self, element: &[u8], end: End) {
        match end {
            End::Back => {
                self.buf.extend_from_slice(element);
                self.ends.push_back(self.buf.len() as u16);
            }
            End::Front => {
                let stop = usize::from(self.head);
                let start = stop - element.len();
                self.buf[start..stop].copy_from_slice(element);
                self.ends.push_front(stop as u16);
                self.head = start as u16;
            }
        }
    }

    /// Moves the run so that `more` bytes have room at `end`; false when the node is full.
    ///
    /// A run that fills less than half of its buffer is centred, which leaves a quarter of the
    /// buffer free on either side. Otherwise the buffer doubles, with all that is new at `end`:
    /// a list that grows at one end wastes nothing at the other.
    fn make_room(&mut self, more: usize, end: End) -> bool {
        let needed = self.live() + more;
        let capacity = self.buf.capacity();
        if needed * 2 <= capacity.min(LIST_NODE_BYTES) {
            let gap = (capacity - needed) / 2 + if end == End::Front { more } else { 0 };
            self.resize(capacity, gap);
            return true;
        }
        if needed > LIST_NODE_BYTES || capacity >= LIST_NODE_BYTES {
            return false;
        }
        let wanted = needed.next_power_of_two().max(capacity * 2).clamp(BUF_MIN, LIST_NODE_BYTES);
        self.resize(wanted, if end == End::Front { wanted - self.live() } else { 0 });
        true
    }

    /// Gives back memory when the run fills less than an eighth of its buffer. The new one is
    /// twice as large as the run, so that neither growing nor shrinking comes again soon.
    fn shrink(&mut self) {
        let live = self.live();
        if self.buf.capacity() > BUF_MIN && live < self.buf.capacity() / 8 {
            let capacity = (live * 2).next_power_of_two().max(BUF_MIN);
            self.resize(capacity, (capacity - live) / 2);
        }
        if self.ends.len() < self.ends.capacity() / 8 {
            self.ends.shrink_to(self.ends.len() * 2);
        }
    }

    /// Puts the run into a buffer of `capacity` bytes, behind a gap of `gap`.
    fn resize(&mut self, capacity: usize, gap: usize) {
        let head = usize::from(self.head);
        debug_assert!(gap + self.live() <= capacity);
        let mut buf = Vec::with_capacity(capacity);
        buf.resize(gap, 0);
        buf.extend_from_slice(&self.buf[head..]);
        self.buf = buf;
        for end in &mut self.ends {
            *end = (usize::from(*end) - head + gap) as u16;
        }
        self.head = gap as u16;
    }

    /// Puts `element` in the place of element `at`; false when it is too much for the node.
    fn replace(&mut self, at: usize, element: &[u8]) -> bool {
        let range = self.range(at);
        let growth = element.len().saturating_sub(range.len());
        let needed = self.live() + growth;
        if needed > LIST_NODE_BYTES {
            return false;
        }
        let delta = (element.len() as u16).wrapping_sub(range.len() as u16);
        if self.room(End::Back) < growth {
            self.resize(needed.next_power_of_two().max(BUF_MIN), 0);
        }
        self.buf.splice(self.range(at), element.iter().copied());
        for end in self.ends.range_mut(at..) {
            *end = end.wrapping_add(delta);
        }
        true
    }

    /// Moves the last element in front of element `at`.
    fn rotate_last_to(&mut self, at: usize) {
        let last = self.ends.len() - 1;
        let bytes = self.range(last).len();
        let start = self.range(at).start;
        self.buf[start..].rotate_right(bytes);
        self.ends.pop_back();
        for end in self.ends.range_mut(at..) {
            *end += bytes as u16;
        }
        self.ends.insert(at, (start + bytes) as u16);
    }

    fn remove(&mut self, at: usize) {
        let range = self.range(at);
        let bytes = range.len() as u16;
        self.buf.drain(range);
        self.ends.remove(at);
        for end in self.ends.range_mut(at..) {
            *end -= bytes;
        }
        self.shrink();
    }
}

#[cfg(test)]
impl Node {
    /// Checks the invariants that the head of this file names.
    pub fn check(&self) {
        match self {
            Node::Alone(element) => assert!(element.len() >= LIST_ALONE_MIN),
            Node::Packed(packed) => {
                assert!(packed.buf.len() <= LIST_NODE_BYTES);
                assert!(packed.buf.capacity() <= LIST_NODE_BYTES);
                assert!((1..=LIST_NODE_ELEMENTS).contains(&packed.ends.len()));
                let mut from = packed.head;
                for end in &packed.ends {
                    assert!(*end >= from);
                    from = *end;
                }
                assert_eq!(usize::from(from), packed.buf.len());
            }
        }
    }
}
