//! Reading the log back after a start.
//!
//! Commits are read in order from the file that holds the wanted position. The first place where
//! no valid commit lies is the end, or damage; which of the two follows from what the commits
//! themselves say: each states how far the log was durable when it was written, and the largest of
//! these statements, `S`, found in *any* valid commit, also behind the bad place, is a position
//! up to which every write may have been acknowledged (rule E12).
//!
//! ```text
//!   bad place p >= S: a torn tail. Nobody was told that anything from p on is safe: it is cut.
//!   bad place p <  S: damage. Acknowledged writes are gone: the server refuses to start.
//! ```
//!
//! A snapshot that was taken beside the log is such a statement too: it got its name when the log
//! was durable up to its largest cut ([`Base`]).
//!
//! A log that was switched off and on again *begins anew* with a commit that says so: changes in
//! front of it are in no record. Who comes from before it stops there (rule E16).

use super::commit::{CommitHeader, Format};
use super::files::end_of_file;
use super::names::{self, LogName};
use super::record::Record;
use crate::limits::{LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_WRITES_MAX};
use crate::sys::disk::{Disk, DiskFile, OpenMode};

mod error;

pub use error::ReadError;

/// What the end of a log looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Behind the last valid commit: where the log goes on.
    pub end: u64,
    /// The highest generation of any file.
    pub generation: u32,
    /// The newest clock of any commit, ms since 1970.
    pub clock_ms: u64,
    /// The log's name; `None` without a single commit.
    pub log_id: Option<u64>,
    /// The largest position that a commit states to be durable.
    pub synced: u64,
    /// Records seen.
    pub records: u64,
    /// What was cut off.
    pub torn: Option<Torn>,
    /// Where the log begins anew: what lies behind does not follow from what was read.
    pub anew: Option<u64>,
}

/// The snapshot that a log is read behind.
#[derive(Clone, Debug)]
pub struct Base {
    /// The file, for messages.
    pub file: String,
    /// The log that belongs to it.
    pub log_id: u64,
    /// The log is needed from this position on.
    pub from: u64,
    /// The largest cut. If a log was kept, it was durable up to here, but for the header of a
    /// commit that was still empty.
    pub until: u64,
    /// A log was kept when it was taken.
    pub is_logged: bool,
}

/// A tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file it is in.
    pub file: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// Bytes from there to the end of the last block that was written.
    pub bytes: u64,
}

/// Reads a log chunk by chunk.
pub struct LogReader<'d> {
    disk: &'d dyn Disk,
    files: Vec<(LogName, u64)>,
    segment: u64,
    tail: Tail,
    at: u64,
    /// The first position that is wanted.
    from: u64,
    /// What the log was found to be part of, for messages.
    source: String,
    open: Option<(LogName, Box<dyn DiskFile>)>,
}

/// Records that were read together: whole commits.
pub struct Chunk {
    /// The first byte's position.
    start: u64,
    bytes: Vec<u8>,
    /// Positions and ends of the records of each commit, and their format.
    commits: Vec<(u64, u64, Format)>,
}

impl Chunk {
    /// The records in order. All lie in commits that have passed their checks.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.commits.iter().flat_map(|(from, to, format)| RecordIter {
            bytes: &self.bytes[(from - self.start) as usize..(to - self.start) as usize],
            at: *from,
            format: *format,
        })
    }

    /// Bytes of the commits.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

struct RecordIter<'a> {
    bytes: &'a [u8],
    at: u64,
    format: Format,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (record, len) = Record::read(self.bytes, self.at, self.format).ok()?;
        self.bytes = self.bytes.get(len..).unwrap_or_default();
        self.at += len as u64;
        Some(record)
    }
}

impl<'d> LogReader<'d> {
    /// A reader that begins with the file that holds `from`. Files of `segment` bytes.
    pub fn open(disk: &'d dyn Disk, segment: u64, from: u64) -> Result<LogReader<'d>, ReadError> {
        let files = names::list(disk)?;
        let generation = files.iter().map(|(name, _)| name.generation).max().unwrap_or(0);
        let mut reader = LogReader {
            disk,
            files,
            segment,
            tail: Tail { generation, ..Tail::default() },
            at: from,
            from,
            source: String::new(),
            open: None,
        };
        reader.at = match (reader.file_at(from), reader.files.first()) {
            (Some(name), _) => name.start,
            (None, None) => from.next_multiple_of(LOG_BLOCK_BYTES),
            (None, Some((first, _))) => {
                // Files that end below `from` are older than a snapshot that needs none of them.
                let first = *first;
                if first.start > from && !reader.begins_anew(first)? {
                    return Err(ReadError::Gap { need: from, have: first.start });
                }
                from.next_multiple_of(LOG_BLOCK_BYTES)
            }
        };
        reader.tail.end = reader.at;
        Ok(reader)
    }

    /// A reader of what lies behind a snapshot, which says what must be there.
    pub fn behind(
        disk: &'d dyn Disk,
        segment: u64,
        base: &Base,
    ) -> Result<LogReader<'d>, ReadError> {
        refuse_foreign(disk, base)?;
        let mut reader = LogReader::open(disk, segment, base.from)?;
        reader.tail.log_id = Some(base.log_id);
        reader.source.clone_from(&base.file);
        if base.is_logged {
            let synced = base.until.saturating_sub(LOG_COMMIT_HEADER);
            reader.tail.synced = synced;
            if reader.file_at(reader.at).is_none() {
                return Err(ReadError::Missing { lsn: reader.at, synced: synced.max(base.from) });
            }
        }
        Ok(reader)
    }

