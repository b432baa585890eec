//! The write-ahead log over a disk in memory: what it promises while running, after an error,
//! and after a start.

#[path = "common/disk.rs"]
mod disk;

use disk::{MemoryDisk, Step};
use dse::sys::disk::Disk;
use dse::wal::names::LogName;
use dse::wal::{
    Health, Log, LogOptions, LogReader, LogStart, ReadError, RecordBuf, RecordKind, RecordMeta,
    SyncMode, Tail,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const SEGMENT: u64 = 1 << 20;
const BLOCK: u64 = 4096;

fn options(mode: SyncMode) -> LogOptions {
    LogOptions { mode, segment_bytes: SEGMENT, ring_bytes: 4 << 20 }
}

fn open(disk: &MemoryDisk, mode: SyncMode, tail: &Tail) -> Arc<Log> {
    let start = LogStart {
        start: tail.end,
        generation: tail.generation + 1,
        log_id: tail.log_id.unwrap_or(9),
    };
    Log::open(Arc::new(disk.clone()), options(mode), start, Box::new(|| {})).expect("opened")
}

/// Appends a record that carries `value`, and some ballast; its `after`.
fn append(log: &Log, value: u64, ballast: usize) -> u64 {
    wait("credit", || log.has_credit());
    append_now(log, value, ballast)
}

fn append_now(log: &Log, value: u64, ballast: usize) -> u64 {
    let mut record = RecordBuf::default();
    let body = record.body();
    body.extend_from_slice(&value.to_le_bytes());
    body.resize(8 + ballast, value as u8);
    let meta = RecordMeta { kind: RecordKind::Commands, shard: 3, clock_ms: value, seed: value };
    log.append(&record, &meta).expect("credit was there")
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The values of all records, and what the end looks like.
fn read(disk: &dyn Disk) -> Result<(Vec<u64>, Tail), ReadError> {
    let mut reader = LogReader::open(disk, SEGMENT, 0)?;
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

#[test]
fn what_was_appended_is_read_back_after_each_of_many_starts() {
    let disk = MemoryDisk::new();
    let (mut next, mut tail) = (0, Tail::default());
    for mode in [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never, SyncMode::Always] {
        let log = open(&disk, mode, &tail);
        let mut after = 0;
        for _ in 0..300 {
            after = append(&log, next, (next as usize * 37) % 3000);
            next += 1;
            if next.is_multiple_of(10) {
                log.kick();
            }
        }
        log.kick();
        wait("release", || log.released() >= after);
        log.close();
        assert!(log.durable() >= after, "a log that was closed in order is durable");
        let (values, end) = read(&disk).expect("readable");
        assert_eq!(values, (0..next).collect::<Vec<u64>>());
        assert_eq!(end.torn, None);
        assert!(end.end >= after && end.clock_ms == next - 1);
        tail = end;
    }
}

/// What is short waits for more to share a write with, but not for ever.
#[test]
fn a_short_record_behind_a_long_one_is_written_by_itself() {
    for mode in [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never] {
        let disk = MemoryDisk::new();
        let log = open(&disk, mode, &Tail::default());
        for ballast in [10_000, 10, 8000, 20] {
            let after = append(&log, 1, ballast);
            log.kick();
            wait("release", || log.released() >= after);
            // All threads of the log have gone to sleep.
            std::thread::sleep(Duration::from_millis(50));
        }
        log.close();
    }
}

#[test]
fn a_log_that_goes_quiet_states_how_far_it_is_durable() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let after = append(&log, 1, 10);
    log.kick();
    wait("the statement", || read(&disk).is_ok_and(|(_, tail)| tail.synced >= after));
    let commits = log.stats().commits.load(SeqCst);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(log.stats().commits.load(SeqCst), commits, "once is enough");
    log.close();
}

#[test]
fn the_modes_that_sync_make_durable_what_was_appended() {
    for mode in [SyncMode::Always, SyncMode::EverySecond] {
        let disk = MemoryDisk::new();
        let log = open(&disk, mode, &Tail::default());
        let after = append(&log, 1, 10);
        log.kick();
        wait("a sync", || log.durable() >= after);
        log.close();
    }
}

/// A file whose commits are those of another generation holds nothing: it was to be written again.
#[test]
fn a_commit_of_another_generation_is_not_read() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let after = append(&log, 1, 10);
    log.kick();
    wait("release", || log.released() >= after);
    log.close();
    let name_of = |generation| LogName { start: 0, generation }.text();
    let mut files = disk.files();
    let bytes = files.remove(&name_of(1)).expect("the first file");
    files.insert(name_of(2), bytes);
    let outcome = read(&MemoryDisk::with(files));
    assert!(outcome.as_ref().map_or(true, |(values, _)| values.is_empty()), "{outcome:?}");
}

#[test]
fn no_position_is_used_before_the_name_of_its_file_is_durable() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    while log.end() < 6 * SEGMENT {
        let after = append(&log, 0, 100_000);
        log.kick();
        wait("release", || log.released() >= after);
        log.recycle_below(after.saturating_sub(SEGMENT));
    }
    log.close();
    let (mut names, mut durable, mut used) = (BTreeMap::new(), BTreeMap::new(), 0);
    for step in disk.steps() {
        match step {
            Step::Names(now) => names = now,
            Step::SyncNames => durable = names.clone(),
            Step::Write { file, .. } => {
                let named = names.iter().find(|(_, id)| **id == file);
                let Some((name, id)) = named.filter(|(name, _)| name.ends_with(".dse")) else {
                    continue;
                };
                assert_eq!(durable.get(name), Some(id), "{name} is not durable yet");
                used += 1;
            }
            Step::Sync { .. } | Step::SyncRange { .. } => {}
        }
    }
    assert!(used > 50, "hardly anything was written: {used}");
}

