//! A snapshot as it is written.
//!
//! ```text
//!   create ("snapshot.tmp") -> entry, part, block ... -> finish -> publish
//!                                                        footer    rename,
//!                                                        and sync  sync of the directory
//! ```
//!
//! The file has its final name only when every byte of it is durable. A writer that is dropped
//! before that removes what it wrote.
//!
//! Invariants: blocks lie one behind the other; the parts of a large entry follow each other
//! among the blocks of their shard. Memory is one block, plus 16 bytes for each one written.

use super::error::SnapshotError;
use super::format::{
    BLOCK_MAX, BlockKind, FOOTER, FileHead, Footer, HEAD, Head, INDEX_LINE, LAST, LZ4, Line,
    NO_SHARD, VERSION,
};
use super::names;
use crate::limits::{DATABASES, SHARDS, SNAPSHOT_BATCH_ENTRIES, SNAPSHOT_BLOCK_BYTES};
use crate::store::{Store, encode_entry};
use crate::sys::disk::{AlignedBuf, DISK_ALIGN, Disk, DiskFile, OpenMode};
use crate::util::wire::put_string;
use std::sync::Arc;

/// Bytes that may stand in front of an entry in a block: its length.
const LENGTH_BYTES_MAX: usize = 10;
/// Compression has to save this part of a block (one in so many bytes) to be worth it.
const GAIN: usize = 16;

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotMeta {
    /// The data that it is of.
    pub database_id: u64,
    /// A number that no other snapshot in the directory has: at random, or counted.
    pub snapshot_id: u64,
    /// The generation of the log that was kept when it was taken; 0: none was kept.
    pub generation: u64,
    /// Blocks are compressed where that saves something.
    pub compress: bool,
}

/// A snapshot that is being written.
pub struct SnapshotWriter {
    file: Temporary,
    meta: SnapshotMeta,
    buffer: AlignedBuf,
    compressed: Vec<u8>,
    position: u64,
    sequence: u32,
    lines: Vec<Line>,
    checksum: u32,
    keys: u64,
    entry_bytes: u64,
    /// Entries that wait for their block to fill, and their shard.
    gathered: Vec<u8>,
    gathered_entries: u32,
    gathered_shard: u16,
    /// Shards whose large entry has not ended yet.
    open: Box<[bool; SHARDS]>,
}

/// What of a block is known before it is written.
struct Draft {
    shard: u16,
    kind: BlockKind,
    flags: u8,
    entries: u32,
}

impl SnapshotWriter {
    /// Begins a snapshot in the file `name`, replacing one that an earlier writer left behind.
    pub fn create(
        disk: Arc<dyn Disk>,
        name: &str,
        meta: SnapshotMeta,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let file = Temporary::create(disk, name)?;
        let mut writer = SnapshotWriter {
            file,
            meta,
            buffer: AlignedBuf::zeroed(BLOCK_MAX),
            compressed: Vec::new(),
            position: 0,
            sequence: 0,
            lines: Vec::new(),
            checksum: 0,
            keys: 0,
            entry_bytes: 0,
            gathered: Vec::with_capacity(SNAPSHOT_BLOCK_BYTES),
            gathered_entries: 0,
            gathered_shard: 0,
            open: Box::new([false; SHARDS]),
        };
        let head = FileHead {
            version: VERSION,
            database_id: meta.database_id,
            generation: meta.generation,
        };
        writer.write(&Draft::of(BlockKind::Header), &head.encode())?;
        Ok(writer)
    }

    /// Adds an entry (what [`crate::store::encode_entry`] wrote) to the blocks of `shard`. It is
    /// written when a block is full, or an entry of another shard comes.
    pub fn entry(&mut self, shard: u16, entry: &[u8]) -> Result<(), SnapshotError> {
        let framed = entry.len() + LENGTH_BYTES_MAX;
        if shard != self.gathered_shard || self.gathered.len() + framed > SNAPSHOT_BLOCK_BYTES {
            self.flush()?;
            self.gathered_shard = shard;
        }
        if framed > SNAPSHOT_BLOCK_BYTES {
            let (pieces, last) = entry.as_chunks::<SNAPSHOT_BLOCK_BYTES>();
            for piece in pieces {
                self.part(shard, piece, false)?;
            }
            return self.part(shard, last, true);
        }
        put_string(&mut self.gathered, entry);
        self.gathered_entries += 1;
        Ok(())
    }

