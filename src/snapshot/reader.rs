//! Opens a snapshot and checks that it is whole.
//!
//! Header, footer and index are checked on opening; a file that opens is known to have been
//! finished, and to have all its blocks in their places. What is in the blocks is checked when
//! they are read: by [`SnapshotReader::verify`] all at once, or while they are loaded.

use super::error::SnapshotError;
use super::format::{
    BLOCK_MAX, BlockKind, FILE_HEAD, FOOTER, FileHead, Footer, HEAD, Head, INDEX_LINE, LAST, Line,
    VERSION, check, payload,
};
use crate::limits::{SHARDS, SNAPSHOT_BLOCK_BYTES};
use crate::sys::disk::{DISK_ALIGN, Disk, DiskFile, OpenMode};
use crate::util::wire::Source;

/// What a snapshot says of itself.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Where the file is.
    pub file: String,
    /// The data that it is of.
    pub database_id: u64,
    /// The number that tells it from others.
    pub snapshot_id: u64,
    /// The generation of the log that was kept when it was taken; 0: none was kept.
    pub generation: u64,
    /// The position of the log at which each shard was cut: the snapshot holds what records
    /// up to there, and that one itself, did to the shard.
    pub cuts: Box<[u64; SHARDS]>,
    /// The newest time (ms since 1970) that an entry was judged by.
    pub clock_ms: u64,
    /// The largest of the cuts.
    pub largest_cut: u64,
    /// The log is needed from this position on.
    pub log_from: u64,
    /// Entries in it.
    pub keys: u64,
    /// Bytes of these entries, uncompressed.
    pub entry_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

impl SnapshotInfo {
    /// The smallest of the cuts: older records of the log are not needed with this snapshot.
    pub fn smallest_cut(&self) -> u64 {
        self.cuts.iter().copied().min().unwrap_or(0)
    }
}

/// A finished snapshot, open for reading by any number of threads.
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    info: SnapshotInfo,
    checksum: u32,
    lines: Vec<Line>,
    /// For each shard its blocks, as indices of `lines`.
    shards: Vec<Vec<u32>>,
    /// The checksums of header, index and all that is not a line, in the order of the file.
    header_crc: u32,
    index_crcs: Vec<u32>,
}

/// What one thread needs to read blocks.
pub struct Buffers {
    block: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers { block: vec![0; BLOCK_MAX], scratch: Vec::new() }
    }
}

impl SnapshotReader {
    /// Opens the snapshot `name`.
    ///
    /// # Errors
    ///
    /// `Unfinished` where there is no valid footer, `Damaged` where one says that there was more,
    /// `Version`, `Io`.
    pub fn open(disk: &dyn Disk, name: &str) -> Result<SnapshotReader, SnapshotError> {
        let file = disk.open(name, OpenMode::Read)?;
        let bytes = file.len()?;
        let source = Blocks { file: &*file, path: format!("{}/{name}", disk.location()) };
        let unfinished = || SnapshotError::Unfinished { file: source.path.clone(), bytes };
        let least = (FILE_HEAD + DISK_ALIGN + FOOTER) as u64;
        if bytes < least || !bytes.is_multiple_of(DISK_ALIGN as u64) {
            return Err(unfinished());
        }
        let (first, header_crc, header) = source.header()?;
        let footer = source.footer(&first, bytes - FOOTER as u64)?.ok_or_else(unfinished)?;
        let end = bytes - FOOTER as u64;
        let (index, index_crcs) = source.index(&first, &footer, end)?;
        let lines = parse_lines(&index, &footer);
        let shards = lines.as_ref().and_then(|lines| by_shard(lines));
        let (Some(lines), Some(shards)) = (lines, shards) else {
            return Err(source.damaged(footer.index_position, "an index that makes no sense"));
        };
        // Without a log nothing of one is needed; builds that noted the place of a body that was
        // left in one that was closed (before 2026-11-29) are overruled.
        let log_from = match header.generation {
            0 => footer.largest_cut,
            _ => footer.log_from,
        };
        let info = SnapshotInfo {
            file: source.path,
            database_id: header.database_id,
            snapshot_id: first.snapshot_id,
            generation: header.generation,
            cuts: footer.cuts,
            clock_ms: footer.clock_ms,
            largest_cut: footer.largest_cut,
            log_from,
            keys: footer.keys,
            entry_bytes: footer.entry_bytes,
            file_bytes: bytes,
        };
        let checksum = footer.checksum;
        Ok(SnapshotReader { file, info, checksum, lines, shards, header_crc, index_crcs })
    }

    /// What the snapshot says of itself.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The blocks of a shard, in order.
    pub(super) fn blocks_of(&self, shard: u16) -> &[u32] {
        &self.shards[usize::from(shard)]
    }

    /// Reads and checks a block; its line, head, checksum and payload.
    pub(super) fn block<'b>(
        &self,
        number: u32,
        buffers: &'b mut Buffers,
    ) -> Result<(Line, Head, u32, &'b [u8]), SnapshotError> {
        let line = self.lines[number as usize];
        let Buffers { block, scratch } = buffers;
        let block = &mut block[..line.block_bytes()];
        let (head, crc) = self.blocks().read(block, line.position, self.info.snapshot_id)?;
        let is_listed = head.sequence == number + 1
            && (head.shard, head.kind, head.flags) == (line.shard, line.kind, line.flags);
        if !is_listed {
            return Err(self.damaged(line.position, "a block that is not the one in the index"));
        }
        let payload = payload(&head, block, scratch);
        let payload = payload.map_err(|what| self.damaged(line.position, what))?;
        Ok((line, head, crc, payload))
    }

    /// Whether the checksums of all blocks, in order, are those that the footer stands for.
    pub(super) fn check_whole(&self, block_crcs: &[u32]) -> Result<(), SnapshotError> {
        let all = std::iter::once(&self.header_crc).chain(block_crcs).chain(&self.index_crcs);
        let whole = all.fold(0, |sum, crc| crc32c::crc32c_append(sum, &crc.to_le_bytes()));
        if whole == self.checksum {
            return Ok(());
        }
        Err(self.damaged(self.info.file_bytes - FOOTER as u64, "blocks of several snapshots"))
    }

    /// Blocks of entries.
    pub(super) fn block_count(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn damaged(&self, offset: u64, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { file: self.info.file.clone(), offset, what }
    }

    fn blocks(&self) -> Blocks<'_, &str> {
        Blocks { file: &*self.file, path: &self.info.file }
    }
}