#[test]
fn damage_below_what_was_acknowledged_is_refused_and_above_it_is_cut() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    for value in 0..50 {
        let after = append(&log, value, 100);
        log.kick();
        wait("release", || log.released() >= after);
    }
    log.close();
    let whole = disk.files();
    let (values, tail) = read(&disk).expect("readable");
    assert_eq!(values.len(), 50);
    let (name, bytes) = whole.iter().next().map(|(n, b)| (n.clone(), b.clone())).expect("a file");
    let (mut refused, mut cut) = (0, 0);
    for block in 0..(tail.end / 4096) {
        let mut files = whole.clone();
        let mut damaged = bytes.clone();
        damaged[(block * 4096 + 70) as usize] ^= 0x10;
        files.insert(name.clone(), damaged);
        match read(&MemoryDisk::with(files)) {
            Err(ReadError::Damaged { lsn, .. }) => {
                assert_eq!(lsn, block * 4096);
                refused += 1;
            }
            Ok((values, end)) => {
                assert!(end.torn.is_some_and(|torn| torn.offset == block * 4096));
                assert_eq!(values.len(), 50, "only the closing statement can be lost");
                cut += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    // Between two records the log may have gone quiet, and stated that.
    assert!(refused >= 50 && (1..=2).contains(&cut), "{refused} refused, {cut} cut");
}

#[test]
fn a_write_that_fails_once_loses_nothing_that_was_released() {
    for fail_at in 0..12 {
        let disk = MemoryDisk::new();
        let log = open(&disk, SyncMode::Always, &Tail::default());
        wait("files", || disk.files().len() >= 2);
        disk.faults.write_in.store(fail_at, SeqCst);
        let mut after = 0;
        for value in 0..40 {
            after = append(&log, value, 2000);
            log.kick();
            if value % 3 == 0 {
                wait("release", || log.released() >= after);
            }
        }
        wait("release", || log.released() >= after);
        assert_eq!(log.health(), Health::Good);
        log.close();
        let (values, _) = read(&disk).expect("readable");
        assert_eq!(values, (0..40).collect::<Vec<u64>>(), "failed at write {fail_at}");
    }
}

/// What goes through the page cache is written by whoever appended it, without a thread.
#[test]
fn a_worker_writes_what_it_appended_itself() {
    for mode in [SyncMode::EverySecond, SyncMode::Never] {
        let disk = MemoryDisk::new();
        let log = open(&disk, mode, &Tail::default());
        for value in 0..50 {
            let after = append(&log, value, 100);
            // A sync may be under way, or a thread at work: then it is left to them.
            if log.kick_or_keep() {
                log.write_here();
            }
            wait("release", || log.released() >= after);
        }
        log.close();
        assert_eq!(read(&disk).expect("readable").0, (0..50).collect::<Vec<u64>>());
    }
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Never, &Tail::default());
    let after = append(&log, 0, 100);
    assert!(log.kick_or_keep(), "nothing keeps a worker from it");
    assert!(log.released() < after);
    log.write_here();
    assert!(log.released() >= after, "it is written when the call returns");
    log.set_mode(SyncMode::Always);
    append(&log, 1, 100);
    assert!(!log.kick_or_keep(), "with a synced log the threads write");
    log.close();
}

/// Several workers that write by themselves, and mode changes between, leave nothing behind.
#[test]
fn nothing_waits_for_ever_where_workers_and_threads_write() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::EverySecond, &Tail::default());
    let workers = 3;
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let log = &log;
            scope.spawn(move || {
                for at in 0..400 {
                    let after = append(log, worker * 1000 + at, (at as usize * 131) % 9000);
                    if log.kick_or_keep() {
                        log.write_here();
                    }
                    if at % 7 == 0 {
                        wait("release", || log.released() >= after);
                    }
                }
                let after = append(log, worker * 1000 + 400, 0);
                if log.kick_or_keep() {
                    log.write_here();
                }
                wait("the last release", || log.released() >= after);
            });
        }
        for round in 0..30 {
            let modes = [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never];
            log.set_mode(modes[round % 3]);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    log.close();
    let mut values = read(&disk).expect("readable").0;
    values.sort_unstable();
    let all = (0..workers).flat_map(|worker| (0..=400).map(move |at| worker * 1000 + at));
    assert_eq!(values, all.collect::<Vec<u64>>());
}

