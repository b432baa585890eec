//! The ring that records of the log pass through on their way from many writers to the disk.
//!
//! A position in the log is its LSN, in bytes, and does not wrap; the ring keeps the words of the
//! last `capacity` bytes. A writer *reserves* a range by one compare-and-swap, stores the words,
//! and stores the range's first word, its *tag*, last. The tag carries the LSN, so a word left from
//! an earlier lap is never taken for one.
//!
//! ```text
//!   |--commit------------------------|--commit---------------|--commit (open)...
//!   |hdr|rec|rec|rec|....(padding)...|hdr|rec|rec|skip->.....|hdr|rec|...
//!   4096                             4096                    chunk
//! ```
//!
//! The reader *closes* a commit by moving the reserve word to the next block, leaving room for
//! the next commit's header. A commit never crosses a multiple of the chunk: a record that would
//! is placed behind it, and a skip tag says so.
//!
//! Invariants:
//! - ranges are disjoint: the reserve word only grows, by compare-and-swap;
//! - a range is read only after its tag was seen (release, acquire);
//! - a word is overwritten only after the reader gave its position back by `allow` (release,
//!   acquire).
//!
//! All words are atomics: what races is visible to loom and ThreadSanitizer.
//!
//! Deliberately absent: what a record means, the disk, who sleeps.

use super::primitive::{AtomicU64, Ordering, Site, ordering};
use Ordering::{Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;

/// Set in the tag of a record.
const RECORD: u64 = 1;
/// Set in the tag of a range that has nothing up to the end of its chunk.
const SKIP: u64 = 2;
/// Bits of a tag that are not part of the LSN.
const MARKS: u64 = 7;

/// Sizes of a ring, in bytes. All are multiples of 8, and powers of two but for the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// What the ring holds.
    pub capacity: u64,
    /// No commit crosses a multiple of this.
    pub chunk: u64,
    /// Commits begin at multiples of this.
    pub block: u64,
    /// Room at the beginning of each commit.
    pub header: u64,
}

/// No room: the reader is behind, or the log has no place on disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A commit that was closed, with all its records there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its first byte, a multiple of the block.
    pub start: u64,
    /// Behind its last record.
    pub used: u64,
    /// Behind its padding, a multiple of the block.
    pub end: u64,
    /// Records in it.
    pub records: u64,
}

/// The ring.
pub struct LogRing {
    shape: RingShape,
    words: Box<[AtomicU64]>,
    reserved: CachePadded<AtomicU64>,
    limit: CachePadded<AtomicU64>,
}

impl LogRing {
    /// An empty ring whose first commit begins at `start`, a multiple of the block. Nothing can
    /// be reserved before [`LogRing::allow`].
    pub fn new(shape: RingShape, start: u64) -> LogRing {
        assert!(shape.capacity.is_power_of_two() && shape.chunk.is_power_of_two());
        assert!(shape.block.is_power_of_two() && start.is_multiple_of(shape.block));
        assert!(shape.chunk <= shape.capacity, "what lies in one chunk lies in one piece");
        let ring = LogRing {
            shape,
            words: super::zeroed_words(shape.capacity as usize / 8),
            reserved: CachePadded::new(AtomicU64::new(0)),
            limit: CachePadded::new(AtomicU64::new(start)),
        };
        let open = ring.behind_header(start);
        ring.reserved.store(open, Relaxed);
        ring
    }

    /// Empties the ring; its first commit begins at `start`, above all that was reserved. To be
    /// called when nobody reserves, closes or copies; nothing can be reserved before
    /// [`LogRing::allow`].
    pub fn restart(&self, start: u64) {
        debug_assert!(start.is_multiple_of(self.shape.block) && start >= self.reserved());
        // Words of before carry lower positions: none is taken for a tag.
        self.limit.store(start, Relaxed);
        self.reserved.store(self.behind_header(start), Relaxed);
    }

