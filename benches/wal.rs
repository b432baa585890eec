//! Time to make a record of the log, to append it, to pass it through the ring into a commit, and
//! to read it back with its checks. What is written goes nowhere: the disk is not measured here.
//!
//! `cargo bench --bench wal`. Each figure is the time of 256 records together.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dse::limits::{LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_RING_BYTES};
use dse::sync::log_ring::{LogRing, RingShape};
use dse::sys::disk::{Directory, Disk, DiskFile, OpenMode};
use dse::wal::record::{put_command, take_command};
use dse::wal::{Log, LogOptions, LogReader, LogStart, RecordBuf, RecordKind, RecordMeta, SyncMode};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records in one measured step.
const RECORDS: usize = 256;
/// Bytes of a file of the log.
const SEGMENT: u64 = 64 * 1024 * 1024;
const SIZES: [usize; 3] = [64, 1024, 16 * 1024];
const META: RecordMeta = RecordMeta { kind: RecordKind::Commands, shard: 7, clock_ms: 1, seed: 2 };

fn options(mode: SyncMode) -> LogOptions {
    LogOptions { mode, segment_bytes: SEGMENT, ring_bytes: LOG_RING_BYTES }
}

fn fill(record: &mut RecordBuf, value: &[u8]) {
    let args: [&[u8]; 3] = [b"SET", b"key:000000012345", value];
    put_command(record.body(), 0, args.into_iter());
}

fn open(disk: Arc<dyn Disk>) -> Arc<Log> {
    let start = LogStart { start: 0, generation: 1, log_id: 9 };
    Log::open(disk, options(SyncMode::Never), start, Box::new(|| {})).expect("the log opens")
}

/// Appends a record; waits for room as a connection would.
fn append(log: &Log, record: &RecordBuf) -> u64 {
    loop {
        let lsn = log.has_credit().then(|| log.append(record, &META));
        if let Some(Ok(lsn)) = lsn {
            return lsn;
        }
        log.kick();
        std::thread::yield_now();
    }
}

fn make_and_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("wal");
    let mut record = RecordBuf::default();
    for size in SIZES {
        let value = vec![b'v'; size];
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(format!("make/{size}"), |b| {
            b.iter(|| (0..RECORDS).for_each(|_| fill(&mut record, black_box(&value))));
        });
        let log = open(Arc::new(Nowhere::default()));
        group.bench_function(format!("append/{size}"), |b| {
            b.iter(|| {
                for _ in 0..RECORDS {
                    fill(&mut record, black_box(&value));
                    append(&log, &record);
                }
                log.kick();
                log.recycle_below(log.written());
            });
        });
        log.close();
    }
    group.finish();
}

fn through_the_ring(c: &mut Criterion) {
    let shape = RingShape {
        capacity: LOG_RING_BYTES,
        chunk: LOG_CHUNK_BYTES,
        block: LOG_BLOCK_BYTES,
        header: LOG_COMMIT_HEADER,
    };
    let mut group = c.benchmark_group("wal");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for size in SIZES {
        let ring = LogRing::new(shape, 0);
        let (mut start, mut bytes) = (0, vec![0; LOG_CHUNK_BYTES as usize]);
        let body = vec![1; size + 32];
        // The lower half of the second word is the length.
        let head = [0, 32 + body.len() as u64, 1, 2];
        group.bench_function(format!("ring/{size}"), |b| {
            b.iter(|| {
                ring.allow(start + LOG_RING_BYTES);
                for _ in 0..RECORDS {
                    let _ = black_box(ring.append(head, &body));
                }
                for commit in ring.close(start, std::thread::yield_now) {
                    ring.copy(&commit, &mut bytes);
                    start = commit.end;
                }
            });
        });
    }
    group.finish();
}

fn read_back(c: &mut Criterion) {
    let mut group = c.benchmark_group("wal");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for size in [64, 1024] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let disk = Directory::open(home.path()).expect("it is there");
        let log = open(Arc::new(Directory::open(home.path()).expect("it is there")));
        let mut record = RecordBuf::default();
        let mut end = 0;
        for _ in 0..RECORDS {
            fill(&mut record, &vec![b'v'; size]);
            end = append(&log, &record);
        }
        log.kick();
        log.settle(end).expect("it is written");
        log.close();
        let mut reader = LogReader::open(&disk, SEGMENT, 0).expect("the log is whole");
        let chunk = reader.next_chunk().expect("it can be read").expect("there are records");
        assert_eq!(chunk.records().count(), RECORDS);
        group.bench_function(format!("read/{size}"), |b| {
            let mut args = Vec::new();
            b.iter(|| {
                for record in chunk.records() {
                    let mut body = record.body;
                    let db = take_command(&mut body, &mut args);
                    black_box((db.is_ok(), args.len()));
                }
            });
        });
    }
    group.finish();
}

/// A disk that takes everything and keeps lengths only.
#[derive(Clone, Default)]
struct Nowhere(Arc<Mutex<BTreeMap<String, u64>>>);

struct NoFile {
    name: String,
    files: Nowhere,
}

impl Nowhere {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for NoFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut files = self.files.files();
        let len = files.entry(self.name.clone()).or_default();
        *len = (*len).max(offset + bytes.len() as u64);
        Ok(())
    }
    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], _offset: u64) -> io::Result<usize> {
        bytes.fill(0);
        Ok(bytes.len())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.files.files().get(&self.name).copied().unwrap_or(0))
    }
}

impl Disk for Nowhere {
    fn open(&self, name: &str, _mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.files().entry(name.to_owned()).or_default();
        Ok(Box::new(NoFile { name: name.to_owned(), files: self.clone() }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let len = files.remove(from).unwrap_or(0);
        files.insert(to.to_owned(), len);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name);
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.files().iter().map(|(name, len)| (name.clone(), *len)).collect())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn location(&self) -> String {
        "nowhere".into()
    }
}

criterion_group!(benches, make_and_append, through_the_ring, read_back);
criterion_main!(benches);
