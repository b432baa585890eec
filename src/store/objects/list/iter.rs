//! The elements of a list in order, from both ends.

use super::Part;
use super::node::Node;
use std::collections::VecDeque;
use std::iter::FusedIterator;

/// Elements of a list in order, from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pub(super) nodes: &'a VecDeque<Part<Node>>,
    /// Node and element that come next.
    pub(super) front: (usize, usize),
    /// Node and element behind the one that comes last.
    pub(super) back: (usize, usize),
    pub(super) left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let node = &self.nodes[self.front.0];
        let element = node.get(self.front.1);
        self.front.1 += 1;
        if self.front.1 == node.len() {
            self.front = (self.front.0 + 1, 0);
        }
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        if self.back.1 == 0 {
            self.back.0 -= 1;
            self.back.1 = self.nodes[self.back.0].len();
        }
        self.back.1 -= 1;
        Some(self.nodes[self.back.0].get(self.back.1))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}
