//! The files behind the log: one in use, some prepared, those no longer needed.
//!
//! A file is made by writing zeroes over its whole length, syncing it, and giving it its name;
//! the name is made durable before a position in it is handed out. So a later write to it changes
//! data only. A file that the log needs no more becomes the next one by another name: what it
//! held before fails the checks of position and generation.

use super::commit::CommitHeader;
use super::log::LogStart;
use super::names::{self, LogName, TEMPORARY};
use crate::limits::{LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_SEGMENTS_AHEAD};
use crate::sys::disk::{AlignedBuf, Disk, DiskFile, OpenMode};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file of the log, open.
#[derive(Clone)]
pub(super) struct LogFile {
    pub(super) name: LogName,
    pub(super) end: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// All files of a running log.
pub(super) struct LogFiles {
    disk: Arc<dyn Disk>,
    segment: u64,
    /// Where this start goes on.
    opened: LogStart,
    /// The first position that a file holds at the start.
    first: u64,
    /// Behind the last prepared file.
    end: AtomicU64,
    state: Mutex<State>,
    /// Held by who makes or removes files, so that only one does.
    making: Mutex<()>,
    /// What was obsolete when files were last removed.
    settled: AtomicU64,
}

struct State {
    generation: u32,
    /// In use and prepared, by position; of two that overlap the later counts.
    open: Vec<LogFile>,
    /// Everything below is needed no more.
    obsolete: u64,
}

impl LogFiles {
    /// Those of a log that goes on at `start`, with the first file.
    pub(super) fn open(disk: Arc<dyn Disk>, segment: u64, start: LogStart) -> io::Result<LogFiles> {
        let files = LogFiles::new(disk, segment, start)?;
        files.drop_stale(start.start + 1)?;
        files.prepare_one()?;
        files.drop_stale(start.start)?;
        Ok(files)
    }

    /// Those of a log that begins anew at `start`: in front of its first file lies a commit of one
    /// block that says so. The file has that before it has its name, for one that does not say
    /// what it follows upon is refused.
    pub(super) fn open_anew(
        disk: Arc<dyn Disk>,
        segment: u64,
        start: LogStart,
    ) -> io::Result<LogFiles> {
        let files = LogFiles::new(disk, segment, start)?;
        files.drop_stale(start.start + 1)?;
        let name = LogName { start: start.start, generation: start.generation };
        let front = anew(start);
        files.know(name, files.make_new(name, files.end_of(name.start) - name.start, &front)?);
        files.drop_stale(start.start)?;
        Ok(files)
    }

    fn new(disk: Arc<dyn Disk>, segment: u64, start: LogStart) -> io::Result<LogFiles> {
        let state = State { generation: start.generation, open: Vec::new(), obsolete: 0 };
        let first = names::list(&*disk)?.first().map_or(start.start, |(name, _)| name.start);
        Ok(LogFiles {
            disk,
            segment,
            opened: start,
            first,
            end: AtomicU64::new(start.start),
            state: Mutex::new(state),
            making: Mutex::new(()),
            settled: AtomicU64::new(0),
        })
    }

    /// Behind the last position that has a place.
    pub(super) fn end(&self) -> u64 {
        // Acquire: pairs with the Release in `add`; the file is there.
        self.end.load(Ordering::Acquire)
    }

    /// The file that holds `position`.
    pub(super) fn at(&self, position: u64) -> io::Result<LogFile> {
        let state = self.lock();
        let holds = |file: &&LogFile| file.name.start <= position && position < file.end;
        let found = state.open.iter().rev().find(holds).cloned();
        found.ok_or_else(|| io::Error::other(format!("no file of the log holds {position}")))
    }

    /// Syncs the files that hold any of `from..to`.
    pub(super) fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        let files: Vec<LogFile> = {
            let state = self.lock();
            let within = |file: &&LogFile| file.name.start < to && from < file.end;
            state.open.iter().filter(within).cloned().collect()
        };
        files.iter().try_for_each(|file| file.file.sync())
    }

    /// Prepares as many files as a log at `position` should have.
    pub(super) fn prepare_ahead(&self, position: u64, each: &mut dyn FnMut()) -> io::Result<()> {
        while self.end() < position + LOG_SEGMENTS_AHEAD * self.segment {
            self.prepare_one()?;
            each();
        }
        Ok(())
    }

