//! Every state that a crash can leave a log in: after each step that a recording disk saw, some
//! of what was not synced is there and the rest is not. From each of them the log must come back
//! as a prefix of what was appended that holds everything that was released.
//!
//! Blocks of 4 KiB are there or not, in any combination; names are those of any moment since the
//! directory was last synced. The gate looks at some moments, and tries up to 2^8 combinations at
//! each; flips some bits, and cuts files at some places. `scripts/crash_states`
//! (`DSE_CRASH_STATES=0`) looks at every moment, every combination up to 2^12 (of more a random
//! 2^12), every bit and every length. `DSE_FLIP_PART=3/8` takes of the bits those of the third of
//! eight parts, which together are all.

#[path = "common/disk.rs"]
mod disk;
#[allow(dead_code)] // Other tests use the rest of it.
#[path = "common/random.rs"]
mod random;

use disk::{BLOCK, MemoryDisk, Step};
use dse::sys::disk::Disk;
use dse::wal::{
    Log, LogOptions, LogReader, LogStart, ReadError, RecordBuf, RecordKind, RecordMeta, SyncMode,
    Tail,
};
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const SEGMENT: u64 = 1 << 20;
/// The log begins close to the end of a file, so that little goes over into the next one.
const START: u64 = SEGMENT - 96 * 1024;
/// How much is looked at.
#[derive(Clone, Copy)]
struct Effort {
    /// Moments of a recording; 0: all.
    moments: usize,
    /// Combinations of blocks at one moment, of which more are chosen at random.
    combinations: usize,
    /// Bits flipped, and lengths to which a file is cut; 0: all.
    samples: u64,
    /// Recordings that are crashed.
    recordings: usize,
}

/// In the gate.
const SOME: Effort = Effort { moments: 60, combinations: 256, samples: 1500, recordings: 3 };
/// In `scripts/crash_states`.
const ALL: Effort = Effort { moments: 0, combinations: 1 << 12, samples: 0, recordings: 20 };

fn effort() -> Effort {
    if number("DSE_CRASH_STATES") == Some(0) { ALL } else { SOME }
}

