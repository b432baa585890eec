//! The keyspace of a directory at a moment, in memory: the newest snapshot that lies wholly
//! before that moment, and the log from there.

use super::cli::Until;
use super::directory::{Data, threads, time};
use super::error::AdminError;
use crate::commands::replay::{Cuts, Replayer};
use crate::commands::{Identity, Node};
use crate::config::Config;
use crate::limits::{DATABASES, SHARDS};
use crate::snapshot::{SnapshotError, SnapshotInfo, SnapshotReader};
use crate::store::Store;
use crate::wal::Torn;
use crate::wal::read::Chunk;
use std::sync::atomic::AtomicU64;

/// A keyspace that was brought back.
pub(super) struct Keyspace {
    node: Node,
    /// The snapshot that it began with, if there was one.
    pub(super) snapshot: Option<String>,
    /// What was passed over on the way.
    pub(super) warnings: Vec<String>,
    /// Records applied.
    pub(super) records: u64,
    /// Position and clock of the last record before the moment, if there was one.
    pub(super) last: Option<(u64, u64)>,
    /// All shards are as they were at this position of the log.
    pub(super) at: u64,
}

impl Keyspace {
    /// The keyspace of `data` at `until`.
    pub(super) fn load(data: &Data, until: Until) -> Result<Keyspace, AdminError> {
        if data.snapshots.is_empty() && data.logs.is_empty() {
            return Err(AdminError::Nothing(data.path.clone()));
        }
        let mut keyspace = Keyspace {
            node: node()?,
            snapshot: None,
            warnings: Vec::new(),
            records: 0,
            last: None,
            at: 0,
        };
        let base = keyspace.load_snapshot(data, until)?;
        let cuts = match &base {
            Some(info) => info.cuts.clone(),
            // Without a snapshot the log must hold everything.
            None if data.logs.is_empty() || data.log_begin() > 0 => {
                return Err(too_early(data, data.log_begin()));
            }
            None => Box::new([0; SHARDS]),
        };
        keyspace.snapshot = base.as_ref().map(|info| info.file.clone());
        keyspace.at = base.as_ref().map_or(0, |info| info.largest_cut);
        keyspace.replay(data, &cuts, base.as_ref(), until)?;
        Ok(keyspace)
    }

    /// Loads the newest whole snapshot that holds nothing from behind `until`.
    fn load_snapshot(
        &mut self,
        data: &Data,
        until: Until,
    ) -> Result<Option<SnapshotInfo>, AdminError> {
        for listed in &data.snapshots {
            let loaded = SnapshotReader::open(&*data.disk, &listed.name).and_then(|reader| {
                let info = reader.info();
                let is_before = match until {
                    Until::End => true,
                    Until::Lsn(lsn) => info.largest_cut <= lsn,
                    Until::Time(ms) => info.clock_ms <= ms,
                };
                if !is_before {
                    return Ok(None);
                }
                reader.load(self.store(), threads(), &AtomicU64::new(0))?;
                Ok(Some(info.clone()))
            });
            match loaded {
                Ok(None) => {}
                Ok(Some(info)) => return Ok(Some(info)),
                Err(SnapshotError::Io(error)) => return Err(AdminError::Io(error)),
                Err(error) => self.warnings.push(format!("passed over: {error}")),
            }
        }
        Ok(None)
    }

    fn replay(
        &mut self,
        data: &Data,
        cuts: &Cuts,
        base: Option<&SnapshotInfo>,
        until: Until,
    ) -> Result<(), AdminError> {
        let config = Config::permissive();
        let mut replayer = Replayer::new(&self.node, cuts, &config);
        let mut last = None;
        let mut reader = data.log_behind(base)?;
        let mut reached = false;
        while !reached && let Some(chunk) = reader.next_chunk()? {
            reached = apply(&chunk, &mut replayer, until, &mut last)?;
        }
        self.records = replayer.applied;
        self.last = last;
        self.at = self.at.max(last.map_or(0, |(lsn, _)| lsn + 1));
        if let Some(Torn { file, offset, bytes }) = &reader.tail().torn {
            self.warnings.push(format!(
                "the end of the log is torn: {bytes} bytes at offset {offset} of {file} were \
                 never acknowledged and are left out"
            ));
        }
        if let Some(at) = reader.tail().anew {
            self.warnings.push(format!(
                "the log was switched on at position {at}, behind a snapshot that is not there: \
                 what follows is left out"
            ));
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &Store {
        &self.node.engine.store
    }

    /// Keys in all databases.
    pub(super) fn keys(&self) -> u64 {
        (0..DATABASES as u8).map(|db| self.store().len(db)).sum()
    }
}

/// The newest clock of any shard, ms since 1970.
pub(super) fn newest_clock(store: &Store) -> u64 {
    (0..SHARDS as u16).map(|shard| store.lock_one(shard).clock()).max().unwrap_or(0)
}

/// Applies the records up to `until`; true if there is one behind it.
fn apply(
    chunk: &Chunk,
    replayer: &mut Replayer<'_>,
    until: Until,
    last: &mut Option<(u64, u64)>,
) -> Result<bool, AdminError> {
    for record in chunk.records() {
        let is_behind = match until {
            Until::End => false,
            Until::Lsn(lsn) => record.lsn > lsn,
            Until::Time(ms) => record.meta.clock_ms > ms,
        };
        if is_behind {
            return Ok(true);
        }
        replayer.apply(&record)?;
        *last = Some((record.lsn, record.meta.clock_ms));
    }
    Ok(false)
}

/// A node without workers: only its keyspace is used.
fn node() -> Result<Node, AdminError> {
    let identity = Identity {
        run_id: String::new(),
        started_ms: 0,
        executable: String::new(),
        config_file: String::new(),
    };
    Ok(Node::new(Config::permissive(), identity, 1)?)
}

fn too_early(data: &Data, log_from: u64) -> AdminError {
    let oldest = data.snapshots.last().and_then(|listed| {
        let reader = SnapshotReader::open(&*data.disk, &listed.name).ok()?;
        Some(format!(
            "its oldest snapshot, {}, is of position {} and time {}",
            listed.name,
            listed.lsn,
            time(reader.info().clock_ms)
        ))
    });
    let have = oldest.unwrap_or_else(|| format!("its log begins at position {log_from}"));
    AdminError::TooEarly { have }
}
