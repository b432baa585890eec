//! The entries of a snapshot, by many threads: into a store, or only to be looked at.
//!
//! ```text
//!   threads claim shards -> blocks of a shard in order -> checked, expanded, decoded
//!                                                      -> put under the shard's lock, in batches
//! ```
//!
//! A shard is loaded by one thread, so threads never wait for each other and the shard's tables
//! stay in that thread's cache. Invariant: when a load fails, the store is empty.

use super::error::SnapshotError;
use super::format::{BlockKind, LAST};
use super::reader::{Buffers, SnapshotReader};
use crate::limits::{DATABASES, SHARDS, SNAPSHOT_BATCH_ENTRIES, WORKERS_MAX};
use crate::store::{Damaged, DecodedEntry, Store};
use crate::util::crc16::hash_slot;
use crate::util::wire::Source;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What is done with a batch of entries of one shard.
type Visit<'v> = &'v (dyn Fn(u16, &mut Vec<DecodedEntry<'_>>) + Sync);

impl SnapshotReader {
    /// Reads the whole file and checks all of it, by `threads` threads. `progress` counts bytes
    /// of the file.
    ///
    /// # Errors
    ///
    /// The first damage that any thread finds.
    pub fn verify(&self, threads: usize, progress: &AtomicU64) -> Result<(), SnapshotError> {
        self.walk(threads, progress, &|_, batch| batch.clear())
    }

    /// Visits every entry with its shard, in the order of shards.
    ///
    /// # Errors
    ///
    /// Damage; entries in front of it were visited.
    pub fn entries(
        &self,
        visit: &mut (dyn FnMut(u16, DecodedEntry<'_>) + Send),
    ) -> Result<(), SnapshotError> {
        let visit = Mutex::new(visit);
        self.walk(1, &AtomicU64::new(0), &|shard, batch| {
            if let Ok(mut visit) = visit.lock() {
                batch.drain(..).for_each(|entry| visit(shard, entry));
            }
        })
    }

    /// Puts all entries into `store`, which is empty, by `threads` threads, and raises the clocks
    /// of its shards. Keys past their deadline are put too: the clock decides what they are.
    /// `progress` counts bytes of the file.
    ///
    /// # Errors
    ///
    /// Damage, an entry that is there twice, a file that cannot be read. The store is empty then.
    pub fn load(
        &self,
        store: &Store,
        threads: usize,
        progress: &AtomicU64,
    ) -> Result<(), SnapshotError> {
        let outcome = self.walk(threads, progress, &|shard, batch| put(store, shard, batch));
        let outcome = outcome.and_then(|()| {
            let keys: u64 = (0..DATABASES as u8).map(|db| store.len(db)).sum();
            if keys == self.info().keys {
                return Ok(());
            }
            Err(self.damaged(0, "an entry is there twice, or the store was not empty"))
        });
        for shard in 0..SHARDS as u16 {
            let mut held = store.lock_one(shard);
            match outcome {
                Ok(()) => held.raise_clock(self.info().clock_ms),
                Err(_) => (0..DATABASES as u8).for_each(|db| held.flush(db)),
            }
        }
        outcome
    }

    fn walk(
        &self,
        threads: usize,
        progress: &AtomicU64,
        visit: Visit<'_>,
    ) -> Result<(), SnapshotError> {
        let walk = Walk {
            reader: self,
            visit,
            progress,
            next_shard: AtomicUsize::new(0),
            keys: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            outcome: Mutex::new(Outcome { error: None, crcs: vec![0; self.block_count()] }),
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, WORKERS_MAX) {
                // Where no thread can be had, those that there are do its work.
                let _ = std::thread::Builder::new()
                    .name("dse-load".to_owned())
                    .spawn_scoped(scope, || walk.run());
            }
            walk.run();
        });
        let Ok(outcome) = walk.outcome.into_inner() else {
            return Err(self.damaged(0, "a thread that read it failed"));
        };
        outcome.error.map_or(Ok(()), Err)?;
        self.check_whole(&outcome.crcs)?;
        if walk.keys.into_inner() != self.info().keys {
            return Err(self.damaged(0, "another number of entries than the footer says"));
        }
        Ok(())
    }
}

/// Stores a batch of entries under their shard's lock.
fn put(store: &Store, shard: u16, batch: &mut Vec<DecodedEntry<'_>>) {
    let mut held = store.lock_one(shard);
    for entry in batch.drain(..) {
        let key = store.key(entry.key);
        entry.put(&mut held, &key);
    }
}

/// A walk over all shards by several threads.
struct Walk<'w> {
    reader: &'w SnapshotReader,
    visit: Visit<'w>,
    progress: &'w AtomicU64,
    next_shard: AtomicUsize,
    keys: AtomicU64,
    failed: AtomicBool,
    outcome: Mutex<Outcome>,
}

struct Outcome {
    error: Option<SnapshotError>,
    /// The checksum of each block of entries.
    crcs: Vec<u32>,
}

impl Walk<'_> {
    /// Works until no shard is left, or somebody failed.
    fn run(&self) {
        let (mut buffers, mut large, mut crcs) = (Buffers::default(), Vec::new(), Vec::new());
        let mut error = None;
        while error.is_none() && !self.failed.load(Relaxed) {
            // Relaxed: the counter hands out numbers, it publishes nothing.
            let shard = self.next_shard.fetch_add(1, Relaxed);
            if shard >= SHARDS {
                break;
            }
            error = self.shard(shard as u16, &mut buffers, &mut large, &mut crcs).err();
        }
        let Ok(mut outcome) = self.outcome.lock() else { return };
        for (number, crc) in crcs {
            outcome.crcs[number as usize] = crc;
        }
        if error.is_some() {
            self.failed.store(true, Relaxed);
            outcome.error = outcome.error.take().or(error);
        }
    }

    fn shard(
        &self,
        shard: u16,
        buffers: &mut Buffers,
        large: &mut Vec<u8>,
        crcs: &mut Vec<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        for &number in self.reader.blocks_of(shard) {
            let (line, head, crc, payload) = self.reader.block(number, buffers)?;
            let entry = |damaged| SnapshotError::Entry {
                file: self.reader.info().file.clone(),
                offset: line.position,
                damaged,
            };
            crcs.push((number, crc));
            if line.kind == BlockKind::Entries {
                let found = self.block(shard, payload).map_err(entry)?;
                if found != u64::from(head.entries) {
                    return Err(self.reader.damaged(line.position, "another number of entries"));
                }
                self.keys.fetch_add(found, Relaxed);
            } else {
                large.extend_from_slice(payload);
                if line.flags & LAST != 0 {
                    let whole = decode(shard, large, 0).map_err(entry)?;
                    (self.visit)(shard, &mut vec![whole]);
                    self.keys.fetch_add(1, Relaxed);
                    *large = Vec::new();
                }
            }
            self.progress.fetch_add(line.block_bytes() as u64, Relaxed);
        }
        Ok(())
    }

    /// The entries of one block; how many there are.
    fn block(&self, shard: u16, payload: &[u8]) -> Result<u64, Damaged> {
        let (mut source, mut batch, mut found) = (Source::new(payload), Vec::new(), 0);
        while !source.is_empty() {
            let short = Damaged { offset: source.offset(), what: "an entry without its end" };
            let bytes = source.string().ok_or(short)?;
            batch.push(decode(shard, bytes, source.offset() - bytes.len())?);
            found += 1;
            if batch.len() == SNAPSHOT_BATCH_ENTRIES || source.is_empty() {
                (self.visit)(shard, &mut batch);
            }
        }
        Ok(found)
    }
}

/// An entry that belongs to `shard`; `offset` is where it begins in the payload.
fn decode(shard: u16, bytes: &[u8], offset: usize) -> Result<DecodedEntry<'_>, Damaged> {
    let further = |inner: Damaged| Damaged { offset: inner.offset + offset, ..inner };
    let entry = DecodedEntry::decode(bytes).map_err(further)?;
    if hash_slot(entry.key) >> 5 != shard {
        return Err(Damaged { offset, what: "a key of another shard" });
    }
    Ok(entry)
}
