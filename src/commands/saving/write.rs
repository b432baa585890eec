//! One snapshot, from its first cut to its name.

use super::super::durability;
use super::cut::{Large, LargeValue, Piece};
use super::report::Pace;
use crate::commands::node::{Node, NodeHub, random_seed};
use crate::limits::{
    SAVE_COPIES_BYTES_MIN, SAVE_COPIES_PART, SHARDS, SNAPSHOT_BLOCK_BYTES, SNAPSHOTS_KEPT,
};
use crate::snapshot::names::{self, TEMPORARY};
use crate::snapshot::{SnapshotError, SnapshotMeta, SnapshotReader, SnapshotWriter};
use crate::sys::disk::Disk;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Writes a snapshot; `None` if it was given up.
pub(super) fn write_one(hub: &NodeHub, disk: &Arc<dyn Disk>) -> Result<Option<()>, SnapshotError> {
    let node = &hub.service;
    let (saving, log) = (&node.saving, node.durability.log());
    if log.is_none() {
        node.durability.step_base();
    }
    if let Some(log) = log
        && names::list(&**disk)?.first().is_some_and(|newest| newest.lsn >= log.end())
    {
        // Two snapshots at one position would have one name, and it takes two to give back what
        // lies in front of the first: where the length of the log stops all writes, for ever.
        durability::step(node, log);
    }
    let log_from = node.durability.position().min(node.durability.bodies_from());
    let meta = SnapshotMeta {
        database_id: node.durability.database_id(),
        snapshot_id: random_seed(),
        generation: log.map_or(0, |log| log.generation().into()),
        compress: node.config.values().flag("rdbcompression"),
    };
    let writer = SnapshotWriter::create(Arc::clone(disk), TEMPORARY, meta)?;
    let running = meta.snapshot_id | 1;
    let cuts = Box::new([0; SHARDS]);
    let mut file = File { hub, running, writer, pace: Pace::new(), cuts, clock_ms: 0 };
    if file.shards()?.is_none() || saving.given_up.load(SeqCst) {
        return Ok(None);
    }
    let keys = file.writer.keys_written();
    let finished = file.writer.finish(&file.cuts, file.clock_ms, log_from)?;
    saving.report.keys_done.store(keys, Relaxed);
    saving.report.bytes_done.store(finished.bytes, Relaxed);
    if let Some(log) = log {
        log.settle(finished.largest_cut)?;
    }
    finished.publish()?;
    let needed = drop_old(&**disk)?;
    if let Some(log) = log {
        log.recycle_below(needed);
        node.durability.bound(node.config.values().bytes("wal-max-bytes"));
    }
    Ok(Some(()))
}

/// A snapshot in the making.
struct File<'h> {
    hub: &'h NodeHub,
    /// Its number.
    running: u64,
    writer: SnapshotWriter,
    pace: Pace,
    cuts: Box<[u64; SHARDS]>,
    clock_ms: u64,
}