/// Runs `work` with the numbers 0, 1, ... of as many threads as there are processors; it gets
/// its number and how many there are.
fn on_all_processors<R: Send>(work: impl Fn(usize, usize) -> R + Sync) -> Vec<R> {
    let count = available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..count).map(|index| scope.spawn(move || work(index, count))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, R>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seed() -> u64 {
    let seed = number("DSE_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("DSE_CRASH_SEED={seed}");
    seed
}

/// The part of the bits to look at, from 0, and of how many.
fn flip_part() -> (u64, u64) {
    let Ok(text) = std::env::var("DSE_FLIP_PART") else { return (0, 1) };
    let numbers = text.split_once('/').map(|(part, parts)| (part.parse(), parts.parse()));
    match numbers {
        Some((Ok(part), Ok(parts))) if (1..=parts).contains(&part) => (part - 1, parts),
        _ => panic!("DSE_FLIP_PART={text} is not like 3/8"),
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn open(disk: &MemoryDisk, tail: &Tail) -> Arc<Log> {
    open_at(disk, tail, START)
}

fn open_at(disk: &MemoryDisk, tail: &Tail, first: u64) -> Arc<Log> {
    let options =
        LogOptions { mode: SyncMode::Always, segment_bytes: SEGMENT, ring_bytes: 4 << 20 };
    let start = LogStart {
        start: tail.end.max(first),
        generation: tail.generation + 1,
        log_id: tail.log_id.unwrap_or(9),
    };
    Log::open(Arc::new(disk.clone()), options, start, Box::new(|| {})).expect("opened")
}

fn append(log: &Log, value: u64, ballast: usize) -> u64 {
    let mut record = RecordBuf::default();
    let body = record.body();
    body.extend_from_slice(&value.to_le_bytes());
    body.resize(8 + ballast, value as u8);
    let meta = RecordMeta { kind: RecordKind::Commands, shard: 3, clock_ms: value, seed: value };
    wait("credit", || log.has_credit());
    log.append(&record, &meta).expect("credit was there")
}

/// The values of all records, each checked as a whole.
fn read(disk: &dyn Disk) -> Result<(Vec<u64>, Tail), ReadError> {
    let (records, tail) = read_from(disk, START)?;
    Ok((records.into_iter().map(|(value, _)| value).collect(), tail))
}

/// The values of all records from `first` on, with their positions.
fn read_from(disk: &dyn Disk, first: u64) -> Result<(Vec<(u64, u64)>, Tail), ReadError> {
    let mut reader = LogReader::open(disk, SEGMENT, first)?;
    let mut values = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            let value = u64::from_le_bytes(record.body[..8].try_into().expect("eight"));
            assert_eq!((record.meta.clock_ms, record.meta.seed), (value, value));
            assert!(record.body[8..].iter().all(|byte| *byte == value as u8));
            values.push((value, record.lsn));
        }
    }
    Ok((values, reader.tail().clone()))
}

/// What a disk saw, and from which step on which values were released.
struct Recording {
    steps: Vec<Step>,
    /// Steps seen when so many values were known to be released.
    marks: Vec<(usize, u64)>,
    appended: u64,
}

/// A log on `disk` that takes `count` values, several at once now and then.
fn record(disk: &MemoryDisk, count: u64, random: &mut Random) -> Recording {
    disk.faults.delay_us.store(300, SeqCst);
    let log = open(disk, &Tail::default());
    let mut marks = Vec::new();
    for value in 0..count {
        let most = if random.chance(30) { 40_000 } else { 3000 };
        let after = append(&log, value, random.below(most));
        if random.chance(60) {
            log.kick();
        }
        if random.chance(30) {
            log.kick();
            wait("release", || log.released() >= after);
            marks.push((disk.steps().len(), value + 1));
        }
    }
    log.kick();
    log.close();
    disk.faults.delay_us.store(0, SeqCst);
    Recording { steps: disk.steps(), marks, appended: count }
}

/// A disk at one moment: what is safe, and what may be lost.
#[derive(Default)]
struct Moment {
    safe: BTreeMap<u64, Vec<u8>>,
    /// Blocks by file, with the offset of each, in the order they were written.
    pending: Vec<(u64, u64, Vec<u8>)>,
    /// Names that the directory may have, the safe ones first.
    names: Vec<BTreeMap<String, u64>>,
}

impl Moment {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { file, offset, bytes } => {
                for (at, block) in bytes.chunks(BLOCK).enumerate() {
                    let offset = offset + (at * BLOCK) as u64;
                    self.pending.push((*file, offset, block.to_vec()));
                }
            }
            Step::Sync { file } => self.settle(|owner, _| owner == *file),
            Step::SyncRange { file, offset, len } => {
                self.settle(|owner, at| owner == *file && (*offset..offset + len).contains(&at));
            }
            Step::Names(names) => self.names.push(names.clone()),
            Step::SyncNames => drop(self.names.drain(..self.names.len().saturating_sub(1))),
        }
    }

    fn settle(&mut self, is_safe: impl Fn(u64, u64) -> bool) {
        let (safe, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|(file, at, _)| is_safe(*file, *at));
        self.pending = pending;
        for (file, at, block) in safe {
            put(self.safe.entry(file).or_default(), at, &block);
        }
    }

    /// Blocks that may be lost and that a start would look at.
    fn open_blocks(&self) -> Vec<usize> {
        let of_log = |names: &BTreeMap<String, u64>| -> Vec<u64> {
            names.iter().filter(|(name, _)| name.ends_with(".dse")).map(|(_, id)| *id).collect()
        };
        let seen: BTreeSet<u64> = self.names.iter().flat_map(of_log).collect();
        let blocks = self.pending.iter().enumerate();
        blocks.filter(|(_, (file, ..))| seen.contains(file)).map(|(index, _)| index).collect()
    }

    /// The disk with those of the pending blocks that `is_there` lets be, and one of the names.
    fn crash(&self, is_there: impl Fn(usize) -> bool, names: usize) -> MemoryDisk {
        let none = BTreeMap::new();
        let names = self.names.get(names).unwrap_or(&none);
        let mut files = BTreeMap::new();
        for (name, id) in names.iter().filter(|(name, _)| name.ends_with(".dse")) {
            let mut bytes = self.safe.get(id).cloned().unwrap_or_default();
            for (index, (file, at, block)) in self.pending.iter().enumerate() {
                if file == id && is_there(index) {
                    put(&mut bytes, *at, block);
                }
            }
            files.insert(name.clone(), bytes);
        }
        MemoryDisk::with(files)
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, block: &[u8]) {
    let end = at as usize + block.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at as usize..end].copy_from_slice(block);
}

