//! A set of data groups: those that something happened to since somebody looked.

use super::message::GroupId;
use crate::limits::CLUSTER_GROUPS;

/// A set of data groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(u64);

const _: () = assert!(CLUSTER_GROUPS <= u64::BITS as usize);

impl GroupSet {
    /// The set of these bits, the lowest for group 0.
    pub fn of_bits(bits: u64) -> GroupSet {
        GroupSet(bits)
    }

    /// Puts a group in. The meta group is none of them.
    pub fn insert(&mut self, group: GroupId) {
        if usize::from(group) < CLUSTER_GROUPS {
            self.0 |= 1 << group;
        }
    }

    /// Takes a group out.
    pub fn remove(&mut self, group: GroupId) {
        if usize::from(group) < CLUSTER_GROUPS {
            self.0 &= !(1 << group);
        }
    }

    /// Puts all groups of another set in.
    pub fn extend(&mut self, other: GroupSet) {
        self.0 |= other.0;
    }
}

impl Iterator for GroupSet {
    type Item = GroupId;

    fn next(&mut self) -> Option<GroupId> {
        let group = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (group < u64::BITS).then_some(group as GroupId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::message::META;

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = GroupSet::default();
        [5, 0, 63, META, 5].into_iter().for_each(|group| set.insert(group));
        let mut other = GroupSet::of_bits(0b10);
        other.extend(set);
        other.remove(5);
        other.remove(META);
        assert_eq!(std::mem::take(&mut set).collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!(set.next(), None);
        assert_eq!(other.collect::<Vec<_>>(), [0, 1, 63]);
    }
}