    /// Where the next record goes at the earliest.
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Relaxed)
    }

    /// Whether `bytes` more could be reserved now.
    pub fn has_room(&self, bytes: u64) -> bool {
        // Relaxed: a hint; `reserve` looks again.
        self.reserved.load(Relaxed) + bytes <= self.limit.load(Relaxed)
    }

    /// Lets ranges reach up to `limit`; true if that is another than before. What lies a ring's
    /// length before it was read.
    pub fn allow(&self, limit: u64) -> bool {
        // Release: pairs with the Acquire in `reserve`: our reads of the words come before the
        // stores that overwrite them.
        self.limit.swap(limit, Release) != limit
    }

    /// Puts a record of the words `head` and the bytes `body` into the log and returns where it
    /// ends. The first word is ours: the record's tag. The lower half of the second must be the
    /// record's bytes. Behind the body there are zeros up to a word.
    #[inline]
    pub fn append<const N: usize>(&self, head: [u64; N], body: &[u8]) -> Result<u64, Full> {
        let len = (N * 8 + body.len()).next_multiple_of(8) as u64;
        let start = self.reserve(len)?;
        let (places, behind) = self.words(start, len).split_at(N);
        for (place, word) in places[1..].iter().zip(&head[1..]) {
            place.store(*word, Relaxed);
        }
        let (words, rest) = body.as_chunks::<8>();
        let (whole, last) = behind.split_at(words.len());
        for (place, word) in whole.iter().zip(words) {
            place.store(u64::from_le_bytes(*word), Relaxed);
        }
        if let [last] = last {
            last.store(short_word(body, rest), Relaxed);
        }
        // Release: pairs with the Acquire in `close`; the words are seen before their tag.
        places[0].store(start | RECORD, ordering(Site::LogPublish, Release));
        Ok(start + len)
    }

    /// Reserves `len` bytes within one chunk; where they begin.
    #[inline]
    fn reserve(&self, len: u64) -> Result<u64, Full> {
        let mut open = self.reserved.load(Relaxed);
        let start = loop {
            let start = self.place(open, len);
            // Acquire: pairs with the Release in `allow`.
            if start + len > self.limit.load(Acquire) {
                return Err(Full);
            }
            // Relaxed: ranges are told apart by the word itself; what is in them, by the tags.
            match self.reserved.compare_exchange_weak(open, start + len, Relaxed, Relaxed) {
                Ok(_) => break start,
                Err(now) => open = now,
            }
        };
        if start != open && !open.is_multiple_of(self.shape.chunk) {
            // Release: as for a record; there is nothing else in the range.
            self.word(open).store(open | SKIP, Release);
        }
        Ok(start)
    }

    /// Ends the commit that began at `start` and returns the commits that this makes: one, or
    /// several if records were placed behind the end of a chunk. Waits for writers that have
    /// reserved but not yet stored, by calling `wait`. To be called by one thread at a time.
    ///
    /// The next commit begins where the last of them ends.
    pub fn close(&self, start: u64, mut wait: impl FnMut()) -> Vec<Closed> {
        let mut open = self.reserved.load(Relaxed);
        let last = loop {
            let next = self.behind_header(self.end_of(start, open));
            match self.reserved.compare_exchange_weak(open, next, Relaxed, Relaxed) {
                Ok(_) => break open,
                Err(now) => open = now,
            }
        };
        let mut commits = Vec::new();
        let mut commit = self.opened(start);
        let mut at = commit.used;
        while at < last {
            if at.is_multiple_of(self.shape.chunk) {
                commits.push(Closed { end: at, ..commit });
                commit = self.opened(at);
                at = commit.used;
                continue;
            }
            // Acquire: pairs with the Release in `append`.
            let tag = self.word(at).load(ordering(Site::LogTake, Acquire));
            if tag == at | RECORD {
                at += self.len_at(at);
                commit.used = at;
                commit.records += 1;
            } else if tag == at | SKIP {
                at = self.chunk_end(at);
            } else {
                wait();
            }
        }
        commits.push(Closed { end: self.end_of(start, last), ..commit });
        commits
    }

    /// True when nothing was reserved in the commit that begins at `start`.
    pub fn is_empty(&self, start: u64) -> bool {
        self.reserved.load(Relaxed) == self.behind_header(start)
    }

    /// Copies the records of a closed commit to their places in `bytes`, which stands for the
    /// whole commit.
    pub fn copy(&self, commit: &Closed, bytes: &mut [u8]) {
        let from = commit.start + self.shape.header;
        let begin = self.shape.header as usize;
        let len = commit.used.saturating_sub(from);
        let places = bytes[begin..begin + len as usize].chunks_exact_mut(8);
        for (place, word) in places.zip(self.words(from, len)) {
            place.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
    }

    /// The end of a commit that begins at `start` and whose ranges reach to `reserved`. An empty
    /// one is a block.
    fn end_of(&self, start: u64, reserved: u64) -> u64 {
        reserved.max(start + 1).next_multiple_of(self.shape.block)
    }

    fn opened(&self, start: u64) -> Closed {
        Closed { start, used: start + self.shape.header, end: start, records: 0 }
    }

    /// Bytes of the record at `at`, from the lower half of its second word.
    fn len_at(&self, at: u64) -> u64 {
        let len = self.word(at + 8).load(Relaxed) & u64::from(u32::MAX);
        len.next_multiple_of(8).max(8)
    }

    fn place(&self, open: u64, len: u64) -> u64 {
        if open.is_multiple_of(self.shape.chunk) {
            return open + self.shape.header;
        }
        let end = self.chunk_end(open);
        if open + len > end { end + self.shape.header } else { open }
    }

    /// Where the records of a commit that begins at `start` begin, unless it begins a chunk: then
    /// who reserves leaves the room.
    fn behind_header(&self, start: u64) -> u64 {
        if start.is_multiple_of(self.shape.chunk) { start } else { start + self.shape.header }
    }

    fn chunk_end(&self, at: u64) -> u64 {
        (at | (self.shape.chunk - 1)) + 1
    }

    /// The words of `len` bytes from `at` on, which lie in one chunk.
    fn words(&self, at: u64, len: u64) -> &[AtomicU64] {
        let first = (at / 8) as usize & (self.words.len() - 1);
        &self.words[first..first + (len / 8) as usize]
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words[(at / 8) as usize & (self.words.len() - 1)]
    }
}