#[test]
fn a_write_of_a_worker_that_fails_is_done_again_by_a_thread() {
    for fail_at in 0..6 {
        let disk = MemoryDisk::new();
        // Without syncs: what was written but not synced could not be written again.
        let log = open(&disk, SyncMode::Always, &Tail::default());
        wait("files", || disk.files().len() >= 2);
        log.set_mode(SyncMode::Never);
        disk.faults.write_in.store(fail_at, SeqCst);
        let mut after = 0;
        for value in 0..20 {
            if !log.has_credit() {
                break;
            }
            // It may have broken meanwhile; there is room all the same.
            after = append_now(&log, value, 500);
            if log.kick_or_keep() {
                log.write_here();
            }
        }
        // What the kernel took before cannot be written again: then the log says that it broke.
        let is_rescued = || log.released() >= after && log.health() == Health::Good;
        wait("an end", || is_rescued() || fail_at > 0 && log.is_broken());
        log.close();
    }
}

/// A disk that holds a worker does so once.
#[test]
fn after_a_slow_write_workers_leave_writing_to_the_threads() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Never, &Tail::default());
    disk.faults.cached_delay_us.store(30_000, SeqCst);
    append(&log, 0, 100);
    assert!(log.kick_or_keep());
    log.write_here();
    let after = append(&log, 1, 100);
    assert!(!log.kick_or_keep(), "a thread does it");
    wait("release", || log.released() >= after);
    disk.faults.cached_delay_us.store(0, SeqCst);
    wait("the worker's turn", || {
        append(&log, 2, 100);
        log.kick_or_keep()
    });
    log.write_here();
    log.close();
}