/// Crashes the recorded disk as `effort` says. The number of states tried, or what is wrong with
/// one.
fn explore(recording: &Recording, effort: Effort, random: &mut Random) -> Result<u64, String> {
    let seed = random.next();
    let outcomes = on_all_processors(|index, count| {
        let share = Share { recording, effort, index, count };
        share.explore(&mut Random::new(seed.wrapping_add(index as u64)))
    });
    outcomes.into_iter().sum()
}

/// What one of several threads looks at: every so many moments.
struct Share<'a> {
    recording: &'a Recording,
    effort: Effort,
    index: usize,
    count: usize,
}

impl Share<'_> {
    fn explore(&self, random: &mut Random) -> Result<u64, String> {
        let (mut moment, mut states) = (Moment::default(), 0);
        let steps = self.recording.steps.len();
        for (at, step) in self.recording.steps.iter().enumerate() {
            moment.step(step);
            let is_last = at + 1 == steps;
            let moments = self.effort.moments;
            let is_chosen = moments == 0 || is_last || random.below(steps) < moments;
            if at % self.count != self.index || !is_chosen {
                continue;
            }
            self.crash(&moment, at, random, &mut states)
                .map_err(|error| format!("crashed after step {at} of {steps}: {error}"))?;
        }
        Ok(states)
    }

    /// Tries the combinations of one moment, each with the names of one moment, or with all.
    fn crash(
        &self,
        moment: &Moment,
        at: usize,
        random: &mut Random,
        states: &mut u64,
    ) -> Result<(), String> {
        let marks = self.recording.marks.iter().filter(|(mark, _)| *mark <= at + 1);
        let released = marks.map(|(_, values)| *values).max().unwrap_or(0);
        let (open, most) = (moment.open_blocks(), self.effort.combinations);
        let all = 1_usize.checked_shl(open.len() as u32).filter(|all| *all <= most);
        for combination in 0..all.unwrap_or(most) {
            let dice = random.next();
            let is_there = |index: usize| match (all, open.binary_search(&index)) {
                (Some(_), Ok(place)) => combination >> place & 1 == 1,
                _ => Random::new(dice ^ index as u64).chance(50),
            };
            let names = moment.names.len().max(1);
            let one = random.below(names);
            let tried = if self.effort.moments == 0 { 0..names } else { one..one + 1 };
            for names in tried {
                let disk = moment.crash(is_there, names);
                check(&disk, released, self.recording.appended)?;
                *states += 1;
                if states.is_multiple_of(50) && self.effort.moments > 0
                    || states.is_multiple_of(2000)
                {
                    go_on(&disk, released)?;
                }
            }
        }
        Ok(())
    }
}

fn check(disk: &MemoryDisk, released: u64, appended: u64) -> Result<(), String> {
    let (values, _) = read(disk).map_err(|error| error.to_string())?;
    let count = values.len() as u64;
    if values != (0..count).collect::<Vec<u64>>() {
        return Err(format!("no prefix: {values:?}"));
    }
    if count < released || count > appended {
        return Err(format!("{count} values, of {appended}, {released} of them released"));
    }
    Ok(())
}

