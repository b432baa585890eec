//! Ranges of sorted sets: ZRANGE and the older commands that are special cases of it.

use super::table::Outcome;
use crate::engine::{CmdError, Txn};
use crate::resp::{Args, Protocol, Reply};
use crate::store::objects::ZSet;
use crate::store::objects::zset::{LexBound, ScoreBound};
use crate::util::float::parse_f64_saturating;
use crate::util::int::parse_i64;
use std::ops::Range;

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub fn zrange(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    range(txn, args, reply, Options::default())
}

/// ZREVRANGE key start stop [WITHSCORES]
pub fn zrevrange(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let fixed = Options { by: Some(By::Rank), reverse: Some(true), ..Options::default() };
    range(txn, args, reply, fixed)
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub fn zrangebyscore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let fixed = Options { by: Some(By::Score), reverse: Some(false), ..Options::default() };
    range(txn, args, reply, fixed)
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub fn zrevrangebyscore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let fixed = Options { by: Some(By::Score), reverse: Some(true), ..Options::default() };
    range(txn, args, reply, fixed)
}

/// Both bounds of a range of scores; the lower one comes first.
pub fn score_bounds(min: &[u8], max: &[u8]) -> Result<(ScoreBound, ScoreBound), CmdError> {
    let bound = |text| score_bound(text).ok_or(CmdError::text("ERR min or max is not a float"));
    Ok((bound(min)?, bound(max)?))
}

/// What a range is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    /// `None` until the command or an option decides.
    by: Option<By>,
    /// `None` until the command or an option decides.
    reverse: Option<bool>,
    with_scores: bool,
    offset: i64,
    /// Negative for no limit.
    limit: i64,
}

impl Default for Options {
    fn default() -> Options {
        Options { by: None, reverse: None, with_scores: false, offset: 0, limit: -1 }
    }
}

/// A range whose bounds were read.
enum Wanted<'a> {
    Ranks(i64, i64),
    Scores(ScoreBound, ScoreBound),
    Members(LexBound<'a>, LexBound<'a>),
}

fn range(
    txn: &mut Txn<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    mut options: Options,
) -> Outcome {
    options.parse(args)?;
    let wanted = options.bounds(args.get(2), args.get(3))?;
    let key = txn.key(args.get(1));
    let Some(zset) = txn.read::<ZSet>(&key)? else {
        reply.array(0);
        return Ok(());
    };
    let reverse = options.reverse == Some(true);
    let ranks = match wanted {
        Wanted::Ranks(start, stop) => ranks_between(zset.len(), start, stop, reverse),
        Wanted::Scores(min, max) => options.limited(zset.ranks_by_score(min, max)),
        Wanted::Members(min, max) => options.limited(zset.ranks_by_lex(min, max)),
    };
    // With scores, RESP3 nests pairs and RESP2 lays them flat.
    let nested = options.with_scores && reply.protocol() == Protocol::Resp3;
    let flat = options.with_scores && !nested;
    reply.array(if flat { 2 * ranks.len() } else { ranks.len() });
    for (member, score) in zset.iter(ranks, reverse) {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        if options.with_scores {
            reply.double(score);
        }
    }
    Ok(())
}

impl Options {
    /// Reads the options behind the bounds.
    fn parse(&mut self, args: Args<'_>) -> Outcome {
        let mut at = 4;
        while let Some(arg) = args.try_get(at) {
            match arg.to_ascii_lowercase().as_slice() {
                b"withscores" => self.with_scores = true,
                b"limit" if at + 2 < args.len() => {
                    self.offset = parse_i64(args.get(at + 1)).ok_or(CmdError::NotInteger)?;
                    self.limit = parse_i64(args.get(at + 2)).ok_or(CmdError::NotInteger)?;
                    at += 2;
                }
                b"rev" if self.reverse.is_none() => self.reverse = Some(true),
                b"bylex" if self.by.is_none() => self.by = Some(By::Lex),
                b"byscore" if self.by.is_none() => self.by = Some(By::Score),
                _ => return Err(CmdError::Syntax),
            }
            at += 1;
        }
        if self.limit != -1 && matches!(self.by, None | Some(By::Rank)) {
            return Err(CmdError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE \
                 or BYLEX",
            ));
        }
        if self.with_scores && self.by == Some(By::Lex) {
            return Err(CmdError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(())
    }

    /// Reads the bounds. Downwards, scores and members are given with the upper one first.
    fn bounds<'a>(&self, first: &'a [u8], second: &'a [u8]) -> Result<Wanted<'a>, CmdError> {
        let (min, max) = if self.reverse == Some(true) { (second, first) } else { (first, second) };
        match self.by {
            None | Some(By::Rank) => {
                let start = parse_i64(first).ok_or(CmdError::NotInteger)?;
                let stop = parse_i64(second).ok_or(CmdError::NotInteger)?;
                Ok(Wanted::Ranks(start, stop))
            }
            Some(By::Score) => score_bounds(min, max).map(|(min, max)| Wanted::Scores(min, max)),
            Some(By::Lex) => {
                let invalid = CmdError::text("ERR min or max not valid string range item");
                let bounds = lex_bound(min).zip(lex_bound(max)).ok_or(invalid)?;
                Ok(Wanted::Members(bounds.0, bounds.1))
            }
        }
    }

    /// Applies LIMIT, counted from the end at which the range is read first.
    fn limited(&self, ranks: Range<usize>) -> Range<usize> {
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let len = ranks.len().saturating_sub(offset).min(limit);
        if len == 0 {
            return 0..0;
        }
        if self.reverse == Some(true) {
            let end = ranks.end - offset;
            end - len..end
        } else {
            let start = ranks.start + offset;
            start..start + len
        }
    }
}

/// The ranks from position `start` to position `stop`, which count from the end when negative;
/// `reverse` counts positions from the highest score.
fn ranks_between(len: usize, start: i64, stop: i64, reverse: bool) -> Range<usize> {
    let total = len as i64;
    let from_end = |position: i64| if position < 0 { position + total } else { position };
    let start = from_end(start).max(0);
    let end = from_end(stop).saturating_add(1).min(total);
    if start >= end {
        return 0..0;
    }
    let (start, end) = (start as usize, end as usize);
    if reverse { len - end..len - start } else { start..end }
}

/// A score, exclusive behind `(`. It is read as a C string: blanks may precede it, a NUL ends
/// it, nothing at all is zero, and what is out of range becomes infinite or zero.
fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    let (number, exclusive) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let number = number.split(|&byte| byte == 0).next().unwrap_or(b"");
    let blanks = number.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let score = match number {
        b"" => 0.0,
        _ => parse_f64_saturating(&number[blanks..])?,
    };
    Some(if exclusive { ScoreBound::Excl(score) } else { ScoreBound::Incl(score) })
}