    /// Writes the next piece of a large entry of `shard`, of at most [`SNAPSHOT_BLOCK_BYTES`]
    /// bytes. Until its last piece is written, `shard` gets nothing else; others may.
    pub fn part(&mut self, shard: u16, piece: &[u8], is_last: bool) -> Result<(), SnapshotError> {
        self.flush()?;
        let is_first = !std::mem::replace(&mut self.open[usize::from(shard)], !is_last);
        let flags = if is_last { LAST } else { 0 };
        let draft = Draft { shard, kind: BlockKind::Part, flags, entries: u32::from(is_first) };
        self.entry_bytes += piece.len() as u64;
        self.write(&draft, piece)
    }

    /// Writes a block of `entries` entries of `shard`, each behind its length (a varint), at most
    /// [`SNAPSHOT_BLOCK_BYTES`] bytes together.
    pub fn block(&mut self, shard: u16, payload: &[u8], entries: u32) -> Result<(), SnapshotError> {
        self.flush()?;
        self.entry_bytes += payload.len() as u64;
        self.write(&Draft { shard, kind: BlockKind::Entries, flags: 0, entries }, payload)
    }

    /// Writes the block of entries that were gathered, if there are any.
    pub fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.gathered_entries == 0 {
            return Ok(());
        }
        let mut payload = std::mem::take(&mut self.gathered);
        let entries = std::mem::take(&mut self.gathered_entries);
        let outcome = self.block(self.gathered_shard, &payload, entries);
        payload.clear();
        self.gathered = payload;
        outcome
    }

    /// Adds all entries of `store`. The caller sees to it that nobody changes the store meanwhile:
    /// the snapshot would hold no one moment of it.
    pub fn store(&mut self, store: &Store) -> Result<(), SnapshotError> {
        let mut bytes = Vec::new();
        for db in 0..DATABASES as u8 {
            let mut cursor = 0;
            loop {
                let mut outcome = Ok(());
                cursor = store.scan(db, cursor, SNAPSHOT_BATCH_ENTRIES, &mut |entry, object| {
                    bytes.clear();
                    encode_entry(db, entry, object, &mut bytes);
                    if outcome.is_ok() {
                        outcome = self.entry(store.key(entry.key()).shard(), &bytes);
                    }
                });
                outcome?;
                if cursor == 0 {
                    break;
                }
            }
        }
        self.flush()
    }

    /// Bytes in the file so far.
    pub fn bytes_written(&self) -> u64 {
        self.position
    }

    /// Entries so far, those that wait for their block included.
    pub fn keys_written(&self) -> u64 {
        self.keys + u64::from(self.gathered_entries)
    }

    /// Writes index and footer and makes the file durable. `cuts` are the positions of the log
    /// at which the shards were cut, `clock_ms` the newest time that an entry was judged by; the
    /// log is needed from `log_from` on.
    pub fn finish(
        mut self,
        cuts: &[u64; SHARDS],
        clock_ms: u64,
        log_from: u64,
    ) -> Result<Finished, SnapshotError> {
        self.flush()?;
        debug_assert!(self.open.iter().all(|open| !open), "a large entry without an end");
        let index_position = self.position;
        let mut index = Vec::with_capacity(self.lines.len() * INDEX_LINE);
        self.lines.iter().for_each(|line| line.encode(&mut index));
        let mut pieces = index.chunks(SNAPSHOT_BLOCK_BYTES);
        self.write(&Draft::of(BlockKind::Index), pieces.next().unwrap_or_default())?;
        for piece in pieces {
            self.write(&Draft::of(BlockKind::Index), piece)?;
        }
        let footer = Footer {
            cuts: Box::new(*cuts),
            clock_ms,
            largest_cut: cuts.iter().copied().max().unwrap_or(0),
            keys: self.keys,
            entry_bytes: self.entry_bytes,
            blocks: self.lines.len() as u64,
            index_position,
            index_bytes: index.len() as u64,
            log_from,
            checksum: self.checksum,
        };
        self.write(&Draft::of(BlockKind::Footer), &footer.encode())?;
        debug_assert_eq!((self.position - index_position) % DISK_ALIGN as u64, 0);
        debug_assert!(self.position >= index_position + FOOTER as u64);
        self.file.handle.sync()?;
        Ok(Finished {
            file: self.file,
            bytes: self.position,
            keys: footer.keys,
            largest_cut: footer.largest_cut,
            checksum: footer.checksum,
        })
    }

    /// Writes a block at the end of the file.
    fn write(&mut self, draft: &Draft, payload: &[u8]) -> Result<(), SnapshotError> {
        debug_assert!(payload.len() <= SNAPSHOT_BLOCK_BYTES);
        let holds_entries = matches!(draft.kind, BlockKind::Entries | BlockKind::Part);
        let is_compressed = self.meta.compress && holds_entries && self.compress(payload);
        let stored = if is_compressed { &self.compressed[..] } else { payload };
        let head = Head {
            snapshot_id: self.meta.snapshot_id,
            position: self.position,
            sequence: self.sequence,
            stored: stored.len() as u32,
            length: payload.len() as u32,
            entries: draft.entries,
            shard: draft.shard,
            kind: draft.kind,
            flags: draft.flags | if is_compressed { LZ4 } else { 0 },
        };
        let block = &mut self.buffer[..head.block_bytes()];
        block[HEAD..HEAD + stored.len()].copy_from_slice(stored);
        let crc = head.seal(block);
        self.file.handle.write_at(block, self.position)?;
        if holds_entries {
            let units = (block.len() / DISK_ALIGN) as u32;
            let Head { position, shard, kind, flags, .. } = head;
            self.lines.push(Line { position, units, shard, kind, flags });
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &crc.to_le_bytes());
        self.position += block.len() as u64;
        self.sequence += 1;
        self.keys += u64::from(draft.entries);
        Ok(())
    }

    /// Compresses `payload`; false when that is not worth it.
    fn compress(&mut self, payload: &[u8]) -> bool {
        let room = lz4_flex::block::get_maximum_output_size(payload.len());
        self.compressed.resize(room, 0);
        let Ok(length) = lz4_flex::block::compress_into(payload, &mut self.compressed) else {
            return false;
        };
        self.compressed.truncate(length);
        length + payload.len() / GAIN < payload.len()
    }
}

