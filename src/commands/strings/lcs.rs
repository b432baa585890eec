//! LCS: the longest common subsequence of two strings.
//!
//! ```text
//!   length(i, j) = 0                                          where i or j is 0
//!                = length(i-1, j-1) + 1                       where a[i-1] == b[j-1]
//!                = max(length(i-1, j), length(i, j-1))        otherwise
//! ```
//!
//! Only the row above is kept. The way back through the table needs to know no more of a cell
//! than which of its two neighbours is the longer one: one bit.

use super::super::numbers::integer;
use super::super::table::Outcome;
use super::string_len_max;
use crate::engine::{CmdError, Read};
use crate::resp::{Args, Reply};
use crate::store::{EntryRef, Kind};

/// What LCS is asked for.
#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    match_len_min: i64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CmdError> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.len() {
            let word = args.get(at);
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"idx") {
                options.idx = true;
            } else if is(b"len") {
                options.len = true;
            } else if is(b"withmatchlen") {
                options.with_match_len = true;
            } else if is(b"minmatchlen") && at + 1 < args.len() {
                at += 1;
                options.match_len_min = integer(args.get(at))?;
            } else {
                return Err(CmdError::Syntax);
            }
            at += 1;
        }
        if options.len && options.idx {
            return Err(CmdError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
pub fn lcs(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = read.get_many([args.get(1), args.get(2)].into_iter());
    if found.iter().flatten().any(|entry| entry.kind() != Kind::String) {
        return Err(CmdError::text("ERR The specified keys must contain string values"));
    }
    let options = Options::parse(args)?;
    let (a, b) = (value(found[0]), value(found[1]));
    check_size(a.len() as u64, b.len() as u64, string_len_max(read.config()))?;
    if options.len {
        reply.int(Table::length_only(a, b) as i64);
        return Ok(());
    }
    let table = Table::new(a, b);
    let matches = table.matches(a, b);
    if options.idx {
        reply_matches(&table, &matches, &options, reply);
    } else {
        let pieces = matches.iter().rev().map(|run| &a[run.a..run.a + run.len]);
        reply.bulk(&pieces.collect::<Vec<_>>().concat());
    }
    Ok(())
}

fn value(entry: Option<EntryRef<'_>>) -> &[u8] {
    entry.map(|entry| entry.value()).unwrap_or_default()
}

/// Refuses what Redis refuses: it has four bytes for each cell of the table.
fn check_size(a: u64, b: u64, max: u64) -> Result<(), CmdError> {
    const STRING_MAX: u64 = u32::MAX as u64 - 1;
    if a >= STRING_MAX || b >= STRING_MAX {
        return Err(CmdError::text("ERR String too long for LCS"));
    }
    if u128::from(a + 1) * u128::from(b + 1) * 4 > u128::from(max) {
        return Err(CmdError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

fn reply_matches(table: &Table, matches: &[Match], options: &Options, reply: &mut Reply<'_>) {
    let is_shown = |found: &&Match| found.len as i64 >= options.match_len_min;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(is_shown).count());
    for found in matches.iter().filter(is_shown) {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [found.a, found.b] {
            reply.array(2);
            reply.int(start as i64);
            reply.int((start + found.len - 1) as i64);
        }
        if options.with_match_len {
            reply.int(found.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.int(table.length as i64);
}

/// A run of bytes that both strings have in the subsequence: where it starts, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The table of lengths, as far as the way back needs it.
struct Table {
    length: u32,
    width: usize,
    /// Bit `i * width + j`: dropping `a[i]` leaves more than dropping `b[j]`.
    drops_a: Vec<u64>,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Table {
        let width = b.len();
        let mut table =
            Table { length: 0, width, drops_a: vec![0; (a.len() * width).div_ceil(64)] };
        let drops_a = &mut table.drops_a;
        table.length = fill(a, b, |i, j, above, left| {
            let bit = i * width + j;
            drops_a[bit / 64] |= u64::from(above > left) << (bit % 64);
        });
        table
    }

    fn length_only(a: &[u8], b: &[u8]) -> u32 {
        fill(a, b, |_, _, _, _| {})
    }

    /// The runs, last one first. Where both neighbours are equal `b` is dropped, as Redis does.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            let bit = (i - 1) * self.width + (j - 1);
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                match matches.last_mut() {
                    Some(run) if (run.a, run.b) == (i + 1, j + 1) => {
                        *run = Match { a: i, b: j, len: run.len + 1 };
                    }
                    _ => matches.push(Match { a: i, b: j, len: 1 }),
                }
            } else if self.drops_a[bit / 64] >> (bit % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

/// Computes the table row by row. `note(i, j, above, left)` is told the lengths beside each cell
/// whose bytes `a[i]` and `b[j]` differ. Returns the length of the whole.
fn fill(a: &[u8], b: &[u8], mut note: impl FnMut(usize, usize, u32, u32)) -> u32 {
    let mut row = vec![0u32; b.len()];
    for (i, &x) in a.iter().enumerate() {
        // `diagonal` is the cell above and to the left, which the loop has overwritten.
        let (mut diagonal, mut left) = (0, 0);
        for (j, (&y, cell)) in b.iter().zip(&mut row).enumerate() {
            let above = *cell;
            left = if x == y {
                diagonal + 1
            } else {
                note(i, j, above, left);
                above.max(left)
            };
            *cell = left;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn subsequence(a: &[u8], b: &[u8]) -> Vec<u8> {
        let matches = Table::new(a, b).matches(a, b);
        matches.iter().rev().flat_map(|run| a[run.a..run.a + run.len].to_vec()).collect()
    }

    #[test]
    fn runs_lie_in_both_strings_and_add_up_to_the_length() {
        let seed = 7;
        let mut rng = SplitMix64::new(seed);
        for round in 0..300 {
            let mut text = |max| -> Vec<u8> {
                let len = rng.below(max);
                (0..len).map(|_| b'a' + rng.below(3) as u8).collect()
            };
            let (a, b) = (text(40), text(90));
            let table = Table::new(&a, &b);
            let (mut a_end, mut b_end, mut length) = (a.len(), b.len(), 0);
            for run in table.matches(&a, &b) {
                assert_eq!(a[run.a..run.a + run.len], b[run.b..run.b + run.len]);
                assert!(run.a + run.len <= a_end && run.b + run.len <= b_end);
                (a_end, b_end) = (run.a, run.b);
                length += run.len;
            }
            assert_eq!(length, table.length as usize, "seed {seed} round {round}");
            assert_eq!(table.length, Table::length_only(&a, &b));
            assert_eq!(table.length, Table::length_only(&b, &a));
        }
    }

    #[test]
    fn known_subsequences() {
        assert_eq!(subsequence(b"ohmytext", b"mynewtext"), b"mytext");
        assert_eq!(subsequence(b"", b"abc"), b"");
        assert_eq!(subsequence(b"abc", b"xyz"), b"");
        assert_eq!(subsequence(b"same", b"same"), b"same");
    }

    #[test]
    fn the_size_of_the_table_is_bounded() {
        assert!(check_size(1000, 1000, 512 << 20).is_ok());
        assert!(check_size(20_000, 20_000, 512 << 20).is_err());
        assert!(check_size(u64::from(u32::MAX), 0, u64::MAX).is_err());
    }
}
