//! ZSet: members with scores, ordered by score and then by the member's bytes.
//!
//! A small sorted set is one packed allocation. Once it has held more than [`PACKED_LEN`]
//! members or one of more than [`PACKED_ELEMENT_BYTES`] it is, for good, an index by member and
//! a tree by rank, in which all operations take O(log n).
//!
//! The two zeros are equal as scores, and a member keeps the one it got first; but the packed
//! form has only one zero, as Redis' listpack has. NaN is no score: commands refuse it with an
//! error, and here it changes nothing.
//!
//! Ranges are ranges of ranks: a range by score or by member is first turned into one, and then
//! counted, walked or removed like any other.

mod packed;
mod tree;

use super::dense::Frozen;
use super::extremes::Extremes;
use crate::limits::{PACKED_ELEMENT_BYTES, PACKED_LEN};
use packed::{PackedIter, PackedMembers};
use std::cmp::Ordering;
use std::hash::Hasher;
use std::ops::Range;
pub use tree::Record;
use tree::{Tree, TreeIter};

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreBound {
    /// The score itself belongs to the range.
    Incl(f64),
    /// The score itself does not.
    Excl(f64),
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Below every member (`-`).
    Min,
    /// Above every member (`+`).
    Max,
    /// The member itself belongs to the range.
    Incl(&'a [u8]),
    /// The member itself does not.
    Excl(&'a [u8]),
}

/// What [`ZSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member was there with another score.
    Updated,
    /// The member was there with this score, or the score was NaN.
    Unchanged,
}

/// Members with scores.
#[derive(Clone, Debug, Default)]
pub struct ZSet {
    form: Form,
    extremes: Extremes,
}

#[derive(Clone, Debug)]
enum Form {
    Packed(PackedMembers),
    Tree(Box<Tree>),
}

impl Default for Form {
    fn default() -> Form {
        Form::Packed(PackedMembers::default())
    }
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> ZSet {
        ZSet::default()
    }

    /// An empty sorted set with a past: inserting the members of another under its extremes
    /// gives a set that behaves as that one does.
    pub fn with_extremes(extremes: Extremes) -> ZSet {
        let mut zset = ZSet { form: Form::default(), extremes };
        zset.fit_form();
        zset
    }

    /// The largest this sorted set has ever been.
    pub fn extremes(&self) -> Extremes {
        self.extremes
    }

    /// Members held.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.len(),
            Form::Tree(tree) => tree.len(),
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives `member` the score `score`.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        if score.is_nan() {
            return Inserted::Unchanged;
        }
        if !self.fits(member) {
            self.extremes.note_element(member);
            self.extremes.note_len(self.len() + 1);
            self.fit_form();
        }
        let outcome = match &mut self.form {
            Form::Packed(packed) => packed.insert(member, score),
            Form::Tree(tree) => tree.insert(member, score),
        };
        if outcome == Inserted::Added {
            self.extremes.note_element(member);
            self.extremes.note_len(self.len());
        }
        outcome
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Packed(packed) => packed.find(member).map(|(_, score)| score),
            Form::Tree(tree) => tree.score(member),
        }
    }

    /// Removes `member`; the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove_member(member),
            Form::Tree(tree) => tree.remove(member),
        }
    }

    /// The position of `member` in ascending order.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.form {
            Form::Packed(packed) => packed.find(member).map(|(rank, _)| rank),
            Form::Tree(tree) => tree.rank(member),
        }
    }

    /// The member at `rank` of the ascending order.
    pub fn get(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.iter(rank..rank.saturating_add(1), false).next()
    }

    /// The member at `place`: places are `0..len()`, as ranks are. In a set of more than
    /// [`PACKED_LEN`] members a member keeps its place whatever becomes of its score and of
    /// other members, unless it is the last one and fills the place of one that was removed.
    pub fn get_place(&self, place: usize) -> Option<(&[u8], f64)> {
        match &self.form {
            Form::Packed(_) => self.get(place),
            Form::Tree(tree) => tree.get_place(place),
        }
    }

    /// The member with the lowest score.
    pub fn first(&self) -> Option<(&[u8], f64)> {
        self.get(0)
    }

    /// The member with the highest score.
    pub fn last(&self) -> Option<(&[u8], f64)> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Removes the member with the lowest score.
    pub fn pop_first(&mut self) -> Option<(Box<[u8]>, f64)> {
        self.remove_rank(0)
    }

    /// Removes the member with the highest score.
    pub fn pop_last(&mut self) -> Option<(Box<[u8]>, f64)> {
        self.remove_rank(self.len().checked_sub(1)?)
    }

    /// The members at `ranks` (clipped to the length), or with `reverse` from the last of them
    /// down to the first.
    pub fn iter(&self, ranks: Range<usize>, reverse: bool) -> Iter<'_> {
        let end = ranks.end.min(self.len());
        let ranks = ranks.start.min(end)..end;
        match &self.form {
            Form::Packed(packed) => Iter(Walk::Packed(packed.iter(ranks, reverse))),
            Form::Tree(tree) => Iter(Walk::Tree(tree.iter(ranks, reverse))),
        }
    }

    /// Up to `len` members from position `start`, counted from the lowest score, or with
    /// `reverse` from the highest score downwards.
    pub fn iter_range_by_rank(&self, start: usize, len: usize, reverse: bool) -> Iter<'_> {
        let total = self.len();
        let start = start.min(total);
        let end = start.saturating_add(len).min(total);
        let ranks = if reverse { total - end..total - start } else { start..end };
        self.iter(ranks, reverse)
    }

    /// The ranks of the members whose scores lie between the bounds.
    pub fn ranks_by_score(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        let below = |score: f64| match min {
            ScoreBound::Incl(bound) => score < bound,
            ScoreBound::Excl(bound) => score <= bound,
        };
        let not_above = |score: f64| match max {
            ScoreBound::Incl(bound) => score <= bound,
            ScoreBound::Excl(bound) => score < bound,
        };
        let (start, end) = match &self.form {
            Form::Packed(packed) => (
                packed.partition_point(|score, _| below(score)),
                packed.partition_point(|score, _| not_above(score)),
            ),
            Form::Tree(tree) => {
                (tree.partition_by_score(below), tree.partition_by_score(not_above))
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members between the bounds, when all scores are equal; some range when
    /// they are not.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let below = |member: &[u8]| match min {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Incl(bound) => member < bound,
            LexBound::Excl(bound) => member <= bound,
        };
        let not_above = |member: &[u8]| match max {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Incl(bound) => member <= bound,
            LexBound::Excl(bound) => member < bound,
        };
        let (start, end) = match &self.form {
            Form::Packed(packed) => (
                packed.partition_point(|_, member| below(member)),
                packed.partition_point(|_, member| not_above(member)),
            ),
            Form::Tree(tree) => {
                (tree.partition_by_member(below), tree.partition_by_member(not_above))
            }
        };
        start..end.max(start)
    }

    /// How many members have a score between the bounds.
    pub fn count_in_score(&self, min: ScoreBound, max: ScoreBound) -> usize {
        self.ranks_by_score(min, max).len()
    }

    /// Removes the member at `rank`.
    pub fn remove_rank(&mut self, rank: usize) -> Option<(Box<[u8]>, f64)> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove_rank(rank),
            Form::Tree(tree) => tree.remove_rank(rank),
        }
    }

    /// Removes the members at `ranks`, giving each to `removed`; how many there were.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        for _ in start..end {
            if let Some((member, score)) = self.remove_rank(start) {
                removed(&member, score);
            }
        }
        end - start
    }

    /// The members as they are now, in the order of their places; `None` for a packed set, which
    /// is small.
    pub fn freeze(&mut self) -> Option<Frozen<Record>> {
        match &mut self.form {
            Form::Packed(_) => None,
            Form::Tree(tree) => Some(tree.freeze()),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Tree(tree) => size_of::<Tree>() + tree.heap_bytes(),
        }
    }

    /// The encoding that Redis shows under these limits (`zset-max-listpack-entries`,
    /// `zset-max-listpack-value`).
    pub fn encoding(&self, max_entries: usize, max_value: usize) -> &'static str {
        if self.extremes.within(max_entries, max_value) { "listpack" } else { "skiplist" }
    }

    /// Feeds the whole observable state to `state`.
    pub fn digest(&self, state: &mut impl Hasher) {
        self.extremes.digest(state);
        state.write_u64(self.len() as u64);
        for (member, score) in self.iter(0..usize::MAX, false) {
            state.write_u64(score.to_bits());
            state.write_u64(member.len() as u64);
            state.write(member);
        }
    }

    /// True when inserting `member` leaves the form as it is.
    fn fits(&self, member: &[u8]) -> bool {
        let Form::Packed(packed) = &self.form else { return true };
        let is_small = member.len() <= PACKED_ELEMENT_BYTES;
        is_small && (packed.len() < PACKED_LEN || packed.find(member).is_some())
    }

    /// Leaves the packed form when the extremes say so.
    fn fit_form(&mut self) {
        let Form::Packed(packed) = &self.form else { return };
        if self.extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES) {
            return;
        }
        let mut tree = Box::<Tree>::default();
        for (member, score) in packed.iter(0..packed.len(), false) {
            tree.insert(member, score);
        }
        self.form = Form::Tree(tree);
    }
}