/// A second life on what is left: nothing of the first one comes back behind its end.
fn go_on(disk: &MemoryDisk, released: u64) -> Result<(), String> {
    let (values, tail) = read(disk).map_err(|error| error.to_string())?;
    let log = open(disk, &tail);
    let first = values.len() as u64;
    let mut after = 0;
    for value in first..first + 30 {
        after = append(&log, value, (value as usize * 701) % 6000);
        log.kick();
    }
    wait("release", || log.released() >= after);
    log.close();
    check(disk, released.max(first + 30), first + 30)
        .map_err(|error| format!("in the second life: {error}"))
}

#[test]
fn every_crash_leaves_a_prefix_with_all_that_was_released() {
    let mut random = Random::new(seed());
    let (effort, began) = (effort(), Instant::now());
    let mut all = 0;
    for _ in 0..effort.recordings {
        let recording = record(&MemoryDisk::new(), 60, &mut random);
        assert!(recording.marks.len() > 5);
        let states = explore(&recording, effort, &mut random);
        let states = states.unwrap_or_else(|why| panic!("{why}"));
        println!("{states} states after {} steps", recording.steps.len());
        all += states;
    }
    println!("{all} states in {} s", began.elapsed().as_secs());
    assert!(all >= 1000, "hardly anything was under way: {all}");
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let mut random = Random::new(seed());
    let lies: [fn(&MemoryDisk); 2] = [
        |disk| disk.faults.skips_syncs.store(true, SeqCst),
        |disk| disk.faults.skips_names.store(true, SeqCst),
    ];
    for (which, lie) in lies.iter().enumerate() {
        let disk = MemoryDisk::new();
        lie(&disk);
        let recording = record(&disk, 60, &mut random);
        let found = explore(&recording, SOME, &mut random);
        assert!(found.is_err(), "lie {which} was not noticed");
    }
}

/// A log of 64 KiB that goes over from one file into the next: each of its records and commits by
/// position.
struct Small {
    files: BTreeMap<String, Vec<u8>>,
    /// Value and position.
    records: Vec<(u64, u64)>,
    /// Where commits begin.
    commits: Vec<u64>,
    end: u64,
}

impl Small {
    const START: u64 = SEGMENT - 32 * 1024;

    /// As it was left in order, or by a kill.
    fn new(is_closed: bool) -> Small {
        let disk = MemoryDisk::new();
        let log = open_at(&disk, &Tail::default(), Small::START);
        let mut values = 0..;
        while log.end() < Small::START + 60 * 1024 {
            let value = values.next().unwrap_or(0);
            let after = append(&log, value, (value as usize * 701) % 3500);
            log.kick();
            wait("release", || log.released() >= after);
        }
        if is_closed {
            log.close();
        }
        let files = disk.files();
        log.close();
        let (records, tail) =
            read_from(&MemoryDisk::with(files.clone()), Small::START).expect("readable");
        assert!(tail.end > SEGMENT && tail.torn.is_none(), "two files hold it, as a whole");
        let mut small = Small { files, records, commits: Vec::new(), end: tail.end };
        for at in (Small::START..tail.end).step_by(BLOCK) {
            let (name, offset) = small.place(at);
            if small.files[&name][offset..].starts_with(b"DWC2") {
                small.commits.push(at);
            }
        }
        small
    }

    /// The file that holds a position, and the offset in it.
    fn place(&self, position: u64) -> (String, usize) {
        let start = |name: &String| u64::from_str_radix(name.get(4..20)?, 16).ok();
        let starts = self.files.keys().filter_map(|name| Some((start(name)?, name)));
        let (start, name) =
            starts.filter(|(start, _)| *start <= position).max().expect("a file holds it");
        (name.clone(), (position - start) as usize)
    }

