//! What an entry of a group's log holds: its log time and the requests that share it.
//!
//! ```text
//!   version u8 = 1 | log time, us u64 | count varint | count x (length varint, request)
//! ```
//!
//! An entry without bytes is the library's own (the first of a term). One without requests says
//! what time it is. Log time (C4) is what deadlines are judged by: a leader stamps each entry with
//! the time of the entry before and what its own clock has advanced since, so that the time of a
//! log neither steps nor goes back, whoever leads. It is drawn towards wall time by 5 % of what has
//! passed at most: what was lost while nobody led is made up for slowly, and a wall clock that
//! jumps ends no key at once.

use crate::limits::{GROUP_ENTRY_BYTES, GROUP_SLEW_PART};
use crate::util::wire::{Source, put_string, put_varint};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 8;
/// Bytes that the length of a request takes at most.
const LENGTH_BYTES_MAX: usize = 5;

/// What was read from the bytes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Log time in microseconds.
    pub time_us: u64,
    /// The requests, in the order in which they are applied.
    pub requests: Vec<&'a [u8]>,
}

/// The bytes of an entry that is applied at log time `time_us`.
pub fn encode<'a>(
    time_us: u64,
    requests: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Vec<u8> {
    let lengths = requests.clone().map(|request| request.len() + LENGTH_BYTES_MAX);
    let mut out = Vec::with_capacity(HEADER_BYTES + LENGTH_BYTES_MAX + lengths.sum::<usize>());
    out.push(VERSION);
    out.extend_from_slice(&time_us.to_le_bytes());
    put_varint(&mut out, requests.len() as u64);
    requests.for_each(|request| put_string(&mut out, request));
    out
}

/// Reads an entry; `None` if it is of another version or not whole.
pub fn decode(bytes: &[u8]) -> Option<Batch<'_>> {
    let mut source = Source::new(bytes);
    let time_us = (source.u8()? == VERSION).then(|| source.u64())??;
    // Each request takes a byte at least, so the count cannot ask for more memory than there is.
    let count = source.varint().filter(|&count| count <= bytes.len() as u64)?;
    let requests = (0..count).map(|_| source.string()).collect::<Option<Vec<_>>>()?;
    source.is_empty().then_some(Batch { time_us, requests })
}

/// The log time of an entry; `None` for the library's own and for what cannot be read.
pub fn time_of(bytes: &[u8]) -> Option<u64> {
    let mut source = Source::new(bytes);
    (source.u8()? == VERSION).then(|| source.u64())?
}

/// The data of a snapshot: log time there, and the state behind it.
pub fn with_time(time_us: u64, state: &[u8]) -> Vec<u8> {
    [&time_us.to_le_bytes(), state].concat()
}

/// Log time and state of a snapshot's data; `None` if it is too short.
pub fn split_time(data: &[u8]) -> Option<(u64, &[u8])> {
    let (time_us, state) = data.split_first_chunk()?;
    Some((u64::from_le_bytes(*time_us), state))
}

/// How many of the first requests, of these lengths, share an entry: as many as fit into
/// [`GROUP_ENTRY_BYTES`], and one in any case.
pub fn share(lengths: impl Iterator<Item = usize>) -> usize {
    let mut bytes = HEADER_BYTES + LENGTH_BYTES_MAX;
    let fits = |length: &usize| {
        bytes += length + LENGTH_BYTES_MAX;
        bytes <= GROUP_ENTRY_BYTES
    };
    lengths.take_while(fits).count().max(1)
}

/// A leader's clock of its log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogClock {
    last_us: u64,
    seen_us: u64,
}

impl LogClock {
    /// The clock of a log whose last record is of `last_us`, from the local time `now_us` on.
    pub fn starting(last_us: u64, now_us: u64) -> LogClock {
        LogClock { last_us, seen_us: now_us }
    }

