//! Names of the log's files.
//!
//! `log-START-GENERATION.dse`: the file holds the positions from START to the end of START's
//! segment, at offset 0 the first of them. Of several files that hold a position, the one of the
//! highest generation counts: it was begun after a restart or an error, at a position that none
//! of the older ones had made durable.

use crate::limits::LOG_CHUNK_BYTES;
use crate::sys::disk::Disk;
use std::io;

/// A file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    /// The first position in it, a multiple of the block.
    pub start: u64,
    /// Which life of the log began it.
    pub generation: u32,
}

/// The name of a file that is not part of the log yet.
pub const TEMPORARY: &str = "log.tmp";

impl LogName {
    /// The file's name.
    pub fn text(&self) -> String {
        format!("log-{:016x}-{:08x}.dse", self.start, self.generation)
    }

    /// The file called `text`, if that is one of the log's.
    pub fn parse(text: &str) -> Option<LogName> {
        let inner = text.strip_prefix("log-")?.strip_suffix(".dse")?;
        let (start, generation) = inner.split_once('-')?;
        let is_exact = start.len() == 16 && generation.len() == 8;
        let start = u64::from_str_radix(start, 16).ok()?;
        let generation = u32::from_str_radix(generation, 16).ok()?;
        is_exact.then_some(LogName { start, generation })
    }
}

/// All files of the log in `disk`, by position, with their sizes.
pub fn list(disk: &dyn Disk) -> io::Result<Vec<(LogName, u64)>> {
    let files = disk.list()?.into_iter();
    let mut found: Vec<_> =
        files.filter_map(|(name, len)| Some((LogName::parse(&name)?, len))).collect();
    found.sort_unstable();
    Ok(found)
}

/// The bytes of a whole file in a log that has `files`: `wanted` if they fit to it, otherwise
/// what the largest of them says. A log keeps the size that it began with.
pub fn segment_bytes(files: &[(LogName, u64)], wanted: u64) -> u64 {
    let fits = |(name, len): &(LogName, u64)| name.start % wanted + len == wanted;
    if files.iter().all(fits) {
        return wanted;
    }
    let largest = files.iter().map(|(_, len)| *len).max().unwrap_or(wanted);
    largest.next_power_of_two().max(LOG_CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_size_of_its_files() {
        const MB: u64 = 1 << 20;
        let file = |start, len| (LogName { start, generation: 1 }, len);
        assert_eq!(segment_bytes(&[], 4 * MB), 4 * MB);
        let files = [file(0, 4 * MB), file(4096, 4 * MB - 4096), file(4 * MB, 4 * MB)];
        for wanted in [MB, 4 * MB, 64 * MB] {
            assert_eq!(segment_bytes(&files, wanted), 4 * MB, "{wanted} was wanted");
        }
        // The last piece of a file fits to any size; the one that is asked for holds.
        assert_eq!(segment_bytes(&[file(4 * MB - 4096, 4096)], 2 * MB), 2 * MB);
    }

    #[test]
    fn names_come_back_and_others_are_not_ours() {
        let name = LogName { start: 0x4000_0000, generation: 7 };
        assert_eq!(name.text(), "log-0000000040000000-00000007.dse");
        assert_eq!(LogName::parse(&name.text()), Some(name));
        for other in ["log.tmp", "log-1-1.dse", "snapshot-0000000040000000.dse", "log-.dse"] {
            assert_eq!(LogName::parse(other), None, "{other}");
        }
    }
}