    /// The values in front of the commit that holds `position`, and where that commit begins.
    fn before(&self, position: u64) -> (Vec<(u64, u64)>, u64) {
        let begins = self.commits.iter().filter(|start| **start <= position).max();
        let begins = *begins.expect("a commit holds it");
        (self.records.iter().copied().filter(|(_, at)| *at < begins).collect(), begins)
    }

    /// Flips one bit; whether the damage was cut off (or refused).
    fn flip(&self, disk: &MemoryDisk, bit: u64) -> Result<bool, String> {
        let position = Small::START + bit / 8;
        let (name, offset) = self.place(position);
        disk.flip(&name, offset, bit % 8);
        let outcome = read_from(disk, Small::START);
        disk.flip(&name, offset, bit % 8);
        let (want, begins) = self.before(position);
        match outcome {
            Ok((records, tail)) => {
                // A commit whose own position is damaged cannot be told from none.
                let is_reported = tail.torn.as_ref().is_some_and(|torn| torn.bytes > 0);
                let names_itself = !(begins + 8..begins + 16).contains(&position);
                if records != want || names_itself && !is_reported {
                    return Err(format!("{} records, {:?}", records.len(), tail.torn));
                }
                Ok(true)
            }
            Err(ReadError::Damaged { lsn, synced, .. }) if lsn == begins && lsn < synced => {
                Ok(false)
            }
            Err(other) => Err(other.to_string()),
        }
    }
}

#[test]
fn no_flipped_bit_makes_a_wrong_value() {
    let seed = seed();
    for is_closed in [true, false] {
        let (small, samples, began) = (Small::new(is_closed), effort().samples, Instant::now());
        let all = (small.end - Small::START) * 8;
        let (part, parts) = flip_part();
        let flips = if samples == 0 { (all - part).div_ceil(parts) } else { samples };
        let counts = on_all_processors(|index, count| {
            let disk = MemoryDisk::with(small.files.clone());
            let mut random = Random::new(seed.wrapping_add(index as u64));
            let (mut cut, mut refused) = (0, 0);
            for flip in (index as u64..flips).step_by(count) {
                let bit = if samples == 0 { part + flip * parts } else { random.next() % all };
                match small.flip(&disk, bit) {
                    Ok(true) => cut += 1,
                    Ok(false) => refused += 1,
                    Err(what) => panic!("bit {bit}, closed in order: {is_closed}: {what}"),
                }
            }
            [cut, refused]
        });
        let [cut, refused] = [0, 1].map(|at| counts.iter().map(|count| count[at]).sum::<u64>());
        let seconds = began.elapsed().as_secs();
        println!("{flips} flips of {all}: {refused} refused, {cut} cut off, in {seconds} s");
        assert!(refused > 0 && cut > 0);
    }
}

#[test]
fn a_cut_file_is_a_prefix_or_refused() {
    let mut random = Random::new(seed());
    let (small, samples) = (Small::new(true), effort().samples);
    let lengths = |name: &String| small.files[name].len().min(70_000);
    let all =
        small.files.keys().take(2).flat_map(|name| (0..=lengths(name)).map(move |l| (name, l)));
    let mut all: Vec<(&String, usize)> = all.collect();
    if samples > 0 {
        all = (0..samples / 3).map(|_| all[random.below(all.len())]).collect();
    }
    let tried = all.len();
    on_all_processors(|index, count| {
        for (name, len) in all.iter().skip(index).step_by(count) {
            let mut files = small.files.clone();
            files.get_mut(*name).expect("there").truncate(*len);
            match read_from(&MemoryDisk::with(files), Small::START) {
                Ok((records, _)) => {
                    assert_eq!(records, small.records[..records.len()], "{name} cut at {len}");
                }
                Err(ReadError::Damaged { .. }) => {}
                Err(other) => panic!("{name} cut at {len}: {other}"),
            }
        }
    });
    println!("{tried} cuts");
}