#[test]
fn a_disk_that_fails_for_good_releases_nothing_more_and_loses_nothing_released() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    wait("files", || disk.files().len() >= 2);
    let after = append(&log, 0, 10);
    log.kick();
    wait("release", || log.released() >= after);
    disk.faults.for_good.store(true, SeqCst);
    disk.faults.write_in.store(0, SeqCst);
    let lost = append(&log, 1, 10);
    log.kick();
    wait("the end", || log.is_broken());
    assert!(log.released() < lost);
    assert!(matches!(log.health(), Health::Broken(why) if why.contains("error")));
    assert!(!log.has_credit());
    log.close();
    disk.faults.write_in.store(-1, SeqCst);
    let (values, _) = read(&disk).expect("readable");
    assert_eq!(values, [0]);
}

#[test]
fn a_full_disk_takes_away_credit_and_gives_it_back() {
    let disk = MemoryDisk::new();
    disk.faults.room.store(3 * SEGMENT as i64, SeqCst);
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let (mut value, mut after) = (0, 0);
    let until = Instant::now() + Duration::from_secs(20);
    while !matches!(log.health(), Health::Full(_)) || log.has_credit() {
        if log.has_credit() {
            let mut record = RecordBuf::default();
            record.body().resize(50_000, 0);
            let clock_ms = value;
            let meta = RecordMeta { kind: RecordKind::Commands, shard: 0, clock_ms, seed: 0 };
            after = log.append(&record, &meta).expect("credit was there");
            value += 1;
            log.kick();
        }
        assert!(Instant::now() < until, "the disk does not get full");
    }
    wait("what was taken", || log.released() >= after);
    disk.faults.room.store(0, SeqCst);
    wait("room", || log.has_credit() && log.health() == Health::Good);
    log.close();
}

#[test]
fn a_recycled_file_shows_nothing_of_its_former_life() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let mut value = 0;
    while log.end() < 6 * SEGMENT {
        let after = append(&log, value, 100_000);
        value += 1;
        log.kick();
        wait("release", || log.released() >= after);
        log.recycle_below(after.saturating_sub(SEGMENT));
    }
    let files = disk.files().len();
    assert!(files <= 7, "old files are used again: {files}");
    log.close();
    // What a reader from the first needed file sees ends where the log ends.
    let first = disk.files().keys().next().cloned().expect("a file");
    let from = u64::from_str_radix(&first[4..20], 16).expect("hexadecimal");
    let mut reader = LogReader::open(&disk, SEGMENT, from.max(4 * SEGMENT)).expect("opened");
    let mut last = None;
    while let Some(chunk) = reader.next_chunk().expect("readable") {
        for record in chunk.records() {
            assert!(last.is_none_or(|last| record.meta.clock_ms == last + 1));
            last = Some(record.meta.clock_ms);
        }
    }
    assert_eq!(last, Some(value - 1));
    assert!(matches!(LogReader::open(&disk, SEGMENT, 0), Err(ReadError::Gap { .. })));
}

/// A process can be killed before the first record is written.
#[test]
fn a_log_that_begins_anew_says_so_before_anything_is_in_it() {
    let disk = MemoryDisk::new();
    let start = LogStart { start: 2 * BLOCK, generation: 1, log_id: 7 };
    let any: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = Log::open_anew(None, any, options(SyncMode::Always), start, Box::new(|| {}));
    let log = log.expect("opened");
    let killed = MemoryDisk::with(disk.files());
    let mut reader = LogReader::open(&killed, SEGMENT, BLOCK).expect("it says what it is");
    assert!(reader.next_chunk().expect("readable").is_none());
    assert_eq!((reader.tail().anew, reader.tail().end), (Some(2 * BLOCK), BLOCK));
    // What is behind a snapshot of this life is read.
    let after = append(&log, 5, 100);
    log.kick();
    wait("release", || log.released() >= after);
    log.close();
    let mut reader = LogReader::open(&disk, SEGMENT, 3 * BLOCK).expect("opened");
    let mut seen = Vec::new();
    while let Some(chunk) = reader.next_chunk().expect("readable") {
        seen.extend(chunk.records().map(|record| record.meta.clock_ms));
    }
    assert_eq!(seen, [5]);
}