/// A file that is read block by block.
struct Blocks<'f, P> {
    file: &'f dyn DiskFile,
    path: P,
}

impl<P: AsRef<str>> Blocks<'_, P> {
    fn damaged(&self, offset: u64, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { file: self.path.as_ref().to_owned(), offset, what }
    }

    /// Fills `block` from `position` and checks it.
    fn read(
        &self,
        block: &mut [u8],
        position: u64,
        snapshot_id: u64,
    ) -> Result<(Head, u32), SnapshotError> {
        if self.file.read_at(block, position)? < block.len() {
            return Err(self.damaged(position, "the file ends inside a block"));
        }
        let checked = check(block, position).map_err(|what| self.damaged(position, what))?;
        if checked.0.snapshot_id != snapshot_id {
            return Err(self.damaged(position, "a block of another snapshot"));
        }
        Ok(checked)
    }

    /// The first block: its head, its checksum and what it says.
    fn header(&self) -> Result<(Head, u32, FileHead), SnapshotError> {
        let mut block = vec![0; FILE_HEAD];
        self.file.read_at(&mut block, 0)?;
        let (head, crc) = check(&block, 0).map_err(|what| self.damaged(0, what))?;
        let stored = &block[HEAD..HEAD + head.stored as usize];
        let says = FileHead::decode(stored).filter(|_| head.kind == BlockKind::Header);
        let says = says.ok_or(self.damaged(0, "no snapshot begins here"))?;
        if says.version != VERSION {
            let file = self.path.as_ref().to_owned();
            return Err(SnapshotError::Version { file, found: says.version });
        }
        Ok((head, crc, says))
    }

    /// The last block; `None` if there is no footer of this snapshot.
    fn footer(&self, first: &Head, position: u64) -> Result<Option<Footer>, SnapshotError> {
        let mut block = vec![0; FOOTER];
        let read = self.file.read_at(&mut block, position)?;
        let Ok((head, _)) = check(&block[..read], position) else { return Ok(None) };
        let belongs = head.kind == BlockKind::Footer && head.snapshot_id == first.snapshot_id;
        let stored = &block[HEAD..HEAD + head.stored as usize];
        Ok(Footer::decode(stored).filter(|_| belongs))
    }

    /// The bytes of the index, and the checksums of its blocks.
    fn index(
        &self,
        first: &Head,
        footer: &Footer,
        end: u64,
    ) -> Result<(Vec<u8>, Vec<u32>), SnapshotError> {
        let wrong = |at| self.damaged(at, "an index that makes no sense");
        let mut position = footer.index_position;
        let is_inside = position >= FILE_HEAD as u64 && position < end;
        if !is_inside || footer.index_bytes > end - position {
            return Err(wrong(end));
        }
        let (mut index, mut crcs) = (Vec::new(), Vec::new());
        let mut left = footer.index_bytes as usize;
        while left > 0 || crcs.is_empty() {
            let length = left.min(SNAPSHOT_BLOCK_BYTES);
            let mut block = vec![0; (HEAD + length).next_multiple_of(DISK_ALIGN)];
            let (head, crc) = self.read(&mut block, position, first.snapshot_id)?;
            let sequence = footer.blocks + 1 + crcs.len() as u64;
            if head.kind != BlockKind::Index
                || u64::from(head.sequence) != sequence
                || head.stored as usize != length
            {
                return Err(wrong(position));
            }
            index.extend_from_slice(&block[HEAD..HEAD + length]);
            crcs.push(crc);
            position += block.len() as u64;
            left -= length;
        }
        if position == end { Ok((index, crcs)) } else { Err(wrong(position)) }
    }
}

/// The lines of an index whose blocks lie one behind the other, from the header to the index.
fn parse_lines(index: &[u8], footer: &Footer) -> Option<Vec<Line>> {
    if footer.blocks.checked_mul(INDEX_LINE as u64)? != index.len() as u64 {
        return None;
    }
    let mut lines = Vec::with_capacity(index.len() / INDEX_LINE);
    let (mut source, mut position) = (Source::new(index), FILE_HEAD as u64);
    while !source.is_empty() {
        let line = Line::decode(&mut source).filter(|line| line.position == position)?;
        position = line.end()?;
        lines.push(line);
    }
    (position == footer.index_position).then_some(lines)
}

/// The blocks of each shard, among which the parts of a large entry follow each other.
fn by_shard(lines: &[Line]) -> Option<Vec<Vec<u32>>> {
    let mut shards = vec![Vec::new(); SHARDS];
    let mut open = [false; SHARDS];
    for (number, line) in (0u32..).zip(lines) {
        let is_open = &mut open[usize::from(line.shard)];
        let is_part = line.kind == BlockKind::Part;
        if *is_open && !is_part {
            return None;
        }
        *is_open = is_part && line.flags & LAST == 0;
        shards[usize::from(line.shard)].push(number);
    }
    (!open.contains(&true)).then_some(shards)
}
