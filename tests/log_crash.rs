//! Every state that a crash can leave a log in: after each step that a recording disk saw, some
//! of what was not synced is there and the rest is not. From each of them the log must come back
//! as a prefix of what was appended that holds everything that was released.
//!
//! Blocks of 4 KiB are there or not, in any combination; names are those of any moment since the
//! directory was last synced. Up to 2^8 combinations all are tried, of more a random 256.
//! `DSE_CRASH_STATES` says how many moments are looked at (0: all of them).

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
use std::time::{Duration, Instant};

const SEGMENT: u64 = 1 << 20;
/// The log begins close to the end of a file, so that little goes over into the next one.
const START: u64 = SEGMENT - 96 * 1024;
const COMBINATIONS: usize = 256;
/// Moments looked at in the gate.
const MOMENTS: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seed() -> u64 {
    let seed = number("DSE_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("DSE_CRASH_SEED={seed}");
    seed
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn open(disk: &MemoryDisk, tail: &Tail) -> Arc<Log> {
    let options =
        LogOptions { mode: SyncMode::Always, segment_bytes: SEGMENT, ring_bytes: 4 << 20 };
    let start = LogStart {
        start: tail.end.max(START),
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
    log.append(&mut record, &meta).expect("credit was there")
}

/// The values of all records, each checked as a whole.
fn read(disk: &dyn Disk) -> Result<(Vec<u64>, Tail), ReadError> {
    let mut reader = LogReader::open(disk, SEGMENT, START)?;
    let mut values = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            let value = u64::from_le_bytes(record.body[..8].try_into().expect("eight"));
            assert_eq!((record.meta.clock_ms, record.meta.seed), (value, value));
            assert!(record.body[8..].iter().all(|byte| *byte == value as u8));
            values.push(value);
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

/// Crashes the recorded disk after `moments` of its steps (0: each). The number of states
/// tried, or what is wrong with one.
fn explore(recording: &Recording, moments: usize, random: &mut Random) -> Result<u64, String> {
    let (mut moment, mut states) = (Moment::default(), 0);
    let steps = recording.steps.len();
    for (index, step) in recording.steps.iter().enumerate() {
        moment.step(step);
        if moments > 0 && random.below(steps) >= moments && index + 1 < steps {
            continue;
        }
        let marks = recording.marks.iter().filter(|(at, _)| *at <= index + 1);
        let released = marks.map(|(_, values)| *values).max().unwrap_or(0);
        let open = moment.open_blocks();
        let all = 1_usize.checked_shl(open.len() as u32).filter(|all| *all <= COMBINATIONS);
        for combination in 0..all.unwrap_or(COMBINATIONS) {
            let dice = random.next();
            let is_there = |index: usize| match (all, open.binary_search(&index)) {
                (Some(_), Ok(place)) => combination >> place & 1 == 1,
                _ => Random::new(dice ^ index as u64).chance(50),
            };
            let names = random.below(moment.names.len().max(1));
            let disk = moment.crash(is_there, names);
            check(&disk, released, recording.appended)
                .map_err(|error| format!("crashed after step {index} of {steps}: {error}"))?;
            states += 1;
            if states % 50 == 0 {
                go_on(&disk, released)?;
            }
        }
    }
    Ok(states)
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
    let moments = number("DSE_CRASH_STATES").map_or(MOMENTS, |count| count as usize);
    let mut all = 0;
    for _ in 0..3 {
        let recording = record(&MemoryDisk::new(), 60, &mut random);
        assert!(recording.marks.len() > 5);
        let states = explore(&recording, moments, &mut random);
        let states = states.unwrap_or_else(|why| panic!("{why}"));
        println!("{states} states after {} steps", recording.steps.len());
        all += states;
    }
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
        let found = explore(&recording, MOMENTS, &mut random);
        assert!(found.is_err(), "lie {which} was not noticed");
    }
}

#[test]
fn no_flipped_bit_makes_a_wrong_value() {
    let mut random = Random::new(seed());
    let disk = MemoryDisk::new();
    let recording = record(&disk, 60, &mut random);
    let whole = disk.files();
    let (_, tail) = read(&disk).expect("readable");
    assert!(tail.end > SEGMENT, "two files hold it");
    let flips = number("DSE_CRASH_STATES").map_or(1500, |count| match count {
        0 => (tail.end - START) * 8,
        count => count,
    });
    let (mut damaged, mut good) = (0, 0);
    for flip in 0..flips {
        let all = (tail.end - START) * 8;
        let bit = if flips == all { flip } else { random.next() % all };
        let position = START + bit / 8;
        let mut files = whole.clone();
        let (file_start, name) = files
            .keys()
            .filter_map(|name| Some((u64::from_str_radix(name.get(4..20)?, 16).ok()?, name)))
            .filter(|(start, _)| *start <= position)
            .max()
            .map(|(start, name)| (start, name.clone()))
            .expect("a file");
        let bytes = files.get_mut(&name).expect("there");
        bytes[(position - file_start) as usize] ^= 1 << (bit % 8);
        match read(&MemoryDisk::with(files)) {
            Ok((values, _)) => {
                assert_eq!(values, (0..recording.appended).collect::<Vec<u64>>(), "bit {bit}");
                good += 1;
            }
            Err(ReadError::Damaged { lsn, .. }) => {
                assert!(lsn <= position, "bit {bit}");
                damaged += 1;
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    println!("{flips} flips: {damaged} refused, {good} without consequence");
    assert!(damaged > 0);
}

#[test]
fn a_cut_file_is_a_prefix_or_refused() {
    let mut random = Random::new(seed());
    let disk = MemoryDisk::new();
    let recording = record(&disk, 60, &mut random);
    let whole = disk.files();
    for _ in 0..300 {
        let name = whole.keys().nth(random.below(2)).expect("two files").clone();
        let mut files = whole.clone();
        let bytes = files.get_mut(&name).expect("there");
        bytes.truncate(random.below(bytes.len().min(100_000)));
        let len = bytes.len();
        match read(&MemoryDisk::with(files)) {
            Ok((values, _)) => {
                let count = values.len() as u64;
                assert!(count <= recording.appended, "{name} cut at {len}");
                assert_eq!(values, (0..count).collect::<Vec<u64>>(), "{name} cut at {len}");
            }
            Err(ReadError::Damaged { .. }) => {}
            Err(other) => panic!("{name} cut at {len}: {other}"),
        }
    }
}
