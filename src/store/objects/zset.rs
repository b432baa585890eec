//! ZSet: members with scores, ordered by score and then by the member's bytes.

use super::extremes::Extremes;
use std::cmp::Ordering;
use std::hash::Hasher;
use std::ops::Range;

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
    /// The member was there with this score.
    Unchanged,
}

/// Members with scores.
#[derive(Clone, Debug, Default)]
pub struct ZSet {
    sorted: Vec<(f64, Box<[u8]>)>,
    extremes: Extremes,
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> ZSet {
        ZSet::default()
    }

    /// Members held.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives `member` the score `score`, which is not NaN.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let outcome = match self.score(member) {
            Some(old) if old == score => return Inserted::Unchanged,
            Some(_) => {
                self.remove(member);
                Inserted::Updated
            }
            None => Inserted::Added,
        };
        let rank = self.sorted.partition_point(|(s, m)| order(*s, m, score, member).is_lt());
        self.sorted.insert(rank, (score, member.into()));
        self.extremes.note_element(member);
        self.extremes.note_len(self.sorted.len());
        outcome
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.sorted.iter().find(|(_, m)| &m[..] == member).map(|(score, _)| *score)
    }

    /// Removes `member`; the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let rank = self.rank(member)?;
        Some(self.sorted.remove(rank).0)
    }

    /// The position of `member` in ascending order.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.sorted.iter().position(|(_, m)| &m[..] == member)
    }

    /// The member at `rank` of the ascending order.
    pub fn get(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.sorted.get(rank).map(|(score, member)| (&member[..], *score))
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
        if self.is_empty() {
            return None;
        }
        let (score, member) = self.sorted.remove(0);
        Some((member, score))
    }

    /// Removes the member with the highest score.
    pub fn pop_last(&mut self) -> Option<(Box<[u8]>, f64)> {
        self.sorted.pop().map(|(score, member)| (member, score))
    }

    /// Up to `len` members from position `start`, counted from the lowest score, or with
    /// `reverse` from the highest score downwards.
    pub fn iter_range_by_rank(
        &self,
        start: usize,
        len: usize,
        reverse: bool,
    ) -> impl ExactSizeIterator<Item = (&[u8], f64)> + '_ {
        let start = start.min(self.len());
        let len = len.min(self.len() - start);
        (start..start + len).map(move |i| {
            let rank = if reverse { self.len() - 1 - i } else { i };
            let (score, member) = &self.sorted[rank];
            (&member[..], *score)
        })
    }

    /// The ranks of the members whose scores lie between the bounds.
    pub fn ranks_by_score(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        let start = self.sorted.partition_point(|(score, _)| match min {
            ScoreBound::Incl(bound) => *score < bound,
            ScoreBound::Excl(bound) => *score <= bound,
        });
        let end = self.sorted.partition_point(|(score, _)| match max {
            ScoreBound::Incl(bound) => *score <= bound,
            ScoreBound::Excl(bound) => *score < bound,
        });
        start..end.max(start)
    }

    /// The ranks of the members between the bounds, when all scores are equal; some range when
    /// they are not.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let start = self.sorted.partition_point(|(_, member)| match min {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Incl(bound) => &member[..] < bound,
            LexBound::Excl(bound) => &member[..] <= bound,
        });
        let end = self.sorted.partition_point(|(_, member)| match max {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Incl(bound) => &member[..] <= bound,
            LexBound::Excl(bound) => &member[..] < bound,
        });
        start..end.max(start)
    }

    /// How many members have a score between the bounds.
    pub fn count_in_score(&self, min: ScoreBound, max: ScoreBound) -> usize {
        self.ranks_by_score(min, max).len()
    }

    /// Removes the members at `ranks`, giving each to `removed`; how many there were.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        self.sorted.drain(start..end).for_each(|(score, member)| removed(&member, score));
        end - start
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.sorted.iter().map(|(_, member)| member.len() + 24).sum()
    }

    /// The encoding that Redis would show under these limits.
    pub fn encoding(&self, max_entries: usize, max_value: usize) -> &'static str {
        if self.extremes.within(max_entries, max_value) { "listpack" } else { "skiplist" }
    }

    /// Feeds the whole observable state to `state`.
    pub fn digest(&self, state: &mut impl Hasher) {
        self.extremes.digest(state);
        for (score, member) in &self.sorted {
            state.write_u64(score.to_bits());
            state.write_u64(member.len() as u64);
            state.write(member);
        }
    }
}

fn order(score: f64, member: &[u8], other_score: f64, other: &[u8]) -> Ordering {
    score.partial_cmp(&other_score).unwrap_or(Ordering::Equal).then_with(|| member.cmp(other))
}
