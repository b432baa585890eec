//! A data directory as `dse-admin` finds it: nobody else's for as long as it is open.

use super::super::recovery::base_of;
use super::error::AdminError;
use crate::limits::LOG_SEGMENT_BYTES;
use crate::snapshot::names::{self as snapshots, Listed};
use crate::snapshot::{SnapshotInfo, SnapshotReader};
use crate::sys::disk::{Directory, Disk};
use crate::wal::names::{self as logs, LogName};
use crate::wal::{LogReader, ReadError};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, UNIX_EPOCH};

/// The file that whoever uses a data directory holds locked.
const LOCK: &str = "dse.lock";

/// A data directory.
pub(super) struct Data {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// The files of the log, by position, with their bytes.
    pub(super) logs: Vec<(LogName, u64)>,
    /// The snapshots, the newest first.
    pub(super) snapshots: Vec<Listed>,
    /// Bytes of a whole file of the log.
    pub(super) segment: u64,
    /// Locked for as long as it is open.
    _lock: Option<File>,
}

impl Data {
    /// The directory at `path`, which no server is running on. Nothing in it is changed.
    pub(super) fn open(path: &Path) -> Result<Data, AdminError> {
        if !path.is_dir() {
            return Err(AdminError::NoDirectory(path.to_owned()));
        }
        // Where there is no such file no server has ever run, or it is a copy.
        let lock = path.join(LOCK);
        let lock = if lock.exists() { Some(locked(path, File::open(&lock)?)?) } else { None };
        Data::read(path, lock)
    }

    /// A new directory at `path`, or one that is there and empty.
    pub(super) fn create(path: &Path) -> Result<Data, AdminError> {
        Directory::open(path)?;
        let others = std::fs::read_dir(path)?
            .filter(|entry| !matches!(entry, Ok(entry) if entry.file_name() == LOCK));
        if others.count() > 0 {
            return Err(AdminError::NotEmpty(path.to_owned()));
        }
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(path.join(LOCK))?;
        Data::read(path, Some(locked(path, lock)?))
    }

    fn read(path: &Path, lock: Option<File>) -> Result<Data, AdminError> {
        let disk: Arc<dyn Disk> = Arc::new(Directory::open(path)?);
        let logs = logs::list(&*disk)?;
        let snapshots = snapshots::list(&*disk)?;
        let segment = logs::segment_bytes(&logs, LOG_SEGMENT_BYTES);
        Ok(Data { path: path.to_owned(), disk, logs, snapshots, segment, _lock: lock })
    }

    /// The log from the file on that holds position `from`.
    pub(super) fn log(&self, from: u64) -> Result<LogReader<'_>, ReadError> {
        LogReader::open(&*self.disk, self.segment, from)
    }

    /// The log from where a snapshot needs it; from its beginning on without one.
    pub(super) fn log_behind(
        &self,
        info: Option<&SnapshotInfo>,
    ) -> Result<LogReader<'_>, ReadError> {
        match info {
            Some(info) => LogReader::behind(&*self.disk, self.segment, &base_of(info)),
            None => self.log(0),
        }
    }

    /// A snapshot, read and checked as a whole.
    pub(super) fn verified(&self, snapshot: &Listed) -> Result<SnapshotInfo, AdminError> {
        let reader = SnapshotReader::open(&*self.disk, &snapshot.name)?;
        reader.verify(threads(), &AtomicU64::new(0))?;
        Ok(reader.info().clone())
    }

    /// The first position from which the files of the log follow each other without a hole. Files
    /// in front of one wait to be used again, as the one that was there has been.
    pub(super) fn log_begin(&self) -> u64 {
        let (mut begin, mut end) = (0, 0);
        for (name, bytes) in &self.logs {
            if name.start > end {
                begin = name.start;
            }
            end = end.max(name.start + bytes);
        }
        begin
    }
}

fn locked(path: &Path, file: File) -> Result<File, AdminError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AdminError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(AdminError::Io(error)),
    }
}

/// Threads for work that can be shared out.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Milliseconds since 1970 as people read them.
pub(super) fn time(ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(ms)) {
        // The library draws years up to 9999.
        Some(time) if ms < 253_402_300_800_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{ms} ms"),
    }
}
