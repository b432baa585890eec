//! A log that is damaged below what was durable is set aside: its files get other names, and the
//! node begins with an empty log, as one that lost its disk (C12).
//!
//! ```text
//!   damage found -> mark "lost-CLUSTER" -> files renamed -> new log and identity -> mark removed
//! ```
//!
//! The mark is durable before the first file gets another name, and goes when the new identity is
//! durable. So a crash at any moment leaves a directory of which the next start knows that what is
//! in it must not be read: a part of a log may look like a whole one that ends earlier, and a node
//! that began with it would have forgotten what it had acknowledged.
//!
//! Nothing is removed. Deliberately absent: whether the cluster has what was lost (the core: a node
//! whose log was set aside forms no cluster, it is let into the one that it was of).

use super::log::{self, LogError, Recovered};
use super::setup::DriverError;
use crate::sys::disk::{Disk, OpenMode};
use crate::wal::names::LogName;
use std::io;

const MARK: &str = "lost-";
const ASIDE: &str = "damaged-";

/// Reads the log of a node. One that is damaged is set aside: then the cluster that it was of comes
/// along, and [`end`] is to be called when something new is durable.
pub fn recover(disk: &dyn Disk, segment: u64) -> Result<(Recovered, Option<u64>), DriverError> {
    let (cluster, why) = match marked(disk)? {
        Some(cluster) => (cluster, "its log was being set aside when the node ended".to_owned()),
        None => match log::recover(disk, segment) {
            Ok(recovered) => return Ok((recovered, None)),
            Err(LogError::Damaged(error, cluster)) => (cluster, error.to_string()),
            Err(error) => return Err(DriverError::Log(error)),
        },
    };
    let prefix = set_aside(disk, cluster)?;
    tracing::error!(
        "the log of this node is damaged: {why}. Its files are kept as {prefix}* in {}, and the \
         node begins with an empty log, as after a lost disk: it votes for nothing, and the others \
         fill it again. Look after the disk, and remove these files when nobody wants them",
        disk.location()
    );
    let mut recovered = log::recover(disk, segment).map_err(DriverError::Log)?;
    recovered.start.lost = Some(cluster);
    Ok((recovered, Some(cluster)))
}

/// The new identity is durable. If the mark stays, the next start sets aside what is there by then,
/// which costs another transfer and nothing else.
pub fn end(disk: &dyn Disk, cluster: u64) {
    if let Err(error) = unmark(disk, cluster) {
        tracing::warn!("{} stays in the data directory: {error}; remove it", mark_of(cluster));
    }
}

/// The cluster of which a log was set aside and nothing new is durable yet; 0 if it is not known.
fn marked(disk: &dyn Disk) -> io::Result<Option<u64>> {
    let names = disk.list()?.into_iter();
    let mut clusters = names.filter_map(|(name, _)| {
        let digits = name.strip_prefix(MARK).filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(digits, 16).ok()
    });
    Ok(clusters.next())
}

/// Sets the log of a node of `cluster` aside; returns the prefix that its files have now.
fn set_aside(disk: &dyn Disk, cluster: u64) -> io::Result<String> {
    if marked(disk)?.is_none() {
        let mark = disk.open(&mark_of(cluster), OpenMode::Create)?;
        mark.sync()?;
        disk.sync()?;
    }
    let names: Vec<String> = disk.list()?.into_iter().map(|(name, _)| name).collect();
    let number_of = |name: &String| {
        let (number, _) = name.strip_prefix(ASIDE)?.split_once('-')?;
        number.parse::<u64>().ok()
    };
    let last = names.iter().filter_map(number_of).max().unwrap_or(0);
    let prefix = format!("{ASIDE}{}-", last.saturating_add(1));
    for name in names.iter().filter(|name| LogName::parse(name).is_some()) {
        disk.rename(name, &format!("{prefix}{name}"))?;
    }
    disk.sync()?;
    Ok(prefix)
}

fn unmark(disk: &dyn Disk, cluster: u64) -> io::Result<()> {
    disk.remove(&mark_of(cluster))?;
    disk.sync()
}

fn mark_of(cluster: u64) -> String {
    format!("{MARK}{cluster:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::disk::Directory;

    fn names(disk: &dyn Disk) -> Vec<String> {
        let mut names: Vec<String> =
            disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    fn file(disk: &dyn Disk, start: u64) -> String {
        let name = LogName { start, generation: 1 }.text();
        disk.open(&name, OpenMode::Create).unwrap();
        name
    }

    /// Half of the files have another name, and the process ends: the next start goes on, and does
    /// not take the other half for a log.
    #[test]
    fn what_a_crash_leaves_is_set_aside_by_the_next_start() {
        let home = tempfile::tempdir().unwrap();
        let disk = Directory::open(home.path()).unwrap();
        let (first, second) = (file(&disk, 0), file(&disk, 1 << 26));
        assert_eq!(marked(&disk).unwrap(), None);
        assert_eq!(set_aside(&disk, 7).unwrap(), "damaged-1-");
        assert_eq!(marked(&disk).unwrap(), Some(7));
        disk.rename(&format!("damaged-1-{second}"), &second).unwrap();
        assert_eq!(set_aside(&disk, 0).unwrap(), "damaged-2-");
        let aside = [format!("damaged-1-{first}"), format!("damaged-2-{second}")];
        assert_eq!(names(&disk), [&aside[..], &["lost-0000000000000007".into()]].concat());
        unmark(&disk, 7).unwrap();
        assert_eq!(marked(&disk).unwrap(), None);
        file(&disk, 0);
        assert_eq!(set_aside(&disk, 7).unwrap(), "damaged-3-", "nothing is overwritten");
    }
}