/// Who reads all of a log begins at its lowest file, whatever moment the process ended at.
#[test]
fn the_files_of_a_log_hold_it_without_a_gap() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    for round in 1..4 {
        while log.end() < round * 8 * SEGMENT {
            let after = append(&log, 0, 200_000);
            log.kick();
            wait("release", || log.released() >= after);
        }
        // Much is let go at once.
        let before = disk.files().len();
        log.recycle_below(log.durable() - SEGMENT);
        wait("fewer files", || disk.files().len() < before);
    }
    log.close();
    let mut looked_at = 0;
    for step in disk.steps() {
        let Step::Names(names) = step else { continue };
        let starts: Vec<u64> =
            names.keys().filter_map(|name| LogName::parse(name)).map(|name| name.start).collect();
        looked_at += usize::from(starts.len() > 2);
        assert!(starts.is_sorted_by(|one, next| one + SEGMENT == *next), "a gap: {starts:?}");
    }
    assert!(looked_at > 10, "there were hardly any files: {looked_at}");
}

/// A log that was switched on is left out, because its snapshot was not finished, and the start
/// that does so ends at any moment: the next one leaves it out too.
#[test]
fn what_was_left_out_stays_left_out_if_the_start_is_killed() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let fill = |log: &Log, up_to: u64| {
        while log.end() < up_to {
            let after = append(log, 1, 100_000);
            log.kick();
            wait("release", || log.released() >= after);
        }
        log.close();
    };
    fill(&log, SEGMENT / 2);
    let before = read(&disk).expect("readable");
    let start = LogStart { start: before.1.end + 2 * BLOCK, generation: 2, log_id: 9 };
    let any: Arc<dyn Disk> = Arc::new(disk.clone());
    let anew = Log::open_anew(None, any, options(SyncMode::Always), start, Box::new(|| {}));
    fill(&anew.expect("opened"), 3 * SEGMENT);
    let (values, tail) = read(&disk).expect("readable");
    assert_eq!((&values, tail.anew), (&before.0, Some(start.start)));

    let disk = MemoryDisk::with(disk.files());
    let mut contents: BTreeMap<u64, Vec<u8>> = (0..).zip(disk.files().into_values()).collect();
    open(&disk, SyncMode::Always, &tail).close();
    let mut names_seen = 0;
    for step in disk.steps() {
        match step {
            Step::Write { file, offset, bytes } => {
                let (from, to) = (offset as usize, offset as usize + bytes.len());
                let content = contents.entry(file).or_default();
                content.resize(content.len().max(to), 0);
                content[from..to].copy_from_slice(&bytes);
            }
            Step::Names(names) => {
                names_seen += 1;
                let content = |id| contents.get(&id).cloned().unwrap_or_default();
                let files = names.into_iter().map(|(name, id)| (name, content(id)));
                let found = read(&MemoryDisk::with(files.collect()));
                let found = found.unwrap_or_else(|error| panic!("change {names_seen}: {error}"));
                assert_eq!((found.0, found.1.end), (values.clone(), tail.end));
            }
            Step::Sync { .. } | Step::SyncRange { .. } | Step::SyncNames => {}
        }
    }
    assert!(names_seen > 5, "files came and went: {names_seen}");
}