    /// Whether the file opens the log anew.
    fn begins_anew(&mut self, name: LogName) -> Result<bool, ReadError> {
        let first = first_commit(self.disk, name)?;
        Ok(first.is_some_and(|header| header.anew))
    }

    /// The reader's place: where the file begins that holds what is wanted, at first.
    pub fn place(&self) -> u64 {
        self.at
    }

    /// Bytes from the reader's place to the end of the last file, for a progress bar.
    pub fn bytes_ahead(&self) -> u64 {
        let end = self.files.iter().map(|(name, _)| end_of_file(name.start, self.segment)).max();
        end.unwrap_or(self.at).saturating_sub(self.at)
    }

    /// The next commits; `None` at the end of the log, which is then known by `tail`.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        let Some(name) = self.file_at(self.at) else {
            return self.ended(None).map(|()| None);
        };
        let end = self.end_of(name, self.at);
        let chunk_end = (self.at / LOG_CHUNK_BYTES + 1) * LOG_CHUNK_BYTES;
        let mut bytes = vec![0; (chunk_end.min(end) - self.at) as usize];
        let len = self.read(name, self.at, &mut bytes)?;
        bytes.truncate(len);
        let mut chunk = Chunk { start: self.at, bytes, commits: Vec::new() };
        let mut offset = 0;
        while let Some((header, format)) = self.commit_at(name, self.at, &chunk.bytes[offset..])? {
            if self.is_beyond(&header) {
                break;
            }
            let from = header.lsn + LOG_COMMIT_HEADER;
            let to = header.lsn + u64::from(header.used);
            let bytes = &chunk.bytes[offset..][64..header.used as usize];
            let count = RecordIter { bytes, at: from, format }.count() as u64;
            if count != u64::from(header.records) {
                break; // The commit is whole, but was written wrongly: as bad as damage.
            }
            self.note(&header);
            self.tail.records += count;
            chunk.commits.push((from, to, format));
            offset += header.len as usize;
            self.at = header.end();
            self.tail.end = self.at;
        }
        if chunk.is_empty() {
            return self.ended(Some(name)).map(|()| None);
        }
        Ok(Some(chunk))
    }

    /// What is known of the end; complete once `next_chunk` has returned `None`.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The commit at the front of `bytes`, if it belongs to position `at` of the file `name`.
    fn commit_at(
        &mut self,
        name: LogName,
        at: u64,
        bytes: &[u8],
    ) -> Result<Option<(CommitHeader, Format)>, ReadError> {
        let Some((header, format)) = CommitHeader::open(bytes) else { return Ok(None) };
        if header.lsn != at || header.generation != name.generation {
            return Ok(None);
        }
        if self.tail.log_id.is_some_and(|id| id != header.log_id) {
            return Err(ReadError::Foreign { file: name.text(), other: self.source.clone() });
        }
        if self.source.is_empty() {
            self.source = name.text();
        }
        Ok(Some((header, format)))
    }

    /// Whether the log begins anew with this commit, behind what is wanted.
    fn is_beyond(&mut self, header: &CommitHeader) -> bool {
        let is_beyond = header.anew && header.lsn > self.from;
        if is_beyond {
            self.tail.anew = Some(header.lsn);
        }
        is_beyond
    }

    fn note(&mut self, header: &CommitHeader) {
        self.tail.log_id = Some(header.log_id);
        self.tail.clock_ms = self.tail.clock_ms.max(header.clock_ms);
        self.tail.synced = self.tail.synced.max(header.synced);
    }

    /// No valid commit lies at the reader's place: a torn tail, or damage.
    fn ended(&mut self, name: Option<LogName>) -> Result<(), ReadError> {
        let place = self.at;
        let last_block = self.scan_behind(place)?;
        let synced = self.tail.synced;
        let Some(name) = name else {
            // There is nothing to be torn.
            return if place < synced {
                Err(ReadError::Missing { lsn: place, synced })
            } else {
                Ok(())
            };
        };
        let (file, offset) = (name.text(), place - name.start);
        if place < synced {
            return Err(ReadError::Damaged { file, offset, lsn: place, synced });
        }
        if let Some(behind) = last_block.filter(|behind| *behind > place) {
            self.tail.torn = Some(Torn { file, offset, bytes: behind - place });
        }
        Ok(())
    }

    /// Looks at every block from `place` to the end of its file for commits of this log, and at
    /// the first chunks of the files behind: a log fills a file before it begins the next one.
    /// Where the log begins anew it ends: what is there says nothing of what is here. Returns
    /// the end of the last block that this generation wrote, whole or not.
    fn scan_behind(&mut self, place: u64) -> Result<Option<u64>, ReadError> {
        let mut last = None;
        let mut at = place;
        loop {
            let Some(name) = self.file_at(at) else {
                // A file may be missing in the middle.
                let starts = self.files.iter().map(|(name, _)| name.start);
                match starts.filter(|start| *start > at).min() {
                    Some(start) => at = start,
                    None => break,
                }
                continue;
            };
            let end = self.end_of(name, at);
            let most = (LOG_WRITES_MAX as u64 + 1) * LOG_CHUNK_BYTES;
            let to = if name.start > place { end.min(at + most) } else { end };
            last = self.scan_file(name, at, to)?.or(last);
            if self.tail.anew.is_some() {
                break;
            }
            at = end;
        }
        Ok(last)
    }

    /// Notes what the commits of a file between `from` and `to` state; the end of the last block
    /// that was written.
    fn scan_file(&mut self, name: LogName, from: u64, to: u64) -> Result<Option<u64>, ReadError> {
        let mut last = None;
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let chunk_end = (at / LOG_CHUNK_BYTES + 1) * LOG_CHUNK_BYTES;
            bytes.resize((chunk_end.min(to) - at) as usize, 0);
            let len = self.read(name, at, &mut bytes)?;
            let mut offset = 0;
            while offset < len {
                let lsn = at + offset as u64;
                let block = &bytes[offset..len];
                match self.commit_at(name, lsn, block)? {
                    Some((header, _)) if self.is_beyond(&header) => return Ok(last),
                    Some((header, _)) => {
                        self.note(&header);
                        last = Some(header.end());
                        offset += header.len as usize;
                    }
                    None => {
                        if claims(block, lsn) {
                            last = Some(lsn + LOG_BLOCK_BYTES);
                        }
                        offset += LOG_BLOCK_BYTES as usize;
                    }
                }
            }
            at = chunk_end.min(to);
        }
        Ok(last)
    }

    /// The file that counts for position `at`.
    fn file_at(&self, at: u64) -> Option<LogName> {
        let holds =
            |name: &&LogName| name.start <= at && at < end_of_file(name.start, self.segment);
        self.files.iter().map(|(name, _)| name).filter(holds).max_by_key(|n| n.generation).copied()
    }

    /// Where the file stops to count that counts for position `at`: at its end, or where a newer
    /// one begins.
    fn end_of(&self, name: LogName, at: u64) -> u64 {
        let end = end_of_file(name.start, self.segment);
        let newer = self.files.iter().map(|(other, _)| other);
        let newer = newer.filter(|other| other.generation > name.generation);
        let starts = newer.map(|other| other.start).filter(|start| at < *start && *start < end);
        starts.min().unwrap_or(end)
    }

    fn read(&mut self, name: LogName, at: u64, bytes: &mut [u8]) -> Result<usize, ReadError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != name) {
            self.open = Some((name, self.disk.open(&name.text(), OpenMode::Read)?));
        }
        let Some((_, file)) = &self.open else { return Ok(0) };
        Ok(file.read_at(bytes, at - name.start)?)
    }
}