    /// Prepares the next file.
    pub(super) fn prepare_one(&self) -> io::Result<()> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let start = self.end();
        let generation = self.lock().generation;
        self.add(LogName { start, generation })
    }

    /// Begins a file of a new generation at `position`; it counts for all positions it holds.
    pub(super) fn begin_generation(&self, position: u64) -> io::Result<()> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            state.generation
        };
        self.add(LogName { start: position, generation })
    }

    fn add(&self, name: LogName) -> io::Result<()> {
        let file = self.make(name, self.end_of(name.start) - name.start)?;
        self.know(name, file);
        Ok(())
    }

    fn know(&self, name: LogName, file: Box<dyn DiskFile>) {
        let end = self.end_of(name.start);
        self.lock().open.push(LogFile { name, end, file: file.into() });
        // Release: pairs with the Acquire in `end`.
        self.end.fetch_max(end, Ordering::Release);
    }

    /// A file called `name` that holds `len` bytes on the disk: an obsolete one, or a new one.
    fn make(&self, name: LogName, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let obsolete = self.lock().obsolete;
        let files = names::list(&*self.disk)?;
        // The lowest or none: those that stay must hold the log without a gap.
        let is_spare =
            |(old, bytes): &&(LogName, u64)| self.end_of(old.start) <= obsolete && *bytes == len;
        if let Some((old, _)) = files.first().filter(is_spare) {
            self.lock().open.retain(|file| file.name != *old);
            self.disk.rename(&old.text(), &name.text())?;
            self.disk.sync()?;
            return self.disk.open(&name.text(), OpenMode::Write);
        }
        self.make_new(name, len, &[])
    }

    /// A new file that begins with `front`.
    fn make_new(&self, name: LogName, len: u64, front: &[u8]) -> io::Result<Box<dyn DiskFile>> {
        // One that a crash or a full disk left behind is of no use.
        if self.disk.list()?.iter().any(|(name, _)| name == TEMPORARY) {
            self.disk.remove(TEMPORARY)?;
        }
        let file = self.disk.open(TEMPORARY, OpenMode::Create)?;
        let filled = fill(&*file, len, front);
        if filled.is_err() {
            // The room it took is what others need now; the error that counts is the first.
            let _ = self.disk.remove(TEMPORARY);
        }
        filled?;
        self.disk.rename(TEMPORARY, &name.text())?;
        self.disk.sync()?;
        Ok(file)
    }

    /// Removes files of earlier lives that begin at `from` or behind it: what they hold was never
    /// acknowledged, and must not be read as the continuation of what is written now.
    ///
    /// A start may end at any moment of this. The files behind the place where this life goes on
    /// go before its first file comes, which would hide the mark of a log that begins anew there;
    /// and the highest go first, so that this mark is the last to go. A file that begins at that
    /// place itself goes when the new one is there, so that the place always has one.
    fn drop_stale(&self, from: u64) -> io::Result<()> {
        let is_stale =
            |name: &LogName| name.start >= from && name.generation < self.opened.generation;
        for (name, _) in names::list(&*self.disk)?.iter().rev().filter(|(name, _)| is_stale(name)) {
            self.disk.remove(&name.text())?;
            // Each is gone before the next one goes.
            self.disk.sync()?;
        }
        Ok(())
    }

    /// Notes that positions below `position` are needed no more; false if that was known.
    pub(super) fn recycle_below(&self, position: u64) -> bool {
        let mut state = self.lock();
        let is_new = position > state.obsolete;
        state.obsolete = state.obsolete.max(position);
        is_new
    }

    /// Removes obsolete files beyond those kept for reuse.
    pub(super) fn settle(&self) {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let obsolete = self.lock().obsolete;
        if self.settled.swap(obsolete, Ordering::Relaxed) == obsolete {
            return;
        }
        let Ok(mut files) = names::list(&*self.disk) else { return };
        files.retain(|(name, _)| self.end_of(name.start) <= obsolete);
        // From the lowest on, so that what is left holds the log without a gap: who reads all of it
        // begins at the lowest. One of another length cannot be used again.
        let odd =
            files.iter().rposition(|(_, bytes)| *bytes != self.segment).map_or(0, |at| at + 1);
        let beyond = files.len().saturating_sub(LOG_SEGMENTS_AHEAD as usize).max(odd);
        for (name, _) in &files[..beyond] {
            self.lock().open.retain(|file| file.name != *name);
            if let Err(error) = self.disk.remove(&name.text()) {
                tracing::warn!(%error, "an old file of the log stays");
                return;
            }
        }
    }

    /// Bytes of all files that are needed.
    pub(super) fn bytes(&self) -> u64 {
        self.end().saturating_sub(self.begin())
    }

    /// The first position that is needed, or that was there at the start.
    pub(super) fn begin(&self) -> u64 {
        self.lock().obsolete.max(self.first)
    }

    /// The newest generation.
    pub(super) fn generation(&self) -> u32 {
        self.lock().generation
    }

    fn end_of(&self, start: u64) -> u64 {
        end_of_file(start, self.segment)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit without records that opens a log anew.
fn anew(at: LogStart) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(LOG_BLOCK_BYTES as usize);
    let header = CommitHeader {
        lsn: at.start,
        len: LOG_BLOCK_BYTES as u32,
        used: LOG_COMMIT_HEADER as u32,
        synced: at.start,
        clock_ms: 0,
        generation: at.generation,
        records: 0,
        log_id: at.log_id,
        anew: true,
    };
    header.seal(&mut block);
    block
}

/// Behind the last position of a file that begins at `start`.
pub(super) fn end_of_file(start: u64, segment: u64) -> u64 {
    (start / segment + 1) * segment
}

/// Writes `len` zeroes, then `front` over the first of them, and syncs it.
fn fill(file: &dyn DiskFile, len: u64, front: &[u8]) -> io::Result<()> {
    let zeroes = AlignedBuf::zeroed(LOG_CHUNK_BYTES as usize);
    let mut at = 0;
    while at < len {
        let piece = (len - at).min(LOG_CHUNK_BYTES);
        file.write_at(&zeroes[..piece as usize], at)?;
        at += piece;
    }
    if !front.is_empty() {
        file.write_at(front, 0)?;
    }
    file.sync()
}