/// The word of the last bytes of `body`, fewer than eight, with zeros behind them.
#[inline]
fn short_word(body: &[u8], rest: &[u8]) -> u64 {
    match body.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The LSN in a tag.
pub fn lsn_of_tag(tag: u64) -> u64 {
    tag & !MARKS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const SHAPE: RingShape = RingShape { capacity: 1024, chunk: 512, block: 64, header: 16 };

    fn record(ring: &LogRing, words: usize, value: u64) -> Result<u64, Full> {
        let body: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), words - 2).flatten().collect();
        ring.append([0, (words as u64 * 8) | (value << 32)], &body)
    }

    /// First words behind the tag and the length of each record of a commit.
    fn values(ring: &LogRing, commit: &Closed) -> Vec<(u64, u64)> {
        let mut bytes = vec![0; (commit.end - commit.start) as usize];
        ring.copy(commit, &mut bytes);
        let word = |at: u64| {
            let at = (at - commit.start) as usize;
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"))
        };
        let mut found = Vec::new();
        let mut at = commit.start + 16;
        while at < commit.used {
            assert_eq!(lsn_of_tag(word(at)), at * u64::from(word(at) != 0), "the tag is the LSN");
            let (len, value) = (word(at + 8) & 0xFFFF_FFFF, word(at + 8) >> 32);
            for inner in (at + 16..at + len).step_by(8) {
                assert_eq!(word(inner), value);
            }
            found.push((value, len));
            at += len;
        }
        found
    }

    #[test]
    fn a_body_of_any_length_has_zeros_behind_it() {
        for len in 0..40_u8 {
            let body: Vec<u8> = (1..=len).collect();
            let ring = LogRing::new(SHAPE, 64);
            ring.allow(1024);
            ring.append([0; 2], &[0xFF; 60]).expect("room");
            ring.restart(1024 + 64);
            ring.allow(2048);
            let end = ring.append([0, 16 + u64::from(len)], &body).expect("room");
            assert_eq!(end, 1024 + 80 + 16 + u64::from(len).next_multiple_of(8));
            let commits = ring.close(1024 + 64, || panic!("all is there"));
            let mut bytes = vec![0; (commits[0].end - commits[0].start) as usize];
            ring.copy(&commits[0], &mut bytes);
            let (found, behind) = bytes[32..].split_at(body.len());
            assert_eq!(found, body);
            assert!(behind.iter().all(|byte| *byte == 0), "{len} bytes, then {behind:?}");
        }
    }

    #[test]
    fn a_ring_that_begins_again_further_on_holds_nothing_of_before() {
        let ring = LogRing::new(SHAPE, 64);
        ring.allow(1024);
        for value in 0..4 {
            record(&ring, 4, value).expect("room");
        }
        ring.restart(1024 + 64);
        assert_eq!(record(&ring, 4, 9), Err(Full), "nothing is allowed yet");
        ring.allow(2048);
        assert!(ring.is_empty(1024 + 64));
        record(&ring, 4, 7).expect("room");
        let commits = ring.close(1024 + 64, || panic!("all is there"));
        assert_eq!(commits.len(), 1);
        assert_eq!(values(&ring, &commits[0]), [(7, 32)]);
    }

    #[test]
    fn commits_hold_what_was_appended_and_never_cross_a_chunk() {
        let seeds: u64 = if cfg!(miri) { 2 } else { 200 };
        for seed in 1..seeds {
            let mut rng = crate::util::rng::SplitMix64::new(seed);
            let ring = LogRing::new(SHAPE, 64);
            ring.allow(1024);
            let (mut start, mut next, mut want) = (64, 0, Vec::new());
            for _ in 0..60 {
                next += 1;
                let words = 2 + rng.below(12) as usize;
                match record(&ring, words, next) {
                    Ok(_) => want.push((next, words as u64 * 8)),
                    Err(Full) => assert!(!want.is_empty(), "full though all was read"),
                }
                if rng.below(3) > 0 {
                    continue;
                }
                let mut found = Vec::new();
                for commit in ring.close(start, || panic!("nobody is late")) {
                    assert_eq!(commit.start, start, "seed {seed}");
                    assert!(commit.start.is_multiple_of(64) && commit.end.is_multiple_of(64));
                    assert!(commit.start / 512 == (commit.end - 1) / 512, "seed {seed}");
                    found.extend(values(&ring, &commit));
                    start = commit.end;
                }
                assert_eq!(found, want, "seed {seed}");
                want.clear();
                ring.allow(start + 1024);
            }
        }
    }

    #[test]
    fn a_full_ring_refuses_and_goes_on_when_it_was_read() {
        let ring = LogRing::new(SHAPE, 0);
        assert_eq!(record(&ring, 2, 1), Err(Full));
        ring.allow(1024);
        let mut count = 0;
        while record(&ring, 8, count).is_ok() {
            count += 1;
        }
        assert!(count > 10);
        let commits = ring.close(0, || panic!("nobody is late"));
        let found: usize = commits.iter().map(|commit| values(&ring, commit).len()).sum();
        assert_eq!(found as u64, count);
        ring.allow(commits.last().map_or(0, |last| last.end) + 1024);
        assert!(record(&ring, 8, 1).is_ok());
    }

    #[test]
    fn many_writers_and_one_reader_lose_nothing() {
        let rounds: u64 = if cfg!(miri) { 8 } else { 20_000 };
        let shape = RingShape { capacity: 8192, chunk: 2048, block: 64, header: 16 };
        let ring = LogRing::new(shape, 0);
        ring.allow(8192);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3u64)
                .map(|writer| {
                    let ring = &ring;
                    scope.spawn(move || {
                        for i in 0..rounds {
                            let words = 2 + (i % 9) as usize;
                            while record(ring, words, writer << 24 | i).is_err() {
                                std::thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            let (ring, done) = (&ring, &done);
            let reader = scope.spawn(move || {
                let (mut start, mut next) = (0, [0; 3]);
                loop {
                    let last = done.load(Acquire);
                    for commit in ring.close(start, std::thread::yield_now) {
                        for (value, _) in values(ring, &commit) {
                            let writer = (value >> 24) as usize;
                            assert_eq!(value & 0xFF_FFFF, next[writer], "in order, none lost");
                            next[writer] += 1;
                        }
                        start = commit.end;
                    }
                    ring.allow(start + 8192);
                    if last {
                        return next;
                    }
                }
            });
            for writer in writers {
                writer.join().expect("a writer does not panic");
            }
            done.store(true, Release);
            assert_eq!(reader.join().expect("checked"), [rounds; 3]);
        });
    }
}