/// Commits of one block each, so that those of a file's former life lie where the next ones of
/// this one would.
#[test]
fn blocks_that_a_recycled_file_still_holds_are_not_read() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    // What lies behind the end of the log, in a file that is used again now and then.
    let is_stale = |end: u64| {
        let (end, files) = (end.next_multiple_of(4096), disk.files());
        let in_use = files.range(..=LogName { start: end, generation: 9 }.text()).next_back();
        let behind = in_use.and_then(|(_, bytes)| bytes.get((end % SEGMENT) as usize..));
        behind.is_some_and(|bytes| bytes.starts_with(b"DWC2"))
    };
    let mut value = 0;
    while value % 100 != 0 || !is_stale(log.end()) {
        assert!(log.end() < 40 * SEGMENT, "no file is used again");
        let after = append(&log, value, 2000);
        value += 1;
        log.kick();
        wait("release", || log.released() >= after);
        log.recycle_below(after.saturating_sub(SEGMENT));
    }
    let from = log.end() / SEGMENT * SEGMENT;
    log.close();
    assert!(is_stale(log.end()), "nothing is left to be taken for new");
    let mut reader = LogReader::open(&disk, SEGMENT, from).expect("opened");
    let mut last = None;
    while let Some(chunk) = reader.next_chunk().expect("readable") {
        last = chunk.records().map(|record| record.meta.clock_ms).last().or(last);
    }
    assert_eq!(last, Some(value - 1));
}

/// The log of an earlier life reached into the next segment before it was torn; this life fills
/// its segment and ends.
#[test]
fn what_an_earlier_life_wrote_ahead_is_never_read_again() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    let mut value = 0;
    while log.end() < SEGMENT + SEGMENT / 2 {
        let after = append(&log, value, 100_000);
        value += 1;
        log.kick();
        wait("release", || log.released() >= after);
    }
    log.close();
    let files: Vec<String> = disk.files().into_keys().collect();
    // As if the end of the first segment had been torn: the log goes on inside it.
    let tail = Tail { end: SEGMENT / 2, generation: 1, log_id: Some(9), ..Tail::default() };
    let log = open(&disk, SyncMode::Always, &tail);
    let stale =
        |name: &&String| name.ends_with("-00000001.dse") && !name.contains("0000000000000000");
    let left: Vec<String> = disk.files().into_keys().collect();
    assert!(files.iter().filter(stale).count() > 0, "{files:?}");
    assert_eq!(left.iter().filter(stale).count(), 0, "{left:?}");
    log.close();
}

/// What is held for company is written all the same when none comes, also by a log that rested.
#[test]
fn a_short_record_behind_a_long_one_is_written_though_nobody_asks() {
    for mode in [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never] {
        let disk = MemoryDisk::new();
        let log = open(&disk, mode, &Tail::default());
        for value in 0..20 {
            let ballast = if value % 2 == 0 { 3000 } else { 0 };
            let after = append(&log, value, ballast);
            log.kick();
            wait("release", || log.released() >= after);
            std::thread::sleep(Duration::from_millis(3 * (value % 4)));
        }
        log.close();
    }
}

/// A crash at a start may leave files ahead of a life beside the first file of the next one.
#[test]
fn files_ahead_of_an_older_generation_do_not_lead_a_reader_back() {
    let disk = MemoryDisk::new();
    let log = open(&disk, SyncMode::Always, &Tail::default());
    wait("files", || disk.files().len() >= 2);
    let after = append(&log, 1, 10);
    log.kick();
    wait("release", || log.released() >= after);
    log.close();
    let (values, tail) = read(&disk).expect("readable");
    let mut files = disk.files();
    for start in [tail.end + 4096, tail.end + 8192] {
        let name = LogName { start, generation: tail.generation + 1 }.text();
        files.insert(name, vec![0; (SEGMENT - start) as usize]);
    }
    let (again, end) = read(&MemoryDisk::with(files)).expect("readable");
    assert_eq!((again, end.end), (values, tail.end));
}
