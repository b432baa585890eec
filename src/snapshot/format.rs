//! The bytes of a snapshot: everything is a block.
//!
//! ```text
//!   | head (64) | payload | zeros up to a multiple of 4096 |
//!     magic, crc32c over all that follows it (the zeros too), snapshot id, position, sequence,
//!     lengths, entries, shard, kind, flags
//! ```
//!
//! The first block is the file's header, the last one its footer; the index stands before the
//! footer. Invariant: a head that [`check`] accepts tells the truth about bytes that were written
//! for this snapshot and for this position.

use crate::limits::{SHARDS, SNAPSHOT_BLOCK_BYTES};
use crate::sys::disk::DISK_ALIGN;
use crate::util::wire::Source;

/// The version of the format.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 4] = *b"DSEs";
const FILE_MAGIC: [u8; 16] = *b"dse snapshot\r\n\x1a\n";
const END_MAGIC: [u8; 8] = *b"dse:end\n";

/// Bytes of a block's head.
pub const HEAD: usize = 64;
/// Where the checksummed part of a head begins.
const CHECKED_FROM: usize = 8;
/// Bytes of the largest block.
pub const BLOCK_MAX: usize = (HEAD + SNAPSHOT_BLOCK_BYTES).next_multiple_of(DISK_ALIGN);
/// Bytes of one block's line in the index.
pub const INDEX_LINE: usize = 16;
/// Bytes of the header block.
pub const FILE_HEAD: usize = DISK_ALIGN;
/// Bytes of the footer block, at the end of the file.
pub const FOOTER: usize = (HEAD + FOOTER_PAYLOAD).next_multiple_of(DISK_ALIGN);
const FOOTER_PAYLOAD: usize = 8 * SHARDS + 8 * 8 + 4 + END_MAGIC.len();
/// A shard number that blocks of no shard carry.
pub const NO_SHARD: u16 = u16::MAX;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// The first block of the file.
    Header = 1,
    /// Entries of one shard, each behind its length.
    Entries = 2,
    /// A piece of an entry that is too large for one block.
    Part = 3,
    /// A piece of the index.
    Index = 4,
    /// The last block of the file.
    Footer = 5,
}

/// Flag: the payload is compressed (LZ4 block format).
pub const LZ4: u8 = 1;
/// Flag: the entry ends with this part.
pub const LAST: u8 = 2;

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The snapshot that the block belongs to.
    pub snapshot_id: u64,
    /// Where the block begins in the file.
    pub position: u64,
    /// The number of the block in the file; the header's is 0.
    pub sequence: u32,
    /// Bytes of the payload as it is stored.
    pub stored: u32,
    /// Bytes of the payload after decompression.
    pub length: u32,
    /// Entries that begin in the block.
    pub entries: u32,
    /// The shard of the entries, or [`NO_SHARD`].
    pub shard: u16,
    /// What the block is for.
    pub kind: BlockKind,
    /// [`LZ4`], [`LAST`].
    pub flags: u8,
}

impl Head {
    /// Bytes of the block with its head and padding.
    pub fn block_bytes(&self) -> usize {
        (HEAD + self.stored as usize).next_multiple_of(DISK_ALIGN)
    }

    /// Completes a block whose payload lies at [`HEAD`], and answers its checksum. `block` is all
    /// of it, padding included.
    pub fn seal(&self, block: &mut [u8]) -> u32 {
        debug_assert_eq!(block.len(), self.block_bytes());
        block[HEAD + self.stored as usize..].fill(0);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&self.snapshot_id.to_le_bytes());
        head.extend_from_slice(&self.position.to_le_bytes());
        for number in [self.sequence, self.stored, self.length, self.entries] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&self.shard.to_le_bytes());
        head.extend_from_slice(&[self.kind as u8, self.flags]);
        head.resize(HEAD, 0);
        block[..HEAD].copy_from_slice(&head);
        let crc = crc32c::crc32c(&block[CHECKED_FROM..]);
        block[4..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    fn parse(block: &[u8]) -> Option<(Head, u32)> {
        let mut source = Source::new(block);
        if source.array::<4>()? != MAGIC {
            return None;
        }
        let crc = source.u32()?;
        let (snapshot_id, position) = (source.u64()?, source.u64()?);
        let (sequence, stored) = (source.u32()?, source.u32()?);
        let (length, entries, shard) = (source.u32()?, source.u32()?, source.u16()?);
        let kind = match source.u8()? {
            1 => BlockKind::Header,
            2 => BlockKind::Entries,
            3 => BlockKind::Part,
            4 => BlockKind::Index,
            5 => BlockKind::Footer,
            _ => return None,
        };
        let flags = source.u8()?;
        let head =
            Head { snapshot_id, position, sequence, stored, length, entries, shard, kind, flags };
        (flags & !(LZ4 | LAST) == 0).then_some((head, crc))
    }
}

