//! Names of the log's files.
//!
//! `log-START-GENERATION.dse`: the file holds the positions from START to the end of START's
//! segment, at offset 0 the first of them. Of several files that hold a position, the one of the
//! highest generation counts: it was begun after a restart or an error, at a position that none
//! of the older ones had made durable.

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

#[cfg(test)]
mod tests {
    use super::*;

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