/// Orders scores; the two zeros are equal. (NaN, which is never stored, equals everything.)
#[inline]
fn compare_scores(score: f64, other: f64) -> Ordering {
    score.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

/// Members of a sorted set with their scores, in either direction.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Walk<'a>);

#[derive(Clone, Debug)]
enum Walk<'a> {
    Packed(PackedIter<'a>),
    Tree(TreeIter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        match &mut self.0 {
            Walk::Packed(iter) => iter.next(),
            Walk::Tree(iter) => iter.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Walk::Packed(iter) => iter.size_hint(),
            Walk::Tree(iter) => iter.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::testing::Random;
    use std::collections::{BTreeMap, BTreeSet};

    /// The order-preserving bits of a score, in which the two zeros are one.
    fn sortable(score: f64) -> u64 {
        let bits = (score + 0.0).to_bits();
        if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
    }

    #[derive(Default)]
    struct Model {
        scores: BTreeMap<Vec<u8>, f64>,
        order: BTreeSet<(u64, Vec<u8>)>,
    }

    impl Model {
        fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
            let old = self.scores.get(member).copied();
            if old == Some(score) {
                return Inserted::Unchanged;
            }
            self.remove(member);
            self.scores.insert(member.to_vec(), score);
            self.order.insert((sortable(score), member.to_vec()));
            if old.is_some() { Inserted::Updated } else { Inserted::Added }
        }

        fn remove(&mut self, member: &[u8]) -> Option<f64> {
            let score = self.scores.remove(member)?;
            self.order.remove(&(sortable(score), member.to_vec()));
            Some(score)
        }

        fn sorted(&self) -> Vec<(&[u8], f64)> {
            self.order.iter().map(|(_, m)| (&m[..], self.scores[m])).collect()
        }
    }

    fn check(zset: &ZSet, model: &Model) {
        let sorted = model.sorted();
        let all: Vec<_> = zset.iter(0..usize::MAX, false).collect();
        assert_eq!(all, sorted);
        assert!(all.iter().zip(&sorted).all(|(a, b)| a.1.to_bits() == b.1.to_bits()));
        assert!(zset.iter(0..usize::MAX, true).eq(sorted.iter().rev().copied()));
        assert_eq!(zset.len(), sorted.len());
        assert_eq!(zset.first(), sorted.first().copied());
        assert_eq!(zset.last(), sorted.last().copied());
        match &zset.form {
            Form::Packed(packed) => assert_eq!(packed.len(), sorted.len()),
            Form::Tree(tree) => tree.check(),
        }
        let packed = matches!(zset.form, Form::Packed(_));
        assert_eq!(packed, zset.extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES));
    }

    fn check_reads(random: &mut Random, zset: &ZSet, model: &Model, pool: &Pool) {
        let sorted = model.sorted();
        let (start, len) = (random.below(sorted.len() + 3), random.below(sorted.len() + 3));
        let expected: Vec<_> = sorted.iter().copied().skip(start).take(len).collect();
        let found = zset.iter_range_by_rank(start, len, false);
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let expected: Vec<_> = sorted.iter().rev().copied().skip(start).take(len).collect();
        assert_eq!(zset.iter_range_by_rank(start, len, true).collect::<Vec<_>>(), expected);

        let (min, max) = (pool.score(random), pool.score(random));
        let (min_incl, max_incl) = (random.below(2) == 0, random.below(2) == 0);
        let inside = |score: f64| {
            (score > min || min_incl && score == min) && (score < max || max_incl && score == max)
        };
        let bound = |incl, score| match incl {
            true => ScoreBound::Incl(score),
            false => ScoreBound::Excl(score),
        };
        let (low, high) = (bound(min_incl, min), bound(max_incl, max));
        let expected: Vec<_> = sorted.iter().copied().filter(|m| inside(m.1)).collect();
        let ranks = zset.ranks_by_score(low, high);
        assert_eq!(zset.count_in_score(low, high), expected.len());
        assert_eq!(zset.iter(ranks, false).collect::<Vec<_>>(), expected);

        let member = pool.member(random);
        assert_eq!(zset.score(&member), model.scores.get(&member).copied());
        assert_eq!(zset.rank(&member), sorted.iter().position(|m| m.0 == member));
        let rank = random.below(sorted.len() + 2);
        assert_eq!(zset.get(rank), sorted.get(rank).copied());
    }

    struct Pool {
        members: usize,
        long: usize,
        scores: Vec<f64>,
    }

    impl Pool {
        fn member(&self, random: &mut Random) -> Vec<u8> {
            let number = random.below(self.members);
            let mut member = format!("{:x}", number * 2_654_435_761 % 65_536).into_bytes();
            member.extend(std::iter::repeat_n(b'\0', number * 31 % (self.long + 1)));
            member
        }

        fn score(&self, random: &mut Random) -> f64 {
            self.scores[random.below(self.scores.len())]
        }
    }

    fn pools() -> Vec<Pool> {
        let few = vec![0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1e300];
        let many: Vec<f64> = (0..997).map(|i| f64::from(i * 37 % 1000) / 8.0 - 50.0).collect();
        vec![
            Pool { members: 30, long: 3, scores: few.clone() },
            Pool { members: 140, long: 20, scores: many.clone() },
            Pool { members: 2000, long: 3, scores: few },
            Pool { members: 3000, long: 90, scores: many },
            Pool { members: 1500, long: 0, scores: vec![7.0] },
        ]
    }

    #[test]
    fn behaves_as_an_ordered_set() {
        let mut random = Random::new("zset");
        for pool in pools() {
            let (mut zset, mut model) = (ZSet::new(), Model::default());
            for step in 0..12_000 {
                let member = pool.member(&mut random);
                // First mostly insertions, then mostly removals.
                let inserts = if step < 8000 { 70 } else { 35 };
                if random.below(100) < inserts {
                    let score = pool.score(&mut random);
                    let outcome = zset.insert(&member, score);
                    let packed = matches!(zset.form, Form::Packed(_));
                    let kept = if packed { score + 0.0 } else { score };
                    assert_eq!(outcome, model.insert(&member, kept));
                } else {
                    assert_eq!(zset.remove(&member), model.remove(&member));
                }
                if step % 199 == 0 {
                    check(&zset, &model);
                    check_reads(&mut random, &zset, &model, &pool);
                }
            }
            check(&zset.clone(), &model);
            drain(&mut random, zset, model);
        }
    }

    /// Pops and removes ranges until nothing is left.
    fn drain(random: &mut Random, mut zset: ZSet, mut model: Model) {
        let owned = |found: Option<(Box<[u8]>, f64)>| found.map(|(m, s)| (m.into_vec(), s));
        while !zset.is_empty() {
            let sorted = model.sorted();
            let lowest = sorted.first().map(|(m, s)| (m.to_vec(), *s));
            let highest = sorted.last().map(|(m, s)| (m.to_vec(), *s));
            let ranks = random.below(sorted.len())..random.below(sorted.len() + 1);
            let inside = sorted.get(ranks.clone()).unwrap_or(&[]);
            let inside: Vec<_> = inside.iter().map(|(m, s)| (m.to_vec(), *s)).take(40).collect();
            let gone = match random.below(3) {
                0 => vec![owned(zset.pop_first()); 1],
                1 => vec![owned(zset.pop_last()); 1],
                _ => {
                    let mut gone = Vec::new();
                    let ranks = ranks.start..ranks.start + inside.len();
                    let count = zset.remove_ranks(ranks, |m, s| gone.push(Some((m.to_vec(), s))));
                    assert_eq!(count, gone.len());
                    assert!(gone.iter().flatten().eq(inside.iter()));
                    gone
                }
            };
            if let [Some(one)] = &gone[..] {
                let candidates = [lowest, highest, inside.first().cloned()];
                assert!(candidates.iter().flatten().any(|candidate| candidate == one));
            }
            for (member, score) in gone.into_iter().flatten() {
                assert_eq!(model.remove(&member), Some(score));
            }
            if zset.len().is_multiple_of(16) {
                check(&zset, &model);
            }
        }
        assert_eq!((zset.pop_first(), zset.pop_last(), zset.first()), (None, None, None));
        assert!(model.scores.is_empty());
    }

    #[test]
    fn ranges_by_member() {
        for long in [0, 200] {
            let mut zset = ZSet::new();
            let mut members: Vec<Vec<u8>> = (0..100).map(|i| format!("{i}").into()).collect();
            members.extend([vec![], vec![0], vec![255; 3], b"1\0".to_vec(), vec![b'5'; long]]);
            members.sort();
            members.dedup();
            for member in &members {
                zset.insert(member, 3.0);
            }
            let bounds = |member| [LexBound::Incl(member), LexBound::Excl(member)];
            let mut all: Vec<LexBound<'_>> = members.iter().flat_map(|m| bounds(m)).collect();
            all.extend([
                LexBound::Min,
                LexBound::Max,
                LexBound::Incl(b"zz"),
                LexBound::Excl(b"0a"),
            ]);
            for (&min, &max) in all.iter().flat_map(|min| all.iter().map(move |max| (min, max))) {
                let expected = members.iter().filter(|member| {
                    let member = &member[..];
                    let above = match min {
                        LexBound::Min => true,
                        LexBound::Max => false,
                        LexBound::Incl(bound) => member >= bound,
                        LexBound::Excl(bound) => member > bound,
                    };
                    above
                        && match max {
                            LexBound::Min => false,
                            LexBound::Max => true,
                            LexBound::Incl(bound) => member <= bound,
                            LexBound::Excl(bound) => member < bound,
                        }
                });
                let found = zset.iter(zset.ranks_by_lex(min, max), false);
                assert!(found.map(|(member, _)| member).eq(expected.map(|m| &m[..])));
            }
        }
    }

    #[test]
    fn zeros_are_equal_and_the_first_stays_unless_packed() {
        for filler in [0, 500] {
            let mut zset = ZSet::new();
            for i in 0..filler {
                zset.insert(format!("filler{i}").as_bytes(), 9.0);
            }
            zset.insert(b"b", -0.0);
            zset.insert(b"a", 0.0);
            zset.insert(b"c", 0.0);
            assert_eq!(zset.insert(b"b", 0.0), Inserted::Unchanged);
            let order: Vec<_> = zset.iter(0..3, false).map(|(member, _)| member).collect();
            assert_eq!(order, [b"a", b"b", b"c"]);
            assert_eq!(zset.score(b"b").is_some_and(f64::is_sign_negative), filler > 0);
            assert_eq!(zset.insert(b"d", f64::NAN), Inserted::Unchanged);
            assert_eq!(zset.insert(b"a", f64::NAN), Inserted::Unchanged);
            assert_eq!(zset.len(), filler + 3);
        }
    }

    #[test]
    fn encoding_remembers_the_largest_past() {
        let mut zset = ZSet::new();
        for i in 0..128 {
            zset.insert(format!("{i}").as_bytes(), 0.0);
        }
        assert_eq!(zset.encoding(128, 64), "listpack");
        zset.insert(b"0", 5.0);
        assert_eq!(zset.encoding(128, 64), "listpack");
        zset.insert(b"128", 0.0);
        zset.remove(b"128");
        assert_eq!(zset.encoding(128, 64), "skiplist");
        let mut zset = ZSet::new();
        zset.insert(&[b'm'; 65], 0.0);
        assert_eq!(zset.encoding(128, 64), "skiplist");
        assert_eq!(zset.encoding(128, 65), "listpack");
        assert_eq!(zset.encoding(0, 65), "skiplist");
    }

    #[test]
    fn heap_bytes_are_those_of_the_parts() {
        let mut zset = ZSet::new();
        assert_eq!(zset.heap_bytes(), 0);
        for i in 0..100_000_u32 {
            zset.insert(format!("member:{i:06}").as_bytes(), f64::from(i.wrapping_mul(40_503)));
        }
        let overhead = zset.heap_bytes() / 100_000 - 13;
        assert!(overhead < 66, "{overhead}");
        zset.remove_ranks(10..usize::MAX, |_, _| {});
        assert!(zset.heap_bytes() < 100_000, "{}", zset.heap_bytes());
    }
}