impl Draft {
    /// A block of no shard.
    fn of(kind: BlockKind) -> Draft {
        Draft { shard: NO_SHARD, kind, flags: 0, entries: 0 }
    }
}

/// A snapshot of which every byte is durable, still under its temporary name.
pub struct Finished {
    file: Temporary,
    /// Bytes of the file.
    pub bytes: u64,
    /// Entries in it.
    pub keys: u64,
    /// The largest cut: the log must be durable up to here before the snapshot is published.
    pub largest_cut: u64,
    /// The checksum over all blocks.
    pub checksum: u32,
}

impl Finished {
    /// Gives the file its name, which it answers. Two snapshots with the same largest cut have
    /// the same name: the newer one takes the older one's place.
    pub fn publish(mut self) -> Result<String, SnapshotError> {
        let name = names::file_name(self.largest_cut);
        self.file.disk.rename(&self.file.name, &name)?;
        // From here on there is no temporary file, whatever becomes of the sync.
        self.file.is_removed_on_drop = false;
        self.file.disk.sync()?;
        Ok(name)
    }
}

/// A file that vanishes with its writer.
struct Temporary {
    disk: Arc<dyn Disk>,
    handle: Box<dyn DiskFile>,
    name: String,
    is_removed_on_drop: bool,
}

impl Temporary {
    fn create(disk: Arc<dyn Disk>, name: &str) -> Result<Temporary, SnapshotError> {
        if disk.list()?.iter().any(|(other, _)| other == name) {
            disk.remove(name)?;
        }
        let handle = disk.open(name, OpenMode::Create)?;
        Ok(Temporary { disk, handle, name: name.to_owned(), is_removed_on_drop: true })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_removed_on_drop {
            // What cannot be removed now is replaced by the next writer.
            let _ = self.disk.remove(&self.name);
        }
    }
}