impl File<'_> {
    /// Cuts and writes all shards; `None` if the snapshot was given up.
    fn shards(&mut self) -> Result<Option<()>, SnapshotError> {
        let (node, saving) = (&self.hub.service, &self.hub.service.saving);
        let part = node.engine.store.data_bytes() / SAVE_COPIES_PART;
        saving.copies_max.store(part.max(SAVE_COPIES_BYTES_MIN), Relaxed);
        saving.running.store(self.running, SeqCst);
        let outcome = (0..SHARDS as u16).try_for_each(|shard| self.shard(shard));
        saving.running.store(0, SeqCst);
        // What they have cut for a snapshot that failed is let go.
        self.cut_by_writers(outcome)?;
        Ok((!saving.given_up.load(SeqCst)).then_some(()))
    }

    /// Cuts a shard, unless a writer has, and writes it and what writers have cut.
    fn shard(&mut self, shard: u16) -> Result<(), SnapshotError> {
        let (node, saving) = (&self.hub.service, &self.hub.service.saving);
        let running = self.running;
        if saving.given_up.load(SeqCst) {
            return Ok(());
        }
        let piece = {
            let mut held = node.engine.store.lock_one(shard);
            let is_cut = saving.is_cut(shard, running);
            (!is_cut).then(|| saving.cut(node, &mut held, shard, running))
        };
        let outcome = piece.map_or(Ok(()), |piece| self.piece(piece));
        self.cut_by_writers(outcome)
    }

    /// Writes what writers have cut, if all went well so far.
    fn cut_by_writers(&mut self, before: Result<(), SnapshotError>) -> Result<(), SnapshotError> {
        let (saving, running) = (&self.hub.service.saving, self.running);
        saving.take_pieces().into_iter().fold(before, |outcome, piece| {
            // One that was given up may leave a piece behind when this one has begun.
            if outcome.is_ok() && piece.running == running {
                return self.piece(piece);
            }
            saving.drop_copy(self.hub, piece.copied());
            outcome
        })
    }

    fn piece(&mut self, piece: Piece) -> Result<(), SnapshotError> {
        let (node, copied) = (&self.hub.service, piece.copied());
        let outcome = self.entries(node, piece);
        node.saving.drop_copy(self.hub, copied);
        outcome
    }

    /// Writes a shard: first the copied entries, whose memory is free then, then the large ones.
    fn entries(&mut self, node: &Node, piece: Piece) -> Result<(), SnapshotError> {
        let Piece { shard, cut, clock_ms, bytes, large, weight, .. } = piece;
        self.cuts[shard as usize] = cut;
        self.clock_ms = self.clock_ms.max(clock_ms);
        let large_weight: u64 = large.iter().map(Large::weight).sum();
        let mut rest = &bytes[..];
        while let Some((len, behind)) = rest.split_first_chunk() {
            let (entry, behind) = behind.split_at(u64::from_le_bytes(*len) as usize);
            self.writer.entry(shard, entry)?;
            self.pace.keep(node, self.writer.keys_written(), self.writer.bytes_written());
            rest = behind;
        }
        node.saving.report.add_done(weight.saturating_sub(large_weight));
        drop(bytes);
        large.into_iter().try_for_each(|entry| self.large(node, shard, entry))
    }

    /// Writes a large entry block by block.
    fn large(&mut self, node: &Node, shard: u16, entry: Large) -> Result<(), SnapshotError> {
        let (report, weight) = (&node.saving.report, entry.weight());
        let File { writer, pace, .. } = self;
        let (mut block, mut written, mut parts) = (entry.head, 0, 0);
        let mut put = |mut bytes: &[u8]| -> Result<(), SnapshotError> {
            // The last block is left for the end: only then is it known to be the last.
            while block.len() + bytes.len() > SNAPSHOT_BLOCK_BYTES {
                let (now, later) = bytes.split_at(SNAPSHOT_BLOCK_BYTES - block.len());
                block.extend_from_slice(now);
                writer.part(shard, &block, false)?;
                pace.keep(node, writer.keys_written(), writer.bytes_written());
                let done = (block.len() as u64).min(weight - written);
                report.add_done(done);
                written += done;
                parts += 1;
                block.clear();
                bytes = later;
            }
            block.extend_from_slice(bytes);
            Ok(())
        };
        match entry.value {
            LargeValue::Text(text) => put(text.as_ref())?,
            LargeValue::Object(object) => object.encode(&mut put)?,
        }
        report.add_done(weight - written);
        match parts {
            0 => self.writer.entry(shard, &block),
            _ => self.writer.part(shard, &block, true),
        }
    }
}

/// Removes snapshots that are not kept; the log is needed from the position returned on.
fn drop_old(disk: &dyn Disk) -> Result<u64, SnapshotError> {
    let mut needed = u64::MAX;
    let listed = names::list(disk)?;
    // With a single snapshot the log before it stays: it is the other way to the same data.
    if listed.len() < SNAPSHOTS_KEPT {
        return Ok(0);
    }
    for (rank, snapshot) in listed.into_iter().enumerate() {
        if rank >= SNAPSHOTS_KEPT {
            disk.remove(&snapshot.name)?;
            continue;
        }
        let reader = SnapshotReader::open(disk, &snapshot.name)?;
        needed = needed.min(reader.info().log_from);
    }
    disk.sync()?;
    Ok(needed)
}