/// The head and the checksum of `block`, all of whose bytes are what was written. `Err` says what
/// is wrong.
pub fn check(block: &[u8], position: u64) -> Result<(Head, u32), &'static str> {
    let (head, crc) = Head::parse(block).ok_or("no block begins here")?;
    if head.stored as usize > SNAPSHOT_BLOCK_BYTES || head.length as usize > SNAPSHOT_BLOCK_BYTES {
        return Err("a block of impossible length");
    }
    if head.block_bytes() != block.len() {
        return Err("a block of another length");
    }
    if crc32c::crc32c(&block[CHECKED_FROM..]) != crc {
        return Err("the checksum is wrong");
    }
    if head.position != position {
        return Err("a block that belongs to another place");
    }
    Ok((head, crc))
}

/// The payload of a checked block, decompressed into `scratch` where it has to be.
pub fn payload<'b>(
    head: &Head,
    block: &'b [u8],
    scratch: &'b mut Vec<u8>,
) -> Result<&'b [u8], &'static str> {
    let stored = &block[HEAD..HEAD + head.stored as usize];
    if head.flags & LZ4 == 0 {
        let is_plain = head.length == head.stored;
        return if is_plain { Ok(stored) } else { Err("two lengths that differ") };
    }
    scratch.resize(head.length as usize, 0);
    match lz4_flex::block::decompress_into(stored, scratch) {
        Ok(length) if length == scratch.len() => Ok(scratch),
        _ => Err("what was compressed does not expand"),
    }
}

/// What the first block says beside its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// The version of the format.
    pub version: u32,
    /// The data that the snapshot is of.
    pub database_id: u64,
    /// The generation of the log that was kept when it was taken; 0: none was kept.
    pub generation: u64,
}

impl FileHead {
    /// The payload of the header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FILE_MAGIC.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.database_id.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out
    }

    /// What the payload of the header block says; of another version, no more than that.
    pub fn decode(payload: &[u8]) -> Option<FileHead> {
        let mut source = Source::new(payload);
        if source.array::<16>()? != FILE_MAGIC {
            return None;
        }
        let version = source.u32()?;
        if version != VERSION {
            return Some(FileHead { version, database_id: 0, generation: 0 });
        }
        let head = FileHead { version, database_id: source.u64()?, generation: source.u64()? };
        source.is_empty().then_some(head)
    }
}

/// One block's line in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the block begins.
    pub position: u64,
    /// Its bytes in units of 4096.
    pub units: u32,
    /// Its shard.
    pub shard: u16,
    /// `Entries` or `Part`.
    pub kind: BlockKind,
    /// The block's flags.
    pub flags: u8,
}

impl Line {
    /// Appends the line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.units.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, self.flags]);
    }

    /// The next line; `None` for what no writer writes.
    pub fn decode(source: &mut Source<'_>) -> Option<Line> {
        let (position, units, shard) = (source.u64()?, source.u32()?, source.u16()?);
        let kind = match source.u8()? {
            2 => BlockKind::Entries,
            3 => BlockKind::Part,
            _ => return None,
        };
        let flags = source.u8()?;
        let is_known = usize::from(shard) < SHARDS
            && units > 0
            && units as usize <= BLOCK_MAX / DISK_ALIGN
            && flags & !(LZ4 | LAST) == 0
            && (kind == BlockKind::Part || flags & LAST == 0);
        is_known.then_some(Line { position, units, shard, kind, flags })
    }

    /// Bytes of the block.
    pub fn block_bytes(&self) -> usize {
        self.units as usize * DISK_ALIGN
    }

    /// Where the next block begins.
    pub fn end(&self) -> Option<u64> {
        self.position.checked_add(self.block_bytes() as u64)
    }
}