    /// The time of a record that is made now, which is `wall_us` by the wall if that is known.
    pub fn stamp(&mut self, now_us: u64, wall_us: Option<u64>) -> u64 {
        let passed_us = now_us.saturating_sub(self.seen_us);
        let (next_us, most_us) =
            (self.last_us.saturating_add(passed_us), passed_us / GROUP_SLEW_PART);
        let drawn =
            |wall_us: u64| wall_us.clamp(next_us - most_us, next_us.saturating_add(most_us));
        self.last_us = wall_us.map_or(next_us, drawn);
        self.seen_us = self.seen_us.max(now_us);
        self.last_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    #[test]
    fn an_entry_comes_back_and_every_cut_of_it_is_refused() {
        let requests: [&[u8]; 3] = [b"SET a 1", b"", &[7; 300]];
        let bytes = encode(1_234_567, requests.iter().copied());
        let batch = decode(&bytes).unwrap();
        assert_eq!((batch.time_us, batch.requests), (1_234_567, requests.to_vec()));
        assert_eq!(time_of(&bytes), Some(1_234_567));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(decode(&[bytes.clone(), vec![0]].concat()), None);
        assert_eq!(decode(&[&[2], &bytes[1..]].concat()), None);
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        let mut bytes = encode(1, [].iter().copied());
        assert_eq!(bytes.pop(), Some(0));
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn requests_share_an_entry_up_to_its_size() {
        assert_eq!(share([10, 10, 10].into_iter()), 3);
        assert_eq!(share([GROUP_ENTRY_BYTES * 2, 1].into_iter()), 1);
        assert_eq!(share([GROUP_ENTRY_BYTES / 2, GROUP_ENTRY_BYTES / 2, 1].into_iter()), 1);
        let lengths = [100; 2000];
        let shared = share(lengths.into_iter());
        let requests = vec![[1; 100]; shared];
        let bytes = encode(u64::MAX, requests.iter().map(|request| &request[..]));
        assert!(bytes.len() <= GROUP_ENTRY_BYTES);
        assert!(bytes.len() > GROUP_ENTRY_BYTES - 4096);
    }

    #[test]
    fn log_time_advances_with_the_clock_and_never_back() {
        let mut clock = LogClock::starting(1000, 50);
        let mut stamp = |now_us| clock.stamp(now_us, None);
        assert_eq!([stamp(50), stamp(80), stamp(70)], [1000, 1030, 1030]);
        assert_eq!(stamp(90), 1040);
    }

    /// Whatever the wall clock does, log time runs within 5 % of the leader's clock; and where the
    /// wall clock is right, log time comes to it.
    #[test]
    fn log_time_is_drawn_towards_the_wall_and_never_steps() {
        let seed = 4711;
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        for round in 0..200 {
            let (mut now_us, mut wall_us) = (rng.below(1 << 40), rng.below(1 << 50));
            let mut clock = LogClock::starting(rng.below(1 << 50), now_us);
            let mut last_us = clock.stamp(now_us, None);
            for step in 0..200 {
                let passed_us = rng.below(300_000);
                now_us += passed_us;
                wall_us = if rng.below(5) == 0 { rng.next_u64() } else { wall_us + passed_us };
                let stamp_us = clock.stamp(now_us, (rng.below(4) > 0).then_some(wall_us));
                let ran_us = stamp_us.checked_sub(last_us);
                let ran_us = ran_us.unwrap_or_else(|| panic!("seed {seed}: back, round {round}"));
                let most_us = passed_us / GROUP_SLEW_PART;
                let is_near = ran_us.abs_diff(passed_us) <= most_us;
                assert!(is_near, "seed {seed}, round {round}, step {step}: {ran_us} {passed_us}");
                last_us = stamp_us;
            }
        }
        // Ten seconds without a leader are made up for within two hundred.
        for behind_us in [10_000_000i64, -10_000_000] {
            let mut clock = LogClock::starting(1 << 40, 0);
            let wall_us = |now_us: u64| (1u64 << 40).saturating_add_signed(behind_us) + now_us;
            let stamps = (1..=2000).map(|tick| tick * 100_000);
            let last = stamps.map(|now_us| clock.stamp(now_us, Some(wall_us(now_us)))).last();
            assert_eq!(last, Some(wall_us(200_000_000)));
        }
    }
}
