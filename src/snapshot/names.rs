//! What snapshots are called. The name tells the largest position of the log that the snapshot
//! contains, so names order snapshots by age without a look inside.

use crate::limits::SNAPSHOTS_KEPT;
use crate::sys::disk::Disk;
use std::io;

/// The name of a snapshot that is being written; there is at most one.
pub const TEMPORARY: &str = "snapshot.tmp";

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".dse";
const DIGITS: usize = 16;

/// The name of a snapshot whose largest cut is `lsn`.
pub fn file_name(lsn: u64) -> String {
    format!("{PREFIX}{lsn:016x}{SUFFIX}")
}

/// The largest cut that a snapshot's name tells; `None` for other names.
pub fn parse(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_canonical = digits.len() == DIGITS
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// A snapshot in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its file name.
    pub name: String,
    /// The largest cut, as its name tells.
    pub lsn: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// The snapshots in a directory, the newest first.
pub fn list(disk: &dyn Disk) -> io::Result<Vec<Listed>> {
    let files = disk.list()?.into_iter();
    let named = files.filter_map(|(name, bytes)| Some(Listed { lsn: parse(&name)?, name, bytes }));
    let mut snapshots: Vec<Listed> = named.collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.lsn));
    Ok(snapshots)
}

/// Removes all snapshots but the newest [`SNAPSHOTS_KEPT`], and answers which are gone. To be
/// called when the newest is published and no reader needs an older one.
pub fn prune(disk: &dyn Disk) -> io::Result<Vec<Listed>> {
    let old: Vec<Listed> = list(disk)?.into_iter().skip(SNAPSHOTS_KEPT).collect();
    for snapshot in &old {
        disk.remove(&snapshot.name)?;
    }
    if !old.is_empty() {
        disk.sync()?;
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::disk::{Directory, OpenMode};

    #[test]
    fn names_tell_their_lsn_and_nothing_else_is_a_snapshot() {
        for lsn in [0, 1, 0xabc, u64::MAX] {
            assert_eq!(parse(&file_name(lsn)), Some(lsn));
        }
        for name in
            ["snapshot.tmp", "snapshot-1.dse", "snapshot-00000000000000AB.dse", "snapshot-.dse"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_newest_comes_first() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Directory::open(home.path()).expect("opened");
        for name in [&file_name(9), "snapshot.tmp", &file_name(300), &file_name(10), "wal-1"] {
            disk.open(name, OpenMode::Create).expect("made");
        }
        let lsns: Vec<u64> = list(&disk).expect("listed").iter().map(|found| found.lsn).collect();
        assert_eq!(lsns, [300, 10, 9]);
        let gone = prune(&disk).expect("removed");
        assert_eq!(gone.iter().map(|found| found.lsn).collect::<Vec<_>>(), [9]);
        let left = list(&disk).expect("listed");
        assert_eq!(left.iter().map(|found| found.lsn).collect::<Vec<_>>(), [300, 10]);
        assert_eq!(disk.list().map(|files| files.len()).ok(), Some(4), "others are left alone");
    }
}