/// The commit at the front of a file, if a valid one lies there.
fn first_commit(disk: &dyn Disk, name: LogName) -> Result<Option<CommitHeader>, ReadError> {
    let mut bytes = vec![0; LOG_CHUNK_BYTES as usize];
    let len = disk.open(&name.text(), OpenMode::Read)?.read_at(&mut bytes, 0)?;
    let belongs =
        |header: &CommitHeader| header.lsn == name.start && header.generation == name.generation;
    Ok(CommitHeader::open(&bytes[..len]).map(|(header, _)| header).filter(belongs))
}

/// No file may belong to another log than the snapshot does, whether it is needed or not: what is
/// not needed would be used again.
fn refuse_foreign(disk: &dyn Disk, base: &Base) -> Result<(), ReadError> {
    for (name, _) in names::list(disk)? {
        let first = first_commit(disk, name)?;
        if first.is_some_and(|header| header.log_id != base.log_id) {
            return Err(ReadError::Foreign { file: name.text(), other: base.file.clone() });
        }
    }
    Ok(())
}

/// Whether a block begins like a commit of position `lsn`, whatever became of the rest of it.
fn claims(block: &[u8], lsn: u64) -> bool {
    block.get(8..16).is_some_and(|bytes| bytes == lsn.to_le_bytes()) && lsn != 0
}