/// `-`, `+`, `[member` or `(member`.
fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Min),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::Max),
        [b'[', member @ ..] => Some(LexBound::Incl(member)),
        [b'(', member @ ..] => Some(LexBound::Excl(member)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_bounds_are_read_as_c_reads_them() {
        let incl = |score| Some(ScoreBound::Incl(score));
        let excl = |score| Some(ScoreBound::Excl(score));
        assert_eq!(score_bound(b"1.5"), incl(1.5));
        assert_eq!(score_bound(b"(-2"), excl(-2.0));
        assert_eq!(score_bound(b"(-inf"), excl(f64::NEG_INFINITY));
        assert_eq!(score_bound(b"+Infinity"), incl(f64::INFINITY));
        assert_eq!(score_bound(b""), incl(0.0));
        assert_eq!(score_bound(b"("), excl(0.0));
        assert_eq!(score_bound(b" \t\n\x0b\x0c\r7"), incl(7.0));
        assert_eq!(score_bound(b"( 7"), excl(7.0));
        assert_eq!(score_bound(b"7\0x"), incl(7.0));
        assert_eq!(score_bound(b"1e999"), incl(f64::INFINITY));
        assert_eq!(score_bound(b"-0x1p9999"), incl(f64::NEG_INFINITY));
        assert_eq!(score_bound(b"1e-999"), incl(0.0));
        for bad in [&b" "[..], b"7 ", b"nan", b"((1", b"[1", b"x", b"1x", b"--1", b"\xff"] {
            assert_eq!(score_bound(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lex_bounds() {
        assert_eq!(lex_bound(b"-"), Some(LexBound::Min));
        assert_eq!(lex_bound(b"+"), Some(LexBound::Max));
        assert_eq!(lex_bound(b"["), Some(LexBound::Incl(b"")));
        assert_eq!(lex_bound(b"(a\0"), Some(LexBound::Excl(b"a\0")));
        for bad in [&b""[..], b"a", b"-a", b"++", b"1"] {
            assert_eq!(lex_bound(bad), None);
        }
    }

    #[test]
    fn positions_count_from_either_end() {
        assert_eq!(ranks_between(5, 0, -1, false), 0..5);
        assert_eq!(ranks_between(5, 0, 0, true), 4..5);
        assert_eq!(ranks_between(5, -2, 100, false), 3..5);
        assert_eq!(ranks_between(5, -100, -5, false), 0..1);
        assert_eq!(ranks_between(5, 1, 2, true), 2..4);
        for (start, stop) in
            [(5, 6), (3, 2), (-1, -2), (0, -6), (i64::MAX, i64::MAX), (0, i64::MIN)]
        {
            assert_eq!(ranks_between(5, start, stop, false), 0..0);
        }
        assert_eq!(ranks_between(5, i64::MIN, i64::MAX, true), 0..5);
        assert_eq!(ranks_between(0, 0, -1, false), 0..0);
    }

    #[test]
    fn limits_count_from_the_end_that_is_read_first() {
        let limited = |offset, limit, reverse, ranks| {
            let reverse = Some(reverse);
            Options { offset, limit, reverse, ..Options::default() }.limited(ranks)
        };
        assert_eq!(limited(0, -1, false, 3..9), 3..9);
        assert_eq!(limited(1, 2, false, 3..9), 4..6);
        assert_eq!(limited(1, 2, true, 3..9), 6..8);
        assert_eq!(limited(5, 9, true, 3..9), 3..4);
        assert!(limited(6, -1, false, 3..9).is_empty());
        assert!(limited(-1, -1, false, 3..9).is_empty());
        assert!(limited(0, 0, true, 3..9).is_empty());
        assert_eq!(limited(0, i64::MIN, true, 3..9), 3..9);
        assert!(limited(i64::MAX, i64::MAX, true, 3..9).is_empty());
    }
}