/// What the last block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The position of the log at which each shard was cut.
    pub cuts: Box<[u64; SHARDS]>,
    /// The newest time (ms since 1970) that any entry was judged by.
    pub clock_ms: u64,
    /// The largest of the cuts.
    pub largest_cut: u64,
    /// Entries in all blocks.
    pub keys: u64,
    /// Bytes of all entries.
    pub entry_bytes: u64,
    /// Blocks of entries.
    pub blocks: u64,
    /// Where the index begins.
    pub index_position: u64,
    /// Bytes of the index without heads and padding.
    pub index_bytes: u64,
    /// The log is needed from this position on.
    pub log_from: u64,
    /// crc32c over the checksums of all blocks before the footer, in their order.
    pub checksum: u32,
}

impl Footer {
    /// The payload of the footer block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_PAYLOAD);
        self.cuts.iter().for_each(|cut| out.extend_from_slice(&cut.to_le_bytes()));
        for number in [
            self.clock_ms,
            self.largest_cut,
            self.keys,
            self.entry_bytes,
            self.blocks,
            self.index_position,
            self.index_bytes,
            self.log_from,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.checksum.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
        out
    }

    /// What the payload of the footer block says.
    pub fn decode(payload: &[u8]) -> Option<Footer> {
        let mut source = Source::new(payload);
        let mut cuts = Box::new([0; SHARDS]);
        for cut in cuts.iter_mut() {
            *cut = source.u64()?;
        }
        let footer = Footer {
            clock_ms: source.u64()?,
            largest_cut: source.u64()?,
            keys: source.u64()?,
            entry_bytes: source.u64()?,
            blocks: source.u64()?,
            index_position: source.u64()?,
            index_bytes: source.u64()?,
            log_from: source.u64()?,
            checksum: source.u32()?,
            cuts,
        };
        let is_whole =
            source.rest() == END_MAGIC && footer.cuts.iter().max() == Some(&footer.largest_cut);
        is_whole.then_some(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            snapshot_id: 7,
            position: 8192,
            sequence: 3,
            stored: 5000,
            length: 5000,
            entries: 12,
            shard: 511,
            kind: BlockKind::Entries,
            flags: 0,
        }
    }

    fn block() -> Vec<u8> {
        let mut block = vec![b'x'; head().block_bytes()];
        head().seal(&mut block);
        block
    }

    #[test]
    fn a_block_tells_what_it_was_told() {
        let block = block();
        assert_eq!(block.len(), 8192);
        let (found, crc) = check(&block, 8192).expect("whole");
        assert_eq!((found, crc), (head(), crc32c::crc32c(&block[8..])));
        let mut scratch = Vec::new();
        assert_eq!(payload(&found, &block, &mut scratch), Ok(&vec![b'x'; 5000][..]));
        assert!(check(&block, 4096).is_err());
        assert!(check(&block[..4096], 8192).is_err());
    }

    #[test]
    fn every_bit_of_a_block_is_checked() {
        let mut block = block();
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&block, 8192).is_err(), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_footer_is_as_large_as_it_says() {
        let mut cuts = Box::new([5; SHARDS]);
        cuts[17] = 99;
        let footer = Footer {
            cuts,
            clock_ms: 1,
            largest_cut: 99,
            keys: 2,
            entry_bytes: 3,
            blocks: 4,
            index_position: 5,
            index_bytes: 6,
            log_from: 3,
            checksum: 7,
        };
        let payload = footer.encode();
        assert_eq!(payload.len(), FOOTER_PAYLOAD);
        assert_eq!(Footer::decode(&payload), Some(footer.clone()));
        assert_eq!(Footer::decode(&payload[1..]), None);
        assert_eq!(Footer::decode(&Footer { largest_cut: 98, ..footer }.encode()), None);
    }
}
